"""The schemas of the API as Pydantic models, so that FastAPI adds them to the document of the host application.

FastAPI has no other way to add a schema by name. It collects the models of all routes and of all routers, so that each
is added once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import GenericAlias
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, create_model

from harken_adapters.hosts.http.documentation.references import map_references, referenced_names, target_name
from harken_adapters.hosts.http.documentation.schemas import SCHEMAS, Schema

#: Before the name of each schema, as the host application may have its own ``Feedback``.
SCHEMA_PREFIX: Final = "Harken"


def models_in(document: Mapping[str, Any]) -> GenericAlias | None:
    """The type of a tuple of all models that a document refers to; ``None`` if it refers to none.

    It is a response model that FastAPI collects the models from. Responses are not validated against it.
    """
    names = sorted({name.removeprefix(SCHEMA_PREFIX) for name in referenced_names(document)})
    return GenericAlias(tuple, tuple(map(_model, names))) if names else None


@cache
def _model(name: str) -> type[BaseModel]:
    """The model of a schema. Its fields are the schemas that this one refers to, so that FastAPI finds those too."""
    own = f"{SCHEMA_PREFIX}{name}"
    others = sorted(set(referenced_names(SCHEMAS[name])))

    def replace(generated: Schema) -> None:
        """Put the schema itself in place of the generated one, with the references that Pydantic uses."""
        references = {other: {"$ref": generated["properties"][other]["$ref"]} for other in others}
        generated.clear()
        generated.update(map_references(SCHEMAS[name], lambda target: references[target_name(target)]))

    fields: dict[str, Any] = {other: (own if other == name else _model(other), ...) for other in others}
    return create_model(own, __config__=ConfigDict(json_schema_extra=replace), **fields)
