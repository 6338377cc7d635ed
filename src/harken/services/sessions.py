"""Session metadata: JSON values of a session, by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from harken.domain.errors import InvalidMetadata
from harken.domain.metadata import delete_paths, find_paths, is_same_json, set_paths
from harken.domain.rules import label_problem, metadata_name_problem, number_problem, text_problem
from harken.domain.texts import as_texts
from harken.ports.sessions import JsonValue, SessionRepository

if TYPE_CHECKING:
    from harken.domain.session_change import Operation

MAX_DEPTH = 20
MAX_VALUES = 10_000
_SHOWN_OF_VALUE = 200


class MakeChange(Protocol):
    """Makes a change of the metadata of a session, and notifies others of it."""

    def __call__(
        self,
        application: str,
        session_id: str,
        operation: Operation,
        names: Collection[str],
        *,
        paths: bool,
        write: Callable[[], int],
    ) -> int:
        """Return the result of ``write``, which sets or deletes these names or paths."""


@frozen
class Merged:
    """The result of a merge, by name: values that were added, values that existed, and reasons for refused ones."""

    added: Mapping[str, JsonValue]
    existing: Mapping[str, JsonValue]
    refused: Mapping[str, str]


class SessionService:
    """Stores the metadata of sessions, updated key by key.

    A name is any text of 1 to 1,000 characters without control characters. With ``paths=True``, a dot leads into a
    nested dictionary: ``a.b`` is ``b`` in ``a``, see :mod:`harken.domain.metadata`.
    """

    def __init__(self, repository: SessionRepository, *, make_change: MakeChange | None = None) -> None:
        """``make_change`` makes each update and deletion, but no merge: that brings metadata from elsewhere."""
        self._repository = repository
        self._make_change = make_change or _write_only

    def get(self, application: str, session_id: str) -> dict[str, JsonValue]:
        """All metadata of a session, sorted by name; empty if there is none.

        Raises:
            InvalidMetadata: an id is invalid.
        """
        _check_ids(application, session_id)
        return self._repository.get(application, session_id)

    def update(
        self, application: str, session_id: str, changes: Mapping[str, JsonValue], *, paths: bool = False
    ) -> None:
        """Set these keys, and keep the others. Concurrent updates of other keys or paths are kept too.

        Raises:
            InvalidMetadata: an id, a name or a value is invalid, a path leads through a value that is not a dictionary,
                or the session would have more than 1,000 names or 1,000,000 bytes of metadata; nothing was changed.
        """
        problems = [*_id_problems(application, session_id), *_problems(changes)]
        if problems:
            raise InvalidMetadata("; ".join(problems))

        def write() -> int:
            # Without a dot, a path is a name. Setting names is faster, as it need not read the metadata.
            if paths and any("." in name for name in changes):
                self._repository.change(application, session_id, partial(_set_paths, changes))
            else:
                self._repository.update(application, session_id, changes)
            return len(changes)

        self._make_change(application, session_id, "update", changes, paths=paths, write=write)

    def merge(self, application: str, session_id: str, metadata: Mapping[str, JsonValue]) -> Merged:
        """Set the names that have no value, and change no existing value. Invalid values are refused one by one.

        Atomic: a value that is set at the same time is kept.

        Raises:
            InvalidMetadata: an id is invalid, or the session would have too much metadata; nothing was changed.
        """
        problems = {name: "; ".join(_problems({name: value})) for name, value in metadata.items()}
        valid = {name: value for name, value in metadata.items() if not problems[name]}
        existing: Mapping[str, JsonValue] = self.get(application, session_id)
        if valid.keys() - existing.keys():
            existing = self._repository.change(application, session_id, lambda before: {**valid, **before}).before
        refused = {
            name: reason
            for name, value in metadata.items()
            if (reason := problems[name] or _difference(existing, name, value))
        }
        return Merged(
            added={name: value for name, value in valid.items() if name not in existing},
            existing={name: value for name, value in valid.items() if name in existing and name not in refused},
            refused=refused,
        )

    def delete(
        self, application: str, session_id: str, keys: str | Iterable[str] | None = None, *, paths: bool = False
    ) -> int:
        """Remove these keys, or a single one, or all if ``None``; returns how many existed.

        All are those that exist when this is called: names that are set at the same time may stay.
        """
        _check_ids(application, session_id)
        if keys is None:
            # Exactly these are removed, so that others are notified of each name.
            names, paths = list(self._repository.get(application, session_id)), False
        else:
            # Not every storage can be queried for an invalid name.
            names = [key for key in as_texts(keys) if not metadata_name_problem("metadata", key)]

        def write() -> int:
            if not paths or not any("." in name for name in names):
                return self._repository.delete(application, session_id, names)
            versions = self._repository.change(application, session_id, partial(delete_paths, paths=names))
            return len(find_paths(versions.before, names))

        return self._make_change(application, session_id, "delete", names, paths=paths, write=write)

    def index(self, names: str | Iterable[str], *, paths: bool = False) -> None:
        """Have MongoDB index the values of these names or paths, for programs that query it directly.

        May be repeated. In the documents, ``%``, ``.`` and ``$`` in names are percent-encoded.

        Raises:
            InvalidMetadata: a name is invalid.
        """
        listed = [name.split(".") if paths and isinstance(name, str) else [name] for name in as_texts(names)]
        if problems := list(_name_problems("metadata", (name for path in listed for name in path))):
            raise InvalidMetadata("; ".join(problems))
        self._repository.index(listed)


def _write_only(*_: object, write: Callable[[], int], **__: object) -> int:
    return write()


def _set_paths(changes: Mapping[str, JsonValue], metadata: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    after = set_paths(metadata, changes)
    # Checked as a whole, because nested dictionaries grow with each change.
    touched = {path.partition(".")[0] for path in changes}
    if problems := list(_problems({name: after[name] for name in touched})):
        raise InvalidMetadata("; ".join(problems))
    return after


def _difference(existing: Mapping[str, JsonValue], name: str, value: JsonValue) -> str:
    """Why a valid value cannot be merged into the existing metadata; empty if it can."""
    if name not in existing or is_same_json(existing[name], value):
        return ""
    kept = json.dumps(existing[name], sort_keys=True)
    return f"metadata.{name} has another value already, which was kept: {kept[:_SHOWN_OF_VALUE]}"


def _check_ids(application: str, session_id: str) -> None:
    if problems := [*_id_problems(application, session_id)]:
        raise InvalidMetadata("; ".join(problems))


def _id_problems(application: str, session_id: str) -> Iterator[str]:
    for name, value in (("application", application), ("session_id", session_id)):
        if problem := label_problem(name, value):
            yield problem.message


def _name_problems(where: str, names: Iterable[object]) -> Iterator[str]:
    return (problem.message for name in names if (problem := metadata_name_problem(where, name)))


def _problems(changes: Mapping[str, JsonValue]) -> Iterator[str]:
    """The reasons why not every storage can store this. Not recursive, so that deep nesting does no harm."""
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
                yield from _name_problems(where, value)
                stack.extend((f"{where}.{name}", item, depth + 1) for name, item in value.items())
            case list():
                stack.extend((f"{where}[{index}]", item, depth + 1) for index, item in enumerate(value))
            case _:
                if problem := (text_problem if isinstance(value, str) else number_problem)(where, value):
                    yield problem.message
