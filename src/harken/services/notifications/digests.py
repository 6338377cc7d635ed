"""Digests: when they are due, what they say, and which channels know of the feedback that they quote."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import date, timedelta
from hashlib import blake2b
from typing import Final
from urllib.parse import urlencode

from attrs import evolve

from harken.domain.digest import Digest, DigestRule, name_and_end
from harken.domain.errors import ConfigurationError, DeliveryFailed, InvalidQuery, StorageError
from harken.domain.events import Delivery, DeliveryQuery, DeliveryState, EventType
from harken.domain.texts import no_such
from harken.domain.trend import Period
from harken.ports.outbox import Outbox
from harken.ports.repository import FeedbackRepository
from harken.ports.sessions import JsonValue
from harken.ports.state import StateEntry, StateRepository
from harken.ports.time import Clock
from harken.services.analytics import AnalyticsService

logger = logging.getLogger(__name__)

_KIND: Final = "digest"
#: The kind of the state that says which feedback an attempt in progress quotes, by the id of the delivery.
_QUOTED: Final = "digest-quotations"
_ISSUES: Final = 3
#: How far ahead a day may be by the clock or the time zone of another process.
_SKEW: Final = timedelta(days=1)


class DigestService:
    """Builds digests, and sends each once for each period, whichever process asks for it.

    A digest is built when it is sent, so that it shows the feedback as it is then. Only its name and period are stored.
    """

    def __init__(
        self,
        state: StateRepository,
        outbox: Outbox,
        feedback: FeedbackRepository,
        analytics: AnalyticsService,
        *,
        rules: Sequence[DigestRule],
        channels: Sequence[str],
        application: str,
        public_url: str,
        clock: Clock,
    ) -> None:
        """``public_url`` is the URL of the HTTP service for browsers; empty if unknown.

        ``clock`` is the time that all relays on the storage agree on.

        Raises:
            ConfigurationError: two rules have one name, or the channel of a rule does not exist.
        """
        self._state = state
        self._outbox = outbox
        self._feedback = feedback
        self._analytics = analytics
        self._rules = {rule.name: rule for rule in rules}
        self._application = application
        self._public_url = public_url.rstrip("/")
        self._clock = clock
        if len(self._rules) < len(rules):
            raise ConfigurationError("Digest names must be unique")
        for rule in rules:
            if rule.channel not in channels:
                problem = no_such("channel", rule.channel, channels)
                raise ConfigurationError(f"In the digest {rule.name!r}: {problem}")

    def build(self, name: str) -> Digest:
        """The digest of the latest period.

        Raises:
            InvalidQuery: no digest has this name.
        """
        rule = self._rule(name)
        return self._build(rule, self._application_of(rule), rule.latest_end(self._clock()))

    def send(self, name: str) -> bool:
        """Create the delivery of the digest of the latest period; ``False`` if there was one before.

        Raises:
            InvalidQuery: no digest has this name.
        """
        rule = self._rule(name)
        return self._send(rule, rule.latest_end(self._clock()))

    def send_due(self) -> set[str]:
        """Create the deliveries of all digests that have become due; returns their channels.

        The first one of a new digest becomes due at its next time, not at once. An error of one digest is logged, and
        does not stop the others.

        Raises:
            StorageError: the storage failed.
        """
        channels: set[str] = set()
        for rule in self._rules.values():
            try:
                if rule.weekday is not None and self._send_due(rule):
                    channels.add(rule.channel)
            except StorageError:
                raise
            except Exception:
                logger.exception("The digest %r waits", rule.name)
        return channels

    def to_send(self, delivery: Delivery) -> Digest:
        """The digest to deliver, as it is now, after recording that the channel is notified of what it quotes.

        Call :meth:`repeat_erasures` after the attempt.

        Raises:
            DeliveryFailed: the digest is not in the settings of this process.
        """
        event, channel = delivery.event, delivery.channel
        name, end = name_and_end(event)
        if (rule := self._rules.get(name)) is None:
            problem = f"The settings of this relay have no digest {name!r}; run all relays with the same digests"
            raise DeliveryFailed(problem, status="unknown digest")
        digest = self._build(rule, event.application, end)
        quoted = digest.quoted
        self._outbox.record_notified(event.application, list(quoted), channel)
        # Read afterwards: what is erased from now on is notified.
        current = self._feedback.get_many(event.application, list(quoted))
        digest = digest.without({one for one, feedback in quoted.items() if current.get(one) != feedback})
        self._record_quoted(delivery, digest.quoted)
        return digest

    def repeat_erasures(self, delivery: Delivery) -> None:
        """Notify the channel of erasures again, if their notifications may have arrived before an attempt.

        That is the erasure of feedback that this attempt quoted, or an earlier one after which this was not done.
        """
        if (stored := self._state.get(_QUOTED, delivery.id)) is None:
            return
        application, quoted = delivery.event.application, _ids_of(stored)
        for feedback_id in sorted(quoted - self._feedback.get_many(application, quoted).keys()):
            self._repeat_erasure(delivery, feedback_id)
        self._state.delete(_QUOTED, delivery.id)

    def _record_quoted(self, delivery: Delivery, feedback_ids: Collection[str]) -> None:
        """Record what an attempt quotes, durably: the next one does not quote what is erased meanwhile."""
        if not feedback_ids:
            return
        stored = self._state.get(_QUOTED, delivery.id)
        quoted = _ids_of(stored).union(feedback_ids)
        value: dict[str, JsonValue] = {"feedback_ids": [*sorted(quoted)]}
        self._state.put(_QUOTED, StateEntry(delivery.id, value, stored.version + 1 if stored else 1))

    def _repeat_erasure(self, delivery: Delivery, feedback_id: str) -> None:
        query = DeliveryQuery(
            application=delivery.event.application,
            feedback_id=feedback_id,
            channel=delivery.channel,
            type=EventType.ERASED,
        )
        for notice in self._outbox.deliveries(query, limit=1):
            if notice.state is DeliveryState.PENDING and notice.leased_until is None:
                # It is sent after the digest in any case.
                continue
            # Not a replay: receivers may discard an id that they know, and another relay may hold the lease.
            event_id = blake2b(f"{notice.event.id}\0{delivery.id}".encode(), digest_size=16).hexdigest()
            event = evolve(notice.event, id=event_id)
            self._outbox.add(Delivery.of(event, delivery.channel, due_at=self._clock()))

    def _rule(self, name: str) -> DigestRule:
        if (rule := self._rules.get(name)) is None:
            raise InvalidQuery(no_such("digest", name, self._rules))
        return rule

    def _application_of(self, rule: DigestRule) -> str:
        return rule.application or self._application

    def _send_due(self, rule: DigestRule) -> bool:
        """Create the delivery of the latest period, if it was not sent."""
        end = rule.latest_end(self._clock())
        stored = self._state.get(_KIND, self._key(rule))
        if stored is not None and not _noted_ends(stored):
            logger.warning("It is unknown when the digest %r was sent; the next one is sent at its time", rule.name)
        if not _noted_ends(stored) and self._note(rule, end, stored):
            # A new digest waits for its next time.
            return False
        return self._send(rule, end)

    def _send(self, rule: DigestRule, end: date) -> bool:
        """Create the delivery, unless this period or a later one was sent.

        The delivery is stored first, under an id that every process derives. So a crash or another process between the
        two writes neither loses nor repeats it.
        """
        stored = self._state.get(_KIND, self._key(rule))
        now = self._clock()
        last = _last_sent(stored, rule.today(now))
        if last is not None and last >= end:
            return False
        event = rule.event(self._application_of(rule), end, at=now)
        added = self._outbox.add(Delivery.of(event, rule.channel, due_at=now))
        # If another process was faster, it stored the same.
        self._note(rule, end, stored, before=last)
        return added

    def _key(self, rule: DigestRule) -> str:
        """The name of the state, which services with other default applications do not share."""
        return f"{rule.name}:{self._application_of(rule)}"

    def _note(self, rule: DigestRule, end: date, stored: StateEntry | None, *, before: date | None = None) -> bool:
        """Store that the period before a day was sent, and which one before that."""
        value = {"sent_until": end.isoformat(), "before": before.isoformat() if before else None}
        return self._state.put(_KIND, StateEntry(self._key(rule), value, stored.version + 1 if stored else 1))

    def _build(self, rule: DigestRule, application: str, end: date) -> Digest:
        query = rule.query(application, end)
        analytics = self._analytics.page()
        periods = analytics.periods(query, rule.zone)
        issues = analytics.reasons(periods, limit=_ISSUES)
        if not issues.issues:
            issues = analytics.theme_issues(periods, limit=_ISSUES)
        return Digest(
            name=rule.name,
            application=application,
            zone=rule.zone,
            headline=analytics.headline(periods),
            days=rule.all_days(analytics.trend(query, Period.DAY, rule.zone), end),
            issues=issues,
            link=self._link(rule, application, end),
        )

    def _link(self, rule: DigestRule, application: str, end: date) -> str:
        if not self._public_url:
            return ""
        pairs = [("since", rule.begin(end).isoformat()), ("until", end.isoformat()), ("zone", rule.zone)]
        pairs += [("agent_id", agent) for agent in rule.agents]
        for name, labels in rule.query(application, end).context.items():
            pairs += [(f"context.{name}", value) for value in sorted(one or "" for one in labels)]
        if application != self._application:
            pairs.append(("application", application))
        # Some channels read underscores as emphasis.
        selection = urlencode(pairs).replace("_", "%5F")
        return f"{self._public_url}/dashboard?{selection}"


def _last_sent(stored: StateEntry | None, today: date) -> date | None:
    """The day after the latest period that was sent; ``None`` if it is unknown.

    A later day than tomorrow was noted when the clock was wrong, and must not stop the digests until then.
    """
    return next((end for end in _noted_ends(stored) if end <= today + _SKEW), None)


def _noted_ends(stored: StateEntry | None) -> list[date]:
    """The days that were noted, the latest note first; none if they cannot be read."""
    if stored is None:
        return []
    try:
        noted = [stored.value["sent_until"], stored.value.get("before")]
        return [date.fromisoformat(str(one)) for one in noted if one is not None]
    except (KeyError, ValueError):
        return []


def _ids_of(stored: StateEntry | None) -> set[str]:
    """The ids of the feedback that attempts quoted."""
    ids = None if stored is None else stored.value.get("feedback_ids")
    return {one for one in ids if isinstance(one, str)} if isinstance(ids, list) else set()
