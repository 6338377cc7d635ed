"""What people do over HTTP, at every host: each does them all, and all answer alike to the last byte."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, Final

import pytest
import requests
from attrs import field, frozen

import harken
from harken import Harken, Scope
from harken_adapters.hosts import flask, wsgi
from harken_adapters.hosts.http.guards import access
from harken_adapters.hosts.http.guards.tokens import SessionTokens
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.streaming import EventStream
from hosts.events import listening
from hosts.serving import OPEN, RawAnswer, Server, problem, raw_request, served, serving_wsgi
from support import ManualClock, counting_ids

pytestmark = pytest.mark.slow

PATH: Final = "/api/sessions/s/feedback"
MESSAGE: Final = "/api/sessions/s/messages/m-1/feedback"
UP: Final = {"rating": "up"}
SECRET: Final = "a secret that has thirty-two bytes or more"
ORIGIN: Final = "https://shop.example"
#: What servers say for themselves, not the hosts.
_OF_THE_SERVER: Final = {"date", "server", "connection", "transfer-encoding"}


# --- Hosts ------------------------------------------------------------------------------------------------------------


@contextmanager
def _flask(hk: Harken, **settings: Any) -> Iterator[Server]:
    app = flask.create_app(ServerSettings(**{**OPEN, **settings}), harken=hk)
    with serving_wsgi(app) as server:
        yield server
        app.extensions["harken"].close()


@contextmanager
def _wsgi(hk: Harken, **settings: Any) -> Iterator[Server]:
    app = wsgi.WsgiApp(ServerSettings(**{**OPEN, **settings}), harken=hk)
    with serving_wsgi(app) as server:
        yield server
        app.service.close()


@contextmanager
def _django(hk: Harken, **settings: Any) -> Iterator[Server]:
    from hosts.django_serving import serve_django  # noqa: PLC0415 - configures Django, which nobody else needs

    with serve_django(hk, ServerSettings(**{**OPEN, **settings})) as server:
        yield server


@contextmanager
def _django_in_loop(hk: Harken, **settings: Any) -> Iterator[Server]:
    from hosts.django_serving import serve_django_in_loop  # noqa: PLC0415 - as above

    with serve_django_in_loop(hk, ServerSettings(**{**OPEN, **settings})) as server:
        yield server


HOSTS: Final[dict[str, Callable[..., AbstractContextManager[Server]]]] = {
    "fastapi": served,
    "flask": _flask,
    "django": _django,
    "django in a loop": _django_in_loop,
    "wsgi": _wsgi,
}


# --- Visits -----------------------------------------------------------------------------------------------------------


@frozen
class Told:
    """What a host answered, without what only its server says."""

    asked: str
    status: int
    headers: dict[str, str]
    body: str

    @classmethod
    def of(cls, answer: requests.Response) -> "Told":
        """What can be compared of an answer."""
        headers = {name.lower(): value for name, value in answer.headers.items()}
        # Windows of rate limits run by the clock on the wall.
        headers = {name: re.sub(r";t=\d+", "", value) for name, value in headers.items() if name not in _OF_THE_SERVER}
        return cls(f"{answer.request.method} {answer.request.path_url}", answer.status_code, headers, answer.text)


@frozen
class Visit:
    """A client of one host that remembers what it was told."""

    server: Server
    hk: Harken
    clock: ManualClock
    told: list[Told] = field(factory=list)

    def ask(self, method: str, path: str, status: int = 200, **options: Any) -> requests.Response:
        """Ask for something that is answered with this status."""
        options["headers"] = {"X-Request-Id": "visit", **options.get("headers", {})}
        answer = self.server.ask(method, path, **options)
        assert answer.status_code == status, answer.text
        self.told.append(Told.of(answer))
        return answer

    def refused(self, method: str, path: str, status: int, kind: str, **options: Any) -> requests.Response:
        """Ask for something that is refused like this."""
        answer = self.ask(method, path, status, **options)
        problem(answer, status, kind)
        return answer

    def give(self, path: str = PATH, *, status: int = 201, headers: dict[str, str] | None = None, **body: Any) -> str:
        """Give feedback; its id."""
        self.clock.turn(seconds=1)
        given = self.ask("POST", path, status, json={**UP, **body}, headers=headers or {})
        return str(given.json()["feedback_id"])


Case = Callable[[Visit], None]
CASES: Final[dict[str, tuple[Case, dict[str, Any]]]] = {}


def case(**settings: Any) -> Callable[[Case], Case]:
    """A case, at a host with these settings, and with Harken's setting ``spam``."""

    def add(function: Case) -> Case:
        CASES[function.__name__.replace("_", " ")] = function, settings
        return function

    return add


