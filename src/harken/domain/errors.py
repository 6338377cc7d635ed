"""The exceptions that Harken raises.

::

    HarkenError
    ├── FeedbackRejected (ValueError)         a submission or a change violates rules; carries every violation
    │   └── IdempotencyConflict               the idempotency key was used with another body
    ├── FeedbackNotFound (LookupError)        the application has no feedback with this id
    ├── FeedbackWithdrawn (ValueError)        withdrawn feedback cannot be changed or moderated
    ├── StaleFeedback                         the feedback was changed by another caller
    │   └── DecisionConflict                  another moderator decided first; carries that decision
    ├── InvalidTransition (ValueError)        the moderation status cannot be changed in this way
    │   └── DecisionConflict                  see above
    ├── InvalidQuery (ValueError)             a filter, limit, cursor or period is invalid
    ├── InvalidMetadata (ValueError)          session metadata cannot be stored
    ├── InvalidConversation (ValueError)      a message or an agent's state cannot be stored
    ├── ConversationConflict                  a message with this number exists, or does not exist
    ├── InvalidCredentials                    an API key is unknown, malformed or revoked
    ├── Forbidden                             the credentials do not allow the operation
    ├── KeyRejected (ValueError)              an API key cannot be created with these values
    ├── KeyNotFound (LookupError)             no API key has this id
    ├── ImportRejected (ValueError)           an import cannot have this id, or continue with this mapping
    ├── ImportNotFound (LookupError)          no import has this id
    ├── RouteRejected (ValueError)            a route is invalid
    ├── NoSuchRoute (LookupError)             no route has this name
    ├── NoSuchChannel (LookupError)           no channel has this name
    ├── AlertNotFound (LookupError)           the application has no alert with this id
    ├── DeliveryNotFound (LookupError)        no delivery has this id
    ├── ChannelOff (ValueError)               the channel is switched off, so nothing can be replayed
    ├── DeliveryFailed                        a channel's receiver did not accept a notification
    ├── LeaseLost                             another worker has claimed the delivery
    ├── Overloaded                            the queue of submissions is full; nothing was stored, retry later
    ├── ConfigurationError (ValueError)       a setting or storage URL is invalid
    │   ├── MissingExtra                      an optional dependency is not installed
    │   ├── TemplateTooCostly                 a template exceeds its work budget
    │   └── TemplateValueMissing              a template uses a value that does not exist
    └── StorageError                          a storage operation failed
        ├── StorageUnavailable                the storage did not respond or is locked; the outcome may be unknown
        │   └── SearchNotReady                comments are being indexed for text search; carries the progress
        ├── StorageClosed                     the storage was closed, or opened in another process
        ├── StorageIncompatible               not a Harken storage, or from a newer version; nothing was changed
        └── StorageCorrupt                    the storage is damaged; nothing was changed

``DecisionConflict`` is in :mod:`harken.domain.moderation`. Catch :class:`HarkenError` to catch all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from harken.domain.violation import Violation


class HarkenError(Exception):
    """The base class of Harken's exceptions."""


