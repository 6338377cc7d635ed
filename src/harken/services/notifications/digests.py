"""Digests: when they are due, what they say, and which channels know of the feedback that they quote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Final
from urllib.parse import urlencode

from harken.domain.digest import Digest, DigestRule, name_and_end
from harken.domain.errors import ConfigurationError, DeliveryFailed, InvalidQuery
from harken.domain.events import Delivery, DeliveryQuery, DeliveryState, Event, EventType
from harken.domain.query import label
from harken.domain.texts import no_such
from harken.domain.trend import Period
from harken.ports.outbox import Outbox
from harken.ports.repository import FeedbackRepository
from harken.ports.state import StateEntry, StateRepository
from harken.ports.time import Clock
from harken.services.analytics import AnalyticsService

_KIND: Final = "digest"
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

    @property
    def rules(self) -> Sequence[DigestRule]:
        """The digests that are configured."""
        return tuple(self._rules.values())

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

        The first one of a new digest becomes due at its next time, not at once.
        """
        return {rule.channel for rule in self._rules.values() if rule.weekday is not None and self._send_due(rule)}

    def to_send(self, event: Event, channel: str) -> Digest:
        """The digest of an event, as it is now, after recording that the channel is notified of what it quotes.

        Raises:
            DeliveryFailed: the digest is not in the settings of this process.
        """
        name, end = name_and_end(event)
        if (rule := self._rules.get(name)) is None:
            problem = f"The settings of this relay have no digest {name!r}; run all relays with the same digests"
            raise DeliveryFailed(problem, status="unknown digest")
        digest = self._build(rule, event.application, end)
        examples = {one.example.id: one.example for one in digest.issues.issues if one.example is not None}
        self._outbox.record_notified(event.application, list(examples), channel)
        # Read afterwards: what is erased from now on is notified.
        current = self._feedback.get_many(event.application, list(examples))
        same = {one for one, feedback in examples.items() if one in current and current[one] == feedback}
        return digest.without(digest.quoted - same)

    def sent(self, digest: Digest, channel: str) -> None:
        """Repeat the notification of erasures that may have arrived before the digest that quotes the feedback."""
        erased = digest.quoted - self._feedback.get_many(digest.application, digest.quoted).keys()
        for feedback_id in sorted(erased):
            for notice in self._erasures(digest.application, feedback_id, channel):
                self._outbox.replay(notice.id, due_at=self._clock())

    def _erasures(self, application: str, feedback_id: str, channel: str) -> Iterator[Delivery]:
        query = DeliveryQuery(
            DeliveryState.DELIVERED,
            application=application,
            feedback_id=feedback_id,
            channel=channel,
            type=EventType.ERASED,
        )
        yield from self._outbox.deliveries(query, limit=1)

    def _rule(self, name: str) -> DigestRule:
        if (rule := self._rules.get(name)) is None:
            raise InvalidQuery(no_such("digest", name, self._rules))
        return rule

    def _application_of(self, rule: DigestRule) -> str:
        return rule.application or self._application

    def _send_due(self, rule: DigestRule) -> bool:
        end = rule.latest_end(self._clock())
        if self._state.get(_KIND, self._key(rule)) is None:
            return not self._note(rule, end, None) and self._send(rule, end)
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
        pairs += [(f"context.{name}", label(value) or "") for name, value in rule.context.items()]
        if application != self._application:
            pairs.append(("application", application))
        # Some channels read underscores as emphasis.
        return f"{self._public_url}/dashboard?{urlencode(pairs)}".replace("_", "%5F")


def _last_sent(stored: StateEntry | None, today: date) -> date | None:
    """The day after the latest period that was sent; ``None`` if it is unknown.

    A later day than tomorrow was noted when the clock was wrong, and must not stop the digests until then.
    """
    noted = [] if stored is None else [stored.value["sent_until"], stored.value.get("before")]
    ends = [date.fromisoformat(str(one)) for one in noted if one is not None]
    return next((end for end in ends if end <= today + _SKEW), None)
