"""A Harken without polling, and repositories that run a hook between two calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import asdict, evolve, frozen
from dependency_injector.providers import Object

from harken import Feedback, FeedbackQuery, Harken
from harken.configuration.notifications import Notifying
from harken.configuration.settings import Settings
from harken.container import Container, ready
from harken.ports.notifier import Notifier
from harken.ports.storage import Storage

#: The polling interval in seconds: longer than any test.
HOUR = 3600.0


class Hooked:
    """A repository whose methods run a hook after reading or writing, before they return.

    Iterators are read completely before the hook runs.
    """

    def __init__(self, inner: object) -> None:
        self._inner = inner
        self.after: dict[str, Callable[[Any], object]] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            result = found(*arguments, **options)
            read = list(result) if isinstance(result, Iterator) else result
            if hook := self.after.get(name):
                hook(read)
            return iter(read) if isinstance(result, Iterator) else result

        return call


@frozen
class Unpolled:
    """A Harken without polling, and the feedback that a listener read at each call."""

    hk: Harken
    feedback: Hooked
    outbox: Hooked
    looks: list[dict[str, Feedback]]

    def stored(self) -> dict[str, Feedback]:
        """Return all feedback by id, in any state."""
        return {one.id: one for one in self.hk.collection.stream(FeedbackQuery().in_any_state())}


@contextmanager
def unpolled(storage: Storage, *, channels: Mapping[str, Notifier] | None = None, **parts: Any) -> Iterator[Unpolled]:
    """Connect to a storage; every part that polls does so once an hour.

    Args:
        storage: the storage.
        channels: the channels by name; none by default.
        **parts: replacements of providers of the container, such as ``responder``.
    """
    feedback, outbox = Hooked(storage.feedback), Hooked(storage.outbox)
    container = Container()
    container.config.from_dict(asdict(Settings.load({}, Path(os.devnull))))
    container.storage.override(Object(evolve(storage, feedback=feedback, outbox=outbox)))
    container.notifying.override(Object(Notifying.load({}, Path(os.devnull), channels=channels or {})))
    for name, part in parts.items():
        getattr(container, name).override(Object(part))
    container.feed.add_kwargs(poll=HOUR)
    container.relay.add_kwargs(poll=HOUR)
    looks: list[dict[str, Feedback]] = []
    with ready(container) as hk:
        one = Unpolled(hk, feedback, outbox, looks)
        container.editor().on_change(lambda: looks.append(one.stored()))
        hk.collection.on_write(lambda _: looks.append(one.stored()))
        yield one


def once(call: Callable[[], object]) -> Callable[[Sequence[object]], object]:
    """Return a hook that calls ``call`` the first time, and then does nothing."""
    calls = [call]
    return lambda _: calls and calls.pop()()
