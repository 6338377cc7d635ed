"""The JSON Schemas (draft 2020-12) of request and response bodies, by name, with examples.

Request schemas contain all constraints that do not depend on the operator's rules. Response schemas are closed:
responses have no other fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harken import Finding, ModerationStatus, Scope, Verdict
from harken.domain.alerts.patterns import AlertKind
from harken.domain.events import AttemptOutcome, DeliveryState, EventType
from harken.domain.feedback import Rating
from harken.domain.insight.ranking import MOST_RANKED
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
from harken.services.feedback.moderation import MAX_DECISIONS
from harken.services.keys import MAX_AGENTS
from harken.services.notifications.channels import MAX_REASON
from harken.services.notifications.deliveries import MAX_IDS
from harken.services.spam import RESEMBLES_REJECTED
from harken_adapters.formats.moderation import OUTCOMES
from harken_adapters.formats.statistics import By
from harken_adapters.hosts.http.wire.problems import KINDS

Schema = dict[str, Any]

_CONTROL: Final = r"\x00-\x1f\x7f-\x9f\u2028\u2029"


def _label(forbidden: str = "") -> Schema:
    """An id: one line, not only white space, without control characters and the given characters."""
    excluded = f"{forbidden}{_CONTROL}"
    pattern = rf"^[^{excluded}]*[^{excluded}\s][^{excluded}]*$"
    return {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH, "pattern": pattern}


#: Without NUL, which not every storage can store.
TEXT: Final[Schema] = {"type": "string", "pattern": r"^[^\x00]*$"}
LABEL: Final[Schema] = _label()
#: An id in a path: one that is stored, and one that is only looked up.
PATH_LABEL: Final[Schema] = _label("/")
PATH_TEXT: Final[Schema] = {"type": "string", "minLength": 1, "pattern": r"^[^/\x00]+$"}
#: The name of a context value, or a metadata key in a request.
NAME: Final[Schema] = {"minLength": 1, "maxLength": MAX_CONTEXT_NAME_LENGTH, "pattern": r"^[\p{L}\p{N}_-]+$"}
RATING: Final[Schema] = {"enum": ["up", "down", None]}
STATUS: Final[Schema] = {"type": "string", "enum": [status.value for status in ModerationStatus]}
DELIVERY_STATE: Final[Schema] = {"type": "string", "enum": [state.value for state in DeliveryState]}
#: The name of a channel or route.
CHANNEL_NAME: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"}

_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_SECONDS: Final[Schema] = {"type": "number", "minimum": 0}
_DELIVERY_COUNTS: Final[Mapping[str, Schema]] = {state.value: _COUNT for state in DeliveryState}
_LIKELIHOOD: Final[Schema] = {"type": "number", "minimum": 0, "maximum": 1}
#: An instant in a request.
MOMENT: Final[Schema] = {"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}
_INSTANT: Final[Schema] = {"type": "string", "format": "date-time"}
_ANY_TEXT: Final[Schema] = {"type": "string"}


def reference(name: str) -> Schema:
    """A reference to a schema of the OpenAPI document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _describe(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def _nullable(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _or_null(name: str) -> Schema:
    return {"anyOf": [reference(name), {"type": "null"}]}


def _by_id(values: Schema, description: str) -> Schema:
    return {"type": "object", "additionalProperties": values, "description": description}


def _list(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


def _object(fields: Mapping[str, Schema], *, optional: tuple[str, ...] = (), description: str = "") -> Schema:
    """A closed object schema. All fields except ``optional`` are required."""
    schema: Schema = {"type": "object", "description": description} if description else {"type": "object"}
    schema["properties"] = dict(fields)
    if required := [name for name in fields if name not in optional]:
        schema["required"] = required
    return {**schema, "additionalProperties": False}


# --- Requests ---------------------------------------------------------------------------------------------------------

_CONTENT_FIELDS: Final[Mapping[str, Schema]] = {
    "rating": _describe(RATING, "Thumbs up, thumbs down, or null for neutral."),
    "comment": {
        **TEXT,
        "maxLength": MAX_COMMENT_LENGTH,
        "description": "The reason. A thumbs-down requires one, unless the operator's rules differ.",
    },
    "tags": {
        **_list({**LABEL, "maxLength": MAX_TAG_LENGTH}, maxItems=MAX_TAGS),
        "description": "The selected reasons.",
    },
    "context": reference("NewContext"),
}
_SUBMISSION_FIELDS: Final[Mapping[str, Schema]] = {
    **_CONTENT_FIELDS,
    "agent_id": _describe(_nullable(LABEL), "The agent that answered, if known."),
    "message_id": _describe(_nullable(LABEL), "The message that the feedback is about, if it is about one."),
    "author": _describe(_nullable(LABEL), "An opaque id of the author. With a session token, the author of the token."),
}
_VOTE_FIELDS: Final = {name: schema for name, schema in _SUBMISSION_FIELDS.items() if name != "message_id"}
_SCOPE: Final[Schema] = {"type": "string", "enum": [scope.value for scope in Scope]}
_NAME_OF_KEY: Final[Schema] = {**LABEL, "minLength": 0, "pattern": rf"^$|{LABEL['pattern']}"}
_KEY_FIELDS: Final[Mapping[str, Schema]] = {
    "id": _ANY_TEXT,
    "application": _ANY_TEXT,
    "scopes": _list(_SCOPE),
    "agents": {
        **_nullable(_list(_ANY_TEXT)),
        "description": "The agents that the key is limited to; null for all agents.",
    },
    "name": _ANY_TEXT,
    "created_at": _INSTANT,
    "revoked_at": _describe(_nullable(_INSTANT), "When it was revoked; null while it is valid."),
    "last_used_at": _describe(
        _nullable(_INSTANT), "When it was last used, exact to an hour; null if it was not used, or that is not known."
    ),
}
_ERASURE_FIELDS: Final = ("session_id", "author", "feedback_id")
EVENT_TYPE: Final[Schema] = {"type": "string", "enum": [type_.value for type_ in EventType]}
_EXPECTED_VERSION: Final = _describe(
    {"type": ["integer", "null"], "minimum": 1, "maximum": 2**63 - 1},
    "The version that the moderator saw. If the feedback has changed since, the response is 409. Without a version, a "
    "named moderator neither overrides nor undoes the decision of another named moderator.",
)
_SEEN_ENTRY: Final[Mapping[str, Schema]] = {
    "feedback_id": _describe(_ANY_TEXT, "The id of the feedback."),
    "version": _describe(
        {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}, "The version that the moderator saw."
    ),
}
_SEEN_ENTRIES: Final = _list(_object(_SEEN_ENTRY), minItems=1, maxItems=MAX_DECISIONS)
_ROUTE_FIELDS: Final[Mapping[str, Schema]] = {
    "name": CHANNEL_NAME,
    "channel": _describe(CHANNEL_NAME, "The channel that events are sent to."),
    "events": _describe(
        _list({"type": "string", "enum": [type_.value for type_ in ROUTABLE]}),
        "If empty, all but `session.metadata_updated`, which excludes ratings, agents, tags and statuses.",
    ),
    "ratings": _list({"type": "string", "enum": [rating.word for rating in Rating]}),
    "applications": _list(LABEL),
    "agents": _describe(_list(LABEL), "Only feedback and alerts about these agents."),
    "tags": _describe(_list(LABEL), "Only feedback with at least one of these tags."),
    "statuses": _describe(
        _list(STATUS), "The moderation statuses. If empty, new and changed feedback is sent if it is approved."
    ),
    "template": {
        **_nullable(TEXT),
        "maxLength": MAX_TEMPLATE_LENGTH,
        "description": "The template of the notification text; by default, the channel has its own text.",
    },
}

_REQUESTS: Final[Mapping[str, Schema]] = {
    "Submission": _object(_SUBMISSION_FIELDS, optional=tuple(_SUBMISSION_FIELDS), description="Feedback to submit."),
    "Vote": _object(
        _VOTE_FIELDS,
        optional=tuple(name for name in _VOTE_FIELDS if name != "rating"),
        description="A vote. The author must be set here, in the query string or by the session token.",
    ),
    "Change": _object(
        _CONTENT_FIELDS,
        optional=tuple(_CONTENT_FIELDS),
        description="The fields to change; omitted fields are unchanged.",
    ),
    "Decision": _object(
        {
            "status": STATUS,
            "reason": _describe(TEXT, "The reason for the decision."),
            "moderator": _describe(_nullable(LABEL), "The moderator; by default, the name of the API key."),
            "version": _EXPECTED_VERSION,
        },
        optional=("reason", "moderator", "version"),
        description="A moderation decision.",
    ),
    "DecisionList": _object(
        {
            "decisions": _list(
                _object(
                    {
                        **_SEEN_ENTRY,
                        "status": STATUS,
                        "reason": _describe(TEXT, "The reason for the decision."),
                    },
                    optional=("reason",),
                ),
                minItems=1,
                maxItems=MAX_DECISIONS,
            ),
            "moderator": _describe(_nullable(LABEL), "The moderator; by default, the name of the API key."),
        },
        optional=("moderator",),
        description="Decisions on several entries, each once.",
    ),
    "UndoList": _object(
        {
            "decisions": _SEEN_ENTRIES,
            "moderator": _describe(_nullable(LABEL), "The moderator; by default, the name of the API key."),
        },
        optional=("moderator",),
        description="The entries on which to undo the last decision, each once.",
    ),
    "PreviewList": _object(
        {"entries": _SEEN_ENTRIES, "status": STATUS},
        description="The entries to decide on, each once, and the status that they would get.",
    ),
    "Undo": _object(
        {
            "moderator": _describe(_nullable(LABEL), "The moderator; by default, the name of the API key."),
            "version": _EXPECTED_VERSION,
        },
        optional=("moderator", "version"),
        description="The parameters for undoing the last decision.",
    ),
    "Erasure": {
        **_object(
            {name: _nullable(LABEL) for name in _ERASURE_FIELDS},
            optional=_ERASURE_FIELDS,
            description="The feedback to erase: one or more conditions, combined with AND.",
        ),
        "anyOf": [{"required": [name], "properties": {name: {"type": "string"}}} for name in _ERASURE_FIELDS],
    },
    "Route": _object(
        {
            **_ROUTE_FIELDS,
            "name": _describe(CHANNEL_NAME, "If set, it must be the name in the path."),
            "ratings": _list({"enum": [*(rating.word for rating in Rating), None]}),
            "applications": _describe(_list(LABEL), "If set, it must be only the application of the credentials."),
        },
        optional=tuple(name for name in _ROUTE_FIELDS if name != "channel"),
        description="Sends events that match all filters to a channel; an empty filter matches everything.",
    ),
    "NewKey": _object(
        {
            "scopes": _describe(_list(_SCOPE, minItems=1), "What the key permits; `admin` includes the others."),
            "name": _describe(_NAME_OF_KEY, "A label for people, such as the program that uses the key."),
            "agents": {
                **_nullable(_list(LABEL, minItems=1, maxItems=MAX_AGENTS)),
                "description": "The agents that the key is limited to; null for all agents that the caller may use.",
            },
        },
        optional=("name", "agents"),
        description="An API key to create.",
    ),
    "SwitchOff": _object(
        {
            "reason": {
                "type": "string",
                "maxLength": MAX_REASON,
                "pattern": r"^[^\x00]*[^\x00\s][^\x00]*$",
                "description": "The reason.",
            }
        },
        description="The reason for switching off a channel.",
    ),
    "Replay": _object(
        {
            "state": _describe(DELIVERY_STATE, "The state of the deliveries; dead by default."),
            "channel": _describe(_nullable(CHANNEL_NAME), "Only deliveries to this channel."),
            "type": _describe(_nullable(EVENT_TYPE), "Only deliveries of events of this type."),
            "feedback_id": _describe(_nullable(TEXT), "Only deliveries about this feedback."),
            "alert_id": _describe(_nullable(TEXT), "Only deliveries about this alert."),
            "cause": _describe(_nullable(TEXT), "Only dead deliveries with this cause."),
            "route": _describe(
                _nullable(CHANNEL_NAME), "Only deliveries of events that this route matches, to its channel."
            ),
            "since": _describe(_nullable(MOMENT), "Only events from this time on; UTC by default."),
            "until": _describe(_nullable(MOMENT), "Only events before this time."),
            "as_of": _describe(_nullable(MOMENT), "No deliveries that died or arrived later."),
            "at_most": _describe(_nullable(_COUNT), "The maximum number of deliveries."),
            "ids": _describe(
                {"type": ["array", "null"], "items": {"type": "string"}, "maxItems": MAX_IDS},
                "The deliveries with these ids, in any state; without other conditions.",
            ),
        },
        optional=(
            "state",
            "channel",
            "type",
            "feedback_id",
            "alert_id",
            "cause",
            "route",
            "since",
            "until",
            "as_of",
            "at_most",
            "ids",
        ),
        description="The deliveries to replay: conditions, combined with AND, or ids.",
    ),
    "MetadataChanges": {
        "type": "object",
        "description": "Values by key, at most 10,000, nested at most 20 levels deep. Integers have 64 bits.",
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
        "description": "Further data, such as user_tier or agent_version. Integers have 64 bits.",
        "maxProperties": MAX_CONTEXT_KEYS,
        "propertyNames": NAME,
        "additionalProperties": {
            "type": ["string", "number", "boolean", "null"],
            "pattern": TEXT["pattern"],
            "maxLength": MAX_CONTEXT_VALUE_LENGTH,
        },
    },
}


# --- Responses --------------------------------------------------------------------------------------------------------

_VERSION_FIELDS: Final[Mapping[str, Schema]] = {
    "rating": RATING,
    "comment": _ANY_TEXT,
    "tags": _list(_ANY_TEXT),
    "context": reference("Context"),
    "sentiment": _or_null("Sentiment"),
    "reply": _describe({"type": ["string", "null"]}, "The reply to the author, if any."),
    "version": {"type": "integer", "minimum": 1},
}
#: Besides the ratings, what the statistics of two selections are added up by.
_SUMS: Final[Mapping[str, Schema]] = {
    "comments": _describe(_COUNT, "The number of entries with a comment."),
    "comment_characters": _describe(_COUNT, "The total length of the comments, in characters."),
    "sentiments": _describe(_COUNT, "The number of entries with a sentiment."),
    "polarity_millionths": _describe({"type": "integer"}, "The sum of their polarities, in millionths."),
    "subjectivity_millionths": _describe(_COUNT, "The sum of their subjectivities, in millionths."),
    "by_hour": _describe(_list(_COUNT, minItems=24, maxItems=24), "The number of entries by UTC hour of day."),
}
_PERCENTAGE: Final[Schema] = {"type": "number", "minimum": 0, "maximum": 100}
_RATINGS: Final[Mapping[str, Schema]] = {
    "total_feedbacks": _COUNT,
    "positive": _COUNT,
    "negative": _COUNT,
    "neutral": _COUNT,
    "satisfaction_score": _describe(
        _nullable(_PERCENTAGE), "The percentage of thumbs-up among thumbs-up and thumbs-down; null if there are none."
    ),
}
_DESIGN_EFFECT: Final[Schema] = {
    "type": "number",
    "minimum": 1,
    "description": "How many ratings are worth one independent rating, as authors rated several times.",
}
_STATISTICS: Final[Mapping[str, Schema]] = {
    **_RATINGS,
    "quality_score": _describe(
        _nullable(_PERCENTAGE),
        "The mean of 100 for each thumbs-up, 50 for neutral and 0 for each thumbs-down; null without feedback.",
    ),
    "average_comment_length": _describe(
        _nullable({"type": "number", "minimum": 0}), "In characters; null without feedback."
    ),
    **_SUMS,
    "interval": _describe(
        reference("Interval"), "Of `satisfaction_score`. It takes into account that authors rated several times."
    ),
    "design_effect": _DESIGN_EFFECT,
    "average_polarity": {
        "type": "number",
        "minimum": -1,
        "maximum": 1,
        "description": "Present if sentiment analysis is available.",
    },
    "average_subjectivity": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "description": "Present if sentiment analysis is available.",
    },
}
_SENTIMENT_FIELDS: Final = ("average_polarity", "average_subjectivity")
_PERIODS: Final = [by.value for by in By if not by.recurs]
_WEEKDAYS: Final = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def _statistics(**of: Schema) -> Schema:
    """Statistics, with the fields that identify their group or point."""
    return _object({**of, **_STATISTICS}, optional=_SENTIMENT_FIELDS)


def _trend(by: list[str], description: str, *, points: int | None = None, **of: Schema) -> Schema:
    """A trend by one of the given periods, with a fixed number of points if ``points`` is set."""
    limits = {} if points is None else {"minItems": points, "maxItems": points}
    fields = {"by": {"enum": by}, "zone": _ANY_TEXT, "points": _list(_statistics(**of), **limits)}
    return _object(fields, description=description)


_VERDICT: Final[Schema] = _describe(
    {"enum": [verdict.value for verdict in Verdict]},
    "Whether it is more than chance. It holds at any number of looks while the selections only grow.",
)
_NEEDED: Final[Schema] = _describe(
    {"type": ["integer", "null"], "minimum": 0},
    "About how many more thumbs would decide it, if the shares stay the same; null if no number would.",
)
_ALPHA: Final = _describe(
    {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "How often the verdict may be wrong; lower for each of many.",
)
_COMPARISON: Final[Mapping[str, Schema]] = {
    "before": reference("Statistics"),
    "after": reference("Statistics"),
    "satisfaction_change": {"type": "number", "description": "In percentage points."},
    "quality_change": {"type": "number"},
    "total_change": {"type": "integer"},
    "interval": _describe(
        reference("Interval"), "Of the change, for a single look: too narrow if the comparison is read repeatedly."
    ),
    "significant": _describe({"type": "boolean"}, "Whether the verdict is `better` or `worse`."),
    "verdict": _VERDICT,
    "sentence": _describe(_ANY_TEXT, "The verdict in words."),
    "needed": _NEEDED,
    "alpha": _ALPHA,
    "always_valid_interval": _describe(
        reference("Interval"),
        "Of the change, for any number of looks at selections that only grow; it excludes zero if there is a verdict.",
    ),
    "p_value": _describe(
        {"type": "number", "minimum": 0, "maximum": 1},
        "How often chance alone gives a change as large, for a single look at this comparison alone.",
    ),
    "p_value_is_exact": _describe(
        {"type": "boolean"},
        "Whether it is the exact mid-p value: below 200 thumbs without a design effect. Else it is that of the normal "
        "approximation, which takes repeated authors into account.",
    ),
}
_FACET: Final = _list(_object({"value": _ANY_TEXT, "count": _COUNT}))
_MIX: Final = _object(
    {
        "new": _describe(_list({"type": ["string", "null"]}), "The agents that hardly any feedback before is about."),
        "gone": _describe(_list({"type": ["string", "null"]}), "The agents that hardly any feedback after is about."),
        "without": _object(_COMPARISON, description="The comparison without these agents."),
    },
    description="The agents that only one selection has. Null if there are none, or if the selections differ by agent.",
)
_CURSOR_OR_NULL: Final = _describe(
    {"type": ["string", "null"]}, "The value of `after` for the next page; null on the last page."
)
_PAGE_FIELDS: Final[Mapping[str, Schema]] = {"feedbacks": _list(reference("Feedback")), "next": _CURSOR_OR_NULL}

_VOTE_OR_FEEDBACK: Final = _describe(
    {"anyOf": [reference("CastVote"), reference("Feedback")]}, "Feedback with `Prefer: return=representation` only."
)

_RESPONSES: Final[Mapping[str, Schema]] = {
    "Receipt": _object(
        {
            "status": {"const": "success"},
            "message": _ANY_TEXT,
            "feedback_id": _ANY_TEXT,
            "version": _describe(_COUNT, "The version of the feedback; missing if the caller may not see it."),
            "reply": _describe(_ANY_TEXT, "The reply to the author, if any."),
            "moderation": _describe(
                {"const": "pending"}, "Present if the feedback is held: it is counted once a moderator has approved it."
            ),
            "duplicate": _describe(
                {"type": "boolean"},
                "Whether the feedback was stored before; with `Prefer: return=representation` only.",
            ),
            "feedback": _describe(reference("Feedback"), "The feedback; with `Prefer: return=representation` only."),
        },
        optional=("version", "reply", "moderation", "duplicate", "feedback"),
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
        description="The sentiment of the comment.",
    ),
    "Moderation": _object(
        {
            "reason": _ANY_TEXT,
            "moderator": {"type": ["string", "null"]},
            "decided_at": _nullable(_INSTANT),
            "previous": {"enum": [*STATUS["enum"], None]},
            "previous_reason": _ANY_TEXT,
            "undo": _describe({"enum": [True]}, "Present if the last decision undid the one before."),
            "held_by": _describe(
                _list(reference("RuleMatch")), "The rules that held the feedback; missing if no rule did."
            ),
        },
        optional=("undo", "held_by"),
        description="The moderation decision: its reason, moderator and time, and the previous status and its reason.",
    ),
    "RuleMatch": _object(
        {
            "rule": _describe(_ANY_TEXT, "The name of the rule."),
            "spans": _describe(
                _list(_list(_COUNT, minItems=2, maxItems=2)),
                "The starts and ends of the parts of the comment that it matched, in Unicode code points.",
            ),
        },
        description="A rule that held feedback.",
    ),
    "Revision": _object({**_VERSION_FIELDS, "replaced_at": _INSTANT}, description="An earlier version of feedback."),
    "Feedback": _object(
        {
            "id": _ANY_TEXT,
            "created_at": _INSTANT,
            "session_id": _ANY_TEXT,
            "message_id": {"type": ["string", "null"]},
            "agent_id": {"type": ["string", "null"]},
            "author": {"type": ["string", "null"]},
            **_VERSION_FIELDS,
            "status": STATUS,
            "moderation": _or_null("Moderation"),
            "updated_at": _INSTANT,
            "withdrawn_at": _nullable(_INSTANT),
            "revisions": _describe(
                _list(reference("Revision")),
                "The earlier versions, oldest first: the first one, and the latest 99 of the others.",
            ),
            "vote": _describe({"type": "boolean"}, "Whether it is the author's vote on the message."),
        },
        description="A feedback entry.",
    ),
    "SessionFeedback": _object(
        {
            "session_id": _ANY_TEXT,
            "total_feedbacks": _describe(_COUNT, "The number of entries on all pages."),
            "feedbacks": _list(reference("Feedback")),
            "next": _CURSOR_OR_NULL,
        }
    ),
    "SessionStats": _object(
        {
            "session_id": _ANY_TEXT,
            **dict.fromkeys(("total_feedbacks", "positive", "negative", "neutral"), _COUNT),
            "satisfaction_score": _describe(
                _PERCENTAGE, "The percentage of thumbs-up among thumbs-up and thumbs-down; 0 if there are none."
            ),
        }
    ),
    "Page": _object(
        {
            **_PAGE_FIELDS,
            "readings": _by_id(
                reference("Reading"), "The reading of each comment, by feedback id; with `reading=true`."
            ),
        },
        optional=("readings",),
    ),
    "Queue": _object(
        {
            **_PAGE_FIELDS,
            "spam": _by_id(
                reference("SpamReading"),
                "The reading of each comment, by feedback id; empty until enough comments were approved and rejected.",
            ),
        }
    ),
    "Waiting": _object(
        {
            "waiting": _describe(_COUNT, "The number of entries."),
            "since": _describe(_nullable(_INSTANT), "Since when the oldest one waits; null if there is none."),
            "rules": _describe(
                _list(_object({"rule": _ANY_TEXT, "waiting": _COUNT}), maxItems=50),
                "The number of entries that each rule held, the most frequent first. An entry without a stored rule "
                "counts for its reason.",
            ),
            "complete": _describe({"type": "boolean"}, "Whether all entries were read."),
        }
    ),
    "Decisions": _object(
        {
            **_PAGE_FIELDS,
            "decisions": _describe(_COUNT, "The number of decisions on all pages."),
            "moderators": _describe(
                _list(_object({"moderator": {"type": ["string", "null"]}, "decisions": _COUNT})),
                "The number of decisions of each moderator, the largest first; null for unnamed moderators.",
            ),
            "response_time": {
                "anyOf": [
                    _object({"decisions": _COUNT, "median": _SECONDS, "percentile_90": _SECONDS}),
                    {"type": "null"},
                ],
                "description": "How long the entries that were pending had waited, in seconds.",
            },
            "complete": _describe({"type": "boolean"}, "Whether all decisions since then were found."),
        }
    ),
    "Outcomes": _object(
        {
            "outcomes": _list(
                _object(
                    {
                        "feedback_id": _ANY_TEXT,
                        "outcome": _describe(
                            {"type": "string", "enum": list(OUTCOMES)},
                            "`unchanged`: it has this status already, or there is nothing to undo. `refused`: it would "
                            "be too large.",
                        ),
                        "feedback": _describe(reference("Feedback"), "The feedback after the decision, if decided."),
                        "detail": _describe(_ANY_TEXT, "Why it was not decided."),
                        "current": _describe(reference("Current"), "The decision that was made, for a conflict."),
                    },
                    optional=("feedback", "detail", "current"),
                )
            )
        }
    ),
    "Entry": _object(
        {
            "feedback_id": _ANY_TEXT,
            "version": {"type": "integer", "minimum": 1},
            "session_id": _ANY_TEXT,
            "created_at": _INSTANT,
        },
        description="An entry to decide on.",
    ),
    "Sums": _object({**_RATINGS, **_SUMS}, description="Statistics as exact sums."),
    "Effect": _object(
        {
            "selection": _describe(
                _object({"before": reference("Sums"), "after": reference("Sums")}), "Of the matching feedback."
            ),
            "agents": _describe(
                _list(
                    _object(
                        {
                            "agent_id": {"type": ["string", "null"]},
                            "before": reference("Sums"),
                            "after": reference("Sums"),
                        }
                    )
                ),
                "Of each agent that the entries are about.",
            ),
        },
        description="The statistics before and after decisions.",
    ),
    "Review": _object(
        {
            "feedback": reference("Feedback"),
            "author": {
                "anyOf": [
                    _object(
                        {"approved": _COUNT, "rejected": _COUNT, "pending": _COUNT, "complete": {"type": "boolean"}}
                    ),
                    {"type": "null"},
                ],
                "description": "The earlier feedback of the author by status, the latest 1,000 entries; null without "
                "an author.",
            },
            "in_session": _describe(_COUNT, "The number of entries in its session, 1,000 at most."),
            "similar": _object(
                {
                    "entries": _list(reference("Entry")),
                    "sessions": _COUNT,
                    "since": _nullable(_INSTANT),
                    "until": _nullable(_INSTANT),
                    "complete": _describe({"type": "boolean"}, "Whether the whole queue was compared."),
                },
                description="Pending feedback with nearly the same text, oldest first, in how many sessions, and when "
                "the first and the last one were given.",
            ),
            "if_approved": reference("Effect"),
        }
    ),
    "Preview": _object(
        {
            "entries": _describe(_list(reference("Entry")), "The entries that can still be decided on."),
            "effect": reference("Effect"),
        }
    ),
    "RuleCounts": _object(
        {
            "rules": _list(
                _object(
                    {
                        "rule": _ANY_TEXT,
                        "refused": _COUNT,
                        "held": _COUNT,
                        "days": _describe(
                            _list(
                                _object(
                                    {
                                        "day": {"type": "string", "format": "date"},
                                        "refused": _COUNT,
                                        "held": _COUNT,
                                    }
                                )
                            ),
                            "Each day of the period in UTC, oldest first.",
                        ),
                    }
                )
            )
        }
    ),
    "Reading": _object(
        {
            "likelihood": _describe(_LIKELIHOOD, "The likelihood of a thumbs-up."),
            "contradicts": _describe(
                {"type": "boolean"},
                "Whether the rating is a thumbs-up and the likelihood below 0.1, or a thumbs-down and above 0.9.",
            ),
            "by": _describe(
                {"type": "string", "enum": ["words", "analyser", "embeddings"]},
                "Whether learned words count, or only the sentiment analyser, as there are too few ratings; or "
                "embeddings, if these are switched on, computed for this comment and better.",
            ),
            "version": _describe(_COUNT, "The version of the method."),
        },
        description="How a comment reads.",
    ),
    "AverageReading": _object(
        {
            "likelihood": _describe(
                {**_LIKELIHOOD, "type": ["number", "null"]},
                "The mean likelihood of a thumbs-up; null without comments.",
            ),
            "comments": _COUNT,
        },
        description="How comments read on average.",
    ),
    "SentimentSurvey": _object(
        {
            "average": reference("AverageReading"),
            "by_rating": _object({one.word: reference("AverageReading") for one in Rating}),
            "contradicting": _describe(_COUNT, "The number of all contradictions."),
            "contradictions": _describe(
                _list(reference("Feedback")), "The newest feedback whose comment contradicts its rating."
            ),
            "readings": _by_id(reference("Reading"), "The reading of each contradiction, by feedback id."),
        },
        description="How the comments of a selection read.",
    ),
    "SpamReading": _object(
        {
            "likelihood": _describe(_LIKELIHOOD, "The likelihood of a rejection."),
            "reason": _describe(
                {"type": "string", "enum": ["", RESEMBLES_REJECTED]}, "Set if the likelihood is at least 0.9."
            ),
            "version": _describe(_COUNT, "The version of the method."),
        },
        description="How a pending comment compares with those that moderators decided on.",
    ),
    "CastVote": _object(
        {
            "feedback_id": _ANY_TEXT,
            "message_id": {"type": ["string", "null"]},
            **{name: _VERSION_FIELDS[name] for name in ("rating", "comment", "tags", "reply", "version")},
            "updated_at": _INSTANT,
        },
        description="A vote, for its author.",
    ),
    "Votes": _object({"session_id": _ANY_TEXT, "author": _ANY_TEXT, "votes": _list(_VOTE_OR_FEEDBACK)}),
    "Metadata": _object(
        {
            "session_id": _ANY_TEXT,
            "metadata": {
                "type": "object",
                "description": "Values by key. Programs may store keys that are not accepted here.",
            },
        }
    ),
    "Removed": _object({"session_id": _ANY_TEXT, "removed": _describe(_COUNT, "The number of deleted keys.")}),
    "Erased": _object(
        {
            "erased": _describe(_COUNT, "The number of erased feedback entries."),
            "removed": _object(
                {
                    "feedback": _describe(_COUNT, "Feedback entries, with their revisions."),
                    "messages": _describe(_COUNT, "Messages of conversations."),
                    "agents": _describe(_COUNT, "Agent states, one for each agent and session."),
                    "metadata": _describe(_COUNT, "Keys of session metadata."),
                    "alerts": _describe(_COUNT, "Alerts that were resolved and emptied."),
                    "deliveries": _describe(_COUNT, "Deliveries of the feedback, in any state."),
                },
                description="The number of removed items, by kind.",
            ),
            "kept_sessions": _describe(
                _list(_ANY_TEXT),
                "Sessions whose conversation and metadata were kept, as other authors gave feedback in them.",
            ),
        }
    ),
    "Interval": _object(
        {"low": {"type": "number"}, "high": {"type": "number"}},
        description="The 95% confidence interval, in percent or percentage points.",
    ),
    "Statistics": _statistics(),
    "Groups": _object(
        {
            "by": _describe(_ANY_TEXT, "The dimension of the groups."),
            "groups": _list(
                _statistics(
                    key=_describe(
                        {"type": ["string", "null"]}, "The value of the group; null for feedback without one."
                    )
                )
            ),
        },
        description="The statistics of each group, the largest group first.",
    ),
    "StatisticsOrGroups": {"oneOf": [reference("Statistics"), reference("Groups")]},
    "Trend": {"oneOf": [reference("TrendOverTime"), reference("TrendByHour"), reference("TrendByWeekday")]},
    "TrendOverTime": _trend(
        _PERIODS, "By period, oldest first, without gaps.", start=_INSTANT, end=_describe(_INSTANT, "Exclusive.")
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
    "ThemesOrKeywords": {"oneOf": [reference("Themes"), reference("Keywords")]},
    "Keywords": _object(
        {"themes": _list(_object({"keyword": _ANY_TEXT, "mentions": {"type": "integer", "minimum": 1}}))},
        description="Keywords in negative feedback, the most frequent first.",
    ),
    "Themes": _object(
        {
            "themes": _list(reference("Theme")),
            "comments": _describe(_COUNT, "The number of thumbs-down comments that were searched."),
            "is_enough": _describe(
                {"type": "boolean"},
                "Whether these were enough to find which words belong together. If not, themes are single words.",
            ),
            "tags": _describe(
                _list(_object({"tag": _ANY_TEXT, "count": {"type": "integer", "minimum": 1}})),
                "How many of these comments have each tag, the most frequent first.",
            ),
            "frequent_words": _describe(
                _list(_object({"word": _ANY_TEXT, "count": {"type": "integer", "minimum": 1}})),
                "Words that are in more than a quarter of all thumbs-down comments, which is too many for a theme.",
            ),
        },
        description="What negative feedback is about, the most important theme first.",
    ),
    "Theme": _object(
        {
            "name": _ANY_TEXT,
            "label": _ANY_TEXT,
            "ngram": _describe({"type": ["string", "null"]}, "The phrase that is most characteristic, if any."),
            "words": _describe(_list(_ANY_TEXT, minItems=1), "The words, the most characteristic first."),
            "count": _describe(_COUNT, "The number of comments that have at least one of the words."),
            "share": _describe({"type": "number"}, "The same in percent of all comments that were searched."),
            "excess": _describe(
                {"type": "number"},
                "How many more thumbs-down comments it has than if it were as common in thumbs-up comments.",
            ),
            "change": {
                "anyOf": [
                    _object(
                        {
                            "previous_count": _COUNT,
                            "previous_comments": _COUNT,
                            "previous_design_effect": _DESIGN_EFFECT,
                            "current_count": _COUNT,
                            "current_comments": _COUNT,
                            "current_design_effect": _DESIGN_EFFECT,
                            "alpha": _ALPHA,
                            "verdict": {"enum": ["more frequent", "rarer", Verdict.UNDECIDED.value]},
                            "sentence": _ANY_TEXT,
                            "needed": _NEEDED,
                        },
                        description="The change of its share since the previous period.",
                    ),
                    {"type": "null"},
                ]
            },
            "examples": _describe(
                _list(reference("Feedback"), maxItems=3), "By different authors, the most typical comment first."
            ),
        }
    ),
    "Comparison": _object({**_COMPARISON, "mix": {"anyOf": [_MIX, {"type": "null"}]}}),
    "ComparedGroups": _object(
        {
            "by": _describe(_ANY_TEXT, "The dimension of the groups."),
            "groups": _list(
                _object(
                    {
                        "key": _describe(
                            {"type": ["string", "null"]}, "The value of the group; null for feedback without one."
                        ),
                        **_COMPARISON,
                    }
                )
            ),
        },
        description="Each group (`after`) compared with the others together (`before`), the largest group first.",
    ),
    "HeatMap": _object(
        {
            "zone": _ANY_TEXT,
            "cells": _list(
                _object(
                    {
                        "weekday": {"enum": _WEEKDAYS},
                        "hour": {"type": "integer", "minimum": 0, "maximum": 23},
                        **_RATINGS,
                        **_SUMS,
                        "design_effect": _DESIGN_EFFECT,
                        "verdict": _VERDICT,
                        "day": _describe({"type": "string", "format": "date"}, "The date, with `prefer_dates` only."),
                    },
                    optional=("day",),
                ),
                maxItems=24 * 14,
            ),
        },
        description="The hours of the local week that have feedback, each compared with all others together.",
    ),
    "Changes": _object(
        {"zone": _ANY_TEXT, "changes": _list(reference("SatisfactionChange"))},
        description="The changes of satisfaction, oldest first.",
    ),
    "SatisfactionChange": _object(
        {
            "at": _describe(_INSTANT, "The start of the first local day, or hour, after the change."),
            "before": _describe(
                {"type": "number", "minimum": 0, "maximum": 100},
                "The satisfaction in percent, from the change before on.",
            ),
            "after": _describe(
                {"type": "number", "minimum": 0, "maximum": 100},
                "The satisfaction in percent, up to the next change.",
            ),
            "before_summary": _object({**_RATINGS, **_SUMS}, description="The statistics before."),
            "after_summary": _object({**_RATINGS, **_SUMS}, description="The statistics after."),
        }
    ),
    "Span": _object({"since": _INSTANT, "until": _describe(_INSTANT, "Exclusive.")}),
    "ShareChange": _object(
        {
            **{
                f"{side}_{name}": schema
                for side in ("previous", "current")
                for name, schema in (("count", _COUNT), ("total", _COUNT), ("design_effect", _DESIGN_EFFECT))
            },
            "alpha": _ALPHA,
            "difference": {"type": "number", "description": "In percentage points."},
            "interval": reference("Interval"),
        },
        description="A share of thumbs-down entries in the previous period and in this one.",
    ),
    "Headline": _object(
        {
            "title": _describe(_ANY_TEXT, "What can be said, in one sentence."),
            "details": _describe(
                _list(_ANY_TEXT), "Further sentences: how sure it is, since when, what grew most, what would mislead."
            ),
            "finding": {"enum": [finding.value for finding in Finding]},
            "zone": _ANY_TEXT,
            "before": reference("Span"),
            "after": reference("Span"),
            "is_running": _describe(
                {"type": "boolean"},
                "Whether the period has not ended. `before` is then the same part of the one before.",
            ),
            "comparison": _object(_COMPARISON),
            "began": _describe(_or_null("SatisfactionChange"), "When the fall or rise began, if that is known."),
            "next_change": _describe(_or_null("SatisfactionChange"), "The next change after that, if there is one."),
            "began_to_the_hour": _describe({"type": "boolean"}, "Whether these are hours; else they are days."),
            "growth": _describe(
                {
                    "anyOf": [
                        _object(
                            {
                                "name": _ANY_TEXT,
                                "is_reason": _describe(
                                    {"type": "boolean"}, "Whether it is a tag; else it is a theme of comments."
                                ),
                                "change": reference("ShareChange"),
                            }
                        ),
                        {"type": "null"},
                    ]
                },
                "The reason or theme that grew most, if any grew by more than chance.",
            ),
            "mix": _describe(
                {"anyOf": [_MIX, {"type": "null"}]},
                "The agents that only one period has, if they change the result by at least a point.",
            ),
            "silence": _describe(
                {
                    "anyOf": [
                        _object(
                            {
                                "since": _INSTANT,
                                "seconds": {"type": "number", "minimum": 0},
                                "usual_per_hour": {"type": "number", "minimum": 0},
                            }
                        ),
                        {"type": "null"},
                    ]
                },
                "No feedback at a time when it usually comes.",
            ),
        },
        description="What changed in a period since the one before.",
    ),
    "Issues": _object(
        {
            "issues": _list(
                _object(
                    {
                        "name": _ANY_TEXT,
                        "count": _COUNT,
                        "share": _describe({"type": "number"}, "In percent of the counted entries."),
                        "design_effect": _DESIGN_EFFECT,
                        "change": _or_null("ShareChange"),
                        "verdict": _describe(
                            {"enum": ["more frequent", "rarer", Verdict.UNDECIDED.value]},
                            "Whether the share changed by more than chance among all; wrong in 1% of cases.",
                        ),
                        "example": _describe(_or_null("Feedback"), "The newest entry that makes a good example."),
                        "words": _describe(_list(_ANY_TEXT), "The words of a theme; empty for a reason."),
                    }
                )
            ),
            "found": _describe(_COUNT, "The number of all reasons."),
            "downs": _describe(_COUNT, "The number of thumbs-down entries that were counted."),
            "is_complete": _describe({"type": "boolean"}, "Whether these are all of the period."),
        },
        description="The reasons of negative feedback, the most frequent first.",
    ),
    "Ranking": _object(
        {
            "by": _describe(_ANY_TEXT, "The dimension of the groups."),
            "sentence": _describe(_ANY_TEXT, "Which of the best groups differ by more than chance."),
            "groups": _list(
                _statistics(
                    key=_describe(
                        {"type": ["string", "null"]}, "The value of the group; null for feedback without one."
                    ),
                    change=_describe(
                        {"anyOf": [_object(_COMPARISON), {"type": "null"}]},
                        "Since the previous period, if there is one.",
                    ),
                    is_new=_describe(
                        {"type": "boolean"}, "Whether it had fewer than 20 thumbs in the previous period."
                    ),
                ),
                maxItems=MOST_RANKED,
            ),
            "found": _describe(_COUNT, "The number of all groups."),
            "total": reference("Statistics"),
            "pairs": _describe(_COUNT, "The number of compared pairs, for which the sentence is corrected."),
            "is_complete": _describe(
                {"type": "boolean"}, "Whether all ratings were counted; else the newest 20,000 thumbs."
            ),
        },
        description="Groups by descending satisfaction, those with fewer than 20 thumbs last.",
    ),
    "Facets": _object(
        {
            "agents": _FACET,
            "tags": _FACET,
            "context": _by_id(_FACET, "The values of each context name that has at most 50."),
            "entries": _describe(_COUNT, "The number of entries in which they were counted."),
            "is_complete": _describe({"type": "boolean"}, "Whether these are all."),
        },
        description="The values to filter by, the most frequent first.",
    ),
    "Alert": _object(
        {
            "id": _ANY_TEXT,
            "application": _ANY_TEXT,
            "rule": _describe(_ANY_TEXT, "The name of the alert rule."),
            "kind": {"enum": [kind.value for kind in AlertKind]},
            "subject": _object(
                {"by": _ANY_TEXT, "value": _ANY_TEXT}, description="The subject of the alert, such as an agent."
            ),
            "message": _describe(_ANY_TEXT, "The pattern, as a sentence."),
            "figures": {
                "type": "object",
                "additionalProperties": {"type": "integer"},
                "description": "The counted values.",
            },
            "feedback_ids": _describe(
                _list(_ANY_TEXT), "The feedback that forms the pattern, if it is a small number of entries."
            ),
            "began_at": _INSTANT,
            "raised_at": _INSTANT,
            "resolved_at": _describe(_nullable(_INSTANT), "When it was resolved; null while it is open."),
            "version": _describe(
                {"type": "integer", "minimum": 1}, "1 if it was raised, 2 if it was resolved, and so on if it reopens."
            ),
            "satisfaction": _describe(
                {"type": ["number", "null"], "minimum": 0, "maximum": 100},
                "The satisfaction in percent that the alert is about; null for other kinds.",
            ),
            "interval": {
                "type": ["object", "null"],
                "description": "Its 95% confidence interval.",
                "required": ["low", "high"],
                "properties": {"low": {"type": "number"}, "high": {"type": "number"}},
                "additionalProperties": False,
            },
            "thumbs": _describe(_nullable(_COUNT), "The number of thumbs that it is computed from."),
            "selection": {
                "type": ["object", "null"],
                "additionalProperties": {"type": "string"},
                "description": "The feedback that the alert is about, as filters; null if it is about none.",
            },
        },
        description="A pattern that an alert rule has found.",
    ),
    "Alerts": _object({"alerts": _list(reference("Alert")), "next": _CURSOR_OR_NULL}),
    "Channel": _object(
        {
            "name": _ANY_TEXT,
            "on": _describe({"type": "boolean"}, "Whether the channel is switched on."),
            "failing_since": _describe(
                _nullable(_INSTANT), "Since when deliveries have been failing; null if the last one succeeded."
            ),
            "off_since": _nullable(_INSTANT),
            "reason": _describe(_ANY_TEXT, "Why the channel was switched off."),
            "cause": _describe(_ANY_TEXT, "The same in a few words, if a receiver caused it, such as `410 Gone`."),
            "kind": _describe(_ANY_TEXT, "The kind of the channel, such as webhook; empty if it is not configured."),
            "destination": _describe(_ANY_TEXT, "Where it sends to, without secrets; empty if unknown."),
            "configured": _describe({"type": "boolean"}, "Whether the settings of this server have the channel."),
            "pending": _describe(_COUNT, "The number of pending deliveries of the application."),
            "dead": _describe(_COUNT, "The number of its dead deliveries."),
            "delivered": _describe(_COUNT, "The number of its deliveries that arrived since `delivered_since`."),
            "last_delivered_at": _describe(
                _nullable(_INSTANT), "When the newest notification arrived; null if none did in the last week."
            ),
            "next_attempt": {
                "type": ["object", "null"],
                "description": "The next attempt of a delivery that has failed; null if none has.",
                "required": ["at", "number"],
                "properties": {
                    "at": _describe(_INSTANT, "When it is due."),
                    "number": _describe(_COUNT, "The number of that attempt since the last replay."),
                },
                "additionalProperties": False,
            },
        },
        description="The status of a channel.",
    ),
    "Channels": _object({"channels": _list(reference("Channel"))}),
    "StoredRoute": _object(_ROUTE_FIELDS, description="A route, with all its filters."),
    "Routes": _object(
        {
            "routes": _describe(_list(reference("StoredRoute")), "The routes of the application, by name."),
            "shared": _describe(
                _list(reference("StoredRoute")),
                "Routes that cannot be changed here: those in the settings, and those for several applications.",
            ),
        }
    ),
    "RouteDryRun": _object(
        {
            "since": _INSTANT,
            "until": _INSTANT,
            "matched": _describe(_COUNT, "The number of entries of feedback about which an event would be sent."),
            "total": _describe(_COUNT, "The number of entries that were examined, in any state."),
            "is_complete": {"type": "boolean", "description": "Whether these are all entries of the period."},
            "matched_alerts": _describe(_COUNT, "The number of alerts that would be sent."),
            "total_alerts": _describe(_COUNT, "The number of alerts that were examined."),
            "examples": _describe(_list(reference("Feedback"), maxItems=3), "The newest matching feedback."),
        },
        description="What a route would have sent in a period.",
    ),
    "Key": _object(_KEY_FIELDS, description="An API key, without its text."),
    "CreatedKey": _object(
        {**_KEY_FIELDS, "key": _describe(_ANY_TEXT, "The text of the key, which cannot be shown again.")},
        description="A new API key.",
    ),
    "Keys": _object({"keys": _list(reference("Key"))}),
    "Delivery": _object(
        {
            "id": _ANY_TEXT,
            "state": DELIVERY_STATE,
            "channel": _ANY_TEXT,
            "event": _object(
                {
                    "id": _ANY_TEXT,
                    "type": EVENT_TYPE,
                    "application": _ANY_TEXT,
                    "subject_id": _describe(
                        _ANY_TEXT, "The id of the feedback, alert or digest; for a change of session metadata, JSON."
                    ),
                    "session_id": _describe(
                        _nullable(_ANY_TEXT), "The session of erased feedback, or of a change of session metadata."
                    ),
                    "version": {"type": "integer", "minimum": 1},
                    "occurred_at": _INSTANT,
                }
            ),
            "attempts": _describe(_COUNT, "The number of attempts."),
            "tries": _describe(_COUNT, "The number of attempts since it was last replayed."),
            "due_at": _describe(_INSTANT, "When it is or was due."),
            "leased_until": _describe(
                _nullable(_INSTANT), "Until when a relay holds it for sending; null if none does."
            ),
            "error": _describe(_ANY_TEXT, "The error of the last attempt."),
            "cause": _describe(_ANY_TEXT, "Why it is dead, in a few words, such as `410 Gone`; empty in other states."),
            "history": _describe(_list(reference("Attempt")), "The latest attempts, oldest first; 10 at most."),
        },
        description="The delivery of one event to one channel.",
    ),
    "Attempt": _object(
        {
            "at": _describe(_INSTANT, "When it began."),
            "seconds": _describe({"type": "number", "minimum": 0}, "How long it took."),
            "outcome": _describe(
                {"type": "string", "enum": [outcome.value for outcome in AttemptOutcome]},
                "`accepted` means that the receiver needs it once more; `channel_off` and `not_sent`, that nothing was "
                "sent.",
            ),
            "status": _describe(_ANY_TEXT, "The status of the receiver's answer, or in a few words why there is none."),
            "words": _describe(_ANY_TEXT, "The receiver's own words, 200 characters at most."),
            "error": _describe(_ANY_TEXT, "Why it failed."),
        },
        description="One attempt to send a delivery.",
    ),
    "DeliverySummary": _object(
        {
            "as_of": _describe(_INSTANT, "When the deliveries were counted."),
            "delivered_since": _describe(_INSTANT, "Since when deliveries that arrived are counted."),
            **_DELIVERY_COUNTS,
            "channels": _list(_object({"channel": _ANY_TEXT, **_DELIVERY_COUNTS})),
            "causes": _describe(
                _list(
                    _object(
                        {
                            "channel": _ANY_TEXT,
                            "cause": _ANY_TEXT,
                            "count": _COUNT,
                            "first_at": _describe(_INSTANT, "When the first of them was due."),
                            "last_at": _describe(_INSTANT, "When the last of them was due."),
                            "latest": _describe(
                                {"anyOf": [reference("Delivery"), {"type": "null"}]},
                                "That last one; null if it was replayed or erased meanwhile.",
                            ),
                        }
                    )
                ),
                "The causes of dead deliveries by channel, the most common first; 20 at most.",
            ),
        },
        description="The numbers of deliveries of a selection.",
    ),
    "Deliveries": _object({"deliveries": _list(reference("Delivery")), "next": _CURSOR_OR_NULL}),
    "Replayed": _object({"replayed": _describe(_COUNT, "The number of replayed deliveries.")}),
    "Current": _object(
        {
            "version": _describe({"type": "integer", "minimum": 1}, "The version for the next decision."),
            "status": STATUS,
            "moderator": _describe({"type": ["string", "null"]}, "The moderator of the last decision, if named."),
            "decided_at": _describe(_nullable(_INSTANT), "The time of the last decision; null if there is none."),
        },
        description="The current state of feedback, if a decision was based on an earlier version.",
    ),
    "Problem": _object(
        {
            "type": {"type": "string", "enum": [f"urn:harken:problem:{kind}" for kind in KINDS]},
            "title": {"type": "string", "enum": [title for _, title in KINDS.values()]},
            "status": {"type": "integer", "enum": sorted({status for status, _ in KINDS.values()})},
            "detail": _describe(_ANY_TEXT, "The error, the expected value and what to do."),
            "instance": _describe(_ANY_TEXT, "The path of the request."),
            "violations": _describe(
                _list(_object({"field": _ANY_TEXT, "code": _ANY_TEXT, "message": _ANY_TEXT}), minItems=1),
                "All invalid fields, if the error concerns single fields.",
            ),
            "current": reference("Current"),
        },
        optional=("violations", "current"),
        description="Problem details (RFC 9457).",
    ),
}

#: All schemas, by name.
SCHEMAS: Final[Mapping[str, Schema]] = {**_REQUESTS, **_RESPONSES}


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
_MODERATION: Final = {
    "reason": "spam",
    "moderator": "priya",
    "decided_at": _AT,
    "previous": "pending",
    "previous_reason": "Spam detected",
    "held_by": [{"rule": "spam phrases", "spans": [[4, 11]]}],
}
_ENTRY: Final = {"feedback_id": _ID, "version": 1, "session_id": "user-123", "created_at": _AT}
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
    "version": 1,
    "satisfaction": None,
    "interval": None,
    "thumbs": None,
    "selection": {"session_id": "user-123", "rating": "down", "since": _AT},
}
_CHANNEL: Final = {
    "name": "support",
    "kind": "webhook",
    "destination": "hooks.example.com",
    "configured": True,
    "on": True,
    "failing_since": None,
    "off_since": None,
    "reason": "",
    "cause": "",
    "pending": 4,
    "dead": 0,
    "delivered": 1204,
    "last_delivered_at": _AT,
    "next_attempt": {"at": _AT, "number": 3},
}
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
_KEY: Final = {
    "id": "3f9c0a1b2d4e5f60",
    "application": "default",
    "scopes": ["submit", "read"],
    "agents": None,
    "name": "web backend",
    "created_at": _AT,
    "revoked_at": None,
    "last_used_at": _AT,
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
    "cause": "503 Service Unavailable",
    "history": [
        {
            "at": _AT,
            "seconds": 0.21,
            "outcome": "failed",
            "status": "503 Service Unavailable",
            "words": "try again later",
            "error": "The receiver responded with 503",
        }
    ],
}
_DELIVERY_SUMMARY: Final = {
    "as_of": _AT,
    "delivered_since": _AT,
    "pending": 4,
    "delivered": 1204,
    "dead": 1,
    "channels": [{"channel": "support", "pending": 4, "delivered": 1204, "dead": 1}],
    "causes": [
        {
            "channel": "support",
            "cause": "503 Service Unavailable",
            "count": 1,
            "first_at": _AT,
            "last_at": _AT,
            "latest": _DELIVERY,
        }
    ],
}
_BY_HOUR: Final = [0] * 12 + [4] + [0] * 11
_STATISTICS_EXAMPLE: Final = {
    "total_feedbacks": 4,
    "positive": 3,
    "negative": 1,
    "neutral": 0,
    "satisfaction_score": 75.0,
    "quality_score": 75.0,
    "average_comment_length": 6.2,
    "comments": 1,
    "comment_characters": 25,
    "sentiments": 1,
    "polarity_millionths": -476_700,
    "subjectivity_millionths": 383_000,
    "by_hour": _BY_HOUR,
    "interval": {"low": 30.1, "high": 95.4},
    "design_effect": 1.0,
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
    "comment_characters": 5,
    "sentiments": 0,
    "polarity_millionths": 0,
    "subjectivity_millionths": 0,
    "by_hour": [0] * 12 + [2] + [0] * 11,
    "interval": {"low": 9.5, "high": 90.5},
    "design_effect": 1.0,
}

_NO_SUMS: Final = {
    "total_feedbacks": 0,
    "positive": 0,
    "negative": 0,
    "neutral": 0,
    "satisfaction_score": None,
    "comments": 0,
    "comment_characters": 0,
    "sentiments": 0,
    "polarity_millionths": 0,
    "subjectivity_millionths": 0,
    "by_hour": [0] * 24,
}
_ONE_DOWN: Final = {
    **_NO_SUMS,
    "total_feedbacks": 1,
    "negative": 1,
    "satisfaction_score": 0.0,
    "comments": 1,
    "comment_characters": 25,
    "by_hour": [1 if hour == 12 else 0 for hour in range(24)],
}
_EFFECT: Final = {
    "selection": {"before": _NO_SUMS, "after": _ONE_DOWN},
    "agents": [{"agent_id": "travel-desk", "before": _NO_SUMS, "after": _ONE_DOWN}],
}

_COMPARISON_EXAMPLE: Final = {
    "before": _WORSE,
    "after": _STATISTICS_EXAMPLE,
    "satisfaction_change": 25.0,
    "quality_change": 25.0,
    "total_change": 2,
    "interval": {"low": -35.5, "high": 70.4},
    "significant": False,
    "verdict": "too close to tell",
    "sentence": "too close to tell: about 280 more thumbs needed",
    "needed": 279,
    "alpha": 0.05,
    "always_valid_interval": {"low": -100.0, "high": 100.0},
    "p_value": 0.733,
    "p_value_is_exact": True,
}

_CHANGE_EXAMPLE: Final = {
    "at": "2026-01-31T00:00:00+01:00",
    "before": 50.0,
    "after": 75.0,
    "before_summary": {name: _WORSE[name] for name in (*_RATINGS, *_SUMS)},
    "after_summary": {name: _STATISTICS_EXAMPLE[name] for name in (*_RATINGS, *_SUMS)},
}
_SHARE_CHANGE_EXAMPLE: Final = {
    "previous_count": 161,
    "previous_total": 2199,
    "previous_design_effect": 1.0,
    "current_count": 401,
    "current_total": 3759,
    "current_design_effect": 1.0,
    "alpha": 0.05,
    "difference": 3.3,
    "interval": {"low": 1.9, "high": 4.8},
}

#: Examples of responses, for operations without their own example.
EXAMPLES: Final[Mapping[str, Any]] = {
    "Receipt": {
        "status": "success",
        "message": "Feedback recorded successfully",
        "feedback_id": _ID,
        "version": 1,
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
        "readings": {_ID: {"likelihood": 0.038, "contradicts": False, "by": "words", "version": 1}},
    },
    "SentimentSurvey": {
        "average": {"likelihood": 0.271, "comments": 5000},
        "by_rating": {
            "up": {"likelihood": 0.871, "comments": 1000},
            "down": {"likelihood": 0.101, "comments": 3800},
            "neutral": {"likelihood": 0.5, "comments": 200},
        },
        "contradicting": 1,
        "contradictions": [_FEEDBACK | {"rating": "up"}],
        "readings": {_ID: {"likelihood": 0.038, "contradicts": True, "by": "words", "version": 1}},
    },
    "Waiting": {
        "waiting": 14,
        "since": _AT,
        "rules": [{"rule": "spam phrases", "waiting": 11}, {"rule": "mentions a lawyer", "waiting": 3}],
        "complete": True,
    },
    "Decisions": {
        "feedbacks": [_FEEDBACK | {"version": 2, "status": "rejected", "moderation": _MODERATION}],
        "next": None,
        "decisions": 31,
        "moderators": [{"moderator": "priya", "decisions": 20}, {"moderator": "kim", "decisions": 11}],
        "response_time": {"decisions": 31, "median": 840.0, "percentile_90": 4200.0},
        "complete": True,
    },
    "Outcomes": {
        "outcomes": [
            {
                "feedback_id": _ID,
                "outcome": "conflict",
                "detail": f"Feedback '{_ID}' now has version 2 and is approved (decided by 'priya' at 2026-01-31 "
                "12:00:00 UTC); read it again and decide on that version",
                "current": {"version": 2, "status": "approved", "moderator": "priya", "decided_at": _AT},
            }
        ]
    },
    "Review": {
        "feedback": _FEEDBACK,
        "author": {"approved": 0, "rejected": 4, "pending": 0, "complete": True},
        "in_session": 1,
        "similar": {"entries": [_ENTRY], "sessions": 1, "since": _AT, "until": _AT, "complete": True},
        "if_approved": _EFFECT,
    },
    "Preview": {"entries": [_ENTRY], "effect": _EFFECT},
    "RuleCounts": {
        "rules": [
            {
                "rule": "spam phrases",
                "refused": 41,
                "held": 0,
                "days": [{"day": "2026-01-31", "refused": 41, "held": 0}],
            }
        ]
    },
    "Queue": {
        "feedbacks": [_FEEDBACK],
        "next": None,
        "spam": {_ID: {"likelihood": 0.97, "reason": RESEMBLES_REJECTED, "version": 1}},
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
    "StatisticsOrGroups": _STATISTICS_EXAMPLE,
    "Trend": {
        "by": "day",
        "zone": "Europe/Berlin",
        "points": [
            {"start": "2026-01-31T00:00:00+01:00", "end": "2026-02-01T00:00:00+01:00", **_STATISTICS_EXAMPLE},
        ],
    },
    "Alert": _ALERT,
    "Alerts": {"alerts": [_ALERT], "next": None},
    "Channel": _CHANNEL,
    "Channels": {"channels": [_CHANNEL]},
    "StoredRoute": _ROUTE,
    "Routes": {"routes": [_ROUTE], "shared": []},
    "RouteDryRun": {
        "since": "2026-02-15T09:05:00.000000Z",
        "until": _AT,
        "matched": 41,
        "total": 512,
        "is_complete": True,
        "matched_alerts": 0,
        "total_alerts": 2,
        "examples": [_FEEDBACK],
    },
    "Key": _KEY,
    "Keys": {"keys": [_KEY]},
    "CreatedKey": {**_KEY, "last_used_at": None, "key": "hk_3f9c0a1b2d4e5f60_..."},
    "Delivery": _DELIVERY,
    "Deliveries": {"deliveries": [_DELIVERY], "next": None},
    "DeliverySummary": _DELIVERY_SUMMARY,
    "ThemesOrKeywords": {
        "themes": [
            {
                "name": "lost luggage",
                "label": "lost luggage",
                "ngram": "lost luggage",
                "words": ["luggage", "bag", "bags"],
                "count": 412,
                "share": 6.8,
                "excess": 390.2,
                "change": {
                    "previous_count": 160,
                    "previous_comments": 5200,
                    "previous_design_effect": 1.0,
                    "current_count": 412,
                    "current_comments": 6087,
                    "current_design_effect": 1.0,
                    "alpha": 0.0125,
                    "verdict": "more frequent",
                    "sentence": "more frequent by 2 to 5 points",
                    "needed": 0,
                },
                "examples": [_FEEDBACK],
            }
        ],
        "comments": 6087,
        "is_enough": True,
        "tags": [{"tag": "luggage", "count": 230}],
        "frequent_words": [{"word": "flight", "count": 1707}],
    },
    "ComparedGroups": {"by": "agent", "groups": [{"key": "helper", **_COMPARISON_EXAMPLE}]},
    "HeatMap": {
        "zone": "Europe/Berlin",
        "cells": [
            {
                "weekday": "Monday",
                "hour": 9,
                "total_feedbacks": 210,
                "positive": 80,
                "negative": 120,
                "neutral": 10,
                "satisfaction_score": 40.0,
                "comments": 15,
                "comment_characters": 620,
                "sentiments": 0,
                "polarity_millionths": 0,
                "subjectivity_millionths": 0,
                "by_hour": [0] * 8 + [210] + [0] * 15,
                "design_effect": 1.0,
                "verdict": "worse",
            }
        ],
    },
    "Changes": {"zone": "Europe/Berlin", "changes": [_CHANGE_EXAMPLE]},
    "Headline": {
        "title": "Too little to tell: 4 thumbs so far",
        "details": ["The true value lies anywhere from 30 to 95%. About 280 more thumbs would decide the comparison."],
        "finding": "too little to tell",
        "zone": "Europe/Berlin",
        "before": {"since": "2025-12-07T00:00:00+01:00", "until": "2026-01-04T00:00:00+01:00"},
        "after": {"since": "2026-01-04T00:00:00+01:00", "until": "2026-02-01T00:00:00+01:00"},
        "is_running": False,
        "comparison": _COMPARISON_EXAMPLE,
        "began": None,
        "next_change": None,
        "began_to_the_hour": False,
        "growth": {"name": "Cancelled Flight", "is_reason": True, "change": _SHARE_CHANGE_EXAMPLE},
        "mix": None,
        "silence": None,
    },
    "Issues": {
        "issues": [
            {
                "name": "Cancelled Flight",
                "count": 401,
                "share": 10.7,
                "design_effect": 1.0,
                "change": _SHARE_CHANGE_EXAMPLE,
                "verdict": "more frequent",
                "example": _FEEDBACK,
                "words": [],
            }
        ],
        "found": 10,
        "downs": 3759,
        "is_complete": True,
    },
    "Ranking": {
        "by": "agent",
        "sentence": "No agent has 20 thumbs yet.",
        "groups": [{"key": "helper", **_STATISTICS_EXAMPLE, "change": _COMPARISON_EXAMPLE, "is_new": True}],
        "found": 1,
        "total": _STATISTICS_EXAMPLE,
        "pairs": 0,
        "is_complete": True,
    },
    "Facets": {
        "agents": [{"value": "helper", "count": 3120}],
        "tags": [{"value": "slow", "count": 212}],
        "context": {"version": [{"value": "1.6", "count": 1804}, {"value": "1.5", "count": 1316}]},
        "entries": 3120,
        "is_complete": True,
    },
    "Comparison": {**_COMPARISON_EXAMPLE, "mix": None},
}
