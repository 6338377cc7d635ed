"""Digests: sent once for each week, and never more than the channel may know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from attrs import evolve

import harken
from harken import (
    ConfigurationError,
    DeliveryFailed,
    FeedbackQuery,
    Harken,
    InvalidQuery,
    Notification,
    Notifier,
    StorageUnavailable,
    Submission,
    Target,
)
from harken.configuration.notifications import NotificationSettings
from harken.domain.digest import DigestRule, parse_digest
from harken.domain.events import Delivery, DeliveryQuery, DeliveryState, EventType
from harken.ports.state import StateEntry
from harken.ports.storage import same_clock
from harken.testing.assertions import at_once

MONDAY = datetime(2026, 3, 30, tzinfo=UTC)
#: Everything else goes to a channel of its own, so that only digests tell the channel under test of feedback.
ROUTES = [{"name": "rest", "channel": "other"}]
WEEKLY = {"name": "weekly", "channel": "mail", "weekday": "monday"}
COMMENT = "I waited for more than a minute, and then the answer was about something else"


class Inbox(Notifier):
    """Records notifications; ``before`` runs before each is accepted."""

    def __init__(self) -> None:
        self.received: list[Notification] = []
        self.before: Callable[[], object] = lambda: None

    def deliver(self, notification: Notification) -> None:
        """Record it."""
        self.before()
        self.received.append(notification)

    @property
    def types(self) -> list[str]:
        """The types of the notifications."""
        return [one.type.value for one in self.received]


class Clock:
    """A clock that tests set."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """The time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A Friday before the digest of Monday."""
    return Clock(MONDAY - timedelta(days=3))


@pytest.fixture
def inbox() -> Inbox:
    """The receiver of digests."""
    return Inbox()


@pytest.fixture(params=["sqlite", pytest.param("mongodb", marks=pytest.mark.slow)])
def connect(
    request: pytest.FixtureRequest, tmp_path: Path, clock: Clock, inbox: Inbox
) -> Iterator[Callable[..., Harken]]:
    """Connects several times to one storage, which has the same clock."""
    is_mongodb = request.param == "mongodb"
    url = request.getfixturevalue("mongodb_url") if is_mongodb else f"sqlite:///{tmp_path}/feedback.db"
    channels = {"mail": inbox, "other": Inbox()}
    defaults: dict[str, Any] = {"routes": ROUTES, "digests": [WEEKLY], "channels": channels, "clock": clock}
    with ExitStack() as opened:

        def connect(shared: Callable[[Any], Any] = same_clock, **options: Any) -> Harken:
            # Else the relay would follow the clock of the MongoDB server.
            storage = evolve(opened.enter_context(harken.open_storage(url)), clock=shared)
            return harken.connect(storage, **{**defaults, **options})

        yield connect


def complain(hk: Harken, comment: str = COMMENT, *, at: datetime = MONDAY - timedelta(days=2), **target: Any) -> str:
    """Store a thumbs-down; returns its id."""
    application = target.pop("application", "default")
    feedback = Submission(
        target=Target("s", agent_id=target.pop("agent_id", None)),
        rating="down",
        comment=comment,
        tags=("slow",),
        created_at=at,
        application=application,
    )
    return hk.collection.submit(feedback).feedback.id


def test_the_first_digest_waits_for_its_time(connect: Any, clock: Clock, inbox: Inbox) -> None:
    """A new digest is not sent at once, but at its next time, with the week before, and once."""
    with connect() as hk:
        complain(hk)
        complain(hk, "This is of the same day as the digest, and therefore too late", at=MONDAY + timedelta(hours=1))
        hk.relay.run_due()
        clock.now = MONDAY + timedelta(hours=8, minutes=59)
        hk.relay.run_due()
        assert inbox.received == []
        clock.now = MONDAY + timedelta(hours=9)
        hk.relay.run_due()
        clock.now += timedelta(hours=5)
        hk.relay.run_due()
        (digest,) = [one.digest for one in inbox.received]
        assert digest is not None
        assert [one.date() for one in digest.headline.after] == [date(2026, 3, 23), date(2026, 3, 30)]
        assert [one.summary.total for one in digest.days] == [0, 0, 0, 0, 0, 1, 0]
        (issue,) = digest.issues.issues
        assert issue.name == "slow"
        assert issue.example is not None
        assert issue.example.comment == COMMENT
        clock.now += timedelta(days=7)
        hk.relay.run_due()
        assert inbox.types == ["digest", "digest"]
        assert len({one.id for one in inbox.received}) == 2


def test_many_processes_send_one_digest(connect: Any, clock: Clock, inbox: Inbox) -> None:
    """Relays that notice at the same time, a restart, and a delivery that is no longer stored do not repeat it."""
    with ExitStack() as stack:
        relays = [stack.enter_context(connect()) for _ in range(4)]
        relays[0].digests.send_due()
        clock.now = MONDAY + timedelta(hours=9)
        sent = at_once([partial(hk.digests.send, "weekly") for hk in relays])
        assert sorted(sent) == [False, False, False, True]
        at_once([hk.relay.run_due for hk in relays])
        assert inbox.types == ["digest"]
    clock.now += timedelta(days=6, hours=23)
    with connect() as hk:
        hk.outbox.forget(before=clock.now)
        hk.relay.run_due()
        assert hk.digests.send("weekly") is False
    assert inbox.types == ["digest"]


def test_a_crash_between_the_two_writes_does_not_repeat_it(connect: Any, clock: Clock, inbox: Inbox) -> None:
    """If a process dies after it stored the delivery, the next one derives the same id."""
    with connect() as hk:
        assert hk.digests.send("weekly") is True
        hk.relay.run_due()
        assert hk.state.delete("digest", "weekly:default")
        assert hk.digests.send("weekly") is False
        hk.relay.run_due()
    assert inbox.types == ["digest"]


def test_services_with_other_applications_send_their_own(connect: Any, clock: Clock, inbox: Inbox) -> None:
    """Two services on one storage, with one configuration but other default applications, both send the digest."""
    with connect(application="shop") as shop, connect(application="bank") as bank:
        for _ in range(3):
            for hk in (shop, bank):
                hk.relay.run_due()
            clock.now += timedelta(days=7)
    assert sorted(one.application for one in inbox.received) == ["bank", "bank", "shop", "shop"]


@pytest.mark.parametrize("back", [timedelta(), timedelta(days=2), timedelta(days=4)])
def test_a_clock_that_was_wrong_for_a_moment_stops_no_digest(
    connect: Any, clock: Clock, inbox: Inbox, back: timedelta
) -> None:
    """After a jump of a year and back, each week is sent, and none twice, although old deliveries were removed."""
    with connect() as hk:
        hk.relay.run_due()
        clock.now = MONDAY + timedelta(hours=9)
        hk.relay.run_due()
        clock.now += timedelta(days=365)
        hk.relay.run_due()
        hk.outbox.forget(before=clock.now)
        clock.now += back - timedelta(days=365)
        for _ in range(4):
            hk.relay.run_due()
            clock.now += timedelta(days=7)
    ends = [one.digest.headline.after[1].date() for one in inbox.received if one.digest is not None]
    assert [end for end in ends if end.year == 2026] == [
        date(2026, 3, 30) + week * timedelta(days=7) for week in range(4)
    ]
    assert len(ends) == 5


def test_the_clock_of_one_process_does_not_count(connect: Any, clock: Clock, inbox: Inbox) -> None:
    """A process whose clock is a year ahead sends the digests by the time that the storage's processes agree on."""
    ahead = Clock(clock.now + timedelta(days=365))
    with connect(shared=lambda _: clock, clock=ahead) as hk:
        hk.relay.run_due()
        ahead.now += timedelta(days=7)
        hk.relay.run_due()
        assert inbox.received == []
        clock.now = MONDAY + timedelta(hours=9)
        hk.relay.run_due()
        (digest,) = [one.digest for one in inbox.received]
        assert digest is not None
        assert digest.headline.after[1].date() == date(2026, 3, 30)
        assert hk.digests.build("weekly").headline.after == digest.headline.after


