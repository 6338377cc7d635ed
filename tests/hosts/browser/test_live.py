"""New feedback on open pages of the dashboard: what is counted, and what the live state says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, Route, expect

import harken
from harken import Change, Harken
from harken.clock import utc_now
from hosts.serving import Server, served
from hosts.web.site import served_at

pytestmark = pytest.mark.slow

EVENTS: Final = "**/api/events*"
AGAIN: Final = "Not live: trying again in 5 s"


@pytest.fixture
def hk() -> Iterator[Harken]:
    """A Harken with one response, so that pages are not about the first one. It holds what has a word."""
    with harken.connect("memory://", spam="hold", spam_phrases=["casino"]) as connected:
        connected.submit("before", "up", "It works", agent_id="A")
        yield connected


@pytest.fixture
def server(hk: Harken) -> Iterator[Server]:
    """A server with open access."""
    with served(hk) as serving:
        yield serving


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[[str], Page]]:
    """Opens an address, whose timers stand still until the test goes on."""
    with browser.new_context(reduced_motion="reduce") as context:

        def open_at(address: str) -> Page:
            page = context.new_page()
            page.clock.install()
            page.goto(address)
            return page

        yield open_at


def live(page: Page, text: str) -> None:
    """Wait until the live state says this."""
    expect(page.locator("[data-events]")).to_have_text(text)


def new(page: Page, text: str) -> None:
    """Wait until this is offered to be shown."""
    expect(page.locator(".filters .pill")).to_have_text(f"{text} · show")
    expect(page.locator(".filters .pill")).to_be_visible()


def hide(page: Page, *, hidden: bool = True) -> None:
    """What the browser tells a page whose tab is hidden or shown again."""
    page.evaluate(
        """(hidden) => {
            Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


@pytest.mark.parametrize("path", ["", "/feedback"])
def test_only_what_the_filters_show_is_counted(
    hk: Harken, server: Server, open_page: Callable[[str], Page], path: str
) -> None:
    """Not what has another agent or rating, nor what is held; what a moderator approves is."""
    page = open_page(f"{server.url}/dashboard{path}?agent_id=B&rating=up")
    live(page, "Live")
    hk.submit("s1", "down", "Slow", agent_id="A")
    hk.submit("s2", "down", "Slow", agent_id="B")
    held = hk.submit("s3", "up", "The casino", agent_id="B").feedback
    hk.submit("s4", "up", "Quick", agent_id="B")
    new(page, "1 new")
    hk.moderation.decide(held.application, held.id, "approved")
    new(page, "2 new")
    page.locator(".filters .pill").click()
    expect(page.locator(".filters .pill")).to_be_hidden()
    expect(page.get_by_text("The casino")).to_be_visible()
    hk.submit("s5", "up", "Quick", agent_id="B")
    new(page, "1 new")


def test_a_period_that_is_over_has_nothing_new(hk: Harken, server: Server, open_page: Callable[[str], Page]) -> None:
    """Its page counts nothing, however much arrives."""
    page = open_page(f"{server.url}/dashboard/feedback?since=2020-01-01&until=2020-02-01")
    other = open_page(f"{server.url}/dashboard/feedback")
    live(page, "Live")
    live(other, "Live")
    hk.submit("s", "up", "Quick")
    new(other, "1 new")
    expect(page.locator(".filters .pill")).to_be_hidden()


def test_what_was_missed_is_counted(hk: Harken, open_page: Callable[[str], Page]) -> None:
    """A page of two hours ago, further back than the stream goes, learns how much came since then."""
    for place in range(57):
        hk.submit(f"s{place}", "up", "Quick", agent_id="B")
        hk.submit(f"t{place}", "down", "Slow", agent_id="A")
    with served_at(hk, lambda: utc_now() - timedelta(hours=2)) as server:
        page = open_page(f"{server.url}/dashboard?agent_id=B")
        new(page, "57 new")
        page.close()


def test_a_stream_that_is_refused_is_opened_again(hk: Harken, server: Server, open_page: Callable[[str], Page]) -> None:
    """After a response such as 503, the page tries again after 1 s and each 5 s, and counts what it has missed.

    It says that it is not live only after 3 s without a stream.
    """
    page = open_page(f"{server.url}/dashboard/feedback")
    live(page, "Live")
    page.route(EVENTS, refuse)
    hide(page)
    live(page, "Paused")
    with page.expect_response(EVENTS):
        hide(page, hidden=False)
    with page.expect_response(EVENTS):
        page.clock.run_for(1_000)
    page.clock.run_for(1_000)
    live(page, "Paused")
    page.clock.run_for(1_000)
    live(page, AGAIN)
    hk.submit("s", "up", "Quick")
    page.clock.run_for(5_000)
    live(page, AGAIN)
    page.unroute(EVENTS)
    page.clock.run_for(5_000)
    live(page, "Live")
    new(page, "1 new")


def refuse(route: Route) -> None:
    """Respond that there are too many listeners."""
    route.fulfill(status=503, content_type="application/problem+json", body="{}")


def test_a_hidden_tab_counts_when_it_is_shown_again(
    hk: Harken, server: Server, open_page: Callable[[str], Page]
) -> None:
    """It does not listen while it is hidden, and misses nothing: neither before nor after the first event."""
    page = open_page(f"{server.url}/dashboard/feedback")
    live(page, "Live")
    for count in (1, 2):
        hide(page)
        live(page, "Paused")
        one = hk.submit(f"s{count}", "up", "Quick").feedback
        # It arrives as a change, as events have the current state.
        hk.change(one.id, Change(comment="Quick and clear"))
        hide(page, hidden=False)
        live(page, "Live")
        new(page, f"{count} new")
    page.reload()
    live(page, "Live")
    hk.submit("s3", "up", "Quick")
    new(page, "1 new")


def test_a_tab_that_was_opened_in_the_background(hk: Harken, server: Server, open_page: Callable[[str], Page]) -> None:
    """It waits until it is shown, and then counts from the time at which the page was made."""
    blank = open_page("about:blank")
    blank.add_init_script("Object.defineProperty(document, 'hidden', { configurable: true, get: () => true })")
    blank.goto(f"{server.url}/dashboard/feedback")
    live(blank, "Paused")
    hk.submit("s", "up", "Quick")
    hide(blank, hidden=False)
    new(blank, "1 new")


def test_the_first_feedback(open_page: Callable[[str], Page]) -> None:
    """When the first feedback arrives, the overview is shown from its top, and its heading has the focus."""
    with harken.connect("memory://") as empty, served(empty) as server:
        page = open_page(f"{server.url}/dashboard")
        live(page, "Live")
        page.evaluate("scrollTo(0, 200)")
        empty.submit("s", "up", "The first")
        expect(page.locator("h1")).to_be_focused()
        expect(page.get_by_role("heading", name="Latest feedback")).to_be_attached()
        assert page.evaluate("scrollY") == 0
