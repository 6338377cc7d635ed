"""Parsing of JSON bodies, query strings and the filters in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any, Final, overload
from urllib.parse import parse_qsl

from attrs import evolve, field, frozen

from harken import Cursor, FeedbackQuery, InvalidQuery, ModerationStatus, Rating, Violation
from harken.domain.instants import SkippedTime, parse_instant
from harken.domain.query import ANY_STATUS
from harken.domain.texts import no_such
from harken.domain.trend import zone_named
from harken_adapters.formats.strict_json import RepeatedMember, parse
from harken_adapters.hosts.http.wire.messages import Request
from harken_adapters.hosts.http.wire.problems import Problem

#: The filters of feedback, except ``context.<name>``.
FILTERS: Final = (
    "session_id",
    "message_id",
    "agent_id",
    "author",
    "rating",
    "tag",
    "text",
    "has_comment",
    "since",
    "until",
    "status",
    "withdrawn",
)
#: The filters that do not concern moderation or withdrawal.
FILTERS_IN_ANY_STATE: Final = tuple(name for name in FILTERS if name not in ("status", "withdrawn"))
_CONTEXT: Final = "context."
#: The prefixes of a filter when two selections are compared.
_SIDES: Final = ("", "before.", "after.")
#: More than the maximum number of values of a filter.
_MOST_PARAMETERS: Final = 500
_EMPTY: Final = "it is empty"
#: A Content-Type consists of a type, a charset and sometimes a profile.
_LONGEST_CONTENT_TYPE: Final = 1_000


# --- Bodies -----------------------------------------------------------------------------------------------------------


def json_object(request: Request, known: Iterable[str] | None = None) -> dict[str, Any]:
    """Parse the body of a request as a JSON object.

    Args:
        request: the request, with its body.
        known: the allowed fields, so that a misspelt one is reported; ``None`` allows any.

    Raises:
        Problem: the Content-Type is not JSON, or the body is not a JSON object or has an unknown or repeated field.
    """
    _check_type(request.header("content-type"))
    document = _parse_json(request.body)
    if not isinstance(document, dict):
        raise Problem("invalid", f"The body must be a JSON object, got {_kind(document)}")
    if known is not None and (others := document.keys() - set(known)):
        raise unknown_fields("field", others, known)
    return document


def unknown_fields(what: str, unknown: Iterable[str], known: Iterable[str]) -> Problem:
    """The problem for unknown fields or parameters; ``what`` is ``"field"`` or ``"parameter"``."""
    expected, names = list(known), [name[:100] for name in sorted(unknown)[:20]]
    violations = [Violation(name, "unknown", no_such(what, name, expected)) for name in names]
    return Problem("invalid", "; ".join(one.message for one in violations[:3]), violations=violations)


@lru_cache(maxsize=64)
def _check_type(content_type: str | None) -> None:
    kind, _, parameters = (content_type or "").lower().partition(";")
    kind = kind.strip()
    if len(content_type or "") > _LONGEST_CONTENT_TYPE:
        detail = f"The Content-Type must be application/json, got one of more than {_LONGEST_CONTENT_TYPE:,} characters"
        raise Problem("unsupported-media-type", detail)
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    if not is_json:
        got = repr(kind[:100]) if kind else "none"
        raise Problem("unsupported-media-type", f"The Content-Type must be application/json, got {got}")
    charset = dict(parse_qsl(parameters.replace(" ", ""), separator=";")).get("charset", "utf-8").strip('"')
    if charset not in ("utf-8", "utf8"):
        raise Problem("unsupported-media-type", "The charset of JSON must be UTF-8")


def _parse_json(body: bytes) -> object:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Problem("malformed-body", f"The body is not valid UTF-8: {error.reason} at byte {error.start}") from None
    try:
        return parse(text)
    except RepeatedMember as error:
        raise invalid(error.name, "repeated", str(error)) from None
    except json.JSONDecodeError as error:
        where = f"{error.msg} in line {error.lineno}, column {error.colno}" if body else _EMPTY
        raise Problem("malformed-body", f"The body is not valid JSON: {where}") from None
    except RecursionError:
        raise Problem("invalid", "The body is nested too deeply") from None
    except ValueError:
        # Python does not parse integers of thousands of digits.
        raise Problem("invalid", "The body has a number that is too large for 64 bits") from None


def _kind(document: object) -> str:
    kinds = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(document), "a number")


def if_match(request: Request) -> int | None:
    """The version in the If-Match header; ``None`` if the header is missing or ``*``.

    Raises:
        Problem: the header is not an ETag of feedback.
    """
    tag = request.header("if-match")
    if tag in (None, "*"):
        return None
    version = tag.strip().removeprefix("W/").strip('"') if tag else ""
    if not (version.isascii() and version.isdigit() and len(version) < 20):
        raise invalid("If-Match", "type", 'If-Match must be the ETag of the feedback, such as "3"')
    return int(version)


# --- Query strings ----------------------------------------------------------------------------------------------------


@frozen
class Parameters:
    """The parameters of a query string: all values by name."""

    values: Mapping[str, Sequence[str]] = field(factory=dict)

    @classmethod
    def parse(cls, query: str, known: Iterable[str], *, filters: Sequence[str] = (), sides: bool = False) -> Parameters:
        """Parse a query string.

        Args:
            query: the query string, percent-encoded, without the question mark.
            known: the allowed parameters, besides ``application``.
            filters: the allowed filters; if there are any, ``context.<name>`` is allowed too.
            sides: whether each filter is also allowed with the prefix ``before.`` or ``after.``.

        Raises:
            Problem: a parameter is unknown, or the query string is not percent-encoded UTF-8.
        """
        if not query:
            return _NONE
        allowed = ("application", *known, *filters)
        values: dict[str, list[str]] = {}
        for name, value in _pairs(query):
            values.setdefault(name, []).append(value)
        prefixes = _SIDES if sides else ("",)
        taken = {*allowed, *(f"{prefix}{name}" for prefix in prefixes for name in filters)}
        contexts = tuple(f"{prefix}{_CONTEXT}" for prefix in prefixes) if filters else ()
        unknown = [name for name in values if name not in taken and not name.startswith(contexts)]
        if unknown:
            raise unknown_fields("parameter", unknown, (*allowed, *(["context.<name>"] if filters else [])))
        return cls(values)

    @overload
    def get(self, name: str) -> str | None: ...

    @overload
    def get(self, name: str, default: str) -> str: ...

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of a parameter, or the default if it is missing.

        Raises:
            Problem: the parameter is given more than once.
        """
        values = self.values.get(name)
        if not values:
            return default
        if len(values) > 1:
            raise invalid(name, "repeated", f"{name} was given {len(values)} times; expected one value")
        return values[0]

    def all(self, name: str) -> Sequence[str]:
        """All values of a parameter, in order."""
        return self.values.get(name, ())

    def integer(self, name: str, default: int) -> int:
        """The value of an integer parameter.

        Raises:
            Problem: it is not an integer, or is given more than once.
        """
        text = self.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise invalid(name, "type", f"{name} must be an integer, got {text[:100]!a}")
        return int(text)

    def moment(self, name: str) -> datetime | None:
        """The value of a date parameter; UTC if it has no time zone. See :func:`moment`."""
        return moment(name, self.get(name))

    def truth(self, name: str) -> bool | None:
        """The value of a Boolean parameter, ``true`` or ``false``; ``None`` if it is missing."""
        return _truth(name, self.get(name))

    def cursor(self, name: str = "after") -> Cursor | None:
        """The cursor in a parameter, if any."""
        token = self.get(name)
        return Cursor.parse(token) if token else None

    def query(self, application: str, side: str = "") -> FeedbackQuery:
        """The query that the filters describe. A filter with the prefix ``side`` overrides the same one without it.

        Dates without a time zone are in that of the parameter ``zone``, if there is one, otherwise in UTC.

        Raises:
            Problem: a filter is invalid.
            InvalidQuery: a filter or the time zone is invalid.
        """
        if side:
            # An overridden filter must be valid too.
            self.query(application)

        def chosen(name: str) -> str | None:
            sided = self.get(f"{side}{name}") if side else None
            return self.get(name) if sided is None else sided

        def several(name: str) -> Sequence[str] | None:
            return self.all(f"{side}{name}") or self.all(name) or None

        zone = UTC if (name := self.get("zone")) is None else zone_named(name)
        query = FeedbackQuery(
            application=application,
            session_id=chosen("session_id"),
            message_id=chosen("message_id"),
            agent_id=several("agent_id"),
            author=chosen("author"),
            rating=_ratings(several("rating")),
            tag=several("tag"),
            context=self._context(side),
            text=chosen("text"),
            has_comment=_truth("has_comment", chosen("has_comment")),
            since=moment("since", chosen("since"), zone),
            until=moment("until", chosen("until"), zone),
        )
        return evolve(query, statuses=_statuses(chosen("status")), withdrawn=_withdrawn(chosen("withdrawn")))

    def _context(self, side: str) -> dict[str, Sequence[str]]:
        prefixes = [_CONTEXT, f"{side}{_CONTEXT}"] if side else [_CONTEXT]
        return {
            name.removeprefix(prefix): self.all(name)
            for prefix in prefixes
            for name in self.values
            if name.startswith(prefix)
        }