def test_a_digest_that_was_missed_is_sent_late_and_only_the_latest(connect: Any, clock: Clock, inbox: Inbox) -> None:
    """After three weeks without a relay, one digest is sent."""
    with connect() as hk:
        hk.relay.run_due()
    clock.now += timedelta(days=21)
    with connect() as hk:
        hk.relay.run_due()
    (one,) = inbox.received
    assert one.digest is not None
    assert one.digest.headline.after[1].date() == date(2026, 4, 13)


def test_erasure_of_quoted_feedback_is_notified(connect: Any, clock: Clock, inbox: Inbox) -> None:
    """The channel of a digest is notified of the erasure of what it quoted, and of nothing else."""
    with connect() as hk:
        quoted = complain(hk)
        unquoted = complain(hk, "bad")
        hk.digests.send("weekly")
        clock.now = MONDAY + timedelta(hours=9)
        hk.digests.send("weekly")
        hk.relay.run_due()
        clock.now += timedelta(days=9)
        hk.outbox.forget(before=clock.now)
        for one in (quoted, unquoted):
            hk.collection.erase(FeedbackQuery(feedback_id=one).in_any_state())
        hk.relay.run_due()
    erased = [one.erased.id for one in inbox.received if one.erased is not None]
    assert erased == [quoted]


