"""Alerts about streaks: consecutive negative feedback of a session, an agent or an application."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, dropwhile
from typing import Final

from attrs import evolve, frozen

from harken.domain.alerts.alert import Alert, streak_alert
from harken.domain.alerts.patterns import Streak, Subject, streaks
from harken.domain.alerts.rules import StreakRule
from harken.domain.feedback import Feedback, Rating
from harken.domain.instants import MICROSECOND
from harken.domain.query import Cursor, FeedbackQuery
from harken.ports.alerts import AlertRepository
from harken.ports.repository import FeedbackRepository
from harken.ports.time import Clock

#: How many entries are read first to find the start of a streak, besides twice the touched ones; and at most.
_FEW: Final = 20
_PAGE: Final = 1_000
#: How many entries are read from one touched entry to the next, before the next is looked up instead.
_FAR: Final = 500
#: How often a group is evaluated again after its alerts have changed; once is enough without concurrent changes.
_PASSES: Final = 5
#: For how long after it was raised an alert is checked without any event, as its feedback may have been erased.
_REVISED: Final = timedelta(days=30)
#: For how long after an erasure the rest of a streak is searched for.
_LATELY: Final = timedelta(days=1)
_IDS: Final = 2_000
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC) - MICROSECOND


@frozen
class Group:
    """The feedback of one session, agent or application, which a rule evaluates."""

    rule: StreakRule
    application: str
    subject: Subject

    @property
    def query(self) -> FeedbackQuery:
        """The query for its counted feedback."""
        by, value = self.subject.by, self.subject.value
        return FeedbackQuery(
            application=self.application,
            session_id=value if by == "session" else None,
            agent_id=value if by == "agent" else self.rule.agent,
        )


class StreakWatch:
    """Raises alerts about streaks, and resolves them.

    The result follows from the stored feedback, so evaluations may be repeated, reordered or run at the same time.
    """

    def __init__(self, repository: FeedbackRepository, alerts: AlertRepository, clock: Clock) -> None:
        self._repository = repository
        self._alerts = alerts
        self._clock = clock

    def evaluate(self, group: Group, touched: Sequence[Feedback]) -> int:
        """Update the alerts about streaks around touched feedback; returns how many were raised or resolved."""
        changed = 0
        for _ in range(_PASSES):
            # Again after a change: other processes have already evaluated feedback that was stored between reading and
            # raising, and found no alert to resolve.
            changes = self._evaluate_once(group, touched)
            changed += changes
            if not changes:
                break
        return changed

    def revise(self, rule: StreakRule, application: str) -> int:
        """Update alerts whose feedback was erased, which has no event; returns how many were raised or resolved.

        Also resolves alerts that should not be open, because an older streak was evaluated after a newer one.
        """
        since, after, changed = _shift(self._clock(), -_REVISED), None, 0
        limit = _IDS // rule.length
        while page := self._alerts.find(application, limit=limit, after=after, rule=rule.name, since=since):
            still_open = [alert for alert in page if alert.is_open]
            ids = {feedback_id for alert in still_open for feedback_id in alert.feedback_ids}
            existing = self._repository.get_many(application, ids)
            for alert in still_open:
                changed += self._revise(Group(rule, application, alert.subject), alert, existing)
            changed += sum(self._raise_about_rest(Group(rule, application, one.subject), one) for one in page)
            after = page[-1]
        return changed

    # --- steps -------------------------------------------------------------------------------------------------------

    def _revise(self, group: Group, alert: Alert, existing: Mapping[str, Feedback]) -> int:
        """Update an open alert; ``existing`` has the stored feedback that it lists."""
        if any(feedback_id not in existing for feedback_id in alert.feedback_ids):
            # It was erased while the alert was being raised.
            return self._empty(alert)
        whole = all(_is_down(existing[feedback_id]) for feedback_id in alert.feedback_ids)
        if whole and self._latest(group) == alert:
            return 0
        return self._update_alerts(group, (), alert, self._places_of(group, alert))

    def _raise_about_rest(self, group: Group, alert: Alert) -> int:
        """Raise an alert about the rest of a streak, a part of which was erased recently."""
        ended = alert.resolved_at
        if not alert.is_empty or ended is None or ended < _shift(self._clock(), -_LATELY):
            return 0
        if not group.subject.value or self._latest(group) != alert:
            return 0
        downs = self._repository.stream(evolve(group.query, rating=Rating.DOWN, since=alert.began_at))
        first = next(downs, None)
        rest = self._streaks(group, [Cursor.of(first)]) if first else ()
        return sum(self._settle(group, streak, None) for streak in list(rest) if streak.ended_at is None)

    def _evaluate_once(self, group: Group, touched: Sequence[Feedback]) -> int:
        latest = self._latest(group)
        open_alert = latest if latest and latest.is_open else None
        kept = self._places_of(group, open_alert)
        return 0 if _changes_nothing(latest, kept, touched) else self._update_alerts(group, touched, open_alert, kept)

    def _update_alerts(
        self, group: Group, touched: Sequence[Feedback], open_alert: Alert | None, kept: Sequence[Cursor]
    ) -> int:
        """Raise and resolve alerts about the streaks around the touched feedback and around the places in ``kept``."""
        places = sorted({*kept, *map(Cursor.of, touched)})
        found = list(self._streaks(group, places)) if places else []
        changed = 0
        for streak in found:
            known = open_alert if _overlap(streak, kept) else None
            changed += self._settle(group, streak, known)
        if open_alert and not any(_overlap(streak, kept) for streak in found):
            changed += self._resolve(open_alert, at=self._clock())
        return changed

    def _latest(self, group: Group) -> Alert | None:
        return self._alerts.latest(group.application, group.rule.name, group.subject)

    def _places_of(self, group: Group, alert: Alert | None) -> list[Cursor]:
        """The places of the feedback of an alert that is still negative and counted."""
        if alert is None:
            return []
        existing = self._repository.get_many(group.application, alert.feedback_ids)
        query = group.query
        return [Cursor.of(one) for one in existing.values() if query.matches(one) and one.rating is Rating.DOWN]

    def _streaks(self, group: Group, places: Sequence[Cursor]) -> Iterator[Streak]:
        """The complete streaks around these places; reads no more than necessary."""
        waiting = deque(places)
        if (newest := self._newest(group.query, waiting)) is not None:
            yield from streaks(newest, group.rule.length)
            return
        while waiting:
            first = waiting[0]
            before = self._downs_before(group.query, first)
            onwards = self._repository.stream(evolve(group.query, since=first.created_at))
            after = dropwhile(lambda one, first=first: Cursor.of(one) < first, onwards)  # type: ignore[misc]
            yield from streaks(chain(before, _take_needed(after, waiting)), group.rule.length)

    def _newest(self, query: FeedbackQuery, places: deque[Cursor]) -> list[Feedback] | None:
        """The newest feedback, oldest first, from the start of the streak at the first place, if that is recent.

        Mostly, the touched feedback is the newest, so that no more has to be read.
        """
        page = self._repository.find(query, limit=min(2 * len(places) + _FEW, _PAGE))
        newest = page.items[::-1]
        ends = (at for at, one in enumerate(newest, 1) if Cursor.of(one) < places[0] and not _is_down(one))
        begin = max(ends, default=0 if page.next is None else None)
        return None if begin is None else list(newest[begin:])

    def _downs_before(self, query: FeedbackQuery, place: Cursor) -> list[Feedback]:
        """The consecutive negative feedback before a place, oldest first."""
        downs: list[Feedback] = []
        after: Cursor | None = place
        limit = _FEW
        while after is not None:
            page = self._repository.find(query, limit=limit, after=after)
            for one in page.items:
                if one.rating is not Rating.DOWN:
                    return downs[::-1]
                downs.append(one)
            after, limit = page.next, _PAGE
        return downs[::-1]

    def _settle(self, group: Group, streak: Streak, known: Alert | None) -> int:
        """Update the alert about a streak."""
        new = streak_alert(group.rule, group.application, group.subject, streak)
        alert = known or self._alerts.get(group.application, new.id)
        if alert is None:
            near = list(self._nearby_alerts(group, streak))
            alert = next((one for one in near if self._is_about(group, one, streak)), None)
            if alert is None:
                cooling = any(abs(one.raised_at - new.raised_at) < group.rule.cooldown for one in near)
                return 0 if cooling else self._raise(new, streak)
        if alert.is_open:
            return 0 if streak.ended_at is None else self._resolve(alert, at=streak.ended_at)
        if streak.ended_at is None:
            again = alert.raised_again(new, at=max(self._clock(), new.raised_at))
            return self._put(again) and 1 + self._empty_if_erased(again)
        return 0

    def _nearby_alerts(self, group: Group, streak: Streak) -> Iterator[Alert]:
        """The alerts of the rule and subject that may be about this streak, or are within its cooldown."""
        cooldown, completed = group.rule.cooldown, streak.completed_at
        since = min(streak.began.created_at, _shift(completed, -cooldown))
        until = max(streak.ended_at or _LAST, _shift(completed, cooldown))
        latest = self._latest(group)
        if latest is None or latest.raised_at < since:
            return
        # The place right after the last possible alert.
        after: Alert | None = None
        if until < latest.raised_at:
            after = evolve(latest, raised_at=until + MICROSECOND, id="")
        while page := self._alerts.find(group.application, limit=_PAGE, after=after, rule=group.rule.name, since=since):
            yield from (alert for alert in page if alert.subject == group.subject and not alert.is_empty)
            after = page[-1]

    def _is_about(self, group: Group, alert: Alert, streak: Streak) -> bool:
        """Whether the alert is about this streak, although the streak started with other feedback then."""
        lasts_as_long = alert.is_open or alert.resolved_at == streak.ended_at
        return lasts_as_long and _overlap(streak, self._places_of(group, alert))

    def _raise(self, alert: Alert, streak: Streak) -> int:
        if not self._alerts.add(alert, alert.event()):
            return 0
        if emptied := self._empty_if_erased(alert):
            return 1 + emptied
        return 1 if streak.ended_at is None else 1 + self._resolve(alert, at=streak.ended_at)

    def _empty_if_erased(self, alert: Alert) -> int:
        """Empty an alert whose feedback was erased between reading it and storing the alert."""
        existing = self._repository.get_many(alert.application, alert.feedback_ids)
        return 0 if len(existing) == len(alert.feedback_ids) else self._empty(alert)

    def _empty(self, alert: Alert) -> int:
        return self._put(alert.emptied(at=self._clock()))

    def _resolve(self, alert: Alert, *, at: datetime) -> int:
        return self._put(alert.resolved(at=max(at, alert.raised_at)))

    def _put(self, alert: Alert) -> int:
        return int(self._alerts.replace(alert, alert.event()))


def _changes_nothing(latest: Alert | None, kept: Sequence[Cursor], touched: Sequence[Feedback]) -> bool:
    """Whether it is certain, without further reads, that no alert has to be raised or resolved."""
    if latest is None:
        # New feedback that is not negative starts no streak, and there is no alert to resolve.
        return all(one.version == 1 and one.is_counted and one.rating is not Rating.DOWN for one in touched)
    if not latest.is_open or len(kept) < len(latest.feedback_ids):
        return False
    # The streak continues: anything that ended it in between has resolved the alert, or will resolve it.
    return all(_is_down(one) and Cursor.of(one) > max(kept) for one in touched)


def _take_needed(feedback: Iterable[Feedback], waiting: deque[Cursor]) -> Iterator[Feedback]:
    """The feedback that is needed for the streaks around the waiting places; removes the places that it reaches.

    It ends after a rating that is not negative, so that no streak is cut, and before a place that is far away.
    """
    passed: Cursor | None = None
    idle = 0
    for one in feedback:
        yield one
        place = Cursor.of(one)
        idle += 1
        while waiting and waiting[0] <= place:
            passed, idle = waiting.popleft(), 0
        # A touched thumbs-up may have cut a streak in two: the second half is needed as well.
        between = one.rating is not Rating.DOWN and place != passed
        if between and (not waiting or idle > _FAR):
            return
    waiting.clear()


def _overlap(streak: Streak, places: Iterable[Cursor]) -> bool:
    """Whether any of these places is in the streak."""
    return any(streak.began <= place <= streak.last for place in places)


def _is_down(feedback: Feedback | None) -> bool:
    return feedback is not None and feedback.is_counted and feedback.rating is Rating.DOWN


def _shift(moment: datetime, by: timedelta) -> datetime:
    """The moment shifted by a duration, within the range of ``datetime``."""
    try:
        return moment + by
    except OverflowError:
        return _FIRST if by < timedelta() else _LAST
