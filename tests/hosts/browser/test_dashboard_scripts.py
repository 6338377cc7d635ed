"""What scripts of the dashboard add: the zone of the browser, Back, keys, copying, and words that are cut off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

import harken
from harken import Harken, RatingPolicy, Violation
from hosts.browser.test_appearance import problems_of
from hosts.serving import Server, served

pytestmark = pytest.mark.slow

#: More than six lines at a width of 900 pixels.
LONG: Final = "A line of a long story. " * 41
#: Another origin, which has no encryption, so that browsers have no clipboard for it.
INSECURE: Final = "http://harken.example"


def waiting(submission: harken.Submission) -> list[Violation]:
    """A rule that holds what says so."""
    return [Violation("comment", "all", "All")] if "wait" in submission.comment else []


@pytest.fixture(scope="module")
def hk() -> Iterator[Harken]:
    """A Harken with some feedback, of which some waits."""
    with harken.connect("memory://", policy=RatingPolicy(hold=(waiting,))) as connected:
        for place in range(4):
            connected.submit(f"w{place}", "up", f"I wait {place}", agent_id="Ann")
        connected.vote("long", "down", LONG, author="me", message_id="message 7", agent_id="Ann")
        for place in range(3):
            connected.submit(f"s{place}", "down", f"Comment {place}", agent_id="Ann")
        yield connected


@pytest.fixture(scope="module")
def server(hk: Harken) -> Iterator[Server]:
    """A server with open access."""
    with served(hk) as serving:
        yield serving


@pytest.fixture(scope="module")
def guarded(hk: Harken) -> Iterator[Server]:
    """A server that requires keys."""
    with served(hk, access="keys") as serving:
        yield serving


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile."""
    with browser.new_context(reduced_motion="reduce", viewport={"width": 900, "height": 800}) as opened:
        yield opened


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab. The test fails if the browser reports an error."""
    problems: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda message: message.type == "error" and problems.append(message.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    yield opened
    assert problems == []


def sign_in(page: Page, server: Server, key: str, path: str = "") -> None:
    """Sign in, and open a page of the dashboard."""
    page.goto(f"{server.url}/sign-in?next=/dashboard{path}")
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/dashboard{path}*")


# --- The time zone ----------------------------------------------------------------------------------------------------


def test_the_zone_of_the_browser(browser: Browser, hk: Harken, guarded: Server) -> None:
    """The first page after signing in has it, with four requests, and so has each later one."""
    key = hk.keys.create("default", ["read"]).text
    with browser.new_context(timezone_id="Asia/Tokyo") as context:
        page, requests = context.new_page(), list[str]()
        page.on("request", lambda request: requests.append(request.url))
        sign_in(page, guarded, key)
        expect(page.locator("[data-events]")).to_have_text("Live")
        assert page.locator("body").get_attribute("data-zone") == "Asia/Tokyo"
        expect(page.locator("main")).to_contain_text("Asia/Tokyo")
        loaded = [one for one in requests if "/dashboard" in one and "/sign-in" not in one]
        assert len(loaded) == 4, loaded
        page.get_by_role("link", name="Feedback", exact=True).click()
        expect(page.locator(".sumbar")).to_contain_text("times in Asia/Tokyo")
        page.goto(f"{guarded.url}/dashboard/feedback?zone=Europe/Berlin")
        expect(page.locator(".sumbar")).to_contain_text("times in Europe/Berlin")


def test_the_zone_without_signing_in(browser: Browser, server: Server) -> None:
    """The first page is loaded a second time, later ones are not, and one with a zone in its address never is."""
    with browser.new_context(timezone_id="Asia/Tokyo") as context:
        page, loads = context.new_page(), list[str]()
        page.on("request", lambda request: request.resource_type == "document" and loads.append(request.url))
        page.goto(f"{server.url}/dashboard/feedback?zone=Europe/Berlin")
        expect(page.locator("[data-events]")).to_have_text("Live")
        assert len(loads) == 1
        context.clear_cookies()
        page.goto(f"{server.url}/dashboard/feedback")
        expect(page.locator(".sumbar")).to_contain_text("times in Asia/Tokyo")
        expect(page.locator("[data-events]")).to_have_text("Live")
        assert len(loads) == 3
        page.goto(f"{server.url}/dashboard/issues")
        expect(page.locator("[data-events]")).to_have_text("Live")
        assert page.locator("body").get_attribute("data-zone") == "Asia/Tokyo"
        assert len(loads) == 4


def test_the_zone_without_scripts(browser: Browser, server: Server) -> None:
    """It is UTC, and pages say so."""
    with browser.new_context(timezone_id="Asia/Tokyo", java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{server.url}/dashboard/feedback")
        expect(page.locator(".sumbar")).to_contain_text("times in UTC")


# --- Back -------------------------------------------------------------------------------------------------------------


def test_back_returns_to_the_entry_before(page: Page, server: Server) -> None:
    """Each entry that a key leads to is a step in the history; forms lead back to the one that is shown."""
    said = page.locator("section .said")
    page.goto(f"{server.url}/dashboard/moderation")
    expect(said).to_have_text("I wait 0")
    for place in (1, 2):
        page.keyboard.press("j")
        expect(said).to_have_text(f"I wait {place}")
    page.go_back()
    expect(said).to_have_text("I wait 1")
    page.go_back()
    expect(said).to_have_text("I wait 0")
    page.go_forward()
    expect(said).to_have_text("I wait 1")
    page.get_by_role("button", name="Dark theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    expect(said).to_have_text("I wait 1")


def test_a_fragment_is_not_another_page(page: Page, server: Server) -> None:
    """The link to the content turns nothing."""
    page.goto(f"{server.url}/dashboard/moderation")
    loads = list[str]()
    page.on("request", lambda request: loads.append(request.url))
    page.locator("h1").evaluate("(heading) => (heading.dataset.marked = 'yes')")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#main$"))
    page.go_back()
    expect(page).to_have_url(re.compile("moderation$"))
    expect(page.locator("h1[data-marked]")).to_have_count(1)
    assert [one for one in loads if "/api/events" not in one] == []


# --- Keys -------------------------------------------------------------------------------------------------------------


def test_the_list_of_keys_has_only_keys_that_work(page: Page, hk: Harken, guarded: Server) -> None:
    """Those of pages that the reader may not see are not in it."""
    sign_in(page, guarded, hk.keys.create("default", ["read"]).text)
    expect(page.locator("[data-events]")).to_have_text("Live")
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys").locator("dt")
    expect(keys.filter(has_text=re.compile("^G"))).to_have_text(["G O", "G F", "G A"])
    page.keyboard.press("Escape")
    press_at_once(page, "g", "m")
    expect(page).to_have_url(re.compile("/dashboard$"))
    press_at_once(page, "g", "f")
    expect(page).to_have_url(re.compile("/dashboard/feedback$"))


def press_at_once(page: Page, *keys: str) -> None:
    """Press keys one after the other, however busy the machine is: the first one counts for a second and a half."""
    page.evaluate(
        """keys => keys.forEach(key =>
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })))""",
        keys,
    )


def test_hints_of_the_moderation_page(page: Page, server: Server) -> None:
    """They are those of the buttons that are there: the first entry has none before it, and nothing can be undone."""
    hints = page.locator(".keys kbd")
    page.goto(f"{server.url}/dashboard/moderation")
    expect(hints).to_have_text(["A", "R", "X", "J", "S", "?"])
    page.keyboard.press("j")
    expect(page.locator("section .said")).to_have_text("I wait 1")
    expect(hints).to_have_text(["A", "R", "X", "K", "J", "S", "?"])


def test_keys_of_the_list(page: Page, server: Server) -> None:
    """J and K lead from entry to entry, and Enter opens it."""
    page.goto(f"{server.url}/dashboard/feedback")
    expect(page.locator(".keys kbd")).to_have_text(["/", "J", "K", "Enter", "?"])
    for key, focused in (("j", 0), ("j", 1), ("j", 2), ("k", 1), ("k", 0), ("k", 0)):
        page.keyboard.press(key)
        expect(page.locator("a.words").nth(focused)).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator(".said")).to_have_text("Comment 1")


# --- Words and copying ------------------------------------------------------------------------------------------------


def test_long_comments(page: Page, server: Server) -> None:
    """They are cut after six lines, and shown whole on demand; axe finds nothing in both states."""
    page.goto(f"{server.url}/dashboard/feedback")
    words = page.locator("a.words", has_text="long story")
    more = page.get_by_role("button", name="more")
    expect(more).to_have_count(1)
    assert words.evaluate("(one) => one.scrollHeight > one.clientHeight")
    assert problems_of(page) == []
    more.click()
    assert words.evaluate("(one) => one.scrollHeight === one.clientHeight")
    expect(words).to_be_focused()
    expect(more).to_have_count(0)
    assert problems_of(page) == []


def test_long_comments_without_scripts(browser: Browser, server: Server) -> None:
    """Nothing is cut off."""
    with browser.new_context(java_script_enabled=False, viewport={"width": 900, "height": 800}) as context:
        page = context.new_page()
        page.goto(f"{server.url}/dashboard/feedback")
        box = page.locator("a.words", has_text="long story").bounding_box()
        assert box
        assert box["height"] > 6 * 20


@pytest.mark.parametrize("origin", ["the server", "insecure", "forbidden"])
def test_copying(browser: Browser, server: Server, origin: str) -> None:
    """Links and ids are copied, also where a browser has no clipboard for scripts."""
    with browser.new_context(permissions=[] if origin == "forbidden" else ["clipboard-write"]) as context:
        page = context.new_page()
        url = INSECURE if origin == "insecure" else server.url
        page.route(f"{INSECURE}/**", lambda route: pass_on(route, server))
        page.goto(f"{url}/dashboard/feedback")
        assert page.evaluate("isSecureContext") == (origin != "insecure")
        page.get_by_role("button", name="Copy the link to this view").click()
        # A reader in another zone sees the same.
        pasted(page, f"{url}/dashboard/feedback?zone=UTC")
        page.locator("a.words", has_text="long story").click()
        for name, text in (("Copy session", "long"), ("Copy message", "message 7")):
            page.get_by_role("button", name=name).click()
            expect(page.locator("#said")).to_have_text("Copied")
            expect(page.get_by_role("button", name=name)).to_be_focused()
            pasted(page, text, f"{url}/dashboard/feedback")
            page.go_back()


def pass_on(route: Route, server: Server) -> None:
    """Let the server answer a request to the other origin."""
    if "/api/events" in route.request.url:
        route.abort()
        return
    route.fulfill(response=route.fetch(url=route.request.url.replace(INSECURE, server.url)))


def pasted(page: Page, text: str, address: str = "") -> None:
    """Check what is on the clipboard, by pasting it into the field of the search."""
    if address:
        page.goto(address)
    field: Any = page.locator(".filters input[type=search]")
    field.focus()
    page.keyboard.press("Control+v")
    expect(field).to_have_value(text)
