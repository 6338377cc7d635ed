"""Erasing: everything about a session or an author, in every storage, and nothing of others."""

import gc
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve
from pymongo import MongoClient

import harken
from harken import Alert, Erased, FeedbackQuery, Harken, ModerationStatus
from harken.configuration.storage_urls import open_storage
from harken.domain.alerts.patterns import Subject
from harken.domain.alerts.rules import StreakRule
from harken.domain.events import DeliveryQuery, DeliveryState, EventType
from harken.domain.feedback import session_author
from harken.domain.query import ANY_STATUS
from harken.ports.storage import Storage
from harken.services.erasures import Erasures
from harken.services.feedback.erasing import FRESH, Eraser
from harken.testing import an_alert
from support import ManualClock, counting_ids

MINUTE = timedelta(minutes=1)
SECRET = "my card is 4000-1234"
#: Texts about a person, which must not be anywhere after the erasure.
NAMES = ("user-123", "kim-456")


@define
class Place:
    """A storage, and how to read all its contents."""

    url: str
    storage: Storage
    hk: Harken

    def texts(self) -> str:
        """Everything that is stored, as text."""
        if self.url.startswith("sqlite"):
            path = Path(self.url.removeprefix("sqlite:///"))
            return b" ".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*")).decode(errors="replace")
        if self.url.startswith("mongodb"):
            with MongoClient[dict[str, Any]](self.url) as client:
                database = client.get_default_database()
                # The ids of erased feedback are stored for ten minutes after the end of the erasure.
                kept = set(database.list_collection_names()) - {"harken_erasures"}
                return repr([list(database[name].find()) for name in kept])
        return repr(list(_reachable(vars(self.storage.feedback)["_data"])))


