"""The feed: listeners get the changes of feedback and alerts by any process."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Lock, Thread
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

import harken
from channels import Recorder
from harken import (
    Change,
    Cursor,
    Feedback,
    FeedbackQuery,
    Harken,
    InvalidQuery,
    Overloaded,
    StorageClosed,
    StorageUnavailable,
)
from harken.domain.alerts.alert import Alert
from harken.domain.events import EventType
from harken.services import feed
from harken.services.feed import KEPT, MAX_LISTENERS, MAX_TAKEN, MAX_WAITING, RESUMABLE, Listener, News, Place
from harken_adapters.storage.memory import MemoryFeedbackRepository, open_storage
from harken_adapters.storage.memory.data import Data
from support import NOON, PATIENCE, ManualClock, a_feedback, counting_ids, eventually, in_threads
from waking import unpolled

APPLICATION = "default"
LONG_AGO = NOON - timedelta(days=30)
TWO_DOWNS = {"name": "two-downs", "kind": "streak", "length": 2}


def nothing() -> None:
    """A ``wake`` that does nothing."""


def listen(hk: Harken, wake: Callable[[], object] = nothing, *, after: Place | None = None) -> Listener:
    """Listen to the default application."""
    return hk.feed.listen(APPLICATION, wake, after=after)


def next_news(listener: Listener, hk: Harken) -> list[News]:
    """The next items, without waiting for the next poll."""
    hk.feed.nudge()
    eventually(lambda: listener.waiting)
    return listener.take()


def as_pairs(news: Sequence[News]) -> list[tuple[str, str]]:
    """The type and the subject of each item."""
    return [(one.type.value, one.feedback.id) for one in news]


def threads_of_feeds() -> list[Thread]:
    """The feed threads that are running."""
    return [thread for thread in threading.enumerate() if thread.name == "harken-feed"]


class TickingClock:
    """A clock that never returns the same time twice."""

    def __init__(self) -> None:
        self._ticks, self._lock = count(), Lock()

    def __call__(self) -> datetime:
        with self._lock:
            return NOON + timedelta(milliseconds=next(self._ticks))


class HeldRepository(MemoryFeedbackRepository):
    """An in-memory repository that calls ``before`` before each read."""

    def __init__(self) -> None:
        super().__init__(Data())
        self.before: Callable[[], object] = nothing

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        """The changed feedback."""
        self.before()
        return super().changes(application, since=since)

    def get_many(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, Feedback]:
        """The existing feedback."""
        self.before()
        return super().get_many(application, feedback_ids)


@contextmanager
def held(clock: ManualClock | None = None) -> Iterator[tuple[Harken, HeldRepository]]:
    """A Harken whose storage can block or fail."""
    repository = HeldRepository()
    with (
        open_storage() as storage,
        harken.connect(evolve(storage, feedback=repository), clock=clock, new_id=counting_ids()) as hk,
    ):
        try:
            yield hk, repository
        finally:
            repository.before = nothing


# --- Reported items ---------------------------------------------------------------------------------------------------


def test_each_change_has_its_type(hk: Harken, clock: ManualClock) -> None:
    """Creating, changing, moderating and withdrawing feedback are reported, each with the feedback at that time."""
    listener = listen(hk)
    given = hk.submit("s", "up").feedback
    assert [(one.type, one.feedback) for one in next_news(listener, hk)] == [(EventType.CREATED, given)]
    clock.turn(seconds=1)
    changed = hk.collection.change(APPLICATION, given.id, Change(comment="so good"))
    assert [(one.type, one.feedback) for one in next_news(listener, hk)] == [(EventType.UPDATED, changed)]
    clock.turn(seconds=1)
    rejected = hk.moderation.decide(APPLICATION, given.id, "rejected")
    assert [(one.type, one.feedback) for one in next_news(listener, hk)] == [(EventType.MODERATED, rejected)]
    clock.turn(seconds=1)
    gone = hk.collection.withdraw(APPLICATION, given.id)
    assert [(one.type, one.feedback) for one in next_news(listener, hk)] == [(EventType.WITHDRAWN, gone)]
    assert listener.take() == []
    assert not listener.missed


def test_existing_feedback_is_not_reported(hk: Harken) -> None:
    """A new listener gets later items only, not existing feedback."""
    hk.submit("s", "up", "before")
    listener = listen(hk)
    hk.submit("s", "up", "after")
    assert [one.feedback.comment for one in next_news(listener, hk)] == ["after"]


def test_other_applications_are_not_reported(hk: Harken) -> None:
    """A listener gets the items of its own application only."""
    mine, other = listen(hk), hk.feed.listen("other", nothing)
    hk.submit("s", "up", "theirs", application="other")
    assert [one.feedback.comment for one in next_news(other, hk)] == ["theirs"]
    hk.submit("s", "up", "mine")
    assert [one.feedback.comment for one in next_news(mine, hk)] == ["mine"]
    assert not other.waiting


def test_erased_feedback_is_not_reported(hk: Harken) -> None:
    """Feedback that is erased before it is taken is left out, also for listeners that resume."""
    listener = listen(hk)
    hk.submit("s", "up", "goes")
    hk.submit("s", "up", "stays")
    eventually(lambda: listener.waiting)
    hk.collection.erase(FeedbackQuery(feedback_id="id-000001"))
    (stays,) = next_news(listener, hk)
    assert stays.feedback.comment == "stays"
    again = listen(hk, after=Place(Cursor(NOON - timedelta(seconds=1), "")))
    assert as_pairs(again.take()) == [("feedback.created", "id-000002")]


def test_a_listener_is_woken_when_there_is_something_to_take() -> None:
    """``wake`` is called by another thread after a submission in this process, before the next poll."""
    woken: list[str] = []
    with open_storage() as storage, unpolled(storage) as one:
        listener = listen(one.hk, lambda: woken.append(threading.current_thread().name))
        assert not listener.waiting
        one.hk.submit("s", "up")
        eventually(lambda: woken)
        assert woken == ["harken-feed"]
        assert len(listener.take()) == 1


def test_feedback_dated_ahead_is_reported_in_its_time(hk: Harken, clock: ManualClock) -> None:
    """Imported feedback with a future timestamp is reported when that time has come."""
    listener = listen(hk)
    hk.collection.restore([a_feedback("ahead", created_at=NOON + timedelta(hours=1))])
    hk.submit("s", "up")
    assert as_pairs(next_news(listener, hk)) == [("feedback.created", "id-000001")]
    clock.turn(hours=1)
    assert as_pairs(next_news(listener, hk)) == [("feedback.created", "ahead")]


# --- Alerts -----------------------------------------------------------------------------------------------------------


@contextmanager
def alerting(url: str = "memory://", **options: Any) -> Iterator[Harken]:
    """A Harken that raises an alert at two consecutive thumbs-downs in a session, when its relay runs."""
    with harken.connect(url, channels={"all": Recorder()}, alert_rules=[TWO_DOWNS], **options) as hk:
        yield hk


def two_downs(hk: Harken, session_id: str = "s") -> None:
    """Let the rule match, at the next run of the relay."""
    for _ in range(2):
        hk.submit(session_id, "down", "slow")


def reported_alerts(news: Sequence[News]) -> list[tuple[str, str]]:
    """The reported alerts: type and subject."""
    return [(one.type.value, str(one.alert.subject)) for one in news if one.alert]


def subject(news: News) -> Feedback | Alert:
    """The subject of an item."""
    assert (news.feedback is None) != (news.alert is None)
    found = news.feedback or news.alert
    assert found is not None
    return found


def test_alerts_are_reported_when_they_are_raised_and_resolved(clock: ManualClock) -> None:
    """Each item has the alert at that time and comes once, in order with feedback; other applications get nothing."""
    with alerting(clock=clock) as hk:
        listener, other = listen(hk), hk.feed.listen("other", nothing)
        two_downs(hk)
        hk.relay.run_due()
        found: list[News] = []
        while not reported_alerts(found):
            found += next_news(listener, hk)
        (raised,) = hk.alerts.find(APPLICATION)
        assert [one.alert for one in found if one.type is EventType.ALERT_RAISED] == [raised]
        assert sum(one.type is EventType.CREATED for one in found) == 2
        clock.turn(hours=1)
        hk.submit("s", "up")
        hk.relay.run_due()
        found = []
        while not reported_alerts(found):
            found += next_news(listener, hk)
        (over,) = hk.alerts.find(APPLICATION)
        assert [one.alert for one in found if one.type is EventType.ALERT_RESOLVED] == [over]
        assert over == evolve(raised, resolved_at=over.resolved_at, version=2)
        hk.submit("s", "up", "the next one", application="other")
        assert reported_alerts(next_news(other, hk)) == []
        assert not listener.waiting


def test_an_existing_alert_is_reported_when_it_is_resolved(hk: Harken, clock: ManualClock) -> None:
    """A new listener does not get open alerts, however old, but gets their resolution."""
    hk.channels.switch_off("log", "by hand")
    clock.turn(days=3)
    listener = listen(hk)
    hk.submit("s", "up")
    assert reported_alerts(next_news(listener, hk)) == []
    hk.channels.switch_on("log")
    assert reported_alerts(next_news(listener, hk)) == [("alert.resolved", "channel log")]
    hk.submit("s", "up")
    assert reported_alerts(next_news(listener, hk)) == []


def test_an_alert_is_reported_however_late_it_is_found(clock: ManualClock) -> None:
    """A relay that was away finds old patterns; listeners get their alerts nevertheless."""
    with alerting(clock=clock) as hk:
        two_downs(hk)
        clock.turn(hours=5)
        listener = listen(hk)
        hk.relay.run_due()
        assert reported_alerts(next_news(listener, hk)) == [("alert.raised", "session s")]


def test_an_alert_that_was_raised_and_resolved_between_polls(hk: Harken, clock: ManualClock) -> None:
    """An alert that is raised and resolved between two polls is reported as resolved."""
    listener = listen(hk)
    hk.channels.switch_off("log", "by hand")
    clock.turn(seconds=1)
    hk.channels.switch_on("log")
    assert {what for what, _ in reported_alerts(next_news(listener, hk))} == {"alert.resolved"}


def test_resuming_listeners_get_alerts(clock: ManualClock) -> None:
    """The place of an alert works like any other: items after it are found, and alerts are found after other places."""
    with alerting(clock=clock) as hk:
        listener = listen(hk)
        hk.submit("s", "up")
        (given,) = next_news(listener, hk)
        clock.turn(seconds=1)
        hk.channels.switch_off("all", "by hand")
        (off,) = next_news(listener, hk)
        listener.close()
        clock.turn(seconds=1)
        hk.channels.switch_on("all")
        assert reported_alerts(listen(hk, after=off.place).take()) == [("alert.resolved", "channel all")]
        assert ("alert.resolved", "channel all") in reported_alerts(listen(hk, after=given.place).take())


def test_another_process_reports_alerts_of_the_hour_before(tmp_path: Path, clock: ManualClock) -> None:
    """A listener that changes the process gets alerts that were raised or resolved meanwhile, even with an earlier
    timestamp.
    """
    url, new_id = f"sqlite:///{tmp_path}/feedback.db", counting_ids()
    with alerting(url, clock=clock, new_id=new_id) as one, alerting(url, clock=clock, new_id=new_id) as two:
        one.channels.switch_off("all", "for long")
        two_downs(one)
        clock.turn(minutes=30)
        here = listen(one)
        one.submit("t", "up", "heard")
        (heard,) = next_news(here, one)
        here.close()
        clock.turn(seconds=1)
        two.channels.switch_on("all")
        two.relay.run_due()
        reported = reported_alerts(listen(two, after=heard.place).take())
        assert sorted(reported) == [("alert.raised", "session s"), ("alert.resolved", "channel all")]


# --- Resuming ---------------------------------------------------------------------------------------------------------


def test_a_resuming_listener_gets_each_missed_item_once(hk: Harken, clock: ManualClock) -> None:
    """The place of the last item is enough, even if there was no listener in between."""
    listener = listen(hk)
    hk.submit("s", "up", "heard")
    (heard,) = next_news(listener, hk)
    listener.close()
    clock.turn(seconds=1)
    hk.submit("s", "up", "not heard")
    again = listen(hk, after=heard.place)
    assert [one.feedback.comment for one in again.take()] == ["not heard"]
    assert not again.missed


def test_a_place_of_another_process_is_valid(tmp_path: Path, clock: ManualClock) -> None:
    """A listener that resumes in another process gets all items, and may get those from shortly before again."""
    url, new_id = f"sqlite:///{tmp_path}/feedback.db", counting_ids()
    with (
        harken.connect(url, clock=clock, new_id=new_id) as one,
        harken.connect(url, clock=clock, new_id=new_id) as two,
    ):
        here, there = listen(one), listen(two)
        one.submit("s", "up", "long before")
        next_news(here, one)
        next_news(there, two)
        clock.turn(minutes=1)
        one.submit("s", "up", "heard")
        (heard,) = next_news(here, one)
        clock.turn(seconds=1)
        two.submit("s", "up", "not heard")
        again = listen(two, after=heard.place)
        comments = [news.feedback.comment for news in again.take()]
        assert "not heard" in comments
        assert set(comments) <= {"heard", "not heard"}


def test_another_process_may_have_another_order(tmp_path: Path, clock: ManualClock) -> None:
    """An item that one process found late is reported by another process that found it in time."""
    url, new_id = f"sqlite:///{tmp_path}/feedback.db", counting_ids()
    with (
        harken.connect(url, clock=clock, new_id=new_id) as one,
        harken.connect(url, clock=clock, new_id=new_id) as two,
    ):
        here = listen(one)
        clock.turn(seconds=2)
        one.submit("s", "up", "quick")
        (quick,) = next_news(here, one)
        here.close()
        watching = listen(two, after=Place(Cursor(NOON, "")))
        two.collection.restore([a_feedback("slow", created_at=NOON + timedelta(seconds=1))])
        while "slow" not in [news.feedback.id for news in next_news(watching, two)]:
            pass
        again = listen(two, after=quick.place)
        assert "slow" in [news.feedback.id for news in again.take()]


def test_a_place_is_forgotten_without_listeners(hk: Harken, clock: ManualClock) -> None:
    """The entries of an application are not kept for ever; then the storage is read instead, and nothing is lost."""
    listener = listen(hk)
    hk.submit("s", "up", "heard")
    (heard,) = next_news(listener, hk)
    listener.close()
    clock.turn(seconds=(KEPT + timedelta(seconds=1)).total_seconds())
    hk.submit("s", "up", "not heard")
    again = listen(hk, after=heard.place)
    assert [one.feedback.comment for one in again.take()] == ["not heard"]


@pytest.mark.parametrize("away", [RESUMABLE + timedelta(seconds=1), timedelta(days=700_000)])
def test_a_listener_that_was_away_for_too_long_missed_items(hk: Harken, clock: ManualClock, away: timedelta) -> None:
    """After an hour, items may be lost, and ``missed`` is set."""
    hk.submit("s", "up")
    clock.now += timedelta(days=1)
    listener = listen(hk, after=Place(Cursor(clock.now - away, "id-000001")))
    assert listener.missed
    assert not listener.waiting


def test_a_place_in_the_future_is_now(hk: Harken) -> None:
    """A place that no item has does no harm."""
    listener = listen(hk, after=Place(Cursor(datetime.max.replace(tzinfo=NOON.tzinfo), "x")))
    assert (listener.missed, listener.waiting) == (False, False)


def test_a_place_and_its_token() -> None:
    """A place can be restored from its token, and other tokens are refused."""
    for place in (Place(Cursor(NOON, "id.1")), Place(Cursor(LONG_AGO, "ü"), "64f")):
        assert Place.parse(str(place)) == place
    with pytest.raises(InvalidQuery, match="is not a cursor"):
        Place.parse("nonsense")


# --- Limits -----------------------------------------------------------------------------------------------------------


def test_a_listener_that_takes_nothing_misses_items(hk: Harken) -> None:
    """The items that wait for a listener are limited: the oldest are dropped, and ``missed`` is set."""
    listener = listen(hk)
    many = [a_feedback(f"f-{number:06}") for number in range(MAX_WAITING + 5)]
    hk.collection.restore(many)
    taken = next_news(listener, hk)
    assert listener.missed
    assert (len(taken), taken[0].feedback.id) == (MAX_TAKEN, "f-000005")
    while listener.waiting:
        taken += listener.take()
        assert not listener.missed
    assert [one.feedback for one in taken] == many[5:]


def test_a_listener_with_too_large_a_backlog_missed_items(hk: Harken, clock: ManualClock) -> None:
    """A backlog that is larger than a listener could take is not read to its end."""
    hk.collection.restore([a_feedback(f"f-{number:06}") for number in range(MAX_WAITING + 1)])
    clock.turn(minutes=2)
    assert listen(hk, after=Place(Cursor(NOON, "f-000000"))).missed
    listener = listen(hk, after=Place(Cursor(NOON + timedelta(seconds=11), "")))
    assert (listener.missed, listener.waiting) == (False, False)


def test_a_long_backlog_is_taken_in_parts(hk: Harken, clock: ManualClock) -> None:
    """A large backlog is taken in parts, with places that lead to the rest."""
    stored = [a_feedback(f"f-{number:06}", created_at=NOON + timedelta(seconds=number)) for number in range(600)]
    hk.collection.restore(stored)
    clock.turn(minutes=20)
    listener = listen(hk, after=Place(Cursor(NOON, "f-000000")))
    first = listener.take()
    assert (len(first), listener.waiting) == (MAX_TAKEN, True)
    rest = listener.take()
    assert [one.feedback for one in (*first, *rest)] == stored[1:]
    again = listen(hk, after=first[-1].place)
    assert [one.feedback for one in again.take()][-len(rest) :] == [one.feedback for one in rest]


def test_the_number_of_listeners_is_limited(hk: Harken) -> None:
    """A listener above the limit is refused until one leaves."""
    listeners = [hk.feed.listen(APPLICATION, nothing) for _ in range(MAX_LISTENERS)]
    with pytest.raises(Overloaded, match="200 listeners already"):
        listen(hk)
    listeners[7].close()
    listeners[7].close()
    listen(hk)
    with pytest.raises(Overloaded):
        listen(hk)


def join(hk: Harken, *share: str, times: int = 1) -> list[Listener]:
    """Start that many more listeners for a tenant, key and address."""
    return [hk.feed.listen(share[0], nothing, share=share) for _ in range(times)]


def test_slots_are_shared_between_applications(hk: Harken) -> None:
    """When all slots are in use, the application with the most loses its newest to one with fewer, down to equal
    shares; a caller that would only swap is refused.
    """
    greedy = join(hk, "greedy", "k", "a", times=MAX_LISTENERS)
    modest = join(hk, "modest", "k", "a", times=MAX_LISTENERS // 2)
    for share in ("greedy", "modest"):
        with pytest.raises(Overloaded):
            join(hk, share, "k", "a")
    assert [one.ended for one in greedy] == [False] * (MAX_LISTENERS // 2) + [True] * (MAX_LISTENERS // 2)
    assert not any(one.ended for one in modest)
    third = join(hk, "third", "k", "a", times=MAX_LISTENERS // 3)
    assert not any(one.ended for one in third)
    assert sum(one.ended for one in modest) == sum(not one.ended for one in third) // 2


@pytest.mark.parametrize(
    ("greedy", "modest"), [(("app", "k", "a"), ("app", "l", "a")), (("app", "k", "a"), ("app", "k", "b"))]
)
def test_slots_are_shared_within_an_application(hk: Harken, greedy: tuple[str, ...], modest: tuple[str, ...]) -> None:
    """A key cannot keep a slot from another key of its application permanently, nor an address from another address."""
    listeners = join(hk, *greedy, times=MAX_LISTENERS)
    join(hk, *modest)
    assert [one.ended for one in listeners] == [False] * (MAX_LISTENERS - 1) + [True]
    with pytest.raises(Overloaded):
        join(hk, *greedy)


def test_a_listener_that_lost_its_slot_gets_an_error(hk: Harken) -> None:
    """It is woken, gets the reason, and does not free another listener's slot when it leaves."""
    woken: list[bool] = []
    join(hk, "greedy", times=MAX_LISTENERS - 1)
    last = hk.feed.listen("greedy", lambda: woken.append(True), share=("greedy",))
    join(hk, "modest")
    assert woken
    assert last.ended
    assert last.waiting
    with pytest.raises(Overloaded, match="given to a caller with fewer"):
        last.take()
    last.close()
    with pytest.raises(Overloaded):
        join(hk, "greedy")


