"""The overview, the popovers of filters and the search in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

import harken
from harken import Harken
from hosts.browser.accessibility import accessibility_problems
from hosts.serving import Server, served
from support import ManualClock

pytestmark = pytest.mark.slow

HOSTILE: Final = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "x" * 200,
    "\u202eevil",
    "سؤال " * 20,
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘",
    "&amp;<b>bold</b>",
)
COMPLAINTS: Final = ("The checkout froze", "Wrong price", "Far too slow", "My suitcase is lost", "A dirty seat")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with feedback that has hostile texts everywhere, and another application without reasons."""
    clock = ManualClock(datetime.now(UTC) - timedelta(days=10))
    with harken.connect("memory://", clock=clock, spam="allow") as hk:
        for _ in range(10):
            fill(hk)
            clock.turn(days=1)
        for place in range(500):
            given = "down" if place % 2 else "up"
            comment = COMPLAINTS[place % 5] if place % 2 else "Thank you"
            hk.submit(f"plain-{place}", given, comment, application="plain")
        clock.now = datetime.now(UTC)
        with served(hk) as serving:
            yield serving


def fill(hk: Harken) -> None:
    """Some feedback."""
    for place in range(60):
        text = HOSTILE[place % len(HOSTILE)]
        hk.submit(
            f"{text[:90]}-{place}".strip(),
            "up" if place % 3 else "down",
            f"{text} froze",
            agent_id=HOSTILE[place % 6].strip(),
            tags=[text[:90].strip(), "froze"],
            context={"version": text, "segment": str(place % 2)},
        )


