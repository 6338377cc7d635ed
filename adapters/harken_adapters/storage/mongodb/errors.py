"""The driver's errors in Harken's words: one table."""

from __future__ import annotations

from typing import Final

from bson.errors import BSONError
from pymongo import errors as driver

from harken.domain.errors import StorageClosed, StorageError, StorageIncompatible, StorageUnavailable

_UNKNOWN: Final = "a write's outcome is unknown, so write again with the same idempotency key, which is safe"
_REFUSED: Final = "nothing was written"

#: What cannot be made a document is no error of PyMongo's own.
DriverError = driver.PyMongoError | BSONError

_Row = tuple[type[StorageError], str]

_DUPLICATE_KEY: Final = 11000
_TOO_LATE: Final[_Row] = (StorageUnavailable, f"did not finish in time; {_UNKNOWN}")

#: By error code, see the server's ``error_codes.yml``.
_CODES: Final[dict[int, _Row]] = {
    11: (StorageUnavailable, f"does not know this user; {_REFUSED}, check the user and its rights"),
    13: (StorageUnavailable, f"does not let this user do that; {_REFUSED}, check the user and its rights"),
    18: (StorageUnavailable, f"refuses this user or password; {_REFUSED}, check both"),
    50: _TOO_LATE,
    64: (StorageUnavailable, f"could not reach a majority in time; {_UNKNOWN}"),
    100: (StorageUnavailable, f"has too few members for a majority; {_UNKNOWN}"),
    121: (StorageError, f"refused a document that breaks its validation; {_REFUSED}"),
    8000: (StorageUnavailable, f"refuses this user or password; {_REFUSED}, check both"),
    10334: (StorageError, f"refused a document of more than 16 MB; {_REFUSED}"),
    14031: (StorageUnavailable, f"has no room left on its disk; {_REFUSED}"),
}

#: By class, the first that fits.
_CLASSES: Final[tuple[tuple[type[Exception], _Row], ...]] = (
    (driver.DocumentTooLarge, (StorageError, f"takes no document of more than 16 MB; {_REFUSED}")),
    (driver.InvalidOperation, (StorageClosed, "was closed; connect again")),
    (driver.ServerSelectionTimeoutError, (StorageUnavailable, f"could not be reached in time; {_UNKNOWN}")),
    (driver.NotPrimaryError, (StorageUnavailable, f"has no primary just now; {_UNKNOWN}")),
    (driver.NetworkTimeout, _TOO_LATE),
    (driver.AutoReconnect, (StorageUnavailable, f"broke the connection; {_UNKNOWN}")),
    (driver.ConfigurationError, (StorageIncompatible, f"does not offer what Harken needs; {_REFUSED}")),
)


def translation(name: str, error: DriverError) -> StorageError:
    """What to raise in the place of one of the driver's errors; ``name`` is how people call the storage."""
    kind, what = _row(error)
    return kind(f"{name} {what} (MongoDB says: {_said(error)})")


def only_duplicate_keys(error: driver.BulkWriteError) -> list[int]:
    """The positions of what had no place, if nothing else was wrong; raises the error again if there was."""
    failed = error.details.get("writeErrors", [])
    if error.details.get("writeConcernErrors") or any(one["code"] != _DUPLICATE_KEY for one in failed):
        raise error
    return sorted(one["index"] for one in failed)


def _row(error: DriverError) -> _Row:
    for code in _codes(error):
        if code in _CODES:
            return _CODES[code]
    for kind, row in _CLASSES:
        if isinstance(error, kind):
            return row
    return _TOO_LATE if isinstance(error, driver.PyMongoError) and error.timeout else (StorageError, "failed")


def _codes(error: DriverError) -> list[int]:
    if isinstance(error, driver.BulkWriteError):
        failed = [*error.details.get("writeConcernErrors", ()), *error.details.get("writeErrors", ())]
        return [part["code"] for part in failed]
    if isinstance(error, driver.OperationFailure) and error.code is not None:
        return [error.code]
    return []


def _said(error: DriverError) -> str:
    """The first words of the driver: behind them it repeats whole documents, and the state of every server."""
    text = str(error).partition(", full error:")[0].partition(", Timeout:")[0]
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


_LONGEST: Final = 300