def _reachable(root: object) -> Iterable[object]:
    """All texts that can be reached from an object."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type) or callable(one):
            continue
        seen.add(id(one))
        if isinstance(one, str):
            yield one
        waiting.extend(gc.get_referents(one))


@pytest.fixture(params=["memory", "sqlite", pytest.param("mongodb", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[Place]:
    """A Harken on an empty storage of each kind."""
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/feedback.db"}
    url = urls.get(request.param) or request.getfixturevalue("mongodb_url")
    with open_storage(url) as storage, harken.connect(storage, clock=clock, new_id=counting_ids()) as hk:
        yield Place(url, storage, hk)


def _lived_in(place: Place, clock: ManualClock) -> None:
    """A session with every kind of stored data."""
    hk, storage = place.hk, place.storage
    hk.sessions.update("default", "user-123", {"phone": SECRET, "tier": "gold"})
    hk.conversations.put_agent("default", "user-123", "helper", {"note": SECRET})
    for number in range(3):
        hk.conversations.append("default", "user-123", "helper", number, {"text": SECRET})
    first = hk.submit("user-123", "down", SECRET, author="kim-456", agent_id="helper", idempotency_key="k").feedback
    hk.collection.change("default", first.id, harken.Change(comment=f"{SECRET}!"))
    second = hk.submit("user-123", "down", SECRET, author="kim-456").feedback
    hk.collection.withdraw("default", second.id)
    hk.collection.reply("default", first.id, f"Sorry, {SECRET}")
    subject = Subject("session", "user-123")
    alert = an_alert(
        "a1", subject=subject, message="2 thumbs-downs in session user-123", feedback_ids=(first.id, second.id)
    )
    storage.alerts.add(alert, alert.event())
    _fan_out(place, clock, "log", "dead")
    for claim in storage.outbox.claim("dead", now=clock(), until=clock() + MINUTE, limit=99):
        storage.outbox.bury(claim, error=f"HTTP 500 from {claim.channel}")
    for claim in storage.outbox.claim("log", now=clock(), until=clock() + MINUTE, limit=1):
        storage.outbox.settle([claim])


def _fan_out(place: Place, clock: ManualClock, *channels: str) -> None:
    plan = [(event, channels) for event in place.storage.outbox.events(limit=99)]
    place.storage.outbox.fan_out(plan, due_at=clock())


def _of_others(place: Place) -> list[list[object]]:
    """Everything that is stored about others than the session of :func:`_lived_in`."""
    theirs, hk, storage = ("default", "user-123"), place.hk, place.storage
    names = ("default", "other")
    deliveries = [one for state in DeliveryState for one in storage.outbox.deliveries(DeliveryQuery(state), limit=99)]
    everything = [FeedbackQuery(application=name).in_any_state() for name in names]
    feedback = [one for query in everything for one in storage.feedback.stream(query)]
    places = {(name, session) for name in names for session in ("user-12", "user-123", "b")} - {theirs}
    return [
        [one for one in deliveries if one.event.session_id != "user-123" and one.event.subject_id != "a1"],
        [one for one in feedback if (one.application, one.session_id) != theirs],
        [alert for name in names for alert in storage.alerts.find(name, limit=9) if alert.id != "a1"],
        [session for session in storage.sessions.stream() if session[:2] != theirs],
        [hk.conversations.count(*place) for place in sorted(places)],
    ]


def test_a_session_leaves_nothing(place: Place, clock: ManualClock) -> None:
    """No id and no content is anywhere, except for notifications with ids, which are removed when they are
    delivered.
    """
    _lived_in(place, clock)
    assert SECRET in place.texts()
    removed = place.hk.collection.erase(place.hk.query(session_id="user-123"))
    assert removed == Erased(feedback=2, messages=3, agents=1, metadata=2, alerts=1, deliveries=8 + 2)
    assert SECRET not in place.texts()
    # Erasures are due by the storage's clock, which on MongoDB is the server's.
    now = place.storage.clock(clock)() + 5 * MINUTE
    for name in ("log", "dead"):
        while claimed := place.storage.outbox.claim(name, now=now, until=now + MINUTE, limit=99):
            assert all(claim.event.type in {EventType.ERASED, EventType.ALERT_RAISED} for claim in claimed)
            place.storage.outbox.settle(claimed)
    place.storage.outbox.forget(before=now + MINUTE)
    texts = place.texts()
    assert not [name for name in (*NAMES, SECRET) if name in texts]
    (alert,) = place.storage.alerts.find("default", limit=9)
    assert (alert.is_open, alert.message, alert.subject) == (False, "", Subject("session", ""))


def test_an_author_leaves_nothing(place: Place, clock: ManualClock) -> None:
    """A session in which only the author gave feedback is erased; of other sessions, the feedback of others stays."""
    _lived_in(place, clock)
    place.hk.sessions.update("default", "shared", {"room": 1})
    place.hk.conversations.append("default", "shared", "helper", 0, {"text": "Hello, both"})
    place.hk.submit("shared", "up", SECRET, author="kim-456")
    other = place.hk.submit("shared", "up", author="lee").feedback
    removed = place.hk.collection.erase(place.hk.query(author="kim-456"))
    assert (removed.feedback, removed.messages, removed.agents, removed.metadata, removed.alerts) == (3, 3, 1, 2, 1)
    assert SECRET not in place.texts()
    assert "kim-456" not in place.texts()
    assert list(place.hk.export()) == [other]
    assert place.hk.sessions.get("default", "shared") == {"room": 1}
    assert place.hk.conversations.count("default", "shared") == 1


def test_feedback_of_an_agent_for_the_person_is_erased_too(place: Place, clock: ManualClock) -> None:
    """A session whose agent gave feedback in its name is still the author's alone, and leaves nothing."""
    _lived_in(place, clock)
    place.hk.submit("user-123", "down", SECRET, author=session_author("user-123"))
    removed = place.hk.collection.erase(place.hk.query(author="kim-456"))
    assert (removed.messages, removed.kept_sessions) == (3, ())
    assert SECRET not in place.texts()


def test_sessions_with_feedback_of_others_are_listed(place: Place) -> None:
    """Their conversations are kept, and the result lists them."""
    for session, author in (("a", "kim"), ("a", "lee"), ("b", "kim"), ("c", "kim"), ("c", None)):
        place.hk.submit(session, "up", author=author)
    assert place.hk.collection.erase(place.hk.query(author="kim")) == Erased(feedback=3, kept_sessions=("a", "c"))


@pytest.mark.parametrize(
    "narrowed",
    [{"statuses": frozenset({ModerationStatus.REJECTED})}, {"statuses": ANY_STATUS, "withdrawn": True}],
)
def test_a_query_for_a_state_erases_only_that(place: Place, narrowed: dict[str, Any]) -> None:
    """A query for an author and a state erases no other state, and no conversation."""
    place.hk.sessions.update("default", "s", {"tier": "gold"})
    kept = place.hk.submit("s", "up", author="kim").feedback
    rejected = place.hk.submit("s", "down", "x", author="kim").feedback
    place.hk.moderation.decide("default", rejected.id, "rejected")
    place.hk.collection.withdraw("default", place.hk.submit("s", "down", "y", author="kim").feedback.id)
    erased = place.hk.collection.erase(evolve(place.hk.query(author="kim"), **narrowed))
    assert erased == Erased(feedback=1)
    assert place.hk.collection.get("default", kept.id) == kept
    assert place.hk.sessions.get("default", "s") == {"tier": "gold"}


