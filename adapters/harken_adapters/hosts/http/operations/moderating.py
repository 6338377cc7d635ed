"""Moderation of feedback."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, cast

from harken import ModerationStatus, Scope
from harken.domain.moderation import Decision
from harken.domain.query import Order
from harken.services.feedback.moderation import MAX_DECISIONS
from harken_adapters.formats.moderation import (
    decisions_record,
    outcomes_record,
    preview_record,
    review_record,
    rule_counts_record,
    waiting_record,
)
from harken_adapters.formats.readings import spam_record
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Response, answer
from harken_adapters.hosts.http.wire.parameters import (
    FILTERS_IN_ANY_STATE,
    if_match,
    invalid,
    json_object,
    unknown_fields,
)
from harken_adapters.hosts.http.wire.records import etag, visible_page, visible_record

_PATH: Final = "/api/feedback/{feedback_id}/moderation"
_STATUSES: Final = tuple(status.value for status in ModerationStatus)
_DECISIONS: Final = (ModerationStatus.APPROVED.value, ModerationStatus.REJECTED.value)


def _queue(call: Call) -> Response:
    page = call.harken.moderation.queue(
        call.query(),
        limit=call.parameters.integer("limit", 100),
        after=call.parameters.cursor(),
        # Another word is an InvalidQuery.
        order=cast("Order", call.parameters.get("order", "oldest")),
        rule=call.parameters.get("held_by"),
    )
    return answer(visible_page(call.principal, page) | {"spam": spam_record(call.harken.spam.readings(page.items))})


def _waiting(call: Call) -> Response:
    waiting = call.harken.moderation.waiting(call.query(), rule=call.parameters.get("held_by"))
    return answer(waiting_record(waiting))


def _review(call: Call) -> Response:
    feedback = call.feedback()
    review = call.harken.moderation.review(call.query(), feedback.id)
    # It may be about another agent by now.
    call.check_visible(review.feedback)
    return answer(review_record(review, partial(visible_record, call.principal)))


def _decisions(call: Call) -> Response:
    word = call.parameters.get("decision")
    if word not in (None, *_DECISIONS):
        raise invalid("decision", "unknown", f"decision must be one of {', '.join(_DECISIONS)}, got {word[:100]!a}")
    found = call.harken.moderation.decisions(
        call.query(),
        since=call.parameters.moment("decided_since"),
        statuses=frozenset(map(ModerationStatus, _DECISIONS if word is None else (word,))),
        limit=call.parameters.integer("limit", 100),
        after=call.parameters.cursor(),
    )
    return answer(decisions_record(found, partial(visible_record, call.principal)))


def _decide_many(call: Call) -> Response:
    body = json_object(call.request, ("decisions", "moderator"))
    entries = _entries(body, "decisions", ("feedback_id", "version", "status", "reason"))
    decisions = [
        Decision(
            feedback_id=entry["feedback_id"],
            version=int(entry["version"]),
            status=_status(entry.get("status"), f"decisions.{number}.status"),
            reason=entry.get("reason", ""),
        )
        for number, entry in enumerate(entries)
    ]
    results = call.harken.moderation.decide_many(
        call.application, decisions, moderator=_moderator(call, body), check=call.check_visible
    )
    ids = (one.feedback_id for one in decisions)
    return answer(outcomes_record(ids, results, partial(visible_record, call.principal)))


def _undo_many(call: Call) -> Response:
    body = json_object(call.request, ("decisions", "moderator"))
    versions = _versions(body, "decisions")
    results = call.harken.moderation.undo_many(
        call.application, versions, moderator=_moderator(call, body), check=call.check_visible
    )
    return answer(outcomes_record(versions, results, partial(visible_record, call.principal)))


def _preview(call: Call) -> Response:
    body = json_object(call.request, ("entries", "status"))
    status = _status(body.get("status"), "status")
    versions = _versions(body, "entries")
    preview = call.harken.moderation.preview(call.query(), versions, status, check=call.check_visible)
    return answer(preview_record(preview))


def _rules(call: Call) -> Response:
    counts = call.harken.moderation.rule_counts(call.application, days=call.parameters.integer("days", 7))
    return answer(rule_counts_record(counts))


def _decide(call: Call) -> Response:
    body = json_object(call.request, ("status", "reason", "moderator", "version"))
    status = _status(body.get("status"), "status")
    decided = call.harken.moderation.decide(
        call.application,
        call.feedback().id,
        status,
        moderator=_moderator(call, body),
        reason=body.get("reason", ""),
        expected_version=_version(call, body),
        check=call.check_visible,
    )
    return answer(visible_record(call.principal, decided), headers=etag(decided))


def _undo(call: Call) -> Response:
    body = json_object(call.request, ("moderator", "version")) if call.request.body else {}
    undone = call.harken.moderation.undo(
        call.application,
        call.feedback().id,
        moderator=_moderator(call, body),
        expected_version=_version(call, body),
        check=call.check_visible,
    )
    return answer(visible_record(call.principal, undone), headers=etag(undone))


def _moderator(call: Call, body: dict[str, Any]) -> Any:
    """The moderator in the body; by default, the name or id of the API key."""
    moderator = body.get("moderator")
    return call.principal.name if moderator is None else moderator


def _version(call: Call, body: dict[str, Any]) -> int | None:
    """The expected version of the feedback, from the body or If-Match, if given."""
    version, expected = body.get("version"), if_match(call.request)
    if version is None:
        return expected
    _check_version("version", version)
    if expected not in (None, version):
        raise invalid("version", "repeated", "The body and If-Match name different versions; expected one")
    return int(version)


def _check_version(name: str, version: object) -> None:
    # In JSON Schema, 3.0 is an integer too.
    is_whole = type(version) is int or (isinstance(version, float) and version.is_integer())
    if not (is_whole and 1 <= cast("float", version) < 2**63):
        raise invalid(name, "type", f"{name} must be the integer version of the feedback, such as 3")


def _status(word: object, name: str) -> ModerationStatus:
    if word not in _STATUSES:
        raise invalid(name, "unknown", f"{name} must be one of {', '.join(_STATUSES)}")
    return ModerationStatus(word)


def _entries(body: Mapping[str, Any], name: str, known: tuple[str, ...]) -> list[dict[str, Any]]:
    """The objects in a list of the body, each with the id and the version of feedback."""
    entries = body.get(name)
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_DECISIONS:
        raise invalid(name, "range", f"{name} must be a list of 1 to {MAX_DECISIONS} objects")
    for number, entry in enumerate(entries):
        place = f"{name}.{number}"
        if not isinstance(entry, dict):
            raise invalid(place, "type", f"{place} must be an object with feedback_id and version")
        if others := entry.keys() - set(known):
            raise unknown_fields("field", others, known)
        if not isinstance(entry.get("feedback_id"), str):
            raise invalid(f"{place}.feedback_id", "type", f"{place}.feedback_id must be the id of feedback")
        _check_version(f"{place}.version", entry.get("version"))
    return entries


def _versions(body: Mapping[str, Any], name: str) -> dict[str, int]:
    """The versions in a list of the body, by feedback id."""
    entries = _entries(body, name, ("feedback_id", "version"))
    versions = {entry["feedback_id"]: int(entry["version"]) for entry in entries}
    if len(versions) < len(entries):
        raise invalid(name, "repeated", f"{name} has the same feedback twice; expected it once")
    return versions


_DECIDED: Final = Answer(
    description="The feedback after the decision.",
    schema="Feedback",
    headers={"ETag": "The version, for the next decision."},
)
_ON_A_VERSION: Final = (
    "Set the version that the moderator saw, as ``version`` or If-Match. If the feedback has changed since then, the "
    "response is 409, and ``current`` has the latest decision. Without a version, a named moderator neither overrides "
    "nor undoes the decision of another named moderator."
)
_MANY: Final = (
    "At most 500 entries, each in the version that the moderator saw. Each is decided on its own: one that fails does "
    "not affect the others. The request can be repeated if the response was lost: what the same moderator has decided "
    "already in the same way is reported as `decided` again, and not as a conflict."
)
_ID: Final = "0199c2a4-7d1e-7c3b-8f10-5d2f6a9b1c33"
_PROBLEMS: Final = ("not-found", "conflict")
OPERATIONS: Final = (
    Operation(
        name="moderation_queue",
        method="GET",
        path="/api/moderation/queue",
        scope=Scope.MODERATE,
        handle=_queue,
        summary="List feedback that awaits moderation",
        description=(
            "All pending feedback that matches the filters, oldest first. Once moderators have approved 50 comments "
            "and rejected 50, `spam` has the likelihood of a rejection for each entry with a comment. With `held_by`, "
            "a page can have fewer entries than `limit` although `next` is not null."
        ),
        tag="Moderation",
        agent_keys=True,
        parameters=("limit", "after", "order", "held_by"),
        filters=FILTERS_IN_ANY_STATE,
        answers={200: Answer(description="A page of feedback.", schema="Queue")},
    ),
    Operation(
        name="moderation_waiting",
        method="GET",
        path="/api/moderation/waiting",
        scope=Scope.MODERATE,
        handle=_waiting,
        summary="Count feedback that awaits moderation",
        description="By the rules that held it. If more than 10,000 entries wait, `rules` is about the oldest 10,000.",
        tag="Moderation",
        agent_keys=True,
        parameters=("held_by",),
        filters=FILTERS_IN_ANY_STATE,
        answers={200: Answer(description="What waits, and since when.", schema="Waiting")},
    ),
    Operation(
        name="moderation_decisions",
        method="GET",
        path="/api/moderation/decisions",
        scope=Scope.MODERATE,
        handle=_decisions,
        summary="List decisions",
        description=(
            "Feedback that moderators approved or rejected since a time, the latest decision first, with the number of "
            "decisions of each moderator and the time that entries had waited, in seconds. Undone decisions are not "
            "listed. The newest 10,000 changes of feedback are searched. `since` and `until` filter by creation time."
        ),
        tag="Moderation",
        agent_keys=True,
        parameters=("decided_since", "decision", "limit", "after"),
        filters=FILTERS_IN_ANY_STATE,
        answers={200: Answer(description="A page of decided feedback.", schema="Decisions")},
    ),
    Operation(
        name="moderate_many",
        method="POST",
        path="/api/moderation/decisions",
        scope=Scope.MODERATE,
        handle=_decide_many,
        summary="Decide on several entries",
        description=_MANY,
        tag="Moderation",
        agent_keys=True,
        body="DecisionList",
        example={"decisions": [{"feedback_id": _ID, "version": 1, "status": "rejected", "reason": "spam"}]},
        answers={200: Answer(description="The outcome of each decision, in the same order.", schema="Outcomes")},
    ),
    Operation(
        name="undo_many",
        method="POST",
        path="/api/moderation/decisions/undo",
        scope=Scope.MODERATE,
        handle=_undo_many,
        summary="Undo the last decisions on several entries",
        description=_MANY,
        tag="Moderation",
        agent_keys=True,
        body="UndoList",
        example={"decisions": [{"feedback_id": _ID, "version": 2}]},
        answers={200: Answer(description="The outcome for each entry, in the same order.", schema="Outcomes")},
    ),
    Operation(
        name="preview_decisions",
        method="POST",
        path="/api/moderation/preview",
        scope=Scope.MODERATE,
        handle=_preview,
        summary="Preview decisions on several entries",
        description=(
            "Which entries still have the version that was seen and are not withdrawn, and what the decisions would "
            "change in the statistics of the feedback that matches the filters. Nothing is decided."
        ),
        tag="Moderation",
        agent_keys=True,
        filters=FILTERS_IN_ANY_STATE,
        body="PreviewList",
        example={"status": "approved", "entries": [{"feedback_id": _ID, "version": 1}]},
        answers={200: Answer(description="What the decisions would do.", schema="Preview")},
    ),
    Operation(
        name="moderation_rules",
        method="GET",
        path="/api/moderation/rules",
        scope=Scope.MODERATE,
        handle=_rules,
        summary="Count what rules refused and held",
        description=(
            "By rule and UTC day, the largest count first. Counts are kept for 31 days and are up to five seconds old."
        ),
        tag="Moderation",
        parameters=("days",),
        answers={200: Answer(description="The counts of each rule.", schema="RuleCounts")},
    ),
    Operation(
        name="review_feedback",
        method="GET",
        path=_PATH,
        scope=Scope.MODERATE,
        handle=_review,
        summary="Review feedback before a decision",
        description=(
            "The earlier feedback of its author, pending feedback with nearly the same text (of the newest 2,000 "
            "entries), and what an approval would change in the statistics. All of it is computed from the feedback "
            "that matches the filters."
        ),
        tag="Moderation",
        agent_keys=True,
        filters=FILTERS_IN_ANY_STATE,
        answers={200: Answer(description="What a moderator needs to know.", schema="Review")},
        problems=("not-found",),
    ),
    Operation(
        name="moderate_feedback",
        method="POST",
        path=_PATH,
        scope=Scope.MODERATE,
        handle=_decide,
        summary="Approve, reject or hold feedback",
        description=_ON_A_VERSION,
        tag="Moderation",
        agent_keys=True,
        body="Decision",
        example={"status": "rejected", "reason": "advertising", "version": 3},
        answers={200: _DECIDED},
        problems=_PROBLEMS,
    ),
    Operation(
        name="undo_moderation",
        method="POST",
        path=f"{_PATH}/undo",
        scope=Scope.MODERATE,
        handle=_undo,
        summary="Undo the last moderation decision",
        description=f"Undoing twice restores the decision. {_ON_A_VERSION}",
        tag="Moderation",
        agent_keys=True,
        body="Undo",
        example={"moderator": "kim"},
        answers={200: _DECIDED},
        problems=_PROBLEMS,
    ),
)
