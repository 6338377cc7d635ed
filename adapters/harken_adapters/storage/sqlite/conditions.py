"""Translation of queries to SQL."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from attrs import evolve

from harken.domain.instants import to_microseconds
from harken.domain.moderation import ModerationStatus
from harken.domain.query import ANY_STATUS, FeedbackQuery, Labels
from harken.domain.search import TextSearch
from harken_adapters.storage.sqlite.rows import dump, rating_number

Condition = tuple[str, tuple[object, ...]]

_PENDING: Final = frozenset({ModerationStatus.PENDING})
#: The longest conditions are those on the context, which are repeated for each agent. A statement has at most a million
#: characters and 32,766 parameters.
_MOST_REPEATED: Final = 1_000
_CONTEXT_LABEL: Final = """
    CASE json_type(feedback.context, ?)
        WHEN 'text' THEN feedback.context ->> ? WHEN 'null' THEN NULL ELSE feedback.context -> ?
    END
"""


def where(query: FeedbackQuery, *more: Condition) -> Condition:
    """Return the condition on rows of feedback, with its parameters."""
    conditions = [*_conditions(query), *more]
    if query.text is not None:
        # Last, as it takes longest.
        conditions.append(("has_words(feedback.comment, ?)", (query.text,)))
    sql = " AND ".join(condition for condition, _ in conditions)
    return sql, tuple(parameter for _, parameters in conditions for parameter in parameters)


def select_in_order(columns: str, query: FeedbackQuery, *more: Condition, order: str) -> Condition:
    """Return the statement that selects matching feedback in an order, with its parameters.

    The columns include those of the order.
    """
    # SQLite merges the feedback of several agents, each in the order of its index. For one condition on all of them, it
    # would read the feedback of all other agents too.
    parts = [where(part, *more) for part in _split_by_agent(query)]
    sql = " UNION ALL ".join(f"SELECT {columns} FROM feedback WHERE {condition}" for condition, _ in parts)  # noqa: S608
    return f"{sql} {order}", tuple(parameter for _, parameters in parts for parameter in parameters)


def _split_by_agent(query: FeedbackQuery) -> list[FeedbackQuery]:
    """Return a query for each agent, unless the feedback is found by another index."""
    found_otherwise = (query.feedback_id, query.session_id, query.author) != (None, None, None)
    if query.agent_id is None or found_otherwise or query.statuses == _PENDING:
        return [query]
    if len(query.agent_id) * len(query.context) > _MOST_REPEATED:
        return [query]
    return [evolve(query, agent_id=agent_id) for agent_id in query.agent_id]


def one_of(column: str, values: Collection[object]) -> Condition:
    """Return the condition that a column has one of the values."""
    places = ", ".join("?" * len(values))
    return f"{column} = ?" if len(values) == 1 else f"{column} IN ({places})", tuple(values)


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
        "author": query.author,
    }
    yield from ((f"feedback.{column} = ?", (value,)) for column, value in equal.items() if value is not None)
    if query.agent_id is not None:
        yield one_of("feedback.agent_id", query.agent_id)
    if query.rating is not None:
        yield one_of("feedback.rating", [*map(rating_number, query.rating)])
    if query.tag is not None:
        condition, tags = _in_list("tag.value", query.tag)
        yield f"EXISTS (SELECT 1 FROM json_each(feedback.tags) AS tag WHERE {condition})", tags  # noqa: S608
    yield from (_label_condition(name, labels) for name, labels in query.context.items())
    if query.has_comment is not None:
        yield f"feedback.comment {'<>' if query.has_comment else '='} ''", ()
    bounds = (">=", query.since), ("<", query.until)
    yield from (
        (f"feedback.created_at {sign} ?", (to_microseconds(moment),)) for sign, moment in bounds if moment is not None
    )
    if query.statuses != ANY_STATUS:
        yield _status_condition(query.statuses), ()
    if query.withdrawn is not None:
        yield f"feedback.withdrawn_at IS {'NOT ' if query.withdrawn else ''}NULL", ()


def _status_condition(statuses: Collection[ModerationStatus]) -> str:
    # Literals instead of parameters, and ``=`` for one status: otherwise SQLite does not use the partial index.
    literals = sorted(f"'{status.value}'" for status in statuses)
    return f"feedback.status = {literals[0]}" if len(literals) == 1 else f"feedback.status IN ({', '.join(literals)})"


def _in_list(sql: str, values: Collection[object]) -> Condition:
    """Return the same condition with one parameter, for filters of which a statement may have many."""
    return f"{sql} IN (SELECT value FROM json_each(?))", (dump(list(values)),)  # noqa: S608 - made of constants


def _label_condition(name: str, labels: Labels) -> Condition:
    sql, path = context_label(name)
    ways: list[Condition] = []
    if texts := labels - {None}:
        condition, parameters = _in_list(sql, texts)
        ways.append((condition, (*path, *parameters)))
    if None in labels:
        # IN does not find NULL.
        ways.append((f"{sql} IS NULL", path))
    any_of = " OR ".join(condition for condition, _ in ways)
    return f"({any_of})", tuple(parameter for _, parameters in ways for parameter in parameters)
