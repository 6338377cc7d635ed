"""Signing in and out in Chromium: by link, by key and with OpenID Connect, with and without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

import harken
from harken import Harken
from harken_adapters.hosts.fastapi import ServerSettings, create_app
from hosts.browser.site import Site
from hosts.browser.test_appearance import problems_of
from hosts.serving import OPEN, Server, served, serving_at
from openid_provider import PASSWORD, provider_process, register

pytestmark = pytest.mark.slow


@pytest.fixture
def hk() -> Iterator[Harken]:
    """A Harken with an empty memory storage."""
    with harken.connect("memory://") as connected:
        yield connected


@pytest.fixture
def server(hk: Harken) -> Iterator[Server]:
    """A service that needs credentials."""
    with served(hk, access="keys") as serving:
        yield serving


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A new browser profile."""
    created = browser.new_context(reduced_motion="reduce")
    yield created
    created.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab. The test fails if the browser reports an error, such as a violation of the policy."""
    problems: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda message: message.type == "error" and problems.append(message.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    yield opened
    opened.close()
    # The browser also reports what was refused.
    expected = ("Failed to load resource", "Access to fetch at")
    assert [problem for problem in problems if not problem.startswith(expected)] == []


def new_key(hk: Harken) -> str:
    """A new key."""
    return hk.keys.create("default", ["admin"], name="Priya").text


def test_the_link(hk: Harken, server: Server, page: Page) -> None:
    """The link with a key signs in; the key is in no URL, and no script can read the cookie."""
    page.goto(f"{server.url}/sign-in?next=/demo#{new_key(hk)}")
    page.wait_for_url(f"{server.url}/demo")
    assert page.evaluate("document.cookie") == "harken_zone=UTC"
    (cookie,) = [one for one in page.context.cookies() if one["name"] != "harken_zone"]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    page.go_back()
    assert "hk_" not in page.url


@pytest.mark.parametrize("accepts", [True, False])
def test_a_link_does_not_replace_who_is_signed_in(
    hk: Harken, server: Server, page: Page, site: Site, accepts: bool
) -> None:
    """A person who follows a link with a key on another site is asked, and stays signed in by default."""
    key = new_key(hk)
    page.goto(f"{server.url}/sign-in?next=/demo#{key}")
    page.wait_for_url(f"{server.url}/demo")
    other = hk.keys.create("default", ["admin"], name="Mallory").text
    page.goto(site.show(f'<a href="{server.url}/sign-in?next=/demo#{other}">Look</a>'))
    page.get_by_role("link").click()
    expect(page.get_by_role("status")).to_contain_text("This browser is signed in as Priya.")
    if accepts:
        page.get_by_role("button", name="Sign in").click()
    else:
        page.get_by_role("link", name="continue as Priya").click()
    page.wait_for_url(f"{server.url}/demo")
    name = "async () => (await (await fetch('/sign-in/current')).json()).name"
    assert page.evaluate(name) == ("Mallory" if accepts else "Priya")
    # The same key needs no question.
    page.goto(f"{server.url}/sign-in?next=/demo#{other if accepts else key}")
    page.wait_for_url(f"{server.url}/demo")


def test_a_key(hk: Harken, server: Server, page: Page) -> None:
    """A wrong key is explained and stays in the field; the right one leads to the page that was asked for."""
    page.goto(f"{server.url}/demo")
    field = page.get_by_label("API key")
    expect(field).to_be_focused()
    field.fill("hk_wrong")
    field.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Not signed in.")
    expect(field).to_have_value("hk_wrong")
    expect(field).to_have_attribute("type", "password")
    field.fill(new_key(hk))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{server.url}/demo")


def test_a_link_on_another_site(hk: Harken, server: Server, page: Page, site: Site) -> None:
    """The browser does not send the cookie after a link on another site, but the page that was linked is shown."""
    page.goto(f"{server.url}/sign-in?next=/demo#{new_key(hk)}")
    page.wait_for_url(f"{server.url}/demo")
    page.goto(site.show(f'<a href="{server.url}/demo?from=chat">Demo</a>'))
    page.get_by_role("link").click()
    page.wait_for_url(f"{server.url}/demo?from=chat")
    expect(page.get_by_role("heading", name="Skylark Help")).to_be_visible()


def test_pages_of_the_service_and_of_others(hk: Harken, server: Server, page: Page, site: Site) -> None:
    """Scripts of own pages use the API with the cookie; scripts and forms of other pages change nothing."""
    page.goto(f"{server.url}/sign-in?next=/demo#{new_key(hk)}")
    page.wait_for_url(f"{server.url}/demo")
    submit = """async (url) => (await fetch(url, {
        method: 'POST', credentials: 'include', headers: {'Content-Type': 'application/json'}, body: '{"rating": "up"}'
    })).status"""
    path = f"{server.url}/api/sessions/s/feedback"
    assert page.evaluate(submit, path) == 201
    assert page.evaluate("async () => (await (await fetch('/sign-in/current')).json()).name") == "Priya"
    stay = "async () => (await fetch('/sign-in/stay', {method: 'POST'})).url"
    assert page.evaluate(stay) == f"{server.url}/dashboard"
    form = f'<form method="post" action="{server.url}/sign-out"><button>Win</button></form>'
    page.goto(site.show(form))
    page.get_by_role("button").click()
    expect(page.get_by_role("alert")).to_contain_text("Not signed out.")
    page.goto(site.show("<p>Other</p>"))
    with pytest.raises(Exception, match="Failed to fetch"):
        page.evaluate(submit, path)
    assert hk.summary().total == 1
    page.goto(f"{server.url}/demo")
    expect(page.get_by_role("heading", name="Skylark Help")).to_be_visible()


def test_signing_out(hk: Harken, server: Server, page: Page) -> None:
    """After signing out, the cookie is gone and the page says so."""
    page.goto(f"{server.url}/sign-in#{new_key(hk)}")
    page.wait_for_url(f"{server.url}/dashboard")
    page.get_by_label("Signed in with key Priya").click()
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("You are signed out.")
    assert [one["name"] for one in page.context.cookies()] == ["harken_zone"]


def test_without_scripts(hk: Harken, server: Server, browser: Browser, site: Site) -> None:
    """Everything works as forms and links."""
    with browser.new_context(java_script_enabled=False) as context:
        plain = context.new_page()
        plain.goto(f"{server.url}/demo")
        plain.get_by_label("API key").fill(new_key(hk))
        plain.get_by_role("button", name="Sign in").click()
        plain.wait_for_url(f"{server.url}/demo")
        plain.goto(site.show(f'<a href="{server.url}/demo?from=chat">Demo</a>'))
        plain.get_by_role("link").click()
        plain.get_by_role("link", name="continue").click()
        plain.wait_for_url(f"{server.url}/demo?from=chat")


@pytest.mark.parametrize("scripts", [True, False])
def test_openid_connect(hk: Harken, browser: Browser, scripts: bool) -> None:
    """A person signs in at a real provider on another site and comes back to the page that they wanted, signed in."""

    def create(address: Server) -> Any:
        settings = register(issuer, address.url).settings(address.url)
        return create_app(ServerSettings(**{**OPEN, "access": "keys", **settings}), harken=hk)

    with (
        provider_process() as issuer,
        serving_at(create) as server,
        browser.new_context(java_script_enabled=scripts) as context,
    ):
        page = context.new_page()
        page.goto(f"{server.url}/demo?a=b")
        page.get_by_role("link", name="Sign in with Example Login").click()
        page.locator("input[name=login]").fill("ann")
        page.locator("input[name=login]").press("Enter")
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("input[name=password]").press("Enter")
        page.wait_for_url(f"{server.url}/demo?a=b")
        expect(page.get_by_role("heading", name="Skylark Help")).to_be_visible()
        strict = [cookie for cookie in context.cookies(server.url) if cookie["name"].startswith("harken_session_")]
        assert [(cookie["httpOnly"], cookie["sameSite"]) for cookie in strict] == [(True, "Strict")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("provider", [False, True])
def test_appearance(hk: Harken, browser: Browser, scheme: Any, provider: bool) -> None:
    """No state of the page has an accessibility problem or scrolls sideways."""
    openid = {
        "public_url": "https://feedback.example",
        "oidc_issuer": "https://login.example",
        "oidc_client_id": "harken",
        "oidc_name": "Example Login",
        "oidc_groups": ("a: read",),
    }
    with (
        served(hk, access="keys", **(openid if provider else {})) as server,
        browser.new_context(color_scheme=scheme, reduced_motion="reduce") as context,
    ):
        page = context.new_page()
        for state in ("", "?signed-out&everywhere", "?ended=", "wrong"):
            page.goto(f"{server.url}/sign-in{'' if state == 'wrong' else state}")
            if state == "wrong":
                page.get_by_label("API key").fill("hk_" + "x" * 100)
                page.get_by_role("button", name="Sign in").click()
                expect(page.get_by_role("alert")).to_be_visible()
            assert problems_of(page) == []
            for width in (390, 1280):
                page.set_viewport_size({"width": width, "height": 864})
                assert page.evaluate("document.documentElement.scrollWidth") <= width
