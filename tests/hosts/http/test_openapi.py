"""The OpenAPI document, and the documentation page."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st

import harken
from channels import Recorder
from harken import Harken, HarkenError, Target
from harken.domain.errors import DeliveryFailed
from harken.domain.routes import Route
from harken.ports.notifier import Notification
from harken.testing import with_content
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.documentation import docs_page
from harken_adapters.hosts.http.documentation.openapi import document, operation_document
from harken_adapters.hosts.http.operation import Operation
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.serving.pages import Pages
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.streaming import EventStream
from harken_adapters.hosts.http.wire.messages import Request, Response
from harken_adapters.hosts.http.wire.problems import KINDS, Problem
from support import ManualClock

#: Many small tests, which take too long for the fast subset.
pytestmark = pytest.mark.slow

#: Problems that a server reports before any operation is called.
OF_THE_SERVER = {"malformed-request", "request-timeout", "head-too-large"}
DOCUMENT = document(version="1.2.3")
SCHEMAS = DOCUMENT["components"]["schemas"]
JSON = "application/json"
PROBLEM = "application/problem+json"
UNLIMITED = {"limit_by_key": "", "limit_by_session": "", "limit_by_address": "", "limit_production": ""}
OPEN = ServerSettings(access="open", **UNLIMITED)
#: Required query parameters of operations, besides those in the document's examples.
NEEDED = {
    "withdraw_vote": "author=user-7",
    "withdraw_session_vote": "author=user-7",
    "list_votes": "author=user-7",
    "analytics_compare": "since=2026-03-01",
}

each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
each_with_body = pytest.mark.parametrize(
    "operation", [operation for operation in OPERATIONS if operation.body], ids=lambda operation: operation.name
)


def follow(node: Any) -> Any:
    """The target of a reference, or the node itself."""
    if not (isinstance(node, dict) and "$ref" in node):
        return node
    found: Any = DOCUMENT
    for step in node["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found


def described(operation: Operation) -> dict[str, Any]:
    """The description of an operation in the document."""
    found: dict[str, Any] = DOCUMENT["paths"][operation.path][operation.method.lower()]
    return found


def validator(schema: dict[str, Any]) -> Any:
    """A validator for a schema of the document, including formats."""
    return jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]}, validate_formats=True)


def answers(operation: Operation) -> dict[int, dict[str, Any]]:
    """The responses of an operation in the document."""
    return {int(status): follow(response) for status, response in described(operation)["responses"].items()}


def parameters(operation: Operation, place: str) -> dict[str, dict[str, Any]]:
    """The parameters of an operation in the document, by name."""
    known = map(follow, described(operation)["parameters"])
    return {parameter["name"]: parameter for parameter in known if parameter["in"] == place}


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every object in a document, except those in examples."""
    if isinstance(node, list):
        for item in node:
            yield from nodes(item)
    elif isinstance(node, dict):
        yield node
        for name, item in node.items():
            if name not in ("example", "examples"):
                yield from nodes(item)


def check(operation: Operation, response: Response) -> None:
    """Check a response against the document."""
    documented = answers(operation)[response.status]
    content = documented.get("content", {})
    if response.media_type is None:
        assert not content
        assert not response.body
        return
    kind = response.media_type.partition(";")[0]
    if response.chunks is None:
        validator(content[kind]["schema"]).validate(json.loads(response.body))
    else:
        assert content[kind]["schema"] == {"type": "string"}
        if isinstance(response.chunks, EventStream):
            response.chunks.close()
    if kind == PROBLEM:
        named = json.loads(response.body)["type"].rpartition(":")[2]
        assert named in content[kind]["examples"]


@frozen
class Client:
    """Calls an API with the examples of the document, unless a test overrides them."""

    api: Api
    feedback_id: str
    delivery_id: str = "none"
    alert_id: str = "none"
    key_id: str = "none"

    def ask(
        self, operation: Operation, *, query: str | None = None, body: bytes | None = None, **headers: str
    ) -> Response:
        """Send a request, check that the document describes the response, and return it."""
        parts = {name: parameter["example"] for name, parameter in parameters(operation, "path").items()}
        parts |= {
            name: getattr(self, name) for name in parts.keys() & {"feedback_id", "delivery_id", "alert_id", "key_id"}
        }
        needed = [
            f"{name}={one['example']}" for name, one in parameters(operation, "query").items() if "required" in one
        ]
        sent = {"content_type": JSON, **headers} if operation.body else headers
        request = Request(
            method=operation.method,
            path=operation.path.format_map(parts),
            parts=parts,
            query="&".join([*needed, NEEDED.get(operation.name, "")]).strip("&") if query is None else query,
            header={name.replace("_", "-"): value for name, value in sent.items()}.get,
            body=example(operation) if body is None else body,
            peer="127.0.0.1",
        )
        try:
            response = self.api.complete(operation, self.api.admit(operation, request))
        except (Problem, HarkenError) as error:
            response = self.api.refuse(operation, request, error)
        check(operation, response)
        return response


