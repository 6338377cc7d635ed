"""The same requests to every host: each supports all of them, and all responses are equal to the byte."""

import re
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, Final

import pytest
import requests
from attrs import evolve, field, frozen

import harken
from harken import Harken, Scope
from harken_adapters.hosts import flask, wsgi
from harken_adapters.hosts.http.guards import access
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.streaming import EventStream
from harken_adapters.tokens import FeedbackLinks, SessionTokens
from hosts.events import listening
from hosts.serving import NAMED, OPEN, RawAnswer, Server, problem, raw_request, served, serving_wsgi, signed_in
from support import ManualClock, counting_ids

pytestmark = pytest.mark.slow

PATH: Final = "/api/sessions/s/feedback"
MESSAGE: Final = "/api/sessions/s/messages/m-1/feedback"
UP: Final = {"rating": "up"}
SECRET: Final = "a secret that has thirty-two bytes or more"
ORIGIN: Final = "https://shop.example"
#: Headers that servers add, not the hosts.
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
    from hosts.django_serving import serve_django  # noqa: PLC0415 - configures Django, for these tests only

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


# --- Cases ------------------------------------------------------------------------------------------------------------


@frozen
class Recorded:
    """The response of a host, without what only its server adds."""

    asked: str
    status: int
    headers: dict[str, str]
    body: str

    @classmethod
    def of(cls, answer: requests.Response) -> "Recorded":
        """The comparable parts of a response."""
        headers = {name.lower(): value for name, value in answer.headers.items()}
        # Rate limit windows depend on the real clock, and the name of the cookie on the secret of the storage.
        varying = r";t=\d+|(?<=session_)[0-9a-f]{8}"
        headers = {name: re.sub(varying, "", value) for name, value in headers.items() if name not in _OF_THE_SERVER}
        return cls(f"{answer.request.method} {answer.request.path_url}", answer.status_code, headers, answer.text)


@frozen
class Visit:
    """A client of one host that records the responses."""

    server: Server
    hk: Harken
    clock: ManualClock
    responses: list[Recorded] = field(factory=list)

    def ask(self, method: str, path: str, status: int = 200, **options: Any) -> requests.Response:
        """Send a request and check its status."""
        options["headers"] = {"X-Request-Id": "visit", **options.get("headers", {})}
        answer = self.server.ask(method, path, **options)
        assert answer.status_code == status, answer.text
        self.responses.append(Recorded.of(answer))
        return answer

    def refused(self, method: str, path: str, status: int, kind: str, **options: Any) -> requests.Response:
        """Send a request and check its problem."""
        answer = self.ask(method, path, status, **options)
        problem(answer, status, kind)
        return answer

    def give(self, path: str = PATH, *, status: int = 201, headers: dict[str, str] | None = None, **body: Any) -> str:
        """Submit feedback; returns its id."""
        self.clock.turn(seconds=1)
        given = self.ask("POST", path, status, json={**UP, **body}, headers=headers or {})
        return str(given.json()["feedback_id"])


Case = Callable[[Visit], None]
CASES: Final[dict[str, tuple[Case, dict[str, Any]]]] = {}


def case(**settings: Any) -> Callable[[Case], Case]:
    """Register a case, for a host with these settings, and with Harken's setting ``spam``."""

    def add(function: Case) -> Case:
        CASES[function.__name__.replace("_", " ")] = function, settings
        return function

    return add


@cache
def responses(host: str, name: str) -> list[Recorded]:
    """The responses of a host in a case."""
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
    return visit.responses


# --- Submitting -------------------------------------------------------------------------------------------------------


@case()
def feedback_is_submitted(visit: Visit) -> None:
    """Submitted feedback is found at its Location, unchanged."""
    body = {"rating": "up", "comment": "Clear", "agent_id": "a", "tags": ["fast"], "context": {"tier": 2}}
    answer = visit.ask("POST", PATH, 201, json=body)
    shown = visit.ask("GET", answer.headers["location"]).json()
    assert {name: shown[name] for name in body} == body


@case()
def a_key_is_stored_once(visit: Visit) -> None:
    """A retry with the same key gets the same response, with Idempotency-Replayed."""
    key = {"Idempotency-Key": "click-7"}
    first = visit.ask("POST", PATH, 201, json=UP, headers=key)
    again = visit.ask("POST", PATH, 201, json=UP, headers=key)
    assert (first.headers.get("idempotency-replayed"), again.headers["idempotency-replayed"]) == (None, "true")
    assert first.json() == again.json()


