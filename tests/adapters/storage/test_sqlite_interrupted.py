"""An interrupted transaction is either committed or rolled back, and does not block others."""

import dis
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import harken_adapters.storage.sqlite as package
from harken import Feedback, FeedbackQuery
from harken.configuration.storage_urls import open_storage
from harken.ports.storage import Storage
from harken.testing import NOON, a_series, accepted
from harken_adapters.storage.sqlite import feedback as sqlite_feedback

FOLDER = str(Path(package.__file__).parent)
#: An instruction of the adapter.
Place = tuple[CodeType, int]


class Interrupted(BaseException):
    """Raised like an exception of a signal handler, such as ``KeyboardInterrupt``."""


@contextmanager
def interrupted_at(steps: frozenset[int]) -> Iterator[list[Place]]:
    """Raise in this thread after a number of steps of the adapter's code. Yields the places of the steps taken.

    A step is a bytecode instruction before which a signal may be handled: at the beginning of a function and after a
    call.
    """
    taken: list[Place] = []

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(FOLDER):
            return None
        frame.f_trace_lines = False
        frame.f_trace_opcodes = True
        if event == "call" or (event == "opcode" and _may_be_interrupted(frame)):
            taken.append((frame.f_code, frame.f_lasti))
            if len(taken) in steps:
                raise Interrupted
        return trace

    sys.settrace(trace)
    try:
        yield taken
    finally:
        sys.settrace(None)


def _may_be_interrupted(frame: FrameType) -> bool:
    return frame.f_lasti in _interruptible(frame.f_code)


@cache
def _interruptible(code: CodeType) -> frozenset[int]:
    """Return the instructions after a call or a backward jump, after which the interpreter handles signals.

    The exception is raised by the call, so instructions that are covered by other handlers are left out.
    """
    bytecode = dis.Bytecode(code)

    def handler(offset: int) -> int | None:
        inner = [entry.target for entry in bytecode.exception_entries if entry.start <= offset < entry.end]
        return inner[-1] if inner else None

    return frozenset(
        after.offset
        for before, after in pairwise(bytecode)
        if before.opname.startswith(("CALL", "JUMP_BACKWARD")) and handler(before.offset) == handler(after.offset)
    )


def check_usable(storage: Storage) -> None:
    """Check that another thread and this one can write and read; a thread reveals a lock that is still held."""
    done = threading.Event()

    def use() -> None:
        storage.sessions.update("default", "session", {"name": 1})
        storage.sessions.get("default", "session")
        done.set()

    threading.Thread(target=use, daemon=True).start()
    assert done.wait(60)
    storage.sessions.update("default", "session", {"name": 2})


@pytest.mark.slow
@pytest.mark.parametrize("again", [(), (1,), (3,), (10,)])
def test_a_write_may_be_interrupted_at_any_point(tmp_path: Path, again: tuple[int, ...]) -> None:
    """This includes an interruption of the rollback: all or nothing is stored, and the next write succeeds."""
    items = iter(a_series(5_000))
    with open_storage(f"sqlite:///{tmp_path}/feedback.db") as storage:
        total, step, interrupted = 0, 0, True
        while interrupted:
            step += 1
            interrupted = _interrupt_a_write(storage, [next(items), next(items)], step, again)
            stored = _stored(storage)
            assert stored - total in ((0, 2) if interrupted else (2,))
            total = stored
        assert len(storage.outbox.events(limit=10_000)) == total
        assert storage.check() == []
    assert step > 20


@pytest.mark.slow
@pytest.mark.parametrize("again", [(), (1,)])
def test_a_write_of_many_may_be_interrupted_at_any_point(tmp_path: Path, again: tuple[int, ...]) -> None:
    """So does one of 250 entries, which are inserted and counted together: the first and last time at each place."""
    with open_storage(f"sqlite:///{tmp_path}/feedback.db") as storage:
        with interrupted_at(frozenset()) as places:
            storage.feedback.add(accepted(*a_series(250)))
        assert "counting.py" in {Path(code.co_filename).name for code, _ in places}
        last = {place: step for step, place in enumerate(places, 1)}
        first = {place: step for step, place in reversed([*enumerate(places, 1)])}
        total = 250
        for step in sorted({*first.values(), *last.values()}):
            interrupted = _interrupt_a_write(storage, a_series(250), step, again)
            stored = _stored(storage)
            assert stored - total in ((0, 250) if interrupted else (250,))
            total = stored
        assert storage.check() == []


@pytest.mark.slow
def test_a_read_may_be_interrupted_at_any_point(tmp_path: Path) -> None:
    """The next read or write is not blocked, and the log can be emptied."""
    with open_storage(f"sqlite:///{tmp_path}/feedback.db") as storage:
        storage.feedback.add(accepted(*a_series(3)))
        step, interrupted = 0, True
        while interrupted:
            step += 1
            interrupted = _interrupt(lambda: storage.feedback.find(FeedbackQuery(), limit=2), step, ())
            check_usable(storage)
        storage.sessions.delete("default", "session")
        assert (tmp_path / "feedback.db-wal").stat().st_size == 0
    assert step > 20


def test_a_stored_traceback_holds_no_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A traceback that is kept, as the interactive interpreter does, holds no cursor of the connection."""
    decode, left = sqlite_feedback.from_row, [2]

    def interrupted(row: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise Interrupted
        return decode(row)

    with open_storage(f"sqlite:///{tmp_path}/feedback.db") as storage:
        storage.feedback.add(accepted(*a_series(5)))
        monkeypatch.setattr(sqlite_feedback, "from_row", interrupted)
        with pytest.raises(Interrupted) as kept:
            storage.feedback.find(FeedbackQuery(), limit=5)
        storage.feedback.add(accepted(*a_series(1)))
        assert len(storage.feedback.find(FeedbackQuery(), limit=10).items) == 6
        assert storage.feedback.erase(FeedbackQuery(), at=NOON).feedback == 6
        assert (tmp_path / "feedback.db-wal").stat().st_size == 0
        assert kept.value is not None


def _interrupt_a_write(storage: Storage, entries: Sequence[Feedback], step: int, again: tuple[int, ...]) -> bool:
    interrupted = _interrupt(partial(storage.feedback.add, accepted(*entries)), step, again)
    check_usable(storage)
    return interrupted


def _stored(storage: Storage) -> int:
    return storage.feedback.count(FeedbackQuery(), limit=1_000_000)


def _interrupt(call: Callable[[], object], step: int, again: tuple[int, ...]) -> bool:
    with interrupted_at(frozenset([step, *(step + more for more in again)])) as taken, suppress(Interrupted):
        call()
    return len(taken) >= step
