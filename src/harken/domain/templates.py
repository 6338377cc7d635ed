"""Text templates with named placeholders such as ``"{rating} in {session_id}"``, without expressions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from string import Formatter
from typing import Final

from harken.domain.texts import no_such

_FORMATTER: Final = Formatter()


def template_problem(template: object, names: Collection[str]) -> str | None:
    """Return why ``template`` is not a valid template for values of these names; ``None`` if it is valid."""
    if not isinstance(template, str):
        return f"A template must be a string, got {type(template).__name__}"
    known = [f"{{{name}}}" for name in sorted(names)]
    try:
        placeholders = [_placeholder(*part) for _, *part in _FORMATTER.parse(template)]
    except ValueError as error:
        return f"The template {template!r} is invalid: {error}; write a literal brace twice"
    unknown = next((one for one in placeholders if one and one not in known), None)
    return unknown and f"The template {template!r} is invalid: {no_such('placeholder', unknown, known)}"


def _placeholder(name: str | None, spec: str | None, conversion: str | None) -> str | None:
    """Return a placeholder as it is written; ``None`` for text without one."""
    if name is None:
        return None
    return f"{{{name}{f'!{conversion}' if conversion else ''}{f':{spec}' if spec else ''}}}"


def fill_template(template: str, values: Mapping[str, object]) -> str:
    """Return the template with its placeholders replaced. :func:`template_problem` must have accepted it."""
    return template.format_map(values)