@case()
def a_key_with_another_body_is_a_conflict(visit: Visit) -> None:
    """A key with another body is rejected."""
    key = {"Idempotency-Key": "click-7"}
    visit.give(headers=key)
    visit.refused("POST", PATH, 422, "idempotency-key-reused", json={"rating": None}, headers=key)


@case()
def all_violations_are_reported_together(visit: Visit) -> None:
    """All violations of a submission are reported together."""
    body = {"rating": "maybe", "comment": "x" * 1001, "tags": [""]}
    answer = visit.refused("POST", PATH, 422, "invalid", json=body)
    assert {one["field"] for one in answer.json()["violations"]} == set(body)


@case()
def a_thumbs_down_needs_a_comment(visit: Visit) -> None:
    """A thumbs-down needs a comment."""
    visit.refused("POST", PATH, 400, "feedback-refused", json={"rating": "down"})
    assert visit.give(rating="down", comment="It was last year's price")


@case(keep_client="plain")
def the_production_endpoint(visit: Visit) -> None:
    """The client address and user agent are stored if the operator enables it."""
    headers = {"User-Agent": "a browser"}
    feedback_id = visit.give("/api/feedback?session_id=s%2F1", headers=headers)
    visit.refused("POST", "/api/feedback", 422, "invalid", json=UP)
    shown = visit.ask("GET", f"/api/feedback/{feedback_id}").json()
    assert shown["session_id"] == "s/1"
    assert shown["context"] == {"client_address": "127.0.0.1", "user_agent": "a browser"}


@case()
def session_ids_are_percent_encoded(visit: Visit) -> None:
    """A session with any id is found by its percent-encoded id, unless it has a slash."""
    for name, encoded in (("ü ☃", "%C3%BC%20%E2%98%83"), ("a+b:c@d", "a+b:c@d"), ("50%", "50%25"), ("a?b", "a%3Fb")):
        path = f"/api/sessions/{encoded}/feedback"
        visit.give(path)
        assert visit.ask("GET", path).json()["session_id"] == name
    # A slash separates path segments, even if it is encoded; some servers decode it.
    problem(visit.server.ask("POST", "/api/sessions/a%2Fb/feedback", json=UP), 404, "not-found")
    visit.refused("POST", "/api/sessions//feedback", 404, "not-found", json=UP)


@case()
def votes_are_cast_and_withdrawn(visit: Visit) -> None:
    """An author has one vote on a message, and can withdraw it."""
    for rating in ("up", None):
        visit.ask("PUT", f"{MESSAGE}?author=kim", 200, json={"rating": rating})
    (vote,) = visit.ask("GET", "/api/sessions/s/votes?author=kim").json()["votes"]
    assert (vote["message_id"], vote["rating"], vote["version"]) == ("m-1", None, 2)
    visit.ask("DELETE", f"{MESSAGE}?author=kim", 204)
    assert visit.ask("GET", "/api/sessions/s/votes?author=kim").json()["votes"] == []


@case()
def the_whole_feedback_is_returned_if_preferred(visit: Visit) -> None:
    """With ``Prefer: return=representation``, submissions, votes and withdrawals return the feedback."""
    prefer = {"Prefer": "return=representation"}
    vote, author = "/api/sessions/s/messages/m/feedback", {"author": "ann"}
    given = visit.ask("POST", PATH, 201, json=UP, headers=prefer)
    assert given.headers["preference-applied"] == "return=representation"
    assert given.headers["harken-application"] == "default"
    known = given.json()
    assert known["feedback"] == visit.ask("GET", f"/api/feedback/{known['feedback_id']}").json()
    assert not known["duplicate"]
    cast = visit.ask("PUT", vote, json=UP, params=author, headers=prefer).json()["feedback"]
    assert visit.ask("PUT", vote, json=UP, params=author, headers=prefer).json()["duplicate"]
    assert visit.ask("GET", "/api/sessions/s/votes", params=author, headers=prefer).json()["votes"] == [cast]
    assert visit.ask("DELETE", vote, params=author, headers=prefer).json()["withdrawn_at"]
    visit.ask("DELETE", vote, 204, params=author, headers=prefer)
    assert visit.ask("DELETE", f"/api/feedback/{known['feedback_id']}", headers=prefer).json()["version"] == 2
    assert visit.ask("GET", "/api/export?count=true").text == '{"count":0}\n'


# --- Reading ----------------------------------------------------------------------------------------------------------


@case()
def the_guide_reads_a_session(visit: Visit) -> None:
    """The guide's clients get the feedback of a session, oldest first, and its statistics."""
    visit.give(comment="first")
    visit.give(rating="down", comment="second")
    found = visit.ask("GET", PATH).json()
    assert [one["comment"] for one in found["feedbacks"]] == ["first", "second"]
    assert visit.ask("GET", f"{PATH}/stats").json()["satisfaction_score"] == 50.0