def test_the_storage_is_not_polled_without_listeners(hk: Harken) -> None:
    """The thread ends with the last listener, and starts again with the next one."""
    before = len(threads_of_feeds())
    listener, other = listen(hk), listen(hk)
    assert len(threads_of_feeds()) == before + 1
    listener.close()
    other.close()
    hk.feed.nudge()
    eventually(lambda: len(threads_of_feeds()) == before)
    again = listen(hk)
    hk.submit("s", "up")
    assert len(next_news(again, hk)) == 1


# --- Errors -----------------------------------------------------------------------------------------------------------


def test_no_caller_waits_for_a_poll() -> None:
    """While the storage blocks, submissions are stored and listeners can leave."""
    hanging, go_on = Event(), Event()

    def hang() -> None:
        hanging.set()
        go_on.wait(PATIENCE)

    with held() as (hk, repository):
        listener = listen(hk)
        repository.before = hang
        try:
            hk.submit("s", "up", "first")
            assert hanging.wait(PATIENCE)
            (receipt, *_) = in_threads([lambda: hk.submit("s", "up", "second"), hk.feed.nudge, listener.close])
            assert isinstance(receipt, harken.Receipt)
            assert not go_on.is_set()
        finally:
            go_on.set()


def test_a_resuming_listener_does_not_delay_others(clock: ManualClock) -> None:
    """While the backlog of a listener is read slowly, others get items, and new ones can start."""
    reading, go_on = Event(), Event()
    in_time: list[bool] = []

    class SlowToCatchUp(HeldRepository):
        def stream(self, query: FeedbackQuery) -> Iterator[Feedback]:
            if query.since is not None and query.since <= NOON:
                reading.set()
                in_time.append(go_on.wait(PATIENCE))
            return super().stream(query)

    clock.turn(minutes=20)
    with (
        open_storage() as storage,
        harken.connect(evolve(storage, feedback=SlowToCatchUp()), clock=clock, new_id=counting_ids()) as hk,
        ThreadPoolExecutor(1) as pool,
    ):
        try:
            listener = listen(hk)
            back = pool.submit(listen, hk, after=Place(Cursor(NOON, "f")))
            assert reading.wait(PATIENCE)
            listen(hk)
            given = hk.submit("s", "up").feedback
            assert as_pairs(next_news(listener, hk)) == [("feedback.created", given.id)]
            assert in_time == []
        finally:
            go_on.set()
        eventually(lambda: back.result(PATIENCE).waiting)
        assert ("feedback.created", given.id) in as_pairs(back.result().take())
    assert in_time == [True]


