"""What the API takes and gives, as JSON Schemas (draft 2020-12) by name, with an example of each that has one.

What is taken says all that does not depend on an operator's rules. What is given has no other fields than these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harken import ModerationStatus
from harken.domain.alerts.alert import AlertKind
from harken.domain.events import DeliveryState, EventType
from harken.domain.feedback import Rating
from harken.domain.routes import MAX_TEMPLATE_LENGTH, ROUTABLE
from harken.domain.rules import (
    MAX_COMMENT_LENGTH,
    MAX_CONTEXT_KEYS,
    MAX_CONTEXT_NAME_LENGTH,
    MAX_CONTEXT_VALUE_LENGTH,
    MAX_ID_LENGTH,
    MAX_TAG_LENGTH,
    MAX_TAGS,
)
from harken_adapters.formats.statistics import By
from harken_adapters.hosts.http.wire.problems import KINDS

Schema = dict[str, Any]

_CONTROL: Final = r"\x00-\x1f\x7f-\x9f\u2028\u2029"


def _label(besides: str = "") -> Schema:
    """An id: on one line, not just spaces, and without these characters."""
    unfit = f"{besides}{_CONTROL}"
    pattern = rf"^[^{unfit}]*[^{unfit}\s][^{unfit}]*$"
    return {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH, "pattern": pattern}


#: No NUL, which not every storage could keep.
TEXT: Final[Schema] = {"type": "string", "pattern": r"^[^\x00]*$"}
LABEL: Final[Schema] = _label()
#: The same in a path: an id that is kept, and one that is only looked for.
PATH_LABEL: Final[Schema] = _label("/")
PATH_TEXT: Final[Schema] = {"type": "string", "minLength": 1, "pattern": r"^[^/\x00]+$"}
#: What a context value or a metadata value may be called.
NAME: Final[Schema] = {"minLength": 1, "maxLength": MAX_CONTEXT_NAME_LENGTH, "pattern": r"^[\p{L}\p{N}_-]+$"}
#: What can be counted, and what cannot.
RATING: Final[Schema] = {"enum": ["up", "down", None]}
STATUS: Final[Schema] = {"type": "string", "enum": [status.value for status in ModerationStatus]}
DELIVERY_STATE: Final[Schema] = {"type": "string", "enum": [state.value for state in DeliveryState]}
#: What a channel or a route may be called.
CHANNEL_NAME: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"}

_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
#: An instant in a request.
MOMENT: Final[Schema] = {"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}
_INSTANT: Final[Schema] = {"type": "string", "format": "date-time"}
_ANY_TEXT: Final[Schema] = {"type": "string"}


def reference(name: str) -> Schema:
    """Where the schema of that name stands in an OpenAPI document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _described(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def _nullable(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _or_null(name: str) -> Schema:
    return {"anyOf": [reference(name), {"type": "null"}]}


def _list(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


def _object(fields: Mapping[str, Schema], *, optional: tuple[str, ...] = (), description: str = "") -> Schema:
    """An object that has all of these fields, but for those that may be absent, and no others."""
    schema: Schema = {"type": "object", "description": description} if description else {"type": "object"}
    schema["properties"] = dict(fields)
    if required := [name for name in fields if name not in optional]:
        schema["required"] = required
    return {**schema, "additionalProperties": False}


# --- What is taken ----------------------------------------------------------------------------------------------------

_SAID: Final[Mapping[str, Schema]] = {
    "rating": _described(RATING, "Thumbs up, thumbs down, or neither."),
    "comment": {
        **TEXT,
        "maxLength": MAX_COMMENT_LENGTH,
        "description": "Why. A down needs one, unless the rules differ.",
    },
    "tags": {
        **_list({**LABEL, "maxLength": MAX_TAG_LENGTH}, maxItems=MAX_TAGS),
        "description": "The reasons picked.",
    },
    "context": reference("NewContext"),
}
_GIVEN: Final[Mapping[str, Schema]] = {
    **_SAID,
    "agent_id": _described(_nullable(LABEL), "The agent that answered, if known."),
    "message_id": _described(_nullable(LABEL), "The message that it is about, if it is about one."),
    "author": _described(_nullable(LABEL), "Who gives it, as an opaque id. With a session token, that one's author."),
}
_VOTED: Final = {name: schema for name, schema in _GIVEN.items() if name != "message_id"}
_ERASED_BY: Final = ("session_id", "author", "feedback_id")
_EVENT_TYPE: Final[Schema] = {"type": "string", "enum": [type_.value for type_ in EventType]}
_DECIDED_ON: Final = _described(
    {"type": ["integer", "null"], "minimum": 1, "maximum": 2**63 - 1},
    "The version that the moderator saw; if the feedback has another one by now, the answer is 409. Without one, a "
    "moderator who is named neither overrides nor undoes the decision of another who was.",
)
_ROUTED: Final[Mapping[str, Schema]] = {
    "name": CHANNEL_NAME,
    "channel": _described(CHANNEL_NAME, "Where it leads to."),
    "events": _list({"type": "string", "enum": [type_.value for type_ in ROUTABLE]}),
    "ratings": _list({"type": "string", "enum": [rating.word for rating in Rating]}),
    "applications": _list(LABEL),
    "agents": _described(_list(LABEL), "The agents that feedback, or an alert, is about."),
    "tags": _described(_list(LABEL), "Feedback with any of these."),
    "statuses": _described(_list(STATUS), "Without them, new and changed feedback is sent if it is approved."),
    "template": {
        **_nullable(TEXT),
        "maxLength": MAX_TEMPLATE_LENGTH,
        "description": "Makes the text of a notification; without one the channel has its own words.",
    },
}

_TAKEN: Final[Mapping[str, Schema]] = {
    "Submission": _object(_GIVEN, optional=tuple(_GIVEN), description="Feedback, as it is sent."),
    "Vote": _object(
        _VOTED,
        optional=tuple(name for name in _VOTED if name != "rating"),
        description="An author's vote. Who that is must be said here, in the query string or by the session token.",
    ),
    "Change": _object(_SAID, optional=tuple(_SAID), description="What shall be different; the rest stays as it is."),
    "Decision": _object(
        {
            "status": STATUS,
            "reason": _described(TEXT, "Why; without one, the reason that was there stays."),
            "moderator": _described(_nullable(LABEL), "Who decides; without one, the API key by its name."),
            "version": _DECIDED_ON,
        },
        optional=("reason", "moderator", "version"),
        description="What a moderator decides.",
    ),
    "Undoing": _object(
        {
            "moderator": _described(_nullable(LABEL), "Who undoes it; without one, the API key by its name."),
            "version": _DECIDED_ON,
        },
        optional=("moderator", "version"),
        description="Who undoes the last decision.",
    ),
    "Erasure": {
        **_object(
            {name: _nullable(LABEL) for name in _ERASED_BY},
            optional=_ERASED_BY,
            description="What to erase: at least one of these, and all that are there must hold.",
        ),
        "anyOf": [{"required": [name], "properties": {name: {"type": "string"}}} for name in _ERASED_BY],
    },
    "Route": _object(
        {
            **_ROUTED,
            "name": _described(CHANNEL_NAME, "If it is there, it is that of the path."),
            "ratings": _list({"enum": [*(rating.word for rating in Rating), None]}),
            "applications": _described(_list(LABEL), "If it is there, it is that of the credentials, and no other."),
        },
        optional=tuple(name for name in _ROUTED if name != "channel"),
        description="Sends what fits all filters to a channel; a filter that is empty lets everything through.",
    ),
    "SwitchingOff": _object(
        {"reason": {**TEXT, "minLength": 1, "maxLength": 1_000, "description": "Why."}},
        description="Why a channel is switched off.",
    ),
    "Replaying": _object(
        {
            "state": _described(DELIVERY_STATE, "How far it has come; dead, if nothing is said."),
            "channel": _described(_nullable(CHANNEL_NAME), "Only what is on its way there."),
            "route": _described(_nullable(CHANNEL_NAME), "Only what this route takes, to its channel."),
            "since": _described(_nullable(MOMENT), "Only what happened then or later; UTC without a zone."),
            "until": _described(_nullable(MOMENT), "Only what happened before then."),
        },
        optional=("state", "channel", "route", "since", "until"),
        description="What to send again: all that is given must hold.",
    ),
    "MetadataChanges": {
        "type": "object",
        "description": "Values by name. Nested 20 deep at most, 10,000 values at most. Whole numbers have 64 bits.",
        "propertyNames": NAME,
        "additionalProperties": reference("MetadataValue"),
    },
    "MetadataValue": {
        "type": ["string", "number", "boolean", "null", "object", "array"],
        "pattern": TEXT["pattern"],
        "items": reference("MetadataValue"),
        "propertyNames": NAME,
        "additionalProperties": reference("MetadataValue"),
    },
    "NewContext": {
        "type": "object",
        "description": "What else is known, such as user_tier or agent_version. Whole numbers have 64 bits.",
        "maxProperties": MAX_CONTEXT_KEYS,
        "propertyNames": NAME,
        "additionalProperties": {
            "type": ["string", "number", "boolean", "null"],
            "pattern": TEXT["pattern"],
            "maxLength": MAX_CONTEXT_VALUE_LENGTH,
        },
    },
}


# --- What is given ----------------------------------------------------------------------------------------------------

_KEPT: Final[Mapping[str, Schema]] = {
    "rating": RATING,
    "comment": _ANY_TEXT,
    "tags": _list(_ANY_TEXT),
    "context": reference("Context"),
    "sentiment": _or_null("Sentiment"),
    "reply": _described({"type": ["string", "null"]}, "What was answered to its author, if anything was."),
    "version": {"type": "integer", "minimum": 1},
}
_FIGURES: Final[Mapping[str, Schema]] = {
    "total_feedbacks": _COUNT,
    "positive": _COUNT,
    "negative": _COUNT,
    "neutral": _COUNT,
    "satisfaction_score": {
        "type": "number",
        "minimum": 0,
        "maximum": 100,
        "description": "Thumbs up among all thumbs, in percent; 0 where there are none.",
    },
    "quality_score": {
        "type": "number",
        "minimum": 0,
        "maximum": 100,
        "description": "The mean of 100 for an up, 50 for a neutral and 0 for a down.",
    },
    "average_comment_length": {"type": "number", "minimum": 0, "description": "In characters."},
    "comments": _described(_COUNT, "How many have a comment."),
    "by_hour": _described(_list(_COUNT, minItems=24, maxItems=24), "How many by UTC hour of day."),
    "interval": reference("Interval"),
    "average_polarity": {"type": "number", "minimum": -1, "maximum": 1, "description": "If any sentiment is known."},
    "average_subjectivity": {"type": "number", "minimum": 0, "maximum": 1, "description": "If any sentiment is known."},
}
_IF_FELT: Final = ("average_polarity", "average_subjectivity")
_PERIODS: Final = [by.value for by in (By.HOUR, By.DAY, By.WEEK)]
_WEEKDAYS: Final = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def _figures(**of: Schema) -> Schema:
    """Figures, and what they are of."""
    return _object({**of, **_FIGURES}, optional=_IF_FELT)


def _trend(by: list[str], description: str, *, points: int | None = None, **of: Schema) -> Schema:
    """A trend by one of these words; as many points as there is feedback for, if no number is given."""
    limits = {} if points is None else {"minItems": points, "maxItems": points}
    fields = {"by": {"enum": by}, "zone": _ANY_TEXT, "points": _list(_figures(**of), **limits)}
    return _object(fields, description=description)


_CURSOR_OR_NULL: Final = _described({"type": ["string", "null"]}, "What to send as after for the next page, if any.")

_ANSWERED: Final[Mapping[str, Schema]] = {
    "Receipt": _object(
        {
            "status": {"const": "success"},
            "message": _ANY_TEXT,
            "feedback_id": _ANY_TEXT,
            "reply": _described(_ANY_TEXT, "What to say to who gave it, if there is something to say."),
            "moderation": _described(
                {"const": "pending"}, "If it is held: it counts once a moderator has approved it."
            ),
        },
        optional=("reply", "moderation"),
        description="The feedback is durable.",
    ),
    "Context": {
        "type": "object",
        "propertyNames": NAME,
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    },
    "Sentiment": _object(
        {
            "polarity": {"type": "number", "minimum": -1, "maximum": 1},
            "subjectivity": {"type": "number", "minimum": 0, "maximum": 1},
        },
        description="How the comment sounds.",
    ),
    "Moderation": _object(
        {
            "reason": _ANY_TEXT,
            "moderator": {"type": ["string", "null"]},
            "decided_at": _nullable(_INSTANT),
            "previous": {"enum": [*STATUS["enum"], None]},
        },
        description="Why it has its status, who decided it, and what it was before.",
    ),
    "Revision": _object({**_KEPT, "replaced_at": _INSTANT}, description="What feedback said before it was changed."),
    "Feedback": _object(
        {
            "id": _ANY_TEXT,
            "created_at": _INSTANT,
            "session_id": _ANY_TEXT,
            "message_id": {"type": ["string", "null"]},
            "agent_id": {"type": ["string", "null"]},
            "author": {"type": ["string", "null"]},
            **_KEPT,
            "status": STATUS,
            "moderation": _or_null("Moderation"),
            "updated_at": _INSTANT,
            "withdrawn_at": _nullable(_INSTANT),
            "revisions": _described(
                _list(reference("Revision")),
                "What it said before, oldest first: the first version, and the latest 99 of the others.",
            ),
            "vote": _described({"type": "boolean"}, "Whether it is its author's one vote on that message."),
        },
        description="Feedback, as it is kept.",
    ),
    "SessionFeedback": _object(
        {
            "session_id": _ANY_TEXT,
            "total_feedbacks": _described(_COUNT, "How many there are, on all pages."),
            "feedbacks": _list(reference("Feedback")),
            "next": _CURSOR_OR_NULL,
        }
    ),
    "SessionStats": _object(
        {
            "session_id": _ANY_TEXT,
            **{
                name: _FIGURES[name]
                for name in ("total_feedbacks", "positive", "negative", "neutral", "satisfaction_score")
            },
        }
    ),
    "Page": _object({"feedbacks": _list(reference("Feedback")), "next": _CURSOR_OR_NULL}),
    "CastVote": _object(
        {
            "feedback_id": _ANY_TEXT,
            "message_id": {"type": ["string", "null"]},
            **{name: _KEPT[name] for name in ("rating", "comment", "tags", "reply", "version")},
            "updated_at": _INSTANT,
        },
        description="A vote, as who gave it needs to see it.",
    ),
    "Votes": _object({"session_id": _ANY_TEXT, "author": _ANY_TEXT, "votes": _list(reference("CastVote"))}),
    "Metadata": _object(
        {"session_id": _ANY_TEXT, "metadata": {"type": "object", "propertyNames": NAME, "description": "By name."}}
    ),
    "Removed": _object({"session_id": _ANY_TEXT, "removed": _described(_COUNT, "How many names there were.")}),
    "Erased": _object(
        {
            "erased": _described(_COUNT, "How much feedback was erased."),
            "removed": _object(
                {
                    "feedback": _described(_COUNT, "Feedback, with its revisions."),
                    "messages": _described(_COUNT, "Messages of conversations."),
                    "agents": _described(_COUNT, "What agents knew, one for each agent and session."),
                    "metadata": _described(_COUNT, "Names in the metadata of sessions."),
                    "alerts": _described(_COUNT, "Alerts that were closed and emptied."),
                    "deliveries": _described(_COUNT, "Deliveries about the feedback, in any state."),
                },
                description="How much was removed, by kind.",
            ),
            "kept_sessions": _described(
                _list(_ANY_TEXT), "Sessions of the author of which the rest was kept, as others gave feedback in them."
            ),
        }
    ),
    "Interval": _object(
        {"low": {"type": "number"}, "high": {"type": "number"}},
        description="Where the true figure lies with 95% confidence, in percent or percentage points.",
    ),
    "Figures": _figures(),
    "Groups": _object(
        {
            "by": _described(_ANY_TEXT, "What they are grouped by."),
            "groups": _list(
                _figures(key=_described({"type": ["string", "null"]}, "What the group is called; null if it has none."))
            ),
        },
        description="Figures group by group, the largest first.",
    ),
    "FiguresOrGroups": {"oneOf": [reference("Figures"), reference("Groups")]},
    "Trend": {"oneOf": [reference("TrendOverTime"), reference("TrendByHour"), reference("TrendByWeekday")]},
    "TrendOverTime": _trend(
        _PERIODS, "By period, oldest first, without gaps.", start=_INSTANT, end=_described(_INSTANT, "Not included.")
    ),
    "TrendByHour": _trend(
        [By.HOUR_OF_DAY.value],
        "By local hour of day.",
        points=24,
        hour={"type": "integer", "minimum": 0, "maximum": 23},
    ),
    "TrendByWeekday": _trend(
        [By.WEEKDAY.value], "By local day of the week, Monday first.", points=7, weekday={"enum": _WEEKDAYS}
    ),
    "Themes": _object(
        {"themes": _list(_object({"keyword": _ANY_TEXT, "mentions": {"type": "integer", "minimum": 1}}))},
        description="Keywords that downs mention, the most mentioned first.",
    ),
    "Comparison": _object(
        {
            "before": reference("Figures"),
            "after": reference("Figures"),
            "satisfaction_change": {"type": "number", "description": "In percentage points."},
            "quality_change": {"type": "number"},
            "total_change": {"type": "integer"},
            "interval": reference("Interval"),
            "significant": _described({"type": "boolean"}, "Whether satisfaction changed by more than chance."),
        }
    ),
    "Alert": _object(
        {
            "id": _ANY_TEXT,
            "application": _ANY_TEXT,
            "rule": _described(_ANY_TEXT, "The name of the rule that found it."),
            "kind": {"enum": [kind.value for kind in AlertKind]},
            "subject": _object(
                {"by": _ANY_TEXT, "value": _ANY_TEXT}, description="Whom or what it is about, such as an agent."
            ),
            "message": _described(_ANY_TEXT, "The pattern in a sentence."),
            "figures": {
                "type": "object",
                "additionalProperties": {"type": "integer"},
                "description": "What was counted.",
            },
            "feedback_ids": _described(_list(_ANY_TEXT), "The feedback that makes the pattern, where a few do."),
            "began_at": _INSTANT,
            "raised_at": _INSTANT,
            "resolved_at": _described(_nullable(_INSTANT), "When it ended; null while it stands."),
        },
        description="A pattern that was found.",
    ),
    "Alerts": _object({"alerts": _list(reference("Alert")), "next": _CURSOR_OR_NULL}),
    "Channel": _object(
        {
            "name": _ANY_TEXT,
            "on": _described({"type": "boolean"}, "Whether anything is sent there."),
            "failing_since": _described(_nullable(_INSTANT), "Null if the last that was sent arrived."),
            "off_since": _nullable(_INSTANT),
            "reason": _described(_ANY_TEXT, "Why it was switched off."),
        },
        description="How a channel fares.",
    ),
    "Channels": _object({"channels": _list(reference("Channel"))}),
    "KeptRoute": _object(_ROUTED, description="A route, with all of its filters."),
    "Routes": _object(
        {
            "routes": _described(_list(reference("KeptRoute")), "The application's own, by name."),
            "shared": _described(
                _list(reference("KeptRoute")),
                "Those that cannot be changed here: the settings', and what is for several applications.",
            ),
        }
    ),
    "Delivery": _object(
        {
            "id": _ANY_TEXT,
            "state": DELIVERY_STATE,
            "channel": _ANY_TEXT,
            "event": _object(
                {
                    "id": _ANY_TEXT,
                    "type": _EVENT_TYPE,
                    "application": _ANY_TEXT,
                    "subject_id": _described(_ANY_TEXT, "The feedback, or the alert, that it is about."),
                    "version": {"type": "integer", "minimum": 1},
                    "occurred_at": _INSTANT,
                }
            ),
            "attempts": _described(_COUNT, "How often it was tried."),
            "tries": _described(_COUNT, "How often since it was last sent again by hand."),
            "due_at": _described(_INSTANT, "When it is tried next, or was."),
            "leased_until": _described(_nullable(_INSTANT), "Until when somebody is sending it."),
            "error": _described(_ANY_TEXT, "Why it did not arrive the last time."),
        },
        description="One event on its way to one channel.",
    ),
    "Deliveries": _object({"deliveries": _list(reference("Delivery")), "next": _CURSOR_OR_NULL}),
    "Replayed": _object({"replayed": _described(_COUNT, "How many deliveries are sent again.")}),
    "Current": _object(
        {
            "version": _described({"type": "integer", "minimum": 1}, "What to make the next decision on."),
            "status": STATUS,
            "moderator": _described({"type": ["string", "null"]}, "Who took the last decision, if they gave a name."),
            "decided_at": _described(_nullable(_INSTANT), "When that was; null if nobody has decided yet."),
        },
        description="Feedback as it is by now, where a decision was made on an earlier version.",
    ),
    "Problem": _object(
        {
            "type": {"type": "string", "enum": [f"urn:harken:problem:{kind}" for kind in KINDS]},
            "title": {"type": "string", "enum": [title for _, title in KINDS.values()]},
            "status": {"type": "integer", "enum": sorted({status for status, _ in KINDS.values()})},
            "detail": _described(_ANY_TEXT, "What is wrong here, what was expected and what to do."),
            "instance": _described(_ANY_TEXT, "The path that was asked for."),
            "violations": _described(
                _list(_object({"field": _ANY_TEXT, "code": _ANY_TEXT, "message": _ANY_TEXT}), minItems=1),
                "What is wrong with which field, where that can be said: all of it at once.",
            ),
            "current": reference("Current"),
        },
        optional=("violations", "current"),
        description="Problem details (RFC 9457).",
    ),
}

#: All of them by name.
SCHEMAS: Final[Mapping[str, Schema]] = {**_TAKEN, **_ANSWERED}


# --- Examples ---------------------------------------------------------------------------------------------------------

_ID: Final = "0199c2a4-7d1e-7c3b-8f10-5d2f6a9b1c33"
_AT: Final = "2026-01-31T12:00:00.000000Z"
_FEEDBACK: Final = {
    "id": _ID,
    "created_at": _AT,
    "session_id": "user-123",
    "message_id": None,
    "agent_id": "travel-desk",
    "author": "user-7",
    "rating": "down",
    "comment": "The baggage fee was wrong",
    "tags": ["wrong answer"],
    "context": {"user_tier": "premium"},
    "sentiment": {"polarity": -0.4767, "subjectivity": 0.383},
    "status": "approved",
    "moderation": None,
    "reply": None,
    "version": 1,
    "updated_at": _AT,
    "withdrawn_at": None,
    "revisions": [],
    "vote": False,
}
_ALERT: Final = {
    "id": "alert_5f3e0a1c9b7d4e6f8a2b4c6d8e0f1a2b",
    "application": "default",
    "rule": "three-downs",
    "kind": "streak",
    "subject": {"by": "agent", "value": "travel-desk"},
    "message": "3 thumbs-down ratings in a row for agent travel-desk",
    "figures": {"length": 3},
    "feedback_ids": [_ID],
    "began_at": _AT,
    "raised_at": _AT,
    "resolved_at": None,
}
_CHANNEL: Final = {"name": "support", "on": True, "failing_since": None, "off_since": None, "reason": ""}
_ROUTE: Final = {
    "name": "downs",
    "channel": "support",
    "events": ["feedback.created"],
    "ratings": ["down"],
    "applications": ["default"],
    "agents": [],
    "tags": [],
    "statuses": [],
    "template": None,
}
_DELIVERY: Final = {
    "id": "9d1c3b5a7f8e6d4c2b0a19283746556a:support",
    "state": "dead",
    "channel": "support",
    "event": {
        "id": "9d1c3b5a7f8e6d4c2b0a19283746556a",
        "type": "feedback.created",
        "application": "default",
        "subject_id": _ID,
        "version": 1,
        "occurred_at": _AT,
    },
    "attempts": 10,
    "tries": 10,
    "due_at": _AT,
    "leased_until": None,
    "error": "The receiver responded with 503",
}
_BY_HOUR: Final = [0] * 12 + [4] + [0] * 11
_FIGURES_EXAMPLE: Final = {
    "total_feedbacks": 4,
    "positive": 3,
    "negative": 1,
    "neutral": 0,
    "satisfaction_score": 75.0,
    "quality_score": 75.0,
    "average_comment_length": 6.2,
    "comments": 1,
    "by_hour": _BY_HOUR,
    "interval": {"low": 30.1, "high": 95.4},
    "average_polarity": -0.477,
    "average_subjectivity": 0.383,
}
_WORSE: Final = {
    "total_feedbacks": 2,
    "positive": 1,
    "negative": 1,
    "neutral": 0,
    "satisfaction_score": 50.0,
    "quality_score": 50.0,
    "average_comment_length": 2.5,
    "comments": 1,
    "by_hour": [0] * 12 + [2] + [0] * 11,
    "interval": {"low": 9.5, "high": 90.5},
}

#: What is given, for example, where an operation has no better one.
EXAMPLES: Final[Mapping[str, Any]] = {
    "Receipt": {
        "status": "success",
        "message": "Feedback recorded successfully",
        "feedback_id": _ID,
        "reply": "Sorry about that. Which flight is it about?",
    },
    "Feedback": _FEEDBACK,
    "SessionFeedback": {
        "session_id": "user-123",
        "total_feedbacks": 1,
        "feedbacks": [_FEEDBACK],
        "next": None,
    },
    "Page": {
        "feedbacks": [_FEEDBACK],
        "next": "MTc2OTg2MDgwMDAwMDAwMDowMTk5YzJhNC03ZDFlLTdjM2ItOGYxMC01ZDJmNmE5YjFjMzM",
    },
    "Votes": {
        "session_id": "user-123",
        "author": "user-7",
        "votes": [
            {
                "feedback_id": _ID,
                "message_id": "m-4",
                "rating": "up",
                "comment": "",
                "tags": [],
                "reply": None,
                "version": 1,
                "updated_at": _AT,
            }
        ],
    },
    "Removed": {"session_id": "user-123", "removed": 1},
    "FiguresOrGroups": _FIGURES_EXAMPLE,
    "Trend": {
        "by": "day",
        "zone": "Europe/Berlin",
        "points": [
            {"start": "2026-01-31T00:00:00+01:00", "end": "2026-02-01T00:00:00+01:00", **_FIGURES_EXAMPLE},
        ],
    },
    "Alert": _ALERT,
    "Alerts": {"alerts": [_ALERT], "next": None},
    "Channel": _CHANNEL,
    "Channels": {"channels": [_CHANNEL]},
    "KeptRoute": _ROUTE,
    "Routes": {"routes": [_ROUTE], "shared": []},
    "Delivery": _DELIVERY,
    "Deliveries": {"deliveries": [_DELIVERY], "next": None},
    "Themes": {"themes": [{"keyword": "slow", "mentions": 7}, {"keyword": "wrong", "mentions": 2}]},
    "Comparison": {
        "before": _WORSE,
        "after": _FIGURES_EXAMPLE,
        "satisfaction_change": 25.0,
        "quality_change": 25.0,
        "total_change": 2,
        "interval": {"low": -35.5, "high": 70.4},
        "significant": False,
    },
}
