"""Contract tests for isolation: applications with equal ids, and values that contain one another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from attrs import evolve

from harken.domain.alerts.patterns import Subject
from harken.domain.errors import DeliveryNotFound, FeedbackNotFound, StaleFeedback
from harken.domain.events import Delivery, DeliveryQuery, DeliveryState, Event, EventType
from harken.domain.feedback import Context, Feedback, Rating
from harken.domain.query import Cursor, FeedbackQuery, GroupBy
from harken.domain.summary import Summary
from harken.ports.repository import Conflict, DuplicateOf, Outcome, Stored, Taken
from harken.ports.state import StateEntry
from harken.ports.storage import Storage
from harken.testing.assertions import check_raises, check_same
from harken.testing.base import FreshStorage
from harken.testing.builders import NOON, a_feedback, a_key, accepted, an_alert, with_content

MINUTE: Final = timedelta(minutes=1)
#: Applications whose names contain one another or differ slightly.
TENANTS: Final = ("shop", "shop-2", "Shop", "sho", "my shop", "sh_p", "s%", "s.*p")
#: Values that a filter confuses if it searches for a part, ignores case, or interprets patterns.
ALIKE: Final = ("fast", "fas", "fastest", "breakfast", "Fast", "f_st", "f%", "f.*t", "fast ", "[fast]", '"fast"')

#: A filter: its name in a query, a feedback builder for a value, and the function that reads the value.
_Filter = tuple[str, Callable[[str], Feedback], Callable[[Feedback], Sequence[str | None]]]


def _with_tag(value: str) -> Feedback:
    return a_feedback(tags=("other", value))


def _with_context(value: str) -> Feedback:
    return a_feedback(context=Context({"plan": value, "plan-2": "fast", "pla": "fast"}))


_FILTERS: Final[Sequence[_Filter]] = (
    ("feedback_id", lambda value: a_feedback(id=value), lambda one: [one.id]),
    ("session_id", a_feedback, lambda one: [one.session_id]),
    ("message_id", lambda value: a_feedback(message_id=value), lambda one: [one.message_id]),
    ("agent_id", lambda value: a_feedback(agent_id=value), lambda one: [one.agent_id]),
    ("author", lambda value: a_feedback(author=value), lambda one: [one.author]),
    ("tag", _with_tag, lambda one: one.tags),
    ("context", _with_context, lambda one: [str(one.context["plan"])]),
)


class TenantContract(FreshStorage):
    """Equal ids in several applications are independent, and filters match exact values only."""

    # --- exact matches ---------------------------------------------------------------------------------------------

    def test_filters_compare_whole_values(self) -> None:
        """No filter matches a longer value, other capitals, or a value that fits it as a pattern."""
        for name, make, values_of in _FILTERS:
            stored = [make(value) for value in ALIKE]
            with self.open_storage() as storage:
                storage.feedback.add(accepted(*stored))
                for value in (*ALIKE, "fa", ""):
                    query = FeedbackQuery(**{name: {"plan": value} if name == "context" else value})  # type: ignore[arg-type]
                    wanted = [one for one in stored if value in values_of(one)]
                    check_same(list(storage.feedback.stream(query)), sorted(wanted, key=Cursor.of))
                    check_same(list(storage.feedback.find(query, limit=20).items), sorted(wanted, key=Cursor.of)[::-1])
                    expected = {None: Summary.fold(wanted)} if wanted else {}
                    check_same(storage.feedback.summarize(query), expected)

    def test_similar_values_are_separate_groups(self) -> None:
        """Grouping separates values that differ only in length or case, within the requested application."""
        groups = (("agent", "agent_id"), ("session", "session_id"), ("tag", "tag"), ("context.plan", "context"))
        for by, filter_name in groups:
            (make,) = (make for name, make, _ in _FILTERS if name == filter_name)
            stored = [make(value) for value in ALIKE]
            twins = [evolve(with_content(one, rating=Rating.DOWN), application="default-2") for one in stored]
            with self.open_storage() as storage:
                storage.feedback.add(accepted(*stored, *twins))
                for application, ours in (("default", stored), ("default-2", twins)):
                    found = storage.feedback.summarize(FeedbackQuery(application=application), GroupBy.parse(by))
                    one_by_one = {value: Summary.of(one) for value, one in zip(ALIKE, ours, strict=True)}
                    check_same({key: found.get(key) for key in ALIKE}, one_by_one)

    def test_erasing_keeps_similar_values(self) -> None:
        """Erasing by any filter removes exact matches with their events and deliveries, and nothing else."""
        for name, make, _ in _FILTERS:
            stored = [make(value) for value in ALIKE]
            query = FeedbackQuery(**{name: {"plan": "fast"} if name == "context" else "fast"})  # type: ignore[arg-type]
            with self.open_storage() as storage:
                storage.feedback.add(accepted(*stored))
                made = storage.outbox.fan_out([(event, ["log"]) for event in _events(storage)], due_at=NOON)
                changed = [one.answered("Thanks", at=NOON) for one in stored]
                for one in changed:
                    storage.feedback.replace(one, [Event.about(one, EventType.UPDATED)])
                check_same(storage.feedback.erase(query.in_any_state(), at=NOON).feedback, 1)
                left = sorted(one.id for one in stored[1:])
                check_same(sorted(one.id for one in storage.feedback.stream(FeedbackQuery())), left)
                check_same(sorted(event.subject_id for event in _events(storage)), left)
                pending = storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=99)
                check_same(
                    sorted(one.id for one in pending), sorted(one.id for one in made if one.event.subject_id in left)
                )

    # --- feedback --------------------------------------------------------------------------------------------------

    def test_each_application_has_its_own_ids_keys_and_votes(self) -> None:
        """Twins in several applications are all stored, and a retry finds the entry of its own application."""
        plain = a_feedback(author="ann", idempotency_key="key", fingerprint="body", message_id="m", vote=True)
        twins = _twins(plain)
        again = [evolve(one, id="again") for one in twins]
        reused = [evolve(one, id="reused", fingerprint="other body") for one in twins]
        votes = [evolve(one, id="vote", idempotency_key=None, fingerprint="") for one in twins]
        rivals = [with_content(one, rating=Rating.DOWN) for one in twins]
        expected: list[tuple[list[Feedback], list[Outcome]]] = [
            (twins, [Stored(one) for one in twins]),
            (twins, [DuplicateOf(one) for one in twins]),
            (again, [DuplicateOf(one) for one in twins]),
            (reused, [Conflict(one, Taken.IDEMPOTENCY_KEY) for one in twins]),
            (votes, [Conflict(one, Taken.VOTE_SLOT) for one in twins]),
            (rivals, [Conflict(one, Taken.ID) for one in twins]),
        ]
        for one_by_one in (False, True):
            with self.open_storage() as storage:
                for feedback, outcomes in expected:
                    batches = [[one] for one in feedback[::-1]] if one_by_one else [feedback]
                    found = [outcome for batch in batches for outcome in storage.feedback.add(accepted(*batch))]
                    check_same(found[::-1] if one_by_one else found, outcomes)

    def test_keys_and_votes_compare_whole_values(self) -> None:
        """Similar sessions, authors and messages share no idempotency key and no vote."""
        for part in ("session_id", "author", "idempotency_key", "message_id"):
            plain: dict[str, Any] = {"session_id": "s", "author": "ann", "message_id": "m", "idempotency_key": "key"}
            is_vote = part == "message_id"
            if is_vote:
                del plain["idempotency_key"]
            stored = [
                a_feedback(**{**plain, part: value}, fingerprint=value, vote=is_vote or part == "author")
                for value in ALIKE
            ]
            retried = [evolve(one, id=f"{one.id} again") for one in stored]
            met: list[Outcome] = [Conflict(one, Taken.VOTE_SLOT) if is_vote else DuplicateOf(one) for one in stored]
            with self.open_storage() as storage:
                check_same(list(storage.feedback.add(accepted(*stored))), [Stored(one) for one in stored])
                check_same(list(storage.feedback.add(accepted(*retried))), met)
                check_same([storage.feedback.add(accepted(one))[0] for one in retried], met)

    def test_reading_is_limited_to_one_application(self) -> None:
        """Lists, pages, streams, changes and statistics contain the requested application only."""
        # No two neighbours have the same statistics.
        ratings = [*Rating] * len(TENANTS)
        twins = [with_content(one, rating=ratings.pop()) for one in _twins(a_feedback(agent_id="a"))]
        twins = [with_content(one, tags=("slow",), context=Context({"plan": one.application})) for one in twins]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*twins))
            changed = [one.answered(one.application, at=NOON + MINUTE) for one in twins]
            for one in changed:
                storage.feedback.replace(one, [])
            check_same(list(storage.feedback.applications()), sorted(TENANTS))
            for one in changed:
                ours = FeedbackQuery(application=one.application)
                check_same(storage.feedback.get(one.application, one.id), one)
                check_same(dict(storage.feedback.get_many(one.application, [one.id, "none"])), {one.id: one})
                check_same(list(storage.feedback.changes(one.application, since=NOON)), [one])
                for query in (
                    ours,
                    ours.in_any_state(),
                    evolve(ours, agent_id="a"),
                    evolve(ours, tag="slow"),
                    evolve(ours, since=NOON, until=NOON + MINUTE),
                    evolve(ours, session_id=one.session_id, feedback_id=one.id),
                ):
                    check_same(list(storage.feedback.stream(query)), [one])
                    check_same(storage.feedback.find(query, limit=9).items, (one,))
                    check_same(storage.feedback.summarize(query), {None: Summary.of(one)})
                for by in ("agent", "session", "tag", "slot", "context.plan"):
                    group_by = GroupBy.parse(by)
                    expected = {key: Summary.of(one) for key in group_by.keys(one)}
                    check_same(storage.feedback.summarize(ours, group_by), expected)
            nowhere = FeedbackQuery(application="sh")
            check_same(list(storage.feedback.stream(nowhere)), [])
            check_same(storage.feedback.summarize(nowhere), {})
            check_raises(FeedbackNotFound, lambda: storage.feedback.get("sh", twins[0].id))

    def test_a_page_continues_after_a_cursor(self) -> None:
        """A page begins after the cursor, even if another application has feedback there or ids share a prefix."""
        names = ["f", "f-1", "f-10", "f-2", "F", "g"]
        stored = [a_feedback(id=name, application=application) for application in TENANTS[:2] for name in names]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*stored, a_feedback(id="f-15", application=TENANTS[1])))
            for place in (*names, "f-1 ", "f-15"):
                page = storage.feedback.find(FeedbackQuery(application=TENANTS[0]), limit=9, after=Cursor(NOON, place))
                older = [name for name in sorted(names, reverse=True) if name < place]
                check_same([one.id for one in page.items], older)

    def test_changing_keeps_the_twins(self) -> None:
        """Replacing and erasing affect the feedback, events and statistics of one application."""
        twins = _twins(a_feedback(agent_id="a"))
        first, second, *others = twins
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*twins))
            changed = with_content(first.answered("Thanks", at=NOON), rating=Rating.DOWN)
            storage.feedback.replace(changed, [Event.about(changed, EventType.UPDATED)])
            check_raises(StaleFeedback, lambda: storage.feedback.replace(changed, []))
            third_version = evolve(second.answered("Thanks", at=NOON), version=3)
            check_raises(StaleFeedback, lambda: storage.feedback.replace(third_version, []))
            waiting = [*(Event.about(one, EventType.CREATED) for one in twins)]
            waiting.append(Event.about(changed, EventType.UPDATED))
            check_same(_ids(_events(storage)), _ids(waiting))
            check_same(storage.feedback.erase(_all_of(first.application), at=NOON).feedback, 1)
            for one in (second, *others):
                check_same(list(storage.feedback.stream(_all_of(one.application))), [one])
                check_same(storage.feedback.summarize(_all_of(one.application)), {None: Summary.of(one)})
                by_agent = storage.feedback.summarize(
                    FeedbackQuery(application=one.application), GroupBy.parse("agent")
                )
                check_same(by_agent, {"a": Summary.of(one)})
            kept = [Event.about(one, EventType.CREATED) for one in (second, *others)]
            check_same(_ids(_events(storage)), _ids(kept))
            check_same(storage.feedback.summarize(_all_of(first.application)), {})

    # --- events and deliveries -------------------------------------------------------------------------------------

    def test_erasing_keeps_the_deliveries_of_twins(self) -> None:
        """Deliveries in any state of other applications are kept when feedback with the same id is erased."""
        twins = _twins(a_feedback())
        mine = twins[0].application
        for state in (*DeliveryState, None):
            with self.open_storage() as storage:
                made = _all_in(state, storage, twins)
                storage.feedback.erase(_all_of(mine), at=NOON)
                left = [one for one in made if one.event.application != mine]
                found = storage.outbox.deliveries(DeliveryQuery(state or DeliveryState.PENDING), limit=99)
                check_same(_ids([one for one in found if one.event.type is not EventType.ERASED]), _ids(left))
                for one in made:
                    if one.event.application == mine:
                        check_raises(DeliveryNotFound, lambda one=one: storage.outbox.delivery(one.id))  # type: ignore[misc]
                    else:
                        check_same(storage.outbox.delivery(one.id).event, one.event)

    def test_each_twin_is_delivered(self) -> None:
        """Events of twins wait and are delivered independently, and the end of one delivery does not end another."""
        twins = _twins(a_feedback())
        with self.open_storage() as storage:
            made = _all_in(DeliveryState.PENDING, storage, twins)
            check_same(sorted(one.event.application for one in made), sorted(TENANTS))
            first, second, third, *others = storage.outbox.claim("log", now=NOON, until=NOON + MINUTE, limit=99)
            check_same(len(others) + 3, len(twins))
            check_same(list(storage.outbox.settle([first])), [])
            storage.outbox.bury(second, error="gone")
            storage.outbox.back_off(third, due_at=NOON + MINUTE, error="later")
            for state, expected in ((DeliveryState.DELIVERED, [first]), (DeliveryState.DEAD, [second])):
                check_same(
                    [one.id for one in storage.outbox.deliveries(DeliveryQuery(state), limit=9)],
                    [one.id for one in expected],
                )
            check_same(storage.outbox.replay(second.id, due_at=NOON).event, second.event)
            check_same(list(storage.outbox.settle(others)), [])
            pending = storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=99)
            check_same(sorted(one.id for one in pending), sorted([second.id, third.id]))

    def test_deliveries_are_filtered_by_exact_names(self) -> None:
        """Lists by application or channel contain no deliveries of similar names, in any state."""
        twins = _twins(a_feedback())
        channels = [name for name in ALIKE if name.strip() == name]
        for state in DeliveryState:
            with self.open_storage() as storage:
                made = _all_in(state, storage, twins, *channels)
                for application in (None, *TENANTS, "sh"):
                    for channel in (None, "fast", "fas", "f%", "fa"):
                        query = DeliveryQuery(state, application=application, channel=channel)
                        found = storage.outbox.deliveries(query, limit=999)
                        wanted = [
                            one.id
                            for one in made
                            if application in (None, one.event.application) and channel in (None, one.channel)
                        ]
                        check_same(_ids(found), sorted(wanted))

    # --- alerts, sessions, keys and state --------------------------------------------------------------------------

    def test_alerts_of_twins_are_separate(self) -> None:
        """An id, rule and subject identify an alert within one application; erasing a twin's feedback changes none."""
        twins = [an_alert("one", application=name, message=name, feedback_ids=("f",)) for name in TENANTS]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*_twins(a_feedback(id="f")), *_twins(a_feedback(id="one"))[:1]))
            storage.outbox.fan_out([(event, []) for event in _events(storage)], due_at=NOON)
            check_same([storage.alerts.add(one, one.event()) for one in twins[1:]], [True] * (len(twins) - 1))
            # This feedback has the id of alerts in other applications.
            storage.feedback.erase(_all_of(TENANTS[0]), at=NOON)
            check_same(sorted(event.application for event in _events(storage)), sorted(TENANTS[1:]))
            resolved = twins[1].resolved(at=NOON + MINUTE)
            check_same(storage.alerts.replace(resolved, resolved.event()), True)
            unknown = twins[0].resolved(at=NOON)
            check_same(storage.alerts.replace(unknown, unknown.event()), False)
            check_same(storage.alerts.get(TENANTS[0], "one"), None)
            check_same(storage.alerts.latest(TENANTS[0], "silence", twins[0].subject), None)
            for one in (resolved, *twins[2:]):
                check_same(storage.alerts.get(one.application, "one"), one)
                check_same(storage.alerts.latest(one.application, one.rule, one.subject), one)
                check_same(list(storage.alerts.find(one.application, limit=9)), [one])
                open_alerts = list(storage.alerts.find(one.application, limit=9, open=True))
                check_same(open_alerts, [] if one is resolved else [one])

    def test_alerts_are_found_by_exact_names(self) -> None:
        """``latest`` and lists by rule exclude similar rules and subjects."""
        rules = [an_alert(f"rule {value}", rule=value) for value in ALIKE]
        subjects = [
            an_alert(f"{by} {value}", rule="r", subject=Subject(by, value))
            for by in ("agent", "session")
            for value in ALIKE
        ]
        with self.open_storage() as storage:
            for one in (*rules, *subjects):
                storage.alerts.add(one, one.event())
            for one in (*rules, *subjects):
                check_same(storage.alerts.latest("default", one.rule, one.subject), one)
                check_same(storage.alerts.get("default", one.id), one)
            for one in rules:
                check_same(list(storage.alerts.find("default", limit=9, rule=one.rule)), [one])
            check_same(storage.alerts.latest("default", "fa", rules[0].subject), None)
            check_same(storage.alerts.latest("default", "r", Subject("application", "fast")), None)

    def test_metadata_of_similar_sessions_is_separate(self) -> None:
        """Similar sessions, applications and names share no metadata when it is read, changed or deleted."""
        places = [*((name, "fast") for name in TENANTS), *(("default", value) for value in ALIKE)]
        with self.open_storage() as storage:
            for application, session_id in places:
                values = dict.fromkeys(("plan", "plan-2", "pla"), f"{application} {session_id}")
                storage.sessions.update(application, session_id, values)
            check_same(storage.sessions.delete("default", "fast", ["plan"]), 1)
            check_same(storage.sessions.delete(TENANTS[0], "fast"), 3)
            check_same(storage.sessions.get(TENANTS[0], "fast"), {})
            check_same(list(storage.sessions.get("default", "fast")), ["pla", "plan-2"])
            for application, session_id in set(places) - {("default", "fast"), (TENANTS[0], "fast")}:
                expected = dict.fromkeys(("pla", "plan", "plan-2"), f"{application} {session_id}")
                check_same(storage.sessions.get(application, session_id), expected)

    def test_conversations_of_similar_sessions_are_separate(self) -> None:
        """Similar applications, sessions and agents share no messages and no state, and are erased separately."""
        places = [*((name, "fast") for name in TENANTS), *(("default", value) for value in ALIKE)]
        with self.open_storage() as storage:
            for place in places:
                for agent_id in ("a", "ab", "A"):
                    storage.conversations.put_agent(*place, agent_id, {"of": [*place, agent_id]})
                    check_same(storage.conversations.append(*place, agent_id, 0, {"of": [*place, agent_id]}), True)
            storage.conversations.put_agent(TENANTS[1], "fast", "a", {"changed": True})
            check_same(storage.conversations.replace(TENANTS[1], "fast", "a", 0, {"changed": True}), True)
            check_same(storage.conversations.erase(TENANTS[0], "fast"), 3)
            check_same(storage.conversations.erase("default", "fast"), 3)
            erased = {(TENANTS[0], "fast"), ("default", "fast")}
            check_same(list(storage.conversations.sessions()), sorted(set(places) - erased))
            for place in places:
                agents = [] if place in erased else ["A", "a", "ab"]
                check_same(list(storage.conversations.agents(*place)), agents)
                check_same(list(storage.conversations.speakers(*place)), agents)
                check_same(storage.conversations.count(*place), len(agents))
                for agent_id in agents:
                    changed = (*place, agent_id) == (TENANTS[1], "fast", "a")
                    value = {"changed": True} if changed else {"of": [*place, agent_id]}
                    check_same(storage.conversations.agent(*place, agent_id), value)
                    check_same(storage.conversations.count(*place, agent_id), 1)
                    check_same(list(storage.conversations.messages(*place, agent_id, limit=9)), [(0, value)])

    def test_keys_and_entries_are_found_by_exact_names(self) -> None:
        """Key ids and the kinds and names of entries match exactly; revoking and deleting change one."""
        keys = [a_key(value, application=value) for value in ALIKE]
        with self.open_storage() as storage:
            check_same([storage.keys.add(key) for key in keys], [True] * len(keys))
            check_same(
                [storage.state.put(kind, StateEntry(name, {"of": kind})) for kind, name in _pairs()], [True] * 121
            )
            storage.keys.revoke("fast", at=NOON)
            check_same(storage.state.delete("fast", "fast"), True)
            check_same([storage.keys.get(value) for value in ("fa", "FAST", "%")], [None] * 3)
            for key in keys:
                check_same(storage.keys.get(key.id), evolve(key, revoked_at=NOON) if key.id == "fast" else key)
            for kind, name in _pairs():
                expected = None if (kind, name) == ("fast", "fast") else StateEntry(name, {"of": kind})
                check_same(storage.state.get(kind, name), expected)
            check_same([one.name for one in storage.state.all("fast")], sorted(ALIKE[1:]))


