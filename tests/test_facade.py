"""The class that ``connect`` returns, called directly and through its counterpart for asyncio."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import evolve

import harken
from driving import LOOPS, Driven, Driver
from harken import (
    AsyncHarken,
    Change,
    Feedback,
    FeedbackNotFound,
    FeedbackQuery,
    FeedbackRejected,
    Harken,
    InvalidQuery,
    Period,
    Rating,
    StaleFeedback,
    Summary,
    Target,
)
from harken.ports.storage import Storage
from harken_adapters.storage.memory import open_storage
from support import NOON, ManualClock, a_submission, counting_ids

#: How the tests call the facade: on which storage, and in which event loop, if in one.
WAYS = [
    "memory",
    "memory asyncio",
    "sqlite asyncio",
    "sqlite uvloop",
    pytest.param("mongodb asyncio", marks=pytest.mark.slow),
    pytest.param("mongodb uvloop", marks=pytest.mark.slow),
]


@pytest.fixture(params=WAYS)
def hk(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> Iterator[Harken]:
    """A Harken with an empty storage, or one that calls an ``AsyncHarken``."""
    kind, _, loop = request.param.partition(" ")
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/feedback.db"}
    url = urls.get(kind) or request.getfixturevalue("mongodb_url")
    with harken.connect(url, clock=clock, new_id=counting_ids()) as connected:
        if not loop:
            yield connected
            return
        driver, hk = Driver(LOOPS[loop]), AsyncHarken(connected)
        yield cast("Harken", Driven(hk, driver))
        driver(hk.close())
        driver.close()


@pytest.fixture
def filled(hk: Harken, clock: ManualClock) -> Harken:
    """Four entries, an hour apart, that differ in everything."""
    hk.submit("s1", "up", agent_id="a", message_id="m1", author="ann", tags=["x"], context={"tier": 1})
    clock.turn(hours=1)
    hk.submit("s2", "down", "Slow", agent_id="b", message_id="m2", author="bob", tags=["y"], context={"tier": "free"})
    clock.turn(hours=1)
    hk.submit("s3", None)
    clock.turn(hours=1)
    hk.submit("s4", "up", application="shop")
    return hk


def sessions(page: harken.Page) -> list[str]:
    """The sessions of the entries."""
    return [feedback.session_id for feedback in page.items]


@pytest.mark.parametrize("soon", [False, True])
def test_every_argument_arrives(hk: Harken, *, soon: bool) -> None:
    """Both calls take the same arguments, and each is stored in its place."""
    arguments: dict[str, Any] = {
        "agent_id": "a",
        "message_id": "m",
        "author": "ann",
        "tags": ["t"],
        "context": {"tier": "free"},
        "idempotency_key": "k",
        "application": "shop",
    }
    receipt = (
        hk.submit_soon("s", "down", "Slow", **arguments).result()
        if soon
        else hk.submit("s", "down", "Slow", **arguments)
    )
    expected = a_submission("s", Rating.DOWN, "Slow", **{**arguments, "tags": ("t",), "created_at": NOON})
    assert receipt.feedback.as_submission() == expected


def test_soon_never_raises(hk: Harken) -> None:
    """The future raises the error of a submission."""
    assert isinstance(hk.submit_soon("", "maybe").exception(), FeedbackRejected)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["s3", "s2", "s1"]),
        ({"application": None}, ["s3", "s2", "s1"]),
        ({"application": "shop"}, ["s4"]),
        ({"application": ""}, []),
        ({"session_id": "s2"}, ["s2"]),
        ({"message_id": "m1"}, ["s1"]),
        ({"agent_id": "b"}, ["s2"]),
        ({"author": "ann"}, ["s1"]),
        ({"rating": "up"}, ["s1"]),
        ({"rating": Rating.DOWN}, ["s2"]),
        ({"rating": None}, ["s3"]),
        ({"tag": "y"}, ["s2"]),
        ({"context": {"tier": "1"}}, ["s1"]),
        ({"since": NOON + timedelta(hours=1)}, ["s3", "s2"]),
        ({"until": NOON + timedelta(hours=1)}, ["s1"]),
        ({"agent_id": "a", "rating": "down"}, []),
    ],
)
def test_filters(filled: Harken, filters: dict[str, Any], expected: list[str]) -> None:
    """Each keyword filters, in the same way for lists, streams and statistics."""
    assert sessions(filled.feedback(**filters)) == expected
    chosen = list(filled.export(**filters))
    assert [one.session_id for one in chosen] == expected[::-1]
    assert filled.summary(**filters) == Summary.fold(chosen)


def test_a_misspelt_filter_is_an_error(filled: Harken) -> None:
    """An unknown filter is an error, and is not ignored."""
    calls: list[Any] = [filled.feedback, filled.export, filled.summary, filled.themes, filled.trend, filled.query]
    for call in calls:
        with pytest.raises(
            TypeError,
            match=r"unknown filters 'agent' \(did you mean 'agent_id'\?\), 'sesion_id' \(did you mean 'session_id'\?\)",
        ):
            list(call(sesion_id="s1", agent="a"))


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"rating": "maybe"}, "Invalid rating: maybe. Must be 'up', 'down', or None"),
        ({"since": datetime(2026, 1, 1)}, "2026-01-01T00:00:00 has no time zone"),  # noqa: DTZ001
        ({"until": "today"}, "since and until must be datetimes, got str"),
        ({"context": {"$where": "1"}}, "context name '$where' may only have"),
        ({"context": {"a": {}}}, "context.a must be a string, a number, true, false or null, got dict"),
        ({"limit": 0}, "limit must be from 1 to 1,000, got 0"),
        ({"after": "nonsense"}, "'nonsense' is not a cursor"),
    ],
)
def test_invalid_filters(filled: Harken, filters: dict[str, Any], message: str) -> None:
    """The error describes the problem."""
    with pytest.raises(InvalidQuery) as caught:
        filled.feedback(**filters)
    assert str(caught.value).startswith(message)


def test_pages(filled: Harken) -> None:
    """The next page starts where the last one ended, by cursor or by its text."""
    first = filled.feedback(limit=2)
    assert sessions(first) == ["s3", "s2"]
    assert first.next is not None
    assert sessions(filled.feedback(after=first.next)) == sessions(filled.feedback(after=str(first.next))) == ["s1"]
    assert filled.feedback(after=first.next).next is None


def test_statistics(filled: Harken) -> None:
    """Groups, trends and themes are those of the services."""
    query = FeedbackQuery()
    assert filled.summary().satisfaction == 50
    assert filled.groups("agent") == filled.analytics.groups(query, harken.GroupBy.parse("agent"))
    assert filled.groups(harken.GroupBy.parse("context.tier")).keys() == {"1", "free", None}
    assert filled.trend("hour") == filled.trend(Period.HOUR) == filled.analytics.trend(query, Period.HOUR)
    assert [one.keyword for one in filled.themes(["slow", "wrong"])] == ["slow"]
    assert filled.themes() == filled.analytics.themes(query)
    assert filled.themes().comments == 1
    assert filled.themes(session_id="s1").comments == 0


@pytest.mark.parametrize("period", ["month", "", None, 7])
def test_invalid_periods(filled: Harken, period: str) -> None:
    """An unknown period is an error."""
    with pytest.raises(InvalidQuery, match="one of 'hour', '3-hours', '6-hours', 'day', 'week'; not by"):
        filled.trend(period)


def test_the_application_of_the_connection() -> None:
    """Calls without an application use that of the connection; an empty application is an error and not the default."""
    with harken.connect("memory://", application="shop") as hk:
        assert hk.submit("s", "up").feedback.application == "shop"
        assert hk.summary().total == 1
        assert hk.summary(application="default").total == 0
        with pytest.raises(FeedbackRejected, match="application must not be empty"):
            hk.submit("s", "up", application="")


class TestChecking:
    def test_no_problems(self, filled: Harken) -> None:
        """An undamaged storage has no problems."""
        assert filled.check() == []

    def test_damage_and_wrong_statistics(self) -> None:
        """Problems of the storage are reported, and statistics that differ from a recount."""
        with open_storage() as storage:
            damaged = evolve(storage, check=lambda: ["page 7 is torn"])
            hk = harken.connect(damaged)
            feedback = hk.submit("s", "up").feedback
            assert hk.check() == ["page 7 is torn"]
            _forget(storage, feedback)
            torn, *wrong = hk.check()
            assert torn == "page 7 is torn"
            assert [problem.partition(" are ")[0] for problem in wrong] == [
                "The statistics of all",
                "The statistics by agent",
                "The statistics by slot",
            ]
            assert all("a recount gives None" in problem for problem in wrong)
            hk.close()


def _forget(storage: Storage, feedback: Feedback) -> None:
    """Lose one entry without updating the counters, as a defective disk would."""
    application = storage.feedback._data.applications[feedback.application]  # type: ignore[attr-defined]
    application.order.clear()


def test_closing_callbacks() -> None:
    """Callbacks are called when Harken is closed, after the writes, in order and once."""
    seen: list[str] = []
    hk = harken.connect("memory://")
    hk.on_close(lambda: seen.append("first"))
    hk.on_close(lambda: seen.append("second"))
    hk.close()
    hk.close()
    assert seen == ["first", "second"]


def test_the_default_clock() -> None:
    """By default, it is the machine's time, in UTC."""
    before = datetime.now(UTC)
    with harken.connect("memory://") as hk:
        feedback = hk.collection.submit(harken.Submission(target=Target("s"), rating="up")).feedback
    assert before <= feedback.created_at <= datetime.now(UTC)
    assert feedback.created_at.tzinfo is UTC


