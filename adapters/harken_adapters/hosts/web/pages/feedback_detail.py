"""One entry with its conversation, and what happened to it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final
from urllib.parse import quote

from attrs import evolve, frozen

from harken import Cursor, Feedback, FeedbackQuery, Harken, ModerationStatus, Scope
from harken.domain.events import DeliveryState
from harken.domain.feedback import Content
from harken.domain.query import ANY_STATUS
from harken.ports.sessions import JsonValue
from harken_adapters.charts.labels import isolated
from harken_adapters.formats.value_encoding import decode
from harken_adapters.formats.values import plain
from harken_adapters.hosts.http.wire.messages import Response
from harken_adapters.hosts.web.conversation import Conversation, conversation_of
from harken_adapters.hosts.web.delivery_words import STATES, last_deliveries
from harken_adapters.hosts.web.entries import count_entries, entry_view, is_cut_off, shown_of
from harken_adapters.hosts.web.held import REASONS, VERBS
from harken_adapters.hosts.web.navigation import frame_of
from harken_adapters.hosts.web.pages.alerts import may_see_deliveries
from harken_adapters.hosts.web.pages.moderation_decided import outcome_of
from harken_adapters.hosts.web.pages.moderation_view import DECIDED
from harken_adapters.hosts.web.selection import Selection
from harken_adapters.hosts.web.visit import Visit
from harken_adapters.hosts.web.wording import first_upper

PATH: Final = "/feedback/{feedback_id}"
_OTHERS: Final = 20
#: The parameter with the number of the message that is shown in full.
_MESSAGE: Final = "message"


@frozen(kw_only=True)
class Step:
    """Something that happened to the feedback.

    Attributes:
        title: what, for people.
        text: details.
        at: when, in local time; ``None`` if that is not known.
        kind: the CSS class of its mark.
        more: the text and target of a link to more about it.
    """

    title: str
    text: str = ""
    at: datetime | None = None
    kind: str = ""
    more: tuple[str, str] | None = None


@frozen(kw_only=True)
class Detail:
    """What the page shows.

    Attributes:
        conversation: the messages around the one in question.
        total: the number of messages in the session.
        session: the metadata of the session, as texts.
        in_session: the number of approved entries of the session.
        others: the newest of them, without this one.
        is_listed: whether it is in the list that led here.
        position: its number in that list, from 1; ``None`` if it is not in it, or too far down.
        matching: the number of entries in that list.
        is_partial: whether there may be more of them.
        newer: the id of the entry before it in the list, or before its place if a decision took it out.
        older: the id of the entry after it.
    """

    conversation: Conversation
    total: int
    session: Mapping[str, str]
    in_session: int
    others: Sequence[Feedback]
    is_listed: bool
    position: int | None
    matching: int
    is_partial: bool
    newer: str | None
    older: str | None


def ask(
    hk: Harken,
    selection: Selection,
    feedback: Feedback,
    *,
    agents: Collection[str] | None,
    whole: int | None = None,
) -> Detail:
    """Everything that the page shows.

    Args:
        hk: the Harken that is served.
        selection: the list that led here.
        feedback: the entry.
        agents: the agents that the reader is limited to, who sees no words of others and, as in the API, no metadata
            of the session; ``None`` for all.
        whole: the number of the message that is shown in full.
    """
    application, session_id, query = feedback.application, feedback.session_id, selection.query
    is_listed, matching = query.matches(feedback), count_entries(hk, query)
    # A decision on an entry takes it out of the list, but its reader goes on from its place.
    has_place = is_listed or evolve(query, statuses=ANY_STATUS, withdrawn=None).matches(feedback)
    in_session = FeedbackQuery(application=application, session_id=session_id, agent_id=query.agent_id)
    others = hk.collection.find(in_session, limit=_OTHERS)
    speakers = [one for one in hk.conversations.speakers(application, session_id) if agents is None or one in agents]
    metadata = hk.sessions.get(application, session_id) if agents is None else {}
    return Detail(
        conversation=conversation_of(hk, feedback, speakers, whole),
        total=sum(hk.conversations.count(application, session_id, one) for one in speakers),
        session={name: _text_of(value) for name, value in metadata.items()},
        in_session=hk.analytics.summary(in_session).total,
        others=[one for one in others.items if one.id != feedback.id],
        is_listed=is_listed,
        position=_position(hk, query, feedback) if is_listed else None,
        matching=matching,
        is_partial=is_cut_off(query, matching),
        newer=_newer(hk, query, feedback) if has_place else None,
        older=_older(hk, query, feedback) if has_place else None,
    )


def _text_of(value: JsonValue) -> str:
    """A value of metadata as text; a date, for example, without the form in which session managers store it."""
    shown = plain(decode(value))
    try:
        return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
    except ValueError:
        # An integer of more than 4,300 digits, which Python does not convert to text.
        return json.dumps(value)


def _steps(selection: Selection, feedback: Feedback) -> Iterator[Step]:
    """What happened to an entry, as far as it is stored and shown."""
    contents = [one.content for one in feedback.revisions] + [feedback.content]
    first, local = contents[0], selection.local
    kind = {"up": "u", "down": "d"}.get(first.rating.word, "")
    words = "with a comment" if first.comment else "without a comment"
    # What its author took back, and whether they changed it before, is not shown.
    title = "Given" if feedback.withdrawn else f"{first.rating.word.capitalize()} {words}"
    yield Step(title=title, at=local(feedback.created_at), kind=kind)
    for revision, (before, after) in zip(feedback.revisions, pairwise(contents), strict=True):
        yield Step(title="Changed by its author", text=_difference(before, after), at=local(revision.replaced_at))
    moderation = feedback.moderation
    if moderation.decided_at is not None:
        who = isolated(moderation.moderator or "a moderator")
        title = f"{first_upper(VERBS[moderation.status])} by {who}"
        kind = {ModerationStatus.APPROVED: "u", ModerationStatus.REJECTED: "e"}.get(moderation.status, "")
        yield Step(title=title, text=moderation.reason, at=local(moderation.decided_at), kind=kind)
    elif moderation.status is ModerationStatus.PENDING:
        yield Step(title="Held", text=moderation.reason)
    else:
        yield Step(title="Approved at once", text="no rule held it", kind="u")
    if feedback.reply:
        yield Step(title="Reply", text=feedback.reply, kind="a")
    if feedback.withdrawn_at is not None:
        yield Step(title="Withdrawn by its author", at=local(feedback.withdrawn_at), kind="e")


def _notified(visit: Visit, selection: Selection, feedback: Feedback) -> Iterator[Step]:
    """Which channels were notified of an entry, for those who may see deliveries."""
    if not may_see_deliveries(visit):
        return
    hk = visit.harken
    last = last_deliveries(hk, feedback_id=feedback.id, application=feedback.application)
    if not last:
        return
    off = {state.name for state in hk.channels.states() if not state.on}
    parts = [
        f"{name} {STATES[one.state]}{', it is off' if name in off and one.state is DeliveryState.DEAD else ''}"
        for name, one in last.items()
    ]
    attempts = [one.last_attempt.at for one in last.values() if one.last_attempt]
    link = selection.link(f"{visit.home}/alerts", ("feedback_id", feedback.id))
    yield Step(
        title="Notified",
        text=", ".join(parts),
        at=selection.local(max(attempts)) if attempts else None,
        kind="e" if any(one.state is DeliveryState.DEAD for one in last.values()) else "u",
        more=("see deliveries", f"{link}#deliveries"),
    )


def _in_order(steps: Sequence[Step]) -> list[Step]:
    """Steps by time; those without one stay after the one that they follow."""
    times, last = [], None
    for step in steps:
        last = step.at or last
        times.append(last.timestamp() if last else 0.0)
    return [step for _, step in sorted(zip(times, steps, strict=True), key=lambda one: one[0])]


def _difference(before: Content, after: Content) -> str:
    parts = [
        name
        for name, changed in (
            (f"{before.rating.word} to {after.rating.word}", before.rating != after.rating),
            ("comment", before.comment != after.comment),
            ("reason", before.tags != after.tags),
            ("context", before.context != after.context),
        )
        if changed
    ]
    return ", ".join(parts)


def _position(hk: Harken, query: FeedbackQuery, feedback: Feedback) -> int | None:
    """The number of an entry in the list of a query, the newest first, from 1; ``None`` if it is too far down."""
    place = count_entries(hk, evolve(query, since=feedback.created_at))
    return None if is_cut_off(query, place) else max(1, place)


def _newer(hk: Harken, query: FeedbackQuery, feedback: Feedback) -> str | None:
    place = Cursor.of(feedback)
    since = max(filter(None, (query.since, feedback.created_at)))
    return next((one.id for one in hk.collection.stream(evolve(query, since=since)) if Cursor.of(one) > place), None)


def _older(hk: Harken, query: FeedbackQuery, feedback: Feedback) -> str | None:
    page = hk.collection.find(query, limit=1, after=Cursor.of(feedback))
    return page.items[0].id if page.items else None


def title_of(feedback: Feedback) -> str:
    """What the entry is: ``Down for American: Late Flight``."""
    agent = f" for {isolated(feedback.agent_id)}" if feedback.agent_id else ""
    reasons = f": {', '.join(map(isolated, feedback.tags))}" if feedback.tags else ""
    return f"{feedback.rating.word.capitalize()}{agent}{reasons}"


def show(visit: Visit) -> Response:
    """The response with the page."""
    selection = visit.selection(known=(_MESSAGE, DECIDED))
    number = selection.parameters.integer(_MESSAGE, -1)
    stored = visit.harken.collection.get(visit.application, visit.request.parts["feedback_id"])
    visit.check_visible(stored)
    found = ask(visit.harken, selection, stored, agents=visit.principal.agents, whole=number)
    feedback = shown_of(visit, stored)
    path = f"{visit.home}/feedback"
    return visit.show(
        "feedback_detail.html",
        title=title_of(feedback),
        found=found,
        steps=_in_order([*_steps(selection, feedback), *_notified(visit, selection, feedback)]),
        one=feedback,
        at=selection.local(feedback.created_at),
        others=[entry_view(visit, selection, one) for one in found.others],
        newer=_link(selection, path, found.newer),
        older=_link(selection, path, found.older),
        own=_link(selection, path, feedback.id),
        outcome=outcome_of(visit, selection) if visit.may(Scope.MODERATE) else None,
        frame=frame_of(visit, "Feedback", selection),
        selection=selection,
        path=path,
        may_moderate=visit.may(Scope.MODERATE),
        reasons=REASONS,
    )


def _link(selection: Selection, path: str, feedback_id: str | None) -> str | None:
    return None if feedback_id is None else selection.link(f"{path}/{quote(feedback_id, safe='')}")
