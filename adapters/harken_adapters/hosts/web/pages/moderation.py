"""Moderation: what waits for a decision, the current entry, and what was decided."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, time, timedelta
from functools import partial
from typing import Final

from attrs import evolve, frozen

from harken import Cursor, Feedback, FeedbackNotFound, FeedbackQuery, GroupBy, ModerationStatus, Scope
from harken.domain.feedback import Revision
from harken.domain.moderation import Waiting
from harken.domain.query import Dimension
from harken.domain.texts import amount
from harken.services.feedback.backlog import waits_since
from harken.services.feedback.moderation import MAX_DECISIONS, Decisions
from harken.services.feedback.reviewing import BeforeAfter, Effect, Review, SimilarTexts
from harken.services.feedback.rule_counts import RuleCount
from harken_adapters.charts.labels import isolated, satisfaction_text, share_text
from harken_adapters.hosts.http.wire.messages import Response
from harken_adapters.hosts.http.wire.parameters import invalid
from harken_adapters.hosts.web.entries import shown_of
from harken_adapters.hosts.web.filter_bar import Chip, chip_of
from harken_adapters.hosts.web.held import (
    REASONS,
    VERBS,
    Held,
    Parts,
    decided_text,
    decision_sentence,
    held,
    marked,
    reason_text,
    suggested_reason,
    verb_this,
    who,
)
from harken_adapters.hosts.web.navigation import frame_of
from harken_adapters.hosts.web.selection import Pair, Selection
from harken_adapters.hosts.web.visit import Visit
from harken_adapters.hosts.web.wording import duration_text, first_upper

PATH: Final = "/moderation"
#: The parameters of what the page shows, and those of what happened before.
_OWN: Final = ("tab", "held_by", "like", "after", "current", "today")
DECIDED: Final = "decided"
_PAGE: Final = 20
#: The number of entries with the same text that are listed, and so decided, at once.
_ALIKE: Final = 100
#: The number of today's decisions that are listed: at first, if all are asked for, and that are read. What was decided
#: at once is one of them.
_LATEST: Final = 5
_ALL: Final = 200
_MOST_DECIDED: Final = 1_000
#: Decisions of a moderator that follow each other this closely were made at once.
_AT_ONCE: Final = timedelta(seconds=1)
#: The number of changes of feedback that are searched for decisions of today: each page does that.
_SEARCHED: Final = 2_000
#: Decisions are listed for this time.
_RECENT: Final = timedelta(days=28)
#: A message about a decision is not shown again when the page is opened later.
_FRESH: Final = timedelta(minutes=1)
#: Moderators who decided something in this time are still here.
_HERE: Final = timedelta(minutes=5)
_PENDING: Final = frozenset({ModerationStatus.PENDING})
#: What each tab lists, and the decisions that can be made there.
TABS: Final = {
    "waiting": (ModerationStatus.APPROVED, ModerationStatus.REJECTED),
    "rejected": (ModerationStatus.APPROVED,),
    "approved": (ModerationStatus.REJECTED,),
}
_TAB_NAMES: Final = {"waiting": "Waiting", "rejected": "Rejected", "approved": "Approved by hand"}
_LOST: Final = {"approved": "approval", "rejected": "rejection", "undo": "undo"}


@frozen(kw_only=True)
class View:
    """A state of the page: its selection and its own parameters.

    Attributes:
        selection: the filters.
        path: the path of the page.
        query: selects feedback with these filters, at any time.
        tab: what is listed, see :data:`TABS`.
        rule: lists only what this rule held.
        like: the id of an entry; lists only those with the same text.
        after: lists what comes after this position.
        current: the id of the entry to decide on; ``None`` for the first.
        all_of_today: whether all decisions of today are listed.
    """

    selection: Selection
    path: str
    query: FeedbackQuery
    tab: str
    rule: str | None
    like: str | None
    after: Cursor | None
    current: str | None
    all_of_today: bool = False

    @classmethod
    def of(cls, visit: Visit) -> View:
        """The state in the query string.

        Raises:
            Problem: a parameter is unknown or invalid.
            InvalidQuery: a filter is invalid.
        """
        selection = visit.selection(known=(*_OWN, DECIDED))
        parameters = selection.parameters
        return cls(
            selection=selection,
            path=f"{visit.home}{PATH}",
            query=evolve(
                selection.query,
                since=None,
                until=None,
                statuses=frozenset({ModerationStatus.APPROVED}),
                withdrawn=False,
            ),
            tab=selection.choice("tab", tuple(TABS)),
            rule=parameters.get("held_by"),
            like=parameters.get("like"),
            after=parameters.cursor(),
            current=parameters.get("current"),
            all_of_today=selection.choice("today", ("latest", "all")) == "all",
        )

    @property
    def tab_words(self) -> str:
        """What is true of the entries of the tab: ``approved by hand``."""
        return _TAB_NAMES[self.tab].lower()

    @property
    def is_filtered(self) -> bool:
        """Whether it lists a part of what waits only."""
        return bool(self.rule or self.like or self.filters)

    @property
    def filters(self) -> list[str]:
        """The names of the filters in use; those on state do not concern the page."""
        return [name for name in dict(self.selection.filters) if name not in ("status", "withdrawn")]

    @property
    def action(self) -> str:
        """Where the forms of this state are sent."""
        return self._link(f"{self.path}/decisions", {})

    def link(self, **own: str | None) -> str:
        """A link to another state of the page, in which these parameters differ; ``None`` is their default."""
        return self._link(self.path, own)

    def link_with(self, name: str, value: str) -> str:
        """A link to the start of the list with one more filter."""
        return self._link(self.path, {"like": None, "after": None, "current": None, name: value})

    def link_without(self, name: str) -> str:
        """A link to the start of the list without a filter."""
        return self._link(self.path, {"after": None, "current": None}, without=[name])

    @property
    def unfiltered(self) -> str:
        """A link to the start of the same tab without filters."""
        own = {"held_by": None, "like": None, "after": None, "current": None}
        return self._link(self.path, own, without=self.filters)

    @property
    def kept(self) -> list[Pair]:
        """The parameters that a form for one more filter keeps."""
        own = [("tab", self.tab)] if self.tab != "waiting" else []
        return [*self.selection.pairs, *own, *([("held_by", self.rule)] if self.rule else [])]

    def _link(self, path: str, own: Mapping[str, str | None], without: Sequence[str] = ()) -> str:
        kept = {
            "tab": None if self.tab == "waiting" else self.tab,
            "held_by": self.rule,
            "like": self.like,
            "after": str(self.after) if self.after else None,
            "current": self.current,
            "today": "all" if self.all_of_today else None,
        }
        pairs = [(name, value) for name, value in {**kept, **own}.items() if value is not None]
        return self.selection.link(path, *pairs, without=without)


@frozen(kw_only=True)
class Row:
    """An entry of the list.

    Attributes:
        feedback: the entry.
        link: makes it the current one.
        why: why it is held, or what was decided.
        age: for how long it has waited; or since it was given, if it was decided.
        is_current: whether it is the current one.
    """

    feedback: Feedback
    link: str
    why: str
    age: timedelta
    is_current: bool


@frozen(kw_only=True)
class Lost:
    """A decision that was not saved, as the entry was not as it had been seen any more.

    Attributes:
        wanted: the status that was chosen, or ``undo``.
        reason: its reason.
    """

    wanted: str
    reason: str = ""


@frozen(kw_only=True)
class Run:
    """Decisions that one moderator made at once, or a single one.

    Attributes:
        latest: the entry of the last one.
        count: their number.
        text: who decided what.
        age: how long ago.
        undo: the entries that can be undone, as values of forms.
    """

    latest: Feedback
    count: int
    text: str
    age: timedelta
    undo: tuple[str, ...]


@frozen(kw_only=True)
class Conflict:
    """Somebody was faster.

    Attributes:
        sentence: what happened: ``Priya approved this 12 s ago.``
        lost: what was not saved.
        anyway: the decision that can still be made; ``None`` if there is nothing left to decide.
        reason: its reason.
    """

    sentence: str
    lost: str
    anyway: ModerationStatus | None
    reason: str


@frozen(kw_only=True)
class Card:
    """The current entry, with what to know before a decision.

    Attributes:
        feedback: the entry.
        review: its author's record, similar texts, and the effect of a decision.
        held: why it is held; ``None`` if it is decided or was never held.
        decided: what was decided: ``Priya approved this 12 s ago.``; empty if it waits.
        parts: its comment in parts, each with whether a rule matched it.
        at: when it was given, in local time.
        age: for how long it has waited, or since when it is decided.
        position: its number in the list, from 1; ``None`` if it is not in it.
        effect: what a decision would change.
        likelihood: of a rejection, as learned from decisions; empty if that is not known.
        reason: the reason that is chosen first for a rejection.
        conflict: why the last decision was not saved.
        choices: the decisions that can be made.
        previous: a link to the entry before it.
        next: a link to the entry after it.
        earlier: of an entry that waits, the last version with another comment, which may be what was held.
    """

    feedback: Feedback
    review: Review
    held: Held | None
    decided: str
    parts: Parts
    at: datetime
    age: timedelta
    position: int | None
    effect: str
    likelihood: str
    reason: str
    conflict: Conflict | None
    choices: tuple[ModerationStatus, ...]
    previous: str | None
    next: str | None
    earlier: Revision | None

    @property
    def alike(self) -> str:
        """How often the same text waits; empty if it is the only one."""
        return similar_text(self.review.similar) if len(self.review.similar.entries) > 1 else ""

    @property
    def author(self) -> str:
        """The record of the author."""
        record = self.review.author
        if record is None or not record.total:
            return "nothing before"
        counts = [f"{record.approved:,} approved", f"{record.rejected:,} rejected"]
        counts += [f"{record.pending:,} held"] if record.pending else []
        return f"{record.total:,}{'' if record.is_complete else ' or more'} before: {', '.join(counts)}"


@frozen(kw_only=True)
class Outcome:
    """What became of decisions.

    Attributes:
        text: what was done, and what was not.
        undo: the entries to undo, as values of forms.
        failures: the id and the comment of each entry that was not decided, and why not.
    """

    text: str
    undo: tuple[str, ...] = ()
    failures: tuple[tuple[str, str, str], ...] = ()


@frozen(kw_only=True)
class Moderation:
    """What the page shows.

    Attributes:
        waiting: how much waits that matches the filters, and why.
        everything: how much waits in all.
        total: the number of entries in the list and on its other pages.
        rows: the list.
        following: the position after the list, if there is more.
        held_by: the rules that the page can be filtered by, each with the number of entries if that is known.
        agents: the agents that the page can be filtered by, each with the number of entries if that is known.
        card: the current entry; ``None`` if there is none.
        decided: what was decided today.
        runs: the latest of it.
        more_runs: whether there is more.
        rules: what rules refused and held in the last 7 days.
        others: the other moderators who are here.
        missing: whether the entry that was asked for does not exist.
    """

    waiting: Waiting
    everything: int
    total: int
    rows: Sequence[Row]
    following: Cursor | None
    held_by: Sequence[tuple[str, int | None]]
    agents: Sequence[tuple[str, int | None]]
    card: Card | None
    decided: Decisions
    runs: Sequence[Run]
    more_runs: bool
    rules: Sequence[RuleCount]
    others: Sequence[str]
    missing: bool


@frozen(kw_only=True)
class _Listed:
    """A page of the list.

    Attributes:
        items: its entries.
        following: the position after it, if there is more.
        total: the number of entries on all pages; ``None``: all that wait.
        review: the review of the entry with whose text they are listed, if they are.
    """

    items: Sequence[Feedback]
    following: Cursor | None = None
    total: int | None = None
    review: Review | None = None


def ask(visit: Visit, view: View, lost: Lost | None = None) -> Moderation:
    """Everything that the page shows.

    Args:
        visit: the request.
        view: the state of the page.
        lost: the decision on the current entry that was not saved, if the request tried to make one.
    """
    moderation = visit.harken.moderation
    listed = _list(visit, view)
    if not listed.items and view.after is not None:
        view = evolve(view, after=None)
        listed = _list(visit, view)
    items = listed.items
    current, missing = _current(visit, view, items)
    waiting = _waiting(visit, view)
    rules = moderation.rule_counts(visit.application) if visit.principal.agents is None else []
    decided = moderation.decisions(view.query, since=_midnight(visit, view), limit=_MOST_DECIDED, searched=_SEARCHED)
    runs = _runs(decided.items)
    shown_runs = runs[: _ALL if view.all_of_today else _LATEST]
    return Moderation(
        waiting=waiting,
        everything=_count(visit, everything(visit)) if view.is_filtered else waiting.count,
        total=listed.total if listed.total is not None else waiting.count,
        rows=[_row(visit, view, one, current) for one in items],
        following=listed.following,
        agents=_agents(visit, view),
        card=_card(visit, view, current, listed, None if missing else lost) if current else None,
        decided=decided,
        runs=[_run(visit, one) for one in shown_runs],
        more_runs=len(runs) > len(shown_runs) or decided.next is not None,
        rules=rules,
        held_by=_held_by(view, waiting, rules, items),
        others=_others(visit, decided),
        missing=missing,
    )


def show(
    visit: Visit,
    outcome: Outcome | None = None,
    view: View | None = None,
    picked: Collection[str] | None = None,
    lost: Lost | None = None,
) -> Response:
    """The response with the page.

    Args:
        visit: the request.
        outcome: what became of several decisions, which the request has made.
        view: the state of the page; by default, that of the query string.
        picked: the ids of the entries that are selected; by default, all if only those with the same text are listed,
            and none otherwise.
        lost: the decision on the current entry that the request tried to make.
    """
    view = view or View.of(visit)
    outcome = outcome or outcome_of(visit, view.selection)
    found = ask(visit, view, lost)
    frame = frame_of(visit, "Moderation", view.selection, in_any_state=True, listens=visit.may(Scope.READ))
    if visit.is_form:
        frame = evolve(frame, back=view.link())
    left = f"{found.waiting.count:,} left" if found.waiting.count else "Nothing waits"
    return visit.show(
        "moderation.html",
        title=headline(view, found),
        lead=_lead(visit, view, found),
        found=found,
        view=view,
        outcome=outcome,
        said=f"{outcome.text}. {left}." if outcome else "",
        tabs=[(_TAB_NAMES[tab], tab, _tab_link(view, tab)) for tab in TABS],
        chips=_chips(view),
        entry=entry,
        picked=picked if picked is not None else [one.feedback.id for one in found.rows] if view.like else (),
        selection=view.selection,
        frame=frame,
        not_saved=_not_saved(lost) if lost and found.missing else "",
        reasons=REASONS,
        choices=TABS[view.tab],
        may_read=visit.may(Scope.READ),
        median=_median(found),
        me=visit.principal.name,
        most=max((day.refused + day.held for rule in found.rules for day in rule.days), default=1) or 1,
    )


def entry(feedback: Feedback) -> str:
    """The value of a form that stands for an entry in the version that was seen."""
    return f"{feedback.version}:{feedback.id}"


def parse_entry(text: str) -> tuple[str, int]:
    """The id and the version of an entry in a form.

    Raises:
        Problem: it is not one.
    """
    version, colon, feedback_id = text.partition(":")
    if not (colon and feedback_id and version.isascii() and version.isdigit() and len(version) < 19):
        raise invalid("entry", "type", f"entry must be a version, a colon and the id of feedback; got {text[:100]!a}")
    return feedback_id, int(version)


def headline(view: View, found: Moderation) -> str:
    """What there is to do."""
    if view.tab == "rejected":
        return f"{found.total:,} rejected"
    if view.tab == "approved":
        return f"{found.total:,} approved by hand"
    if not found.waiting.count:
        return "Nothing waits"
    return f"{found.waiting.count:,} {'waits' if found.waiting.count == 1 else 'wait'} for a decision"


def effect_text(effect: Effect) -> str:
    """What decisions would change in the satisfaction of each agent; empty if they change nothing."""
    changes = []
    for agent, one in effect.agents.items():
        if one.before == one.after:
            continue
        changes.append(f"{isolated(str(agent)) if agent else 'Without an agent:'} {_change(one)}")
    shown = ", ".join(sorted(changes)[:3])
    return f"{shown} and {amount(len(changes) - 3, 'more agent')}" if len(changes) > 3 else shown


def _change(one: BeforeAfter) -> str:
    before, after = satisfaction_text(one.before), satisfaction_text(one.after)
    if before == after:
        return f"stays at {before}" if one.before.decided else "has no thumbs yet"
    return f"{before} → {after}" if one.before.decided else f"{after}, no thumbs before"


def similar_text(similar: SimilarTexts) -> str:
    """How often a text was given, and by how many sessions."""
    duration = similar.until - similar.since if similar.since and similar.until else timedelta()
    period = "at the same time" if duration < timedelta(seconds=1) else f"in {duration_text(duration)}"
    most = "" if similar.is_complete else " or more"
    return f"{len(similar.entries):,}{most} times {period}, from {amount(similar.sessions, 'session')}"


def following(visit: Visit, view: View, feedback: Feedback) -> str | None:
    """The id of the entry to decide on after this one; ``None`` if nothing else waits."""
    for after in (Cursor.of(feedback), None):
        page = visit.harken.moderation.queue(view.query, limit=1, after=after, rule=view.rule)
        if page.items and page.items[0].id != feedback.id:
            return page.items[0].id
    return None


def _list(visit: Visit, view: View) -> _Listed:
    """A page of the list."""
    hk, shown = visit.harken, partial(shown_of, visit)
    if view.tab == "rejected":
        rejected = evolve(view.query, statuses=frozenset({ModerationStatus.REJECTED}))
        page = hk.collection.find(rejected, limit=_PAGE, after=view.after)
        total = hk.analytics.summary(rejected).total
        return _Listed(items=[*map(shown, page.items)], following=page.next, total=total)
    if view.tab == "approved":
        approved = frozenset({ModerationStatus.APPROVED})
        found = hk.moderation.decisions(
            view.query, since=visit.now - _RECENT, statuses=approved, limit=_PAGE, after=view.after
        )
        return _Listed(items=[*map(shown, found.items)], following=found.next, total=found.count)
    if view.like is not None:
        return _alike(visit, view.like)
    page = hk.moderation.queue(view.query, limit=_PAGE, after=view.after, rule=view.rule)
    return _Listed(items=[*map(shown, page.items)], following=page.next)


def _waiting(visit: Visit, view: View) -> Waiting:
    """How much waits. Without filters, nothing is read to count it, however much that is."""
    if view.is_filtered or visit.principal.agents is not None:
        return visit.harken.moderation.waiting(view.query, rule=view.rule)
    return Waiting(visit.backlog.waiting, visit.backlog.since)


def _count(visit: Visit, query: FeedbackQuery) -> int:
    return visit.harken.analytics.summary(evolve(query, statuses=_PENDING)).total


def _held_by(
    view: View, waiting: Waiting, rules: Sequence[RuleCount], items: Sequence[Feedback]
) -> list[tuple[str, int | None]]:
    """The rules that something waits for. Without filters, it is those that are known, as counting reads everything."""
    if view.tab != "waiting" or view.rule is not None or not waiting.count:
        return []
    if waiting.by_rule:
        return [*waiting.by_rule.items()]
    listed = [rule for one in items for rule in one.moderation.rules]
    return [(rule, None) for rule in dict.fromkeys([*listed, *(rule.rule for rule in rules if rule.held)])]


def _alike(visit: Visit, feedback_id: str) -> _Listed:
    """The waiting entries with the same text as an entry."""
    if find(visit, feedback_id) is None:
        return _Listed(items=(), total=0)
    review = visit.harken.moderation.review(everything(visit), feedback_id)
    found = find_many(visit, [one.feedback_id for one in review.similar.entries[:_ALIKE]]).values()
    waiting = [one for one in found if one.moderation.status is ModerationStatus.PENDING and not one.withdrawn]
    return _Listed(items=waiting, total=len(waiting), review=review)


def find(visit: Visit, feedback_id: str) -> Feedback | None:
    """An entry, if it exists and the visitor may see it."""
    try:
        found = visit.harken.collection.get(visit.application, feedback_id)
        visit.check_visible(found)
    except FeedbackNotFound:
        return None
    return shown_of(visit, found)


def find_many(visit: Visit, feedback_ids: Iterable[str]) -> dict[str, Feedback]:
    """The entries with these ids that exist and that the visitor may see, by id and in this order."""
    ids = list(feedback_ids)
    stored = visit.harken.collection.get_many(visit.application, ids)
    found = {one: stored[one] for one in ids if one in stored}
    return {
        one: shown_of(visit, feedback) for one, feedback in found.items() if visit.principal.may_see(feedback.agent_id)
    }


def _current(visit: Visit, view: View, items: Sequence[Feedback]) -> tuple[Feedback | None, bool]:
    """The entry to decide on, and whether another one was asked for that does not exist."""
    if view.current is None:
        return (items[0] if items else None), False
    found = next((one for one in items if one.id == view.current), None) or find(visit, view.current)
    return (found, False) if found else ((items[0] if items else None), True)


def everything(visit: Visit) -> FeedbackQuery:
    """Selects all feedback that the visitor may see."""
    return visit.visible(FeedbackQuery(application=visit.application))


def _midnight(visit: Visit, view: View) -> datetime:
    """The start of the local day."""
    return datetime.combine(view.selection.local(visit.now).date(), time(), view.selection.zone)


def _agents(visit: Visit, view: View) -> list[tuple[str, int | None]]:
    """The agents of what a tab lists, those of the most entries first.

    What moderators approved is not counted, and of what waits not what one rule held, as both would read everything.
    """
    status = {"waiting": ModerationStatus.PENDING, "rejected": ModerationStatus.REJECTED}.get(view.tab)
    if status is None or "agent_id" in view.filters:
        return []
    listed = evolve(view.query, statuses=frozenset({status}))
    counts = visit.harken.analytics.groups(listed, GroupBy(Dimension.AGENT))
    named = [(str(agent), summary.total) for agent, summary in counts.items() if agent is not None and summary.total]
    most = sorted(named, key=lambda one: (-one[1], one[0]))[:20]
    return [(agent, None if view.rule or view.like else total) for agent, total in most]


def _row(visit: Visit, view: View, feedback: Feedback, current: Feedback | None) -> Row:
    is_pending = feedback.moderation.status is ModerationStatus.PENDING
    return Row(
        feedback=feedback,
        link=view.link(current=feedback.id),
        why=held(feedback).title
        if is_pending
        else first_upper(decided_text(feedback.moderation, visit.principal.name)),
        age=visit.now - (waits_since(feedback) if is_pending else feedback.created_at),
        is_current=current is not None and current.id == feedback.id,
    )


def _card(visit: Visit, view: View, feedback: Feedback, listed: _Listed, lost: Lost | None) -> Card:
    hk, moderation, items, review = visit.harken, feedback.moderation, listed.items, listed.review
    if review is None or review.feedback.id != feedback.id:
        review = hk.moderation.review(everything(visit), feedback.id)
    is_pending = moderation.status is ModerationStatus.PENDING
    why = held(feedback) if is_pending else None
    age = visit.now - (waits_since(feedback) if is_pending else moderation.decided_at or feedback.created_at)
    reading = hk.spam.readings([feedback]).get(feedback.id)
    return Card(
        feedback=feedback,
        review=review,
        held=why,
        decided="" if is_pending else decision_sentence(feedback, visit.principal.name, duration_text(age)),
        parts=marked(feedback),
        at=view.selection.local(feedback.created_at),
        age=age,
        position=_position(visit, view, feedback, items),
        effect=_effect(visit, feedback, review),
        likelihood=share_text(reading.likelihood) if reading else "",
        reason=suggested_reason(feedback),
        conflict=_conflict(visit, feedback, lost) if lost else None,
        choices=() if feedback.withdrawn else _choices(moderation.status),
        previous=_previous(visit, view, feedback, items),
        next=_next(visit, view, feedback, items),
        earlier=_earlier(feedback) if is_pending else None,
    )


def _earlier(feedback: Feedback) -> Revision | None:
    """The last version with another comment."""
    return next((one for one in reversed(feedback.revisions) if one.content.comment != feedback.comment), None)


def _choices(status: ModerationStatus) -> tuple[ModerationStatus, ...]:
    return tuple(one for one in (ModerationStatus.APPROVED, ModerationStatus.REJECTED) if one is not status)


def _effect(visit: Visit, feedback: Feedback, review: Review) -> str:
    """What a decision would change."""
    if feedback.withdrawn:
        return ""
    if feedback.is_counted:
        versions = {feedback.id: feedback.version}
        rejected = visit.harken.moderation.preview(everything(visit), versions, ModerationStatus.REJECTED).effect
        return f"{effect_text(rejected) or 'no statistics'} if rejected"
    return f"{effect_text(review.if_approved) or 'no statistics'} if approved"


def _position(visit: Visit, view: View, feedback: Feedback, items: Sequence[Feedback]) -> int | None:
    ids = [one.id for one in items]
    if view.after is None and feedback.id in ids:
        return ids.index(feedback.id) + 1
    is_pending = feedback.moderation.status is ModerationStatus.PENDING
    if not is_pending or view.tab != "waiting" or view.rule is not None or view.like is not None:
        return None
    before = evolve(view.query, statuses=_PENDING, until=feedback.created_at)
    return visit.harken.analytics.summary(before).total + 1


def _next(visit: Visit, view: View, feedback: Feedback, items: Sequence[Feedback]) -> str | None:
    """A link to the entry after one, in the list or after it."""
    ids = [one.id for one in items]
    if feedback.id in ids and feedback.id != ids[-1]:
        return view.link(current=ids[ids.index(feedback.id) + 1])
    if view.tab != "waiting" or view.like is not None:
        return view.link(current=ids[0]) if ids and feedback.id not in ids else None
    page = visit.harken.moderation.queue(view.query, limit=1, after=Cursor.of(feedback), rule=view.rule)
    if page.items:
        # The list goes on after the current entry, so that the next one is in it.
        after = str(Cursor.of(feedback)) if ids and feedback.id == ids[-1] else str(view.after or "") or None
        return view.link(current=page.items[0].id, after=after)
    return view.link(current=None, after=None) if feedback.moderation.status is not ModerationStatus.PENDING else None


def _previous(visit: Visit, view: View, feedback: Feedback, items: Sequence[Feedback]) -> str | None:
    """A link to the entry before one, in the list or before it."""
    ids = [one.id for one in items]
    if feedback.id in ids and feedback.id != ids[0]:
        return view.link(current=ids[ids.index(feedback.id) - 1])
    if view.tab != "waiting" or view.like is not None or view.after is None:
        return None
    page = visit.harken.moderation.queue(view.query, limit=1, after=Cursor.of(feedback), order="newest", rule=view.rule)
    return view.link(current=page.items[0].id) if page.items else None


def _conflict(visit: Visit, feedback: Feedback, lost: Lost) -> Conflict:
    """Why a decision was not saved."""
    moderation, name = feedback.moderation, visit.principal.name
    is_decision = moderation.decided_at is not None and moderation.decided_at == feedback.updated_at
    ago = f"{duration_text(visit.now - feedback.updated_at)} ago"
    if feedback.withdrawn:
        sentence = f"Its author took this back {ago}."
    elif is_decision:
        done = verb_this(moderation.status) if not moderation.is_undo else "undid a decision on this"
        reason = reason_text(moderation)
        sentence = f"{first_upper(who(moderation.moderator, name))} {done}{f' {reason}' if reason else ''} {ago}."
    else:
        sentence = f"Its author changed this {ago}."
    is_same = lost.wanted == moderation.status.value
    can_insist = is_decision and not feedback.withdrawn and not is_same and lost.wanted != "undo"
    return Conflict(
        sentence=sentence,
        lost=f"Your {_LOST[lost.wanted]} was not needed." if is_same else _not_saved(lost),
        anyway=ModerationStatus(lost.wanted) if can_insist else None,
        reason=lost.reason,
    )


def _not_saved(lost: Lost) -> str:
    return f"Your {_LOST[lost.wanted]} was not saved."


def _runs(decided: Sequence[Feedback]) -> list[list[Feedback]]:
    """Decisions, the latest first, in groups that were made at once and can be undone together."""
    runs: list[list[Feedback]] = []
    for one in decided:
        if runs and len(runs[-1]) < MAX_DECISIONS and _is_at_once(one, runs[-1][-1]):
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def _is_at_once(one: Feedback, later: Feedback) -> bool:
    made, after = one.moderation, later.moderation
    if made.decided_at is None or after.decided_at is None or after.decided_at - made.decided_at > _AT_ONCE:
        return False
    first, second = ((each.moderator, each.status, each.reason) for each in (made, after))
    return first == second


def _run(visit: Visit, run: Sequence[Feedback]) -> Run:
    latest = shown_of(visit, run[0])
    moderation = latest.moderation
    return Run(
        latest=latest,
        count=len(run),
        text=first_upper(decided_text(moderation, visit.principal.name, len(run))),
        age=visit.now - (moderation.decided_at or latest.updated_at),
        undo=tuple(entry(one) for one in run if not one.withdrawn),
    )


def outcome_of(visit: Visit, selection: Selection) -> Outcome | None:
    """What became of the decision that led to the page, if it was just now."""
    text = selection.parameters.get(DECIDED)
    if text is None:
        return None
    feedback_id, version = parse_entry(text)
    found = find(visit, feedback_id)
    if found is None or found.version != version or found.moderation.decided_at is None:
        return None
    if visit.now - found.moderation.decided_at > _FRESH:
        return None
    if found.moderation.is_undo:
        is_pending = found.moderation.status is ModerationStatus.PENDING
        status = VERBS[found.moderation.status]
        return Outcome(text="Undone: it waits again" if is_pending else f"Undone: it is {status} again")
    done = " ".join(filter(None, [VERBS[found.moderation.status], reason_text(found.moderation)]))
    return Outcome(text=first_upper(done), undo=(entry(found),))


def _lead(visit: Visit, view: View, found: Moderation) -> str:
    """What is below the headline."""
    if view.tab == "rejected":
        return "Rejected feedback is neither counted nor listed elsewhere."
    if view.tab == "approved":
        return "What moderators approved in the last 28 days."
    waiting, sentences = found.waiting, []
    if view.is_filtered and found.everything != waiting.count:
        sentences.append(f"{found.everything:,} {'waits' if found.everything == 1 else 'wait'} in all.")
    if waiting.count and waiting.since:
        age = duration_text(visit.now - waiting.since)
        sentences.append(f"The oldest has waited {age}. Nothing here is counted or shown until someone approves it.")
    elif found.decided.count:
        median = _median(found)
        waited = f", median wait {duration_text(median)}" if median else ""
        sentences.append(f"{found.decided.count:,} decided today{waited}.")
    else:
        sentences.append("Feedback that a rule holds waits here for a decision.")
    return " ".join(sentences)


def _median(found: Moderation) -> timedelta | None:
    """How long half of what was decided today had waited at most."""
    waited = found.decided.response_time
    return timedelta(seconds=waited.median) if waited else None


def _others(visit: Visit, decided: Decisions) -> list[str]:
    """The other moderators who decided something in the last minutes."""
    names = [
        one.moderation.moderator
        for one in decided.items
        if one.moderation.decided_at is not None and visit.now - one.moderation.decided_at < _HERE
    ]
    return [name for name in dict.fromkeys(names) if name is not None and name != visit.principal.name]


def _tab_link(view: View, tab: str) -> str:
    return view.link(tab=None if tab == "waiting" else tab, held_by=None, like=None, after=None, current=None)


def _chips(view: View) -> list[Chip]:
    """The filters in use, each with a link without it."""
    chips = [chip_of(view.selection, name, remove=view.link_without(name)) for name in view.filters]
    if view.rule is not None:
        remove = view.link(held_by=None, after=None, current=None)
        chips.append(Chip(name="Why held", values=view.rule, remove=remove))
    if view.like is not None:
        chips.append(Chip(name="Text", values="the same", remove=view.link(like=None, after=None)))
    return chips
