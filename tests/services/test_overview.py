"""What an overview says: the headline, reasons, rankings and facets of a whole storage."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import (
    Change,
    FeedbackQuery,
    FeedbackWithdrawn,
    Finding,
    GroupBy,
    Harken,
    InvalidQuery,
    InvalidTransition,
    ModerationStatus,
    Period,
    Summary,
)
from harken.configuration.storage_urls import open_storage
from support import NOON, PATIENCE, ManualClock, a_submission

DAY = timedelta(days=1)
BY_AGENT = GroupBy.parse("agent")
WORDS = "The answer about number {} was wrong, and nobody called back"


@pytest.fixture
def clock() -> ManualClock:
    """It shows noon of a Wednesday."""
    return ManualClock()


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A ready Harken on an empty memory storage."""
    with harken.connect("memory://", clock=clock, max_comment_length=1_000) as ready:
        yield ready


def rated(hk: Harken, up: int, down: int, at: datetime = NOON, **parts: Any) -> None:
    """Store thumbs of different authors."""
    hk.collection.submit_many(
        [
            a_submission(
                f"{at}-{parts}-{number}", "up" if number < up else "down", WORDS.format(number), created_at=at, **parts
            )
            for number in range(up + down)
        ]
    )


def test_a_change_of_a_month(hk: Harken) -> None:
    """In a long period the day is found, and a steady month has no begin."""
    for days in range(56):
        rated(hk, 30 if days < 10 else 42, 20 if days < 10 else 8, NOON - days * DAY)
    found = hk.headline()
    assert found.finding is Finding.FELL
    assert found.began is not None
    assert (found.began.at, found.began_to_the_hour) == ((NOON - 9 * DAY).replace(hour=0), False)
    assert hk.headline(until=NOON - 11 * DAY, since=NOON - 20 * DAY).began is None
    assert hk.headline(until=NOON - 11 * DAY, since=NOON - 20 * DAY).finding is Finding.SAME


def test_the_rhythm_of_the_day_is_no_change(hk: Harken) -> None:
    """If every night is worse, the present night is not when a fall began."""
    for hours in range(96):
        at = NOON - timedelta(hours=hours)
        rated(hk, 20 if at.hour < 6 else 32, 20 if at.hour < 6 else 8, at)
    assert hk.analytics.hourly_changes(hk.analytics.periods(hk.query(since=NOON.replace(hour=0) - DAY))) == []
    rated(hk, 0, 100, NOON - timedelta(hours=1))
    rated(hk, 0, 100, NOON)
    (change,) = hk.analytics.hourly_changes(hk.analytics.periods(hk.query(since=NOON.replace(hour=0) - DAY)))
    assert change.at == NOON - timedelta(hours=1)


def test_silence(hk: Harken, clock: ManualClock) -> None:
    """A running period without feedback for hours says so; one that has ended does not."""
    for hours in range(24 * 35):
        rated(hk, 5, 1, NOON - timedelta(hours=hours))
    assert hk.headline("Asia/Kathmandu").finding is Finding.SAME
    clock.turn(hours=6)
    found = hk.headline("Asia/Kathmandu")
    assert found.finding is Finding.SILENT
    assert found.silence is not None
    assert found.silence.since == NOON
    assert str(found.silence.since.tzinfo) == "Asia/Kathmandu"
    assert round(found.silence.usual, 1) == 6
    assert hk.headline(since=NOON - 9 * DAY, until=NOON - DAY).silence is None


def test_themes_of_a_headline(hk: Harken) -> None:
    """Where nobody chose a reason, the theme that grew most is named."""
    topics = ["wifi"] * 4 + [
        *("luggage", "refund", "seat", "food", "crew", "gate", "price", "voucher", "screen", "heating", "blanket"),
        *("queue", "toilet", "door", "engine", "phone"),
    ]
    for days in range(56):
        hk.collection.submit_many(
            [
                a_submission(f"{days}-{number}", "down", f"The {topic} was a problem", created_at=NOON - days * DAY)
                for number, topic in enumerate(topics[0 if days < 28 else 3 :])
            ]
        )
    found = hk.headline().growth
    assert found is not None
    assert (found.name, found.is_reason) == ("wifi", False)
    assert hk.analytics.headline(hk.analytics.periods(hk.query()), themes=False).growth is None
    issues = hk.analytics.theme_issues(hk.analytics.periods(hk.query()))
    first, *others = issues.issues
    assert (first.name, first.share.count, first.direction) == ("wifi", 4 * 28, 1)
    assert {(one.share.count, one.direction) for one in others} == {(28, 0)}