def test_a_relay_elsewhere_has_sent_what_it_read_before_the_call_returns(clock: ManualClock) -> None:
    """If there were deliveries, the call waits as long as a relay may send what it has read; otherwise it does not
    wait.
    """
    waited: list[float] = []
    with open_storage("memory://") as storage:
        eraser = Eraser(
            storage.feedback,
            storage.sessions,
            storage.conversations,
            Erasures(storage.state),
            storage.state,
            clock=clock,
            pause=waited.append,
        )
        with harken.connect(storage, clock=clock) as hk:
            for session in ("a", "b"):
                hk.submit(session, "up")
            event, _ = sorted(storage.outbox.events(limit=9), key=lambda event: event.subject_id)
            storage.outbox.fan_out([(event, ["log"])], due_at=clock())
            erased = [eraser.erase(hk.query(session_id=session)).deliveries for session in ("a", "b")]
    assert (sorted(erased), waited) == ([0, 1], [2 * FRESH])


def test_an_alert_that_is_raised_again_meanwhile_is_emptied(place: Place, clock: ManualClock) -> None:
    """Feedback that is erased between an evaluation and the alert leaves no message, session or id in it."""
    rule = StreakRule(name="x", length=2)
    with harken.connect(place.storage, clock=clock, alert_rules=[rule]) as hk:
        downs = [hk.submit("user-123", "down", SECRET, author="kim").feedback for _ in range(2)]
        hk.alerts.on_feedback(downs)
        hk.alerts.on_feedback([hk.moderation.decide("default", downs[1].id, "rejected")])
        approved = hk.moderation.decide("default", downs[1].id, "approved")
        alerts = place.storage.alerts
        get = alerts.get

        def erase_first(application: str, alert_id: str) -> Alert | None:
            alerts.get = get  # type: ignore[method-assign]
            hk.collection.erase(hk.query(session_id="user-123"))
            return get(application, alert_id)

        alerts.get = erase_first  # type: ignore[method-assign]
        hk.alerts.on_feedback([approved])
        (alert,) = hk.alerts.find("default")
    assert (alert.is_empty, alert.subject) == (True, Subject("session", ""))


def test_other_data_is_not_touched(place: Place, clock: ManualClock) -> None:
    """Equal ids in another application, and names with the same prefix, keep all their data."""
    for application, session in (("other", "user-123"), ("default", "user-12"), ("default", "b")):
        place.hk.sessions.update(application, session, {"phone": "555"})
        place.hk.conversations.append(application, session, "helper", 0, {"text": "Hello"})
        one = place.hk.submit(session, "down", "slow", author="kim-456", application=application).feedback
        subject = Subject("session", session)
        alert = an_alert(f"of-{session}", application=application, subject=subject, feedback_ids=(one.id,))
        place.storage.alerts.add(alert, alert.event())
        if application == "other":
            mine = evolve(one, application="default", target=evolve(one.target, session_id="user-123"))
            place.hk.collection.restore([mine])
    _fan_out(place, clock, "log")
    place.storage.outbox.settle(place.storage.outbox.claim("log", now=clock(), until=clock() + MINUTE, limit=99))
    before = _of_others(place)
    _lived_in(place, clock)
    assert place.hk.collection.erase(place.hk.query(session_id="user-123")).feedback == 3
    assert _of_others(place) == before


def test_erasing_again_removes_nothing(place: Place, clock: ManualClock) -> None:
    """A repeated call finds nothing, and no channel is notified twice."""
    _lived_in(place, clock)
    query = place.hk.query(session_id="user-123")
    place.hk.collection.erase(query)
    pending = place.storage.outbox.counts(DeliveryQuery(DeliveryState.PENDING))
    assert place.hk.collection.erase(query) == Erased()
    assert place.storage.outbox.counts(DeliveryQuery(DeliveryState.PENDING)) == pending


