"""What stands in for things that a test cannot have: a remote model, and the day on which the guide was written."""

from __future__ import annotations

import datetime as real
from typing import Final, Self

from local_model import LocalModel

_ANSWERS: Final = {
    "How do I reset my password?": 'To reset your password, go to the login page and click "Forgot Password"...',
    "Where is my order?": "To check your order status, you'll need your order number...",
}
_ELSE: Final = "Let us look at it together."


def MODEL() -> LocalModel:  # noqa: N802 - it stands where a constant stood
    """Answers what the guide's model answers."""
    return LocalModel([lambda messages: _ANSWERS.get(messages[-1]["content"][0]["text"], _ELSE)])


class datetime(real.datetime):  # noqa: N801 - it stands in for the one of that name
    """Says that it is the time at which the guide's programs were run."""

    @classmethod
    def now(cls, tz: real.tzinfo | None = None) -> Self:
        """The time that the guide shows."""
        return cls(2024, 1, 26, 10, 0, 0, 123456, tzinfo=tz)
