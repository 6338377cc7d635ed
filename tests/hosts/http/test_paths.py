"""URL routing of hosts that do not use their framework's routing."""

from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.routing import Match, Route

from harken_adapters.hosts.fastapi.messages import path_of, root_of
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.wire.paths import Paths, encode_root
from harken_adapters.hosts.http.wire.problems import Problem
from harken_adapters.hosts.web.routes import PAGES

TARGETS = (*OPERATIONS, *PAGES)
PATHS = Paths[Any](TARGETS)
STEPS = sorted({step for target in TARGETS for step in target.path.split("/") if not step.startswith("{")})


async def _never(_: Any) -> Any:
    raise AssertionError


def routes() -> list[tuple[Any, Route]]:
    """The same paths as routes of a framework, which has no HEAD of its own."""
    made = []
    for target in TARGETS:
        route = Route(target.path, _never, methods=list(target.methods))
        route.methods = set(target.methods)
        made.append((target, route))
    return made


ROUTES = routes()
paths = st.one_of(
    st.builds(
        lambda target, part: target.path.replace("{", "").replace("}", part),
        st.sampled_from(TARGETS),
        st.sampled_from(["", "x", "ü ", "{", "}"]),
    ),
    st.lists(st.sampled_from([*STEPS, "x", "{name}"]), max_size=6).map(lambda steps: "/" + "/".join(steps)),
    st.text(max_size=20),
)


@given(st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"]), paths)
@example("GET", "/api/deliveries/replay")
@example("POST", "/api/deliveries/replay")
@example("GET", "/api/sessions//feedback")
@example("GET", "/healthz/")
def test_paths_match_like_those_of_a_framework(method: str, path: str) -> None:
    """Any path has the same operation and parameters as with FastAPI's router."""
    scope = {"type": "http", "path": path, "method": method}
    found = [(target, route.matches(scope)) for target, route in ROUTES]
    full = [(target, child["path_params"]) for target, (match, child) in found if match is Match.FULL]
    if full:
        assert PATHS.find(method, path) == full[0]
        return
    with pytest.raises(Problem) as refused:
        PATHS.find(method, path)
    partly = any(match is Match.PARTIAL for _, (match, _) in found)
    assert refused.value.status == (HTTPStatus.METHOD_NOT_ALLOWED if partly else HTTPStatus.NOT_FOUND)
    allowed = dict(refused.value.headers).get("allow", "").split(", ")
    assert method not in allowed
    for other in filter(None, allowed):
        PATHS.find(other, path)


@pytest.mark.parametrize(
    ("prefix", "encoded"),
    [
        ("", ""),
        ("/", ""),
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b"),
        ("/ü b", "/%C3%BC%20b"),
        ("//evil.example/a", "/evil.example/a"),
        ("/x; Domain=evil.example", "/x%3B%20Domain=evil.example"),
        ("/a\r\nb", "/a%0D%0Ab"),
    ],
)
def test_a_prefix_leads_nowhere_else(prefix: str, encoded: str) -> None:
    """The prefix in links and cookies is a path of the same host, for any value of a parameter in it."""
    assert encode_root(prefix) == encoded


@pytest.mark.parametrize(
    ("root_path", "path", "raw_path", "full", "root"),
    [
        ("", "/dashboard/alerts", b"/dashboard/alerts", "/dashboard/alerts", ""),
        ("/d", "/d/dashboard/alerts", b"/d/dashboard/alerts", "/d/dashboard/alerts", "/d"),
        # The path does not include the root path, although it begins with the same letter.
        ("/d", "/dashboard/alerts", b"/dashboard/alerts", "/d/dashboard/alerts", "/d"),
        ("/ü", "/ü/dashboard/alerts", b"/%C3%BC/dashboard/alerts", "/%C3%BC/dashboard/alerts", "/%C3%BC"),
        ("/ü", "/dashboard/alerts", None, "/%C3%BC/dashboard/alerts", "/%C3%BC"),
        ("", "/x/dashboard/alerts", b"/x%2Fdashboard/alerts", "/x%2Fdashboard/alerts", "/x"),
    ],
)
def test_the_prefix_of_a_router(root_path: str, path: str, raw_path: bytes | None, full: str, root: str) -> None:
    """The prefix is what precedes the path of the page, with or without a root path that the path includes."""
    scope = {"root_path": root_path, "path": path, "raw_path": raw_path}
    assert path_of(scope) == full
    assert root_of(scope, "/dashboard/alerts") == root
