"""Text templates with named placeholders such as ``"{rating} in {session_id}"``, without expressions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from string import Formatter
from typing import Final

_FORMATTER: Final = Formatter()


def template_problem(template: object, names: Collection[str]) -> str | None:
    """Return why ``template`` is not a valid template for values of these names; ``None`` if it is valid."""
    if not isinstance(template, str):
        return f"A template must be a string, got {type(template).__name__}"
    known = ", ".join(f"{{{name}}}" for name in sorted(names))
    try:
        parts = [(name, spec, conversion) for _, name, spec, conversion in _FORMATTER.parse(template)]
    except ValueError as error:
        return f"The template {template!r} is invalid: {error}; write a literal brace twice"
    for name, spec, conversion in parts:
        if name is not None and (name not in names or spec or conversion):
            return f"The template {template!r} has an unknown placeholder; known are {known}"
    return None


def fill_template(template: str, values: Mapping[str, object]) -> str:
    """Return the template with its placeholders replaced. :func:`template_problem` must have accepted it."""
    return template.format_map(values)