@cache
def told(host: str, name: str) -> list[Told]:
    """What a host tells in a case."""
    function, settings = CASES[name]
    clock = ManualClock()
    spam = settings.get("spam")
    served_with = {name: value for name, value in settings.items() if name != "spam"}
    with (
        harken.connect("memory://", clock=clock, new_id=counting_ids(), spam=spam) as hk,
        HOSTS[host](hk, **served_with) as server,
    ):
        visit = Visit(server, hk, clock)
        function(visit)
    return visit.told


# --- Giving -----------------------------------------------------------------------------------------------------------


@case()
def feedback_is_given(visit: Visit) -> None:
    """What is given is found where the answer says, as it was given."""
    body = {"rating": "up", "comment": "Clear", "agent_id": "a", "tags": ["fast"], "context": {"tier": 2}}
    answer = visit.ask("POST", PATH, 201, json=body)
    shown = visit.ask("GET", answer.headers["location"]).json()
    assert {name: shown[name] for name in body} == body


@case()
def the_same_key_is_kept_once(visit: Visit) -> None:
    """Who sends again under the same key gets the same answer, which says so."""
    key = {"Idempotency-Key": "click-7"}
    first = visit.ask("POST", PATH, 201, json=UP, headers=key)
    again = visit.ask("POST", PATH, 201, json=UP, headers=key)
    assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")
    assert first.json() == again.json()


@case()
def a_key_with_another_body_is_a_conflict(visit: Visit) -> None:
    """One key is for one feedback."""
    key = {"Idempotency-Key": "click-7"}
    visit.give(headers=key)
    visit.refused("POST", PATH, 422, "idempotency-key-reused", json={"rating": None}, headers=key)


@case()
def all_violations_are_told_at_once(visit: Visit) -> None:
    """Who sent several things that are wrong need not find them one by one."""
    body = {"rating": "maybe", "comment": "x" * 1001, "tags": [""]}
    answer = visit.refused("POST", PATH, 422, "invalid", json=body)
    assert {one["field"] for one in answer.json()["violations"]} == set(body)


@case()
def a_down_needs_a_comment(visit: Visit) -> None:
    """A down says why."""
    visit.refused("POST", PATH, 400, "feedback-refused", json={"rating": "down"})
    assert visit.give(rating="down", comment="It was last year's price")


@case(keep_client="plain")
def feedback_is_given_in_production(visit: Visit) -> None:
    """The address and the browser are kept if the operator asked for it."""
    headers = {"User-Agent": "a browser"}
    feedback_id = visit.give("/api/feedback?session_id=s%2F1", headers=headers)
    visit.refused("POST", "/api/feedback", 422, "invalid", json=UP)
    shown = visit.ask("GET", f"/api/feedback/{feedback_id}").json()
    assert shown["session_id"] == "s/1"
    assert shown["context"] == {"client_address": "127.0.0.1", "user_agent": "a browser"}


@case()
def session_ids_are_percent_encoded(visit: Visit) -> None:
    """Whatever a session is called, it is found under its name, unless that has a slash."""
    for name, encoded in (("ü ☃", "%C3%BC%20%E2%98%83"), ("a+b:c@d", "a+b:c@d"), ("50%", "50%25"), ("a?b", "a%3Fb")):
        path = f"/api/sessions/{encoded}/feedback"
        visit.give(path)
        assert visit.ask("GET", path).json()["session_id"] == name
    # A slash parts the path, however it is written; some servers do not tell how it was.
    problem(visit.server.ask("POST", "/api/sessions/a%2Fb/feedback", json=UP), 404, "not-found")
    visit.refused("POST", "/api/sessions//feedback", 404, "not-found", json=UP)


@case()
def votes_are_cast_and_taken_back(visit: Visit) -> None:
    """One author has one vote on a message, and can take it back."""
    for rating in ("up", None):
        visit.ask("PUT", f"{MESSAGE}?author=kim", 204, json={"rating": rating})
    (vote,) = visit.ask("GET", "/api/sessions/s/votes?author=kim").json()["votes"]
    assert (vote["message_id"], vote["rating"], vote["version"]) == ("m-1", None, 2)
    visit.ask("DELETE", f"{MESSAGE}?author=kim", 204)
    assert visit.ask("GET", "/api/sessions/s/votes?author=kim").json()["votes"] == []


# --- Reading ----------------------------------------------------------------------------------------------------------


@case()
def the_guide_reads_a_session(visit: Visit) -> None:
    """The guide's clients get a session's feedback, oldest first, and its figures."""
    visit.give(comment="first")
    visit.give(rating="down", comment="second")
    found = visit.ask("GET", PATH).json()
    assert [one["comment"] for one in found["feedbacks"]] == ["first", "second"]
    assert visit.ask("GET", f"{PATH}/stats").json()["satisfaction_score"] == 50.0


