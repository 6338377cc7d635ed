"""The table of the names of mongodb_session_manager is true."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import frozen

import harken
from harken_adapters.hosts import session_manager
from harken_adapters.hosts.session_manager import (
    MongoDBConnectionPool,
    MongoDBSessionManager,
    MongoDBSessionManagerFactory,
    MongoDBSessionRepository,
)

PAGE: Final = Path(__file__).parents[2] / "docs" / "session-manager.md"
#: A function with the names of its parameters, a parameter, or another name.
NAME = re.compile(r"`(?P<name>[\w.]+)(?:\((?P<parameters>[^)]*)\)|(?P<equals>=))?`")
#: What the other library's classes have, and what its package exports.
LIBRARY: Final[dict[str, str]] = {
    "Package": """
        MongoDBSessionManager MongoDBSessionRepository MongoDBSessionManagerFactory MongoDBConnectionPool
        create_mongodb_session_manager initialize_global_factory get_global_factory close_global_factory
        GUARDRAIL_ACTION_BLOCKED GUARDRAIL_STOP_REASONS create_feedback_sns_hook create_metadata_sqs_hook
        create_metadata_websocket_hook FeedbackSNSHook MetadataSQSHook MetadataWebSocketHook
        is_feedback_sns_hook_available is_metadata_sqs_hook_available is_metadata_websocket_hook_available
        __version__ __author__ __author_email__
        """,
    "MongoDBSessionManager": """
        session_id connection_string database_name collection_name client metadata_fields feedback_hook metadata_hook
        feedbackHook metadataHook application_name maxPoolSize minPoolSize maxIdleTimeMS waitQueueTimeoutMS
        serverSelectionTimeoutMS connectTimeoutMS socketTimeoutMS compressors retryWrites retryReads authSource
        authMechanism tlsAllowInvalidCertificates w journal fsync add_feedback get_feedbacks update_metadata
        get_metadata delete_metadata get_metadata_tool initialize append_message sync_agent redact_latest_message
        get_application_name list_agents get_agent_config set_prompt_metadata update_agent_config get_message_count
        get_session_viewer_password session_repository close
        """,
    "MongoDBSessionManagerFactory": """
        connection_string database_name collection_name client metadata_fields application_name create_session_manager
        get_connection_stats close
        """,
    "MongoDBConnectionPool": "MongoDBConnectionPool initialize get_client get_pool_stats close",
    "MongoDBSessionRepository": """
        connection_string database_name collection_name client metadata_fields application_name create_session
        read_session create_agent read_agent update_agent create_message read_message update_message list_messages
        add_feedback get_feedbacks update_metadata get_metadata delete_metadata get_application_name
        get_session_viewer_password database collection close
        """,
}


@frozen
class Row:
    """A row of a table: the heading above it, a name, its form, and what is said about it."""

    heading: str
    name: str
    parameters: str | None
    is_parameter: bool
    verdict: str
    reason: str


def rows() -> Iterator[Row]:
    """All names in the tables, row by row."""
    tables = PAGE.read_text(encoding="utf-8").partition("\n## Names\n")[2].partition("\n## ")[0]
    for section in tables.split("\n### ")[1:]:
        heading, _, text = section.partition("\n")
        for line in text.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if line.startswith("| ") and cells[0] != "name":
                for found in NAME.finditer(cells[0]):
                    yield Row(heading, found["name"], found["parameters"], found["equals"] is not None, *cells[1:])


ROWS: Final = list(rows())
TAKE_ARGUMENTS: Final = [MongoDBSessionManager, MongoDBSessionManagerFactory, MongoDBSessionRepository]
CARRIED: Final = [row for row in ROWS if row.verdict in {"same", "differs"} and not row.name.isupper()]


@pytest.fixture(scope="module")
def instances() -> Iterator[dict[str, Any]]:
    """What has the names below each heading."""
    factory = MongoDBSessionManagerFactory("memory://")
    yield {
        "Package": session_manager,
        "MongoDBSessionManager": factory.create_session_manager("s"),
        "MongoDBSessionManagerFactory": factory,
        "MongoDBConnectionPool": MongoDBConnectionPool(),
        "MongoDBSessionRepository": MongoDBSessionRepository(client=factory.harken),
    }
    factory.close()


def test_every_name_of_the_library_is_listed() -> None:
    """Each with one of three verdicts, and a reason unless it is the same."""
    for heading, names in LIBRARY.items():
        listed = {row.name for row in ROWS if row.heading == heading}
        assert set(names.split()) - listed == set()
    assert {row.heading for row in ROWS} == LIBRARY.keys()
    assert {row.verdict for row in ROWS} == {"same", "differs", "not carried over"}
    assert [row.name for row in ROWS if row.verdict != "same" and not row.reason] == []


@pytest.mark.parametrize("row", CARRIED, ids=lambda row: f"{row.heading}.{row.name}")
def test_a_carried_name_exists(row: Row, instances: dict[str, Any]) -> None:
    """It can be imported, called with these arguments or passed as an argument."""
    owner = instances[row.heading]
    if row.is_parameter:
        assert _accepts(type(owner), row.name)
        return
    found = owner if row.heading == row.name else getattr(owner, row.name)
    if row.parameters is not None:
        assert callable(found) or row.heading == row.name
        for parameter in filter(None, row.parameters.replace("...", "").split(", ")):
            assert parameter in inspect.signature(found).parameters


def test_constants() -> None:
    """They have the values of the library; a name in capitals that is not one is a setting of the environment."""
    assert session_manager.GUARDRAIL_ACTION_BLOCKED == "BLOCKED"
    assert set(session_manager.GUARDRAIL_STOP_REASONS) == {"guardrail_intervened", "content_filtered"}


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.verdict == "not carried over" and "." not in row.name],
    ids=lambda row: f"{row.heading}.{row.name}",
)
def test_other_names_do_not_exist(row: Row, instances: dict[str, Any]) -> None:
    """A program that uses one fails, instead of getting something else."""
    assert not hasattr(instances[row.heading], row.name)


@pytest.mark.parametrize("kind", TAKE_ARGUMENTS)
def test_other_arguments_are_refused(kind: type[Any]) -> None:
    """A class takes none that it does not know, so the tests above would find a name that is not an argument."""
    assert not _accepts(kind, "no_such_thing")


def _accepts(kind: type[Any], parameter: str) -> bool:
    """Whether a class takes an argument of this name, which may be an option of the driver."""
    needed = {"connection_string": "memory://", **({"session_id": "s"} if kind is MongoDBSessionManager else {})}
    try:
        kind(**{parameter: None, **needed}).close()
    except harken.ConfigurationError as error:
        if "neither an argument" not in str(error):
            raise
        return False
    return True