@case()
def pages_are_linked(visit: Visit) -> None:
    """Each page links to the next one."""
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
    """Filters match any text."""
    visit.give(comment="a b", tags=["x y"], context={"tier": "ü"})
    visit.give(rating=None)
    words = (("text=B+a", 1), ("text=%22b+a%22", 0), ("text=%22a+b%22", 1))
    other = (("tag=x+y", 1), ("context.tier=%C3%BC", 1), ("rating=neutral", 1), ("session_id=t", 0))
    for query, count in (*words, *other):
        assert len(visit.ask("GET", f"/api/feedback?{query}").json()["feedbacks"]) == count


@case()
def statistics_are_returned(visit: Visit) -> None:
    """Statistics of all feedback, of groups, of themes, and of two selections."""
    visit.give(agent_id="a")
    visit.give(agent_id="b", rating="down", comment="The price was wrong")
    assert visit.ask("GET", "/api/analytics/summary?agent_id=a").json()["satisfaction_score"] == 100.0
    assert len(visit.ask("GET", "/api/analytics/summary?by=agent").json()["groups"]) == 2
    visit.ask("GET", "/api/analytics/themes?keyword=price&keyword=speed")
    visit.ask("GET", "/api/analytics/compare?before.agent_id=a&after.agent_id=b")
    assert visit.ask("GET", "/api/analytics/themes").json()["comments"] == 1
    assert visit.ask("GET", "/api/analytics/sentiment").json()["average"]["comments"] == 1
    assert len(visit.ask("GET", "/api/analytics/groups?by=agent").json()["groups"]) == 2
    assert len(visit.ask("GET", "/api/analytics/heat-map?zone=Asia/Kathmandu").json()["cells"]) == 1
    assert visit.ask("GET", "/api/analytics/changes").json()["changes"] == []


@case()
def trends_are_returned(visit: Visit) -> None:
    """Statistics over time, in any zone."""
    visit.give()
    visit.clock.turn(days=1)
    visit.give()
    assert len(visit.ask("GET", "/api/analytics/trend?by=day&zone=Asia/Kathmandu").json()["points"]) == 2


@case()
def feedback_is_exported(visit: Visit) -> None:
    """Exports stream all matching feedback, as JSON Lines or CSV."""
    for number in range(50):
        visit.hk.submit(f"s-{number}", "up", "ü" * 100)
    rows = visit.ask("GET", "/api/export")
    assert (rows.headers["content-type"], len(rows.text.splitlines())) == ("application/x-ndjson", 50)
    table = visit.ask("GET", "/api/export?format=csv&session_id=s-7")
    assert (table.headers["content-type"], len(table.text.splitlines())) == ("text/csv; charset=utf-8", 2)
    assert table.headers["content-disposition"] == 'attachment; filename="feedback.csv"'


# --- Changing ---------------------------------------------------------------------------------------------------------


@case()
def metadata_is_stored(visit: Visit) -> None:
    """Session metadata is set, read and deleted by key."""
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
    """A decision on an outdated version is rejected, with the latest decision."""
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
    # Without a version, the decision of another moderator is not overridden either.
    visit.refused("POST", path, 409, "conflict", json={"status": "approved", "moderator": "kim"})
    visit.refused("POST", f"{path}/undo", 409, "conflict", json={"moderator": "kim"})
    visit.ask("POST", f"{path}/undo", json={}, headers={"If-Match": '"3"'})