def test_a_selection_of_one_rating(hk: Harken) -> None:
    """Its headline compares numbers; its reasons are those of all thumbs-down entries."""
    rated(hk, 50, 50, tags=["slow"])
    found = hk.headline(rating="up")
    assert (found.finding, found.comparison.after.total, found.mix, found.began) == (Finding.COUNT, 50, None, None)
    assert hk.reasons(rating="up") == hk.reasons()


def test_feedback_with_a_reason_of_one_thumb(hk: Harken) -> None:
    """Its satisfaction is always 0%, so the headline compares numbers; that of other reasons is compared."""
    for number in (1, 2):
        at = NOON - (28 * DAY if number == 1 else timedelta(0))
        rated(hk, 0, 40 * number, at, tags=["wrong"])
        rated(hk, 40, 20, at, tags=["long"])
    found = hk.headline(tag="wrong")
    assert (found.finding, found.comparison.after.total, found.mix, found.began) == (Finding.COUNT, 80, None, None)
    assert hk.headline(tag="long").finding is not Finding.COUNT


def test_a_fall_that_ended(hk: Harken) -> None:
    """The headline has the change that ended it, if that is in the period."""
    for days in range(56):
        is_worse = 5 <= days < 14
        rated(hk, 20 if is_worse else 42, 30 if is_worse else 8, NOON - days * DAY)
    found = hk.headline()
    assert found.finding is Finding.FELL
    assert found.began is not None
    assert found.next_change is not None
    assert found.began.at == (NOON - 13 * DAY).replace(hour=0)
    assert found.next_change.at == (NOON - 4 * DAY).replace(hour=0)
    assert found.next_change.after.positive == 5 * 42
    assert hk.headline(until=(NOON - 5 * DAY).replace(hour=23)).next_change is None


@pytest.mark.parametrize(
    "call",
    [
        lambda hk: hk.headline("Mars/Base"),
        lambda hk: hk.headline(since=NOON, until=NOON),
        lambda hk: hk.reasons(limit=0),
        lambda hk: hk.reasons(limit=51),
        lambda hk: hk.ranking("session"),
        lambda hk: hk.ranking("tag"),
        lambda hk: hk.ranking("planet"),
    ],
)
def test_invalid_queries(hk: Harken, call: Callable[[Harken], object]) -> None:
    """Unknown zones, empty periods, limits out of range, and groups that cannot be ranked."""
    with pytest.raises(InvalidQuery):
        call(hk)


def test_ranking_by_context(hk: Harken) -> None:
    """Versions are ranked by the thumbs of each period."""
    for version, up in (("1.5", 60), ("1.6", 90)):
        rated(hk, up, 100 - up, context={"version": version})
    rated(hk, 60, 40, NOON - 30 * DAY, context={"version": "1.5"})
    found = hk.ranking("context.version")
    assert [(one.key, one.estimate.summary.positive, one.is_new) for one in found.groups] == [
        ("1.6", 90, True),
        ("1.5", 60, False),
    ]
    assert found.is_complete
    assert found.total.summary == Summary(positive=150, negative=50)


ENTRY = st.fixed_dictionaries(
    {
        "rating": st.sampled_from(["up", "down", "down", None]),
        "tags": st.lists(st.sampled_from(["slow", "wrong"]), max_size=2),
        "days": st.integers(0, 50),
        "author": st.sampled_from([None, "a", "b"]),
    }
)
STEPS = st.one_of(
    ENTRY.map(lambda entry: ("submit", entry)),
    st.tuples(st.sampled_from(["withdraw", "retag", "reject", "erase"]), st.integers(0, 20)),
)