def test_a_failed_resume_takes_no_slot(clock: ManualClock) -> None:
    """If the backlog cannot be read, the caller gets the error and does not hold a slot."""

    def fail(query: FeedbackQuery) -> Iterator[Feedback]:
        raise StorageUnavailable("away")

    clock.turn(minutes=20)
    with held(clock) as (hk, repository):
        listen(hk)
        watching, repository.stream = repository.stream, fail  # type: ignore[method-assign]
        for _ in range(MAX_LISTENERS):
            with pytest.raises(StorageUnavailable):
                listen(hk, after=Place(Cursor(NOON, "f")))
        repository.stream = watching  # type: ignore[method-assign]
        for _ in range(MAX_LISTENERS - 1):
            listen(hk)


def test_waiting_items_are_limited_in_total(hk: Harken, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backlogs of all listeners have one limit together; beyond it, ``missed`` is set."""
    monkeypatch.setattr(feed, "MAX_RESUMING", 250)
    hk.collection.restore([a_feedback(f"f-{number:03}", created_at=NOON) for number in range(100)])
    clock.turn(minutes=20)
    back = [listen(hk, after=Place(Cursor(NOON, "e"))) for _ in range(4)]
    assert [(one.missed, one.resuming) for one in back] == [(False, 100)] * 2 + [(True, 0)] * 2
    back[0].take()
    assert not listen(hk, after=Place(Cursor(NOON, "e"))).missed
    back[1].close()
    assert not listen(hk, after=Place(Cursor(NOON, "e"))).missed


def test_kept_entries_are_limited_in_total(hk: Harken, monkeypatch: pytest.MonkeyPatch) -> None:
    """The more applications have listeners, the fewer entries of each are kept; listeners that are too slow miss
    some.
    """
    monkeypatch.setattr(feed, "MAX_REMEMBERED", 20)
    monkeypatch.setattr(feed, "MAX_TAKEN", 5)
    listeners = [hk.feed.listen(f"application {number}", nothing) for number in range(2)]
    for number in range(24):
        hk.submit("s", "up", application=f"application {number % 2}")
    hk.feed.nudge()

    def taken(listener: Listener) -> tuple[int, bool]:
        found, missed = 0, False
        while listener.waiting:
            found += len(listener.take())
            missed = missed or listener.missed
        return found, missed

    eventually(lambda: all(listener._watch.end == 12 for listener in listeners))
    assert [taken(listener) for listener in listeners] == [(10, True)] * 2


def test_a_storage_that_fails_for_a_while_loses_no_items() -> None:
    """Changes during an outage of the storage are reported after it."""
    failed = Event()

    def fail() -> None:
        failed.set()
        raise StorageUnavailable("away")

    with held() as (hk, repository):
        listener = listen(hk)
        repository.before = fail
        hk.submit("s", "up")
        assert failed.wait(PATIENCE)
        assert not listener.waiting
        with pytest.raises(StorageUnavailable):
            hk.feed.listen("other", nothing)
        repository.before = nothing
        hk.feed.nudge()
        eventually(lambda: listener.waiting)
        repository.before = fail
        with pytest.raises(StorageUnavailable):
            listener.take()
        repository.before = nothing
        assert len(listener.take()) == 1


def test_an_unexpected_error_does_not_end_polling() -> None:
    """Any error during a poll is logged, and polling continues."""
    failed = Event()

    def fail() -> None:
        failed.set()
        raise RuntimeError("a defect")

    with held() as (hk, repository):
        listener = listen(hk)
        repository.before = fail
        hk.submit("s", "up")
        assert failed.wait(PATIENCE)
        repository.before = nothing
        assert len(next_news(listener, hk)) == 1


def test_a_listener_that_cannot_be_woken_does_not_affect_others(hk: Harken) -> None:
    """A listener whose ``wake`` fails is skipped."""
    woken = Event()

    def gone() -> None:
        raise RuntimeError("Event loop is closed")

    listen(hk, gone)
    listen(hk, woken.set)
    for _ in range(2):
        hk.submit("s", "up")
        assert woken.wait(PATIENCE)
        woken.clear()


def test_closing_wakes_listeners() -> None:
    """Listeners are woken and get an error, later callers get it at once, and a second close is harmless."""
    woken = Event()
    with harken.connect("memory://") as hk:
        listener = listen(hk, woken.set)
        hk.feed.close()
        hk.feed.close()
        assert woken.is_set()
        with pytest.raises(StorageClosed):
            listener.take()
        with pytest.raises(StorageClosed, match="connect again"):
            listen(hk)
        listener.close()
        hk.submit("s", "up")


# --- Properties -------------------------------------------------------------------------------------------------------

#: The actor, the action, and the number of the feedback.
STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(["submit", "change", "withdraw", "moderate", "erase", "alert", "take", "leave and come back"]),
        st.integers(0, 4),
    ),
    max_size=25,
)


class Everything:
    """Changes of feedback and alerts, and two listeners: one stays, and one leaves and resumes."""

    def __init__(self, one: Harken, two: Harken) -> None:
        self.harkens = (one, two)
        self.stays, self.goes = listen(one), listen(two)
        self.heard: list[News] = []
        self.heard_in_parts: list[News] = []
        self.serial = count()

    def step(self, hk: Harken, what: str, which: int) -> None:
        """Make one change, if it is possible."""
        if what == "submit":
            hk.submit("s", "up", f"words {next(self.serial)}")
        elif what == "alert":
            # At most one alert is open: the one about the channel, while it is off.
            if hk.alerts.find(APPLICATION, open=True):
                hk.channels.switch_on("log")
            else:
                hk.channels.switch_off("log", "by hand")
        elif what == "take":
            self.take()
        elif what == "leave and come back":
            self.goes.close()
            last = self.heard_in_parts[-1].place if self.heard_in_parts else None
            # A listener without any item has no place, and stays.
            self.goes = listen(hk, after=last) if last else listen(self.harkens[1], after=Place(Cursor(NOON, "")))
        elif which < len(there := self.stored()):
            self.change(hk, what, there[which])

    def change(self, hk: Harken, what: str, feedback: Feedback) -> None:
        """Change existing feedback."""
        if what == "erase":
            hk.collection.erase(FeedbackQuery(feedback_id=feedback.id).in_any_state())
        elif feedback.withdrawn:
            return
        elif what == "change":
            hk.collection.change(APPLICATION, feedback.id, Change(comment=f"words {next(self.serial)}"))
        elif what == "withdraw":
            hk.collection.withdraw(APPLICATION, feedback.id)
        else:
            status = "rejected" if feedback.moderation.status.value == "approved" else "approved"
            hk.moderation.decide(APPLICATION, feedback.id, status)

    def stored(self) -> list[Feedback]:
        """All existing feedback, oldest first."""
        hk = self.harkens[0]
        return list(hk.collection.stream(hk.query().in_any_state()))

    def there(self) -> list[Feedback | Alert]:
        """All that can be reported."""
        return [*self.stored(), *self.harkens[0].alerts.find(APPLICATION)]

    def take(self) -> None:
        """Take all items; they must exist."""
        for listener, heard in ((self.stays, self.heard), (self.goes, self.heard_in_parts)):
            there = {one.id for one in self.there()}
            news = listener.take()
            assert {subject(one).id for one in news} <= there
            assert not listener.missed
            heard.extend(news)

    def all_reported(self) -> bool:
        """Whether both listeners have the current state of everything."""
        for hk in self.harkens:
            hk.feed.nudge()
        self.take()
        there = self.there()
        return all(
            {subject(news).id: subject(news) for news in heard}.get(one.id) == one
            for heard in (self.heard, self.heard_in_parts)
            for one in there
        )

    def never_went_back(self) -> bool:
        """Whether the versions of each feedback or alert never decrease."""
        for heard in (self.heard, self.heard_in_parts):
            versions: dict[str, int] = {}
            for one in heard:
                if subject(one).version < versions.get(subject(one).id, 0):
                    return False
                versions[subject(one).id] = subject(one).version
        return True

    def reported_after(self, place: Place) -> list[Place]:
        """The items that a listener with this place gets."""
        again = listen(self.harkens[0], after=place)
        places = [one.place for one in again.take()]
        again.close()
        return places


def check(one: Harken, two: Harken, steps: Sequence[tuple[int, str, int]]) -> None:
    """Make the changes, and check what the listeners got."""
    everything = Everything(one, two)
    for who, what, which in steps:
        everything.step(everything.harkens[who], what, which)
    eventually(everything.all_reported)
    assert everything.never_went_back()
    there = {one.id for one in everything.there()}
    for number, news in enumerate(everything.heard, start=1):
        later_items = [later.place for later in everything.heard[number:] if subject(later).id in there]
        assert everything.reported_after(news.place)[: len(later_items)] == later_items


@given(STEPS)
def test_every_listener_gets_the_current_state_in_memory(steps: Sequence[tuple[int, str, int]]) -> None:
    """Latest versions are reported, versions never decrease, and any place leads to all later items, each once."""
    with harken.connect("memory://", clock=TickingClock(), new_id=counting_ids()) as hk:
        check(hk, hk, steps)


@pytest.mark.slow
@given(STEPS)
def test_every_listener_gets_the_current_state_across_processes(steps: Sequence[tuple[int, str, int]]) -> None:
    """The same with two processes that share a file, either of which makes the changes."""
    clock, new_id = TickingClock(), counting_ids()
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/feedback.db"
        with (
            harken.connect(url, clock=clock, new_id=new_id) as one,
            harken.connect(url, clock=clock, new_id=new_id) as two,
        ):
            check(one, two, steps)
