"""The schemas of the API as Pydantic models, so that FastAPI adds them to the document of the host application.

FastAPI has no other way to add a schema by name. It collects the models of all routes and of all routers, so that each
is added once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import GenericAlias
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, create_model

from harken_adapters.hosts.http.documentation.schemas import SCHEMAS, Schema

#: Before the name of each schema, as the host application may have its own ``Feedback``.
SCHEMA_PREFIX: Final = "Harken"


def models_in(document: Mapping[str, Any]) -> GenericAlias | None:
    """The type of a tuple of all models that a document refers to; ``None`` if it refers to none.

    It is a response model that FastAPI collects the models from. Responses are not validated against it.
    """
    names = sorted({name.removeprefix(SCHEMA_PREFIX) for name in _references(document)})
    return GenericAlias(tuple, tuple(map(_model, names))) if names else None


@cache
def _model(name: str) -> type[BaseModel]:
    """The model of a schema. Its fields are the schemas that this one refers to, so that FastAPI finds those too."""
    own = f"{SCHEMA_PREFIX}{name}"
    others = sorted(set(_references(SCHEMAS[name])))

    def replace(generated: Schema) -> None:
        """Put the schema itself in place of the generated one, with the references that Pydantic uses."""
        references = {other: generated["properties"][other]["$ref"] for other in others}
        generated.clear()
        generated.update(_with_references(SCHEMAS[name], references))

    fields: dict[str, Any] = {other: (own if other == name else _model(other), ...) for other in others}
    return create_model(own, __config__=ConfigDict(json_schema_extra=replace), **fields)


def _references(node: Any) -> Iterator[str]:
    """The names of the schemas that a node refers to."""
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"].rpartition("/")[2]
        for item in node.values():
            yield from _references(item)


def _with_references(node: Any, references: dict[str, str]) -> Any:
    """A copy of a node that refers to other places, by the name of the schema."""
    if isinstance(node, list):
        return [_with_references(item, references) for item in node]
    if not isinstance(node, dict):
        return node
    copied = {name: _with_references(item, references) for name, item in node.items()}
    if "$ref" in node:
        copied["$ref"] = references[node["$ref"].rpartition("/")[2]]
    return copied