@given(st.lists(STEPS, max_size=12))
def test_kept_results_are_never_outdated(steps: list[tuple[str, Any]]) -> None:
    """After each write, reasons, trends, facets and filtered statistics are those that a new process computes."""
    with open_storage("memory://") as storage, harken.connect(storage, clock=ManualClock(NOON)) as hk:
        ids: list[str] = []
        for step, of in steps:
            if step == "submit":
                at = NOON - of["days"] * DAY
                parts = {"tags": of["tags"], "author": of["author"], "created_at": at}
                ids.append(hk.collection.submit(a_submission("s", of["rating"], "A comment", **parts)).feedback.id)
            elif ids:
                _write(hk, step, ids[of % len(ids)])
                if step == "erase":
                    ids.remove(ids[of % len(ids)])
            with harken.connect(storage, clock=ManualClock(NOON)) as new:
                assert _counts(hk) == _counts(new)


def _write(hk: Harken, step: str, feedback_id: str) -> None:
    match step:
        case "withdraw":
            hk.withdraw(feedback_id)
        case "retag":
            with suppress(FeedbackWithdrawn):
                hk.change(feedback_id, Change(tags=("rude",)))
        case "reject":
            with suppress(FeedbackWithdrawn, InvalidTransition):
                hk.moderation.decide("default", feedback_id, ModerationStatus.REJECTED)
        case "erase":
            hk.collection.erase(FeedbackQuery(feedback_id=feedback_id).in_any_state())


def _counts(hk: Harken) -> list[object]:
    reasons = hk.reasons()
    filters: list[dict[str, Any]] = [
        {"tag": "slow"},
        {"rating": "down", "since": NOON - 20 * DAY},
        {"has_comment": False},
        {"since": NOON - 20 * DAY},
        {"since": NOON - 100 * DAY},
        {"until": NOON - 2 * DAY},
        {"agent_id": "a", "since": NOON - 100 * DAY, "until": NOON - DAY},
    ]
    return [
        *(hk.analytics.page().groups(hk.query(**one), BY_AGENT) for one in filters),
        reasons.downs,
        [(one.name, one.share.count, one.example) for one in reasons.issues],
        hk.trend("day"),
        hk.heat_map(),
        hk.facets(),
        [(one.key, one.estimate.summary) for one in hk.ranking().groups],
    ]


def test_new_entries_are_added_to_kept_reasons() -> None:
    """After one more entry, the others are not counted again; the result is that of counting all."""
    with harken.connect("memory://", clock=ManualClock(NOON)) as hk:
        rated(hk, 10, 200, NOON - timedelta(hours=1), tags=["slow"])
        assert [one.share.count for one in hk.reasons().issues] == [200]
        calls = _count_calls(hk, "ratings_by_author")
        rated(hk, 1, 1, NOON, tags=["wrong", "slow"])
        rated(hk, 1, 1, NOON, tags=["slow"])
        assert [(one.name, one.share.count) for one in hk.reasons().issues] == [("slow", 202), ("wrong", 1)]
        assert calls == []
        rated(hk, 0, 1, NOON - DAY, tags=["wrong"])
        assert [(one.name, one.share.count) for one in hk.reasons().issues] == [("slow", 202), ("wrong", 2)]
        assert calls


def test_many_entries_of_one_author_are_not_added_to_kept_reasons() -> None:
    """They change how much the share of a reason says."""
    with open_storage("memory://") as storage, harken.connect(storage, clock=ManualClock(NOON)) as hk:
        rated(hk, 0, 60, NOON - timedelta(hours=1), tags=["slow"])
        rated(hk, 0, 60, NOON - timedelta(hours=2), tags=["wrong"])
        assert [one.share.design_effect for one in hk.reasons().issues] == [1.0, 1.0]
        hk.collection.submit_many([a_submission(f"again-{n}", "down", tags=["slow"], author="ann") for n in range(20)])
        with harken.connect(storage, clock=ManualClock(NOON)) as new:
            expected = [one.share for one in new.reasons().issues]
        assert expected[0].design_effect > 2
        assert [one.share for one in hk.reasons().issues] == expected