def example(operation: Operation) -> bytes:
    """The example of the request body in the document."""
    if not operation.body:
        return b""
    return json.dumps(described(operation)["requestBody"]["content"][JSON]["example"]).encode()


def refuse(_: Notification) -> None:
    """Fails like a receiver that rejects everything."""
    raise DeliveryFailed("The receiver answered 400", retryable=False)


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A ready Harken on an empty memory storage, with a channel that always fails."""
    with harken.connect("memory://", clock=clock, channels={"support": Recorder(refuse)}) as connected:
        yield connected


@pytest.fixture
def client(hk: Harken) -> Iterator[Client]:
    """A client of an open API with feedback that has conflicting decisions, a vote and metadata.

    It also has a route, a resolved alert, and dead deliveries.
    """
    given = hk.submit("user-123", rating="down", comment="so slow", author="user-7", tags=["wrong answer"])
    feedback_id = given.feedback.id
    for status in ("rejected", "approved"):
        hk.moderation.decide("default", feedback_id, status)
    hk.collection.set_vote(Target("user-123", "m-4"), "user-7", "up")
    hk.sessions.update("default", "user-123", {"user_tier": "premium", "seen": [1, {"deep": None}]})
    hk.routes.put(Route(name="downs", channel="support", applications={"default"}))
    hk.channels.switch_off("support", "by hand")
    hk.channels.switch_on("support")
    hk.relay.run_due()
    (alert,), (delivery, *_) = hk.alerts.find("default"), hk.deliveries.find("dead")
    api = Api(hk, OPEN)
    yield Client(api, feedback_id, delivery.id, alert.id, hk.keys.create("default", ["read"]).key.id)
    api.close()


class TestDocument:
    def test_is_openapi_31(self) -> None:
        """The document is valid OpenAPI 3.1."""
        assert DOCUMENT["openapi"].startswith("3.1.")
        schemathesis.openapi.from_dict(DOCUMENT).validate()

    def test_every_schema_is_valid(self) -> None:
        """Each schema is a valid JSON Schema of the draft that OpenAPI 3.1 uses."""
        schemas = [node["schema"] for node in nodes(DOCUMENT) if "schema" in node]
        for schema in [*SCHEMAS.values(), *schemas]:
            jsonschema_rs.meta.validate(schema)
            validator(schema)

    def test_every_reference_has_a_target(self) -> None:
        """Every reference has a target."""
        references = [node for node in nodes(DOCUMENT) if "$ref" in node]
        assert references
        for reference in references:
            assert follow(reference)

    def test_all_schemas_are_used(self) -> None:
        """Every schema is used."""
        used = {node["$ref"].rpartition("/")[2] for node in nodes(DOCUMENT) if "$ref" in node}
        assert used >= SCHEMAS.keys()

    def test_has_all_operations_and_no_others(self) -> None:
        """The document has exactly the operations of the table, each with a unique id."""
        found = [one["operationId"] for path in DOCUMENT["paths"].values() for one in path.values()]
        assert sorted(found) == sorted({operation.name for operation in OPERATIONS})

    def test_has_a_root(self) -> None:
        """With a prefix, all paths of the document have it."""
        moved = document(version="1.2.3", root="/x")
        assert set(moved["paths"]) == {f"/x{path}" for path in DOCUMENT["paths"]}

    def test_is_a_copy(self) -> None:
        """Changing a document does not affect later ones."""
        document(version="1.2.3")["components"]["schemas"]["Receipt"].clear()
        assert document(version="1.2.3") == DOCUMENT

    def test_every_tag_is_described(self) -> None:
        """Each tag has a description."""
        assert all(tag["description"] for tag in DOCUMENT["tags"])

    def test_every_kind_of_problem_has_an_example(self) -> None:
        """The example of each kind of problem has its status, and a detail that is not just the title."""
        shown = {
            kind: one["value"]
            for response in DOCUMENT["components"]["responses"].values()
            for kind, one in response["content"][PROBLEM]["examples"].items()
        }
        assert KINDS.keys() - shown.keys() == {"method-not-allowed", "internal", *OF_THE_SERVER}
        for kind, problem in shown.items():
            assert problem["status"] == KINDS[kind][0]
            assert problem["detail"] != problem["title"]


class TestOperation:
    @each_operation
    def test_has_all_its_answers(self, operation: Operation) -> None:
        """An operation has all responses of the table, and all its problems by status."""
        documented = answers(operation)
        assert operation.answers.keys() <= documented.keys()
        for kind in ("unauthorized", "forbidden", "invalid", "rate-limited", "unavailable", *operation.problems):
            assert kind in documented[KINDS[kind][0]]["content"][PROBLEM]["examples"]

    @each_operation
    def test_has_all_its_path_parameters(self, operation: Operation) -> None:
        """Each path parameter is described and required."""
        known = parameters(operation, "path")
        assert sorted(known) == sorted(re.findall(r"{(\w+)}", operation.path))
        assert all(parameter["required"] for parameter in known.values())

    @each_operation
    def test_examples_are_valid(self, operation: Operation) -> None:
        """Every example in the document is valid: of parameters, bodies, responses and problems."""
        whole = described(operation)
        shown = [follow(parameter) for parameter in whole["parameters"]]
        contents = [whole.get("requestBody", {}), *answers(operation).values()]
        shown += [media for content in contents for media in content.get("content", {}).values()]
        for one in shown:
            values = [one["example"]] if "example" in one else []
            values += [named["value"] for named in one.get("examples", {}).values()]
            for value in values:
                validator(one["schema"]).validate(value)

    @each_operation
    def test_every_json_has_an_example(self, operation: Operation) -> None:
        """Every JSON body has an example."""
        contents = [described(operation).get("requestBody", {}), *answers(operation).values()]
        for media_type, media in ((name, one) for part in contents for name, one in part.get("content", {}).items()):
            assert media_type not in (JSON, PROBLEM) or "example" in media or "examples" in media

    @each_operation
    def test_for_another_application(self, operation: Operation) -> None:
        """The document of a single operation refers to schemas only, by prefixed names."""
        alone = operation_document(operation, "Harken")
        targets = [node["$ref"] for node in nodes(alone) if "$ref" in node]
        assert {target.rpartition("/Harken")[0] for target in targets} <= {"#/components/schemas"}
        assert {target.rpartition("/Harken")[2] for target in targets} <= SCHEMAS.keys()
        assert alone["responses"].keys() == described(operation)["responses"].keys()
        for node in nodes(alone):
            if "schema" in node:
                jsonschema_rs.meta.validate(node["schema"])

    @each_operation
    def test_has_its_security(self, operation: Operation) -> None:
        """Each operation requires an API key with its scope, or a session token if it accepts them."""
        whole = described(operation)
        assert f"`{operation.scope.value}`" in whole["description"]
        schemes = {name for one in whole["security"] for name in one}
        assert schemes == {"apiKey", "sessionToken"} if operation.tokens else schemes == {"apiKey"}
        assert schemes <= DOCUMENT["components"]["securitySchemes"].keys()


class TestApi:
    """The API conforms to the document."""

    @each_operation
    def test_accepts_the_examples(self, client: Client, operation: Operation) -> None:
        """Every example request is accepted, and its response conforms to the document."""
        response = client.ask(operation)
        assert response.status in operation.answers
        given = {name for name, _ in response.headers}
        assert given >= {name.lower() for name in operation.answers[response.status].headers} & {"location", "etag"}

    @pytest.mark.parametrize("by", ["agent", "tag", "session", "context.user_tier"])
    def test_groups(self, client: Client, by: str) -> None:
        """Grouped statistics conform."""
        client.ask(named("analytics_summary"), query=f"by={by}")

    @pytest.mark.parametrize("by", ["hour", "day", "week", "hour-of-day", "weekday"])
    def test_trends(self, client: Client, by: str) -> None:
        """The points of every kind of trend conform."""
        client.ask(named("analytics_trend"), query=f"by={by}&zone=Asia/Kathmandu")

    @pytest.mark.parametrize("sentiment", [None, harken.Sentiment(-0.5, 0.25)])
    def test_feedback_with_a_history(self, hk: Harken, client: Client, sentiment: harken.Sentiment | None) -> None:
        """Feedback conforms in every state: changed, with a reply, with a sentiment, and withdrawn."""
        hk.collection.reply("default", client.feedback_id, "Thank you")
        hk.collection.change("default", client.feedback_id, harken.Change(comment="still slow", context={"n": 1.5e300}))
        one = hk.collection.get("default", client.feedback_id)
        one = with_content(one, sentiment=sentiment)
        felt = evolve(one, id="felt", withdrawn_at=one.updated_at, idempotency_key="k")
        hk.collection.restore([felt])
        response = client.ask(named("list_feedback"), query="withdrawn=true")
        assert len(json.loads(response.body)["feedbacks"]) == 3
        client.ask(named("analytics_summary"), query="withdrawn=true")

    def test_a_page_that_is_not_the_last(self, client: Client) -> None:
        """A page that is not the last conforms, and links to the next."""
        response = client.ask(named("list_feedback"), query="limit=1")
        following = json.loads(response.body)["next"]
        assert client.ask(named("list_feedback"), query=f"limit=1&after={following}").status == 200

    @each_operation
    def test_problems_of_all_operations(self, hk: Harken, client: Client, operation: Operation) -> None:
        """Missing credentials, unknown parameters, invalid text and exceeded limits are described for all
        operations.
        """
        assert client.ask(operation, query="nonsense=1").status == 422
        assert client.ask(operation, query="application=%ff").status == 400
        assert client.ask(operation, authorization="Bearer hk_x").status == 401
        hasty = Api(hk, ServerSettings(access="open", **{**UNLIMITED, "limit_by_address": "1/minute"}))
        limited = evolve(client, api=hasty)
        limited.ask(operation)
        assert limited.ask(operation).status == 429
        hasty.close()

    @each_with_body
    def test_problems_of_bodies(self, client: Client, operation: Operation) -> None:
        """Invalid JSON, other content types and unknown fields are described for all operations with a body."""
        assert client.ask(operation, body=b"{").status == 400
        assert client.ask(operation, body=b"[]").status == 422
        assert client.ask(operation, body=b'{"no such": {"\\u0000": 1}}').status == 422
        assert client.ask(operation, content_type="text/plain").status == 415

    def test_problems_of_single_operations(self, client: Client) -> None:
        """Problems of single operations are described for them."""
        stale = client.ask(named("change_feedback"), if_match='"1"')
        refused = client.ask(named("submit_feedback"), body=b'{"rating": "down"}')
        again = [client.ask(named("set_vote"), idempotency_key="k", body=body(rating=r)) for r in ("up", None)]
        decided = client.ask(named("moderate_feedback"), body=b'{"status": "approved"}')
        nothing = Client(client.api, feedback_id="none")
        missing = [nothing.ask(named(f"get_{what}")).status for what in ("feedback", "alert", "delivery")]
        assert [stale.status, refused.status, decided.status, *missing] == [412, 400, 409, 404, 404, 404]
        assert [one.status for one in again] == [200, 422]
        twice = [client.ask(named(name)).status for name in ("replay_delivery", "delete_route") for _ in range(2)]
        assert twice == [200, 200, 204, 404]

    def test_every_delivery(self, hk: Harken, client: Client) -> None:
        """Deliveries conform in every state, and open alerts conform too."""
        hk.deliveries.replay(client.delivery_id)
        client.ask(named("list_deliveries"), query="state=pending&limit=1&channel=support")
        hk.channels.switch_off("support", "by hand")
        response = client.ask(named("list_alerts"), query="open=true&since=2026-01-01&limit=1")
        assert len(json.loads(response.body)["alerts"]) == 1
        response = client.ask(named("list_alerts"), query="limit=1")
        following = json.loads(response.body)["next"]
        assert client.ask(named("list_alerts"), query=f"limit=1&after={following}").status == 200


class TestSchemas:
    """Schemas are as strict as the API, where that is possible."""

    @each_with_body
    @given(data=st.data())
    def test_allowed_bodies_are_not_malformed(self, operation: Operation, data: st.DataObject) -> None:
        """A body that its schema allows is never malformed; it can only violate rules."""
        drawn = data.draw(_BODIES[operation.path][operation.method].as_strategy(), label="request").body
        if operation.body == "Route":
            # A schema cannot express whether something exists or to whom it belongs, nor whether a template is valid.
            drawn = {name: value for name, value in drawn.items() if name not in ("name", "applications", "template")}
            drawn["channel"] = "support"
            if "session.metadata_updated" in drawn.get("events", ()):
                # It could express that the filters on feedback exclude this type, but generators do not follow it.
                drawn = {name: value for name, value in drawn.items() if name in ("channel", "events")}
        if operation.name == "replay_deliveries":
            # A schema cannot express the range of valid instants in UTC.
            drawn = {name: value for name, value in (drawn or {}).items() if name not in ("since", "until", "as_of")}
            # It could express these, but generators do not follow it: ids stand alone, and a delivery has one subject.
            exclusive = ("ids",) if len(drawn) > 1 else ()
            exclusive += ("alert_id",) if drawn.get("feedback_id") is not None else ()
            drawn = {name: value for name, value in drawn.items() if name not in exclusive}
        for name in ("decisions", "entries"):
            # A schema cannot express that each entry is there once.
            if entries := (drawn or {}).get(name):
                drawn[name] = list({entry["feedback_id"]: entry for entry in entries}.values())
        with harken.connect("memory://", channels={"support": Recorder()}) as hk:
            feedback_id = hk.submit("user-123", rating="up").feedback.id
            client = Client(Api(hk, OPEN), feedback_id)
            query = "author=user-7" if operation.body == "Vote" and drawn.get("author") is None else None
            response = client.ask(operation, body=json.dumps(drawn).encode(), query=query)
        assert response.status in (*operation.answers, 400, 404 if operation.name == "replay_deliveries" else 409)

    @pytest.mark.parametrize(
        ("schema", "value"),
        [
            ("Submission", {"raiting": "up"}),
            ("Submission", {"rating": "sideways"}),
            ("Submission", {"comment": None}),
            ("Submission", {"comment": "a\x00"}),
            ("Submission", {"comment": "a" * 1_001}),
            ("Submission", {"agent_id": " "}),
            ("Submission", {"agent_id": "a\u2028b"}),
            ("Submission", {"author": "a" * 201}),
            ("Submission", {"tags": ["a"] * 21}),
            ("Submission", {"tags": ["a\n"]}),
            ("Submission", {"context": {"a b": 1}}),
            ("Submission", {"context": {"a": [1]}}),
            ("Submission", {"context": {str(number): 0 for number in range(51)}}),
            ("Vote", {"author": "a"}),
            ("Vote", {"rating": "up", "message_id": "m"}),
            ("Change", {"agent_id": "a"}),
            ("Decision", {"reason": "because"}),
            ("Decision", {"status": "any"}),
            ("Decision", {"status": "pending", "version": 0}),
            ("Decision", {"status": "pending", "version": "1"}),
            ("Decision", {"status": "pending", "version": True}),
            ("Decision", {"status": "pending", "version": 1.5}),
            ("Undo", {"version": 2**63}),
            ("Undo", {"moderator": ""}),
            ("Erasure", {}),
            ("Erasure", {"author": None}),
            ("Erasure", {"author": "a", "tag": "b"}),
            ("Route", {"channel": "support", "evnets": []}),
            ("Route", {}),
            ("Route", {"channel": "a b"}),
            ("Route", {"channel": "support", "events": ["feedback"]}),
            ("Route", {"channel": "support", "ratings": ["sideways"]}),
            ("Route", {"channel": "support", "tags": "a"}),
            ("Route", {"channel": "support", "template": 1}),
            ("Route", {"channel": "support", "template": "x" * 10_001}),
            ("SwitchOff", {}),
            ("SwitchOff", {"reason": ""}),
            ("SwitchOff", {"reason": None}),
            ("Replay", {"channel": "a b"}),
            ("Replay", {"state": "lost"}),
            ("MetadataChanges", {"a.b": 1}),
            ("MetadataChanges", {"a": [{"b": {"": 1}}]}),
        ],
    )
    def test_rejects_what_the_api_rejects(self, client: Client, schema: str, value: dict[str, Any]) -> None:
        """A malformed body is rejected by the schema too."""
        operation = next(one for one in OPERATIONS if one.body == schema)
        query = "author=user-7" if operation.body == "Vote" and "author" not in value else None
        assert not validator(SCHEMAS[schema]).is_valid(value)
        assert client.ask(operation, body=json.dumps(value).encode(), query=query).status in (400, 422)

    @pytest.mark.parametrize(
        ("schema", "value"),
        [
            ("Submission", {}),
            ("Submission", {"rating": None, "agent_id": None, "message_id": None, "author": None}),
            ("Submission", {"comment": "Straße\n\U0001f600" * 100, "tags": ["größer als 1"]}),
            ("Submission", {"context": {"größe-1_x": None, "a": -(2**63), "b": 1.5, "c": True, "d": ""}}),
            ("Change", {}),
            ("Decision", {"status": "pending", "reason": "", "moderator": None, "version": None}),
            ("Undo", {}),
            ("Erasure", {"session_id": None, "author": "a"}),
            ("Route", {"channel": "support"}),
            ("Route", {"channel": "support", "name": "downs", "applications": ["default"], "template": None}),
            ("Route", {"channel": "support", "ratings": ["neutral", None], "template": "{{ comment }}"}),
            ("SwitchOff", {"reason": "\U0001f600"}),
            ("Replay", {}),
            ("Replay", {"state": "delivered", "since": "2026-01-31", "until": None}),
            ("Replay", {"channel": None}),
            ("MetadataChanges", {}),
            ("MetadataChanges", {"a": [{"b": {"c": [None, True, 1.5, "x"]}}]}),
        ],
    )
    def test_allows_what_the_api_accepts(self, client: Client, schema: str, value: dict[str, Any]) -> None:
        """Optional fields, null and all scripts are allowed as by the API."""
        operation = next(one for one in OPERATIONS if one.body == schema)
        validator(SCHEMAS[schema]).validate(value)
        assert client.ask(operation, body=json.dumps(value).encode()).status in operation.answers


def named(name: str) -> Operation:
    """The operation with that name."""
    return next(operation for operation in OPERATIONS if operation.name == name)


def body(**fields: Any) -> bytes:
    """A vote of an author with a unique name."""
    return json.dumps({"author": "user-8", **fields}).encode()


def _bodies() -> Any:
    """Strategies for bodies that replace parts of the document in tests."""
    bare = document(version="1.2.3")
    for path in bare["paths"].values():
        for one in path.values():
            del one["security"]
            if "requestBody" in one:
                one["requestBody"]["required"] = True
                del one["requestBody"]["content"][JSON]["example"]
    return schemathesis.openapi.from_dict(bare)


_BODIES = _bodies()


class TestPage:
    def test_has_no_inline_script(self) -> None:
        """The page works with a policy that forbids inline scripts."""
        html = docs_page.page("openapi.json", "docs/assets", "docs/start.js").decode()
        scripts = re.findall(r"<script([^>]*)>(.*?)</script>", html, re.DOTALL)
        assert scripts
        assert all("src=" in attributes and not inside for attributes, inside in scripts)
        assert not re.search(r"\son\w+=|javascript:", html)

    def test_loads_nothing_from_elsewhere(self) -> None:
        """Everything that the page loads is among its assets."""
        html = docs_page.page("../o.json", "a", "s.js").decode()
        loaded = set(re.findall(r'(?:src|href)="([^"]*)"', html)) - {"../o.json", "s.js"}
        assert loaded
        for url in loaded:
            assert docs_page.asset(url.removeprefix("a/"))

    def test_urls_are_escaped(self) -> None:
        """Any text in a URL stays inside the URL, on the page and in the script."""
        evil = '"></script><script>alert(1)</script>'
        assert b"<script>" not in docs_page.page(evil, evil, evil)
        assert json.dumps(evil).encode() in docs_page.script(evil)

    @pytest.mark.parametrize(
        "name",
        ["", ".", "../__init__.py", "index.html", "swagger-ui.css/../index.html", "/etc/passwd", "SWAGGER-UI.CSS"],
    )
    def test_serves_only_its_assets(self, name: str) -> None:
        """Names that are not in the list of assets are not served, including names with path segments."""
        assert docs_page.asset(name) is None

    def test_media_types(self) -> None:
        """Each asset has the right media type."""
        for name, media_type, begins in (
            ("swagger-ui-bundle.js", "text/javascript", b"/*!"),
            ("swagger-ui.css", "text/css", b".swagger-ui"),
            ("favicon-32x32.png", "image/png", b"\x89PNG"),
        ):
            found = docs_page.asset(name)
            assert found
            assert found[1].startswith(media_type)
            assert found[0].startswith(begins)


def test_the_document_is_cached(hk: Harken) -> None:
    """The document is built once, however often it is requested."""
    with closing(Api(hk, OPEN)) as api:
        first, again = (Pages(api).openapi("/once") for _ in range(2))
    assert first.body is again.body
    assert json.loads(first.body)["paths"]["/once/api/feedback"]
