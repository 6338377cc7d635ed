"""Rated answers with their prompts, as JSON Lines for fine-tuning and evaluation.

The texts come from stored conversations. A message is an object with a ``role``, a ``content`` and an id
(``tracking_id`` or ``id``), or an object that has such a ``message``, as Strands stores it. Its content is a text or a
list of blocks, of which those with a ``text`` count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TextIO

from attrs import define, frozen

from harken import Feedback
from harken.ports.conversations import JsonObject
from harken.services.conversations import ConversationService
from harken_adapters.formats.exporting import Write

_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
#: The results of tools are messages of the user's role, in Strands and at some providers.
_TOOL_RESULTS: Final = frozenset({"toolResult", "tool_result"})


@define
class Pairs:
    """Writes a line for each answer that feedback is about, and counts the feedback for which there is none.

    Attributes:
        no_message: feedback that is not about a message.
        not_found: feedback on messages that are not in the conversation of their session.
        no_text: feedback on messages that are not an answer with text, or that follow no text of the user.
    """

    conversations: ConversationService
    written: int = 0
    no_message: int = 0
    not_found: int = 0
    no_text: int = 0

    def writer(self, file: TextIO) -> Write:
        """The function that writes the line of one entry."""
        return lambda feedback: self._write(feedback, file)

    def _write(self, feedback: Feedback, file: TextIO) -> None:
        if feedback.message_id is None:
            self.no_message += 1
        elif (found := self._find(feedback)) is None:
            self.not_found += 1
        elif not (found.prompt and found.answer):
            self.no_text += 1
        else:
            self.written += 1
            # A message may have half a surrogate pair, which UTF-8 has no bytes for; JSON has an escape for it.
            line = _dump(_record(found, feedback)).encode("utf-8", "backslashreplace").decode()
            file.write(f"{line}\n")

    def _find(self, feedback: Feedback) -> _Found | None:
        application, session_id = feedback.application, feedback.session_id
        speakers = self.conversations.speakers(application, session_id)
        # That of the named agent first: ids could be repeated.
        for agent_id in sorted(speakers, key=lambda speaker: speaker != feedback.agent_id):
            prompt = ""
            for _, record in self.conversations.stream(application, session_id, agent_id):
                message = _Message.of(record)
                if message.id == feedback.message_id:
                    return _Found(prompt, message.text if message.role == "assistant" else "")
                if message.role == "user" and not message.has_tool_results:
                    prompt = message.text
        return None


@frozen
class _Found:
    prompt: str
    answer: str


@frozen
class _Message:
    id: object
    role: object
    text: str
    has_tool_results: bool

    @classmethod
    def of(cls, record: JsonObject) -> _Message:
        """Any JSON object may have been stored as a message."""
        message: Any = record.get("message")
        if not isinstance(message, Mapping):
            message = record
        # A guardrail replaced the content.
        redacted: Any = record.get("redact_message")
        content = (redacted if isinstance(redacted, Mapping) else message).get("content")
        blocks: list[Any] = [{"text": content}] if isinstance(content, str) else content or []
        blocks = [block for block in blocks if isinstance(block, Mapping)] if isinstance(blocks, list) else []
        return cls(
            message.get("tracking_id") or message.get("id"),
            message.get("role"),
            "\n".join(block["text"] for block in blocks if isinstance(block.get("text"), str)),
            any(_is_tool_result(block) for block in blocks),
        )


def _is_tool_result(block: Mapping[str, Any]) -> bool:
    return not _TOOL_RESULTS.isdisjoint(block) or (isinstance(kind := block.get("type"), str) and kind in _TOOL_RESULTS)


def _record(found: _Found, feedback: Feedback) -> dict[str, Any]:
    return {
        "prompt": found.prompt,
        "answer": found.answer,
        "rating": feedback.rating.value,
        "comment": feedback.comment,
        "tags": list(feedback.tags),
    }
