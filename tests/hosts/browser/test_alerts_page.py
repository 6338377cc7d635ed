"""The page of alerts and deliveries in a browser: switching channels, and the keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, expect

import harken
from channels import Recorder
from harken import DeliveryFailed, Harken
from harken.domain.events import DeliveryState
from harken.ports.notifier import Notification
from hosts.browser.test_hostile_texts import TEXTS
from hosts.serving import Server, served

pytestmark = pytest.mark.slow

ALERTS: Final = "/dashboard/alerts"
HOSTILE: Final = (
    "<script>alert(1)</script>",
    "x" * 200,
    "\u202eevil",
    '"><img src=x onerror=alert(1)>',
    "سؤال " * 20,
    "{{ 7 * 7 }} </td></table>",
)


class Support(Recorder):
    """A receiver that rejects everything with words, until it is fixed."""

    def __init__(self) -> None:
        super().__init__(self.answer)
        self.is_fixed = False

    def answer(self, notification: Notification) -> None:
        """Refuse a notification."""
        if not self.is_fixed:
            words = TEXTS[len(self.tried) % len(TEXTS)]
            raise DeliveryFailed("It responded with 400", retryable=False, status="400 Bad Request", words=words)


@pytest.fixture
def support() -> Support:
    """The receiver of the channel ``support``."""
    return Support()


@pytest.fixture
def hk(support: Support) -> Iterator[Harken]:
    """A Harken with hostile names and answers: dead deliveries, open and resolved alerts, a channel that is off."""
    rule = {"name": "in a <b>row</b>", "kind": "streak", "by": "session", "length": 2}
    channels = {"support": support, "c" * 64: Recorder()}
    with harken.connect("memory://", channels=channels, alert_rules=[rule]) as connected:
        for text in HOSTILE:
            for _ in range(2):
                connected.submit(text.strip(), "down", text, agent_id=text.strip())
        for number in range(len(TEXTS)):
            connected.submit(f"s-{number}", "down", "slow")
        connected.submit(HOSTILE[0], "up")
        connected.relay.run_due()
        connected.channels.switch_off("c" * 64, HOSTILE[0])
        connected.relay.run_due()
        yield connected


@pytest.fixture
def server(hk: Harken) -> Iterator[Server]:
    """A server with open access, whose relay does nothing, so that a test can send what is due."""
    with served(hk, relay=False) as serving:
        yield serving


@pytest.fixture(params=[True, False], ids=["javascript", "no javascript"])
def page(request: pytest.FixtureRequest, browser: Browser, server: Server) -> Iterator[Page]:
    """A tab, with and without JavaScript. The test fails if the browser reports an error."""
    context = browser.new_context(java_script_enabled=request.param, reduced_motion="reduce")
    problems: list[str] = []
    opened = context.new_page()
    opened.on("console", lambda message: message.type == "error" and problems.append(message.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("dialog", lambda dialog: problems.append(dialog.message))
    opened.goto(f"{server.url}{ALERTS}")
    yield opened
    context.close()
    assert problems == []


def test_a_channel_is_disabled_and_enabled(hk: Harken, page: Page) -> None:
    """Disabling asks for a reason; while the channel is off, nothing can be replayed to it."""
    row = page.locator("#channels tr", has_text="support")
    row.locator("summary").click()
    row.get_by_label("Reason").fill("it <b>moves</b>")
    row.get_by_role("button", name="Disable support").click()
    expect(page.locator("#channels")).to_contain_text("it <b>moves</b>")
    expect(page.get_by_role("button", name="Replay").first).to_be_disabled()
    row.locator("summary").click()
    row.get_by_role("button", name="Enable support").click()
    expect(page.get_by_role("status").filter(has_text="The channel is on.")).to_be_visible()
    assert hk.channels.state("support").on


def test_keyboard_only(browser: Browser, server: Server, hk: Harken) -> None:
    """A row is opened, and its delivery replayed, with the keyboard alone."""
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(f"{server.url}/dashboard/feedback")
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.wait_for_url(f"**{ALERTS}*")
    page.locator("#deliveries h2").evaluate("heading => { heading.tabIndex = -1; heading.focus() }")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('a.rowb')"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("a.rowb[aria-expanded=true]")).to_be_visible()
    identity = page.locator("tbody:has(a[aria-expanded=true])").get_attribute("id") or ""
    page.locator("a.rowb[aria-expanded=true]").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Sent again")).to_be_visible()
    assert hk.deliveries.get(identity.removeprefix("delivery-")).state is DeliveryState.PENDING
    context.close()
