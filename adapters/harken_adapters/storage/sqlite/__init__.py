"""``sqlite:///path``: the default storage, one embedded file for any number of threads and processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from harken.ports.storage import Storage
from harken_adapters.storage.sqlite.alerts import SqliteAlertRepository
from harken_adapters.storage.sqlite.comment_index import SqliteCommentIndex
from harken_adapters.storage.sqlite.conversations import SqliteConversationRepository
from harken_adapters.storage.sqlite.database import Database
from harken_adapters.storage.sqlite.feedback import SqliteFeedbackRepository
from harken_adapters.storage.sqlite.keys import SqliteKeyRepository
from harken_adapters.storage.sqlite.opening import must_exist
from harken_adapters.storage.sqlite.outbox import SqliteOutbox
from harken_adapters.storage.sqlite.rebuilding import rebuild
from harken_adapters.storage.sqlite.sessions import SqliteSessionRepository
from harken_adapters.storage.sqlite.state import SqliteStateRepository
from harken_adapters.storage.sqlite.url import parse_url


@contextmanager
def open_storage(url: str, *, existing: bool = False) -> Iterator[Storage]:
    """Open the storage in the file that ``url`` names. The file is created if missing, unless ``existing`` is set.

    Raises:
        ConfigurationError: the URL is invalid.
        StorageIncompatible: the file was not created by Harken, or by a newer version; nothing was changed.
        StorageCorrupt: the file is damaged; nothing was changed.
        StorageUnavailable: the file cannot be opened, stayed locked, or is missing although it must exist.
    """
    location = parse_url(url)
    if existing:
        must_exist(location.path)
    database = Database(location.path, busy_timeout=location.busy_timeout)
    index = SqliteCommentIndex(database)
    try:
        yield Storage(
            feedback=SqliteFeedbackRepository(database, index),
            sessions=SqliteSessionRepository(database),
            outbox=SqliteOutbox(database),
            keys=SqliteKeyRepository(database),
            alerts=SqliteAlertRepository(database),
            state=SqliteStateRepository(database),
            conversations=SqliteConversationRepository(database),
            check=lambda: [*database.check(), *index.check()],
            rebuild=partial(rebuild, database, index),
            index_comments=index.fill,
        )
    finally:
        try:
            index.close()
        finally:
            database.close()