_NONE: Final = Parameters()


def invalid(name: str, code: str, message: str) -> Problem:
    """The problem for an invalid field or parameter."""
    return Problem("invalid", message, violations=[Violation(name, code, message)])


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except UnicodeDecodeError:
        raise Problem("malformed-body", "The query string is not percent-encoded UTF-8") from None
    except ValueError:
        raise Problem("invalid", f"The query string has more than {_MOST_PARAMETERS} parameters") from None


def _truth(name: str, text: str | None) -> bool | None:
    if text not in (None, "true", "false"):
        raise invalid(name, "type", f"{name} must be true or false, got {(text or '')[:100]!a}")
    return None if text is None else text == "true"


def _ratings(words: Sequence[str] | None) -> list[Rating] | None:
    return None if words is None else [_rating(word) for word in words]


def _rating(word: str) -> Rating:
    try:
        return Rating.NEUTRAL if word == "null" else Rating.from_word(word)
    except ValueError:
        raise invalid("rating", "unknown", f"rating must be up, down or neutral, got {word[:100]!a}") from None


def moment(name: str, text: object, zone: tzinfo = UTC) -> datetime | None:
    """Parse an ISO 8601 date or time, which is in ``zone`` if it has no offset. ``None`` stays ``None``.

    Raises:
        Problem: it is not one, or the clocks skip it.
    """
    if text is None:
        return None
    expected = "expected a value such as 2026-01-31 or 2026-01-31T12:00Z, in the years 1 to 9999"
    if not isinstance(text, str):
        raise invalid(name, "type", f"{name} is not a string; {expected}")
    try:
        # In a query string, an unencoded plus sign (of the time zone) is decoded as a space.
        return parse_instant(text.replace(" ", "+") if text.count(" ") == 1 and "T" in text else text, zone)
    except SkippedTime as error:
        raise invalid(name, "skipped", f"{name}: {error}") from None
    except ValueError:
        raise invalid(name, "type", f"{name} is not an ISO 8601 date: {text[:100]!a}; {expected}") from None


def _statuses(word: str | None) -> frozenset[ModerationStatus]:
    if word == "any":
        return ANY_STATUS
    try:
        return frozenset({ModerationStatus("approved" if word is None else word)})
    except ValueError:
        known = "approved, pending, rejected or any"
        raise invalid("status", "unknown", f"status must be {known}, got {(word or '')[:100]!a}") from None


def _withdrawn(word: str | None) -> bool | None:
    known: dict[str | None, bool | None] = {None: False, "false": False, "true": None, "only": True}
    if word not in known:
        raise InvalidQuery(f"withdrawn must be false, true (include withdrawn) or only, got {(word or '')[:100]!a}")
    return known[word]
