"""Ids of traces: where feedback has them, and their forms."""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from harken.domain.errors import ConfigurationError
from harken.domain.feedback import Feedback
from harken.domain.rules import name_problem

_MESSAGE: Final = "message_id"
_CONTEXT: Final = "context."
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}")
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_SPAN_ID: Final = re.compile(r"[0-9a-f]{16}")


class TraceSource:
    """Where feedback has the id of its trace.

    Args:
        setting: ``"message_id"``, or ``"context."`` and the name of a context value.
        channel: the kind of channel in messages.

    Raises:
        ConfigurationError: the setting is neither.
    """

    def __init__(self, setting: str, channel: str) -> None:
        name = setting.removeprefix(_CONTEXT)
        if setting != _MESSAGE and (name == setting or name_problem("trace", name)):
            raise ConfigurationError(
                f"trace of {channel} must be 'message_id' or the name of a context value, such as "
                f"'context.trace_id', got {setting!r}"
            )
        self._name = None if setting == _MESSAGE else name

    def id_of(self, feedback: Feedback) -> str | None:
        """The id of the trace; ``None`` if the feedback has none, or if its content is withheld."""
        if self._name is None:
            return feedback.message_id
        value = feedback.context.get(self._name)
        return value.strip() or None if isinstance(value, str) else None

    def may_have_changed(self, feedback: Feedback) -> bool:
        """Whether an earlier version may have another id. The message of feedback never changes."""
        return self._name is not None and feedback.version > 1


@frozen
class SpanContext:
    """Ids of W3C Trace Context (https://www.w3.org/TR/trace-context/), in lower-case hexadecimal digits."""

    trace_id: str | None = None
    span_id: str | None = None

    @classmethod
    def parse(cls, text: str) -> SpanContext:
        """The ids in a ``traceparent``, a trace id (32 digits) or a span id (16 digits); none for other texts."""
        lower = text.lower()
        if match := _TRACEPARENT.fullmatch(lower):
            return cls(match["trace"], match["span"])
        if _TRACE_ID.fullmatch(lower):
            return cls(trace_id=lower)
        return cls(span_id=lower) if _SPAN_ID.fullmatch(lower) else cls()