def _twins(feedback: Feedback) -> list[Feedback]:
    """Return the same feedback in each application."""
    return [evolve(feedback, application=name) for name in TENANTS]


def _ids(things: Iterable[Event | Delivery]) -> list[str]:
    return sorted(one.id for one in things)


def _pairs() -> list[tuple[str, str]]:
    return [(kind, name) for kind in ALIKE for name in ALIKE]


def _all_of(application: str) -> FeedbackQuery:
    return FeedbackQuery(application=application).in_any_state()


def _events(storage: Storage) -> Sequence[Event]:
    return storage.outbox.events(limit=999)


def _all_in(
    state: DeliveryState | None, storage: Storage, feedback: Sequence[Feedback], *channels: str
) -> Sequence[Delivery]:
    """Create a delivery of each event to each channel in this state; ``None`` means leased."""
    names = channels or ("log",)
    storage.feedback.add(accepted(*feedback))
    made = storage.outbox.fan_out([(event, names) for event in _events(storage)], due_at=NOON)
    if state is DeliveryState.PENDING:
        return made
    for name in names:
        claimed = storage.outbox.claim(name, now=NOON, until=NOON + MINUTE, limit=999)
        if state is DeliveryState.DELIVERED:
            storage.outbox.settle(claimed)
        if state is DeliveryState.DEAD:
            for claim in claimed:
                storage.outbox.bury(claim, error="gone")
    return made
