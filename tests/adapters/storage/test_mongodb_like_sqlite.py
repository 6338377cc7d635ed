"""SQLite and MongoDB give the same statistics and the same exported bytes."""

from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import harken
from harken import Feedback, FeedbackQuery, GroupBy, Harken, Period
from harken.configuration.storage_urls import open_storage
from harken.domain.query import Dimension
from harken.ports.repository import Stored
from harken.ports.storage import Storage
from harken.services.copying import Copying
from harken.testing import NOON, accepted
from harken.testing import strategies as hst
from harken_adapters.formats.exporting import WRITERS, write_all
from import_files import imported
from shared_data import AIRLINES, needs_real_feedback
from support import ManualClock, counting_ids

pytestmark = pytest.mark.slow

ZONES = ("UTC", "America/New_York", "Asia/Kathmandu")
GROUPINGS = ("agent", "session", "tag", "slot", "context.airline_sentiment", "context.timezone")


@pytest.fixture
def both(mongodb_url: str, tmp_path: Path) -> Iterator[tuple[Harken, Harken]]:
    """Real messages about airlines, in MongoDB and in SQLite, with the same ids and times."""
    with ExitStack() as stack:
        connected = []
        for url in (mongodb_url, f"sqlite:///{tmp_path}/feedback.db"):
            hk = harken.connect(url, clock=ManualClock(), new_id=counting_ids(), spam="allow")
            connected.append(stack.enter_context(hk))
            tally, rejected = imported(hk, AIRLINES.read_bytes())
            assert (tally.added, rejected) == (9_760, [])
        yield connected[0], connected[1]


def _export(hk: Harken, kind: str) -> bytes:
    file = BytesIO()
    write_all(hk.collection.stream(hk.query().in_any_state()), file, WRITERS[kind])
    return file.getvalue()


def _answers(hk: Harken, query: FeedbackQuery) -> Iterator[object]:
    """Return everything that can be read about matching feedback."""
    yield hk.analytics.summary(query)
    for grouping in GROUPINGS:
        yield list(hk.analytics.groups(query, GroupBy.parse(grouping)).items())
    for zone in ZONES:
        yield [hk.analytics.trend(query, period, zone) for period in Period]
        yield hk.analytics.by_hour_of_day(query, zone)
        yield hk.analytics.by_weekday(query, zone)
    yield hk.analytics.keywords(query)
    yield hk.analytics.themes(query)
    yield hk.collection.find(query, limit=1_000)


@needs_real_feedback
def test_real_feedback_has_the_same_statistics_and_exports(both: tuple[Harken, Harken]) -> None:
    """Statistics in every grouping, trends in every zone, themes, lists and both exports are equal, repeatedly."""
    mongodb, sqlite = both
    first = sqlite.collection.find(sqlite.query(), limit=1).items[0]
    for query in (
        sqlite.query(),
        sqlite.query(agent_id=first.agent_id),
        sqlite.query(rating="down"),
        sqlite.query(since=first.created_at.replace(day=18, minute=7), until=first.created_at),
    ):
        expected = list(_answers(sqlite, query))
        assert list(_answers(mongodb, query)) == expected
        assert list(_answers(mongodb, query)) == expected
    for kind in ("jsonl", "csv"):
        assert _export(mongodb, kind) == _export(sqlite, kind)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(hst.feedback_entries(), max_size=12), data=st.data())
def test_a_copy_through_all_storages_exports_the_same_bytes(
    mongodb_url: str, tmp_path_factory: Any, batch: list[Feedback], data: st.DataObject
) -> None:
    """From memory to SQLite, to MongoDB and back to SQLite, after any changes to the feedback."""
    folder = tmp_path_factory.mktemp("copies")
    urls = ("memory://", f"sqlite:///{folder}/one.db", mongodb_url, f"sqlite:///{folder}/two.db")
    with ExitStack() as stack:
        storages = [stack.enter_context(open_storage(url)) for url in urls]
        _empty(storages[2])
        first = storages[0]
        kept = [one.feedback for one in first.feedback.add(accepted(*batch)) if isinstance(one, Stored)]
        for feedback in kept[::2]:
            first.feedback.replace(data.draw(hst.later_versions(feedback)), [])
        first.sessions.update("other", "session", data.draw(hst.metadata()))
        for source, target in pairwise(storages):
            for _ in Copying(source, target, _conflict).batches():
                pass
        for application in hst.APPLICATIONS:
            exports = [_all_of(storage, application) for storage in storages]
            assert exports[1:] == exports[:1] * 3
        metadata = [list(storage.sessions.stream()) for storage in storages]
        assert metadata[1:] == metadata[:1] * 3


def _empty(storage: Storage) -> None:
    for application in storage.feedback.applications():
        storage.feedback.erase(FeedbackQuery(application=application).in_any_state(), at=NOON)
    for application, session_id, _ in list(storage.sessions.stream()):
        storage.sessions.delete(application, session_id)


def _conflict(what: object, reason: str) -> None:
    raise AssertionError(f"{reason}: {what}")


def _all_of(storage: Storage, application: str) -> bytes:
    file = BytesIO()
    write_all(storage.feedback.stream(FeedbackQuery(application=application).in_any_state()), file, WRITERS["jsonl"])
    return file.getvalue()


def test_every_grouping_is_compared() -> None:
    """The list of groupings above is complete."""
    assert {GroupBy.parse(grouping).dimension for grouping in GROUPINGS} == set(Dimension)
