"""The forms of moderation: decisions on one or several entries, their preview, and undoing them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

from attrs import evolve, frozen

from harken import (
    DecisionConflict,
    Feedback,
    FeedbackNotFound,
    FeedbackRejected,
    FeedbackWithdrawn,
    InvalidTransition,
    ModerationStatus,
)
from harken.domain.moderation import Decision
from harken.domain.texts import amount
from harken.services.feedback.moderation import DecisionResult
from harken_adapters.hosts.http.wire.messages import Response
from harken_adapters.hosts.http.wire.parameters import Parameters, invalid
from harken_adapters.hosts.web.entries import find_many, visible_query
from harken_adapters.hosts.web.forms import form_of
from harken_adapters.hosts.web.held import REASONS, decided_text, held, suggested_reason, verb_this, who
from harken_adapters.hosts.web.navigation import frame_of
from harken_adapters.hosts.web.pages import moderation, moderation_view
from harken_adapters.hosts.web.pages.moderation_card import Lost, effect_text
from harken_adapters.hosts.web.pages.moderation_decided import Outcome, entry, parse_entry
from harken_adapters.hosts.web.pages.moderation_view import DECIDED, View
from harken_adapters.hosts.web.visit import Visit
from harken_adapters.hosts.web.wording import first_upper

PATH: Final = f"{moderation_view.PATH}/decisions"
#: The choice of a reason that is typed.
_OTHER: Final = "other"
#: In code points.
_LONGEST_REASON: Final = 1_000
_VERBS: Final = {ModerationStatus.APPROVED: "Approve", ModerationStatus.REJECTED: "Reject"}


@frozen(kw_only=True)
class Line:
    """An entry of the preview.

    Attributes:
        feedback: the entry.
        note: why it is held; or why it cannot be decided any more.
        is_open: whether it can be decided.
    """

    feedback: Feedback
    note: str
    is_open: bool


def show(visit: Visit) -> Response:
    """The response to a form. Its address leads to the page for moderation."""
    view = View.of(visit)
    if not visit.is_form:
        return visit.redirect(view.link())
    form = form_of(visit.request)
    if form.get("cancel") is not None:
        return moderation.show(visit, view=view, picked=form.all("selected"))
    entries = _entries(form)
    if form.get("undo") is not None:
        return _undo(visit, view, entries, form)
    if (word := form.get("preview")) is not None:
        return _preview(visit, view, entries, _status("preview", word))
    return _decide(visit, view, entries, form)


def _entries(form: Parameters) -> dict[str, int]:
    """The versions of the entries of a form, by id, in order.

    Raises:
        Problem: there are none, or one is invalid.
    """
    lines = [line.removesuffix("\r") for text in form.all("entry") for line in text.split("\n")]
    entries = dict(parse_entry(line) for line in lines if line)
    if not entries:
        raise invalid("entry", "required", "No entry is selected. Go back, and select at least one.")
    return entries


def _status(name: str, word: str) -> ModerationStatus:
    if word not in (ModerationStatus.APPROVED.value, ModerationStatus.REJECTED.value):
        raise invalid(name, "unknown", f"{name} must be approved or rejected; got {word[:100]!a}")
    return ModerationStatus(word)


def _reason(form: Parameters, status: ModerationStatus) -> str:
    """The chosen or typed reason of a rejection; approvals have none."""
    if status is not ModerationStatus.REJECTED:
        return ""
    chosen = form.get("reason", "")
    reason = form.get("words", "").strip() if chosen == _OTHER else chosen
    if len(reason) > _LONGEST_REASON:
        raise invalid("words", "too_long", f"A reason has at most {_LONGEST_REASON:,} characters, got {len(reason):,}")
    return reason


def _decide(visit: Visit, view: View, entries: Mapping[str, int], form: Parameters) -> Response:
    status = _status("decide", form.get("decide", ""))
    reason = _reason(form, status)
    if len(entries) > 1:
        return _decide_several(visit, view, entries, status, reason)
    [(feedback_id, version)] = entries.items()
    try:
        decided = visit.harken.moderation.decide(
            visit.application,
            feedback_id,
            status,
            moderator=visit.principal.name,
            reason=reason,
            expected_version=version,
            check=visit.check_visible,
        )
    except (FeedbackNotFound, FeedbackWithdrawn, InvalidTransition):
        return _lost(visit, view, feedback_id, Lost(wanted=status.value, reason=reason))
    if form.get("page") == "feedback":
        return _back_to_entry(visit, view, decided)
    following = moderation.following(visit, view, decided) if view.tab == "waiting" else None
    return visit.redirect(view.link(current=following, decided=entry(decided)))


def _undo(visit: Visit, view: View, entries: Mapping[str, int], form: Parameters) -> Response:
    if len(entries) > 1:
        results = visit.harken.moderation.undo_many(
            visit.application, entries, moderator=visit.principal.name, check=visit.check_visible
        )
        return _outcome(visit, view, entries, results, "undone", can_undo=False)
    [(feedback_id, version)] = entries.items()
    try:
        undone = visit.harken.moderation.undo(
            visit.application,
            feedback_id,
            moderator=visit.principal.name,
            expected_version=version,
            check=visit.check_visible,
        )
    except (FeedbackNotFound, FeedbackWithdrawn, InvalidTransition):
        return _lost(visit, view, feedback_id, Lost(wanted="undo"))
    if form.get("page") == "feedback":
        return _back_to_entry(visit, view, undone)
    # The entry that waits again is the one to decide on.
    is_pending = undone.moderation.status is ModerationStatus.PENDING
    shown = view.link(tab=None, current=undone.id, decided=entry(undone))
    return visit.redirect(shown if is_pending else view.link(decided=entry(undone)))


def _lost(visit: Visit, view: View, feedback_id: str, lost: Lost) -> Response:
    """The page after a decision that was not saved. A redirect would not do, as a link must not claim such a thing."""
    return moderation.show(visit, view=evolve(view, current=feedback_id), lost=lost)


def _back_to_entry(visit: Visit, view: View, feedback: Feedback) -> Response:
    """The redirect to the page of the entry, from which it was decided."""
    path = f"{visit.home}/feedback/{quote(feedback.id, safe='')}"
    return visit.redirect(view.selection.link(path, (DECIDED, entry(feedback))))


def _decide_several(
    visit: Visit, view: View, entries: Mapping[str, int], status: ModerationStatus, reason: str
) -> Response:
    decisions = [
        Decision(feedback_id=feedback_id, version=version, status=status, reason=reason)
        for feedback_id, version in entries.items()
    ]
    results = visit.harken.moderation.decide_many(
        visit.application, decisions, moderator=visit.principal.name, check=visit.check_visible
    )
    return _outcome(visit, view, entries, results, status.value)


def _outcome(
    visit: Visit,
    view: View,
    entries: Mapping[str, int],
    results: Sequence[DecisionResult],
    done: str,
    *,
    can_undo: bool = True,
) -> Response:
    """The page with the outcome of several decisions. Sending the form again changes nothing."""
    saved = [one for one in results if isinstance(one, Feedback)]
    lost = [
        (feedback_id, result)
        for feedback_id, result in zip(entries, results, strict=True)
        if not isinstance(result, Feedback)
    ]
    found = find_many(visit, [feedback_id for feedback_id, _ in lost])
    counts = Counter(_why_lost(visit, error) for _, error in lost)
    parts = [f"{len(saved):,} {done}"]
    parts += [f"{count:,} {one if count == 1 else several}" for (one, several), count in counts.items()]
    outcome = Outcome(
        text=", ".join(parts),
        undo=tuple(map(entry, saved)) if can_undo else (),
        failures=tuple(
            (feedback_id, _comment(found.get(feedback_id)), first_upper(_reason_lost(visit, error)))
            for feedback_id, error in lost
        ),
    )
    return moderation.show(visit, outcome, evolve(view, like=None, current=None))


def _comment(feedback: Feedback | None) -> str:
    return "" if feedback is None or feedback.withdrawn else feedback.comment


def _why_lost(visit: Visit, error: object) -> tuple[str, str]:
    """Why decisions were not saved, to follow the number of entries: of one, and of several."""
    if isinstance(error, DecisionConflict) and error.decided_at is not None:
        decided = f"decided by {who(error.moderator, visit.principal.name)} meanwhile"
        return f"was {decided}", f"were {decided}"
    if isinstance(error, FeedbackNotFound):
        return "was not found; it may have been erased", "were not found; they may have been erased"
    if isinstance(error, FeedbackWithdrawn):
        return "was withdrawn by its author", "were withdrawn by their authors"
    if isinstance(error, FeedbackRejected):
        return "cannot get this reason", "cannot get this reason"
    return "was changed meanwhile", "were changed meanwhile"


def _reason_lost(visit: Visit, error: object) -> str:
    """Why a decision on one entry was not saved: who decided what."""
    if isinstance(error, DecisionConflict) and error.decided_at is not None:
        return f"{who(error.moderator, visit.principal.name)} {verb_this(error.status)} meanwhile"
    return _why_lost(visit, error)[0]


def _preview(visit: Visit, view: View, entries: Mapping[str, int], status: ModerationStatus) -> Response:
    """The page that asks before several entries are decided. Nothing is changed."""
    hk = visit.harken
    preview = hk.moderation.preview(visible_query(visit), entries, status, check=visit.check_visible)
    open_ids = {one.feedback_id for one in preview.entries}
    found = find_many(visit, entries)
    lines = [
        _line(visit, feedback, is_open=feedback_id in open_ids and feedback.moderation.status is not status)
        for feedback_id, feedback in found.items()
    ]
    is_open = [one.feedback for one in lines if one.is_open]
    texts = len({" ".join(one.comment.casefold().split()) for one in is_open})
    facts = [
        f"{len(is_open):,} of {len(entries):,} can be decided"
        if len(is_open) < len(entries)
        else f"All {len(entries):,} can be decided"
    ]
    facts += [f"{amount(len({one.session_id for one in is_open}), 'session')}, {amount(texts, 'text')}"]
    effect = effect_text(preview.effect)
    facts += [effect, "These percentages are of all time"] if effect else ["No statistics change"]
    return visit.show(
        "moderation_preview.html",
        title=f"{_VERBS[status]} {len(is_open):,}?",
        status_wanted=status,
        verb=_VERBS[status],
        facts=". ".join(facts) + ".",
        lines=lines,
        count=len(is_open),
        entries="\n".join(map(entry, is_open)),
        reason=_common_reason(is_open),
        reasons=REASONS,
        view=view,
        selected=list(entries),
        action=view.action,
        frame=evolve(frame_of(visit, "Moderation", view.selection, in_any_state=True), back=view.link()),
    )


def _common_reason(entries: Sequence[Feedback]) -> str:
    reasons = {suggested_reason(one) for one in entries}
    return reasons.pop() if len(reasons) == 1 else ""


def _line(visit: Visit, feedback: Feedback, *, is_open: bool) -> Line:
    if feedback.withdrawn:
        return Line(feedback=feedback, note="Its author took it back", is_open=False)
    if feedback.moderation.status is ModerationStatus.PENDING:
        note = held(feedback).title if is_open else "Its author changed it meanwhile"
        return Line(feedback=feedback, note=note, is_open=is_open)
    note = first_upper(decided_text(feedback.moderation, visit.principal.name))
    return Line(feedback=feedback, note=note, is_open=is_open)
