"""The feed: listeners are told what happens to feedback and alerts, whichever process it comes from."""

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
    """Who does not want to be woken."""


def listen(hk: Harken, wake: Callable[[], object] = nothing, *, after: Place | None = None) -> Listener:
    """Listen to the default application."""
    return hk.feed.listen(APPLICATION, wake, after=after)


def next_news(listener: Listener, hk: Harken) -> list[News]:
    """What is told next; does not wait for the next second."""
    hk.feed.nudge()
    eventually(lambda: listener.waiting)
    return listener.take()


def as_told(news: Sequence[News]) -> list[tuple[str, str]]:
    """What happened, and to what."""
    return [(one.type.value, one.feedback.id) for one in news]


def threads_of_feeds() -> list[Thread]:
    """The threads that look at storages now."""
    return [thread for thread in threading.enumerate() if thread.name == "harken-feed"]


class TickingClock:
    """A clock on which no two things happen at once."""

    def __init__(self) -> None:
        self._ticks, self._lock = count(), Lock()

    def __call__(self) -> datetime:
        with self._lock:
            return NOON + timedelta(milliseconds=next(self._ticks))


class HeldRepository(MemoryFeedbackRepository):
    """Keeps feedback in memory; ``before`` is called each time before it is looked at."""

    def __init__(self) -> None:
        super().__init__(Data())
        self.before: Callable[[], object] = nothing

    def changes(self, application: str, *, since: datetime) -> Iterator[Feedback]:
        """What was changed."""
        self.before()
        return super().changes(application, since=since)

    def get_many(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, Feedback]:
        """What is there."""
        self.before()
        return super().get_many(application, feedback_ids)


@contextmanager
def held(clock: ManualClock | None = None) -> Iterator[tuple[Harken, HeldRepository]]:
    """A Harken whose storage can be held up, or fail."""
    repository = HeldRepository()
    with (
        open_storage() as storage,
        harken.connect(evolve(storage, feedback=repository), clock=clock, new_id=counting_ids()) as hk,
    ):
        try:
            yield hk, repository
        finally:
            repository.before = nothing


# --- What is told -----------------------------------------------------------------------------------------------------


def test_each_thing_that_happens_is_told_as_what_it_is(hk: Harken, clock: ManualClock) -> None:
    """Giving, changing, moderating and taking back feedback are told, each with the feedback as it reads then."""
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
    assert [(one.type, one.feedback) for one in next_news(listener, hk)] == [(EventType.DELETED, gone)]
    assert listener.take() == []
    assert not listener.missed


def test_what_was_there_before_is_no_news(hk: Harken) -> None:
    """Whoever begins to listen is told of what comes, not of what is there."""
    hk.submit("s", "up", "before")
    listener = listen(hk)
    hk.submit("s", "up", "after")
    assert [one.feedback.comment for one in next_news(listener, hk)] == ["after"]


def test_nobody_is_told_of_another_application(hk: Harken) -> None:
    """A listener hears of its own application only, and so do the others."""
    mine, other = listen(hk), hk.feed.listen("other", nothing)
    hk.submit("s", "up", "theirs", application="other")
    assert [one.feedback.comment for one in next_news(other, hk)] == ["theirs"]
    hk.submit("s", "up", "mine")
    assert [one.feedback.comment for one in next_news(mine, hk)] == ["mine"]
    assert not other.waiting


def test_erased_feedback_is_never_told(hk: Harken) -> None:
    """What was erased before it was taken is left out, and nobody who comes back is told of it."""
    listener = listen(hk)
    hk.submit("s", "up", "goes")
    hk.submit("s", "up", "stays")
    eventually(lambda: listener.waiting)
    hk.collection.erase(FeedbackQuery(feedback_id="id-000001"))
    (stays,) = next_news(listener, hk)
    assert stays.feedback.comment == "stays"
    again = listen(hk, after=Place(Cursor(NOON - timedelta(seconds=1), "")))
    assert as_told(again.take()) == [("feedback.created", "id-000002")]


def test_a_listener_is_woken_when_there_is_something_to_take() -> None:
    """``wake`` is called by another thread after a submission in this process, and not only at the next look."""
    woken: list[str] = []
    with open_storage() as storage, unpolled(storage) as one:
        listener = listen(one.hk, lambda: woken.append(threading.current_thread().name))
        assert not listener.waiting
        one.hk.submit("s", "up")
        eventually(lambda: woken)
        assert woken == ["harken-feed"]
        assert len(listener.take()) == 1