@case()
def pages_lead_on(visit: Visit) -> None:
    """Each page says where the next one is."""
    given = [visit.give("/api/sessions/s%20%C3%BC/feedback") for _ in range(5)]
    for path, ids in (("/api/feedback", given[::-1]), ("/api/sessions/s%20%C3%BC/feedback", given)):
        where: str | None = f"{path}?limit=2"
        seen = []
        while where:
            answer = visit.ask("GET", where)
            seen += [one["id"] for one in answer.json()["feedbacks"]]
            where = answer.links.get("next", {}).get("url")
        assert seen == ids


@case()
def lists_are_filtered(visit: Visit) -> None:
    """Filters find what they name, whatever is in the name."""
    visit.give(comment="a b", tags=["x y"], context={"tier": "ü"})
    visit.give(rating=None)
    for query, count in (("tag=x+y", 1), ("context.tier=%C3%BC", 1), ("rating=neutral", 1), ("session_id=t", 0)):
        assert len(visit.ask("GET", f"/api/feedback?{query}").json()["feedbacks"]) == count


@case()
def figures_are_told(visit: Visit) -> None:
    """Figures of all, of groups, of themes, and of two selections."""
    visit.give(agent_id="a")
    visit.give(agent_id="b", rating="down", comment="The price was wrong")
    assert visit.ask("GET", "/api/analytics/summary?agent_id=a").json()["satisfaction_score"] == 100.0
    assert len(visit.ask("GET", "/api/analytics/summary?by=agent").json()["groups"]) == 2
    visit.ask("GET", "/api/analytics/themes?keyword=price&keyword=speed")
    visit.ask("GET", "/api/analytics/compare?before.agent_id=a&after.agent_id=b")


@case()
def trends_are_told(visit: Visit) -> None:
    """Figures over time, in any zone."""
    visit.give()
    visit.clock.turn(days=1)
    visit.give()
    assert len(visit.ask("GET", "/api/analytics/trend?by=day&zone=Asia/Kathmandu").json()["points"]) == 2


@case()
def feedback_is_exported(visit: Visit) -> None:
    """Exports stream all that matches, as lines or as a table."""
    for number in range(50):
        visit.hk.submit(f"s-{number}", "up", "ü" * 100)
    rows = visit.ask("GET", "/api/export")
    assert (rows.headers["content-type"], len(rows.text.splitlines())) == ("application/x-ndjson", 50)
    table = visit.ask("GET", "/api/export?format=csv&session_id=s-7")
    assert (table.headers["content-type"], len(table.text.splitlines())) == ("text/csv; charset=utf-8", 2)
    assert table.headers["content-disposition"] == 'attachment; filename="feedback.csv"'


# --- Changing ---------------------------------------------------------------------------------------------------------


@case()
def metadata_is_kept(visit: Visit) -> None:
    """Metadata of a session is set, read and removed by name."""
    path = "/api/sessions/s/metadata"
    visit.ask("PATCH", path, json={"topic": "invoices", "turns": {"n": [1, None]}})
    assert visit.ask("GET", path).json()["metadata"] == {"topic": "invoices", "turns": {"n": [1, None]}}
    visit.ask("DELETE", f"{path}?key=turns")
    assert visit.ask("GET", path).json()["metadata"] == {"topic": "invoices"}


@case()
def feedback_is_moderated(visit: Visit) -> None:
    """A decision is made and undone."""
    feedback_id = visit.give()
    path = f"/api/feedback/{feedback_id}"
    visit.ask("POST", f"{path}/moderation", json={"status": "pending", "reason": "look again"})
    assert len(visit.ask("GET", "/api/moderation/queue").json()["feedbacks"]) == 1
    visit.ask("POST", f"{path}/moderation", json={"status": "rejected"})
    visit.ask("POST", f"{path}/moderation/undo", json={})
    assert [one["id"] for one in visit.ask("GET", "/api/moderation/queue").json()["feedbacks"]] == [feedback_id]


