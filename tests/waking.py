"""A Harken without polling, and repositories that run a hook between two calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from harken import Feedback, FeedbackQuery, Harken
from harken.assembly import Services
from harken.configuration.notifications import NotificationSettings
from harken.configuration.settings import Settings
from harken.container import create_container, open_harken, override
from harken.ports.notifier import Notifier
from harken.ports.storage import Storage
from harken.services.feed import Feed
from harken.services.feedback.editing import Editor
from harken.services.notifications.relay import Relay

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
    editor = Editor(feedback)
    overrides = {
        "storage": evolve(storage, feedback=feedback, outbox=outbox),
        "notifications": NotificationSettings.load({}, Path(os.devnull), channels=channels or {}),
        "services": Services(editor=lambda _: editor, feed=partial(Feed, poll=HOUR), relay=partial(Relay, poll=HOUR)),
        **parts,
    }
    container = create_container(Settings.load({}, Path(os.devnull)))
    for name, part in overrides.items():
        override(container.providers[name], part)
    looks: list[dict[str, Feedback]] = []
    with open_harken(container) as hk:
        one = Unpolled(hk, feedback, outbox, looks)
        editor.on_change(lambda: looks.append(one.stored()))
        hk.collection.on_write(lambda _: looks.append(one.stored()))
        yield one


def once(call: Callable[[], object]) -> Callable[[Sequence[object]], object]:
    """Return a hook that calls ``call`` the first time, and then does nothing."""
    calls = [call]
    return lambda _: calls and calls.pop()()
