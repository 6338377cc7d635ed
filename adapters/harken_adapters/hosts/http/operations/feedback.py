"""Feedback: listing, reading, changing and withdrawing it."""

from __future__ import annotations

from itertools import islice
from typing import Final

from attrs import evolve

from harken import Change, Cursor, Feedback, FeedbackNotFound, FeedbackQuery, Scope, StaleFeedback
from harken.domain.query import MAX_PAGE, check_limit
from harken_adapters.formats.readings import readings_record
from harken_adapters.formats.statistics import session_statistics
from harken_adapters.hosts.http.guards.permissions import context_of
from harken_adapters.hosts.http.operation import Answer, Call, Operation
from harken_adapters.hosts.http.wire.messages import Response, answer, no_content
from harken_adapters.hosts.http.wire.parameters import FILTERS, if_match, json_object
from harken_adapters.hosts.http.wire.preferences import REPRESENTED, prefers_representation
from harken_adapters.hosts.http.wire.problems import Problem
from harken_adapters.hosts.http.wire.records import etag, own_record, visible_page, visible_record

_CHANGEABLE: Final = ("rating", "comment", "tags", "context")
_DEFAULT_PAGE: Final = 100


def _of_session(call: Call) -> Response:
    """The feedback of a session, oldest first, as the guide's clients expect it."""
    session_id = call.part("session_id")
    limit, after = call.parameters.integer("limit", MAX_PAGE), call.parameters.cursor()
    check_limit(limit)
    query = _in_session(call)
    total = call.harken.analytics.summary(query).total
    items, more = _oldest_first(call, query, limit, after)
    following = str(Cursor.of(items[-1])) if more else None
    document = {
        "session_id": session_id,
        "total_feedbacks": total,
        "feedbacks": [visible_record(call.principal, one) for one in items],
        "next": following,
    }
    return answer(document, headers=call.link_to_next(following))


def _oldest_first(call: Call, query: FeedbackQuery, limit: int, after: Cursor | None) -> tuple[list[Feedback], bool]:
    """The page after a cursor, and whether there are more results."""
    if after is not None:
        query = evolve(query, since=after.created_at)
    found = call.harken.collection.stream(query)
    items = list(islice((one for one in found if after is None or Cursor.of(one) > after), limit + 1))
    return items[:limit], len(items) > limit


def _in_session(call: Call) -> FeedbackQuery:
    agents = call.parameters.all("agent_id") or None
    query = FeedbackQuery(application=call.application, session_id=call.part("session_id"), agent_id=agents)
    return call.visible(query)


def _stats_of_session(call: Call) -> Response:
    return answer(session_statistics(call.part("session_id"), call.harken.analytics.summary(_in_session(call))))


def _list(call: Call) -> Response:
    limit, after = call.parameters.integer("limit", _DEFAULT_PAGE), call.parameters.cursor()
    with_readings = call.parameters.truth("reading")
    page = call.harken.collection.find(call.query(), limit=limit, after=after)
    document = visible_page(call.principal, page)
    if with_readings:
        document["readings"] = readings_record(call.harken.sentiment.readings(page.items))
    return answer(document, headers=call.link_to_next(str(page.next) if page.next else None))


def _get(call: Call) -> Response:
    return _feedback_response(call, _own(call))


def _change(call: Call) -> Response:
    body = json_object(call.request, _CHANGEABLE)
    if "context" in body:
        body["context"] = context_of(call.principal, body)
    feedback, expected = _own(call), if_match(call.request)
    try:
        changed = call.harken.collection.change(
            call.application,
            feedback.id,
            Change(**body),
            expected_version=expected,
            check=call.check_visible,
        )
    except StaleFeedback as error:
        raise Problem("changed-meanwhile", str(error)) from error
    return _feedback_response(call, changed)


def _withdraw(call: Call) -> Response:
    withdrawn = call.harken.collection.withdraw(call.application, _own(call).id, check=call.check_visible)
    if not prefers_representation(call.request):
        return no_content()
    return answer(own_record(call.principal, withdrawn), headers=REPRESENTED)