class FeedbackRejected(HarkenError, ValueError):
    """A submission or a change violates rules.

    ``violations`` contains all violations. The message joins their messages with ``"; "``.
    """

    def __init__(self, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        super().__init__("; ".join(violation.message for violation in self.violations))

    def __reduce__(self) -> tuple[type[FeedbackRejected], tuple[tuple[Violation, ...]]]:
        return type(self), (self.violations,)


class IdempotencyConflict(FeedbackRejected):
    """The idempotency key was used in this session with another body. Nothing was stored."""


class FeedbackNotFound(HarkenError, LookupError):
    """The application has no feedback with this id: it never existed, or it was erased."""

    def __init__(self, application: str, feedback_id: str) -> None:
        self.application = application
        self.feedback_id = feedback_id
        super().__init__(f"No feedback with id {feedback_id!r} in application {application!r}")

    def __reduce__(self) -> tuple[type[FeedbackNotFound], tuple[str, str]]:
        return type(self), (self.application, self.feedback_id)


class FeedbackWithdrawn(HarkenError, ValueError):
    """The feedback was withdrawn by its author and can be neither changed nor moderated."""


class StaleFeedback(HarkenError):
    """Another caller changed the feedback first. Read it again and repeat the change."""


class InvalidTransition(HarkenError, ValueError):
    """The moderation status cannot be changed in this way."""


class InvalidQuery(HarkenError, ValueError):
    """A filter, limit, cursor, period or time zone is invalid."""


class InvalidMetadata(HarkenError, ValueError):
    """Session metadata cannot be stored by every storage."""


class InvalidConversation(HarkenError, ValueError):
    """A message or an agent's state cannot be stored. Nothing was changed."""


class ConversationConflict(HarkenError):
    """The message to add exists already, or the message to replace does not exist. Nothing was changed."""


class InvalidCredentials(HarkenError):
    """The API key is unknown, malformed or revoked; which of these is not disclosed."""


class Forbidden(HarkenError):
    """The credentials do not allow the operation, or not for this application, agent, session or author."""


class KeyRejected(HarkenError, ValueError):
    """An API key cannot be created: it has no scope, an unknown scope or an invalid name."""


class KeyNotFound(HarkenError, LookupError):
    """No API key has this id."""


class ImportRejected(HarkenError, ValueError):
    """An import cannot begin: its id is invalid, or an import with this id has another mapping. Nothing was changed."""


class ImportNotFound(HarkenError, LookupError):
    """The application has no import with this id, and no feedback from one."""


class RouteRejected(HarkenError, ValueError):
    """A route is invalid: for example, its channel does not exist, or a value is unknown."""


class NoSuchRoute(HarkenError, LookupError):
    """No route has this name."""


class NoSuchChannel(HarkenError, LookupError):
    """No channel has this name."""


class AlertNotFound(HarkenError, LookupError):
    """The application has no alert with this id."""


class DeliveryNotFound(HarkenError, LookupError):
    """No delivery with this id is in a state that allows the operation."""


class DeliveryFailed(HarkenError):
    """A channel's receiver did not accept a notification.

    The message and the words are stored with deliveries about feedback, and erased with it. Of other deliveries only
    the status is stored, as the rest may quote feedback. So the status must not quote anything, and neither must the
    message of a receiver that is gone, which is stored with the channel.

    Attributes:
        retryable: whether a later attempt may succeed.
        retry_after: how long the receiver asks to wait before the next attempt.
        gone: whether the receiver permanently accepts no notifications.
        planned: whether the receiver accepted the notification, but needs it once more. The channel does not count as
            failing.
        status: the status that the receiver answered with, such as ``410 Gone``, or in a few words why there is none,
            such as ``timed out``. The same for failures with the same cause.
        words: the receiver's own words, without secrets of the channel; empty if there are none.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = True,
        retry_after: timedelta | None = None,
        gone: bool = False,
        planned: bool = False,
        status: str = "",
        words: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.words = words
        self.planned = planned
        self.retryable = retryable and not gone
        self.retry_after = retry_after
        self.gone = gone


class ChannelOff(HarkenError, ValueError):
    """The channel is switched off, so nothing is replayed to it. Switch it on first."""


class LeaseLost(HarkenError):
    """The lease on the delivery ended, and another worker has claimed the delivery."""


class Overloaded(HarkenError):
    """The queue of submissions is full, or a limit is reached. Nothing was stored; retry later.

    ``retry_after`` is how long to wait before that; ``None`` if it is not known.
    """

    def __init__(self, message: str = "", *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[type[Overloaded], tuple[str], dict[str, timedelta | None]]:
        return type(self), (str(self),), {"retry_after": self.retry_after}


class ConfigurationError(HarkenError, ValueError):
    """A setting or a storage URL is invalid."""


class MissingExtra(ConfigurationError):
    """An optional dependency is not installed."""


class TemplateTooCostly(ConfigurationError):
    """Compiling or rendering a template would exceed its work budget. A retry fails in the same way."""


class TemplateValueMissing(ConfigurationError):
    """A template uses a value that does not exist, such as a comment in a notification about an alert."""


class StorageError(HarkenError):
    """A storage operation failed."""


class StorageUnavailable(StorageError):
    """The storage did not respond in time. The outcome of a write may be unknown; a retry with the same key is safe."""


class SearchNotReady(StorageUnavailable):
    """Too many comments are not indexed for text search yet. They are being indexed; repeat the search later.

    Attributes:
        indexed: how many entries of the application are indexed.
        total: how many entries it has.
        retry_after: about how long the rest takes.
    """

    def __init__(self, indexed: int, total: int, *, retry_after: timedelta) -> None:
        self.indexed, self.total, self.retry_after = indexed, total, retry_after
        seconds = max(1, round(retry_after.total_seconds()))
        super().__init__(
            f"Comments are being indexed for text search: {indexed:,} of {total:,} entries are done. "
            f"Try again in about {seconds:,} s"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _search_not_ready, (self.indexed, self.total, self.retry_after)


def _search_not_ready(indexed: int, total: int, retry_after: timedelta) -> SearchNotReady:
    return SearchNotReady(indexed, total, retry_after=retry_after)


class StorageClosed(StorageError):
    """The storage was closed, or it was opened in another process before a fork."""


class StorageIncompatible(StorageError):
    """The storage was not created by Harken, or was created by a newer version. Nothing was changed."""


class StorageCorrupt(StorageError):
    """The storage is damaged. Nothing was changed."""