def test_kept_statistics_after_the_clock_was_set_back(clock: ManualClock) -> None:
    """Feedback that arrives then is counted at once."""
    with harken.connect("memory://", clock=clock) as hk:
        rated(hk, 5, 0, NOON - timedelta(hours=2), tags=["slow"], agent_id="a")
        assert _totals_of_page(hk, hk.query(tag="slow")) == {"a": 5}
        clock.turn(hours=-1)
        rated(hk, 3, 0, clock.now, tags=["slow"], agent_id="a")
        assert _totals_of_page(hk, hk.query(tag="slow")) == {"a": 8}
        assert hk.facets().agents == (("a", 8),)
        clock.turn(hours=2)
        assert _totals_of_page(hk, hk.query(tag="slow")) == {"a": 8}


@pytest.mark.parametrize("filters", [{"tag": "slow"}, {"since": NOON - 100 * DAY}], ids=["tag", "long period"])
def test_new_entries_are_added_to_kept_statistics(filters: dict[str, Any]) -> None:
    """Feedback that storages have no counters for is not read again after more feedback, unless it is older."""
    with harken.connect("memory://", clock=ManualClock(NOON)) as hk:
        rated(hk, 10, 20, NOON - timedelta(hours=1), tags=["slow"], agent_id="a")
        selection = hk.query(**filters)
        assert _totals_of_page(hk, selection) == {"a": 30}
        read = _record_queries(hk)
        assert _totals_of_page(hk, selection) == {"a": 30}
        rated(hk, 1, 1, NOON, tags=["slow"], agent_id="b")
        rated(hk, 2, 0, NOON - 140 * DAY, tags=["wrong"], agent_id="b")
        assert _totals_of_page(hk, selection) == {"a": 30, "b": 2}
        assert selection in read
        read.clear()
        rated(hk, 0, 1, NOON + timedelta(minutes=1), tags=["slow"], agent_id="b")
        assert _totals_of_page(hk, selection) == {"a": 30, "b": 3}
        assert selection not in read


def test_a_change_outside_of_a_long_period(clock: ManualClock) -> None:
    """A withdrawal before the period does not hide feedback of the period that is equal."""
    with harken.connect("memory://", clock=clock) as hk:
        rated(hk, 1, 0, NOON - 200 * DAY)
        rated(hk, 1, 0, NOON - DAY)
        selection = hk.query(since=NOON - 100 * DAY)
        assert _totals_of_page(hk, selection) == {None: 1}
        clock.turn(minutes=5)
        hk.withdraw(next(iter(hk.collection.stream(hk.query(until=NOON - 150 * DAY)))).id)
        rated(hk, 1, 0, clock.now)
        clock.turn(minutes=5)
        assert _totals_of_page(hk, selection) == {None: 2}


def _totals_of_page(hk: Harken, query: FeedbackQuery) -> dict[Any, int]:
    return {agent: summary.total for agent, summary in hk.analytics.page().groups(query, BY_AGENT).items()}


def _record_queries(hk: Harken) -> list[FeedbackQuery]:
    """The queries whose statistics are read from the repository from now on."""
    repository: Any = hk.analytics._repository
    read: list[FeedbackQuery] = []
    original = repository.summarize

    def recorded(query: FeedbackQuery, group_by: GroupBy | None = None) -> Any:
        read.append(query)
        return original(query, group_by)

    repository.summarize = recorded
    return read


def _count_calls(hk: Harken, method: str) -> list[str]:
    """The calls of a method of the repository from now on."""
    repository: Any = hk.analytics._repository
    calls: list[str] = []
    original = getattr(repository, method)

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(method)
        return original(*args, **kwargs)

    setattr(repository, method, counted)
    return calls


def test_a_page_reads_each_selection_once(hk: Harken) -> None:
    """All parts of a page agree, even if feedback arrives while it is made."""
    rated(hk, 60, 40, agent_id="a", tags=["slow"])
    page = hk.analytics.page()
    periods = page.periods(hk.query())
    total = page.ranking(periods, BY_AGENT).total.summary
    rated(hk, 0, 50, agent_id="b")
    assert page.headline(page.periods(hk.query())).comparison.after == total
    assert page.estimate(periods.after).summary == total
    assert page.groups(periods.after, BY_AGENT) == {"a": total}
    assert hk.analytics.page().summary(periods.after).total == 150


