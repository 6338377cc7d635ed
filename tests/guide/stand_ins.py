"""Substitutes for a remote model, and for the time at which the guide was written."""

from __future__ import annotations

import datetime as real
from typing import Final, Self

from local_model import LocalModel

_ANSWERS: Final = {
    "How do I reset my password?": 'To reset your password, go to the login page and click "Forgot Password"...',
    "Where is my order?": "To check your order status, you'll need your order number...",
}
_ELSE: Final = "Let us look at it together."


def MODEL() -> LocalModel:  # noqa: N802 - it replaces a constant
    """A model with the answers in the guide."""
    return LocalModel([lambda messages: _ANSWERS.get(messages[-1]["content"][0]["text"], _ELSE)])


class datetime(real.datetime):  # noqa: N801 - it replaces the class of this name
    """A ``datetime`` whose ``now`` is the time in the guide's output."""

    @classmethod
    def now(cls, tz: real.tzinfo | None = None) -> Self:
        """The time in the guide."""
        return cls(2024, 1, 26, 10, 0, 0, 123456, tzinfo=tz)
