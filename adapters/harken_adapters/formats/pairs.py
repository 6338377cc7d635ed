"""Rated answers with their prompts, as JSON Lines for fine-tuning and evaluation.

The texts come from stored conversations.
"""

from __future__ import annotations

from typing import Any, TextIO

from attrs import define, frozen

from harken import Feedback
from harken.services.conversations import ConversationService
from harken_adapters.formats.exporting import Write
from harken_adapters.formats.messages import Message
from harken_adapters.formats.strict_json import dump


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
            line = dump(_record(found, feedback)).encode("utf-8", "backslashreplace").decode()
            file.write(f"{line}\n")

    def _find(self, feedback: Feedback) -> _Found | None:
        application, session_id = feedback.application, feedback.session_id
        speakers = self.conversations.speakers(application, session_id)
        # That of the named agent first: ids could be repeated.
        for agent_id in sorted(speakers, key=lambda speaker: speaker != feedback.agent_id):
            prompt = ""
            for _, record in self.conversations.stream(application, session_id, agent_id):
                message = Message.of(record)
                if message.id == feedback.message_id:
                    return _Found(prompt, message.text if message.role == "assistant" else "")
                if message.role == "user" and not message.has_tool_results:
                    prompt = message.text
        return None


@frozen
class _Found:
    prompt: str
    answer: str


def _record(found: _Found, feedback: Feedback) -> dict[str, Any]:
    return {
        "prompt": found.prompt,
        "answer": found.answer,
        "rating": feedback.rating.value,
        "comment": feedback.comment,
        "tags": list(feedback.tags),
    }
