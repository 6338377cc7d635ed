"""Health, as whoever runs a service asks for it."""

from threading import Event
from threading import enumerate as all_threads
from typing import Any

import pytest
from attrs import evolve

import harken
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.serving import pages
from harken_adapters.hosts.http.serving.pages import Pages
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.storage import memory
from harken_adapters.storage.memory import MemorySessionRepository
from hosts.serving import OPEN
from support import in_threads


class Hanging(MemorySessionRepository):
    """Does not answer before it is let to."""

    def __init__(self, other: MemorySessionRepository) -> None:
        super().__init__(other._data)
        self.go = Event()

    def get(self, application: str, session_id: str) -> Any:
        """Waits."""
        self.go.wait()
        return super().get(application, session_id)


def test_a_storage_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks is answered in time, however many ask, and one thread waits for all of them; later all is well."""
    monkeypatch.setattr(pages, "_PATIENCE", 0.02)
    with memory.open_storage() as storage:
        assert isinstance(storage.sessions, MemorySessionRepository)
        hanging = Hanging(storage.sessions)
        with harken.connect(evolve(storage, sessions=hanging)) as hk:
            asked = Pages(Api(hk, ServerSettings(**OPEN)))
            told: Any = in_threads([asked.readyz] * 5)
            assert [one.status for one in told] == [503] * 5
            waiting = [thread for thread in all_threads() if thread.name == "harken-readiness"]
            assert len(waiting) == 1
            hanging.go.set()
            waiting[0].join()
            monkeypatch.undo()
            assert asked.readyz().status == 200
