"""What an application knows of a session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from harken.domain.errors import InvalidMetadata
from harken.domain.rules import label_problem, name_problem, number_problem, text_problem
from harken.ports.sessions import JsonValue, SessionRepository

MAX_DEPTH = 20
MAX_VALUES = 10_000


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
            InvalidMetadata: an id, a name or a value that not every storage could keep; nothing was changed.
        """
        problems = [*_id_problems(application, session_id), *_problems(changes)]
        if problems:
            raise InvalidMetadata("; ".join(problems))
        self._repository.update(application, session_id, changes)

    def delete(self, application: str, session_id: str, keys: Iterable[str] | None = None) -> int:
        """Remove these keys (all, if ``None``) and say how many there were."""
        _check_ids(application, session_id)
        return self._repository.delete(application, session_id, keys)


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
