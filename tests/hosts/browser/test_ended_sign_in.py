"""Open pages when the sign-in ends, is extended, or is one for another application: in Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

import harken
from harken import Harken
from harken.domain.instants import EPOCH
from hosts.serving import Server, served
from hosts.web.site import Visitor

pytestmark = pytest.mark.slow


@pytest.fixture
def hk() -> Iterator[Harken]:
    """A Harken with something to decide."""
    with harken.connect("memory://", spam="hold", spam_phrases=["casino"]) as connected:
        for number in range(3):
            connected.submit(f"s{number}", "up", f"Casino {number}")
        connected.submit("s", "up", "It works")
        yield connected


@pytest.fixture
def server(hk: Harken) -> Iterator[Server]:
    """A service that needs credentials."""
    with served(hk, access="keys") as serving:
        yield serving


@pytest.fixture
def key(hk: Harken) -> str:
    """A key for everything."""
    return hk.keys.create("default", ["admin"], name="Sam").text


@pytest.fixture
def open_page(browser: Browser, server: Server, key: str) -> Iterator[Callable[[str], Page]]:
    """Opens a page in one profile, which is signed in with the key."""
    with browser.new_context(reduced_motion="reduce") as context:

        def open_at(path: str) -> Page:
            page = context.new_page()
            page.goto(f"{server.url}/sign-in")
            if page.get_by_label("API key").is_visible():
                sign_in(page, key)
            page.goto(f"{server.url}/dashboard{path}")
            return page

        yield open_at


def sign_in(page: Page, key: str) -> None:
    """Sign in on the page for that."""
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")
    page.wait_for_url("**/dashboard**")


def end(server: Server, key: str) -> None:
    """Sign out everywhere, in another browser."""
    answer = Visitor.signed_in(server, key).post("/sign-out", {"everywhere": ""})
    assert "everywhere" in answer.headers["location"]


def type_reason(page: Page) -> None:
    """Type a reason for a rejection."""
    page.get_by_label("Reason for a rejection").select_option("other")
    page.get_by_label("Other reason").fill("Long and careful")


def test_staying_leaves_the_page_as_it_is(server: Server, open_page: Callable[[str], Page]) -> None:
    """What is typed and selected stays, the notice goes, and the session ends later."""
    page = open_page("/moderation")
    type_reason(page)
    page.locator(".q .cb").nth(1).check()
    # As two minutes before the end.
    before = page.evaluate(
        """() => {
            const notice = document.querySelector(".ending");
            notice.hidden = false;
            return (notice.dataset.ends = new Date(Date.now() + 120_000).toISOString());
        }"""
    )
    page.get_by_role("button", name="Stay signed in").click()
    expect(page.locator(".ending")).to_be_hidden()
    expect(page.get_by_label("Other reason")).to_have_value("Long and careful")
    expect(page.locator(".q .cb").nth(1)).to_be_checked()
    assert page.url == f"{server.url}/dashboard/moderation"
    assert page.evaluate("document.querySelector('.ending').dataset.ends") > before


def test_staying_too_late(server: Server, key: str, open_page: Callable[[str], Page]) -> None:
    """If the sign-in has ended, the notice says so and what is typed stays."""
    page = open_page("/moderation")
    type_reason(page)
    end(server, key)
    page.evaluate("document.querySelector('.ending').hidden = false")
    page.get_by_role("button", name="Stay signed in").click()
    expect(page.locator(".ending")).to_contain_text("Your sign-in has ended. Sign in")
    expect(page.get_by_label("Other reason")).to_have_value("Long and careful")


def test_a_decision_after_the_end(hk: Harken, server: Server, key: str, open_page: Callable[[str], Page]) -> None:
    """It is said not to be saved, what is typed stays, and after signing in in another tab it can be sent again."""
    page = open_page("/moderation")
    type_reason(page)
    end(server, key)
    reject = page.locator(".decide").get_by_role("button", name="Reject")
    for _ in range(2):
        reject.click()
        expect(page.locator(".toast")).to_have_text(
            "Not saved: your sign-in has ended. Sign in in another tab, then try again here."
        )
    expect(page.get_by_label("Other reason")).to_have_value("Long and careful")
    with page.expect_popup() as opened:
        page.locator(".toast a").click()
    sign_in(opened.value, key)
    assert opened.value.url == f"{server.url}/dashboard/moderation"
    reject.click()
    expect(page.locator("section .said")).to_have_text("Casino 1")
    rejected = hk.moderation.decisions(hk.query(), since=EPOCH, limit=5, searched=5).items
    assert [one.moderation.reason for one in rejected] == ["Long and careful"]


def test_a_live_page_after_the_end(server: Server, key: str, open_page: Callable[[str], Page]) -> None:
    """It says that the sign-in has ended, does not try again, and is live again when it is shown after signing in."""
    page = open_page("/feedback")
    live = page.locator("[data-events]")
    expect(live).to_have_text("Live")
    end(server, key)
    expect(live).to_have_text("Your sign-in has ended. Sign in")
    with page.expect_popup() as opened:
        live.get_by_role("link").click()
    sign_in(opened.value, key)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(live).to_have_text("Live")


def test_a_sign_in_for_another_application(hk: Harken, server: Server, open_page: Callable[[str], Page]) -> None:
    """A page about one application does not decide in another one, and says so."""
    page = open_page("/moderation")
    shop = hk.keys.create("shop", ["admin"], name="Zoe").text
    other = page.context.new_page()
    page.context.clear_cookies()
    other.goto(f"{server.url}/sign-in")
    sign_in(other, shop)
    page.locator(".decide").get_by_role("button", name="Approve").click()
    expect(page.locator(".toast")).to_contain_text(
        "Nothing was changed. The page showed the application “default”, but you are now signed in to “shop”."
    )
    assert len(hk.moderation.queue(hk.query()).items) == 3
    # What the page leads to next is about the other one, also at its top.
    page.locator(".q a.txt").nth(1).click()
    expect(page.locator(".top .app").first).to_have_text("shop")


def test_a_page_does_not_count_events_of_another_application(
    hk: Harken, server: Server, open_page: Callable[[str], Page]
) -> None:
    """When a tab is shown again after another one has signed in to another application, it says so."""
    page = open_page("/feedback")
    live = page.locator("[data-events]")
    expect(live).to_have_text("Live")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")
    expect(live).to_have_text("Paused")
    page.context.clear_cookies()
    other = page.context.new_page()
    other.goto(f"{server.url}/sign-in")
    sign_in(other, hk.keys.create("shop", ["admin"], name="Zoe").text)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(live).to_have_text("Signed in to shop now. Show it")
