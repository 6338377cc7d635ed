"""The fields of submitted forms."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from harken_adapters.hosts.http.wire.messages import Request
from harken_adapters.hosts.http.wire.parameters import Parameters
from harken_adapters.hosts.http.wire.problems import Problem

_MOST_FIELDS: Final = 200


def form_of(request: Request) -> Parameters:
    """The fields of the form in the body of a request.

    Raises:
        Problem: the body is not a form.
    """
    values: dict[str, list[str]] = {}
    try:
        for name, value in parse_qsl(
            request.body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        ):
            values.setdefault(name, []).append(value)
    except ValueError as error:
        raise Problem("malformed-body", f"The body is not a form: {error}") from None
    return Parameters(values)


def lines_of(form: Parameters, name: str) -> list[str]:
    """The lines of a text field, or of several of that name, without empty ones."""
    lines = (line.strip() for text in form.all(name) for line in text.splitlines())
    return [line for line in lines if line]
