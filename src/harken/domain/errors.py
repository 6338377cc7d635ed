"""Everything that Harken raises on purpose.

::

    HarkenError
    ├── FeedbackRejected (ValueError)         a submission or a change breaks rules; carries every violation
    │   └── IdempotencyConflict               the key was used before, with another body
    ├── FeedbackNotFound (LookupError)        no such feedback in that application
    ├── FeedbackWithdrawn (ValueError)        its author took it back, so it cannot be changed or moderated
    ├── StaleFeedback                         somebody else changed it first
    │   └── DecisionConflict                  another moderator decided first; says who, what and when
    ├── InvalidTransition (ValueError)        moderation cannot go from that status to that one
    │   └── DecisionConflict                  the same
    ├── InvalidQuery (ValueError)             a filter, limit, cursor or period that cannot be answered
    ├── InvalidMetadata (ValueError)          session metadata that no storage could keep
    ├── InvalidConversation (ValueError)      a message, or what an agent knows, that no storage could keep
    ├── ConversationConflict                  a message of that number is there already, or is not
    ├── InvalidCredentials                    an API key that is unknown, malformed or revoked
    ├── KeyRejected (ValueError)              an API key that cannot be made as asked
    ├── KeyNotFound (LookupError)             no API key with that id
    ├── RouteRejected (ValueError)            a route that cannot be meant
    ├── NoSuchRoute (LookupError)             no route has that name
    ├── NoSuchChannel (LookupError)           no channel has that name
    ├── AlertNotFound (LookupError)           no such alert in that application
    ├── DeliveryNotFound (LookupError)        no such delivery
    ├── DeliveryFailed                        a channel's receiver did not take what was sent
    ├── LeaseLost                             the delivery was claimed by another worker meanwhile
    ├── Overloaded                            the ingestion queue is full; nothing was kept, try again
    ├── ConfigurationError (ValueError)       a setting or storage URL that makes no sense
    │   ├── MissingExtra                      it would, after ``pip install "harken[...]"``
    │   ├── TemplateTooCostly                 a template whose work would exceed its budget
    │   └── TemplateValueMissing              a template that asks for a value which is not there
    └── StorageError                          the storage could not do what was asked
        ├── StorageUnavailable                it did not answer, or is locked; the outcome may be unknown
        ├── StorageClosed                     it was closed, or opened in another process
        ├── StorageIncompatible               not made by Harken, or by a newer one; left untouched
        └── StorageCorrupt                    damaged; left untouched

Whoever wants to catch everything catches :class:`HarkenError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from harken.domain.violation import Violation

if TYPE_CHECKING:
    from harken.domain.moderation import Moderation


class HarkenError(Exception):
    """The base of all errors that Harken raises on purpose."""


class FeedbackRejected(HarkenError, ValueError):
    """A submission or a change breaks rules.

    ``violations`` has all of them; the message joins theirs with ``"; "``.
    """

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(violation.message for violation in self.violations))

    def __reduce__(self) -> tuple[type[FeedbackRejected], tuple[tuple[Violation, ...]]]:
        return type(self), (self.violations,)


class IdempotencyConflict(FeedbackRejected):
    """The idempotency key was used before in this session, with another body. Nothing was stored."""


class FeedbackNotFound(HarkenError, LookupError):
    """There is no such feedback in that application: it never was, or it was erased."""

    def __init__(self, application: str, feedback_id: str) -> None:
        self.application = application
        self.feedback_id = feedback_id
        super().__init__(f"No feedback {feedback_id!r} in application {application!r}")

    def __reduce__(self) -> tuple[type[FeedbackNotFound], tuple[str, str]]:
        return type(self), (self.application, self.feedback_id)


class FeedbackWithdrawn(HarkenError, ValueError):
    """Its author took this feedback back, so it can be neither changed nor moderated."""


class StaleFeedback(HarkenError):
    """Somebody else changed this feedback first. Read it again and repeat the change."""


class InvalidTransition(HarkenError, ValueError):
    """Moderation cannot go from that status to that one."""


class InvalidQuery(HarkenError, ValueError):
    """A filter, limit, cursor, period or zone that cannot be answered."""


class DecisionConflict(StaleFeedback, InvalidTransition):
    """Another moderator decided first, or the feedback was changed since it was read. Nothing was changed.

    ``version`` and ``status`` are those that it has now; ``moderator`` and ``decided_at`` (in UTC) say who took the
    last decision, and when. Both are ``None`` if nobody has decided yet, ``moderator`` also if no name was given.
    """

    def __init__(self, feedback_id: str, version: int, moderation: Moderation) -> None:
        self.feedback_id = feedback_id
        self.version = version
        self.status = moderation.status
        self.moderator = moderation.moderator
        self.decided_at = moderation.decided_at
        self._moderation = moderation
        super().__init__(
            f"Feedback {feedback_id!r} is {moderation} in version {version}; look at it again, "
            "and make the decision on that version"
        )

    def __reduce__(self) -> tuple[type[DecisionConflict], tuple[str, int, Moderation]]:
        return type(self), (self.feedback_id, self.version, self._moderation)


class InvalidMetadata(HarkenError, ValueError):
    """Session metadata that not every storage could keep."""


class InvalidConversation(HarkenError, ValueError):
    """A message, or what an agent knows, that no storage could keep. Nothing was changed."""


class ConversationConflict(HarkenError):
    """A message was to be added whose number is taken, or replaced that is not there. Nothing was changed."""


class InvalidCredentials(HarkenError):
    """The API key is unknown, malformed or revoked; it does not say which."""


class KeyRejected(HarkenError, ValueError):
    """An API key that cannot be made: without a scope, with an unknown one, or under a name that is none."""


class KeyNotFound(HarkenError, LookupError):
    """There is no API key with that id."""


class RouteRejected(HarkenError, ValueError):
    """A route that cannot be meant: of a channel that is not there, or by an unknown word."""


class NoSuchRoute(HarkenError, LookupError):
    """No route has that name."""


class NoSuchChannel(HarkenError, LookupError):
    """No channel has that name."""


class AlertNotFound(HarkenError, LookupError):
    """There is no alert with that id in that application."""


class DeliveryNotFound(HarkenError, LookupError):
    """There is no such delivery in the state that the call needs."""


class DeliveryFailed(HarkenError):
    """A channel's receiver did not take what was sent.

    ``retryable`` tells whether trying again later makes sense, ``retry_after`` how long the receiver wants to be left
    alone, and ``gone`` that it wants nothing any more, ever.
    """

    def __init__(
        self, message: str, *, retryable: bool = True, retry_after: timedelta | None = None, gone: bool = False
    ) -> None:
        super().__init__(message)
        self.retryable = retryable and not gone
        self.retry_after = retry_after
        self.gone = gone


class LeaseLost(HarkenError):
    """The lease on this delivery ran out, and another worker has claimed it since."""


class Overloaded(HarkenError):
    """The ingestion queue is full. Nothing was kept: try again in a moment."""


class ConfigurationError(HarkenError, ValueError):
    """A setting or a storage URL that makes no sense."""


class MissingExtra(ConfigurationError):
    """What was asked for needs an optional dependency that is not installed."""


class TemplateTooCostly(ConfigurationError):
    """Compiling and rendering a template would exceed its budget of work. Trying again leads to the same."""


class TemplateValueMissing(ConfigurationError):
    """A template asks for a value that is not there, such as one of feedback when it is about an alert."""


class StorageError(HarkenError):
    """The storage could not do what was asked."""


class StorageUnavailable(StorageError):
    """The storage did not answer in time. A write's outcome may be unknown; a retry with the same key is safe."""


class StorageClosed(StorageError):
    """The storage was closed, or was opened in another process before a fork."""


class StorageIncompatible(StorageError):
    """The storage was not made by Harken, or by a newer Harken. It was left untouched."""


class StorageCorrupt(StorageError):
    """The storage is damaged. It was left untouched."""
