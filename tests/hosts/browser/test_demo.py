"""The demo page, as different hosts serve it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

import pytest
from playwright.sync_api import BrowserContext, Page, expect

import harken
from harken import Harken, Scope
from hosts.browser.test_appearance import problems_of
from hosts.browser.visits import SECRET
from hosts.http.test_every_host import HOSTS
from hosts.serving import Server, served

pytestmark = pytest.mark.slow

_CHEAP: Final = ("fastapi", "flask", "wsgi")


@pytest.fixture
def hk() -> Iterator[Harken]:
    """A Harken with an empty memory storage."""
    with harken.connect("memory://") as connected:
        yield connected


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab. The test fails if the browser reports an error."""
    problems: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda message: message.type == "error" and problems.append(message.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    yield opened
    opened.close()
    # What is still loading when another page is opened.
    assert [problem for problem in problems if not problem.endswith("net::ERR_FAILED")] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", _CHEAP)
def test_the_demo_stores_votes(hk: Harken, page: Page, name: str, scheme: Any) -> None:
    """With ``token_secrets``, the widgets of the demo work, under its strict policy and without an error."""
    serve: Callable[..., AbstractContextManager[Server]] = HOSTS[name]
    page.emulate_media(color_scheme=scheme)
    with serve(hk, token_secrets=(SECRET,)) as server:
        page.goto(f"{server.url}/demo")
        first, second, _ = page.locator("harken-feedback").all()
        first.locator(".up").click()
        expect(first.locator(".group .status")).to_have_text("Thanks")
        second.locator(".down").click()
        second.locator(".reason").first.click()
        assert problems_of(page) == []
        second.locator(".send").click()
        expect(second.locator(".group .status")).to_have_text("Sent. Thank you")
        votes = hk.votes("demo", author="demo")
        assert [(vote.message_id, vote.rating.word, list(vote.tags)) for vote in votes] == [
            ("answer-1", "up", []),
            ("answer-2", "down", ["wrong"]),
        ]
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", _CHEAP)
def test_the_demo_without_secrets(hk: Harken, page: Page, name: str) -> None:
    """Without ``token_secrets``, the demo says how to set them, and its thumbs are switched off."""
    serve: Callable[..., AbstractContextManager[Server]] = HOSTS[name]
    with serve(hk) as server:
        page.goto(f"{server.url}/demo")
        expect(page.get_by_text("token_secrets")).to_be_visible()
        for thumb in page.locator("harken-feedback .thumb").all():
            expect(thumb).to_have_attribute("aria-disabled", "true")
        page.locator("harken-feedback .up").first.click(force=True)
        assert page.locator("harken-feedback [aria-pressed=true]").count() == 0
        assert problems_of(page) == []


def test_the_demo_needs_a_key(hk: Harken, page: Page) -> None:
    """Where access is not open, the demo follows the sign-in, and its votes belong to the application of the key."""
    key = hk.keys.create("shop", [Scope.SUBMIT]).text
    with served(hk, access="keys", token_secrets=(SECRET,)) as server:
        page.goto(f"{server.url}/demo")
        assert page.url.endswith("/sign-in?next=%2Fdemo")
        page.locator("input[name=key]").fill(key)
        page.keyboard.press("Enter")
        page.wait_for_url("**/demo")
        page.locator("harken-feedback .up").first.click()
        expect(page.locator("harken-feedback .group .status").first).to_have_text("Thanks")
        assert [vote.rating.word for vote in hk.votes("demo", author="demo", application="shop")] == ["up"]
        assert hk.votes("demo", author="demo") == []