@case()
def a_second_moderator_is_refused(visit: Visit) -> None:
    """Who decides on a version that is no longer there learns who decided what, and when."""
    path = f"/api/feedback/{visit.give()}/moderation"
    decided = visit.ask("POST", path, json={"status": "pending", "moderator": "kim", "version": 1})
    current = {"version": 2, "status": "pending", "moderator": "kim", "decided_at": decided.json()["updated_at"]}
    late: list[dict[str, Any]] = [
        {"json": {"status": "rejected", "moderator": "lee", "version": 1}},
        {"json": {"status": "pending", "version": 1}},
        {"json": {"status": "rejected"}, "headers": {"If-Match": '"1"'}},
    ]
    for options in late:
        assert visit.refused("POST", path, 409, "conflict", **options).json()["current"] == current
    assert visit.refused("POST", f"{path}/undo", 409, "conflict", json={"version": 1}).json()["current"] == current
    (waiting,) = visit.ask("GET", "/api/moderation/queue").json()["feedbacks"]
    assert decided.headers["etag"] == f'"{waiting["version"]}"'
    visit.ask("POST", path, json={"status": "rejected", "moderator": "lee", "version": waiting["version"]})
    # Without a version, too, another moderator's decision is not overridden.
    visit.refused("POST", path, 409, "conflict", json={"status": "approved", "moderator": "kim"})
    visit.refused("POST", f"{path}/undo", 409, "conflict", json={"moderator": "kim"})
    visit.ask("POST", f"{path}/undo", json={}, headers={"If-Match": '"3"'})


@case(spam="hold")
def what_is_held_says_so(visit: Visit) -> None:
    """The answer to feedback that waits for a moderator says so, also when it is sent again; and of a vote, too."""
    spam, key = {"rating": "up", "comment": "casino"}, {"Idempotency-Key": "k"}
    held = visit.ask("POST", PATH, 201, json=spam, headers=key)
    assert held.json()["moderation"] == "pending"
    assert visit.ask("POST", PATH, 201, json=spam, headers=key).json() == held.json()
    visit.ask("POST", "/api/feedback?session_id=s", 201, json=spam)
    vote = visit.ask("PUT", MESSAGE, json={**spam, "author": "kim"}).json()
    assert vote == {**held.json(), "feedback_id": vote["feedback_id"]}
    assert visit.ask("PUT", MESSAGE, json={**spam, "author": "kim"}).json() == vote
    visit.ask("POST", f"/api/feedback/{held.json()['feedback_id']}/moderation", json={"status": "approved"})
    assert "moderation" not in visit.ask("POST", PATH, 201, json=spam, headers=key).json()
    assert "moderation" not in visit.ask("POST", PATH, 201, json=UP).json()
    visit.ask("PUT", MESSAGE, 204, json={"rating": "up", "author": "lee"})


@case()
def a_stale_change_is_refused(visit: Visit) -> None:
    """Who changes what somebody else has changed meanwhile finds out."""
    path = f"/api/feedback/{visit.give()}"
    first = visit.ask("GET", path).headers["etag"]
    changed = visit.ask("PATCH", path, json={"comment": "else"}, headers={"If-Match": first})
    assert changed.headers["etag"] != first
    visit.refused("PATCH", path, 412, "changed-meanwhile", json={"comment": "late"}, headers={"If-Match": first})


@case()
def feedback_is_withdrawn(visit: Visit) -> None:
    """What was taken back is not shown, and cannot be changed."""
    path = f"/api/feedback/{visit.give()}"
    assert visit.ask("DELETE", path, 204).content == b""
    assert visit.ask("GET", "/api/feedback").json()["feedbacks"] == []
    visit.refused("PATCH", path, 409, "conflict", json={"comment": "else"})


@case()
def feedback_is_erased(visit: Visit) -> None:
    """What was erased is gone, and the answer says what that was, by kind."""
    path = f"/api/feedback/{visit.give(author='kim')}"
    visit.give(author="lee")
    removed = {"feedback": 1, "messages": 0, "agents": 0, "metadata": 0, "alerts": 0, "deliveries": 0}
    answered = visit.ask("POST", "/api/erasures", json={"author": "kim"}).json()
    assert answered == {"erased": 1, "removed": removed, "kept_sessions": ["s"]}
    visit.refused("GET", path, 404, "not-found")


# --- What is refused --------------------------------------------------------------------------------------------------


@case()
def paths_that_lead_nowhere(visit: Visit) -> None:
    """What is not there is told as everything else is."""
    visit.refused("GET", "/api/feedback/nobody", 404, "not-found")
    for path in ("/", "/api", "/api/nothing", "/api/nothing%20%C3%BC", "/docs/assets/nothing.js"):
        visit.refused("GET", path, 404, "not-found")


@case()
def methods_that_paths_do_not_have(visit: Visit) -> None:
    """Who asks in the wrong way is told the right ones."""
    for method, path, allowed in (
        ("PUT", PATH, "GET, POST"),
        ("HEAD", PATH, "GET, POST"),
        ("DELETE", "/api/events", "GET"),
        ("GET", "/api/erasures", "POST"),
        ("PUT", "/api/deliveries/replay", "POST"),
        ("OPTIONS", "/api/feedback", "GET, POST"),
    ):
        assert visit.ask(method, path, 405).headers["allow"] == allowed
    # A path that stands for itself may be an id elsewhere.
    visit.refused("GET", "/api/deliveries/replay", 404, "not-found")


