"""Texts with places to fill in, such as ``"{rating} in {session_id}"``: plain names, and nothing that could run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from string import Formatter
from typing import Final

_FORMATTER: Final = Formatter()


def template_problem(template: object, names: Collection[str]) -> str | None:
    """What makes ``template`` unfit to be filled with values of these names, as a sentence, if anything does."""
    if not isinstance(template, str):
        return f"A template must be text, got {type(template).__name__}"
    known = ", ".join(f"{{{name}}}" for name in sorted(names))
    try:
        parts = [(name, spec, conversion) for _, name, spec, conversion in _FORMATTER.parse(template)]
    except ValueError as error:
        return f"The template {template!r} cannot be read: {error}; a brace that is meant is written twice"
    for name, spec, conversion in parts:
        if name is not None and (name not in names or spec or conversion):
            return f"The template {template!r} has a place that nothing fills; known are {known}"
    return None


def filled(template: str, values: Mapping[str, object]) -> str:
    """The template with its places filled in; to be asked for only where :func:`template_problem` found nothing."""
    return template.format_map(values)
