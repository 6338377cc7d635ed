"""The result of a submission."""

from __future__ import annotations

from attrs import frozen

from harken.domain.feedback import Feedback


@frozen
class Receipt:
    """The result of a submission: the stored feedback, and whether it was stored before."""

    feedback: Feedback
    duplicate: bool = False

    @property
    def reply(self) -> str | None:
        """The reply to the submitter, if there is one."""
        return self.feedback.reply
