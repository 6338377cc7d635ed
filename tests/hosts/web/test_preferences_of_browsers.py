"""Preferences of the browser: the theme and single-letter keys, in cookies."""

from collections.abc import Iterator

import pytest

import harken
from harken import Harken
from hosts.serving import Server, served
from hosts.web.site import Visitor, WebPage, texts_of

pytestmark = pytest.mark.slow

PREFERENCES = "/dashboard/preferences"


@pytest.fixture
def server() -> Iterator[Server]:
    """A server with open access."""
    with harken.connect("memory://") as hk, served(hk) as serving:
        yield serving


def root(page: WebPage) -> dict[str, str | None]:
    """The attributes of the root element."""
    (found,) = page.attributes("html")
    return dict(found)


def test_a_theme_is_chosen_and_unchosen(server: Server) -> None:
    """The choice leads back to the page that it was made on, holds on every page, and can be undone."""
    visitor = Visitor(server)
    assert root(visitor.page(PREFERENCES)) == {"lang": "en"}
    answer = visitor.post("/dashboard/theme", {"value": "dark", "back": "/dashboard/feedback?rating=down"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/feedback?rating=down")
    cookie = answer.headers["set-cookie"]
    assert cookie == "harken_theme=dark; Path=/; Max-Age=31536000; SameSite=Lax"
    for path in (PREFERENCES, "/dashboard/settings", "/dashboard/feedback"):
        assert root(visitor.page(path)) == {"lang": "en", "data-theme": "dark"}
    visitor.post("/dashboard/theme", {"value": "system"})
    assert root(visitor.page(PREFERENCES)) == {"lang": "en"}


def test_single_letter_keys_are_turned_off(server: Server) -> None:
    """The root element says so, from which the module takes it, and the page marks the choice."""
    visitor = Visitor(server)
    answer = visitor.post("/dashboard/letter-keys", {"value": "off", "back": PREFERENCES})
    assert answer.headers["location"] == PREFERENCES
    assert root(visitor.page(PREFERENCES)) == {"lang": "en", "data-keys": "off"}
    visitor.post("/dashboard/letter-keys", {"value": "on"})
    assert root(visitor.page(PREFERENCES)) == {"lang": "en"}


@pytest.mark.parametrize(
    "back",
    [
        "https://evil.example/dashboard",
        "//evil.example/dashboard",
        "/\\evil.example/dashboard",
        "/dashboard\\@evil.example",
        "/dashboardevil",
        "/other",
        "dashboard",
        "/dashboard\r\nset-cookie: a=b",
        "/dashboard/ü",
        "/dashboard/../other",
        "/dashboard/%2E%2e/other",
        "/sign-in?next=/dashboard",
        "",
    ],
)
def test_the_way_back_is_an_own_page(server: Server, back: str) -> None:
    """A form cannot lead to another place; it leads to the overview instead."""
    answer = Visitor(server).post("/dashboard/theme", {"value": "dark", "back": back})
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard")
    assert "a=b" not in str(answer.headers)


def test_the_way_back_to_a_page_with_many_filters(server: Server) -> None:
    """Its address may be long."""
    back = "/dashboard/feedback?" + "&".join(f"tag={'x' * 90}{number}" for number in range(100))
    answer = Visitor(server).post("/dashboard/theme", {"value": "dark", "back": back})
    assert (answer.status_code, answer.headers["location"]) == (303, back)


@pytest.mark.parametrize("value", ["", "blue", "dark; Path=/", "dark\r\nx: y"])
def test_other_values_are_refused(server: Server, value: str) -> None:
    """Nothing else becomes a cookie."""
    for path in ("/dashboard/theme", "/dashboard/letter-keys"):
        answer = Visitor(server).post(path, {"value": value})
        assert answer.status_code == 422
        assert "set-cookie" not in answer.headers


def test_forms_of_other_sites_are_refused(server: Server) -> None:
    """Another site cannot change the preferences."""
    answer = Visitor(server).post("/dashboard/theme", {"value": "dark"}, Origin="https://evil.example")
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("scope", ["submit", "read", "moderate"])
def test_everybody_who_is_signed_in_has_preferences(scope: str) -> None:
    """Also keys that may not see the settings: single-letter keys must be possible to turn off."""
    with harken.connect("memory://") as hk, served(hk, access="keys") as server:
        assert Visitor(server).get(PREFERENCES).status_code == 303
        page = signed_in(hk, server, scope).page(PREFERENCES)
    assert "Single-letter keys" in texts_of(page)
    assert "API keys" not in texts_of(page)


def signed_in(hk: Harken, server: Server, scope: str) -> Visitor:
    """A visitor with a key that has this scope."""
    return Visitor.signed_in(server, hk.keys.create("default", [scope]).text)


@pytest.mark.parametrize(
    ("scopes", "path", "sentence"),
    [
        (["read"], "/moderation", "This key may read, but not decide. Ask for one with the scope moderate"),
        (["moderate"], "/feedback", "This key may decide, but not read. Ask for one with the scope read"),
        (["submit", "read"], "/settings", "may submit feedback and read, but not change settings. Ask for one with"),
    ],
)
def test_a_missing_scope(scopes: list[str], path: str, sentence: str) -> None:
    """The page says what the key may do, what it may not, and what to ask for."""
    with harken.connect("memory://") as hk, served(hk, access="keys") as server:
        visitor = Visitor.signed_in(server, hk.keys.create("default", scopes).text)
        assert sentence in texts_of(visitor.page(f"/dashboard{path}", status=403))
