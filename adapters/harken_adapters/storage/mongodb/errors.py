"""Translation of the driver's errors to Harken's."""

from __future__ import annotations

from typing import Any, Final

from bson.errors import BSONError
from pymongo import errors as driver

from harken.domain.errors import StorageClosed, StorageError, StorageIncompatible, StorageUnavailable
from harken_adapters.storage.failures import NOTHING_WRITTEN, Failure

#: The BSON encoder does not raise PyMongo's own errors.
DriverError = driver.PyMongoError | BSONError

_UNKNOWN: Final = "it may have been stored; it is safe to repeat it with the same idempotency key"
_DUPLICATE_KEY: Final = 11000
_TOO_LATE: Final = Failure(StorageUnavailable, "did not finish in time", _UNKNOWN)
_INTERRUPTED: Final = Failure(StorageUnavailable, "was interrupted, as its servers are changing roles", _UNKNOWN)
_WRONG_PASSWORD: Final = Failure(
    StorageUnavailable, "refuses the user name or password", NOTHING_WRITTEN, remedy="check both"
)
_CHECK_PERMISSIONS: Final = "check the user's permissions"

#: By error code; see the server's ``error_codes.yml``.
_CODES: Final = {
    11: Failure(StorageUnavailable, "does not know the user", NOTHING_WRITTEN, remedy=_CHECK_PERMISSIONS),
    13: Failure(StorageUnavailable, "does not permit this operation", NOTHING_WRITTEN, remedy=_CHECK_PERMISSIONS),
    18: _WRONG_PASSWORD,
    50: _TOO_LATE,
    64: Failure(StorageUnavailable, "could not reach a majority in time", _UNKNOWN),
    91: _INTERRUPTED,
    100: Failure(StorageUnavailable, "has too few members for a majority", _UNKNOWN),
    121: Failure(StorageError, "refused a document that fails validation", NOTHING_WRITTEN),
    189: _INTERRUPTED,
    8000: _WRONG_PASSWORD,
    10334: Failure(StorageError, "refused a document larger than 16 MB", NOTHING_WRITTEN),
    11600: _INTERRUPTED,
    11602: _INTERRUPTED,
    14031: Failure(StorageUnavailable, "has no space left on its disk", NOTHING_WRITTEN),
}

#: By class; the first match applies.
_CLASSES: Final[tuple[tuple[type[Exception], Failure], ...]] = (
    (
        driver.DocumentTooLarge,
        Failure(StorageError, "does not accept documents larger than 16 MB", NOTHING_WRITTEN),
    ),
    (driver.InvalidOperation, Failure(StorageClosed, "was closed", remedy="connect again")),
    (
        driver.ServerSelectionTimeoutError,
        Failure(StorageUnavailable, "could not be reached in time; check its address and whether it runs", _UNKNOWN),
    ),
    (driver.NotPrimaryError, Failure(StorageUnavailable, "currently has no primary", _UNKNOWN)),
    (driver.NetworkTimeout, _TOO_LATE),
    (
        driver.ProtocolError,
        Failure(StorageUnavailable, "returned the response of another, interrupted call", _UNKNOWN),
    ),
    (driver.AutoReconnect, Failure(StorageUnavailable, "broke the connection", _UNKNOWN)),
    (
        driver.ConfigurationError,
        Failure(StorageIncompatible, "does not offer what Harken needs", NOTHING_WRITTEN),
    ),
)
_OTHER: Final = Failure(StorageError, "failed")


def translation(name: str, error: DriverError, *, writes: bool = True) -> StorageError:
    """Return the Harken error for one of the driver's errors.

    Args:
        name: names the storage in the message.
        error: the error of the driver.
        writes: whether the call may have written; otherwise the message does not say what became of a write.
    """
    failure = _failure(error)
    return failure.error(f"{name} {failure.describe(writes=writes)} (MongoDB says: {_shorten(error)})")


def only_duplicate_keys(error: driver.BulkWriteError) -> list[int]:
    """Return the positions of duplicate keys. Raises the error again if there were other problems."""
    failed = error.details.get("writeErrors", [])
    if _write_concern_errors(error) or any(one["code"] != _DUPLICATE_KEY for one in failed):
        raise error
    return sorted(one["index"] for one in failed)


def _failure(error: DriverError) -> Failure:
    for code in _codes(error):
        if code in _CODES:
            return _CODES[code]
    for kind, failure in _CLASSES:
        if isinstance(error, kind):
            return failure
    if isinstance(error, driver.PyMongoError) and error.timeout:
        return _TOO_LATE
    # If a retry may succeed, or a majority has not yet confirmed the write, its outcome is unknown.
    return _INTERRUPTED if _may_be_stored(error) else _OTHER


def _codes(error: DriverError) -> list[int]:
    if isinstance(error, driver.BulkWriteError):
        return [part["code"] for part in (*_write_concern_errors(error), *error.details.get("writeErrors", ()))]
    if isinstance(error, driver.OperationFailure) and error.code is not None:
        return [error.code]
    return []


def _may_be_stored(error: DriverError) -> bool:
    if isinstance(error, driver.BulkWriteError):
        return bool(_write_concern_errors(error))
    if isinstance(error, driver.WriteConcernError):
        return True
    return isinstance(error, driver.PyMongoError) and error.has_error_label("RetryableWriteError")


def _write_concern_errors(error: driver.BulkWriteError) -> list[dict[str, Any]]:
    """Return the errors that concern the confirmation of a write, not the write."""
    found: list[dict[str, Any]] = error.details.get("writeConcernErrors", [])
    return found


def _shorten(error: DriverError) -> str:
    """Return the beginning of the driver's message: the rest repeats whole documents and the state of every server."""
    text = str(error)
    for noise in (", full error:", ", Timeout:", " (configured timeouts"):
        text = text.partition(noise)[0]
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


_LONGEST: Final = 300
