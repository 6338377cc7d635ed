"""Invalid requests are rejected with problem details, and nothing is stored."""

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from threading import Event
from time import monotonic
from typing import Any

import pytest
import requests
from attrs import evolve

import harken
import mongod
from harken import Cursor, Feedback, FeedbackQuery, Harken, Page, SearchNotReady, StorageUnavailable
from harken.ports.repository import Accepted, Outcome
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.storage import memory
from harken_adapters.storage.memory import MemoryFeedbackRepository
from hosts.serving import RawAnswer, Server, call_operation, problem, raw_request, served, stored_feedback
from support import PATIENCE, eventually, in_threads

PATH = "/api/sessions/s/feedback"
JSON = "Content-Type: application/json"
UP = b'{"rating":"up"}'
KEY = {"Idempotency-Key": "k-1"}
#: Every operation with a body, with its path filled in; ``{id}`` is that of the existing feedback.
WRITING = (
    ("POST", PATH),
    ("POST", "/api/feedback?session_id=s"),
    ("PUT", "/api/sessions/s/messages/m/feedback?author=a"),
    ("PATCH", "/api/feedback/{id}"),
    ("PATCH", "/api/sessions/s/metadata"),
    ("POST", "/api/feedback/{id}/moderation"),
    ("POST", "/api/feedback/{id}/moderation/undo"),
    ("POST", "/api/erasures"),
    ("POST", "/api/channels/log/off"),
    ("PUT", "/api/routes/r"),
    ("POST", "/api/deliveries/replay"),
)


@pytest.fixture(scope="module")
def unchanged() -> Iterator[tuple[Harken, Server, Feedback]]:
    """A Harken, its server and its only feedback entry, which many tests try to change without success."""
    with harken.connect("memory://") as hk, served(hk) as server:
        yield hk, server, hk.submit("s", "up", "as it was", author="a").feedback


@pytest.fixture
def steady(unchanged: tuple[Harken, Server, Feedback]) -> Server:
    """The server."""
    return unchanged[1]


@pytest.fixture
def state(unchanged: tuple[Harken, Server, Feedback]) -> Iterator[str]:
    """The id of the only feedback entry. At the end of the test, it is unchanged and still the only one."""
    hk, _, feedback = unchanged
    routes, states = hk.routes.routes(), hk.channels.states()
    yield feedback.id
    assert stored_feedback(hk) == [feedback]
    assert (hk.routes.routes(), hk.channels.states()) == (routes, states)
    assert hk.sessions.get("default", "s") == {}


def sent(server: Server, method: str, path: str, *headers: str, body: bytes = UP) -> RawAnswer:
    """The response to a raw body."""
    return RawAnswer.parse(server.send(raw_request(method, path, *headers, body=body)))


def refused(answer: RawAnswer, field: str) -> dict[str, Any]:
    """The problem of an invalid value; fails unless it concerns that field, or the body cannot be parsed."""
    document = problem(answer, 422, "invalid")
    about = {violation["field"].partition(".")[0] for violation in document.get("violations", ())}
    unreadable = ("is too large for 64 bits", "nested too deeply")
    assert about == {field} or (not about and field in document["detail"]) or document["detail"].endswith(unreadable)
    return document