def test_what_claims_to_come_from_the_future_is_told_in_its_time(hk: Harken, clock: ManualClock) -> None:
    """Imported feedback that is dated ahead is told once its time has come."""
    listener = listen(hk)
    hk.collection.restore([a_feedback("ahead", created_at=NOON + timedelta(hours=1))])
    hk.submit("s", "up")
    assert as_told(next_news(listener, hk)) == [("feedback.created", "id-000001")]
    clock.turn(hours=1)
    assert as_told(next_news(listener, hk)) == [("feedback.created", "ahead")]


# --- Alerts -----------------------------------------------------------------------------------------------------------


@contextmanager
def alerting(url: str = "memory://", **options: Any) -> Iterator[Harken]:
    """A Harken that raises an alert at two downs in a row on a session, when its relay is run."""
    with harken.connect(url, channels={"all": Recorder()}, alert_rules=[TWO_DOWNS], **options) as hk:
        yield hk


def two_downs(hk: Harken, session_id: str = "s") -> None:
    """Let the rule find something, at the next run of the relay."""
    for _ in range(2):
        hk.submit(session_id, "down", "slow")


def told_alerts(news: Sequence[News]) -> list[tuple[str, str]]:
    """What was told of alerts: what happened, and whom it is about."""
    return [(one.type.value, str(one.alert.subject)) for one in news if one.alert]


def subject(news: News) -> Feedback | Alert:
    """What it is about."""
    assert (news.feedback is None) != (news.alert is None)
    found = news.feedback or news.alert
    assert found is not None
    return found


def test_alerts_are_told_when_they_are_raised_and_when_they_end(clock: ManualClock) -> None:
    """Each with the alert as it reads then, once, among what happens to feedback; other applications are not told."""
    with alerting(clock=clock) as hk:
        listener, other = listen(hk), hk.feed.listen("other", nothing)
        two_downs(hk)
        hk.relay.run_due()
        found: list[News] = []
        while not told_alerts(found):
            found += next_news(listener, hk)
        (standing,) = hk.alerts.find(APPLICATION)
        assert [one.alert for one in found if one.type is EventType.ALERT_RAISED] == [standing]
        assert sum(one.type is EventType.CREATED for one in found) == 2
        clock.turn(hours=1)
        hk.submit("s", "up")
        hk.relay.run_due()
        found = []
        while not told_alerts(found):
            found += next_news(listener, hk)
        (over,) = hk.alerts.find(APPLICATION)
        assert [one.alert for one in found if one.type is EventType.ALERT_RESOLVED] == [over]
        assert over == evolve(standing, resolved_at=over.resolved_at, version=2)
        hk.submit("s", "up", "the next one", application="other")
        assert told_alerts(next_news(other, hk)) == []
        assert not listener.waiting


def test_an_alert_that_was_there_before_is_told_when_it_ends(hk: Harken, clock: ManualClock) -> None:
    """Whoever begins to listen is not told of alerts that stand, however old, but is told when they are over."""
    hk.channels.switch_off("log", "by hand")
    clock.turn(days=3)
    listener = listen(hk)
    hk.submit("s", "up")
    assert told_alerts(next_news(listener, hk)) == []
    hk.channels.switch_on("log")
    assert told_alerts(next_news(listener, hk)) == [("alert.resolved", "channel log")]
    hk.submit("s", "up")
    assert told_alerts(next_news(listener, hk)) == []


def test_an_alert_is_told_however_late_it_is_found(clock: ManualClock) -> None:
    """A relay that was away finds patterns that are old; who listens is told of them nevertheless."""
    with alerting(clock=clock) as hk:
        two_downs(hk)
        clock.turn(hours=5)
        listener = listen(hk)
        hk.relay.run_due()
        assert told_alerts(next_news(listener, hk)) == [("alert.raised", "session s")]


def test_an_alert_that_came_and_went_is_told_as_it_is_now(hk: Harken, clock: ManualClock) -> None:
    """Between two looks an alert may be raised and resolved: that it is over is told."""
    listener = listen(hk)
    hk.channels.switch_off("log", "by hand")
    clock.turn(seconds=1)
    hk.channels.switch_on("log")
    assert {what for what, _ in told_alerts(next_news(listener, hk))} == {"alert.resolved"}