def test_a_failed_call_can_be_repeated(place: Place, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The feedback is erased last, so that a repeated call finds what a failed one left."""
    _lived_in(place, clock)
    query = place.hk.query(author="kim-456")

    def fail(*_: object, **__: object) -> Erased:
        raise harken.StorageUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(type(place.storage.feedback), "erase", fail)
        with pytest.raises(harken.StorageUnavailable):
            place.hk.collection.erase(query)
    assert place.hk.conversations.count("default", "user-123") == 0
    assert place.hk.collection.erase(query).feedback == 2
    assert SECRET not in place.texts()


@pytest.mark.parametrize("filters", [{"rating": "down"}, {"agent_id": "helper"}])
def test_erasing_a_part_of_a_session_keeps_its_conversation(
    place: Place, clock: ManualClock, filters: dict[str, str]
) -> None:
    """If the query does not select all of a session, its conversation stays."""
    _lived_in(place, clock)
    place.hk.collection.erase(place.hk.query(session_id="user-123", **filters))
    assert place.hk.conversations.count("default", "user-123") == 3
    assert place.hk.sessions.get("default", "user-123")["tier"] == "gold"


def _of_applications(place: Place, *names: str) -> list[object]:
    """Everything that is stored about applications."""
    hk, storage = place.hk, place.storage
    return [
        [list(storage.feedback.stream(FeedbackQuery(application=name).in_any_state())) for name in names],
        [storage.outbox.deliveries(DeliveryQuery(application=name), limit=99) for name in names],
        [one for one in storage.sessions.stream() if one[0] in names],
        [one for one in storage.conversations.sessions() if one[0] in names],
        [hk.imports.list(name) for name in names],
    ]


def test_an_application_leaves_nothing(place: Place, clock: ManualClock) -> None:
    """Feedback, conversations, metadata, imports and counts of one application are gone; those of others stay."""
    for application, session in (("other", "user-123"), ("a", "user-123"), ("e", "b")):
        place.hk.sessions.update(application, session, {"phone": "555"})
        place.hk.conversations.append(application, session, "helper", 0, {"text": "Hello"})
        place.hk.submit(session, "down", "slow", author="kim-456", application=application)
        place.hk.imports.begin(application, import_id="i")
    _lived_in(place, clock)
    # Sessions without feedback, too.
    place.hk.sessions.update("default", "quiet", {"note": SECRET})
    place.hk.conversations.append("default", "quiet", "helper", 0, {"text": SECRET})
    place.hk.imports.begin("default", files=[SECRET])
    with pytest.raises(harken.FeedbackRejected):
        place.hk.submit("user-123", "up", "casino")
    before = _of_applications(place, "a", "e", "other")
    removed = place.hk.collection.erase(place.hk.query().in_any_state())
    assert (removed.feedback, removed.messages, removed.agents, removed.metadata, removed.alerts) == (2, 4, 1, 3, 1)
    assert SECRET not in place.texts()
    assert _of_applications(place, "a", "e", "other") == before
    assert list(place.hk.imports.list("default")) == []
    assert place.hk.moderation.rule_counts("default", days=1) == []
    assert (place.hk.summary().total, place.hk.check()) == (0, [])
    assert place.hk.collection.erase(place.hk.query().in_any_state()) == Erased()


def test_an_interrupted_erasure_of_an_application_is_completed_by_the_next(
    place: Place, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next call removes what a failed one has left."""
    _lived_in(place, clock)
    everything = place.hk.query().in_any_state()

    def fail(*_: object, **__: object) -> Erased:
        raise harken.StorageUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(type(place.storage.feedback), "erase", fail)
        with pytest.raises(harken.StorageUnavailable):
            place.hk.collection.erase(everything)
    assert place.hk.collection.erase(everything).feedback == 2
    assert SECRET not in place.texts()


def test_a_limit_erases_the_oldest_entries_only(place: Place, clock: ManualClock) -> None:
    """Step by step, so that a caller can pause; conversations and metadata stay."""
    place.hk.sessions.update("default", "s", {"tier": "gold"})
    given = []
    for _ in range(5):
        given.append(place.hk.submit("s", "up").feedback)
        clock.turn(minutes=1)
    query = place.hk.query(session_id="s")
    assert place.hk.collection.erase(query, limit=2) == Erased(feedback=2)
    assert list(place.hk.export()) == given[2:]
    assert [place.hk.collection.erase(query, limit=2).feedback for _ in range(3)] == [2, 1, 0]
    assert place.hk.sessions.get("default", "s") == {"tier": "gold"}