@case(spam="hold")
def a_team_moderates(visit: Visit) -> None:
    """What waits and why, a review, decisions on several entries, what was decided, and what rules caught."""
    spam = {"rating": "up", "comment": "Hi, click here", "agent_id": "a"}
    ids = [visit.ask("POST", PATH, 201, json=spam).json()["feedback_id"] for _ in range(3)]
    visit.ask("POST", PATH, 400, json={"rating": "down"})
    waiting = visit.ask("GET", "/api/moderation/waiting?agent_id=a").json()
    assert (waiting["waiting"], waiting["rules"]) == (3, [{"rule": "spam phrases", "waiting": 3}])
    queue = visit.ask("GET", "/api/moderation/queue?held_by=spam%20phrases&order=newest&limit=2").json()
    assert [one["id"] for one in queue["feedbacks"]] == ids[:0:-1]
    (match,) = queue["feedbacks"][0]["moderation"]["held_by"]
    assert match == {"rule": "spam phrases", "spans": [[4, 14]]}
    review = visit.ask("GET", f"/api/feedback/{ids[0]}/moderation").json()
    assert [one["feedback_id"] for one in review["similar"]["entries"]] == ids
    entries = [{"feedback_id": one, "version": 1} for one in [*ids, "unknown"]]
    preview = visit.ask("POST", "/api/moderation/preview", json={"status": "approved", "entries": entries}).json()
    assert preview["effect"]["selection"]["after"]["positive"] == 3
    visit.ask("POST", f"/api/feedback/{ids[0]}/moderation", json={"status": "approved", "moderator": "priya"})
    decisions = [entry | {"status": "rejected", "reason": "spam"} for entry in entries]
    for _ in range(2):
        decided = visit.ask("POST", "/api/moderation/decisions", json={"moderator": "mo", "decisions": decisions})
        outcomes = decided.json()["outcomes"]
        assert [one["outcome"] for one in outcomes] == ["conflict", "decided", "decided", "not-found"]
        assert (outcomes[0]["current"]["moderator"], outcomes[0]["current"]["status"]) == ("priya", "approved")
    found = visit.ask("GET", "/api/moderation/decisions?decision=rejected").json()
    assert (found["decisions"], found["moderators"]) == (2, [{"moderator": "mo", "decisions": 2}])
    undo = {"moderator": "mo", "decisions": [{"feedback_id": one, "version": 2} for one in ids]}
    outcomes = visit.ask("POST", "/api/moderation/decisions/undo", json=undo).json()["outcomes"]
    # With the version that they saw, a moderator may undo the decision of another one.
    assert [one["outcome"] for one in outcomes] == ["decided"] * 3
    undo["decisions"] = [{"feedback_id": ids[0], "version": 1}]
    outcomes = visit.ask("POST", "/api/moderation/decisions/undo", json=undo).json()["outcomes"]
    assert [one["outcome"] for one in outcomes] == ["conflict"]
    rules = visit.ask("GET", "/api/moderation/rules?days=1").json()["rules"]
    assert [(one["rule"], one["refused"], one["held"]) for one in rules] == [
        ("spam phrases", 0, 3),
        ("reason when down", 1, 0),
    ]


@case()
def invalid_decisions(visit: Visit) -> None:
    """What is invalid about a list of decisions is named."""
    entry = {"feedback_id": "f", "version": 1}
    for path, body, name in [
        ("decisions", {}, "decisions"),
        ("decisions", {"decisions": []}, "decisions"),
        ("decisions", {"decisions": [entry] * 501}, "decisions"),
        ("decisions", {"decisions": [7]}, "decisions.0"),
        ("decisions", {"decisions": [{"version": 1, "status": "approved"}]}, "decisions.0.feedback_id"),
        ("decisions", {"decisions": [entry | {"status": "gone"}]}, "decisions.0.status"),
        ("decisions", {"decisions": [entry | {"version": True}]}, "decisions.0.version"),
        ("decisions", {"decisions": [entry | {"status": "approved", "reason": 7}]}, "reason"),
        ("decisions/undo", {"decisions": [entry | {"status": "approved"}]}, "status"),
        ("decisions/undo", {"decisions": [entry, entry]}, "decisions"),
        ("preview", {"entries": [entry], "status": "gone"}, "status"),
    ]:
        refused = visit.refused("POST", f"/api/moderation/{path}", 422, "invalid", json=body).json()
        assert [one["field"] for one in refused["violations"]] == [name]
    visit.refused("GET", "/api/moderation/rules?days=32", 422, "invalid")
    visit.refused("GET", "/api/moderation/queue?order=random", 422, "invalid")
    visit.refused("GET", "/api/moderation/decisions?decision=pending", 422, "invalid")


@case(spam="hold")
def held_feedback(visit: Visit) -> None:
    """The response to feedback that is held for moderation says so, also for retries and votes."""
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
    visit.ask("PUT", MESSAGE, 200, json={"rating": "up", "author": "lee"})


@case()
def a_stale_change_is_refused(visit: Visit) -> None:
    """A change of an outdated version is rejected."""
    path = f"/api/feedback/{visit.give()}"
    first = visit.ask("GET", path).headers["etag"]
    changed = visit.ask("PATCH", path, json={"comment": "else"}, headers={"If-Match": first})
    assert changed.headers["etag"] != first
    visit.refused("PATCH", path, 412, "changed-meanwhile", json={"comment": "late"}, headers={"If-Match": first})


