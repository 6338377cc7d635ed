"""A local model for Strands agents, which gives predefined answers."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from typing import Any, TypeVar

from attrs import frozen
from pydantic import BaseModel
from strands.models.model import Model
from strands.types.content import Messages
from strands.types.streaming import StreamEvent

T = TypeVar("T", bound=BaseModel)


@frozen
class ToolCall:
    """An answer that calls a tool."""

    name: str
    input: dict[str, Any]


#: A text, a tool call, several calls, or a function that makes a text of the conversation.
Said = str | ToolCall | Sequence[ToolCall] | Callable[[Messages], str]


class LocalModel(Model):
    """Returns the given answers in order, then repeats the last one. Each word counts as one token."""

    def __init__(self, answers: Sequence[Said]) -> None:
        self._answers = list(answers)
        self._config = {"model_id": "local"}
        self._calls = 0

    def update_config(self, **model_config: Any) -> None:
        """Accept any settings."""
        self._config |= model_config

    def get_config(self) -> dict[str, Any]:
        """Return the settings."""
        return self._config

    def structured_output(
        self, output_model: type[T], prompt: Messages, system_prompt: str | None = None, **kwargs: Any
    ) -> AsyncGenerator[dict[str, T | Any], None]:
        """Not supported."""
        raise NotImplementedError

    async def stream(self, messages: Messages, *arguments: Any, **options: Any) -> AsyncIterable[StreamEvent]:
        """Say the next answer."""
        answer = self._answers[min(self._calls, len(self._answers) - 1)]
        self._calls += 1
        said = answer(messages) if callable(answer) else answer
        yield {"messageStart": {"role": "assistant"}}
        calls = [said] if isinstance(said, ToolCall) else said
        for number, call in enumerate(() if isinstance(calls, str) else calls):
            started = {"toolUse": {"name": call.name, "toolUseId": f"call-{len(messages)}-{number}"}}
            yield {"contentBlockStart": {"start": started}}  # type: ignore[typeddict-item]
            yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps(call.input)}}}}
            yield {"contentBlockStop": {}}
        if isinstance(calls, str):
            yield {"contentBlockStart": {"start": {}}}
            yield {"contentBlockDelta": {"delta": {"text": calls}}}
            yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn" if isinstance(calls, str) else "tool_use"}}
        heard, spoken = _tokens(messages), len(str(said).split())
        yield {
            "metadata": {
                "usage": {"inputTokens": heard, "outputTokens": spoken, "totalTokens": heard + spoken},
                "metrics": {"latencyMs": 7},
            }
        }


def _tokens(messages: Messages) -> int:
    return sum(len(block.get("text", "").split()) for message in messages for block in message["content"])
