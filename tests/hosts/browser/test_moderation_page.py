"""The moderation page in a browser: keys, focus, announcements, two moderators, several entries."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from harken import Feedback, Harken
from hosts.browser.dashboard import Dashboard, OpenTab

pytestmark = pytest.mark.slow


@pytest.fixture
def hk(dashboard: Dashboard) -> Harken:
    """The Harken of the test on the storage of the dashboard."""
    return dashboard.hk


@pytest.fixture
def held(hk: Harken, application: str) -> list[Feedback]:
    """Four entries that wait."""
    return [
        hk.submit(f"s{number}", "up", f"Casino {number}", agent_id="Ann", application=application).feedback
        for number in range(4)
    ]


@pytest.fixture
def open_page(dashboard: Dashboard, open_tab: OpenTab, application: str) -> Callable[..., Page]:
    """Opens the page in a profile of its own, signed in."""

    def open_as(name: str, **options: Any) -> Page:
        key = dashboard.key(application, "read", "moderate", name=name)
        return dashboard.sign_in(open_tab(**options), key, "/moderation")

    return open_as


def status_of(hk: Harken, feedback: Feedback) -> str:
    """The stored status of an entry."""
    return hk.collection.get(feedback.application, feedback.id).moderation.status.value


def is_current(page: Page, text: str) -> None:
    """Wait until the entry with this comment is the current one, and its heading has the focus."""
    expect(page.locator("section .said")).to_have_text(text)
    expect(page.locator("#current")).to_be_focused()


def test_decisions_by_keys(hk: Harken, held: list[Feedback], open_page: Callable[..., Page]) -> None:
    """Each key does what its button does; the next entry gets the focus, and what happened is announced."""
    page = open_page("Sam")
    page.keyboard.press("j")
    is_current(page, "Casino 1")
    page.keyboard.press("k")
    is_current(page, "Casino 0")
    page.keyboard.press("s")
    is_current(page, "Casino 1")
    page.keyboard.press("r")
    is_current(page, "Casino 2")
    expect(page.locator("#said")).to_have_text("Rejected as spam. 3 left.")
    expect(page.locator("h1")).to_have_text("3 wait for a decision")
    expect(page.locator(".nav .count")).to_have_text("3 waiting")
    page.keyboard.press("a")
    is_current(page, "Casino 3")
    assert [status_of(hk, one) for one in held] == ["pending", "rejected", "approved", "pending"]
    page.keyboard.press("z")
    is_current(page, "Casino 2")
    expect(page.locator("#said")).to_have_text("Undone: it waits again. 3 left.")
    page.locator("select[name=reason]").focus()
    page.keyboard.press("r")
    page.locator("#current").focus()
    page.keyboard.press("Control+a")
    assert status_of(hk, held[2]) == "pending"
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("Approve")


def test_the_message_stays_while_it_is_used(held: list[Feedback], open_page: Callable[..., Page]) -> None:
    """It goes after 10 seconds, unless it is hovered or has the focus; undo by the list works after that."""
    page = open_page("Sam")
    page.clock.install()
    page.reload()
    page.keyboard.press("a")
    is_current(page, "Casino 1")
    toast = page.locator(".toast")
    toast.get_by_role("button").focus()
    page.clock.run_for(30_000)
    expect(toast).to_be_visible()
    page.locator("#current").focus()
    toast.hover()
    page.clock.run_for(30_000)
    expect(toast).to_be_visible()
    page.mouse.move(0, 0)
    page.clock.run_for(11_000)
    expect(toast).to_have_count(0)
    page.keyboard.press("z")
    is_current(page, "Casino 0")


@pytest.mark.parametrize("scripts", [True, False], ids=["javascript", "no javascript"])
def test_two_moderators(hk: Harken, held: list[Feedback], open_page: Callable[..., Page], scripts: bool) -> None:
    """The second learns who was faster, nothing is overwritten, and both ways on are offered."""
    sam, priya = open_page("Sam", scripts=scripts), open_page("Priya", scripts=scripts)
    priya.get_by_role("button", name="Approve", exact=False).last.click()
    expect(priya.locator("section .said")).to_have_text("Casino 1")
    if scripts:
        row = sam.locator(f'li[data-feedback="{held[0].id}"]')
        expect(row).to_have_class(re.compile("gone"))
        expect(row).to_contain_text("Priya approved it just now")
        expect(row.locator("input")).to_be_disabled()
        expect(sam.locator("section [data-gone]")).to_contain_text("Priya approved it just now")
        expect(sam.locator("h1")).to_have_text("4 wait for a decision")
    sam.locator(".decide").get_by_role("button", name="Reject").click()
    expect(sam.get_by_role("alert")).to_contain_text("Priya approved this")
    expect(sam.get_by_role("alert")).to_contain_text("Your rejection was not saved.")
    assert status_of(hk, held[0]) == "approved"
    sam.get_by_role("button", name="Reject it anyway").click()
    expect(sam.locator(".toast")).to_contain_text("Rejected")
    assert hk.collection.get(held[0].application, held[0].id).moderation.moderator == "Sam"


@pytest.mark.parametrize("scripts", [True, False], ids=["javascript", "no javascript"])
def test_several_are_decided(hk: Harken, held: list[Feedback], open_page: Callable[..., Page], scripts: bool) -> None:
    """Selected, previewed, decided and undone."""
    page = open_page("Sam", scripts=scripts)
    boxes = page.locator(".q .cb")
    boxes.nth(0).click()
    boxes.nth(2).click(modifiers=["Shift"])
    if scripts:
        expect(page.locator("[data-picked]")).to_have_text("3 selected")
        page.keyboard.press("j")
        is_current(page, "Casino 1")
        expect(page.locator("[data-picked]")).to_have_text("3 selected")
    else:
        boxes.nth(1).click()
    page.locator(".bulk").get_by_role("button", name="Reject…").click()
    expect(page.locator("h1")).to_have_text("Reject 3?")
    if scripts:
        expect(page.locator("h1")).to_be_focused()
    assert status_of(hk, held[0]) == "pending"
    hk.moderation.decide(held[1].application, held[1].id, "approved", moderator="Priya")
    page.get_by_role("button", name="Reject 3").click()
    expect(page.locator(".toast")).to_contain_text("2 rejected, 1 was decided by Priya meanwhile")
    assert [status_of(hk, one) for one in held] == ["rejected", "approved", "rejected", "pending"]
    if scripts:
        page.keyboard.press("z")
    else:
        page.locator(".toast").get_by_role("button", name="Undo 2").click()
    expect(page.locator(".toast")).to_contain_text("2 undone")
    assert [status_of(hk, one) for one in held] == ["pending", "approved", "pending", "pending"]
    page.goto(page.url)
    expect(page.locator("h1")).to_have_text("3 wait for a decision")


def test_keys_are_about_the_selection(hk: Harken, held: list[Feedback], open_page: Callable[..., Page]) -> None:
    """While entries are selected, the keys to decide ask about these, and nothing else is decided."""
    page = open_page("Sam")
    for number in (1, 3):
        page.locator(".q .cb").nth(number).click()
    page.locator("#current").focus()
    page.keyboard.press("r")
    expect(page.locator("h1")).to_have_text("Reject 2?")
    assert [status_of(hk, one) for one in held] == ["pending"] * 4
    page.get_by_role("button", name="Reject 2").click()
    expect(page.locator(".toast")).to_contain_text("2 rejected")
    assert [status_of(hk, one) for one in held] == ["pending", "rejected", "pending", "rejected"]
    page.keyboard.press("j")
    is_current(page, "Casino 2")
    page.reload()
    page.keyboard.press("z")
    expect(page.locator(".toast")).to_contain_text("2 undone")
    assert [status_of(hk, one) for one in held] == ["pending"] * 4


@pytest.mark.parametrize("width", [390, 800, 1000])
def test_the_entry_is_above_the_list(held: list[Feedback], open_page: Callable[..., Page], width: int) -> None:
    """Where there is no room for both beside each other, what there is to decide comes first."""
    page = open_page("Sam")
    page.set_viewport_size({"width": width, "height": 900})
    tops = [page.locator(one).bounding_box() for one in ("section[data-feedback]", ".picks")]
    entry, listed = (box["y"] if box else 0 for box in tops)
    assert 0 < entry < listed


def test_what_is_new_waits_for_a_click(
    hk: Harken, application: str, held: list[Feedback], open_page: Callable[..., Page]
) -> None:
    """New feedback is announced and counted, and nothing moves until it is asked for."""
    page = open_page("Sam")
    expect(page.locator(".live").first).to_have_text("Live")
    hk.submit("s", "up", "Casino 9", application=application)
    expect(page.get_by_role("button", name="1 new · show")).to_be_visible()
    expect(page.locator(".q li")).to_have_count(4)
    page.get_by_role("button", name="1 new · show").click()
    expect(page.locator(".q li")).to_have_count(5)
    is_current(page, "Casino 0")


def test_a_server_that_does_not_answer(hk: Harken, held: list[Feedback], open_page: Callable[..., Page]) -> None:
    """The page says that nothing was saved, does not change, and the next attempt works."""
    page = open_page("Sam")
    page.route("**/decisions*", lambda route: route.abort())
    page.keyboard.press("a")
    expect(page.locator(".toast")).to_contain_text("Not saved: the server does not answer. Try again.")
    expect(page.locator("section .said")).to_have_text("Casino 0")
    page.unroute("**/decisions*")
    page.keyboard.press("a")
    is_current(page, "Casino 1")
    assert status_of(hk, held[0]) == "approved"


def test_a_session_that_ended(
    hk: Harken, application: str, held: list[Feedback], open_page: Callable[..., Page]
) -> None:
    """A decision of a moderator who was signed out is not saved, and the page says that and stays."""
    page = open_page("Sam")
    page.context.clear_cookies()
    page.keyboard.press("a")
    expect(page.locator(".toast")).to_contain_text("Not saved: your sign-in has ended.")
    expect(page.locator("section .said")).to_have_text("Casino 0")
    assert status_of(hk, held[0]) == "pending"
