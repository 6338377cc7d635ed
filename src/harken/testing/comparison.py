"""What state machines have in common that do the same to a storage and to the reference model."""

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
    """What a call gives, sequences of all kinds as lists, or the kind of error that it raises."""
    try:
        result = call()
        return list(result) if isinstance(result, Iterator | list | tuple) else result
    except HarkenError as error:
        return type(error)


class ComparingMachine(RuleBasedStateMachine):
    """Any sequence of operations, each with the answer that the reference model gives; subclasses say on what."""

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

    def _stored(self) -> list[Feedback]:
        everything = (FeedbackQuery(application=name).in_any_state() for name in hst.APPLICATIONS)
        return [feedback for query in everything for feedback in self._model.feedback.stream(query)]

    def _page_through(self, find: Callable[..., Sequence[Any]], limit: int) -> None:
        """All pages of what can be asked for page by page, and one after the last."""
        after = None
        while page := self._both(partial(find, limit=limit, after=after)):
            after = page[-1]
