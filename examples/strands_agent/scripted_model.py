"""A model for Strands agents that returns scripted responses, without a network."""

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

from strands.models import Model


class ScriptedModel(Model):
    """Returns one line of the script per call: a text, or a tool call as its name and input."""

    def __init__(self, script: Iterable[str | tuple[str, dict[str, Any]]]) -> None:
        self._lines = enumerate(script)

    async def stream(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
        number, line = next(self._lines)
        start, delta, reason = {}, {"text": line}, "end_turn"
        if isinstance(line, tuple):
            name, given = line
            start = {"toolUse": {"name": name, "toolUseId": f"call-{number}"}}
            delta, reason = {"toolUse": {"input": json.dumps(given)}}, "tool_use"
        yield {"messageStart": {"role": "assistant"}}
        yield {"contentBlockStart": {"start": start}}
        yield {"contentBlockDelta": {"delta": delta}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": reason}}

    def get_config(self) -> dict[str, Any]:
        return {"model_id": "scripted"}

    def update_config(self, **_: Any) -> None: ...

    def structured_output(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError
