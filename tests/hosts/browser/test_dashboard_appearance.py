"""Every page of the dashboard, empty and full of hostile texts: accessibility, layout, and nothing that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from typing import Final, Literal

import pytest
from attrs import frozen
from playwright.sync_api import Browser, Page, expect

import harken
from hosts.browser.accessibility import accessibility_problems
from hosts.browser.chromium import Chromium
from hosts.browser.dashboard import HELD, Dashboard, OpenTab, watched_tabs
from hosts.browser.filling import NAMES, fill
from hosts.browser.test_hostile_texts import TEXTS
from hosts.serving import served

pytestmark = pytest.mark.slow

#: For what depends on the browser only.
ONE_DASHBOARD = pytest.mark.parametrize("dashboard", ["sqlite"], indirect=True, scope="session")
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
WIDTHS: Final = (390, 1280)
#: What is beyond the edges of the page, and not in something that scrolls.
_OUTSIDE: Final = """() => [...document.querySelectorAll('main *, header *, #bar *')].filter((one) => {
    const { left, right, width, height } = one.getBoundingClientRect();
    if (width <= 1 || height <= 1 || !one.checkVisibility() || (left >= -1 && right <= innerWidth + 1)) return false;
    for (let outer = one; outer; outer = outer.parentElement) {
        if (getComputedStyle(outer).overflowX !== 'visible' && outer !== document.body) return false;
    }
    return true;
}).map((one) => `${one.tagName} ${one.className.baseVal ?? one.className}: ${one.textContent.slice(0, 40)}`)"""
Action = Callable[[Page], None]
_numbers = count(1)


@frozen
class Full:
    """An application that is full of hostile texts.

    Attributes:
        tab: a tab of an administrator.
        url: the address of the overview.
        entry: the path of an entry with a conversation.
        delivery: the id of a delivery that was refused.
    """

    tab: Page
    url: str
    entry: str
    delivery: str


@pytest.fixture(scope="module")
def full(chromium: Chromium, dashboard: Dashboard) -> Iterator[Full]:
    """A full application. The test fails if the browser reports anything."""
    application = f"<b>full</b> {next(_numbers)} {'x' * 100}"
    entry = fill(dashboard, application)
    key = dashboard.key(application, name=NAMES[0])
    with watched_tabs(chromium.running(), dashboard.service.url) as open_tab:
        tab = dashboard.sign_in(open_tab(timezone_id="UTC"), key)
        (delivery,) = dashboard.hk.deliveries.find("dead", application=application, feedback_id=entry.id)
        yield Full(tab, dashboard.url, f"/feedback/{entry.id}", delivery.id)


# --- What is done on a page before it is examined -------------------------------------------------------------------


def nothing(_: Page) -> None:
    """The page as it is loaded."""


def open_everything(page: Page) -> None:
    """Open everything that can be opened in the page; of menus, only the last one, as a click closes the others."""
    page.locator("main details:not(.menu-of)").evaluate_all("all => all.forEach(one => { one.open = true })")
    for menu in page.locator("main details.menu-of summary").all()[-1:]:
        menu.click()


def open_filter(page: Page) -> None:
    """Open the list of values of a filter."""
    page.get_by_role("search", name="Filters").get_by_role("link", name="Agent", exact=True).click()
    expect(page.get_by_role("dialog")).to_be_visible()


def open_keys(page: Page) -> None:
    """Open the list of keys."""
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()


def open_period(page: Page) -> None:
    """Open the menu of periods."""
    page.locator(".period summary").click()


def open_visitor(page: Page) -> None:
    """Open the menu of the visitor."""
    page.locator(".who summary").click()


def create_key(page: Page) -> None:
    """Create a key, which is shown once."""
    # Another name than those of the keys that there are.
    page.get_by_label("Name").first.fill(f"{NAMES[1]} again")
    page.get_by_label("Submit feedback").check()
    page.get_by_role("button", name="Create key").click()
    expect(page.locator("#new-key")).to_be_visible()


def select_all(page: Page) -> None:
    """Select all that are listed, and ask what rejecting them does."""
    page.locator(".q .cb").evaluate_all("all => all.forEach(one => one.click())")
    page.locator(".bulk").get_by_role("button", name="Reject…").click()
    expect(page.locator("h1")).to_contain_text("Reject")


def reject(page: Page) -> None:
    """Reject an entry, which shows a message."""
    page.locator(".decide").get_by_role("button", name="Reject").click()
    expect(page.locator(".toast")).to_be_visible()


STATES: Final[dict[str, tuple[str, Action]]] = {
    "overview": ("", nothing),
    "overview by version": ("?by=context.version&hours=responses&compare=none", nothing),
    "overview as tables": ("?trend=table&hours=table&issues=words&rating=down&latest=down", nothing),
    "values of a filter": ("", open_filter),
    "period": ("?period=week", open_period),
    "issues": ("/issues?issues=reasons", nothing),
    "issues of words": ("/issues?issues=words", nothing),
    "filter": ("/filter?name=tag&page=overview", nothing),
    "filter by context": ("/filter?name=context&page=feedback", nothing),
    "feedback": ("/feedback", nothing),
    "search": ("/feedback?text=img&rating=down&rating=up", nothing),
    "feedback of an agent": ("/feedback?agent_id=%3Cb&agent_id=Ann&text=nothing", nothing),
    "entry": ("{entry}", open_everything),
    "moderation": ("/moderation", nothing),
    "keys": ("/moderation", open_keys),
    "approved": ("/moderation?tab=approved", nothing),
    "rejected": ("/moderation?tab=rejected", nothing),
    "preview": ("/moderation", select_all),
    "decided": ("/moderation", reject),
    "alerts": ("/alerts", open_everything),
    "delivery": ("/alerts?open={delivery}", nothing),
    "resolved alerts": ("/alerts?alerts=resolved&state=arrived", nothing),
    "replay": ("/alerts/replay-all?channel=support", nothing),
    "settings": ("/settings", open_everything),
    "dry run": ("/settings?name=x&channel=support&ratings=down&dry_run=true", open_visitor),
    "new key": ("/settings", create_key),
    "preferences": ("/preferences", nothing),
}
EMPTY: Final = (
    "",
    "?from=curl",
    "?from=widget",
    "/issues",
    "/filter?name=agent_id&page=feedback",
    "/feedback",
    "/moderation",
    "/moderation?tab=rejected",
    "/alerts",
    "/settings",
    "/feedback/nothing",
)


@ONE_DASHBOARD
@pytest.mark.parametrize("scripts", [True, False], ids=["javascript", "no javascript"])
def test_what_is_against_the_policy_is_reported(dashboard: Dashboard, browser: Browser, scripts: bool) -> None:
    """What these tests rely on: blocked styles, scripts and requests to other origins make a test fail."""
    page = '<p style="color: red"><img src="https://other.example/x"></p><script>window.hacked = 1</script>'
    with pytest.raises(AssertionError) as failed:
        _visit_bad_page(dashboard, browser, page, scripts=scripts)
    expected = ["Applying inline style", "another origin: https://other.example/x"]
    expected += ["policy: script-src", "policy: style-src", "a script of a text ran"] if scripts else []
    assert [one for one in expected if one not in str(failed.value)] == []


def _visit_bad_page(dashboard: Dashboard, browser: Browser, page: str, *, scripts: bool) -> None:
    policy = dashboard.service.ask("GET", "/dashboard/nothing").headers["Content-Security-Policy"]
    headers = {"Content-Security-Policy": policy}
    with watched_tabs(browser, dashboard.service.url) as open_tab:
        tab = open_tab(scripts=scripts)
        tab.route("**/page", lambda route: route.fulfill(body=page, content_type="text/html", headers=headers))
        tab.goto(f"{dashboard.service.url}/page")
        if scripts:
            tab.evaluate("window.hacked = 1")


def examine(page: Page) -> None:
    """Fail if the page has a problem in either theme, at either width."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (page.url, width)
        assert page.evaluate(_OUTSIDE) == [], (page.url, width)
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            assert accessibility_problems(page) == [], (page.url, width, scheme)


@ONE_DASHBOARD
@pytest.mark.parametrize("state", STATES)
def test_full_pages(full: Full, state: str) -> None:
    """Full of hostile texts: nothing runs, nothing is outside, and axe finds nothing in any theme, at any width."""
    path, action = STATES[state]
    full.tab.set_viewport_size({"width": 1280, "height": 800})
    full.tab.goto(full.url + path.format(entry=full.entry, delivery=full.delivery))
    action(full.tab)
    examine(full.tab)


@ONE_DASHBOARD
def test_empty_pages(dashboard: Dashboard, application: str, open_tab: OpenTab) -> None:
    """The same without any feedback, for what does not exist, and for what may not be seen."""
    tab = dashboard.sign_in(open_tab(timezone_id="UTC"), dashboard.key(application))
    for path in EMPTY:
        tab.goto(f"{dashboard.url}{path}")
        examine(tab)
    tab.context.clear_cookies()
    dashboard.sign_in(tab, dashboard.key(application, "moderate"), "/moderation")
    tab.goto(f"{dashboard.url}/settings")
    expect(tab.locator("h1")).to_have_text("You may not see this")
    examine(tab)


def test_a_long_name_of_an_application(browser: Browser) -> None:
    """The menu of applications, which only visitors without a key have, fits at any width."""
    with (
        harken.connect("memory://") as hk,
        served(hk) as server,
        closing(browser.new_context(reduced_motion="reduce")) as context,
    ):
        hk.submit("s", "up")
        hk.submit("s", "up", application="a" * 200)
        page = context.new_page()
        page.goto(f"{server.url}/dashboard/settings")
        page.locator("details.apps summary").click()
        examine(page)
        page.get_by_role("navigation", name="Applications").get_by_role("link", name="a" * 200).click()
        page.locator("details.apps summary").click()
        examine(page)


def test_texts_are_shown_as_they_were_written(full: Full) -> None:
    """All of them, with both storages: in the list of feedback, and one by one while they are moderated."""
    written = {text.strip() for text in TEXTS}
    tab = full.tab
    tab.goto(f"{full.url}/feedback")
    assert written <= set(tab.locator("a.words").evaluate_all("all => all.map(one => one.textContent)"))
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.goto(f"{full.url}/moderation")
    held, seen = tab.locator("section .said"), set[str]()
    expect(tab.locator(".live").first).to_have_text("Live")
    while not tab.locator("h1", has_text="Nothing waits").count():
        seen.add(held.evaluate("one => one.textContent").removeprefix(f"{HELD} ").strip())
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        assert tab.evaluate(_OUTSIDE) == []
        title = tab.locator("h1").inner_text()
        tab.keyboard.press("a")
        expect(tab.locator("h1")).not_to_have_text(title)
    assert len(seen) > 20
    assert seen <= written