@case()
def feedback_is_withdrawn(visit: Visit) -> None:
    """Withdrawn feedback is not listed, and cannot be changed."""
    path = f"/api/feedback/{visit.give()}"
    assert visit.ask("DELETE", path, 204).content == b""
    assert visit.ask("GET", "/api/feedback").json()["feedbacks"] == []
    visit.refused("PATCH", path, 409, "conflict", json={"comment": "else"})


@case()
def feedback_is_erased(visit: Visit) -> None:
    """Erased feedback is gone, and the response has the numbers by kind."""
    path = f"/api/feedback/{visit.give(author='kim')}"
    visit.give(author="lee")
    removed = {"feedback": 1, "messages": 0, "agents": 0, "metadata": 0, "alerts": 0, "deliveries": 0}
    answered = visit.ask("POST", "/api/erasures", json={"author": "kim"}).json()
    assert answered == {"erased": 1, "removed": removed, "kept_sessions": ["s"]}
    visit.refused("GET", path, 404, "not-found")


# --- Errors -----------------------------------------------------------------------------------------------------------


@case()
def unknown_paths(visit: Visit) -> None:
    """Unknown paths are answered with problem details."""
    visit.refused("GET", "/api/feedback/nobody", 404, "not-found")
    for path in ("/", "/api", "/api/nothing", "/api/nothing%20%C3%BC", "/docs/assets/nothing.js"):
        visit.refused("GET", path, 404, "not-found")


@case()
def unsupported_methods(visit: Visit) -> None:
    """Unsupported methods are rejected with the supported ones."""
    for method, path, allowed in (
        ("PATCH", PATH, "DELETE, GET, POST, PUT"),
        ("HEAD", PATH, "DELETE, GET, POST, PUT"),
        ("DELETE", "/api/events", "GET"),
        ("GET", "/api/erasures", "POST"),
        ("PUT", "/api/deliveries/replay", "POST"),
        ("OPTIONS", "/api/feedback", "GET, POST"),
    ):
        assert visit.ask(method, path, 405).headers["allow"] == allowed
    # A path without parameters takes precedence over one with parameters.
    visit.refused("GET", "/api/deliveries/replay", 404, "not-found")


@case()
def malformed_bodies(visit: Visit) -> None:
    """A body that is not a JSON object, or has another content type, is rejected."""

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
    """A body may have exactly the configured maximum size."""
    padded = b'{"rating":"up"}'.ljust(1000)
    headers = {"Content-Type": "application/json"}
    visit.ask("POST", PATH, 201, data=padded, headers=headers)
    visit.refused("POST", PATH, 413, "body-too-large", data=padded + b" ", headers=headers)
    visit.refused("PATCH", "/api/sessions/s/metadata", 413, "body-too-large", data=b" " * 100_000, headers=headers)


@case()
def unknown_parameters(visit: Visit) -> None:
    """An unknown or invalid parameter is rejected, instead of being ignored."""
    for query in ("raiting=up", "limit=many", "limit=0", "rating=maybe", "since=yesterday", "after=x"):
        visit.refused("GET", f"/api/feedback?{query}", 422, "invalid")
    visit.refused("GET", "/api/feedback?tag=%FF", 400, "malformed-body")


# --- Access -----------------------------------------------------------------------------------------------------------


@case(access="keys")
def keys_are_required(visit: Visit) -> None:
    """Every operation needs a key with its scope."""
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
    """A session token is for its author in its session."""
    token = SessionTokens((SECRET,)).mint(session_id="s", author="kim")
    bearing = {"Authorization": f"Bearer {token}"}
    feedback_id = visit.give(headers=bearing)
    assert visit.ask("GET", f"/api/feedback/{feedback_id}", headers=bearing).json()["author"] == "kim"
    visit.refused("POST", "/api/sessions/t/feedback", 403, "forbidden", json=UP, headers=bearing)
    visit.refused("GET", "/api/feedback", 403, "forbidden", headers=bearing)


@case(access="keys", token_secrets=(SECRET,))
def credentials_for_one_agent(visit: Visit) -> None:
    """With a key or token for one agent, feedback is submitted, read and moderated about that agent only."""
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
    for each, fields in ((key, {"agent_id": "other"}), (token, {"agent_id": "other"}), (token, {"context": {"a": 1}})):
        visit.refused("POST", PATH, 403, "forbidden", json={**UP, **fields}, headers=each)