def test_who_comes_back_is_told_of_alerts_too(clock: ManualClock) -> None:
    """The place of an alert leads on as any other does, and any other leads to alerts."""
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
        assert told_alerts(listen(hk, after=off.place).take()) == [("alert.resolved", "channel all")]
        assert ("alert.resolved", "channel all") in told_alerts(listen(hk, after=given.place).take())


def test_another_process_tells_of_alerts_of_the_hour_before(tmp_path: Path, clock: ManualClock) -> None:
    """Who changes over is told what was raised or resolved meanwhile, also what bears a time before they left."""
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
        told = told_alerts(listen(two, after=heard.place).take())
        assert sorted(told) == [("alert.raised", "session s"), ("alert.resolved", "channel all")]


# --- Coming back ------------------------------------------------------------------------------------------------------


def test_who_comes_back_is_told_what_happened_meanwhile_once(hk: Harken, clock: ManualClock) -> None:
    """The place of the last news is enough, also where nobody listened in between."""
    listener = listen(hk)
    hk.submit("s", "up", "heard")
    (heard,) = next_news(listener, hk)
    listener.close()
    clock.turn(seconds=1)
    hk.submit("s", "up", "not heard")
    again = listen(hk, after=heard.place)
    assert [one.feedback.comment for one in again.take()] == ["not heard"]
    assert not again.missed


def test_a_place_that_another_process_told_is_good_here(tmp_path: Path, clock: ManualClock) -> None:
    """Whoever comes back to another process is told all, and perhaps again what happened shortly before."""
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


def test_another_process_may_have_found_things_in_another_order(tmp_path: Path, clock: ManualClock) -> None:
    """Who left one process before it found what was slow is told of it by another one that found it in time."""
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


def test_a_place_is_forgotten_when_nobody_listened_for_a_while(hk: Harken, clock: ManualClock) -> None:
    """What was seen of an application is not kept for ever; the storage is asked instead, and nothing is lost."""
    listener = listen(hk)
    hk.submit("s", "up", "heard")
    (heard,) = next_news(listener, hk)
    listener.close()
    clock.turn(seconds=(KEPT + timedelta(seconds=1)).total_seconds())
    hk.submit("s", "up", "not heard")
    again = listen(hk, after=heard.place)
    assert [one.feedback.comment for one in again.take()] == ["not heard"]


@pytest.mark.parametrize("away", [RESUMABLE + timedelta(seconds=1), timedelta(days=700_000)])
def test_who_was_away_for_too_long_missed_something(hk: Harken, clock: ManualClock, away: timedelta) -> None:
    """After an hour nobody can be sure to be told all, and that is said."""
    hk.submit("s", "up")
    clock.now += timedelta(days=1)
    listener = listen(hk, after=Place(Cursor(clock.now - away, "id-000001")))
    assert listener.missed
    assert not listener.waiting


def test_a_place_in_the_future_is_just_now(hk: Harken) -> None:
    """A place that nobody was given does no harm."""
    listener = listen(hk, after=Place(Cursor(datetime.max.replace(tzinfo=NOON.tzinfo), "x")))
    assert (listener.missed, listener.waiting) == (False, False)


def test_a_place_survives_being_written_down() -> None:
    """A place and its token are the same thing, and what is no token is refused."""
    for place in (Place(Cursor(NOON, "id.1")), Place(Cursor(LONG_AGO, "ü"), "64f")):
        assert Place.parse(str(place)) == place
    with pytest.raises(InvalidQuery, match="is not a cursor"):
        Place.parse("nonsense")


# --- Bounds -----------------------------------------------------------------------------------------------------------


def test_who_takes_nothing_is_told_that_they_missed_something(hk: Harken) -> None:
    """What waits for a listener is bounded: the oldest is dropped, and the listener knows."""
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


def test_who_comes_back_to_too_much_missed_something(hk: Harken, clock: ManualClock) -> None:
    """A storage that has more than a listener could take is not read to its end."""
    hk.collection.restore([a_feedback(f"f-{number:06}") for number in range(MAX_WAITING + 1)])
    clock.turn(minutes=2)
    assert listen(hk, after=Place(Cursor(NOON, "f-000000"))).missed
    listener = listen(hk, after=Place(Cursor(NOON + timedelta(seconds=11), "")))
    assert (listener.missed, listener.waiting) == (False, False)


