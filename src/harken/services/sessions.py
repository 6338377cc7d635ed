"""What an application knows of a session."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from attrs import frozen

from harken.domain.errors import InvalidMetadata
from harken.domain.rules import label_problem, name_problem, number_problem, text_problem
from harken.domain.text_lists import as_texts
from harken.ports.sessions import JsonValue, SessionRepository

MAX_DEPTH = 20
MAX_VALUES = 10_000
_SHOWN_OF_VALUE = 200
_json = json.JSONEncoder(sort_keys=True).encode


@frozen
class Merged:
    """What became of metadata that was merged, by name: was set, was there already, or was left out, and why."""

    added: Mapping[str, JsonValue]
    there: Mapping[str, JsonValue]
    refused: Mapping[str, str]


class SessionService:
    """Keeps a session's metadata: JSON values by name, updated key by key."""

    def __init__(self, repository: SessionRepository) -> None:
        self._repository = repository

    def get(self, application: str, session_id: str) -> dict[str, JsonValue]:
        """All metadata of a session, sorted by name; empty where there is none.

        Raises:
            InvalidMetadata: an id that no session can have.
        """
        _check_ids(application, session_id)
        return self._repository.get(application, session_id)

    def update(self, application: str, session_id: str, changes: Mapping[str, JsonValue]) -> None:
        """Set these keys and leave the others as they are.

        Raises:
            InvalidMetadata: an id, a name or a value that not every storage could keep, or the session would have more
                than 1,000 names or 1,000,000 bytes of metadata; nothing was changed.
        """
        problems = [*_id_problems(application, session_id), *_problems(changes)]
        if problems:
            raise InvalidMetadata("; ".join(problems))
        self._repository.update(application, session_id, changes)

    def merge(self, application: str, session_id: str, metadata: Mapping[str, JsonValue]) -> Merged:
        """Set what has no value yet, and change nothing that has one; what is unfit stops nothing else.

        What has a value is looked up before: somebody who sets the same name at the same time may be overwritten.

        Raises:
            InvalidMetadata: an id that no session can have, or too much metadata; nothing was changed.
        """
        there = self.get(application, session_id)
        refused = {name: reason for name, value in metadata.items() if (reason := _refusal(there, name, value))}
        fit = {name: value for name, value in metadata.items() if name not in refused}
        merged = Merged(
            added={name: value for name, value in fit.items() if name not in there},
            there={name: value for name, value in fit.items() if name in there},
            refused=refused,
        )
        if merged.added:
            self._repository.update(application, session_id, merged.added)
        return merged

    def delete(self, application: str, session_id: str, keys: str | Iterable[str] | None = None) -> int:
        """Remove these keys, or a single one (all, if ``None``), and say how many there were."""
        _check_ids(application, session_id)
        if keys is not None:
            # Not every storage can be asked for what none could keep.
            keys = [key for key in as_texts(keys) if not name_problem("metadata", key)]
        return self._repository.delete(application, session_id, keys)


def _refusal(there: Mapping[str, JsonValue], name: str, value: JsonValue) -> str:
    """Why that value cannot be merged into what is there; empty if it can."""
    if problems := list(_problems({name: value})):
        return "; ".join(problems)
    # As JSON, because to Python 1, 1.0 and True are the same.
    if name in there and (kept := _json(there[name])) != _json(value):
        return f"metadata.{name} has another value already, which was kept: {kept[:_SHOWN_OF_VALUE]}"
    return ""


def _check_ids(application: str, session_id: str) -> None:
    if problems := [*_id_problems(application, session_id)]:
        raise InvalidMetadata("; ".join(problems))


def _id_problems(application: str, session_id: str) -> Iterator[str]:
    for name, value in (("application", application), ("session_id", session_id)):
        if problem := label_problem(name, value):
            yield problem.message


def _problems(changes: Mapping[str, JsonValue]) -> Iterator[str]:
    """What makes this no JSON that every storage could keep: walks it without recursion, so that depth does no harm."""
    stack: list[tuple[str, object, int]] = [("metadata", dict(changes), 0)]
    seen = 0
    while stack:
        where, value, depth = stack.pop()
        seen += 1
        if seen > MAX_VALUES or depth > MAX_DEPTH:
            yield f"metadata too large: at most {MAX_VALUES:,} values, nested {MAX_DEPTH} deep"
            return
        match value:
            case dict():
                yield from (problem.message for name in value if (problem := name_problem(where, name)))
                stack.extend((f"{where}.{name}", item, depth + 1) for name, item in value.items())
            case list():
                stack.extend((f"{where}[{index}]", item, depth + 1) for index, item in enumerate(value))
            case _:
                if problem := (text_problem if isinstance(value, str) else number_problem)(where, value):
                    yield problem.message