def test_facets(hk: Harken) -> None:
    """Agents are counted in all entries; a filter does not hide the other values."""
    rated(hk, 3, 2, agent_id="a", tags=["slow"], context={"tier": "free"})
    rated(hk, 1, 0, agent_id="b", context={"tier": "team"})
    assert hk.facets().agents == (("a", 5), ("b", 1))
    assert hk.facets(agent_id="b").agents == (("a", 5), ("b", 1))
    assert hk.facets(agent_id="b").context == {"tier": (("team", 1),)}
    assert hk.analytics.facets(hk.query(agent_id="b"), keep_agents=True).agents == (("b", 1),)


def test_themes_that_are_known(hk: Harken) -> None:
    """Themes are known after they were found, until more than 1% of the thumbs-down feedback is new."""
    rated(hk, 20, 150)
    periods = hk.analytics.periods(hk.query())
    assert not hk.analytics.knows_theme_issues(periods)
    hk.analytics.theme_issues(periods)
    assert hk.analytics.knows_theme_issues(periods)
    assert not hk.analytics.knows_theme_issues(periods, limit=3)
    hk.submit("one-more", "down", "Wrong again")
    assert hk.analytics.page().knows_theme_issues(periods)
    hk.submit("two-more", "down", "Wrong again")
    assert not hk.analytics.knows_theme_issues(periods)


def test_themes_that_are_known_while_the_period_runs(hk: Harken, clock: ManualClock) -> None:
    """Time that passes without new feedback does not make them unknown, although more of the earlier period counts."""
    rated(hk, 20, 150)
    rated(hk, 2, 1, NOON - 28 * DAY + timedelta(minutes=35))
    hk.analytics.theme_issues(hk.analytics.periods(hk.query()))
    clock.now += timedelta(minutes=16)
    assert hk.analytics.knows_theme_issues(hk.analytics.periods(hk.query()))
    clock.now += timedelta(minutes=15)
    periods = hk.analytics.periods(hk.query())
    assert hk.analytics.summary(periods.before).total == 3
    assert not hk.analytics.knows_theme_issues(periods)


def test_readers_at_once_compute_a_result_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that several people open at the same time costs as much as for one of them."""
    with open_storage("memory://") as storage, harken.connect(storage, clock=ManualClock(NOON)) as hk:
        rated(hk, 20, 150)
        summarize, find = storage.feedback.summarize, storage.feedback.find
        came, finds = Barrier(4), []

        def summarize_together(query: FeedbackQuery, by: GroupBy | None = None) -> Any:
            found = summarize(query, by)
            if by is None:
                came.wait(PATIENCE)
            return found

        def count(*args: Any, **parts: Any) -> Any:
            finds.append(args)
            return find(*args, **parts)

        monkeypatch.setattr(storage.feedback, "summarize", summarize_together)
        monkeypatch.setattr(storage.feedback, "find", count)
        with ThreadPoolExecutor(4) as readers:
            found = [one.result() for one in [readers.submit(hk.facets) for _ in range(4)]]
        assert [one.agents for one in found] == [found[0].agents] * 4
        assert len(finds) == 1


def test_one_application_does_not_evict_the_results_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result is still known after another application has had many more."""
    with open_storage("memory://") as storage, harken.connect(storage, clock=ManualClock(NOON)) as hk:
        rated(hk, 20, 150)
        rated(hk, 1, 1, application="other")
        hk.facets()
        for number in range(500):
            hk.facets(application="other", tag=f"tag-{number}")
        monkeypatch.setattr(storage.feedback, "find", None)
        assert hk.facets()


def test_the_fitting_period(hk: Harken) -> None:
    """It is that of the trend without a period, also for another selection."""
    assert hk.analytics.fitting_period(hk.query()) is Period.WEEK
    for hours in range(72):
        rated(hk, 5, 5, NOON - timedelta(hours=hours))
    query = hk.query()
    assert hk.analytics.fitting_period(query) is Period.THREE_HOURS
    assert hk.analytics.trend(query, None) == hk.analytics.trend(query, Period.THREE_HOURS)


def test_a_headline_of_known_periods(hk: Harken) -> None:
    """It is that of the query."""
    rated(hk, 30, 20, NOON - 30 * DAY)
    rated(hk, 20, 40)
    assert hk.analytics.headline(hk.analytics.periods(hk.query())) == hk.headline()
