"""The result of a submission."""

from __future__ import annotations

from attrs import frozen

from harken.domain.feedback import Feedback
from harken.domain.violation import Violation


@frozen
class Receipt:
    """The result of a submission: the stored feedback, and whether it was stored before.

    ``waived`` are the violations of rules that were not applied, see :meth:`CollectionService.submit_many`.
    """

    feedback: Feedback
    duplicate: bool = False
    waived: tuple[Violation, ...] = ()

    @property
    def reply(self) -> str | None:
        """The reply to the submitter, if there is one."""
        return self.feedback.reply