@case()
def bodies_that_cannot_be_read(visit: Visit) -> None:
    """What is no JSON object, or says that it is none, is refused."""

    def send(body: bytes, status: int, kind: str, content_type: str = "application/json") -> None:
        visit.refused("POST", PATH, status, kind, data=body, headers={"Content-Type": content_type})

    for body in (b"", b"{", b"\xff", b'{"rating":"up"} and more'):
        send(body, 400, "malformed-body")
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        send(b'{"rating":"up"}', 415, "unsupported-media-type", content_type)
    for body in (b"[]", b'{"raiting":"up"}', b'{"rating":"down","rating":"up"}', b'{"context":{"a":1,"a":2}}'):
        send(body, 422, "invalid")


@case(max_body=1000)
def bodies_that_are_too_large(visit: Visit) -> None:
    """A body may have as many bytes as the settings say, and not one more."""
    padded = b'{"rating":"up"}'.ljust(1000)
    headers = {"Content-Type": "application/json"}
    visit.ask("POST", PATH, 201, data=padded, headers=headers)
    visit.refused("POST", PATH, 413, "body-too-large", data=padded + b" ", headers=headers)
    visit.refused("PATCH", "/api/sessions/s/metadata", 413, "body-too-large", data=b" " * 100_000, headers=headers)


@case()
def parameters_that_there_are_not(visit: Visit) -> None:
    """What is misspelt, or makes no sense, must not mean everything."""
    for query in ("raiting=up", "limit=many", "limit=0", "rating=maybe", "since=yesterday", "after=x"):
        visit.refused("GET", f"/api/feedback?{query}", 422, "invalid")
    visit.refused("GET", "/api/feedback?tag=%FF", 400, "malformed-body")


# --- Who may do what --------------------------------------------------------------------------------------------------


@case(access="keys")
def keys_are_asked_for(visit: Visit) -> None:
    """Without a key nothing is done, and with one what it is for."""
    reading, giving = (
        {"Authorization": f"Bearer {visit.hk.keys.create('default', [scope]).text}"}
        for scope in (Scope.READ, Scope.SUBMIT)
    )
    needed = visit.refused("POST", PATH, 401, "unauthorized", json=UP)
    assert needed.headers["www-authenticate"]
    visit.refused("POST", PATH, 401, "unauthorized", json=UP, headers={"Authorization": "Bearer hk_nobodys"})
    visit.refused("POST", PATH, 403, "forbidden", json=UP, headers=reading)
    visit.give(headers=giving)
    assert visit.ask("GET", PATH, headers=reading).json()["total_feedbacks"] == 1


@case(access="keys", token_secrets=(SECRET,))
def tokens_are_for_one_session(visit: Visit) -> None:
    """A token is for its author in its session."""
    token = SessionTokens((SECRET,)).mint(session_id="s", author="kim")
    bearing = {"Authorization": f"Bearer {token}"}
    feedback_id = visit.give(headers=bearing)
    assert visit.ask("GET", f"/api/feedback/{feedback_id}", headers=bearing).json()["author"] == "kim"
    visit.refused("POST", "/api/sessions/t/feedback", 403, "forbidden", json=UP, headers=bearing)
    visit.refused("GET", "/api/feedback", 403, "forbidden", headers=bearing)


@case(access="keys", token_secrets=(SECRET,))
def credentials_say_which_agent(visit: Visit) -> None:
    """With a key or a token for one agent, feedback is given, shown and decided on about that agent only."""
    made = visit.hk.keys.create("default", [Scope.ADMIN], agents=["mine"]).text
    minted = SessionTokens((SECRET,)).mint(session_id="s", author="kim", agent="mine", context={"tier": "pro"})
    key, token = ({"Authorization": f"Bearer {credential}"} for credential in (made, minted))
    other = visit.hk.submit("s", "up", agent_id="other").feedback.id
    given = [visit.give(headers=each) for each in (key, token)]
    assert [visit.hk.collection.get("default", one).agent_id for one in given] == ["mine", "mine"]
    assert visit.hk.collection.get("default", given[1]).context == {"tier": "pro"}
    shown = visit.ask("GET", "/api/feedback", headers=key).json()["feedbacks"]
    assert {one["id"] for one in shown} == set(given)
    visit.refused("GET", f"/api/feedback/{other}", 404, "not-found", headers=key)
    visit.refused("GET", "/api/routes", 403, "forbidden", headers=key)
    for each, said in ((key, {"agent_id": "other"}), (token, {"agent_id": "other"}), (token, {"context": {"a": 1}})):
        visit.refused("POST", PATH, 403, "forbidden", json={**UP, **said}, headers=each)


