"""The settings page in a browser: creating, copying and revoking keys, dry runs, preferences, hostile names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect

import harken
from channels import Recorder
from harken import Harken, Rating, Route
from hosts.browser.test_appearance import problems_of
from hosts.serving import Server, served

pytestmark = pytest.mark.slow

SETTINGS: Final = "/dashboard/settings"
HOSTILE: Final = ("<script>alert(1)</script>", "x" * 200, "\u202eevil", '"><img src=x onerror=alert(1)>', "سؤال " * 20)


@pytest.fixture
def hk() -> Iterator[Harken]:
    """A Harken with two applications, keys and agents with hostile names, and routes."""
    channels = {"team": Recorder(), "c" * 64: Recorder()}
    routes = [Route(name="all", channel="team")]
    with harken.connect("memory://", channels=channels, routes=routes) as connected:
        for name in HOSTILE:
            connected.keys.create("default", ["read", "admin"], name=name, agents=[name.strip(), "b" * 200])
        connected.keys.revoke(connected.keys.create("default", ["submit"], name="x" * 200).key.id)
        agents = [name.strip() for name in HOSTILE]
        connected.routes.put(
            Route(name="r" * 64, channel="c" * 64, agents=agents, tags=["t" * 100], applications=["default"])
        )
        connected.submit("s", "down", "slow <b>", agent_id="Ann")
        connected.submit("s", "up", application="a" * 200)
        yield connected


@pytest.fixture
def server(hk: Harken) -> Iterator[Server]:
    """A server with open access."""
    with served(hk) as serving:
        yield serving


@pytest.fixture(params=[True, False], ids=["javascript", "no javascript"])
def page(request: pytest.FixtureRequest, browser: Browser, server: Server) -> Iterator[Page]:
    """A tab, with and without JavaScript. The test fails if the browser reports an error."""
    context = browser.new_context(
        java_script_enabled=request.param, permissions=["clipboard-read", "clipboard-write"], reduced_motion="reduce"
    )
    problems: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda message: message.type == "error" and problems.append(message.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("dialog", lambda dialog: problems.append(dialog.message))
    opened.goto(f"{server.url}{SETTINGS}")
    yield opened
    context.close()
    assert problems == []


def has_scripts(page: Page) -> bool:
    """Whether the tab runs JavaScript."""
    return page.locator("[data-copy]:not([hidden])").count() > 0


def test_a_key_is_created_copied_and_revoked(hk: Harken, page: Page) -> None:
    """Every step works with and without JavaScript, and revoking asks once, with the name."""
    page.get_by_label("Name").first.fill("web backend")
    page.get_by_label("Submit feedback").check()
    page.get_by_role("button", name="Create key").click()
    text = page.locator("#new-key").inner_text()
    key = hk.keys.authenticate(text)
    assert key.name == "web backend"
    if has_scripts(page):
        page.get_by_role("button", name="Copy").click()
        expect(page.locator("#said")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") == text
    page.get_by_role("link", name="I have it").click()
    row = page.locator("tr", has_text="web backend")
    row.locator("summary").click()
    expect(row.get_by_text("Programs that use web backend are refused")).to_be_visible()
    row.get_by_role("button", name="Revoke web backend").click()
    expect(page.get_by_role("status").filter(has_text="The key is revoked")).to_be_visible()
    assert next(one for one in hk.keys.keys("default") if one.id == key.id).revoked
    assert text not in page.content()


def test_a_route_is_tried_and_added(hk: Harken, page: Page) -> None:
    """The dry run keeps what was typed, and the same form adds the route."""
    form = page.locator("#route-form")
    form.get_by_label("Name").fill("downs")
    form.get_by_label("down", exact=True).check()
    form.get_by_role("button", name="Dry run").click()
    expect(page.get_by_text("would have matched 1 of the 1 responses")).to_be_visible()
    form.get_by_role("button", name="Add route").click()
    expect(page.get_by_text("Downs go to team", exact=True)).to_be_visible()
    assert Route(name="downs", channel="team", ratings=[Rating.DOWN], applications=["default"]) in hk.routes.routes()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_hostile_names_do_no_harm(browser: Browser, server: Server, width: int, scheme: Any) -> None:
    """With hostile names everywhere, nothing runs, nothing scrolls sideways, and axe finds nothing."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page, alerts = context.new_page(), []
    page.on("dialog", lambda dialog: alerts.append(dialog.message))
    for path in (SETTINGS, f"{SETTINGS}?name=x&channel=none&dry_run=true", "/dashboard/preferences"):
        page.goto(f"{server.url}{path}")
        for details in page.locator("main details").all():
            details.evaluate("details => { details.open = true }")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert problems_of(page) == []
    page.locator("details.apps summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert problems_of(page) == []
    assert alerts == []
    context.close()


def test_preferences_hold_on_every_page(browser: Browser, server: Server) -> None:
    """The theme wins over that of the device; without single-letter keys, none does anything or is shown."""
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(f"{server.url}/dashboard/feedback")
    page.get_by_role("button", name="Light theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator(".who summary").click()
    page.locator(".who").get_by_role("link", name="Preferences").click()
    page.get_by_role("form", name="Single-letter keys").get_by_role("button", name="Off").click()
    page.goto(f"{server.url}/dashboard/feedback")
    page.keyboard.press("?")
    page.keyboard.press("g")
    page.keyboard.press("o")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert "/dashboard/feedback" in page.url
    assert not page.locator("kbd").first.is_visible()
    context.close()
