"""Contract tests for erasure: what is removed with feedback, and which channels are notified."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from attrs import evolve

from harken.domain.alerts.patterns import Subject
from harken.domain.erasure import Erased
from harken.domain.errors import DeliveryNotFound, LeaseLost
from harken.domain.events import Delivery, DeliveryQuery, DeliveryState, Event, EventType
from harken.domain.feedback import Feedback
from harken.domain.instants import MICROSECOND
from harken.domain.query import FeedbackQuery
from harken.domain.summary import Summary
from harken.ports.storage import Storage
from harken.testing.assertions import at_once, check_raises, check_same
from harken.testing.base import FreshStorage
from harken.testing.builders import NOON, a_feedback, a_series, accepted, an_alert
from harken.testing.deliveries import MINUTE, claim_due, fan_out

EVERYTHING = FeedbackQuery().in_any_state()


class ErasureContract(FreshStorage):
    """Erasure removes everything about the feedback and notifies each channel that has received it, last and once."""

    # --- notified channels -----------------------------------------------------------------------------------------

    def test_channels_that_know_the_feedback_are_notified_of_its_erasure(self) -> None:
        """Channels with a delivered, attempted or dead delivery receive the ids only; others receive nothing."""
        one, channels = a_feedback("doomed"), ("dead", "delivered", "tried", "waiting")
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one))
            fan_out(storage, *channels)
            (dead,), (delivered,), (tried,) = (claim_due(storage, name) for name in channels[:3])
            storage.outbox.bury(dead, error="gone")
            storage.outbox.settle([delivered])
            storage.outbox.back_off(tried, due_at=NOON + 9 * MINUTE, error="refused")
            at = NOON + 2 * MINUTE
            check_same(storage.feedback.erase(EVERYTHING, at=at), Erased(feedback=1, deliveries=4))
            event = Event.erasure(one, at=at)
            expected = [Delivery.of(event, name, due_at=at) for name in channels[:3]]
            check_same(_waiting(storage), expected)
            check_same((event.type, event.version, event.session_id), (EventType.ERASED, 2, "doomed"))
            check_same(list(storage.outbox.events(limit=9)), [])
            for state in (DeliveryState.DEAD, DeliveryState.DELIVERED):
                check_same(list(storage.outbox.deliveries(DeliveryQuery(state), limit=9)), [])
            for name in channels[:3]:
                check_same(claim_due(storage, name, now=at - MINUTE), [])
                check_same([claim.event for claim in claim_due(storage, name, now=at)], [event])
            check_same(claim_due(storage, "waiting", now=NOON + 60 * MINUTE), [])

    def test_a_channel_that_was_notified_long_ago_is_notified(self) -> None:
        """This also holds if the delivery was forgotten, or if an attempted delivery was discarded."""
        one, other = a_feedback(), a_feedback(application="other")
        twin = evolve(other, id=one.id)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one))
            fan_out(storage, "forgotten", "tried", "untried")
            storage.outbox.settle(claim_due(storage, "forgotten"))
            check_same(storage.outbox.forget(before=NOON + MINUTE), 1)
            (claim,) = claim_due(storage, "tried")
            storage.outbox.back_off(claim, due_at=NOON, error="refused")
            storage.outbox.discard(claim_due(storage, "tried"))
            storage.outbox.discard(claim_due(storage, "untried"))
            storage.feedback.add(accepted(other, twin))
            fan_out(storage, "forgotten")
            storage.outbox.settle(claim_due(storage, "forgotten"))
            check_same(storage.outbox.forget(before=NOON + MINUTE), 2)
            check_same(storage.feedback.erase(EVERYTHING, at=NOON), Erased(feedback=1))
            check_same(_waiting(storage), [_notice(one, "forgotten"), _notice(one, "tried")])
            check_same(storage.feedback.erase(_only(other), at=NOON), Erased(feedback=1))
            check_same(_pending(storage), {"forgotten": 2, "tried": 1})
            # The twin's channel still has its delivery; the other's channel is notified once.
            storage.feedback.erase(_only(twin), at=NOON)
            check_same(len(_waiting(storage)), 4)
            storage.feedback.add(accepted(one))
            storage.feedback.erase(EVERYTHING, at=NOON)
            check_same(len(_waiting(storage)), 4)

    def test_a_channel_that_was_notified_by_something_else_is_notified(self) -> None:
        """Such as a digest that quotes the feedback; other channels, entries and applications are not affected."""
        one, other, kept, late = a_feedback(), a_feedback(application="other"), a_feedback(), a_feedback()
        twin = evolve(other, id=one.id)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one, twin, kept))
            for _ in range(2):
                storage.outbox.record_notified("default", [one.id, kept.id, late.id], "mail")
            storage.outbox.record_notified("other", [], "mail")
            # It was not stored, so nobody was notified of it.
            storage.feedback.add(accepted(late))
            fan_out(storage)
            check_same(list(_waiting(storage)), [])
            storage.feedback.erase(evolve(EVERYTHING, feedback_id=late.id), at=NOON)
            check_same(_pending(storage), {})
            storage.feedback.erase(FeedbackQuery(application="other").in_any_state(), at=NOON)
            check_same(_pending(storage), {})
            storage.feedback.erase(evolve(EVERYTHING, feedback_id=one.id), at=NOON)
            check_same(list(_waiting(storage)), [Delivery.of(Event.erasure(one, at=NOON), "mail", due_at=NOON)])

    def test_a_channel_can_be_notified_of_an_erasure_once_more(self) -> None:
        """By an added delivery with another id, while the first one is pending, leased or delivered."""
        one = a_feedback()
        again = evolve(Event.erasure(one, at=NOON), id="again")
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one))
            fan_out(storage, "mail")
            storage.outbox.settle(claim_due(storage, "mail"))
            storage.feedback.erase(EVERYTHING, at=NOON)
            (notice,) = claim_due(storage, "mail")
            second = Delivery.of(again, "mail", due_at=NOON)
            check_same(storage.outbox.add(second), True)
            check_same(storage.outbox.add(second), False)
            check_same([claim.event for claim in claim_due(storage, "mail")], [again])
            check_same(list(storage.outbox.settle([notice])), [])
            check_same(storage.outbox.add(evolve(second, id="third:mail", event=evolve(again, id="third"))), True)
            check_same(_pending(storage), {"mail": 2})
            # Feedback that is restored from a backup is erased as before.
            storage.feedback.add(accepted(one))
            check_same(storage.feedback.erase(EVERYTHING, at=NOON), Erased(feedback=1))

    def test_a_channel_whose_delivery_was_buried_unsent_is_not_notified(self) -> None:
        """A channel that was off when its delivery was claimed is not notified, unless an earlier attempt was made."""
        one = a_feedback()
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one))
            fan_out(storage, "off", "tried")
            (off,), (tried,) = claim_due(storage, "off"), claim_due(storage, "tried")
            storage.outbox.bury(off, error="off", sent=False)
            check_same(storage.outbox.delivery(off.id).attempts, 0)
            storage.outbox.back_off(tried, due_at=NOON, error="refused")
            (tried,) = claim_due(storage, "tried")
            storage.outbox.bury(tried, error="off", sent=False)
            dead = storage.outbox.delivery(tried.id)
            check_same((dead.attempts, dead.state), (1, DeliveryState.DEAD))
            check_raises(LeaseLost, lambda: storage.outbox.bury(off, error="twice", sent=False))
            storage.feedback.erase(EVERYTHING, at=NOON)
            check_same(_waiting(storage), [_notice(one, "tried")])

    def test_a_channel_whose_delivery_was_moved_after_an_attempt_is_notified(self) -> None:
        """A channel that may have received the feedback is notified although its delivery was moved; others are not."""
        first, second = a_series(2)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(first, second))
            fan_out(storage, "old")
            tried, untried = sorted(claim_due(storage, "old"), key=lambda claim: claim.event.subject_id)
            storage.outbox.move(untried, "new")
            storage.outbox.back_off(tried, due_at=NOON, error="refused")
            (tried,) = claim_due(storage, "old")
            storage.outbox.move(tried, "new")
            storage.outbox.settle(claim_due(storage, "new"))
            storage.feedback.erase(EVERYTHING, at=NOON)
            expected = [_notice(first, "new"), _notice(first, "old"), _notice(second, "new")]
            check_same(_waiting(storage), sorted(expected, key=lambda notice: notice.id))

    # --- deliveries in progress ------------------------------------------------------------------------------------

    def test_an_erasure_waits_for_a_delivery_in_progress(self) -> None:
        """The channel is notified when the first claim ends, in any way; if nothing was sent, it is not notified."""
        ends: dict[str, Callable[[Storage, Delivery], object]] = {
            "settled": lambda storage, claim: storage.outbox.settle([claim]),
            "backed off": lambda storage, claim: check_raises(
                LeaseLost, lambda: storage.outbox.back_off(claim, due_at=NOON, error="late")
            ),
            "buried": lambda storage, claim: check_raises(LeaseLost, lambda: storage.outbox.bury(claim, error="late")),
            "released": lambda storage, claim: storage.outbox.release([claim]),
            "discarded": lambda storage, claim: storage.outbox.discard([claim]),
            "moved": lambda storage, claim: check_raises(LeaseLost, lambda: storage.outbox.move(claim, "new")),
        }
        for end, call in ends.items():
            for tries in (1, 2):
                notified = tries > 1 or end not in {"released", "discarded", "moved"}
                self._end_while_an_erasure_waits(call, tries=tries, notified=notified)

    def _end_while_an_erasure_waits(
        self, end: Callable[[Storage, Delivery], object], *, tries: int, notified: bool
    ) -> None:
        one, bystander = a_feedback(), a_feedback()
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one))
            fan_out(storage, "log", "other")
            for _ in range(tries - 1):
                storage.outbox.back_off(*claim_due(storage), due_at=NOON, error="refused")
            storage.feedback.add(accepted(bystander))
            fan_out(storage, "log")
            claim, held = sorted(claim_due(storage), key=lambda claim: claim.event.subject_id)
            storage.outbox.settle(claim_due(storage, "other"))
            check_same(storage.feedback.erase(_only(one), at=NOON).deliveries, 2)
            notice, awaiting = _notice(one, "other"), _notice(one, "log")
            awaiting = evolve(awaiting, leased_until=claim.leased_until, awaits=claim.claim, certain=tries > 1)
            pending = sorted([awaiting, held, notice], key=lambda delivery: (delivery.due_at, delivery.id))
            check_same(_waiting(storage), pending)
            check_same(claim_due(storage), [])
            # The end of another claim, or of an earlier one, releases nothing.
            storage.outbox.settle([held, evolve(claim, attempts=claim.attempts - 1)])
            check_same(claim_due(storage), [])
            end(storage, claim)
            check_same([claim.event for claim in claim_due(storage)], [notice.event] if notified else [])
            check_same([claim.event for claim in claim_due(storage, "other")], [notice.event])
            check_same(_pending(storage), {"log": 1, "other": 1} if notified else {"other": 1})

    def test_an_erasure_does_not_wait_for_a_lost_worker(self) -> None:
        """When the lease has ended, the channel is notified, even if the worker reports a result later."""
        one, other = a_feedback(), a_feedback()
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one, other))
            fan_out(storage, "log")
            claims = {claim.event.subject_id: claim for claim in claim_due(storage)}
            storage.feedback.erase(_only(one), at=NOON)
            # This lease has already ended when its feedback is erased.
            storage.feedback.erase(_only(other), at=NOON + MINUTE)
            check_same(claim_due(storage, now=NOON + MINUTE - MICROSECOND), [])
            notices = claim_due(storage, now=NOON + MINUTE)
            events = {notice.event for notice in notices}
            check_same(events == {Event.erasure(one, at=NOON), Event.erasure(other, at=NOON + MINUTE)}, True)
            check_same([(notice.awaits, notice.certain) for notice in notices], [(None, True)] * 2)
            storage.outbox.discard(list(claims.values()))
            check_same(sorted(storage.outbox.settle(notices), key=repr), [])
            check_same(len(storage.outbox.deliveries(DeliveryQuery(DeliveryState.DELIVERED), limit=9)), 2)

    def test_an_erasure_waits_for_all_deliveries_in_progress(self) -> None:
        """If two deliveries are in progress because one event was replayed, the notification waits for both leases."""
        one = a_feedback()
        changed = one.answered("Thanks", at=NOON)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one))
            storage.feedback.replace(changed, [Event.about(changed, EventType.UPDATED, before=one)])
            fan_out(storage, "log")
            (first,) = claim_due(storage)
            storage.outbox.settle([first])
            (second,) = claim_due(storage)
            storage.outbox.replay(first.id, due_at=NOON)
            (again,) = claim_due(storage)
            check_same(again.id, first.id)
            storage.feedback.erase(EVERYTHING, at=NOON)
            storage.outbox.settle([second])
            check_same(claim_due(storage), [])
            storage.outbox.settle([again])
            check_same(
                [claim.event for claim in claim_due(storage, now=NOON + MINUTE)], [Event.erasure(changed, at=NOON)]
            )

    # --- the erasure notification ----------------------------------------------------------------------------------

    def test_an_erasure_notification_is_an_ordinary_delivery(self) -> None:
        """It can be claimed, backed off, buried, replayed, settled and forgotten; no other erasure removes it."""
        one, other = a_feedback(), a_feedback()
        with self.open_storage() as storage:
            storage.feedback.add(accepted(one, other))
            fan_out(storage, "log")
            storage.outbox.settle(claim_due(storage))
            storage.feedback.erase(_only(one), at=NOON)
            (claim,) = claim_due(storage)
            check_same(claim, evolve(_notice(one, "log"), attempts=1, leased_until=NOON + MINUTE))
            storage.outbox.back_off(claim, due_at=NOON, error="refused")
            (claim,) = claim_due(storage)
            check_same(storage.feedback.erase(EVERYTHING, at=NOON), Erased(feedback=1, deliveries=1))
            check_same(storage.outbox.delivery(claim.id), claim)
            storage.outbox.bury(claim, error="gone")
            storage.outbox.replay(claim.id, due_at=NOON)
            check_same(list(storage.outbox.settle(claim_due(storage))), [])
            check_same(storage.feedback.erase(EVERYTHING, at=NOON), Erased())
            check_same(storage.outbox.forget(before=NOON + MINUTE), 2)
            for state in DeliveryState:
                check_same(list(storage.outbox.deliveries(DeliveryQuery(state), limit=9)), [])

    def test_restored_feedback_can_be_erased_again(self) -> None:
        """Feedback restored with its old id is delivered like any other, and so is its second erasure."""
        one = a_feedback()
        changed = one.answered("Thanks", at=NOON)
        with self.open_storage() as storage:
            for at in (NOON, NOON + MINUTE):
                storage.feedback.add(accepted(one))
                fan_out(storage, "log")
                storage.outbox.settle(claim_due(storage))
                storage.feedback.erase(EVERYTHING, at=at)
                (claim,) = claim_due(storage, now=at)
                check_same(claim.event, Event.erasure(one, at=at))
                storage.outbox.settle([claim])
            # The erased version, then the same version while the notification is still waiting.
            for at in (NOON, NOON + MINUTE):
                storage.feedback.add(accepted(one))
                storage.feedback.replace(changed, [Event.about(changed, EventType.UPDATED, before=one)])
                fan_out(storage, "log")
                for _ in range(2):
                    storage.outbox.settle([next(c for c in claim_due(storage) if c.event.type is not EventType.ERASED)])
                storage.feedback.erase(EVERYTHING, at=at)
            claims = claim_due(storage, now=NOON + MINUTE)
            check_same([claim.event for claim in claims], [Event.erasure(changed, at=NOON)])

    def test_racing_erasures_notify_once(self) -> None:
        """Of several concurrent erasures, each counts what it removed, and each channel has one notification."""
        series = a_series(6)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            fan_out(storage, "a", "b")
            storage.outbox.settle([*claim_due(storage, "a"), *claim_due(storage, "b")])
            removed = at_once([partial(storage.feedback.erase, EVERYTHING, at=NOON)] * 3)
            check_same(sum(removed, Erased()).feedback, 6)
            expected = [_notice(one, name).id for one in series for name in "ab"]
            check_same([notice.id for notice in _waiting(storage)], sorted(expected))

    def test_hundreds_of_entries_are_erased_at_once(self) -> None:
        """Each erased entry leaves its notifications and nothing else."""
        series = a_series(600)
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series))
            made = fan_out(storage, "log")
            claimed = storage.outbox.claim("log", now=NOON, until=NOON + MINUTE, limit=500)
            storage.outbox.settle(claimed)
            check_same(storage.feedback.erase(EVERYTHING, at=NOON), Erased(feedback=600, deliveries=len(made)))
            notified = {delivery.event.subject_id for delivery in claimed}
            expected = [_notice(one, "log") for one in series if one.id in notified]
            check_same(_waiting(storage), sorted(expected, key=lambda notice: notice.id))

    def test_a_limit_leaves_the_newest(self) -> None:
        """With a limit, the oldest matching entries are erased completely, in any number of calls."""
        series, other = a_series(9, session_id="gone"), a_feedback("kept", created_at=NOON - MINUTE)
        query = FeedbackQuery(session_id="gone").in_any_state()
        about = an_alert("about", rule="streak", subject=Subject("session", "gone"))
        with self.open_storage() as storage:
            storage.feedback.add(accepted(other, *reversed(series)))
            storage.alerts.add(about, about.event())
            fan_out(storage, "log")
            check_same(storage.feedback.erase(query, at=NOON, limit=4), Erased(feedback=4, deliveries=4))
            check_same(list(storage.feedback.stream(EVERYTHING)), [other, *series[4:]])
            check_same(storage.feedback.summarize(EVERYTHING), {None: Summary.fold([other, *series[4:]])})
            check_same(storage.alerts.get("default", "about"), about)
            check_same(storage.feedback.erase(query, at=NOON, limit=1_000), Erased(feedback=5, alerts=1, deliveries=5))
            check_same(storage.feedback.erase(query, at=NOON, limit=1), Erased())
            waiting = storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=99)
            check_same([one.event.subject_id for one in waiting if one.event.type.about_feedback], [other.id])

    # --- alerts ----------------------------------------------------------------------------------------------------

    def test_alerts_about_erased_feedback_are_emptied(self) -> None:
        """Alerts that list erased feedback are resolved and lose their details; an open alert's event is kept."""
        gone, kept = a_feedback("gone"), a_feedback("kept")
        same_session = a_feedback("kept", author="ann")
        about = {"feedback_ids": (kept.id, gone.id), "figures": {"downs": 2}, "rule": "streak"}
        still_open = an_alert("still_open", subject=Subject("agent", "helper"), **about)
        ended = an_alert("ended", subject=Subject("session", "gone"), **about).resolved(at=NOON + MINUTE)
        remaining = an_alert("remaining", subject=Subject("session", "kept"), feedback_ids=(same_session.id,))
        others = [
            an_alert("elsewhere", application="other", **about),
            an_alert("near", feedback_ids=(f"{gone.id}0", gone.id[:-1])),
            an_alert("none"),
        ]
        with self.open_storage() as storage:
            storage.feedback.add(accepted(gone, kept, same_session, evolve(gone, application="other")))
            for alert in (still_open, ended, remaining, *others):
                storage.alerts.add(alert, alert.event())
            fan_out(storage, "log")
            at = NOON + 5 * MINUTE
            check_same(storage.feedback.erase(_only(gone), at=at), Erased(feedback=1, alerts=2, deliveries=1))
            emptied = evolve(still_open, message="", figures={}, feedback_ids=(), resolved_at=at, version=2)
            check_same(storage.alerts.get("default", "still_open"), emptied)
            nameless = evolve(ended, subject=Subject("session", ""), message="", figures={}, feedback_ids=(), version=3)
            check_same(storage.alerts.get("default", "ended"), nameless)
            check_same(list(storage.outbox.events(limit=9)), [emptied.event()])
            check_same(storage.alerts.latest("default", "streak", Subject("session", "gone")), None)
            check_same(storage.feedback.erase(_only(same_session), at=at).alerts, 1)
            # Another entry of the session is still stored, so the alert keeps the session id.
            check_same(storage.alerts.get("default", "remaining"), remaining.emptied(at=at, session_remains=True))
            check_same(list(storage.alerts.find("default", open=True, limit=9)), others[:0:-1])
            for alert in others:
                check_same(storage.alerts.get(alert.application, alert.id), alert)
            # With the last entry of the session, alerts that were emptied before lose the session id, too.
            check_same(storage.feedback.erase(_only(kept), at=at).alerts, 1)
            check_same(storage.alerts.get("default", "remaining"), evolve(remaining.emptied(at=at), version=3))
            check_same(storage.feedback.erase(EVERYTHING, at=at), Erased())

    def test_alerts_about_a_large_session_are_emptied_once(self) -> None:
        """Erasing a large session at once leaves neither the feedback ids nor the session id in any alert."""
        series, kept = a_series(300, session_id="gone"), a_feedback("kept")
        about_it = {"rule": "streak", "subject": Subject("session", "gone")}
        listing = [an_alert(f"alert {one.id}", feedback_ids=(one.id,), **about_it) for one in series[::149]]
        about = an_alert("about", **about_it)
        across = an_alert("across", feedback_ids=(series[0].id, series[-1].id, kept.id))
        with self.open_storage() as storage:
            storage.feedback.add(accepted(*series, kept))
            for alert in (*listing, about, across):
                storage.alerts.add(alert, alert.event())
            fan_out(storage, "log")
            erased = storage.feedback.erase(FeedbackQuery(session_id="gone").in_any_state(), at=NOON)
            check_same(erased, Erased(feedback=300, alerts=5, deliveries=300))
            for alert in (*listing, about, across):
                check_same(storage.alerts.get("default", alert.id), alert.emptied(at=NOON))
            check_same(len(storage.outbox.events(limit=9)), 5)

    def test_alerts_raised_after_an_erasure_are_kept(self) -> None:
        """A completed erasure empties no alert that is raised or changed later."""
        gone = a_feedback("gone")
        about_session = an_alert("session", rule="streak", subject=Subject("session", "gone"))
        listing = an_alert("listing", subject=Subject("agent", "helper"), feedback_ids=(gone.id,))
        with self.open_storage() as storage:
            storage.feedback.add(accepted(gone))
            check_same(storage.feedback.erase(_only(gone), at=NOON), Erased(feedback=1))
            for alert in (about_session, listing):
                check_same(storage.alerts.add(alert, alert.event()), True)
                check_same(storage.alerts.get("default", alert.id), alert)
                resolved = alert.resolved(at=NOON + MINUTE)
                check_same(storage.alerts.replace(resolved, resolved.event()), True)
                check_same(storage.alerts.get("default", alert.id), resolved)

    # --- other applications ----------------------------------------------------------------------------------------

    def test_erasure_keeps_the_twin_in_another_application(self) -> None:
        """Equal ids in another application keep their events, deliveries and alerts, even while a claim is held."""
        mine = a_feedback("session", id="same")
        twin = evolve(mine, application="other")
        alert = an_alert("alert", application="other", feedback_ids=("same",))
        with self.open_storage() as storage:
            storage.feedback.add(accepted(mine, twin))
            fan_out(storage, "log", "dead", "new")
            storage.outbox.settle(claim_due(storage))
            for claim in claim_due(storage, "dead"):
                storage.outbox.bury(claim, error="gone")
            held = [claim for claim in claim_due(storage, "new") if claim.event.application == "other"]
            changed = twin.answered("Thanks", at=NOON)
            event = Event.about(changed, EventType.UPDATED, before=twin)
            storage.feedback.replace(changed, [event])
            storage.alerts.add(alert, alert.event())
            before = self._of_other(storage)
            storage.feedback.erase(_only(mine), at=NOON)
            check_same(self._of_other(storage), before)
            check_same(list(storage.outbox.events(limit=9)), [alert.event(), event])
            check_same(storage.alerts.get("other", "alert"), alert)
            check_same(list(storage.outbox.settle(held)), [])
            check_raises(DeliveryNotFound, lambda: storage.outbox.delivery(_notice(changed, "log").id))

    def _of_other(self, storage: Storage) -> list[Delivery]:
        return list(storage.outbox.deliveries(DeliveryQuery(application="other"), limit=99))


def _only(feedback: Feedback) -> FeedbackQuery:
    return FeedbackQuery(application=feedback.application, feedback_id=feedback.id).in_any_state()


def _notice(feedback: Feedback, channel: str) -> Delivery:
    """Return the delivery that notifies a channel that this feedback was erased at noon."""
    return Delivery.of(Event.erasure(feedback, at=NOON), channel, due_at=NOON)


def _waiting(storage: Storage) -> list[Delivery]:
    return list(storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=999))


def _pending(storage: Storage) -> Mapping[str, int]:
    return storage.outbox.counts(DeliveryQuery(DeliveryState.PENDING))
