"""Moderation as JSON values, and back: what waits, decisions, reviews and counts of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final

from harken import (
    Cursor,
    DecisionConflict,
    Feedback,
    FeedbackNotFound,
    FeedbackRejected,
    FeedbackWithdrawn,
    InvalidTransition,
    Moderation,
    ModerationStatus,
    ResponseTime,
    Violation,
)
from harken.domain.instants import parse_instant, stamp, stamp_or_none
from harken.domain.moderation import Waiting
from harken.services.feedback.moderation import DecisionResult, Decisions
from harken.services.feedback.reviewing import AuthorRecord, BeforeAfter, Effect, Entry, Preview, Review, SimilarTexts
from harken.services.feedback.rule_counts import DayCount, RuleCount
from harken_adapters.formats.record import Record, current_record, from_record
from harken_adapters.formats.statistics import summary_from

#: Makes the record of feedback, as the reader may see it.
ToRecord = Callable[[Feedback], Record]

#: What became of a decision on one of several entries.
DECIDED: Final = "decided"
_OUTCOMES: Final[Mapping[type[Exception], str]] = {
    DecisionConflict: "conflict",
    InvalidTransition: "unchanged",
    FeedbackNotFound: "not-found",
    FeedbackWithdrawn: "withdrawn",
    FeedbackRejected: "refused",
}
OUTCOMES: Final = (DECIDED, *_OUTCOMES.values())


# --- out --------------------------------------------------------------------------------------------------------------


def waiting_record(waiting: Waiting) -> Record:
    """What waits for a decision."""
    return {
        "waiting": waiting.count,
        "since": stamp_or_none(waiting.since),
        "rules": [{"rule": rule, "waiting": count} for rule, count in waiting.by_rule.items()],
        "complete": waiting.is_complete,
    }


def decisions_record(decisions: Decisions, to_record: ToRecord) -> Record:
    """A page of decided feedback, with the number of decisions and how long the entries had waited."""
    time = decisions.response_time
    return {
        "feedbacks": list(map(to_record, decisions.items)),
        "next": str(decisions.next) if decisions.next else None,
        "decisions": decisions.count,
        "moderators": [
            {"moderator": moderator, "decisions": count} for moderator, count in decisions.by_moderator.items()
        ],
        "response_time": time
        and {"decisions": time.decisions, "median": time.median, "percentile_90": time.percentile_90},
        "complete": decisions.is_complete,
    }


def outcomes_record(ids: Iterable[str], results: Sequence[DecisionResult], to_record: ToRecord) -> Record:
    """The outcome of each of several decisions, in their order."""
    return {"outcomes": [_outcome_record(one, result, to_record) for one, result in zip(ids, results, strict=True)]}


def _outcome_record(feedback_id: str, result: DecisionResult, to_record: ToRecord) -> Record:
    if isinstance(result, Feedback):
        return {"feedback_id": feedback_id, "outcome": DECIDED, "feedback": to_record(result)}
    outcome = next(outcome for kind, outcome in _OUTCOMES.items() if isinstance(result, kind))
    record = {"feedback_id": feedback_id, "outcome": outcome, "detail": str(result)}
    return record | {"current": current_record(result)} if isinstance(result, DecisionConflict) else record


def review_record(review: Review, to_record: ToRecord) -> Record:
    """A review of feedback."""
    author, similar = review.author, review.similar
    return {
        "feedback": to_record(review.feedback),
        "author": author
        and {
            "approved": author.approved,
            "rejected": author.rejected,
            "pending": author.pending,
            "complete": author.is_complete,
        },
        "in_session": review.in_session,
        "similar": {
            "entries": list(map(_entry_record, similar.entries)),
            "sessions": similar.sessions,
            "since": stamp_or_none(similar.since),
            "until": stamp_or_none(similar.until),
            "complete": similar.is_complete,
        },
        "if_approved": _effect_record(review.if_approved),
    }


def preview_record(preview: Preview) -> Record:
    """A preview of decisions on several entries."""
    return {"entries": list(map(_entry_record, preview.entries)), "effect": _effect_record(preview.effect)}


def _entry_record(entry: Entry) -> Record:
    return {
        "feedback_id": entry.feedback_id,
        "version": entry.version,
        "session_id": entry.session_id,
        "created_at": stamp(entry.created_at),
    }


def _effect_record(effect: Effect) -> Record:
    agents = [{"agent_id": agent} | _before_after_record(change) for agent, change in effect.agents.items()]
    return {"selection": _before_after_record(effect.selection), "agents": agents}


def _before_after_record(change: BeforeAfter) -> Record:
    return {"before": change.before.to_sums(), "after": change.after.to_sums()}


def rule_counts_record(counts: Sequence[RuleCount]) -> Record:
    """How often rules refused and held feedback, by day."""
    return {
        "rules": [
            {
                "rule": one.rule,
                "refused": one.refused,
                "held": one.held,
                "days": [{"day": day.day.isoformat(), "refused": day.refused, "held": day.held} for day in one.days],
            }
            for one in counts
        ]
    }


# --- in: each raises KeyError, TypeError or ValueError if the document is not of that kind ---------------------------


def waiting_from(document: Mapping[str, Any]) -> Waiting:
    """The inverse of :func:`waiting_record`."""
    return Waiting(
        document["waiting"],
        document["since"] and parse_instant(document["since"]),
        {one["rule"]: one["waiting"] for one in document["rules"]},
        document["complete"],
    )


def decisions_from(document: Mapping[str, Any], application: str) -> Decisions:
    """The inverse of :func:`decisions_record`."""
    time = document["response_time"]
    return Decisions(
        items=tuple(from_record(one, application) for one in document["feedbacks"]),
        next=Cursor.parse(document["next"]) if document["next"] else None,
        count=document["decisions"],
        by_moderator={one["moderator"]: one["decisions"] for one in document["moderators"]},
        response_time=time and ResponseTime(time["decisions"], time["median"], time["percentile_90"]),
        is_complete=document["complete"],
    )


def results_from(document: Mapping[str, Any], application: str) -> list[DecisionResult]:
    """The results that :func:`outcomes_record` describes."""
    return [_result_from(one, application) for one in document["outcomes"]]


def _result_from(outcome: Mapping[str, Any], application: str) -> DecisionResult:
    kind, feedback_id = outcome["outcome"], outcome["feedback_id"]
    if kind == DECIDED:
        return from_record(outcome["feedback"], application)
    if kind == "conflict":
        return conflict_from(feedback_id, outcome["current"])
    if kind == "not-found":
        return FeedbackNotFound(application, feedback_id)
    detail = outcome["detail"]
    if kind == "withdrawn":
        return FeedbackWithdrawn(detail)
    return FeedbackRejected([Violation("feedback", kind, detail)]) if kind == "refused" else InvalidTransition(detail)


def conflict_from(feedback_id: str, current: Mapping[str, Any]) -> DecisionConflict:
    """The error whose :func:`current_record` this is."""
    decided_at = current["decided_at"]
    moderation = Moderation(
        status=ModerationStatus(current["status"]),
        moderator=current["moderator"],
        decided_at=decided_at and parse_instant(decided_at),
    )
    return DecisionConflict(feedback_id, current["version"], moderation)


def review_from(document: Mapping[str, Any], application: str) -> Review:
    """The inverse of :func:`review_record`."""
    author, similar = document["author"], document["similar"]
    return Review(
        from_record(document["feedback"], application),
        author=author
        and AuthorRecord(author["approved"], author["rejected"], author["pending"], is_complete=author["complete"]),
        in_session=document["in_session"],
        similar=SimilarTexts(tuple(map(_entry_from, similar["entries"])), is_complete=similar["complete"]),
        if_approved=_effect_from(document["if_approved"]),
    )


def preview_from(document: Mapping[str, Any]) -> Preview:
    """The inverse of :func:`preview_record`."""
    return Preview(tuple(map(_entry_from, document["entries"])), _effect_from(document["effect"]))


def _entry_from(record: Mapping[str, Any]) -> Entry:
    return Entry(record["feedback_id"], record["version"], record["session_id"], parse_instant(record["created_at"]))


def _effect_from(record: Mapping[str, Any]) -> Effect:
    agents = {one["agent_id"]: _before_after_from(one) for one in record["agents"]}
    return Effect(_before_after_from(record["selection"]), agents)


def _before_after_from(record: Mapping[str, Any]) -> BeforeAfter:
    return BeforeAfter(summary_from(record["before"]), summary_from(record["after"]))


def rule_counts_from(document: Mapping[str, Any]) -> list[RuleCount]:
    """The inverse of :func:`rule_counts_record`."""
    return [
        RuleCount(
            one["rule"],
            tuple(DayCount(date.fromisoformat(day["day"]), day["refused"], day["held"]) for day in one["days"]),
        )
        for one in document["rules"]
    ]