@case()
def metadata_has_a_limit_in_total(visit: Visit) -> None:
    """A session with the maximum amount of metadata rejects more, each time, and can be emptied."""
    path = "/api/sessions/full/metadata"
    for number in range(16):
        visit.ask("PATCH", path, json={f"a{number}": "x" * 60_000})
    for _ in range(2):
        refused = visit.refused("PATCH", path, 422, "invalid", json={"b": "x" * 60_000})
        assert "(max: 1,000,000, now: 960,070); remove names" in refused.json()["detail"]
    visit.ask("DELETE", f"{path}?key=a0")
    visit.ask("PATCH", path, json={"b": "x" * 60_000})


@case(limit_by_session="2/day", limit_by_address="100/day", trusted_proxies=("127.0.0.1",))
def rate_limits(visit: Visit) -> None:
    """Responses have the remaining requests and the time to retry; addresses are taken from trusted proxies."""
    headers = {"X-Forwarded-For": "203.0.113.9"}
    first = visit.ask("POST", PATH, 201, json=UP, headers=headers)
    assert re.sub(r";t=\d+", "", first.headers["ratelimit"]) == '"session";r=1, "address";r=99'
    visit.give(headers=headers)
    over = visit.server.ask("POST", PATH, json=UP, headers=headers)
    problem(over, 429, "rate-limited")
    assert int(over.headers["retry-after"]) > 0
    visit.ask("POST", "/api/sessions/t/feedback", 201, json=UP, headers=headers)


@case(allowed_origins=(ORIGIN,))
def cors(visit: Visit) -> None:
    """Pages of allowed origins may call the API and read responses, including errors; other pages may not."""
    asking = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "if-match"}
    for path in (PATH, "/api/feedback"):
        allowed = visit.ask("OPTIONS", path, headers=asking)
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        assert "If-Match" in allowed.headers["access-control-allow-headers"]
    evil = {**asking, "Origin": "https://evil.example"}
    assert "access-control-allow-origin" not in visit.ask("OPTIONS", PATH, 403, headers=evil).headers
    for method, path, status in (("POST", PATH, 201), ("POST", "/nothing", 404), ("PATCH", PATH, 405)):
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
    """The method and path of each operation that changes data."""
    for one in OPERATIONS:
        if one.method != "GET":
            yield one.method, one.path.format(**NAMED, feedback_id="nothing")


@case(allowed_origins=(ORIGIN,))
def foreign_pages_cannot_change_data(visit: Visit) -> None:
    """Requests that pages of other origins can send without a preflight are rejected by every operation that changes
    data.
    """
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
    # Browsers send a preflight before cross-origin JSON.
    visit.give(headers={"Origin": "https://evil.example"})


@case(access="keys", token_secrets=(SECRET,), allowed_origins=(ORIGIN,))
def foreign_pages_with_credentials(visit: Visit) -> None:
    """The same holds with credentials; a token may name its origin."""
    bearing = {"Authorization": f"Bearer {visit.hk.keys.create('default', [Scope.ADMIN]).text}"}
    for headers in FOREIGN:
        visit.refused("DELETE", "/api/routes/r", 403, "forbidden", headers={**bearing, **headers})
    shop = "https://other.example"
    token = SessionTokens((SECRET,)).mint(session_id="s", author="kim", origin=shop)
    theirs = {"Authorization": f"Bearer {token}", "Origin": shop}
    visit.ask("DELETE", f"/api/feedback/{visit.give(headers=theirs)}", 204, headers=theirs)


