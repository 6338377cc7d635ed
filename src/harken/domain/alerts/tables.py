"""Alert rules as tables of a settings file or JSON objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final

from attrs import fields

from harken.domain.alerts.rules import RULES, AlertRule
from harken.domain.errors import ConfigurationError
from harken.domain.feedback import Rating
from harken.domain.instants import format_duration, parse_duration
from harken.domain.texts import unknown_names


def parse_rule(table: Mapping[str, object]) -> AlertRule:
    """Build an alert rule from a table such as ``{"name": "three", "kind": "streak", "by": "agent"}``.

    ``kind`` is one of ``streak``, ``satisfaction``, ``rate``, ``theme``, ``change``, ``silence`` and ``queue``; the
    other keys are the attributes of that rule. Durations are strings such as ``"90s"``, ``"15m"``, ``"6h"``, ``"7d"``
    or ``"1h30m"``.

    Raises:
        ConfigurationError: a key is unknown or missing, or a value is invalid.
    """
    name, kind = table.get("name"), table.get("kind")
    rule = RULES.get(kind) if isinstance(kind, str) else None
    if rule is None:
        found = "no kind" if kind is None else f"unknown kind {kind!r}"
        raise ConfigurationError(f"Alert rule {name!r}: {found}; expected one of {', '.join(RULES)}")
    known = [attribute.name for attribute in fields(rule)]
    given = {key: value for key, value in table.items() if key != "kind"}
    if problem := unknown_names(table, ["kind", *known]):
        raise ConfigurationError(f"Alert rule {name!r} of kind {kind}: {problem}")
    if "name" not in given:
        raise ConfigurationError(f"An alert rule of kind {kind} needs a name")
    build: Callable[..., AlertRule] = rule
    return build(**{key: _parse_value(name, key, value) for key, value in given.items()})


def rule_record(rule: AlertRule) -> dict[str, object]:
    """Return the table of a rule, with JSON values; the inverse of :func:`parse_rule`. Unset filters are omitted."""
    values = {attribute.name: getattr(rule, attribute.name) for attribute in fields(type(rule))}
    return {
        "name": rule.name,
        "kind": rule.kind.value,
        **{key: _format_value(key, value) for key, value in values.items() if value is not None},
    }


def _parse_value(name: object, key: str, value: object) -> object:
    try:
        return _PARSERS[key](value) if key in _PARSERS else value
    except ValueError as error:
        raise ConfigurationError(f"{key} of alert rule {name!r} is invalid: {error}") from None


def _format_value(key: str, value: object) -> object:
    return _FORMATTERS[key](value) if key in _FORMATTERS else value


def _parse_texts(value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    raise ValueError(f"expected a list of strings, got {value!r}")


_DURATIONS: Final = ("cooldown", "window", "after", "older_than", "resolve_after")
_PARSERS: Final[Mapping[str, Callable[[object], object]]] = {
    **dict.fromkeys(_DURATIONS, parse_duration),
    "rating": Rating.from_word,
    "keywords": _parse_texts,
}
_FORMATTERS: Final[Mapping[str, Callable[[Any], object]]] = {
    **dict.fromkeys(_DURATIONS, format_duration),
    "rating": attrgetter("word"),
    "keywords": list,
}
