"""The base class of the state machines that compare a storage with the reference model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any, ClassVar

from hypothesis.stateful import RuleBasedStateMachine

from harken.domain.errors import HarkenError
from harken.domain.feedback import Feedback
from harken.domain.query import FeedbackQuery
from harken.ports.storage import Storage
from harken.testing import strategies as hst
from harken.testing.assertions import check_same
from harken.testing.model import reference_storage


def answer_of(call: Callable[[], object]) -> object:
    """Return the result of the call, or the type of its ``HarkenError``. Sequences and iterators become lists."""
    try:
        result = call()
        return list(result) if isinstance(result, Iterator | list | tuple) else result
    except HarkenError as error:
        return type(error)


class ComparingMachine(RuleBasedStateMachine):
    """Runs every operation on the storage and on the reference model, and compares the results."""

    open_storage: ClassVar[Callable[[], AbstractContextManager[Storage]]]

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._real = self._stack.enter_context(type(self).open_storage())
        self._model = reference_storage()

    def teardown(self) -> None:
        self._stack.close()

    def _both(self, call: Callable[[Storage], object]) -> Any:
        actual = answer_of(lambda: call(self._real))
        check_same(actual, answer_of(lambda: call(self._model)))
        return actual

    def _all_feedback(self) -> list[Feedback]:
        everything = (FeedbackQuery(application=name).in_any_state() for name in hst.APPLICATIONS)
        return [feedback for query in everything for feedback in self._model.feedback.stream(query)]

    def _page_through(self, find: Callable[..., Sequence[Any]], limit: int) -> None:
        """Read all pages, including the empty one after the last entry."""
        after = None
        while page := self._both(partial(find, limit=limit, after=after)):
            after = page[-1]