@case(access="keys", allowed_origins=(ORIGIN,))
def a_browser_signs_in_and_out(visit: Visit) -> None:
    """A key is exchanged for a cookie that is limited to this service and its own pages."""
    key = visit.hk.keys.create("default", [Scope.ADMIN]).text
    own = f"http://{visit.server.host}:{visit.server.port}"
    for path in ("/openapi.json", "/docs/start.js", "/docs/assets/swagger-ui.css", "/metrics"):
        visit.refused("GET", path, 401, "unauthorized")
    assert visit.ask("GET", "/docs", 303, allow_redirects=False).headers["location"] == "/sign-in?next=%2Fdocs"
    for path in ("/dashboard", "/dashboard/alerts"):
        shown = visit.ask("GET", path, 303, allow_redirects=False).headers["location"]
        assert shown == ("/sign-in" if path == "/dashboard" else "/sign-in?next=%2Fdashboard%2Falerts")
    page = visit.ask("GET", "/sign-in")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "same-origin"
    for link in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        visit.ask("GET", link, 303 if link == "/dashboard" else 200, allow_redirects=False)

    for sent in ("", "key=", "key=nonsense", "key=hk_0123456789abcdef_x", "other=1", "key=%3Cb%3E%00"):
        answer = visit.ask("POST", "/sign-in", 401, data=sent, allow_redirects=False)
        assert 'role="alert"' in answer.text
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert "set-cookie" not in answer.headers
    for headers in FOREIGN:
        for path, title in (("/sign-in", "Not signed in."), ("/sign-out", "Not signed out.")):
            # Not compared, as the response has the host name with its port.
            answer = visit.server.ask("POST", path, data={"key": key}, headers=headers)
            assert answer.status_code == 403
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            # With an icon before the title.
            assert re.search(rf'role="alert"><svg [^\n]*</svg>\n<p class="grow"><b>{title}</b>', answer.text)
            assert ("proxy_set_header Host $http_host" in answer.text) == ("Sec-Fetch-Site" not in headers)
            assert "set-cookie" not in answer.headers
    visit.refused("POST", "/sign-in", 413, "body-too-large", data="x" * 100_000)
    visit.refused("PUT", "/sign-in", 405, "method-not-allowed")

    for origin, secure in ((own, ""), (own.replace("http:", "https:"), "; Secure")):
        answer = visit.server.ask(
            "POST", "/sign-in", data={"key": f" {key} "}, headers={"Origin": origin}, allow_redirects=False
        )
        assert (answer.status_code, answer.headers["location"], answer.content) == (303, "/dashboard", b"")
        name, _, value = answer.headers["set-cookie"].partition("=")
        assert re.fullmatch("harken_session_[0-9a-f]{8}", name)
        session, _, attributes = value.partition("; ")
        assert key not in b64decode(session.split(".")[1] + "==", altchars=b"-_").decode()
        # The expiry is rounded up to a second.
        assert attributes in (f"Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}" for age in (43200, 43201))


@case(access="keys", allowed_origins=(ORIGIN,))
def a_browser_that_signed_in(visit: Visit) -> None:
    """The cookie permits what the key permits, but changes data only from the service's own pages, until it ends."""
    key = visit.hk.keys.create("default", [Scope.ADMIN]).text
    own = f"http://{visit.server.host}:{visit.server.port}"
    own_cookie = signed_in(visit.server, key)["Cookie"]
    cookie = {"Cookie": f"theme=dark; {own_cookie}"}
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
    name, _, value = own_cookie.partition("=")
    assert out.headers["set-cookie"].startswith(f"{name}=; Path=/; Max-Age=0;")
    visit.refused("GET", "/api/feedback", 401, "unauthorized", headers=cookie)
    value = signed_in(visit.server, key)["Cookie"].partition("=")[2]
    for wrong in (
        f"{name}=",
        f"{name}={key}",
        f"harken_key={key}",
        f"x{name}={value}",
        f"{name[:-1]}={value}",
        f"{name}=x{value}",
        f'{name}="{value}"',
    ):
        problem(visit.server.ask("GET", "/api/feedback", headers={"Cookie": wrong}), 401, "unauthorized")
    bearing = {"Authorization": f"Bearer {value}"}
    problem(visit.server.ask("GET", "/api/feedback", headers=bearing), 401, "unauthorized")


@case(access="keys", limit_by_address="3/minute")
def signing_in_is_limited_and_counted(visit: Visit) -> None:
    """Too many invalid keys are rejected with Retry-After, and each attempt is in the metrics."""
    for status in (401, 401, 401, 429, 429):
        answer = visit.server.ask("POST", "/sign-in", data={"key": "hk_0123456789abcdef_x"}, allow_redirects=False)
        assert answer.status_code == status
        assert 'role="alert"' in answer.text
        assert ("retry-after" in answer.headers) == (status == 429)
    key = visit.hk.keys.create("default", [Scope.ADMIN]).text
    assert visit.server.ask("POST", "/sign-in", data={"key": key}, allow_redirects=False).status_code == 303
    metrics = visit.server.ask("GET", "/metrics", headers={"Authorization": f"Bearer {key}"}).text
    for status, number in ((401, 3), (429, 2), (303, 1)):
        counted = f'{{method="POST",operation="sign_in_form",status="{status}"}} {number}.0'
        assert counted in metrics


