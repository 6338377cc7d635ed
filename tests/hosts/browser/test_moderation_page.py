"""The moderation page in a browser: keys, focus, announcements, two moderators, several entries, hostile comments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect

import harken
from harken import Feedback, FeedbackQuery, Harken, ModerationStatus, RatingPolicy, Violation
from hosts.browser.conftest import ONE_STORAGE
from hosts.browser.test_appearance import problems_of
from hosts.browser.test_hostile_texts import TEXTS
from hosts.serving import Server, served
from support import eventually

pytestmark = pytest.mark.slow

PAGE: Final = "/dashboard/moderation"
_numbers = count(1)


def every_comment(submission: harken.Submission) -> list[Violation]:
    """A rule that holds everything, and marks the first word."""
    return [Violation("comment", "all", "All", spans=((0, 5),))]


@pytest.fixture(scope="module")
def hk(storage: str) -> Iterator[Harken]:
    """A Harken that holds everything; each test has an application of its own."""
    with harken.connect(storage, policy=RatingPolicy(hold=(every_comment,))) as connected:
        yield connected


@pytest.fixture(scope="module")
def server(hk: Harken) -> Iterator[Server]:
    """A server that requires keys."""
    with served(hk, access="keys") as serving:
        yield serving


@pytest.fixture
def application() -> str:
    """The application of a test."""
    return f"app-{next(_numbers)}"


@pytest.fixture
def held(hk: Harken, application: str) -> list[Feedback]:
    """Four entries that wait."""
    return [
        hk.submit(f"s{number}", "up", f"Comment {number}", agent_id="Ann", application=application).feedback
        for number in range(4)
    ]


@pytest.fixture
def open_page(browser: Browser, hk: Harken, server: Server, application: str) -> Iterator[Callable[..., Page]]:
    """Opens the page in a profile of its own, signed in. The test fails if a browser reports an error."""
    problems: list[str] = []
    contexts = []

    def open_as(name: str, query: str = "", **options: Any) -> Page:
        context = browser.new_context(**{"reduced_motion": "reduce", **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        key = hk.keys.create(application, ["read", "moderate"], name=name).text
        page.goto(f"{server.url}/sign-in")
        page.get_by_label("API key").fill(key)
        page.keyboard.press("Enter")
        page.wait_for_url("**/dashboard**")
        page.goto(f"{server.url}{PAGE}{query}")
        return page

    yield open_as
    for context in contexts:
        context.close()
    assert [one for one in problems if "Failed to load resource" not in one] == []


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
    is_current(page, "Comment 1")
    page.keyboard.press("k")
    is_current(page, "Comment 0")
    page.keyboard.press("s")
    is_current(page, "Comment 1")
    page.keyboard.press("r")
    is_current(page, "Comment 2")
    expect(page.locator("#said")).to_have_text("Rejected. 3 left.")
    expect(page.locator("h1")).to_have_text("3 wait for a decision")
    expect(page.locator(".nav .count")).to_have_text("3 waiting")
    page.keyboard.press("a")
    is_current(page, "Comment 3")
    assert [status_of(hk, one) for one in held] == ["pending", "rejected", "approved", "pending"]
    page.keyboard.press("z")
    is_current(page, "Comment 2")
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
    is_current(page, "Comment 1")
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
    is_current(page, "Comment 0")


@pytest.mark.parametrize("scripts", [True, False], ids=["javascript", "no javascript"])
def test_two_moderators(hk: Harken, held: list[Feedback], open_page: Callable[..., Page], scripts: bool) -> None:
    """The second learns who was faster, nothing is overwritten, and both ways on are offered."""
    sam, priya = open_page("Sam", java_script_enabled=scripts), open_page("Priya", java_script_enabled=scripts)
    priya.get_by_role("button", name="Approve", exact=False).last.click()
    expect(priya.locator("section .said")).to_have_text("Comment 1")
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
    page = open_page("Sam", java_script_enabled=scripts)
    boxes = page.locator(".q .cb")
    boxes.nth(0).click()
    boxes.nth(2).click(modifiers=["Shift"])
    if scripts:
        expect(page.locator("[data-picked]")).to_have_text("3 selected")
        page.keyboard.press("j")
        is_current(page, "Comment 1")
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
        page.get_by_role("button", name="Undo 2").click()
    expect(page.locator(".toast")).to_contain_text("2 undone")
    assert [status_of(hk, one) for one in held] == ["pending", "approved", "pending", "pending"]
    page.goto(page.url)
    expect(page.locator("h1")).to_have_text("3 wait for a decision")


def test_what_is_new_waits_for_a_click(
    hk: Harken, application: str, held: list[Feedback], open_page: Callable[..., Page]
) -> None:
    """New feedback is announced and counted, and nothing moves until it is asked for."""
    page = open_page("Sam")
    expect(page.locator(".live").first).to_have_text("Live")
    hk.submit("s", "up", "Comment 9", application=application)
    expect(page.get_by_role("button", name="1 new · show")).to_be_visible()
    expect(page.locator(".q li")).to_have_count(4)
    page.get_by_role("button", name="1 new · show").click()
    expect(page.locator(".q li")).to_have_count(5)
    is_current(page, "Comment 0")


def test_a_server_that_does_not_answer(hk: Harken, held: list[Feedback], open_page: Callable[..., Page]) -> None:
    """The page says that nothing was saved, does not change, and the next attempt works."""
    page = open_page("Sam")
    page.route("**/decisions*", lambda route: route.abort())
    page.keyboard.press("a")
    expect(page.locator(".toast")).to_contain_text("Not saved: the server does not answer. Try again.")
    expect(page.locator("section .said")).to_have_text("Comment 0")
    page.unroute("**/decisions*")
    page.keyboard.press("a")
    is_current(page, "Comment 1")
    assert status_of(hk, held[0]) == "approved"


def test_a_session_that_ended(
    hk: Harken, application: str, held: list[Feedback], open_page: Callable[..., Page]
) -> None:
    """A decision of a moderator who was signed out leads to the page to sign in, and is not saved."""
    page = open_page("Sam")
    page.context.clear_cookies()
    page.keyboard.press("a")
    page.wait_for_url("**/sign-in**")
    assert status_of(hk, held[0]) == "pending"


@ONE_STORAGE
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_hostile_comments_do_no_harm(
    hk: Harken, application: str, open_page: Callable[..., Page], width: int, scheme: Any
) -> None:
    """With 40 hostile comments everywhere, nothing runs, nothing scrolls sideways, and axe finds nothing."""
    for number, text in enumerate(TEXTS):
        hk.submit(f"s{number}", "down", text, agent_id="<b>x" * 40, author="a" * 200, application=application)
    page = open_page("<b>Sam" * 30, viewport={"width": width, "height": 800}, color_scheme=scheme)
    for number in range(len(TEXTS)):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("window.hacked") is None
        if number % 16 == 0:
            assert problems_of(page) == []
        page.keyboard.press("r" if number % 2 else "a")
        left = len(TEXTS) - number - 1
        expect(page.locator("h1")).to_have_text(
            f"{left} wait{'s' if left == 1 else ''} for a decision" if left else "Nothing waits"
        )
    for query in ("", "?tab=rejected", "?tab=approved"):
        page.goto(f"{page.url.partition('?')[0]}{query}")
        if query:
            page.locator(".q .cb").first.check()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert problems_of(page) == []
    page.locator("[data-pick-all] .cb").click() if page.locator("[data-pick-all]:visible").count() else None
    page.locator(".bulk").get_by_role("button", name="Reject…").click()
    expect(page.locator("h1")).to_contain_text("Reject")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert problems_of(page) == []
    assert page.evaluate("window.hacked") is None
    pending = FeedbackQuery(application=application, statuses=frozenset({ModerationStatus.PENDING}))
    eventually(lambda: not hk.collection.find(pending).items)