def chip_of(page: Page, name: str) -> Locator:
    """The link that opens a filter."""
    return page.get_by_role("search", name="Filters").get_by_role("link", name=name, exact=True)


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile without motion."""
    with browser.new_context(reduced_motion="reduce") as opened:
        yield opened


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab. The test fails if the browser reports an error, or a script of the texts runs."""
    problems: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda message: message.type in ("error", "warning") and problems.append(message.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("dialog", lambda dialog: problems.append(dialog.message))
    yield opened
    assert problems == []


def test_a_filter_is_chosen_with_the_keyboard(page: Page, server: Server) -> None:
    """The popover opens with the focus in its field; typing narrows, Space chooses, Enter applies, Back undoes."""
    page.goto(f"{server.url}/dashboard?zone=UTC")
    chip = chip_of(page, "Reason")
    chip.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Reason")
    expect(dialog.get_by_role("searchbox")).to_be_focused()
    expect(chip).to_have_attribute("aria-expanded", "true")
    page.keyboard.type("FRO")
    expect(dialog.locator("label:visible")).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Reason is froze")).to_be_visible()
    assert page.url.endswith("/dashboard?zone=UTC&tag=froze")
    page.go_back()
    expect(page.get_by_text("Reason is")).to_have_count(0)


def test_escape_closes_and_returns_the_focus(page: Page, server: Server) -> None:
    """So does a click outside, which leaves the focus where it went. Only one popover is open."""
    page.goto(f"{server.url}/dashboard?zone=UTC")
    chip = chip_of(page, "Rating")
    chip.click()
    expect(page.get_by_role("dialog", name="Rating").get_by_label("Up")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(chip).to_be_focused()
    chip.click()
    chip_of(page, "Agent").click()
    expect(page.get_by_role("dialog")).to_have_count(1)
    expect(page.get_by_role("dialog", name="Agent")).to_be_visible()
    page.locator("h1").click(position={"x": 5, "y": 5})
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_context_key_leads_to_its_values(page: Page, server: Server) -> None:
    """In the same popover; the focus returns to the chip that opened it."""
    page.goto(f"{server.url}/dashboard/feedback?zone=UTC")
    chip_of(page, "Context").click()
    page.get_by_role("dialog").get_by_role("link", name="segment").click()
    expect(page.get_by_role("dialog").get_by_role("checkbox")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(chip_of(page, "Context")).to_be_focused()


def test_a_popover_that_cannot_be_loaded(context: BrowserContext, server: Server) -> None:
    """The page of the filter opens instead."""
    page = context.new_page()
    page.goto(f"{server.url}/dashboard?zone=UTC")
    page.route("**/filter?*fragment=true", lambda route: route.abort())
    with page.expect_navigation(url="**/dashboard/filter?zone=UTC&name=rating&page=overview"):
        chip_of(page, "Rating").click()
    expect(page.locator("h1")).to_have_text("Filter by rating")


def test_only_the_popover_that_was_asked_for_last_opens(page: Page, server: Server) -> None:
    """An answer that comes late shows nothing: not over another popover, nor after Escape."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.goto(f"{server.url}/dashboard?zone=UTC")
    page.route("**/filter?*name=rating*fragment=true", hold)
    for leave in (lambda: chip_of(page, "Agent").click(), lambda: page.keyboard.press("Escape")):
        with page.expect_request("**/filter?*name=rating*"):
            chip_of(page, "Rating").click()
        leave()
        with page.expect_response("**/filter?*name=rating*") as answer:
            held.pop().continue_()
        answer.value.finished()
        # The next frame comes after what the answer led to.
        page.evaluate("new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)))")
        expect(page.get_by_role("dialog", name="Rating")).to_have_count(0)
        page.keyboard.press("Escape")


def test_what_comes_later_and_fails(context: BrowserContext, server: Server) -> None:
    """Its box says so, and that the rest of the page is right."""
    page = context.new_page()
    page.route("**/issues?*fragment=true", lambda route: route.abort())
    page.goto(f"{server.url}/dashboard?zone=UTC&application=plain")
    alert = page.get_by_role("alert")
    expect(alert).to_have_text("Issues could not be counted. The rest of the page is right.Try again")
    expect(page.locator("[aria-busy]")).to_have_count(0)
    assert accessibility_problems(page) == []


def test_what_satisfaction_is(page: Page, server: Server) -> None:
    """Its name opens the formula, with the numbers of this page."""
    page.goto(f"{server.url}/dashboard?zone=UTC&application=plain")
    page.locator(".kpi summary").click()
    expect(page.get_by_text("The share of thumbs up among all thumbs: 250 of 500.")).to_be_visible()
    assert accessibility_problems(page) == []


def test_what_takes_long_comes_later(page: Page, server: Server) -> None:
    """The rest of the page is there at once; the part replaces its box, which does not move what is below."""
    page.goto(f"{server.url}/dashboard?zone=UTC&application=plain", wait_until="domcontentloaded")
    expect(page.locator(".issues").get_by_text("froze").first).to_be_visible()
    expect(page.locator("[aria-busy]")).to_have_count(0)


def test_search(page: Page, server: Server) -> None:
    """The key goes to the field; hits are marked; clearing the field lists all again."""
    page.goto(f"{server.url}/dashboard/feedback?zone=UTC&rating=down")
    page.keyboard.press("/")
    page.keyboard.type("froze")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("mention “froze”")
    assert "rating=down" in page.url
    assert set(page.locator("mark").all_inner_texts()) == {"froze"}
    page.locator(".filters input[type=search]").fill("")
    page.keyboard.press("Enter")
    expect(page.locator("mark")).to_have_count(0)


@pytest.mark.parametrize("path", ["", "/feedback", "/issues"])
def test_filters_without_javascript(browser: Browser, server: Server, path: str) -> None:
    """A chip leads to the page of its filter, whose form leads back."""
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{server.url}/dashboard{path}?zone=UTC&tag=froze")
        chip_of(page, "Rating").click()
        expect(page.locator("h1")).to_have_text("Filter by rating")
        page.get_by_label("Down").check()
        page.get_by_role("button", name="Apply").click()
        assert page.url == f"{server.url}/dashboard{path}?zone=UTC&tag=froze&rating=down"
        expect(page.get_by_text("Rating is Down")).to_be_visible()
        page.get_by_role("link", name="Remove Rating").click()
        assert page.url == f"{server.url}/dashboard{path}?zone=UTC&tag=froze"


def test_missed_events_are_counted(page: Page, server: Server) -> None:
    """After a time without a connection, the page offers all feedback that was created meanwhile."""
    missed = 'event: missed\ndata: {"detail": "Some events were missed; reload the data", "count": 12}\n\n'
    page.route("**/api/events*", lambda route: route.fulfill(content_type="text/event-stream", body=missed), times=1)
    page.goto(f"{server.url}/dashboard?zone=UTC")
    expect(page.get_by_role("button", name="12 new · show")).to_be_visible()