def _own(call: Call) -> Feedback:
    """The feedback with the id in the path.

    Raises:
        FeedbackNotFound: it does not exist, or the caller may not access it, which is not distinguished.
    """
    feedback = call.feedback()
    if not call.principal.owns(feedback):
        raise FeedbackNotFound(call.application, feedback.id)
    return feedback


def _feedback_response(call: Call, feedback: Feedback) -> Response:
    return answer(own_record(call.principal, feedback), headers=etag(feedback))


_PAGED: Final = ("limit", "after")
_LINK: Final = {"Link": "The next page, if there is one."}
_ONE: Final = Answer(
    description="The feedback in its current version.",
    schema="Feedback",
    headers={"ETag": "The version, for If-Match."},
)

OPERATIONS: Final = (
    Operation(
        name="list_session_feedback",
        method="GET",
        path="/api/sessions/{session_id}/feedback",
        scope=Scope.READ,
        handle=_of_session,
        summary="List the feedback on a session",
        description="The counted feedback on a session, oldest first, at most 1,000 entries at a time.",
        tag="Feedback",
        agent_keys=True,
        parameters=("agent_id", *_PAGED),
        answers={200: Answer(description="The feedback.", schema="SessionFeedback", headers=_LINK)},
    ),
    Operation(
        name="session_stats",
        method="GET",
        path="/api/sessions/{session_id}/feedback/stats",
        scope=Scope.READ,
        handle=_stats_of_session,
        summary="Get the statistics of a session",
        tag="Feedback",
        agent_keys=True,
        parameters=("agent_id",),
        answers={
            200: Answer(
                description="The statistics.",
                schema="SessionStats",
                example={
                    "session_id": "user-123",
                    "total_feedbacks": 4,
                    "positive": 3,
                    "negative": 1,
                    "neutral": 0,
                    "satisfaction_score": 75.0,
                },
            )
        },
    ),
    Operation(
        name="list_feedback",
        method="GET",
        path="/api/feedback",
        scope=Scope.READ,
        handle=_list,
        summary="List feedback",
        description="All feedback that matches the filters, newest first.",
        tag="Feedback",
        agent_keys=True,
        parameters=(*_PAGED, "reading"),
        filters=FILTERS,
        answers={200: Answer(description="A page of feedback.", schema="Page", headers=_LINK)},
    ),
    Operation(
        name="get_feedback",
        method="GET",
        path="/api/feedback/{feedback_id}",
        scope=Scope.READ,
        handle=_get,
        summary="Get a feedback entry",
        description=(
            "In any state, with its earlier versions. With a session token, the moderator, time and reason of the "
            "moderation decision are left out."
        ),
        tag="Feedback",
        tokens=True,
        agent_keys=True,
        answers={200: _ONE},
        problems=("not-found",),
    ),
    Operation(
        name="change_feedback",
        method="PATCH",
        path="/api/feedback/{feedback_id}",
        scope=Scope.SUBMIT,
        handle=_change,
        summary="Change feedback",
        description=(
            "For its author. Omitted fields are unchanged, but a new rating removes the tags. Earlier versions remain."
        ),
        tag="Feedback",
        tokens=True,
        agent_keys=True,
        body="Change",
        example={"rating": "up", "comment": "It works now, thanks"},
        answers={200: _ONE},
        problems=("feedback-refused", "not-found", "conflict", "changed-meanwhile"),
    ),
    Operation(
        name="withdraw_feedback",
        method="DELETE",
        path="/api/feedback/{feedback_id}",
        scope=Scope.SUBMIT,
        handle=_withdraw,
        summary="Withdraw feedback",
        description="For its author. The feedback is no longer counted. To remove it permanently, use erasures.",
        tag="Feedback",
        tokens=True,
        agent_keys=True,
        answers={
            200: Answer(description="The feedback is withdrawn. With the preference only.", schema="Feedback"),
            204: Answer(description="The feedback is withdrawn."),
        },
        represents=True,
        problems=("not-found",),
    ),
)