def test_a_long_backlog_is_taken_in_parts(hk: Harken, clock: ManualClock) -> None:
    """Who comes back to much takes it in parts, with places that lead to the rest."""
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


def test_there_is_room_for_so_many_listeners(hk: Harken) -> None:
    """One more than fit is refused until one of them leaves."""
    listeners = [hk.feed.listen(APPLICATION, nothing) for _ in range(MAX_LISTENERS)]
    with pytest.raises(Overloaded, match="200 listeners already"):
        listen(hk)
    listeners[7].close()
    listeners[7].close()
    listen(hk)
    with pytest.raises(Overloaded):
        listen(hk)


def join(hk: Harken, *share: str, times: int = 1) -> list[Listener]:
    """Listen so many times more, in the name of that tenant, key and address."""
    return [hk.feed.listen(share[0], nothing, share=share) for _ in range(times)]


def test_slots_are_shared_between_applications(hk: Harken) -> None:
    """When all slots are taken, the application with the most loses its newest to one with fewer, down to equal shares;
    who would only change places is refused.
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
    """One key takes no slot from another one of its application for good, nor one address from another one."""
    listeners = join(hk, *greedy, times=MAX_LISTENERS)
    join(hk, *modest)
    assert [one.ended for one in listeners] == [False] * (MAX_LISTENERS - 1) + [True]
    with pytest.raises(Overloaded):
        join(hk, *greedy)


def test_who_lost_the_slot_is_told(hk: Harken) -> None:
    """It is woken, is told why nothing comes any more, and frees nobody else's slot when it leaves."""
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


def test_nobody_looks_when_nobody_listens(hk: Harken) -> None:
    """The last one to leave turns off the light, and the next one turns it on again."""
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


# --- When things go wrong ---------------------------------------------------------------------------------------------


def test_nobody_waits_for_a_look_at_the_storage() -> None:
    """While the storage hangs, submissions are kept, and who leaves, leaves."""
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


def test_who_comes_back_holds_up_nobody(clock: ManualClock) -> None:
    """While it takes long to read what somebody has missed, others are told what happens, and may begin to listen."""
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
            assert as_told(next_news(listener, hk)) == [("feedback.created", given.id)]
            assert in_time == []
        finally:
            go_on.set()
        eventually(lambda: back.result(PATIENCE).waiting)
        assert ("feedback.created", given.id) in as_told(back.result().take())
    assert in_time == [True]


def test_who_cannot_catch_up_takes_no_slot(clock: ManualClock) -> None:
    """Where what somebody has missed cannot be read, they are told so, and listen no more."""

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


