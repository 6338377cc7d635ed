"""A demo to be served: a filled storage, settings, a receiver of webhooks, and people who keep coming."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

from attrs import frozen

import harken
from harken import ConfigurationError
from harken.clock import utc_now
from harken.configuration.storage_urls import scheme_of
from harken.ports.time import Clock
from harken_adapters.demo.history import DAYS, fill
from harken_adapters.demo.receiver import Receiver
from harken_adapters.demo.settings import demo_settings, settings_text
from harken_adapters.demo.story import Story
from harken_adapters.demo.trickle import Trickle
from harken_adapters.demo.visitors import Visitors
from harken_adapters.text import text_adapters

#: The seed of all random choices.
SEED: Final = 2_026


@frozen(kw_only=True)
class Demo:
    """A demo that can be served.

    Attributes:
        storage: the URL of the storage.
        settings: the path of the ``harken.toml`` that the server has to read.
        temporary: whether the storage is removed at the end.
        receiver: what receives webhooks.
    """

    storage: str
    settings: Path
    temporary: bool
    receiver: Receiver

    @contextmanager
    def running(
        self, application: str, *, seed: int = SEED, clock: Clock = utc_now, days: int = DAYS
    ) -> Iterator[Trickle]:
        """Fill the storage, and keep feedback coming until the end of the context.

        Args:
            application: the application.
            seed: the seed of all random choices.
            clock: the current time, in UTC.
            days: for how many days there is feedback.

        Raises:
            ConfigurationError: the storage has feedback.
            StorageError: the storage failed.
        """
        now, random = clock(), Random(seed)  # noqa: S311 - used for sample feedback only
        story = Story.until(now)
        visitors = Visitors(story, random, application=application)
        fill(self.storage, visitors, story, self.receiver, random, now=now, application=application, days=days)
        self.receiver.slow = True
        settings = demo_settings(self.receiver.url)
        with harken.connect(self.storage, application=application, clock=clock, **settings, **text_adapters()) as hk:
            trickle = Trickle(hk, visitors, random, clock)
            with trickle.running():
                yield trickle


@contextmanager
def open_demo(storage: str | None) -> Iterator[Demo]:
    """Prepare a demo; at the end of the context, everything temporary is removed.

    Args:
        storage: the URL of an empty storage, which keeps the feedback afterwards; ``None`` for a temporary file.

    Raises:
        ConfigurationError: the storage is in memory.
    """
    if storage is not None and scheme_of(storage) == "memory":
        raise ConfigurationError(
            "The demo needs a storage that can be opened several times, and memory:// is a new one each time; "
            "leave out --storage for a temporary file"
        )
    with TemporaryDirectory(prefix="harken-demo-") as folder, Receiver() as receiver:
        settings = Path(folder) / "harken.toml"
        settings.write_text(settings_text(receiver.url), encoding="utf-8")
        url = storage or f"sqlite:///{folder}/feedback.db"
        yield Demo(storage=url, settings=settings, temporary=storage is None, receiver=receiver)
