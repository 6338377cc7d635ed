"""A storage that fails on purpose at its n-th call, before or after the call takes effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from attrs import evolve, fields

from harken.domain.errors import StorageUnavailable
from harken.ports.storage import Storage

#: Calls that wait for others and change nothing.
_NOT_COUNTED: Final = frozenset({"watching"})


class Faults:
    """Counts the calls to a storage and lets one of them, or all from one on, fail.

    A test uses it to find what an application loses if the storage or the process fails between two calls: run a
    scenario once to count its calls, then once per call with a fault at that call, and check that every promise is kept
    as soon as the storage works again::

        faults = Faults()
        with harken.connect(faults.around(storage)) as hk:
            faults.arm(at=3)
            with suppress(StorageUnavailable):
                hk.submit("session", "up", idempotency_key="key")
            faults.disarm()
            hk.submit("session", "up", idempotency_key="key")

    An iterator, such as a stream, makes one call for each item and one for its end. Not thread-safe.

    Attributes:
        calls: the number of calls since ``arm`` or ``disarm``.
        failed: the first call that failed since then, such as ``"outbox.settle"``; ``None`` if none did.
        lasting: whether all later calls fail too.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.failed: str | None = None
        self._at: int | None = None
        self._after = False
        self.lasting = False

    def around(self, storage: Storage) -> Storage:
        """Return the storage with these faults."""
        wrapped: dict[str, Any] = {}
        for field in fields(Storage):
            part = getattr(storage, field.name)
            wrapped[field.name] = self._calling(field.name, part) if callable(part) else _Part(self, field.name, part)
        return evolve(storage, **wrapped)

    def arm(self, *, at: int, after: bool = False, lasting: bool = False) -> None:
        """Let a call fail with ``StorageUnavailable``.

        Args:
            at: the number of the call that fails, counted from 1.
            after: whether it fails after taking effect, as if the response were lost; by default it has no effect.
            lasting: whether all later calls fail too, without any effect, as if the process were killed.
        """
        self.disarm()
        self._at, self._after, self.lasting = at, after, lasting

    def disarm(self) -> None:
        """Let no call fail, and reset the count."""
        self.calls, self.failed, self._at, self.lasting = 0, None, None, False

    def call(self, name: str, work: Callable[[], Any]) -> Any:
        """Make a call, or let it fail."""
        self.calls += 1
        if self._at is None or self.calls < self._at or (self.calls > self._at and not self.lasting):
            return work()
        if self._after and self.calls == self._at:
            work()
        self.failed = self.failed or name
        raise StorageUnavailable(f"A fault was injected into {name}, call number {self.calls}")

    def _calling(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def calling(*args: Any, **kwargs: Any) -> Any:
            result = self.call(name, lambda: function(*args, **kwargs))
            return self._iterating(name, result) if isinstance(result, Iterator) else result

        return calling

    def _iterating(self, name: str, iterator: Iterator[Any]) -> Iterator[Any]:
        end = object()
        while (item := self.call(name, lambda: next(iterator, end))) is not end:
            yield item


class _Part:
    """A repository whose calls can fail."""

    def __init__(self, faults: Faults, name: str, part: object) -> None:
        self._faults = faults
        self._name = name
        self._part = part

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if name in _NOT_COUNTED or not callable(found):
            return found
        return self._faults._calling(f"{self._name}.{name}", found)  # noqa: SLF001 - of one kind