def test_a_vote_belongs_to_the_application_of_the_connection() -> None:
    """A vote without an application is stored in that of this Harken, and elsewhere only on request."""
    with harken.connect("memory://", application="shop") as hk:
        hk.collection.set_vote(Target("session"), "ann", "up")
        hk.collection.set_vote(Target("session"), "ann", "down", "no", application="other")
        assert (hk.summary().positive, hk.summary().negative) == (1, 0)
        assert hk.summary(application="other").negative == 1


def test_a_storage_without_stored_statistics_has_none_to_rebuild(hk: Harken) -> None:
    """A rebuild is harmless everywhere: where nothing was wrong, nothing is reported."""
    hk.submit("s", "up")
    assert hk.rebuild() == []


def test_invalid_ids() -> None:
    """Looking up an invalid id finds nothing, or says why, in every storage."""
    with harken.connect("memory://") as hk:
        with pytest.raises(harken.FeedbackNotFound):
            hk.collection.get("default", "\ud800")
        with pytest.raises(harken.FeedbackNotFound):
            hk.collection.withdraw("default", "\x00")
        for call in (hk.sessions.get, hk.sessions.delete):
            with pytest.raises(harken.InvalidMetadata, match="surrogate"):
                call("default", "\ud800")


class TestVotes:
    def test_one_vote_each(self, hk: Harken) -> None:
        """An author has one vote on a message and one on the session, in each application."""
        first = hk.vote("s", "up", author="ann", message_id="m", agent_id="a").feedback
        second = hk.vote("s", "down", "Slow", author="ann", message_id="m", tags=["slow"], context={"n": 1}).feedback
        whole = hk.vote("s", None, author="ann").feedback
        other = hk.vote("s", "up", author="ann", message_id="m", application="shop").feedback
        assert (second.id, second.version, second.agent_id) == (first.id, 2, "a")
        assert hk.votes("s", author="ann") == [second, whole]
        assert hk.votes("s", author="ann", application="shop") == [other]
        assert hk.votes("s", author="bob") == []

    def test_withdrawing(self, hk: Harken) -> None:
        """Withdrawing a vote affects only that of the message and author; without one, the result is ``None``."""
        on_message = hk.vote("s", "up", author="ann", message_id="m").feedback
        whole = hk.vote("s", "up", author="ann").feedback
        withdrawn = hk.withdraw_vote("s", author="ann", message_id="m")
        assert withdrawn is not None
        assert (withdrawn.id, withdrawn.withdrawn) == (on_message.id, True)
        assert hk.withdraw_vote("s", author="ann", message_id="m") is None
        assert hk.withdraw_vote("s", author="ann", application="shop") is None
        assert hk.votes("s", author="ann") == [whole]

    def test_need_an_author(self, hk: Harken) -> None:
        """Without an author, nobody's votes are set, returned or withdrawn."""
        hk.vote("s", "up", author="ann", message_id="m")
        nobody: Any = None
        for call in (
            lambda: hk.vote("s", "down", "No", author=nobody, message_id="m"),
            lambda: hk.votes("s", author=nobody),
            lambda: hk.withdraw_vote("s", author=nobody, message_id="m"),
        ):
            with pytest.raises(FeedbackRejected, match="A vote needs an author"):
                call()
        assert hk.summary().positive == 1

    def test_misspelt_keywords(self, hk: Harken) -> None:
        """An unknown keyword is an error, which lists those that there are."""
        misspelt: Any = {"agent": "x"}
        with pytest.raises(
            TypeError, match=r"unknown keyword 'agent' \(did you mean 'agent_id'\?\); expected one of .*agent_id"
        ):
            hk.vote("s", "up", author="ann", **misspelt)


def test_changing_and_withdrawing(hk: Harken) -> None:
    """Feedback is read, changed and withdrawn by its id, in its application only."""
    stored = hk.submit("s", "up", application="shop").feedback
    assert hk.get(stored.id, application="shop") == stored
    for call in (hk.get, hk.withdraw, lambda feedback_id: hk.change(feedback_id, Change(comment="No"))):
        with pytest.raises(FeedbackNotFound):
            call(stored.id)
    changed = hk.change(stored.id, Change(comment="Good"), expected_version=1, application="shop")
    assert (changed.comment, changed.version) == ("Good", 2)
    with pytest.raises(StaleFeedback):
        hk.change(stored.id, Change(comment="Bad"), expected_version=1, application="shop")
    assert hk.withdraw(stored.id, application="shop").withdrawn