@case()
def metadata_has_a_limit_in_total(visit: Visit) -> None:
    """A session that has all the metadata it can have is told so, each time, and can be emptied."""
    path = "/api/sessions/full/metadata"
    for number in range(16):
        visit.ask("PATCH", path, json={f"a{number}": "x" * 60_000})
    for _ in range(2):
        refused = visit.refused("PATCH", path, 422, "invalid", json={"b": "x" * 60_000})
        assert "(max: 1,000,000, now: 960,070); remove names" in refused.json()["detail"]
    visit.ask("DELETE", f"{path}?key=a0")
    visit.ask("PATCH", path, json={"b": "x" * 60_000})


@case(limit_by_session="2/day", limit_by_address="100/day", trusted_proxies=("127.0.0.1",))
def too_many_are_told_to_wait(visit: Visit) -> None:
    """Answers say what is left, and when to come again; addresses are those that proxies tell."""
    headers = {"X-Forwarded-For": "203.0.113.9"}
    first = visit.ask("POST", PATH, 201, json=UP, headers=headers)
    assert re.sub(r";t=\d+", "", first.headers["ratelimit"]) == '"session";r=1, "address";r=99'
    visit.give(headers=headers)
    over = visit.server.ask("POST", PATH, json=UP, headers=headers)
    problem(over, 429, "rate-limited")
    assert int(over.headers["retry-after"]) > 0
    visit.ask("POST", "/api/sessions/t/feedback", 201, json=UP, headers=headers)


@case(allowed_origins=(ORIGIN,))
def pages_of_other_origins_may_call(visit: Visit) -> None:
    """Pages of named origins may call and read, errors too; no others may."""
    asking = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "if-match"}
    for path in (PATH, "/api/feedback"):
        allowed = visit.ask("OPTIONS", path, headers=asking)
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        assert "If-Match" in allowed.headers["access-control-allow-headers"]
    evil = {**asking, "Origin": "https://evil.example"}
    assert "access-control-allow-origin" not in visit.ask("OPTIONS", PATH, 403, headers=evil).headers
    for method, path, status in (("POST", PATH, 201), ("POST", "/nothing", 404), ("PUT", PATH, 405)):
        answer = visit.ask(method, path, status, json=UP, headers={"Origin": ORIGIN})
        assert (answer.headers["access-control-allow-origin"], answer.headers["vary"]) == (ORIGIN, "Origin")


FOREIGN: Final[list[dict[str, str]]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:8000.evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN + ".evil.example"},
]
FORMS: Final = (
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "text/plain",
    "TEXT/plain;x=json",
)


def changing() -> Iterator[tuple[str, str]]:
    """The method and path of each operation that changes something."""
    named = {"session_id": "s", "message_id": "m", "channel": "log", "route": "r", "delivery_id": "d:log"}
    for one in OPERATIONS:
        if one.method != "GET":
            yield one.method, one.path.format(**named, feedback_id="nothing")


@case(allowed_origins=(ORIGIN,))
def foreign_pages_change_nothing(visit: Visit) -> None:
    """What a page elsewhere can send without asking is refused by every operation that changes something."""
    feedback_id = visit.give()
    for method, path in changing():
        for headers in FOREIGN:
            visit.refused(method, path, 403, "forbidden", headers=headers)
        for kind in FORMS:
            visit.refused(method, path, 415, "unsupported-media-type", data="x", headers={"Content-Type": kind})
    path = f"/api/feedback/{feedback_id}"
    visit.refused("DELETE", path, 403, "forbidden", headers=FOREIGN[0])
    visit.ask("GET", path, headers=FOREIGN[0])
    own = f"http://{visit.server.host}:{visit.server.port}"
    for headers in ({"Origin": own}, {"Origin": ORIGIN}, {"Sec-Fetch-Site": "same-origin"}, {}):
        visit.ask("DELETE", f"/api/feedback/{visit.give()}", 204, headers=headers)
    for name, values in (
        ("Origin", ("http://localhost", "https://evil.example")),
        ("Sec-Fetch-Site", ("none", "cross-site")),
    ):
        twice = raw_request("DELETE", path, *(f"{name}: {value}" for value in values))
        problem(RawAnswer.parse(visit.server.send(twice)), 403, "forbidden")
    # Browsers ask first before they send JSON for another page.
    visit.give(headers={"Origin": "https://evil.example"})


