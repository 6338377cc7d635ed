"""Health checks."""

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
    """A session repository that blocks until it is released."""

    def __init__(self, other: MemorySessionRepository) -> None:
        super().__init__(other._data)
        self.go = Event()

    def get(self, application: str, session_id: str) -> Any:
        """Wait, then read."""
        self.go.wait()
        return super().get(application, session_id)


def test_a_storage_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness responds in time, however many requests there are, with one waiting thread, and recovers later."""
    monkeypatch.setattr(pages, "_TIMEOUT", 0.02)
    with memory.open_storage() as storage:
        assert isinstance(storage.sessions, MemorySessionRepository)
        hanging = Hanging(storage.sessions)
        with harken.connect(evolve(storage, sessions=hanging)) as hk:
            asked = Pages(Api(hk, ServerSettings(**OPEN)))
            responses: Any = in_threads([asked.readyz] * 5)
            assert [one.status for one in responses] == [503] * 5
            waiting = [thread for thread in all_threads() if thread.name == "harken-readiness"]
            assert len(waiting) == 1
            hanging.go.set()
            waiting[0].join()
            monkeypatch.undo()
            assert asked.readyz().status == 200
