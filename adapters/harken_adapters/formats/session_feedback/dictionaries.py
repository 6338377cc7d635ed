"""Converts what a session shows of feedback to dictionaries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from harken.domain.idempotency import IMPORT_ID, IMPORT_KEY
from harken.ports.repository import SessionEntry
from harken_adapters.formats.value_encoding import MARK, decode

#: What every dictionary has. These are fields, and never stored verbatim.
ALWAYS: Final = ("rating", "comment", "created_at")
#: Fields that a dictionary has if they have a value.
_OPTIONAL: Final = frozenset({"message_id", "agent_id", "author", "tags", "sentiment", "idempotency_key"})
FIELDS: Final = _OPTIONAL.union(ALWAYS)
#: A visitor may choose the context: it must never look like a field, not even like one that is not set.
HIDDEN: Final = FIELDS | {IMPORT_ID}
#: Differs from every value.
NOTHING: Final = object()
#: Reads short JSON texts a third faster than ``json.loads``.
_read: Final = json.JSONDecoder().raw_decode


def to_dictionary(entry: SessionEntry, *, as_datetime: bool = False) -> dict[str, Any]:
    """Convert what a session shows of feedback to a dictionary, without empty fields.

    Context values with the name of a field are left out.

    Args:
        entry: the feedback with its extras.
        as_datetime: whether ``created_at`` is a ``datetime``. It is UTC, without a time zone, in both cases.
    """
    rating, comment, created_at, rest = entry
    moment = datetime.fromisoformat(created_at) if as_datetime else created_at
    if rest is None:
        return {"rating": rating, "comment": comment, "created_at": moment}
    others = _with_extras(rest, rest["extras"]) if "extras" in rest else shown_values(rest)
    return {"rating": rating, "comment": comment, **others, "created_at": moment}


def shown_values(rest: Mapping[str, Any]) -> dict[str, Any]:
    """The context and the fields that have a value, as values of a dictionary."""
    context = rest.get("context", {})
    shown = {name: value for name, value in context.items() if name not in HIDDEN}
    shown.update({name: value for name, value in rest.items() if name in _OPTIONAL and value is not None})
    if is_of_import(shown.get("idempotency_key")):
        del shown["idempotency_key"]
    return shown


def is_of_import(key: object) -> bool:
    """Whether an idempotency key looks like that of an import, which nobody passed and is not shown."""
    return isinstance(key, str) and key.startswith(IMPORT_KEY)


def _with_extras(rest: Mapping[str, Any], text: str) -> dict[str, Any]:
    """What a dictionary has besides rating, comment and time, of feedback that has extras."""
    extras, _ = _read(text)
    values, derived = extras["values"], extras["derived"]
    if MARK in text:
        values = {name: decode(value) for name, value in values.items()}
    shown = shown_values(rest)
    outdated = set()
    for name, value in derived.items():
        if shown.get(name, NOTHING) == value:
            del shown[name]
        else:
            # It was changed or removed later, which the original value must not hide.
            outdated.add(name)
            if name in shown and isinstance(values.get(name), list | dict):
                shown[name] = _structure(shown[name])
    for name, value in values.items():
        # Harken may have analyzed another sentiment, which does not replace that of the program.
        if name == "sentiment" or (name not in outdated and name not in shown):
            shown[name] = value
    return shown


def _structure(value: Any) -> Any:
    """The list or dictionary whose JSON text a later change put in place of another one; any other value unchanged.

    A visitor may have written the text, so only valid JSON counts: no NaN, and no number that becomes infinity.
    """
    try:
        parsed = json.loads(value)
        json.dumps(parsed, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return value
    return parsed if isinstance(parsed, list | dict) else value