@case(access="keys", token_secrets=(SECRET,), allowed_origins=(ORIGIN,))
def a_feedback_link_is_used(visit: Visit) -> None:
    """Its page is shown and changes nothing; its form votes and withdraws the vote, and redirects to the page."""
    url = FeedbackLinks((SECRET,)).mint(visit.server.url, session_id="s", message_id="m-1", author="kim", label="<b>é")
    path = url.removeprefix(visit.server.url)

    def ask(method: str, query: str, status: int, tail: str = "", **options: Any) -> requests.Response:
        answer = visit.server.ask(method, f"{path}{tail}{query}", allow_redirects=False, **options)
        assert answer.status_code == status, answer.text
        recorded = Recorded.of(answer)
        body = re.sub('name="load" value="[^"]+"', "", recorded.body)
        visit.responses.append(evolve(recorded, asked=f"{method} {query}", body=body))
        return answer

    for query in ("", "?rating=down&utm_source=mail", "?rating=up", "?done=vote"):
        assert "&lt;b&gt;é" in ask("GET", query, 200, headers={"Accept-Language": "fr"}).text
        assert ask("HEAD", query, 200).content == b""
    assert visit.ask("GET", "/api/feedback", headers=_reading(visit)).json()["feedbacks"] == []
    for data in ({"rating": "down", "comment": "Zu späté\r\n<b>", "tag": ["slow", "own"]}, {"undo": "0"}):
        headers = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
        page = ask("POST", "", 303, data=data, headers=headers)
        ask("GET", page.headers["location"], 200)
    for data in ({"rating": "down"}, {"rating": "down", "comment": "x" * 1001}, {}):
        ask("POST", "", 400 if data == {"rating": "down"} else 422, data=data)
    for headers in FOREIGN:
        # Browsers without Sec-Fetch-Site send ``null`` with the form of the page itself.
        ask("POST", "", 303 if headers == {"Origin": "null"} else 403, data={"rating": "up"}, headers=headers)
    for method in ("GET", "HEAD", "POST"):
        ask(method, "", 403, tail="x")
    visit.refused("PUT", "/vote/x", 405, "method-not-allowed")
    visit.refused("POST", "/vote/x", 413, "body-too-large", data="x" * 100_000)
    assert visit.ask("GET", "/vote/assets/style.css").headers["content-type"] == "text/css; charset=utf-8"
    metrics = visit.server.ask("GET", "/metrics", headers=_reading(visit)).text
    assert 'operation="feedback_link_form",status="303"} 3.0' in metrics


def _reading(visit: Visit) -> dict[str, str]:
    return {"Authorization": f"Bearer {visit.hk.keys.create('default', [Scope.READ]).text}"}


@case(access="keys")
def metrics_are_for_the_operator(visit: Visit) -> None:
    """Metrics need a key of the default application with the scope ``read``."""
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
    """A listener receives events as they happen, and those that it has missed."""
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
    """The event stream of a revoked key ends, with or without events."""
    with pytest.MonkeyPatch.context() as patch:
        # The cached key expires at once, so that the test need not wait.
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
                    assert number < 1_000, "the stream did not end"


@case()
def a_path_that_is_not_utf8(visit: Visit) -> None:
    """Bytes that are not UTF-8 are rejected in any path, so that they never become the same session; others are not."""
    for path in ("sessions/%ff/feedback", "sessions/%fe/votes", "feedback/%ed%a0%80", "sessions/%c0%af/metadata"):
        for method in ("GET", "POST", "PUT", "DELETE"):
            answer = visit.server.ask(method, f"/api/{path}", json=UP)
            assert problem(answer, 400, "malformed-request")["detail"] == "The path is not percent-encoded UTF-8"
    assert visit.hk.feedback().items == ()
    for name in ("%EF%BF%BD", "%C3%BC"):
        visit.ask("POST", f"/api/sessions/{name}/feedback", 201, json=UP)
    assert {one.session_id for one in visit.hk.feedback().items} == {"\ufffd", "ü"}


@case()
def the_pages(visit: Visit) -> None:
    """Health, metrics and documentation, with all assets of the page."""
    visit.give()
    for path, status in (("/healthz", "ok"), ("/readyz", "ready")):
        assert visit.ask("GET", path).json() == {"status": status}
        assert visit.ask("HEAD", path).content == b""
        visit.refused("POST", path, 405, "method-not-allowed")
    metrics = visit.server.ask("GET", "/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert 'harken_submissions_total{outcome="stored"} 1.0' in metrics.text
    assert 'harken_moderation_waiting{application="default"} 0.0' in metrics.text
    page = visit.ask("GET", "/docs")
    for link in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert visit.ask("GET", link).headers["x-content-type-options"] == "nosniff"
    assert "script-src" not in page.headers["content-security-policy"]
    assert PATH.replace("/s/", "/{session_id}/") in visit.ask("GET", "/openapi.json").json()["paths"]


# --- All cases --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("host", HOSTS)
def test_every_host_answers_alike(host: str, name: str) -> None:
    """Every host gives the same responses in every case: status, headers and body."""
    assert responses(host, name) == responses("fastapi", name)