@case(access="keys", token_secrets=(SECRET,), allowed_origins=(ORIGIN,))
def a_key_is_not_for_foreign_pages(visit: Visit) -> None:
    """With credentials the same holds; a token may name the origin that it is for."""
    bearing = {"Authorization": f"Bearer {visit.hk.keys.create('default', [Scope.ADMIN]).text}"}
    for headers in FOREIGN:
        visit.refused("DELETE", "/api/routes/r", 403, "forbidden", headers={**bearing, **headers})
    shop = "https://other.example"
    token = SessionTokens((SECRET,)).mint(session_id="s", author="kim", origin=shop)
    theirs = {"Authorization": f"Bearer {token}", "Origin": shop}
    visit.ask("DELETE", f"/api/feedback/{visit.give(headers=theirs)}", 204, headers=theirs)


@case(access="keys", allowed_origins=(ORIGIN,))
def a_browser_signs_in_and_out(visit: Visit) -> None:
    """A key is exchanged for a cookie that only this service gets, and that counts for its own pages alone."""
    key = visit.hk.keys.create("default", [Scope.ADMIN]).text
    own = f"http://{visit.server.host}:{visit.server.port}"
    for path in ("/openapi.json", "/docs/start.js", "/docs/assets/swagger-ui.css", "/metrics"):
        visit.refused("GET", path, 401, "unauthorized")
    assert visit.ask("GET", "/docs", 303, allow_redirects=False).headers["location"] == "/sign-in"
    page = visit.ask("GET", "/sign-in")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "same-origin"
    for link in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        visit.ask("GET", link)

    for sent in ("", "key=", "key=nonsense", "key=hk_0123456789abcdef_x", "other=1", "key=%3Cb%3E%00"):
        answer = visit.ask("POST", "/sign-in", 401, data=sent, allow_redirects=False)
        assert 'role="alert"' in answer.text
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert "set-cookie" not in answer.headers
    for headers in FOREIGN:
        for path, title in (("/sign-in", "Not signed in."), ("/sign-out", "Not signed out.")):
            # Not compared, as the answer names the host with its port.
            answer = visit.server.ask("POST", path, data={"key": key}, headers=headers)
            assert answer.status_code == 403
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert f'role="alert"><b>{title}</b>' in answer.text
            assert ("proxy_set_header Host $http_host" in answer.text) == ("Sec-Fetch-Site" not in headers)
            assert "set-cookie" not in answer.headers
    visit.refused("POST", "/sign-in", 413, "body-too-large", data="x" * 100_000)
    visit.refused("PUT", "/sign-in", 405, "method-not-allowed")

    for origin, secure in ((own, ""), (own.replace("http:", "https:"), "; Secure")):
        answer = visit.server.ask(
            "POST", "/sign-in", data={"key": f" {key} "}, headers={"Origin": origin}, allow_redirects=False
        )
        assert (answer.status_code, answer.headers["location"], answer.content) == (303, "/docs", b"")
        expected = f"harken_key={key}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict{secure}"
        assert answer.headers["set-cookie"] == expected


@case(access="keys", allowed_origins=(ORIGIN,))
def a_browser_that_signed_in(visit: Visit) -> None:
    """Its cookie counts as the key does, but changes something for the service's own pages alone."""
    key = visit.hk.keys.create("default", [Scope.ADMIN]).text
    own = f"http://{visit.server.host}:{visit.server.port}"
    cookie = {"Cookie": f"theme=dark; harken_key={key}"}
    for path in ("/openapi.json", "/docs/start.js", "/api/feedback"):
        visit.ask("GET", path, headers=cookie)
    assert 'action="/sign-out"' in visit.ask("GET", "/docs", headers=cookie).text
    assert visit.server.ask("GET", "/metrics", headers=cookie).ok
    own_page = {**cookie, "Origin": own}
    feedback_id = visit.give(headers=own_page)
    for headers in (*FOREIGN, {}, {"Origin": ORIGIN}):
        refused = {**cookie, **headers}
        visit.refused("POST", PATH, 403, "forbidden", json=UP, headers=refused)
        visit.refused("DELETE", f"/api/feedback/{feedback_id}", 403, "forbidden", headers=refused)
    visit.ask("DELETE", f"/api/feedback/{feedback_id}", 204, headers=own_page)

    out = visit.ask("POST", "/sign-out", 303, headers=own_page, allow_redirects=False)
    assert "You are signed out." in visit.ask("GET", out.headers["location"]).text
    assert "You are signed out." not in visit.ask("GET", "/sign-in").text
    assert out.headers["set-cookie"].startswith("harken_key=; Path=/; Max-Age=0;")
    for wrong in (
        "harken_key=",
        "harken_key=hk_0_x",
        "xharken_key=hk_0_x",
        f"harken_key=x{key}",
        f'harken_key="{key}"',
    ):
        visit.refused("GET", "/api/feedback", 401, "unauthorized", headers={"Cookie": wrong})