def test_what_waits_is_bounded_in_total(hk: Harken, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come back to much, what waits for them is bounded together; others are told to load again."""
    monkeypatch.setattr(feed, "MAX_RESUMING", 250)
    hk.collection.restore([a_feedback(f"f-{number:03}", created_at=NOON) for number in range(100)])
    clock.turn(minutes=20)
    back = [listen(hk, after=Place(Cursor(NOON, "e"))) for _ in range(4)]
    assert [(one.missed, one.resuming) for one in back] == [(False, 100)] * 2 + [(True, 0)] * 2
    back[0].take()
    assert not listen(hk, after=Place(Cursor(NOON, "e"))).missed
    back[1].close()
    assert not listen(hk, after=Place(Cursor(NOON, "e"))).missed


def test_what_is_remembered_is_bounded_in_total(hk: Harken, monkeypatch: pytest.MonkeyPatch) -> None:
    """The more applications have listeners, the less is remembered of each; who falls behind is told so."""
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


def test_a_storage_that_fails_for_a_while_loses_no_news() -> None:
    """What happened while the storage could not be looked at is told when it can be again."""
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


def test_a_defect_of_the_storage_does_not_end_it() -> None:
    """Whatever is raised while it looks is logged, and it looks again."""
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


def test_one_that_cannot_be_woken_keeps_nobody_from_being_told(hk: Harken) -> None:
    """A listener whose host is gone is passed over."""
    woken = Event()

    def gone() -> None:
        raise RuntimeError("Event loop is closed")

    listen(hk, gone)
    listen(hk, woken.set)
    for _ in range(2):
        hk.submit("s", "up")
        assert woken.wait(PATIENCE)
        woken.clear()


def test_a_closed_feed_tells_so() -> None:
    """Who listens is woken and finds that it is over; who comes later is told at once; a second close is harmless."""
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


# --- Always -----------------------------------------------------------------------------------------------------------

#: Who does it, what, and to which feedback.
STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(["submit", "change", "withdraw", "moderate", "erase", "alert", "take", "leave and come back"]),
        st.integers(0, 4),
    ),
    max_size=25,
)


class Everything:
    """What happens to feedback and alerts, and what two listeners hear of it: one stays, and one comes and goes."""

    def __init__(self, one: Harken, two: Harken) -> None:
        self.harkens = (one, two)
        self.stays, self.goes = listen(one), listen(two)
        self.heard: list[News] = []
        self.heard_in_parts: list[News] = []
        self.serial = count()

    def step(self, hk: Harken, what: str, which: int) -> None:
        """Let one thing happen, if it can."""
        if what == "submit":
            hk.submit("s", "up", f"words {next(self.serial)}")
        elif what == "alert":
            # One alert stands at most: about the channel, while it is off.
            if hk.alerts.find(APPLICATION, open=True):
                hk.channels.switch_on("log")
            else:
                hk.channels.switch_off("log", "by hand")
        elif what == "take":
            self.take()
        elif what == "leave and come back":
            self.goes.close()
            last = self.heard_in_parts[-1].place if self.heard_in_parts else None
            # Who heard nothing yet has no place, and stays.
            self.goes = listen(hk, after=last) if last else listen(self.harkens[1], after=Place(Cursor(NOON, "")))
        elif which < len(there := self.stored()):
            self.change(hk, what, there[which])

    def change(self, hk: Harken, what: str, feedback: Feedback) -> None:
        """Change feedback that is there."""
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
        """All that is there, oldest first."""
        hk = self.harkens[0]
        return list(hk.collection.stream(hk.query().in_any_state()))

    def there(self) -> list[Feedback | Alert]:
        """All that somebody can be told of."""
        return [*self.stored(), *self.harkens[0].alerts.find(APPLICATION)]

    def take(self) -> None:
        """Hear what there is to hear; nothing that is not there any more."""
        for listener, heard in ((self.stays, self.heard), (self.goes, self.heard_in_parts)):
            there = {one.id for one in self.there()}
            news = listener.take()
            assert {subject(one).id for one in news} <= there
            assert not listener.missed
            heard.extend(news)

    def all_told(self) -> bool:
        """Whether both have heard how everything reads now."""
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
        """Whether each feedback, or alert, was always told as it was told before, or newer."""
        for heard in (self.heard, self.heard_in_parts):
            versions: dict[str, int] = {}
            for one in heard:
                if subject(one).version < versions.get(subject(one).id, 0):
                    return False
                versions[subject(one).id] = subject(one).version
        return True

    def told_behind(self, place: Place) -> list[Place]:
        """What somebody is told who comes back with that place."""
        again = listen(self.harkens[0], after=place)
        places = [one.place for one in again.take()]
        again.close()
        return places


def check(one: Harken, two: Harken, steps: Sequence[tuple[int, str, int]]) -> None:
    """Let it happen, and look at what was heard."""
    everything = Everything(one, two)
    for who, what, which in steps:
        everything.step(everything.harkens[who], what, which)
    eventually(everything.all_told)
    assert everything.never_went_back()
    there = {one.id for one in everything.there()}
    for number, news in enumerate(everything.heard, start=1):
        behind = [later.place for later in everything.heard[number:] if subject(later).id in there]
        assert everything.told_behind(news.place)[: len(behind)] == behind


@given(STEPS)
def test_everybody_hears_how_everything_reads_in_memory(steps: Sequence[tuple[int, str, int]]) -> None:
    """Last states are told, versions never go back, and any place leads to all that came after it, each once."""
    with harken.connect("memory://", clock=TickingClock(), new_id=counting_ids()) as hk:
        check(hk, hk, steps)


@pytest.mark.slow
@given(STEPS)
def test_everybody_hears_how_everything_reads_across_processes(steps: Sequence[tuple[int, str, int]]) -> None:
    """The same, where two share a file and either may have done it."""
    clock, new_id = TickingClock(), counting_ids()
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/feedback.db"
        with (
            harken.connect(url, clock=clock, new_id=new_id) as one,
            harken.connect(url, clock=clock, new_id=new_id) as two,
        ):
            check(one, two, steps)
