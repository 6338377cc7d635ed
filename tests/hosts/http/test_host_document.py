"""The schemas of the API in the OpenAPI document of a FastAPI application that includes the router."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from pydantic import BaseModel

from harken import Harken
from harken_adapters.hosts.fastapi import ServerSettings, feedback_router
from harken_adapters.hosts.http.documentation.openapi import document
from hosts.serving import OPEN

#: They generate large documents.
pytestmark = pytest.mark.slow

SETTINGS = ServerSettings(**OPEN)
OWN = document(version="1")["components"]["schemas"]
REFERENCE = "#/components/schemas/"
#: A third of the size with all schemas inlined, which was 1,890,205.
MAX_CHARACTERS = 630_000


class Feedback(BaseModel):
    """A model of the host with the name of one of Harken's schemas."""

    stars: int


def shop(*routers: tuple[str, Any]) -> FastAPI:
    """An application with a model of its own, and routers with their prefixes."""
    app = FastAPI(title="Shop")

    @app.post("/own")
    def own(feedback: Feedback) -> Feedback:
        return feedback

    for prefix, router in routers:
        app.include_router(router, prefix=prefix)
    return app


def references(node: Any) -> Iterator[str]:
    """The targets of all references in a document."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for item in node.values():
            yield from references(item)


def comparable(schemas: Any) -> Any:
    """Schemas with all numbers as floats, which FastAPI makes of them."""
    return json.loads(json.dumps(schemas), parse_int=float)


def with_prefix(schema: Any) -> Any:
    """One of Harken's schemas with prefixes to the names that it refers to."""
    return json.loads(json.dumps(schema).replace(REFERENCE, f"{REFERENCE}Harken"))


@pytest.mark.parametrize("prefix", ["", "/v1/feedback"])
def test_names_the_schemas(hk: Harken, prefix: str) -> None:
    """The document is valid, and has each schema of the API once, by name and in full."""
    whole = shop((prefix, feedback_router(hk, SETTINGS))).openapi()
    schemathesis.openapi.from_dict(whole).validate()
    schemas = whole["components"]["schemas"]
    used = {target.removeprefix(REFERENCE) for target in references(whole)}
    assert used <= schemas.keys()
    ours = {name: schema for name, schema in schemas.items() if name.startswith("Harken")}
    assert len(ours) > 50
    assert comparable(ours) == comparable({name: with_prefix(OWN[name.removeprefix("Harken")]) for name in ours})
    body = whole["paths"][f"{prefix}/api/sessions/{{session_id}}/feedback"]["post"]["requestBody"]
    assert body["content"]["application/json"]["schema"] == {"$ref": f"{REFERENCE}HarkenSubmission"}


def test_is_small(hk: Harken) -> None:
    """The document stays small, as clients are generated from it."""
    assert len(json.dumps(shop(("", feedback_router(hk, SETTINGS))).openapi())) < MAX_CHARACTERS


def test_keeps_the_models_of_the_host(hk: Harken) -> None:
    """A model of the host with the name of one of Harken's schemas keeps its name and its schema."""
    whole = shop(("", feedback_router(hk, SETTINGS))).openapi()
    assert whole["components"]["schemas"]["Feedback"]["properties"].keys() == {"stars"}
    assert whole["paths"]["/own"]["post"]["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": f"{REFERENCE}Feedback"
    }


@pytest.mark.filterwarnings("ignore:Duplicate Operation ID")
def test_several_routers(hk: Harken) -> None:
    """Two routers share the schemas."""
    one = shop(("/a", feedback_router(hk, SETTINGS))).openapi()
    two = shop(("/a", feedback_router(hk, SETTINGS)), ("/b", feedback_router(hk, SETTINGS))).openapi()
    assert two["components"]["schemas"] == one["components"]["schemas"]


def test_a_mounted_application(hk: Harken) -> None:
    """A mounted application has a document of its own with the schemas, and that of the outer one has none of them."""
    outer, inner = shop(), shop(("", feedback_router(hk, SETTINGS)))
    outer.mount("/inner", inner)
    assert outer.openapi()["components"]["schemas"].keys() == {"Feedback", "HTTPValidationError", "ValidationError"}
    schemathesis.openapi.from_dict(inner.openapi()).validate()