@case(access="keys", limit_by_address="3/minute")
def signing_in_is_limited_and_counted(visit: Visit) -> None:
    """Too many wrong keys are answered with when to come back; each attempt is among the figures, as operations are."""
    for status in (401, 401, 401, 429, 429):
        answer = visit.server.ask("POST", "/sign-in", data={"key": "hk_0123456789abcdef_x"}, allow_redirects=False)
        assert answer.status_code == status
        assert 'role="alert"' in answer.text
        assert ("retry-after" in answer.headers) == (status == 429)
    key = visit.hk.keys.create("default", [Scope.ADMIN]).text
    assert visit.server.ask("POST", "/sign-in", data={"key": key}, allow_redirects=False).status_code == 303
    figures = visit.server.ask("GET", "/metrics", headers={"Authorization": f"Bearer {key}"}).text
    for status, number in ((401, 3), (429, 2), (303, 1)):
        counted = f'{{method="POST",operation="sign_in_form",status="{status}"}} {number}.0'
        assert counted in figures


@case(access="keys")
def figures_are_for_the_operator(visit: Visit) -> None:
    """What all applications share is shown with a key of the service's own application that may read."""
    made = [
        (visit.hk.keys.create("default", [Scope.READ]).text, 200),
        (visit.hk.keys.create("default", [Scope.SUBMIT]).text, 403),
        (visit.hk.keys.create("shop", [Scope.ADMIN]).text, 403),
    ]
    for key, status in made:
        bearing = {"Authorization": f"Bearer {key}"}
        assert visit.server.ask("GET", "/metrics", headers=bearing).status_code == status
        visit.ask("GET", "/openapi.json", headers=bearing)
    for path in ("/healthz", "/readyz"):
        visit.ask("GET", path)


# --- Events, documentation, health ------------------------------------------------------------------------------------


@case()
def events_arrive(visit: Visit) -> None:
    """Who listens hears of what happens, and of what happened while they were away."""
    with listening(visit.server.url) as stream:
        assert stream.answer.headers["content-type"] == "text/event-stream"
        given = visit.give(comment="heard")
        event = stream.event()
        assert (event.event, event.feedback["id"], event.feedback["comment"]) == ("feedback.created", given, "heard")
    visit.give(comment="not heard")
    with listening(visit.server.url, Last_Event_ID=event.id) as stream:
        assert stream.event().feedback["comment"] == "not heard"
    visit.refused("GET", "/api/events", 422, "invalid", headers={"Last-Event-ID": "nonsense"})


@case(access="keys")
def a_revoked_key_ends_its_stream(visit: Visit) -> None:
    """Who listens with a key that is revoked hears no more, and the stream ends, whether something happens or not."""
    with pytest.MonkeyPatch.context() as patch:
        # What the storage said of a key is old at once, so that no time has to pass.
        patch.setattr(access, "TRUSTED_FOR", -1.0)
        patch.setattr(EventStream, "heartbeat", 0.02)
        for happens in (True, False):
            made = visit.hk.keys.create("default", [Scope.READ])
            with listening(visit.server.url, Authorization=f"Bearer {made.text}") as stream:
                visit.clock.turn(seconds=1)
                visit.hk.submit("s", "up", "heard")
                assert stream.event().feedback["comment"] == "heard"
                visit.hk.keys.revoke(made.key.id)
                if happens:
                    visit.clock.turn(seconds=1)
                    visit.hk.submit("s", "up", "private")
                for number, line in enumerate(stream.answer):
                    assert b"private" not in line
                    assert number < 1_000, "it does not end"


@case()
def whoever_runs_it_is_told(visit: Visit) -> None:
    """Health, figures and documentation, complete with all that the page loads."""
    visit.give()
    for path, status in (("/healthz", "ok"), ("/readyz", "ready")):
        assert visit.ask("GET", path).json() == {"status": status}
        assert visit.ask("HEAD", path).content == b""
        visit.refused("POST", path, 405, "method-not-allowed")
    figures = visit.server.ask("GET", "/metrics")
    assert figures.headers["content-type"].startswith("text/plain")
    assert 'harken_submissions_total{outcome="stored"} 1.0' in figures.text
    assert 'harken_moderation_waiting{application="default"} 0.0' in figures.text
    page = visit.ask("GET", "/docs")
    for link in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert visit.ask("GET", link).headers["x-content-type-options"] == "nosniff"
    assert "script-src" not in page.headers["content-security-policy"]
    assert PATH.replace("/s/", "/{session_id}/") in visit.ask("GET", "/openapi.json").json()["paths"]


# --- All of them ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("host", HOSTS)
def test_every_host_answers_alike(host: str, name: str) -> None:
    """What people do works at every host, and what it answers is the same: status, headers and body."""
    assert told(host, name) == told("fastapi", name)
