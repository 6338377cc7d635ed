"""Moderation: what waits for a decision, the current entry, and what was decided."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, time, timedelta
from typing import Final

from attrs import evolve, frozen

from harken import Cursor, Feedback, FeedbackQuery, GroupBy, ModerationStatus, Scope
from harken.domain.moderation import Waiting
from harken.domain.query import Dimension
from harken.services.feedback.moderation import Decisions
from harken.services.feedback.rule_counts import RuleCount
from harken_adapters.hosts.http.wire.messages import Response
from harken_adapters.hosts.web.entries import find, visible_query
from harken_adapters.hosts.web.filter_bar import Chip, chip_of
from harken_adapters.hosts.web.held import REASONS
from harken_adapters.hosts.web.navigation import frame_of
from harken_adapters.hosts.web.pages.moderation_card import Card, Lost, card_of, not_saved
from harken_adapters.hosts.web.pages.moderation_decided import Outcome, Run, entry, outcome_of, run_of, runs_of
from harken_adapters.hosts.web.pages.moderation_list import Row, list_of, row_of
from harken_adapters.hosts.web.pages.moderation_view import TAB_NAMES, TABS, View
from harken_adapters.hosts.web.visit import Visit
from harken_adapters.hosts.web.wording import duration_text

#: The number of today's decisions that are listed: at first, if all are asked for, and that are read. What was decided
#: at once is one of them.
_LATEST: Final = 5
_ALL: Final = 200
_MOST_DECIDED: Final = 1_000
#: The number of changes of feedback that are searched for decisions of today: each page does that.
_SEARCHED: Final = 2_000
#: Moderators who decided something in this time are still here.
_HERE: Final = timedelta(minutes=5)
_PENDING: Final = frozenset({ModerationStatus.PENDING})


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


def ask(visit: Visit, view: View, lost: Lost | None = None) -> Moderation:
    """Everything that the page shows.

    Args:
        visit: the request.
        view: the state of the page.
        lost: the decision on the current entry that was not saved, if the request tried to make one.
    """
    moderation = visit.harken.moderation
    listed = list_of(visit, view)
    if not listed.items and view.after is not None:
        view = evolve(view, after=None)
        listed = list_of(visit, view)
    items = listed.items
    current, missing = _current(visit, view, items)
    waiting = _waiting(visit, view)
    rules = moderation.rule_counts(visit.application) if visit.principal.agents is None else []
    decided = moderation.decisions(view.query, since=_midnight(visit, view), limit=_MOST_DECIDED, searched=_SEARCHED)
    runs = runs_of(decided.items)
    shown_runs = runs[: _ALL if view.all_of_today else _LATEST]
    return Moderation(
        waiting=waiting,
        everything=_count(visit, visible_query(visit)) if view.is_filtered else waiting.count,
        total=listed.total if listed.total is not None else waiting.count,
        rows=[row_of(visit, view, one, current) for one in items],
        following=listed.following,
        agents=_agents(visit, view),
        card=card_of(visit, view, current, listed, None if missing else lost) if current else None,
        decided=decided,
        runs=[run_of(visit, one) for one in shown_runs],
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
        tabs=[(TAB_NAMES[tab], tab, _tab_link(view, tab)) for tab in TABS],
        chips=_chips(view),
        entry=entry,
        picked=picked if picked is not None else [one.feedback.id for one in found.rows] if view.like else (),
        selection=view.selection,
        frame=frame,
        not_saved=not_saved(lost) if lost and found.missing else "",
        reasons=REASONS,
        choices=TABS[view.tab],
        may_read=visit.may(Scope.READ),
        median=_median(found),
        me=visit.principal.name,
        most=max((day.refused + day.held for rule in found.rules for day in rule.days), default=1) or 1,
    )


def headline(view: View, found: Moderation) -> str:
    """What there is to do."""
    if view.tab == "rejected":
        return f"{found.total:,} rejected"
    if view.tab == "approved":
        return f"{found.total:,} approved by hand"
    if not found.waiting.count:
        return "Nothing waits"
    return f"{found.waiting.count:,} {'waits' if found.waiting.count == 1 else 'wait'} for a decision"


def following(visit: Visit, view: View, feedback: Feedback) -> str | None:
    """The id of the entry to decide on after this one; ``None`` if nothing else waits."""
    for after in (Cursor.of(feedback), None):
        page = visit.harken.moderation.queue(view.query, limit=1, after=after, rule=view.rule)
        if page.items and page.items[0].id != feedback.id:
            return page.items[0].id
    return None


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


def _current(visit: Visit, view: View, items: Sequence[Feedback]) -> tuple[Feedback | None, bool]:
    """The entry to decide on, and whether another one was asked for that does not exist."""
    if view.current is None:
        return (items[0] if items else None), False
    found = next((one for one in items if one.id == view.current), None) or find(visit, view.current)
    return (found, False) if found else ((items[0] if items else None), True)


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
