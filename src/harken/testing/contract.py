"""The contract that every storage adapter is held to.

::

    from harken.testing import StorageContract

    class TestMyStorage(StorageContract):
        def open_storage(self):
            return my_package.open_storage("mine://...")    # a context manager that gives a fresh, empty storage

Run it with pytest. The state machine uses the Hypothesis profile that is loaded: a thorough profile tests thoroughly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Barrier
from typing import TypeVar

from attrs import evolve
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from harken.domain.errors import DeliveryNotFound, FeedbackNotFound, HarkenError, LeaseLost, StaleFeedback
from harken.domain.events import Delivery, DeliveryState, Event, EventType
from harken.domain.feedback import Context, Feedback, Rating, Sentiment
from harken.domain.instants import SLOT, slot_number, slot_start
from harken.domain.moderation import Moderation, ModerationStatus
from harken.domain.query import FeedbackQuery, GroupBy, label
from harken.domain.summary import Summary
from harken.ports.repository import Conflict, DuplicateOf, Stored, Taken
from harken.ports.storage import Storage
from harken.testing.builders import NOON, a_feedback, a_series, accepted
from harken.testing.machine import StorageMachine, check_same

EVERYTHING = FeedbackQuery().in_any_state()
MINUTE = timedelta(minutes=1)
T = TypeVar("T")


def check_raises(expected: type[HarkenError], call: Callable[[], object]) -> None:
    """The call raises this error.

    Raises:
        AssertionError: it raises nothing.
    """
    try:
        result = call()
    except expected:
        return
    raise AssertionError(f"The contract wants {expected.__name__}, but the storage gave {result!r}")


class StorageContract(ABC):
    """Subclass it, say how to open a fresh storage, and let pytest run it."""

    @abstractmethod
    def open_storage(self) -> AbstractContextManager[Storage]:
        """A fresh, empty storage, which is closed and forgotten at the end of the context."""

    # --- everything at once ----------------------------------------------------------------------------------------

    def test_any_sequence_of_operations_gives_what_the_reference_model_gives(self) -> None:
        """Whatever is done in whatever order, answers, order and errors are those of the contract."""
        quiet = settings(deadline=None, suppress_health_check=list(HealthCheck), stateful_step_count=30)

        class Machine(StorageMachine):
            open_storage = staticmethod(self.open_storage)

        run_state_machine_as_test(Machine, settings=quiet)

    # --- keeping ---------------------------------------------------------------------------------------------------

    def test_every_field_comes_back_equal(self) -> None:
        """What goes in comes out equal in every field, however unusual."""
        full = a_feedback(
            "sesión ✓",
            message_id="message",
            agent_id="агент",
            rating=Rating.DOWN,
            comment="Zeile eins\r\n\tzwei '\"\\%_ 👎🏽 \u202e",
            author="ann",
            tags=("too slow", "it's wrong"),
            context=Context({"yes": True, "one": 1, "real": 1.0, "text": "1", "none": None, "most": 2**63 - 1}),
            sentiment=Sentiment(-0.123457, 0.999999),
            moderation=Moderation(
                status=ModerationStatus.APPROVED,
                reason="fine",
                moderator="mo",
                decided_at=NOON + MINUTE,
                previous=ModerationStatus.PENDING,
            ),
            reply="We are sorry",
            created_at=datetime(2026, 2, 3, 4, 5, 6, 999999, tzinfo=UTC),
            idempotency_key="key",
            fingerprint="body",
            vote=True,
        )
        changed = full.revised(a_feedback(tags=("x",), sentiment=Sentiment(1, 0), rating=Rating.UP), at=NOON)
        changed = evolve(changed, target=full.target).withdraw(at=NOON + MINUTE)
        with self.open_storage() as storage:
            check_same(list(storage.feedback.add(accepted(full))), [Stored(full)])
            check_same(storage.feedback.get("default", full.id), full)
            storage.feedback.replace(evolve(changed, version=2), [])
            check_same(storage.feedback.get("default", full.id), evolve(changed, version=2))

    def test_applications_are_worlds_of_their_own(self) -> None:
        """What belongs to one application is neither found, counted nor erased through another."""
        mine, other = a_feedback(), a_feedback(application="other")
        twin = evolve(other, id=mine.id)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(mine, other, twin))
            check_raises(FeedbackNotFound, lambda: storage.feedback.get("default", other.id))
            check_same(storage.feedback.find(FeedbackQuery(), limit=9).items, (mine,))
            check_same(storage.feedback.summarize(FeedbackQuery()), {None: Summary.of(mine)})
            check_same(storage.feedback.erase(EVERYTHING), 1)
            check_same(storage.feedback.get("other", mine.id), twin)

    def test_what_is_not_there_is_not_found(self) -> None:
        """An unknown id raises ``FeedbackNotFound``, for reading and for replacing."""
        with self.open_storage() as storage:
            check_raises(FeedbackNotFound, lambda: storage.feedback.get("default", "nobody"))
            check_raises(FeedbackNotFound, lambda: storage.feedback.replace(a_feedback(version=2), []))

    # --- once only -------------------------------------------------------------------------------------------------

    def test_the_same_feedback_again_is_a_duplicate(self) -> None:
        """The same id with the same content is a duplicate; with other content it is a conflict."""
        one = a_feedback()
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one))
            outcomes = storage.feedback.add(accepted(one, evolve(one, comment="other")))
            check_same(list(outcomes), [DuplicateOf(one), Conflict(one, Taken.ID)])

    def test_one_idempotency_key_keeps_one_feedback(self) -> None:
        """The same key and body is a duplicate, another body a conflict, another session or application is neither."""
        first = a_feedback(idempotency_key="key", fingerprint="body")
        again = a_feedback(idempotency_key="key", fingerprint="body")
        other_body = a_feedback(idempotency_key="key", fingerprint="other")
        elsewhere = a_feedback("elsewhere", idempotency_key="key", fingerprint="body")
        foreign = a_feedback(application="other", idempotency_key="key", fingerprint="body")
        with self.open_storage() as storage:
            # In one batch and across batches alike.
            check_same(list(storage.feedback.add(accepted(first, again))), [Stored(first), DuplicateOf(first)])
            outcomes = storage.feedback.add(accepted(again, other_body, elsewhere, foreign))
            expected = [
                DuplicateOf(first),
                Conflict(first, Taken.IDEMPOTENCY_KEY),
                Stored(elsewhere),
                Stored(foreign),
            ]
            check_same(list(outcomes), expected)
            check_same(storage.feedback.summarize(FeedbackQuery())[None].total, 2)
            check_same(len(storage.outbox.events(limit=9)), 3)

    def test_racing_retries_keep_one_feedback(self) -> None:
        """Many threads with the same key at once: one is stored, and all others get it as a duplicate."""
        retries = [a_feedback(idempotency_key="key", fingerprint="body") for _ in range(8)]
        with self.open_storage() as storage:
            answers = _at_once([partial(storage.feedback.add, accepted(one)) for one in retries])
            kept = storage.feedback.find(EVERYTHING, limit=9).items
        outcomes = [outcome for answer in answers for outcome in answer]
        if len(kept) != 1:
            raise AssertionError(f"One key was kept {len(kept)} times")
        check_same(sorted(type(outcome).__name__ for outcome in outcomes), ["DuplicateOf"] * 7 + ["Stored"])
        check_same({outcome.feedback.id for outcome in outcomes}, {kept[0].id})

    def test_an_author_has_one_vote_on_a_message(self) -> None:
        """A second vote in the same place is a conflict; another message, session or author is another place."""
        first = a_feedback(author="ann", message_id="m", vote=True)
        places = [
            a_feedback(author="ann", message_id="n", vote=True),
            a_feedback(author="ann", vote=True),
            a_feedback(author="bob", message_id="m", vote=True),
            a_feedback("elsewhere", author="ann", message_id="m", vote=True),
            a_feedback(author="ann", message_id="m"),
            a_feedback(message_id="m", vote=True),
            a_feedback(message_id="m", vote=True),
        ]
        again = a_feedback(author="ann", message_id="m", agent_id="helper", vote=True)
        on_session = a_feedback(author="ann", vote=True)
        with self.open_storage() as storage:
            outcomes = storage.feedback.add(accepted(first, *places))
            check_same(list(outcomes), [Stored(one) for one in (first, *places)])
            outcomes = storage.feedback.add(accepted(again, on_session))
            check_same(list(outcomes), [Conflict(first, Taken.VOTE_SLOT), Conflict(places[1], Taken.VOTE_SLOT)])

    def test_a_bad_item_changes_no_other_outcome(self) -> None:
        """Outcomes come in the order of the batch, and each is its own."""
        taken, fresh, last = a_feedback(), a_feedback(), a_feedback()
        with self.open_storage() as storage:
            storage.feedback.add(accepted(taken))
            outcomes = storage.feedback.add(accepted(fresh, evolve(taken, comment="other"), last))
            check_same(list(outcomes), [Stored(fresh), Conflict(taken, Taken.ID), Stored(last)])
            check_same(list(storage.feedback.add([])), [])

    def test_a_large_batch_is_no_different(self) -> None:
        """In a batch of a thousand each item gets its own outcome too, and its own event."""
        batch = a_series(1_000, agent_id="helper")
        keyed = [evolve(one, idempotency_key=f"key-{index % 990}") for index, one in enumerate(batch)]
        with self.open_storage() as storage:
            outcomes = list(storage.feedback.add(accepted(*keyed)))
            expected = [Stored(one) for one in keyed[:990]] + [DuplicateOf(one) for one in keyed[:10]]
            check_same(outcomes, expected)
            check_same(storage.feedback.summarize(FeedbackQuery()), {None: Summary.fold(keyed[:990])})
            check_same(len(storage.outbox.events(limit=2_000)), 990)

    # --- finding ---------------------------------------------------------------------------------------------------

    def test_pages_come_newest_first(self) -> None:
        """Feedback is listed by time, then by id, both descending; streamed the other way round."""
        series = a_series(5)
        same_time = [a_feedback(created_at=NOON), a_feedback(created_at=NOON)]
        newest_first = [*reversed(series[1:]), *reversed(same_time), series[0]]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series[3:], *same_time[::-1], *series[:3]))
            check_same(storage.feedback.find(FeedbackQuery(), limit=9).items, tuple(newest_first))
            check_same(list(storage.feedback.stream(FeedbackQuery())), newest_first[::-1])

    def test_cursors_neither_skip_nor_repeat(self) -> None:
        """Going from page to page while feedback is added gives everything that was there, once."""
        series = a_series(7)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            seen: list[Feedback] = []
            page = storage.feedback.find(FeedbackQuery(), limit=2)
            while page.next is not None:
                seen += page.items
                newcomer = a_feedback(created_at=NOON + timedelta(hours=len(seen)))
                storage.feedback.add(accepted(newcomer))
                page = storage.feedback.find(FeedbackQuery(), limit=2, after=page.next)
            seen += page.items
        check_same(seen, series[::-1])

    def test_the_last_page_says_so(self) -> None:
        """``next`` is ``None`` exactly if nothing more matches, also when the last page is full."""
        series = a_series(4)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            first = storage.feedback.find(FeedbackQuery(), limit=2)
            check_same(first.next is None, False)
            check_same(storage.feedback.find(FeedbackQuery(), limit=2, after=first.next).next, None)
            check_same(storage.feedback.find(FeedbackQuery(session_id="none"), limit=2).items, ())

    def test_a_stream_may_be_written_to_by_its_reader(self) -> None:
        """Changing and erasing what a stream gives neither breaks nor prolongs it."""
        series = a_series(5)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            seen = []
            for feedback in storage.feedback.stream(EVERYTHING):
                seen.append(feedback.id)
                storage.feedback.replace(feedback.withdraw(at=NOON), [])
        check_same(seen, [feedback.id for feedback in series])

    def test_only_what_counts_is_found_unless_asked(self) -> None:
        """Pending, rejected and withdrawn feedback is in no list and no figure, unless the query asks for it."""
        seen = a_feedback()
        hidden = [
            a_feedback(moderation=Moderation(status=ModerationStatus.PENDING)),
            a_feedback(moderation=Moderation(status=ModerationStatus.REJECTED)),
            a_feedback().withdraw(at=NOON),
        ]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(seen, *hidden))
            check_same(storage.feedback.find(FeedbackQuery(), limit=9).items, (seen,))
            check_same(storage.feedback.summarize(FeedbackQuery()), {None: Summary.of(seen)})
            check_same(storage.feedback.summarize(EVERYTHING)[None].total, 4)
            waiting = FeedbackQuery(statuses=frozenset({ModerationStatus.PENDING}))
            check_same(storage.feedback.find(waiting, limit=9).items, (hidden[0],))
            check_same(storage.feedback.find(FeedbackQuery(withdrawn=True), limit=9).items, (hidden[2],))

    # --- changing --------------------------------------------------------------------------------------------------

    def test_no_update_is_lost(self) -> None:
        """Only the version that follows the stored one replaces it; any other is stale and changes nothing."""
        first = a_feedback()
        second, rival = first.answered("one", at=NOON), first.answered("two", at=NOON)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(first))
            storage.feedback.replace(second, [Event.about(second, EventType.UPDATED)])
            check_raises(StaleFeedback, lambda: storage.feedback.replace(rival, []))
            check_raises(StaleFeedback, lambda: storage.feedback.replace(evolve(second, version=4), []))
            check_same(storage.feedback.get("default", first.id), second)
            check_same(len(storage.outbox.events(limit=9)), 2)

    def test_one_of_many_racing_changes_wins(self) -> None:
        """Of many threads that replace the same version at once, one succeeds."""
        first = a_feedback()
        rivals = [first.answered(str(number), at=NOON) for number in range(6)]

        def replace(storage: Storage, rival: Feedback) -> bool:
            try:
                storage.feedback.replace(rival, [])
            except StaleFeedback:
                return False
            return True

        with self.open_storage() as storage:
            storage.feedback.add(accepted(first))
            won = _at_once([partial(replace, storage, rival) for rival in rivals])
            check_same(sum(won), 1)
            check_same(storage.feedback.get("default", first.id), rivals[won.index(True)])

    def test_erased_means_gone(self) -> None:
        """Erasing removes feedback, figures, events and deliveries, and frees the key and the vote's place."""
        doomed = a_feedback("doomed", idempotency_key="key", fingerprint="a", author="ann", vote=True)
        other = a_feedback("other")
        with self.open_storage() as storage:
            storage.feedback.add(accepted(doomed, other))
            for event in storage.outbox.events(limit=9):
                storage.outbox.fan_out(event, ["log"], due_at=NOON)
            withdrawn = doomed.withdraw(at=NOON)
            storage.feedback.replace(withdrawn, [Event.about(withdrawn, EventType.DELETED)])
            query = FeedbackQuery(session_id="doomed").in_any_state()
            check_same((storage.feedback.erase(query), storage.feedback.erase(query)), (1, 0))
            check_raises(FeedbackNotFound, lambda: storage.feedback.get("default", doomed.id))
            events = [event.feedback_id for event in storage.outbox.events(limit=9)]
            due = [one.event.feedback_id for one in storage.outbox.claim(now=NOON, until=NOON + MINUTE, limit=9)]
            check_same(doomed.id in (*events, *due), False)
            check_same(storage.feedback.summarize(EVERYTHING), {None: Summary.of(other)})
            successor = evolve(doomed, id="successor", fingerprint="b")
            check_same(list(storage.feedback.add(accepted(successor))), [Stored(successor)])

    # --- counting --------------------------------------------------------------------------------------------------

    def test_figures_equal_the_fold_for_every_grouping(self) -> None:
        """``summarize`` gives what adding up one by one gives, for each way to group."""
        everything = [
            a_feedback("s1", agent_id="a", rating=Rating.UP, comment="good 👍", sentiment=Sentiment(0.3, 0.7)),
            a_feedback("s1", agent_id="a", rating=Rating.DOWN, comment="bad", tags=("slow", "wrong")),
            a_feedback("s2", agent_id="b", rating=Rating.NEUTRAL, context=Context({"tier": "1"})),
            a_feedback("s2", context=Context({"tier": 1}), created_at=NOON + timedelta(hours=11, minutes=59)),
            a_feedback("s3", agent_id="b", tags=("slow",), context=Context({"tier": True}), sentiment=Sentiment(-1, 0)),
            a_feedback("s3", agent_id="b", created_at=slot_start(slot_number(NOON))),
            a_feedback("s3", agent_id="b", created_at=slot_start(slot_number(NOON)) - datetime.resolution),
        ]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*everything))
            for text in ("agent", "session", "tag", "slot", "context.tier"):
                by = GroupBy.parse(text)
                expected = {
                    key: Summary.fold(one for one in everything if key in by.keys(one))
                    for key in {key for one in everything for key in by.keys(one)}
                }
                groups = storage.feedback.summarize(FeedbackQuery(), by)
                check_same(sorted(groups.items(), key=repr), sorted(expected.items(), key=repr))
            check_same(storage.feedback.summarize(FeedbackQuery()), {None: Summary.fold(everything)})
            check_same(storage.feedback.summarize(FeedbackQuery(session_id="nobody")), {})

    def test_figures_of_any_span_of_time_are_exact(self) -> None:
        """``since`` is in and ``until`` is out, to the microsecond, wherever in a slot they fall."""
        series = [a_feedback(created_at=NOON + SLOT * index / 2, agent_id=f"a{index % 2}") for index in range(12)]
        moments = [one.created_at + shift for one in series[::3] for shift in (-MINUTE, timedelta(0), MINUTE)]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            for since in (None, *moments):
                for until in (None, *moments):
                    query = FeedbackQuery(since=since, until=until, agent_id="a1" if until == moments[-1] else None)
                    expected = Summary.fold(filter(query.matches, series))
                    check_same(storage.feedback.summarize(query).get(None, Summary()), expected)

    def test_figures_follow_every_change(self) -> None:
        """Another rating, agent or status, a withdrawal or an erasure is in the figures at once."""
        feedback = a_feedback(agent_id="a", comment="fine")
        steps: list[Callable[[Feedback], Feedback]] = [
            lambda one: one.revised(evolve(one, rating=Rating.DOWN, comment="not so fine"), at=NOON),
            lambda one: one.revised(evolve(one, target=evolve(one.target, agent_id="b")), at=NOON),
            lambda one: one.moderated(Moderation(status=ModerationStatus.REJECTED), at=NOON),
            lambda one: one.moderated(Moderation(), at=NOON),
            lambda one: one.withdraw(at=NOON),
            lambda one: evolve(one.revised(one, at=NOON), sentiment=Sentiment(0.5, 0.5)),
        ]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(feedback, a_feedback(agent_id="b")))
            for step in steps:
                feedback = step(storage.feedback.get("default", feedback.id))
                storage.feedback.replace(feedback, [])
                for by in (None, GroupBy.parse("agent"), GroupBy.parse("slot")):
                    counted = Summary.fold(storage.feedback.stream(FeedbackQuery()))
                    groups = storage.feedback.summarize(FeedbackQuery(), by)
                    check_same(sum(groups.values(), Summary()), counted)
                    check_same([key for key, figures in groups.items() if not figures.total], [])

    def test_context_filters_compare_labels(self) -> None:
        """A context filter finds what has the same label, be it text, number or truth value; ``None`` is absence."""
        values = (True, 1, 1.0, "1", "true", 0.1, -0.0, 1e16, 2**53 + 1, "", "null", None)
        stored = [a_feedback(context=Context({"fact": value})) for value in values]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*stored, a_feedback()))
            for value in values:
                found = storage.feedback.stream(FeedbackQuery(context=Context({"fact": value})))
                alike = [label(one.context.get("fact")) == label(value) for one in found]
                expected = sum(label(other) == label(value) for other in (*values, None))
                check_same(alike, [True] * expected)

    # --- sessions --------------------------------------------------------------------------------------------------

    def test_metadata_is_updated_key_by_key(self) -> None:
        """An update sets its keys and leaves the others; deleting says how many there were."""
        with self.open_storage() as storage:
            check_same(storage.sessions.get("default", "s"), {})
            storage.sessions.update("default", "s", {"b": [1, 1.0, True, None, {"x": "ü"}], "a": "1"})
            storage.sessions.update("default", "s", {"c": 2**63 - 1, "a": False})
            expected = {"a": False, "b": [1, 1.0, True, None, {"x": "ü"}], "c": 2**63 - 1}
            check_same(storage.sessions.get("default", "s"), expected)
            check_same(storage.sessions.get("other", "s"), {})
            check_same(storage.sessions.delete("default", "s", ["a", "nothing", "a"]), 1)
            check_same(list(storage.sessions.get("default", "s")), ["b", "c"])
            check_same(storage.sessions.delete("default", "s"), 2)
            check_same(storage.sessions.get("default", "s"), {})

    def test_nothing_live_is_handed_out(self) -> None:
        """Changing what was taken in or handed out changes nothing that is stored."""
        taken_in: dict[str, object] = {"list": [1]}
        with self.open_storage() as storage:
            storage.sessions.update("default", "s", taken_in)  # type: ignore[arg-type] # an object of our own
            taken_in["list"] = None
            handed_out = storage.sessions.get("default", "s")
            inner = handed_out["list"]
            if isinstance(inner, list):
                inner.append(2)
            handed_out["more"] = True
            check_same(storage.sessions.get("default", "s"), {"list": [1]})

    def test_racing_updates_of_metadata_all_arrive(self) -> None:
        """Threads that set different keys at once overwrite nothing of each other."""
        with self.open_storage() as storage:
            _at_once([partial(storage.sessions.update, "default", "s", {f"k{n}": n}) for n in range(8)])
            check_same(storage.sessions.get("default", "s"), {f"k{n}": n for n in range(8)})

    # --- telling ---------------------------------------------------------------------------------------------------

    def test_events_wait_in_order_until_they_are_fanned_out(self) -> None:
        """An event is there with its feedback, oldest first, and is fanned out once."""
        series = a_series(3)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series[::-1]))
            events = storage.outbox.events(limit=9)
            check_same(list(events), [Event.about(one, EventType.CREATED) for one in series])
            check_same(len(storage.outbox.events(limit=2)), 2)
            made = storage.outbox.fan_out(events[0], ["webhook", "log"], due_at=NOON)
            check_same([one.id for one in made], [f"{events[0].id}/log", f"{events[0].id}/webhook"])
            check_same(list(storage.outbox.fan_out(events[0], ["log"], due_at=NOON)), [])
            check_same(list(storage.outbox.events(limit=9)), list(events[1:]))
            check_same(list(storage.outbox.deliveries(DeliveryState.PENDING, limit=9)), list(made))

    def test_a_delivery_is_leased_to_one_worker(self) -> None:
        """What is claimed is claimed by nobody else until the lease ends; then the earlier claim is worth nothing."""
        with self.open_storage() as storage:
            delivery = _a_delivery(storage)
            check_same(list(storage.outbox.claim(now=NOON - MINUTE, until=NOON, limit=9)), [])
            (claim,) = storage.outbox.claim(now=NOON, until=NOON + MINUTE, limit=9)
            check_same(claim, evolve(delivery, leased_until=NOON + MINUTE, attempts=1))
            check_same(list(storage.outbox.claim(now=NOON, until=NOON + MINUTE, limit=9)), [])
            (second,) = storage.outbox.claim(now=NOON + MINUTE, until=NOON + 2 * MINUTE, limit=9)
            check_same(second.attempts, 2)
            check_raises(LeaseLost, lambda: storage.outbox.settle(claim))
            check_raises(LeaseLost, lambda: storage.outbox.back_off(claim, due_at=NOON, error="late"))
            check_raises(LeaseLost, lambda: storage.outbox.bury(claim, error="late"))
            storage.outbox.settle(second)
            check_raises(LeaseLost, lambda: storage.outbox.settle(second))
            (settled,) = storage.outbox.deliveries(DeliveryState.DELIVERED, limit=9)
            check_same(settled, evolve(second, state=DeliveryState.DELIVERED, leased_until=None))

    def test_racing_workers_share_the_deliveries(self) -> None:
        """Workers that claim at once get different deliveries, and together all."""
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*a_series(12)))
            for event in storage.outbox.events(limit=12):
                storage.outbox.fan_out(event, ["log"], due_at=NOON)
            claims = _at_once([lambda: storage.outbox.claim(now=NOON, until=NOON + MINUTE, limit=5)] * 4)
        ids = [delivery.id for claim in claims for delivery in claim]
        check_same((len(ids), len(set(ids))), (12, 12))

    def test_a_failed_delivery_backs_off_or_dies_and_can_be_replayed(self) -> None:
        """A delivery is tried again when it is due; a dead one comes back under its old id when it is replayed."""
        with self.open_storage() as storage:
            delivery = _a_delivery(storage)
            (claim,) = storage.outbox.claim(now=NOON, until=NOON + MINUTE, limit=9)
            storage.outbox.back_off(claim, due_at=NOON + 2 * MINUTE, error="refused")
            check_raises(LeaseLost, lambda: storage.outbox.settle(claim))
            check_same(list(storage.outbox.claim(now=NOON + MINUTE, until=NOON + 9 * MINUTE, limit=9)), [])
            (claim,) = storage.outbox.claim(now=NOON + 2 * MINUTE, until=NOON + 9 * MINUTE, limit=9)
            check_same((claim.id, claim.attempts, claim.error), (delivery.id, 2, "refused"))
            check_raises(DeliveryNotFound, lambda: storage.outbox.replay(delivery.id, due_at=NOON))
            storage.outbox.bury(claim, error="gone")
            (dead,) = storage.outbox.deliveries(DeliveryState.DEAD, limit=9)
            check_same((dead.id, dead.error, dead.leased_until), (delivery.id, "gone", None))
            revived = storage.outbox.replay(delivery.id, due_at=NOON)
            check_same(revived, evolve(dead, state=DeliveryState.PENDING, due_at=NOON, error=""))
            check_same(list(storage.outbox.deliveries(DeliveryState.PENDING, limit=9)), [revived])


def _a_delivery(storage: Storage) -> Delivery:
    storage.feedback.add(accepted(a_feedback()))
    (event,) = storage.outbox.events(limit=1)
    (delivery,) = storage.outbox.fan_out(event, ["log"], due_at=NOON)
    return delivery


def _at_once(calls: list[Callable[[], T]]) -> list[T]:
    """Run the calls in threads that start together, and give their results in order."""
    start = Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))
