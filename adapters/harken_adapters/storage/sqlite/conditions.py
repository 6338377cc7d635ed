"""Translation of queries to SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harken.domain.instants import to_microseconds
from harken.domain.query import ANY_STATUS, FeedbackQuery, label
from harken.domain.search import TextSearch
from harken_adapters.storage.sqlite.rows import rating_number

Condition = tuple[str, tuple[object, ...]]

_CONTEXT_LABEL: Final = """
    CASE json_type(feedback.context, ?)
        WHEN 'text' THEN feedback.context ->> ? WHEN 'null' THEN NULL ELSE feedback.context -> ?
    END
"""


def where(query: FeedbackQuery, *more: Condition) -> Condition:
    """Return the condition on rows of feedback, with its parameters."""
    conditions = (*_conditions(query), *more)
    sql = " AND ".join(condition for condition, _ in conditions)
    return sql, tuple(parameter for _, parameters in conditions for parameter in parameters)


def context_label(name: str) -> Condition:
    """Return SQL for the label of a context value: a string unchanged, any other value as its stored JSON."""
    path = f'$."{name}"'
    return _CONTEXT_LABEL, (path, path, path)


def has_words(comment: str, text: str) -> bool:
    """Whether a comment has the words of a search: an SQL function."""
    return TextSearch.parse(text).is_in(comment)


def _conditions(query: FeedbackQuery) -> Iterator[Condition]:
    equal = {
        "application": query.application,
        "id": query.feedback_id,
        "session_id": query.session_id,
        "message_id": query.message_id,
        "agent_id": query.agent_id,
        "author": query.author,
        "rating": None if query.rating is None else rating_number(query.rating),
    }
    yield from ((f"feedback.{column} = ?", (value,)) for column, value in equal.items() if value is not None)
    if query.tag is not None:
        yield "EXISTS (SELECT 1 FROM json_each(feedback.tags) WHERE value = ?)", (query.tag,)
    for name, value in query.context.items():
        sql, parameters = context_label(name)
        yield f"{sql} IS ?", (*parameters, label(value))
    if query.since is not None:
        yield "feedback.created_at >= ?", (to_microseconds(query.since),)
    if query.until is not None:
        yield "feedback.created_at < ?", (to_microseconds(query.until),)
    # Literals instead of parameters, and ``=`` for one status: otherwise SQLite does not use the partial index.
    if query.statuses != ANY_STATUS:
        statuses = sorted(f"'{status.value}'" for status in query.statuses)
        yield (
            f"feedback.status = {statuses[0]}" if len(statuses) == 1 else f"feedback.status IN ({', '.join(statuses)})",
            (),
        )
    if query.withdrawn is not None:
        yield f"feedback.withdrawn_at IS {'NOT ' if query.withdrawn else ''}NULL", ()
    if query.text is not None:
        # Last, as it takes longest.
        yield "has_words(feedback.comment, ?)", (query.text,)