def chunked(body: bytes, size: int = 20_000) -> bytes:
    """The body with chunked encoding."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in [*parts, b""])


@pytest.mark.parametrize(("method", "path"), WRITING)
class TestBodies:
    """Bodies that every operation rejects."""

    def test_too_large(self, steady: Server, state: str, method: str, path: str) -> None:
        """More than 64 KiB are rejected, by Content-Length and by size, and the connection is closed."""
        path = path.replace("{id}", state)
        large = json.dumps({"comment": "x" * 65_536}).encode()
        for answer in (
            sent(steady, method, path, JSON, body=large),
            sent(steady, method, path, JSON, "Transfer-Encoding: chunked", body=chunked(large)),
            RawAnswer.parse(steady.send(raw_request(method, path, JSON, length=10**18))),
        ):
            assert "65,536 bytes" in problem(answer, 413, "body-too-large")["detail"]
            assert answer.headers["connection"] == "close"

    @pytest.mark.parametrize(
        "header",
        [
            "X: none",
            "Content-Type:",
            "Content-Type: text/plain",
            "Content-Type: application/x-www-form-urlencoded",
            "Content-Type: application/json; charset=utf-16",
            "Content-Type: application/json, text/plain",
        ],
    )
    def test_other_content_types(self, steady: Server, state: str, method: str, path: str, header: str) -> None:
        """Content types of HTML forms are rejected, for any body."""
        answer = sent(steady, method, path.replace("{id}", state), header)
        expected = "The charset of JSON must be UTF-8" if "charset" in header else "must be application/json, got "
        assert expected in problem(answer, 415, "unsupported-media-type")["detail"]

    @pytest.mark.parametrize(
        "broken",
        [
            (b"{", "in line 1, column 2"),
            (b'{"rating":up}', "in line 1, column 11"),
            (b"{'rating':1}", "in line 1, column 2"),
            (b'{"rating":"up"}\n}', "in line 2, column 1"),
            (b'{"comment":"\xff"}', "at byte 12"),
            (b"\xff\xfe{}", "at byte 0"),
        ],
    )
    def test_invalid_json(self, steady: Server, state: str, method: str, path: str, broken: tuple[bytes, str]) -> None:
        """Invalid JSON and UTF-8 are rejected, with the position of the error."""
        body, where = broken
        document = problem(sent(steady, method, path.replace("{id}", state), JSON, body=body), 400, "malformed-body")
        assert document["detail"].endswith(where)
        assert "violations" not in document

    @pytest.mark.parametrize(
        "other",
        [
            (b"[]", "must be a JSON object, got an array"),
            (b"null", "must be a JSON object, got null"),
            (b'"up"', "must be a JSON object, got a string"),
            (b"3", "must be a JSON object, got a number"),
            (b"true", "must be a JSON object, got a boolean"),
            (b"[" * 60_000, "is nested too deeply"),
            (b'{"a":' * 10_000, "is nested too deeply"),
        ],
    )
    def test_not_an_object(self, steady: Server, state: str, method: str, path: str, other: tuple[bytes, str]) -> None:
        """A body that is not an object, or is nested too deeply, is rejected for that reason."""
        body, says = other
        document = problem(sent(steady, method, path.replace("{id}", state), JSON, body=body), 422, "invalid")
        assert document["detail"] == f"The body {says}"

    @pytest.mark.parametrize(
        "twice",
        [
            (b'{"rating":"down","rating":"up"}', "rating"),
            (b'{"rating":"up","rating":"up"}', "rating"),
            (b'{"rating":"up","r\\u0061ting":"up"}', "rating"),
            (b'{"context":{"a":1,"a":2}}', "a"),
            (b'{"metadata":[{"x":{"deep":1,"b":2,"deep":1}}]}', "deep"),
            (b'{"":1,"":1}', ""),
            (b'{"' + b"n" * 300 + b'":1,"' + b"n" * 300 + b'":2}', "n" * 100),
            (b'{"\xc3\xbc":1,"\xc3\xbc":1}', "\u00fc"),
        ],
    )
    def test_a_member_that_appears_twice(
        self, steady: Server, state: str, method: str, path: str, twice: tuple[bytes, str]
    ) -> None:
        """A repeated member is rejected by name at any depth."""
        body, member = twice
        answer = sent(steady, method, path.replace("{id}", state), JSON, body=body)
        [violation] = problem(answer, 422, "invalid")["violations"]
        assert violation == {
            "field": member,
            "code": "repeated",
            "message": f"The member {json.dumps(member)} appears twice",
        }

    @pytest.mark.parametrize("name", ["$set", "a.b", "", "rating\\u0000", "\\ud800", "__proto__.x", "a" * 200])
    def test_strange_names(self, steady: Server, state: str, method: str, path: str, name: str) -> None:
        """An unknown name, or one that a database might interpret as an operator, is rejected by name."""
        answer = sent(steady, method, path.replace("{id}", state), JSON, body=f'{{"{name}":1}}'.encode())
        document = problem(answer, 422, "invalid")
        shown = repr(json.loads(f'"{name}"')[:100]).rstrip("'")
        assert shown in document["detail"] or "metadata name too long" in document["detail"]


#: JSON values that are not valid as strings, numbers or lists of Harken.
STRANGE = (
    b"NaN",
    b"Infinity",
    b"1e400",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"1" * 1_000,
    b"-" + b"1" * 6_000,
    b'"\\ud800"',
    b'"\\u0000"',
    b'{"$ne":null}',
    b'{"$where":"sleep(9)"}',
    b'{"a.b":1}',
    b'{"a":{"b":1}}',
    b"[[]]",
    b'[{"a":1}]',
    b"[" * 900 + b"]" * 900,
)


# Many small tests, which take too long for the fast subset.
@pytest.mark.slow
class TestValues:
    @pytest.mark.parametrize("value", [*STRANGE, b"true", b"7", b'"' + b"x" * 1_001 + b'"'])
    @pytest.mark.parametrize("field", ["comment", "rating", "agent_id", "message_id", "author", "tags", "context"])
    def test_of_feedback(self, steady: Server, state: str, field: str, value: bytes) -> None:
        """A string field accepts only strings, and no field accepts numbers that a storage cannot store."""
        parts = {"rating": b'"up"', "comment": b'"x"', field: value}
        body = b"{" + b",".join(b'"%b":%b' % (name.encode(), part) for name, part in parts.items()) + b"}"
        vote = body if field != "message_id" else body.replace(b"message_id", b"agent_id")
        ways = [("POST", PATH, body), ("PUT", "/api/sessions/s/messages/m/feedback?author=a", vote)]
        if field in ("comment", "rating", "tags", "context"):
            ways.append(("PATCH", f"/api/feedback/{state}", body))
        for method, path, content in ways:
            given = "agent_id" if method == "PUT" and field == "message_id" else field
            refused(sent(steady, method, path, JSON, body=content), given)

    @pytest.mark.parametrize("value", STRANGE[:9])
    def test_in_context(self, steady: Server, state: str, value: bytes) -> None:
        """A context value is a string, a number, a Boolean or null that every storage can store."""
        document = refused(
            sent(steady, "POST", PATH, JSON, body=b'{"rating":"up","context":{"a":%b}}' % value), "context"
        )
        assert {one["field"] for one in document.get("violations", ())} <= {"context.a"}

    @pytest.mark.parametrize("value", [*STRANGE[:12], b"[" * 900 + b"]" * 900])
    def test_in_metadata(self, steady: Server, state: str, value: bytes) -> None:
        """Metadata may be nested, but numbers and names must be valid in every storage."""
        body = b'{"fine":1,"a":{"b":[%b]}}' % value
        refused(sent(steady, "PATCH", "/api/sessions/s/metadata", JSON, body=body), "metadata")

    @pytest.mark.parametrize("value", [*STRANGE, b"true", b"7", b'"\\n"'])
    @pytest.mark.parametrize("field", ["session_id", "author", "feedback_id"])
    def test_of_an_erasure(self, steady: Server, state: str, field: str, value: bytes) -> None:
        """The conditions of an erasure are ids: an object in place of an id erases nothing."""
        refused(sent(steady, "POST", "/api/erasures", JSON, body=b'{"%b":%b}' % (field.encode(), value)), field)

    @pytest.mark.parametrize("value", [*STRANGE, b"true", b"7"])
    @pytest.mark.parametrize("field", ["status", "reason", "moderator"])
    def test_of_a_decision(self, steady: Server, state: str, field: str, value: bytes) -> None:
        """The fields of a decision are strings."""
        parts = {"status": b'"rejected"', field: value}
        body = b"{" + b",".join(b'"%b":%b' % (name.encode(), part) for name, part in parts.items()) + b"}"
        refused(sent(steady, "POST", f"/api/feedback/{state}/moderation", JSON, body=body), field)

    @pytest.mark.parametrize("value", [*STRANGE, b"true", b"7", b"null", b'"x"', b'["x"]', b'[{"a":1}]', b"[null,7]"])
    @pytest.mark.parametrize("field", ["events", "statuses"])
    def test_of_a_route_words(self, steady: Server, state: str, field: str, value: bytes) -> None:
        """Filters with a fixed set of words accept only lists of these words."""
        body = b'{"channel":"log","%b":%b}' % (field.encode(), value)
        refused(sent(steady, "PUT", "/api/routes/r", JSON, body=body), field)

    @pytest.mark.parametrize("value", [*STRANGE, b"true", b"7", b'[""]', b'["a\\n"]', b'["\\ud800"]'])
    @pytest.mark.parametrize("field", ["name", "channel", "ratings", "applications", "agents", "tags", "template"])
    def test_of_a_route(self, steady: Server, state: str, field: str, value: bytes) -> None:
        """The fields of a route are strings and lists of strings."""
        parts = {"channel": b'"log"', field: value}
        body = b"{" + b",".join(b'"%b":%b' % (name.encode(), part) for name, part in parts.items()) + b"}"
        refused(sent(steady, "PUT", "/api/routes/r", JSON, body=body), field)

    @pytest.mark.parametrize("value", [*STRANGE, b"true", b"7", b"null", b'""', b'" "', b'"' + b"x" * 1_001 + b'"'])
    def test_of_a_reason(self, steady: Server, state: str, value: bytes) -> None:
        """The reason for switching off a channel is a string."""
        refused(sent(steady, "POST", "/api/channels/log/off", JSON, body=b'{"reason":%b}' % value), "reason")

    @pytest.mark.parametrize("value", [*STRANGE, b"true", b"7", b'""', b'"a b"'])
    def test_of_a_channel(self, steady: Server, state: str, value: bytes) -> None:
        """The name of a channel must be valid."""
        refused(sent(steady, "POST", "/api/deliveries/replay", JSON, body=b'{"channel":%b}' % value), "channel")

    @pytest.mark.parametrize("key", ["", '""', "x" * 201, "a\tb", "\x85"])
    def test_of_an_idempotency_key(self, steady: Server, state: str, key: str) -> None:
        """An idempotency key that is empty, too long or has control characters is rejected."""
        document = problem(sent(steady, "POST", PATH, JSON, f"Idempotency-Key: {key}"), 422, "invalid")
        assert document["violations"][0]["field"] == "idempotency_key"


class TestPathsAndQueries:
    @pytest.mark.parametrize("name", ["%00", "%0A", "x" * 201, "%E2%80%A8", "%20", "a%00b"])
    def test_session_ids(self, steady: Server, state: str, name: str) -> None:
        """An invalid session id is rejected on writing and not found on reading."""
        paths = [f"/api/sessions/{name}/feedback", f"/api/feedback?session_id={name}"]
        for path in paths:
            problem(sent(steady, "POST", path, JSON), 422, "invalid")
        vote = f"/api/sessions/{name}/messages/m/feedback?author=a"
        problem(sent(steady, "PUT", vote, JSON), 422, "invalid")
        assert sent(steady, "GET", f"/api/sessions/{name}/feedback", body=b"").status in (200, 422)
        problem(sent(steady, "GET", f"/api/feedback/{name}", body=b""), 404, "not-found")

    @pytest.mark.parametrize(
        "query",
        [
            "since=0001-01-01T00:00%2B23:59",
            "until=9999-12-31T23:59-23:59",
            "since=yesterday",
            "after=garbage",
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=%D9%A3",
            "rating=sideways",
            "context.%24where=1",
            "context.a.b=1",
            "context.a=%00",
            "status=x",
            "withdrawn=x",
            "session_id=%00",
            "application=%00",
            "author=a&author=b",
            "agent=a",
            "&".join(f"tag{number}=x" for number in range(101)),
            "&".join(f"tag={number}" for number in range(101)),
            "&".join("context.a=x" for number in range(501)),
            "rating=up&rating=sideways",
            "has_comment=1",
            "has_comment=true&has_comment=true",
        ],
    )
    def test_filters(self, steady: Server, state: str, query: str) -> None:
        """An invalid or misspelt filter is rejected, instead of matching everything."""
        problem(sent(steady, "GET", f"/api/feedback?{query}", body=b""), 422, "invalid")

    @pytest.mark.parametrize(
        "query",
        [
            "/api/deliveries?state=sent",
            "/api/deliveries?channel=",
            "/api/deliveries?channel=%00",
            "/api/deliveries?limit=0",
            "/api/deliveries?limit=1001",
            "/api/alerts?open=maybe",
            "/api/alerts?rule=%00",
            "/api/alerts?since=yesterday",
            "/api/alerts?limit=0",
            "/api/alerts?limit=1001",
            "/api/alerts?open=true&open=false",
        ],
    )
    def test_lists(self, steady: Server, state: str, query: str) -> None:
        """Invalid filters of deliveries and alerts are rejected."""
        problem(sent(steady, "GET", query, body=b""), 422, "invalid")

    @pytest.mark.parametrize("query", ["agent_id=%FF", "%FF=a", "tag=%ED%A0%80"])
    def test_bad_utf8(self, steady: Server, state: str, query: str) -> None:
        """A query string that is not percent-encoded UTF-8 is rejected."""
        problem(sent(steady, "GET", f"/api/feedback?{query}", body=b""), 400, "malformed-body")

    def test_unknown_paths_and_methods(self, server: Server) -> None:
        """An unknown path is not found, and an unsupported method is rejected with the supported ones."""
        problem(server.ask("GET", "/api/nothing"), 404, "not-found")
        answer = server.ask("PUT", "/api/feedback", json={})
        problem(answer, 405, "method-not-allowed")
        assert answer.headers["allow"] == "GET, POST"
        answer = server.ask("POST", "/api/feedback/f", json={})
        assert answer.headers["allow"] == "DELETE, GET, PATCH"
        answer = server.ask("PUT", "/api/deliveries/replay", json={})
        assert answer.headers["allow"] == "POST"


class TestIncompleteBodies:
    @pytest.mark.slow
    @pytest.mark.parametrize("headers", [[JSON], [JSON, "Transfer-Encoding: chunked"]])
    def test_is_rejected(self, hk: Harken, headers: list[str]) -> None:
        """A body that does not arrive in time is rejected, even if bytes keep arriving, and the connection is
        closed.
        """
        with served(hk, body_timeout=1) as server:
            began = monotonic()
            head = raw_request("POST", PATH, *headers, length=100).replace(b"Connection: close\r\n", b"")
            answer = RawAnswer.parse(server.send(head, b'5\r\n{"rat\r\n'))
            problem(answer, 408, "body-timeout")
            assert monotonic() - began > 0.9
            assert answer.headers["connection"] == "close"
        assert stored_feedback(hk) == []

    def test_by_a_client_that_disconnects(self, server: Server, hk: Harken) -> None:
        """A client that disconnects within a body has no effect on the storage and on other clients."""
        for part in (b"", UP[:5], UP):
            with socket.create_connection((server.host, server.port), timeout=PATIENCE) as connection:
                connection.sendall(raw_request("POST", PATH, JSON, length=len(UP) + 1) + part)
        server.post(PATH, {"rating": "down", "comment": "the only one"})
        assert [one.comment for one in stored_feedback(hk)] == ["the only one"]


class HeldUp(MemoryFeedbackRepository):
    """A storage that blocks writes until it is released."""

    def __init__(self, other: MemoryFeedbackRepository) -> None:
        super().__init__(other._data)
        self.began, self.go = Event(), Event()

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        self.began.set()
        assert self.go.wait(PATIENCE)
        return super().add(batch)


@contextmanager
def held_up() -> Iterator[tuple[Harken, HeldUp]]:
    """A Harken on a storage that blocks writes until it is released."""
    with memory.open_storage() as storage:
        assert isinstance(storage.feedback, MemoryFeedbackRepository)
        repository = HeldUp(storage.feedback)
        with harken.connect(evolve(storage, feedback=repository)) as hk:
            try:
                yield hk, repository
            finally:
                repository.go.set()


class TestIdempotencyKeys:
    def test_reused_with_another_body(self, server: Server, hk: Harken) -> None:
        """Another body with the same key is rejected, and the first entry remains."""
        first = server.post(PATH, {"rating": "up"}, headers=KEY)
        answer = server.ask("POST", PATH, json={"rating": None}, headers=KEY)
        assert problem(answer, 422, "idempotency-key-reused")["violations"]
        assert [one.id for one in stored_feedback(hk)] == [first["feedback_id"]]

    def test_in_flight_for_another_author(self) -> None:
        """While a submission is being written, an equal key of another author is not in flight."""
        with held_up() as (hk, storage), served(hk) as server:

            def release() -> None:
                try:
                    assert storage.began.wait(PATIENCE)
                    eventually(lambda: hk.collection.waiting == 1)
                finally:
                    storage.go.set()

            def other() -> dict[str, Any]:
                assert storage.began.wait(PATIENCE)
                answer: dict[str, Any] = server.post(PATH, {"rating": "up", "author": "kim"}, headers=KEY)
                return answer

            made = in_threads([lambda: server.post(PATH, {"rating": "up"}, headers=KEY), other, release])
            assert len({one["feedback_id"] for one in made if isinstance(one, dict)}) == 2, made
            assert made[2] is None

    def test_in_flight(self) -> None:
        """While a submission is being written, the same key is rejected with Retry-After; later it gets the first
        result.
        """
        with held_up() as (hk, storage), served(hk) as server:

            def second() -> tuple[requests.Response, requests.Response]:
                assert storage.began.wait(PATIENCE)
                try:
                    same = server.ask("POST", PATH, json={"rating": "up"}, headers=KEY)
                    other = server.ask("POST", PATH, json={"rating": None}, headers=KEY)
                finally:
                    storage.go.set()
                return same, other

            first, refused = in_threads([lambda: server.post(PATH, {"rating": "up"}, headers=KEY), second])
            assert isinstance(first, dict)
            assert isinstance(refused, tuple)
            for answer in refused:
                problem(answer, 409, "in-flight")
                assert answer.headers["retry-after"] == "1"
            again = server.ask("POST", PATH, json={"rating": "up"}, headers=KEY)
            assert (again.status_code, again.json()) == (201, first)
            assert again.headers["idempotency-replayed"] == "true"
            assert len(stored_feedback(hk)) == 1

    def test_keys_are_released(self, server: Server) -> None:
        """A key whose submission was rejected or failed can be used again."""
        for _ in range(3):
            problem(server.ask("POST", PATH, json={"rating": "down"}, headers=KEY), 400, "feedback-refused")
        server.post(PATH, {"rating": "down", "comment": "because"}, headers=KEY)


class Unavailable(MemoryFeedbackRepository):
    """A storage that fails, with an error message that has its address."""

    def add(self, batch: Sequence[Accepted]) -> Sequence[Outcome]:
        raise StorageUnavailable("db-7.internal:27017 does not answer")


class Indexing(MemoryFeedbackRepository):
    """A storage that is indexing comments."""

    def find(self, query: FeedbackQuery, *, limit: int, after: Cursor | None = None) -> Page:
        raise SearchNotReady(40_960, 1_204_331, retry_after=timedelta(seconds=70))


class TestSearchNotReady:
    def test_the_progress_is_reported(self) -> None:
        """A search that has to wait for the index gets the progress, and when to try again."""
        with memory.open_storage() as storage:
            assert isinstance(storage.feedback, MemoryFeedbackRepository)
            indexing = evolve(storage, feedback=Indexing(storage.feedback._data))
            with harken.connect(indexing) as hk, served(hk) as server:
                answer = server.ask("GET", "/api/feedback?text=slow")
                assert "40,960 of 1,204,331 entries" in problem(answer, 503, "indexing")["detail"]
                assert answer.headers["retry-after"] == "70"
                for text in ("", "%21%21"):
                    problem(server.ask("GET", f"/api/feedback?text={text}"), 422, "invalid")


class TestStorageDown:
    def test_nothing_is_acknowledged(self) -> None:
        """Without the storage, no submission is acknowledged, and the response does not contain its address."""
        with memory.open_storage() as storage:
            assert isinstance(storage.feedback, MemoryFeedbackRepository)
            broken = evolve(storage, feedback=Unavailable(storage.feedback._data))
            with harken.connect(broken) as hk, served(hk) as server:
                for _ in range(2):
                    answer = server.ask("POST", PATH, json={"rating": "up"}, headers=KEY)
                    document = problem(answer, 503, "unavailable")
                    assert "internal" not in json.dumps(document)
                    assert answer.headers["retry-after"] == "1"
                assert stored_feedback(hk) == []

    def test_every_operation_reports_it(self) -> None:
        """Every operation reports that the storage is not available, including streams, and so does readiness."""
        with ExitStack() as opened:
            storage = opened.enter_context(memory.open_storage())
            hk = opened.enter_context(harken.connect(storage))
            feedback_id = hk.submit("s", "up", author="a").feedback.id
            with served(hk) as server:
                assert server.get("/readyz") == {"status": "ready"}
                storage_ends = opened.pop_all()
                storage_ends.close()
                problem(server.ask("GET", "/readyz"), 503, "unavailable")
                assert server.get("/healthz") == {"status": "ok"}
                for one in OPERATIONS:
                    answer = call_operation(server, one, feedback_id)
                    problem(answer, 503, "unavailable")

    @pytest.mark.slow
    def test_mongodb_killed(self) -> None:
        """If the MongoDB server is killed, nothing is acknowledged; once it is back, everything acknowledged is
        there.
        """
        with mongod.standalone() as deployment, ExitStack() as ends:
            hk = ends.enter_context(harken.connect(f"{deployment.url}problems?timeoutMS=2000"))
            server = ends.enter_context(served(hk, access="keys"))
            credentials = {"Authorization": f"Bearer {hk.keys.create('default', ['admin']).text}"}
            first = server.post(PATH, {"rating": "up"}, headers={**KEY, **credentials})
            deployment.members[0].kill()
            body: dict[str, Any] = {"rating": "up"}
            answer = server.ask("POST", PATH, json=body, headers={"Idempotency-Key": "k-2", **credentials})
            problem(answer, 503, "unavailable")
            assert answer.headers["retry-after"] == "1"
            problem(server.ask("GET", "/readyz"), 503, "unavailable")
            problem(server.ask("GET", "/api/export", headers=credentials), 503, "unavailable")
            deployment.members[0].start()
            second = server.post(PATH, body, headers={"Idempotency-Key": "k-2", **credentials})
            assert server.post(PATH, body, headers={**KEY, **credentials}) == first
            assert [one.id for one in stored_feedback(hk)] == [first["feedback_id"], second["feedback_id"]]
            assert server.get("/readyz") == {"status": "ready"}