def test_a_digest_is_as_current_as_its_attempt(connect: Any, clock: Clock, inbox: Inbox) -> None:
    """What was erased, withdrawn or rejected while the receiver was down is not quoted by the next attempt."""
    clock.now = MONDAY + timedelta(hours=9)

    def refuse() -> None:
        raise DeliveryFailed("down")

    with connect() as hk:
        doomed = complain(hk)
        hk.digests.send("weekly")
        inbox.before = refuse
        hk.relay.run_due()
        hk.collection.erase(FeedbackQuery(feedback_id=doomed).in_any_state())
        inbox.before = lambda: None
        clock.now += timedelta(minutes=1)
        hk.relay.run_due()
    digest = next(one.digest for one in inbox.received if one.digest is not None)
    assert digest.quoted == {}
    assert digest.headline.comparison.after.total == 0
    # The failed attempt may have arrived.
    assert "feedback.erased" in inbox.types


def test_what_is_erased_while_a_digest_is_built_is_not_quoted(
    connect: Any, clock: Clock, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The feedback is read again after it is recorded that the channel is notified of it."""
    clock.now = MONDAY + timedelta(hours=9)
    with connect() as hk, connect() as other:
        doomed = complain(hk)
        record = hk.outbox.record_notified

        def record_late(*arguments: Any) -> object:
            other.collection.erase(FeedbackQuery(feedback_id=doomed).in_any_state())
            return record(*arguments)

        monkeypatch.setattr(hk.outbox, "record_notified", record_late)
        hk.digests.send("weekly")
        hk.relay.run_due()
    (one,) = inbox.received
    assert one.digest is not None
    assert one.digest.quoted == {}


def test_an_erasure_during_the_attempt_is_notified_after_it(connect: Any, clock: Clock, inbox: Inbox) -> None:
    """Although the notification of the erasure arrived before the digest, it arrives again."""
    clock.now = MONDAY + timedelta(hours=9)
    with connect() as hk, connect() as other:
        doomed = complain(hk)

        def erase_once() -> None:
            inbox.before = lambda: None
            other.collection.erase(FeedbackQuery(feedback_id=doomed).in_any_state())
            other.relay.run_due()

        inbox.before = erase_once
        hk.digests.send("weekly")
        hk.relay.run_due()
    assert inbox.types == ["feedback.erased", "digest", "feedback.erased"]


def erase(hk: Harken, feedback_id: str) -> None:
    """Erase one entry."""
    hk.collection.erase(FeedbackQuery(feedback_id=feedback_id).in_any_state())


def test_an_erasure_that_is_being_notified_during_the_attempt_is_notified_after_it(
    connect: Any, clock: Clock, inbox: Inbox
) -> None:
    """Although another relay has sent the notification before the digest arrived, and settles it afterwards."""
    clock.now = MONDAY + timedelta(hours=9)
    held: list[Delivery] = []
    with connect() as hk, connect() as other:
        doomed = complain(hk)

        def erase_once() -> None:
            inbox.before = lambda: None
            erase(other, doomed)
            other.relay.dispatch()
            held.extend(other.outbox.claim("mail", now=clock.now, until=clock.now + timedelta(minutes=1), limit=9))

        inbox.before = erase_once
        hk.digests.send("weekly")
        hk.relay.run_due()
        assert [one.event.type for one in held] == [EventType.ERASED]
        other.outbox.settle(held)
        hk.relay.run_due()
    assert inbox.types == ["digest", "feedback.erased"]


def test_an_erasure_during_an_attempt_that_fails_is_notified_after_it(connect: Any, clock: Clock, inbox: Inbox) -> None:
    """The digest may have arrived nevertheless, and the next attempt does not quote the feedback."""
    clock.now = MONDAY + timedelta(hours=9)
    with connect() as hk, connect() as other:
        doomed = complain(hk)

        def erase_once() -> None:
            inbox.before = lambda: None
            erase(other, doomed)
            other.relay.run_due()
            raise DeliveryFailed("timed out")

        inbox.before = erase_once
        hk.digests.send("weekly")
        hk.relay.run_due()
        assert inbox.types == ["feedback.erased", "feedback.erased"]
        clock.now += timedelta(minutes=1)
        hk.relay.run_due()
        assert inbox.types == ["feedback.erased", "feedback.erased", "digest"]


def test_a_storage_that_fails_after_the_attempt_loses_no_erasure(
    connect: Any, clock: Clock, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The digest is sent again, without the quotation, and the erasure of what it quoted before is notified."""
    clock.now = MONDAY + timedelta(hours=9)
    with connect() as hk, connect() as other:
        doomed = complain(hk)

        def fail(*_: object) -> None:
            raise StorageUnavailable("for a moment")

        def erase_once() -> None:
            inbox.before = lambda: None
            erase(other, doomed)
            other.relay.run_due()
            monkeypatch.setattr(hk.outbox, "add", fail)

        inbox.before = erase_once
        hk.digests.send("weekly")
        with pytest.raises(StorageUnavailable):
            hk.relay.run_due()
        monkeypatch.undo()
        clock.now += timedelta(minutes=1)
        hk.relay.run_due()
        assert inbox.types == ["feedback.erased", "digest", "digest", "feedback.erased"]
        quoted = [list(one.digest.quoted) for one in inbox.received if one.digest is not None]
        assert quoted == [[doomed], []]
        assert hk.state.all("digest-quotations") == []


def test_a_storage_that_fails_while_a_digest_is_built_is_not_the_fault_of_the_channel(
    connect: Any, clock: Clock, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No attempt is counted, and the digest is sent as soon as the storage works."""
    clock.now = MONDAY + timedelta(hours=9)

    def fail(*_: object) -> None:
        raise StorageUnavailable("for a moment")

    with connect() as hk:
        hk.digests.send("weekly")
        monkeypatch.setattr(hk.outbox, "record_notified", fail)
        with pytest.raises(StorageUnavailable):
            hk.relay.run_due()
        (waiting,) = hk.deliveries.find("pending", channel="mail")
        assert (waiting.attempts, waiting.history) == (0, ())
        monkeypatch.undo()
        hk.relay.run_due()
    assert inbox.types == ["digest"]


@pytest.mark.parametrize("value", [{}, {"sent_until": "soon"}, {"sent_until": None}])
def test_a_note_that_cannot_be_read_stops_nothing(
    connect: Any, clock: Clock, inbox: Inbox, value: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Other digests and events are sent; the digest goes on at its next time, and no week is sent twice."""
    other = WEEKLY | {"name": "other", "channel": "other"}
    with connect(digests=[WEEKLY, other]) as hk:
        hk.relay.run_due()
        clock.now = MONDAY + timedelta(hours=9)
        hk.relay.run_due()
        (note,) = [one for one in hk.state.all("digest") if one.name == "weekly:default"]
        hk.state.put("digest", StateEntry(note.name, value, note.version + 1))
        hk.outbox.forget(before=clock.now + timedelta(days=1))
        for _ in range(2):
            complain(hk, at=clock.now)
            clock.now += timedelta(minutes=2)
            hk.relay.run_due()
        assert hk.outbox.events(limit=9) == []
        assert "It is unknown when the digest 'weekly' was sent" in caplog.text
        assert inbox.types == ["digest"]
        clock.now += timedelta(days=7)
        hk.relay.run_due()
        delivered = hk.deliveries.find("delivered", type="digest", channel="other")
        assert len(delivered) == 1
    assert inbox.types == ["digest", "digest"]


def test_a_digest_with_an_error_does_not_stop_others(
    connect: Any, clock: Clock, inbox: Inbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is logged with the name of the digest."""
    latest_end = DigestRule.latest_end

    def fail_for_one(rule: DigestRule, now: datetime) -> date:
        if rule.name == "broken":
            raise RuntimeError("a day that does not exist")
        return latest_end(rule, now)

    monkeypatch.setattr(DigestRule, "latest_end", fail_for_one)
    with connect(digests=[WEEKLY | {"name": "broken"}, WEEKLY]) as hk:
        hk.relay.run_due()
        clock.now = MONDAY + timedelta(hours=9)
        complain(hk)
        hk.relay.run_due()
        assert hk.outbox.events(limit=9) == []
    assert inbox.types == ["digest"]
    assert "The digest 'broken' waits" in caplog.text


def test_digests_keep_applications_apart(connect: Any, clock: Clock, inbox: Inbox) -> None:
    """A digest has the feedback of its application, agents and context only."""
    rules = [
        {"name": "theirs", "channel": "mail", "application": "theirs"},
        {"name": "ours", "channel": "mail", "agents": ["helper"], "zone": "Asia/Kathmandu"},
    ]
    clock.now = MONDAY
    with connect(digests=rules) as hk:
        complain(hk, application="theirs")
        complain(hk, agent_id="helper")
        complain(hk, agent_id="other")
        theirs, ours = hk.digests.build("theirs"), hk.digests.build("ours")
        assert (theirs.application, theirs.headline.comparison.after.total) == ("theirs", 1)
        assert (ours.application, ours.headline.comparison.after.total) == ("default", 1)
        assert theirs.quoted.keys().isdisjoint(ours.quoted)
        assert hk.digests.send_due() == set()


def test_a_relay_without_the_digest_leaves_it_to_others(connect: Any, clock: Clock, inbox: Inbox) -> None:
    """Its attempt fails and says why; a relay with the settings sends it."""
    with connect() as hk:
        hk.digests.send("weekly")
    with connect(digests=()) as hk:
        hk.relay.run_due()
        (waiting,) = hk.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING, channel="mail"), limit=9)
        assert waiting.event.type is EventType.DIGEST
        assert "no digest 'weekly'; run all relays with the same digests" in waiting.error
    with connect() as hk:
        hk.outbox.replay(waiting.id, due_at=waiting.event.occurred_at)
        hk.relay.run_due()
    assert inbox.types == ["digest"]


@pytest.mark.parametrize(
    ("now", "end"),
    [
        (datetime(2026, 3, 29, 6, 59, tzinfo=UTC), date(2026, 3, 22)),
        (datetime(2026, 3, 29, 7, 0, tzinfo=UTC), date(2026, 3, 29)),
        (datetime(2026, 4, 5, 6, 59, tzinfo=UTC), date(2026, 3, 29)),
        (datetime(2026, 10, 25, 7, 59, tzinfo=UTC), date(2026, 10, 18)),
        (datetime(2026, 10, 25, 8, 0, tzinfo=UTC), date(2026, 10, 25)),
    ],
)
def test_times_are_local(now: datetime, end: date) -> None:
    """Nine o'clock is nine o'clock on the days on which clocks change, and days are whole local days."""
    rule = DigestRule(name="weekly", channel="mail", weekday="sunday", at="09:00", zone="Europe/Berlin")
    assert rule.latest_end(now) == end


def test_a_week_with_a_clock_change_has_all_of_its_hours() -> None:
    """The week of the change to summer time has 167 hours."""
    query = DigestRule(name="weekly", channel="mail", zone="Europe/Berlin").query("default", date(2026, 3, 30))
    assert query.since is not None
    assert query.until is not None
    assert query.until - query.since == timedelta(hours=167)


def test_the_link_selects_the_same(connect: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a public URL, a digest links to the dashboard with its period, zone and filters."""
    monkeypatch.setenv("HARKEN_SERVER_PUBLIC_URL", "https://example.com/harken/")
    rule = WEEKLY | {"agents": ["a_b"], "zone": "Europe/Berlin"}
    clock.now = MONDAY + timedelta(hours=12)
    with connect(digests=[rule]) as hk:
        link = hk.digests.build("weekly").link
    expected = "since=2026-03-23&until=2026-03-30&zone=Europe%2FBerlin&agent%5Fid=a%5Fb"
    assert link == f"https://example.com/harken/dashboard?{expected}"


def test_the_link_has_each_value_of_a_context(connect: Any, clock: Clock) -> None:
    """As the dashboard reads them; the address itself is not changed."""
    clock.now = MONDAY
    rule = WEEKLY | {"context": {"tier": ["pro", "free"], "seats": [1, None], "is_new": True}}
    with connect(digests=[rule], public_url="https://my_host/f_b") as hk:
        address, _, selection = hk.digests.build("weekly").link.partition("?")
    assert address == "https://my_host/f_b/dashboard"
    pairs = parse_qsl(selection, keep_blank_values=True)
    assert pairs[3:] == [
        ("context.is_new", "true"),
        ("context.seats", ""),
        ("context.seats", "1"),
        ("context.tier", "free"),
        ("context.tier", "pro"),
    ]
    assert "_" not in selection


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": "a b"}, "A digest's name must have"),
        ({"channel": None}, "A digest needs channel"),
        ({"weekday": "someday"}, "weekday of a digest must be a day such as 'monday', got 'someday'"),
        ({"at": "9 o'clock"}, "at of a digest must be a time such as '09:00'"),
        ({"at": "09:00Z"}, "set zone instead"),
        ({"zone": "Mars"}, "Unknown time zone 'Mars'"),
        ({"agents": 3}, "agents of a digest must be a list"),
        ({"context": "x"}, "context of a digest must be a table"),
        ({"application": ""}, "application"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_invalid_digests(change: dict[str, Any], problem: str) -> None:
    """The error says what is wrong."""
    with pytest.raises(ConfigurationError, match=problem):
        parse_digest({**WEEKLY, **change})


def test_wrong_channels_and_names(connect: Any) -> None:
    """Digests to unknown channels, and two of one name, are refused at the start; an unknown name names the others."""
    with pytest.raises(ConfigurationError, match="In the digest 'weekly': Unknown channel 'fax'"):
        connect(digests=[WEEKLY | {"channel": "fax"}])
    with pytest.raises(ConfigurationError, match="names must be unique"):
        connect(digests=[WEEKLY, WEEKLY])
    with connect() as hk, pytest.raises(InvalidQuery, match="Unknown digest 'daily'; expected weekly"):
        hk.digests.send("daily")


def test_settings_of_the_file(tmp_path: Path) -> None:
    """``[[digests]]`` in harken.toml has the same keys; TOML times may be written without quotes."""
    text = '[channels.mail]\nkind = "log"\n[[digests]]\nname = "weekly"\nchannel = "mail"\nat = 08:30:00\n'
    (tmp_path / "harken.toml").write_text(text)
    settings = NotificationSettings.load({}, tmp_path)
    assert settings.digests == (DigestRule(name="weekly", channel="mail", at=time(8, 30)),)
