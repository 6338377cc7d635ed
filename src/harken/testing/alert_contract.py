"""Contract tests for alert repositories."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

from attrs import evolve

from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import AlertKind, Subject
from harken.domain.erasure import Erased
from harken.domain.events import Delivery, DeliveryQuery, DeliveryState, Event, EventType
from harken.domain.instants import MICROSECOND
from harken.domain.query import FeedbackQuery
from harken.ports.storage import Storage
from harken.testing.assertions import at_once, check_same
from harken.testing.base import FreshStorage
from harken.testing.builders import NOON, a_feedback, accepted, an_alert

MINUTE = timedelta(minutes=1)


class AlertContract(FreshStorage):
    """Alerts are stored once, resolved once and found by subject, and their events are delivered."""

    # --- storing ---------------------------------------------------------------------------------------------------

    def test_every_field_of_an_alert_comes_back_equal(self) -> None:
        """Every field of an alert is returned unchanged, including unusual values; an unknown id returns ``None``."""
        plain = an_alert("plain")
        full = an_alert(
            "alert ✓ '\"%_\\",
            application="größe",
            rule="streak $set a.b",
            kind=AlertKind.STREAK,
            subject=Subject("agent", "агент"),
            message="3 downs\r\n\tin a row 👎🏽",
            figures={"downs": 3, "a.b": 0, "$most": 2**63 - 1, "least": -(2**63), "größe": 1},
            feedback_ids=("b", "a", "c"),
            began_at=datetime(2026, 2, 3, 4, 5, 6, 999999, tzinfo=UTC),
            raised_at=NOON + MICROSECOND,
        )
        resolved = full.resolved(at=NOON + 999 * MICROSECOND)
        with self.open_storage() as storage:
            check_same(storage.alerts.get("default", "plain"), None)
            check_same([_add(storage, plain), _add(storage, full)], [True, True])
            check_same(storage.alerts.get("default", "plain"), plain)
            check_same(storage.alerts.get("größe", full.id), full)
            check_same(_replace(storage, resolved), True)
            check_same(storage.alerts.get("größe", full.id), resolved)
            for application, alert_id in (("default", full.id), ("größe", "plain"), ("default", "Plain")):
                check_same(storage.alerts.get(application, alert_id), None)

    def test_an_alert_is_stored_once(self) -> None:
        """If the id exists in the application, ``add`` stores neither the alert nor its event."""
        first = an_alert("one")
        with self.open_storage() as storage:
            check_same(_add(storage, first), True)
            for other in (first, evolve(first, message="other"), evolve(first, rule="other", version=3)):
                check_same(_add(storage, other), False)
            check_same(_add(storage, evolve(first, application="other")), True)
            check_same(storage.alerts.get("default", "one"), first)
            check_same(list(storage.alerts.find("default", limit=9)), [first])
            check_same(len(storage.outbox.events(limit=9)), 2)

    def test_only_the_next_version_replaces_an_alert(self) -> None:
        """Any other version changes nothing and stores no event, and neither does an alert that is not stored."""
        first = an_alert("one")
        second = first.resolved(at=NOON)
        with self.open_storage() as storage:
            check_same(_replace(storage, second), False)
            _add(storage, first)
            check_same([_replace(storage, one) for one in (first, evolve(second, version=3))], [False, False])
            check_same(_replace(storage, evolve(second, application="other")), False)
            check_same(_replace(storage, second), True)
            check_same(_replace(storage, evolve(second, message="rival")), False)
            check_same(storage.alerts.get("default", "one"), second)
            check_same(list(storage.outbox.events(limit=9)), [first.event(), second.event()])

    def test_one_of_several_racing_alerts_is_stored(self) -> None:
        """If several threads add an alert with the same id, one succeeds and one event is stored."""
        rivals = [an_alert("one", message=f"rival {number}") for number in range(8)]
        with self.open_storage() as storage:
            won = at_once([partial(_add, storage, rival) for rival in rivals])
            check_same(sum(won), 1)
            check_same(storage.alerts.get("default", "one"), rivals[won.index(True)])
            check_same(len(storage.outbox.events(limit=9)), 1)

    def test_one_of_several_racing_resolutions_succeeds(self) -> None:
        """If several threads resolve an alert, one succeeds and one event is stored."""
        alert = an_alert("one")
        rivals = [alert.resolved(at=NOON + number * MINUTE) for number in range(8)]
        with self.open_storage() as storage:
            _add(storage, alert)
            won = at_once([partial(_replace, storage, rival) for rival in rivals])
            check_same(sum(won), 1)
            winner = rivals[won.index(True)]
            check_same(storage.alerts.get("default", "one"), winner)
            check_same(list(storage.outbox.events(limit=9)), [alert.event(), winner.event()])

    # --- events ----------------------------------------------------------------------------------------------------

    def test_events_of_alerts_are_delivered_like_others(self) -> None:
        """Events of alerts and of feedback are fanned out, claimed and settled in one order."""
        feedback = [a_feedback(created_at=NOON + number * MINUTE) for number in (0, 2, 4)]
        alert = an_alert("alert", raised_at=NOON + MINUTE)
        resolved = alert.resolved(at=NOON + 3 * MINUTE)
        with self.open_storage() as storage:
            _add(storage, alert)
            storage.feedback.add(accepted(*feedback))
            _replace(storage, resolved)
            first, second, third = (Event.about(one, EventType.CREATED) for one in feedback)
            expected = [first, alert.event(), second, resolved.event(), third]
            check_same(list(storage.outbox.events(limit=9)), expected)
            check_same(list(storage.outbox.events(limit=2)), expected[:2])
            plan = [(event, ["log"]) for event in expected[1::2]]
            made = list(storage.outbox.fan_out(plan, due_at=NOON))
            check_same(made, [Delivery.of(event, "log", due_at=NOON) for event, _ in plan])
            check_same(list(storage.outbox.fan_out(plan, due_at=NOON)), [])
            check_same(list(storage.outbox.events(limit=9)), expected[::2])
            for delivery in made:
                claimed = storage.outbox.claim("log", now=NOON, until=NOON + MINUTE, limit=9)
                check_same([one.id for one in claimed], [delivery.id])
                check_same(list(storage.outbox.settle(claimed)), [])

    def test_erasing_feedback_keeps_unrelated_alerts(self) -> None:
        """Erasing feedback removes its own events and deliveries, and keeps alerts that do not list it."""
        feedback = a_feedback()
        # Ids are unique per kind only: an alert may have the id of a feedback entry.
        unrelated, waiting = an_alert(feedback.id, feedback_ids=("other",)), an_alert("waiting")
        with self.open_storage() as storage:
            storage.feedback.add(accepted(feedback))
            _add(storage, unrelated)
            storage.outbox.fan_out([(event, ["log"]) for event in storage.outbox.events(limit=9)], due_at=NOON)
            _add(storage, waiting)
            removed = storage.feedback.erase(FeedbackQuery().in_any_state(), at=NOON)
            check_same(removed, Erased(feedback=1, deliveries=1))
            check_same(list(storage.outbox.events(limit=9)), [waiting.event()])
            pending = storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=9)
            check_same(list(pending), [Delivery.of(unrelated.event(), "log", due_at=NOON)])
            check_same(storage.alerts.get("default", unrelated.id), unrelated)

    # --- queries ---------------------------------------------------------------------------------------------------

    def test_the_latest_alert_is_found_by_rule_and_subject(self) -> None:
        """``latest`` returns the alert raised last (then the highest id) of exactly this rule and subject."""
        agent, session = Subject("agent", "x"), Subject("session", "x")
        parts = {"rule": "streak", "subject": agent}
        older = an_alert("z", raised_at=NOON - MICROSECOND, **parts)
        twin, newest = an_alert("a", **parts), an_alert("b", **parts).resolved(at=NOON)
        others = [
            an_alert("c", rule="rate", subject=agent),
            an_alert("d", rule="streak", subject=session),
            an_alert("e", rule="streak", subject=Subject("agent", "X")),
            an_alert("f", application="other", raised_at=NOON + MINUTE, **parts),
        ]
        with self.open_storage() as storage:
            check_same(storage.alerts.latest("default", "streak", agent), None)
            for alert in (newest, *others, twin, older):
                _add(storage, alert)
            check_same(storage.alerts.latest("default", "streak", agent), newest)
            check_same(storage.alerts.latest("default", "streak", session), others[1])
            check_same(storage.alerts.latest("other", "streak", agent), others[3])
            check_same(storage.alerts.latest("default", "silence", agent), None)
            resolved = twin.resolved(at=NOON)
            _replace(storage, resolved)
            check_same(storage.alerts.latest("default", "streak", agent), newest)

    def test_alerts_are_listed_newest_first(self) -> None:
        """Alerts are ordered by ``raised_at``, then by id, both descending, with any filter and on every page."""
        alerts = [
            an_alert(
                f"alert {number:02}",
                rule=("streak", "rate")[number % 2],
                raised_at=NOON + number // 3 * MICROSECOND,
                application=("default", "other")[number % 5 == 0],
            )
            for number in range(12)
        ]
        alerts = [alert.resolved(at=NOON + MINUTE) if index % 4 < 2 else alert for index, alert in enumerate(alerts)]
        with self.open_storage() as storage:
            for alert in (*alerts[::2], *alerts[1::2]):
                _add(storage, alert)
            for open in (None, True, False):
                for rule in (None, "streak", "silence"):
                    for since in (None, NOON + 2 * MICROSECOND):
                        wanted = [
                            alert
                            for alert in alerts[::-1]
                            if alert.application == "default"
                            and open in (None, alert.is_open)
                            and rule in (None, alert.rule)
                            and (since is None or alert.raised_at >= since)
                        ]
                        find = partial(storage.alerts.find, "default", open=open, rule=rule, since=since)
                        check_same(list(find(limit=99)), wanted)
                        for start in range(0, len(wanted) + 1, 2):
                            page = find(limit=2, after=wanted[start - 1] if start else None)
                            check_same(list(page), wanted[start : start + 2])

    def test_a_resolved_alert_is_no_longer_listed_as_open(self) -> None:
        """Resolving moves an alert from the open to the resolved alerts without changing its position."""
        first, second = an_alert("first"), an_alert("second")
        resolved = first.resolved(at=NOON + MINUTE)
        with self.open_storage() as storage:
            _add(storage, first)
            _add(storage, second)
            check_same(list(storage.alerts.find("default", open=True, limit=9)), [second, first])
            _replace(storage, resolved)
            check_same(list(storage.alerts.find("default", open=True, limit=9)), [second])
            check_same(list(storage.alerts.find("default", open=False, limit=9)), [resolved])
            check_same(list(storage.alerts.find("default", limit=9)), [second, resolved])


def _add(storage: Storage, alert: Alert) -> bool:
    return storage.alerts.add(alert, alert.event())


def _replace(storage: Storage, alert: Alert) -> bool:
    return storage.alerts.replace(alert, alert.event())
