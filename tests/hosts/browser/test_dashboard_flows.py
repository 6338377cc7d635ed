"""What people do in the dashboard, with and without JavaScript, on each storage, with two worker processes."""

from __future__ import annotations

import csv
import re
from datetime import timedelta
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from harken import Rating, Route
from harken.clock import utc_now
from hosts.browser.dashboard import HELD, Dashboard, OpenTab
from support import ManualClock, eventually

pytestmark = pytest.mark.slow

SCRIPTS = pytest.mark.parametrize("scripts", [True, False], ids=["javascript", "no javascript"])
#: The number of entries that :func:`fill` adds.
ENTRIES: Final = 60
DOWNS: Final = 20
#: The title of the list with all filters of a test.
FOUND: Final = "for Ann or Bob about “slow” or “wrong” with version 1 mention “slow”"


def fill(dashboard: Dashboard, application: str) -> None:
    """Some feedback of today and of the week before."""
    clock = ManualClock(utc_now() - timedelta(days=6))
    with dashboard.connect(clock) as hk:
        for place in range(ENTRIES):
            is_down = place % 3 == 0
            hk.submit(
                f"session {place}",
                "down" if is_down else "up",
                f"Answer {place} was {'slow' if is_down else 'good'}",
                agent_id="Ann" if place % 2 else "Bob",
                author=f"author {place % 5}",
                tags=["slow" if place % 2 else "wrong"] if is_down else [],
                context={"version": str(place % 2)},
                application=application,
            )
            clock.turn(hours=2)


def values(page: Page) -> dict[str, list[str]]:
    """The parameters in the address of a page."""
    return parse_qs(urlsplit(page.url).query)


def main_menu(page: Page, name: str) -> Locator:
    """A link of the main menu."""
    return page.get_by_role("navigation", name="Main").get_by_role("link", name=name)


def issue(page: Page, name: str) -> Locator:
    """The link of an issue on the overview."""
    return page.locator(".issues").get_by_role("link", name=re.compile(f"^{name} "))


def strike(page: Page, *keys: str) -> None:
    """Press keys, as soon as the page listens to them."""
    expect(page.locator(".live").first).to_have_text("Live")
    for key in keys:
        page.keyboard.press(key)


def is_signed_out(page: Page) -> bool:
    """Whether the page for signing in is shown."""
    return urlsplit(page.url).path == "/sign-in"


@SCRIPTS
def test_from_a_number_to_the_words_and_back(
    dashboard: Dashboard, application: str, open_tab: OpenTab, scripts: bool
) -> None:
    """An issue filters the overview; its entries, one of them, and the way back keep the filter."""
    fill(dashboard, application)
    page = dashboard.sign_in(open_tab(scripts=scripts), dashboard.key(application))
    issue(page, "slow").click()
    expect(page.get_by_text("Reason is slow")).to_be_visible()
    page.get_by_role("link", name="See all 10").click()
    expect(page.locator("h1")).to_have_text("10 responses about “slow”")
    page.get_by_role("link", name="Answer 57 was slow").click()
    expect(page.locator(".said")).to_have_text("Answer 57 was slow")
    page.get_by_role("navigation", name="Breadcrumb").get_by_role("link").first.click()
    expect(page.locator("h1")).to_have_text("10 responses about “slow”")
    page.get_by_role("link", name="Statistics for these").click()
    expect(page.get_by_text("Reason is slow")).to_be_visible()
    page.get_by_role("link", name="Remove Reason").click()
    expect(page.get_by_role("link", name="See all 60")).to_be_visible()


@SCRIPTS
def test_filters_survive_every_tab_reload_and_back(
    dashboard: Dashboard, application: str, open_tab: OpenTab, scripts: bool
) -> None:
    """Every page of the main menu keeps period, zone, comparison and filters; so do Reload and Back."""
    fill(dashboard, application)
    query = "?period=year&zone=Asia%2FTokyo&compare=none&agent_id=Ann&agent_id=Bob&rating=down&tag=slow&tag=wrong"
    page = dashboard.sign_in(open_tab(scripts=scripts), dashboard.key(application))
    page.goto(f"{dashboard.url}{query}&context.version=1&text=slow")
    chosen, visited = values(page), [page.url]
    for name in ("Feedback", "Moderation", "Alerts", "Settings", "Overview", "Feedback"):
        main_menu(page, name).click()
        page.wait_for_url(lambda url: url != visited[-1])
        assert values(page) == chosen
        visited.append(page.url)
        if name in ("Overview", "Feedback"):
            for chip in ("Agent is Ann, Bob", "Rating is Down", "Reason is slow, wrong", "version is 1"):
                expect(page.get_by_role("search", name="Filters").get_by_text(chip)).to_be_visible()
            expect(page.locator(".period summary")).to_contain_text(str(utc_now().year))
    expect(page.locator("h1")).to_contain_text(FOUND)
    page.reload()
    assert page.url == visited[-1]
    expect(page.locator("h1")).to_contain_text(FOUND)
    for address in visited[-2::-1]:
        page.go_back()
        page.wait_for_url(address)


@SCRIPTS
def test_searching_and_turning_pages(dashboard: Dashboard, application: str, open_tab: OpenTab, scripts: bool) -> None:
    """Hits are marked, pages lead to each other and back, and the export has exactly what was found."""
    fill(dashboard, application)
    page = dashboard.sign_in(open_tab(scripts=scripts), dashboard.key(application), "/feedback")
    entries = page.locator("a.words")
    expect(page.locator("h1")).to_have_text("60 responses")
    expect(entries).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(entries).to_have_count(10)
    expect(entries.last).to_have_text("Answer 0 was slow")
    page.get_by_role("link", name="Newer").click()
    expect(entries.first).to_have_text("Answer 59 was good")
    search = page.locator(".filters").get_by_role("searchbox", name="Search comments")
    search.fill("slow")
    search.press("Enter")
    expect(page.locator("h1")).to_have_text("20 responses mention “slow”")
    assert set(page.locator("mark").all_inner_texts()) == {"slow"}
    link = page.get_by_role("link", name="Export these 20").get_attribute("href")
    exported = page.request.get(f"{dashboard.service.url}{link}")
    assert exported.ok
    assert len(list(csv.DictReader(exported.text().splitlines()))) == DOWNS


@SCRIPTS
def test_walking_through_a_list(dashboard: Dashboard, application: str, open_tab: OpenTab, scripts: bool) -> None:
    """An entry says its place in the list that it was opened from, and leads to its neighbours in it."""
    fill(dashboard, application)
    options = {"permissions": ["clipboard-read", "clipboard-write"]} if scripts else {}
    page = dashboard.sign_in(
        open_tab(scripts=scripts, **options), dashboard.key(application), "/feedback?rating=down&zone=UTC"
    )
    crumb = page.get_by_role("navigation", name="Breadcrumb")
    page.get_by_role("link", name="Answer 57 was slow").click()
    for place, said in ((1, "Answer 57"), (2, "Answer 54"), (3, "Answer 51")):
        expect(crumb).to_contain_text(f"{place} of 20")
        expect(page.locator(".said")).to_contain_text(said)
        crumb.get_by_role("link", name="Older").click()
    crumb.get_by_role("link", name="Newer").click()
    expect(crumb).to_contain_text("3 of 20")
    if scripts:
        page.get_by_role("button", name="Copy id").click()
        expect(page.locator("#said")).to_have_text("Copied")
        assert page.evaluate("navigator.clipboard.readText()") in page.url


@SCRIPTS
def test_filters_that_nothing_fits(dashboard: Dashboard, application: str, open_tab: OpenTab, scripts: bool) -> None:
    """The page names the filter whose removal helps most, and removes it."""
    fill(dashboard, application)
    page = dashboard.sign_in(
        open_tab(scripts=scripts), dashboard.key(application), "/feedback?zone=UTC&agent_id=Ann&tag=wrong"
    )
    found = page.locator("main .empty")
    expect(found).to_contain_text("Nothing fits all of these filters")
    expect(found).to_contain_text("Without “wrong” there are 30")
    found.get_by_role("link", name="Remove").click()
    expect(page.locator("h1")).to_have_text("30 responses for Ann")


@SCRIPTS
def test_the_overview_in_other_ways(dashboard: Dashboard, application: str, open_tab: OpenTab, scripts: bool) -> None:
    """Tables for charts, groups, periods and the comparison are links, and all of them together are in the address."""
    fill(dashboard, application)
    page = dashboard.sign_in(open_tab(scripts=scripts), dashboard.key(application))
    page.get_by_role("group", name="Show as").get_by_role("link", name="Table").click()
    expect(page.locator("section", has_text="Satisfaction over time").get_by_role("table")).to_be_visible()
    page.get_by_role("group", name="Compare by").get_by_role("link", name="Version").click()
    expect(page.get_by_role("heading", name="By version")).to_be_visible()
    page.get_by_role("group", name="Rating").get_by_role("link", name="Down").click()
    expect(page.locator("section", has_text="Latest feedback").locator(".feed .vh").first).to_have_text("Down")
    page.locator(".period summary").click()
    page.get_by_role("link", name="7 days").click()
    page.get_by_role("link", name="remove comparison").click()
    page.get_by_role("link", name="Compare", exact=True).click()
    page.get_by_role("link", name="Earlier").click()
    page.get_by_role("link", name="Later").click()
    expect(page.get_by_role("link", name="See all 60")).to_be_visible()
    kept = values(page)
    assert (kept["trend"], kept["by"], kept["latest"]) == (["table"], ["context.version"], ["down"])


def test_the_first_feedback(dashboard: Dashboard, application: str, open_tab: OpenTab) -> None:
    """The page that says how to send it can be copied from, listens, and becomes the overview without a reload."""
    page = dashboard.sign_in(
        open_tab(permissions=["clipboard-read", "clipboard-write"], timezone_id="UTC"), dashboard.key(application)
    )
    page.get_by_role("link", name="curl").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#said")).to_have_text("Copied")
    assert f"curl {dashboard.service.url}/api/sessions/" in page.evaluate("navigator.clipboard.readText()")
    expect(page.locator(".live").first).to_have_text("Live")
    page.evaluate("window.isSamePage = true")
    dashboard.hk.submit("s", "up", "The first", application=application)
    expect(page.get_by_role("link", name="The first")).to_be_visible()
    assert page.evaluate("window.isSamePage")


def test_what_is_new_waits_for_a_click(dashboard: Dashboard, application: str, open_tab: OpenTab) -> None:
    """It is counted and said; nothing moves until it is asked for, and then the focus is on the heading of the list."""
    fill(dashboard, application)
    page = dashboard.sign_in(open_tab(timezone_id="UTC"), dashboard.key(application))
    expect(page.locator(".live").first).to_have_text("Live")
    before = page.locator("main").inner_text()
    for place in range(3):
        dashboard.hk.submit(f"new {place}", "up", f"New {place}", application=application)
    pill = page.get_by_role("button", name="3 new · show")
    expect(pill).to_be_visible()
    expect(page.locator("#said")).to_have_text(re.compile(r"\d new"))
    assert page.locator("main").inner_text() == before
    pill.click()
    expect(page.get_by_role("link", name="New 2")).to_be_visible()
    expect(page.get_by_role("heading", name="Latest feedback")).to_be_focused()
    expect(page.get_by_role("link", name="See all 63")).to_be_visible()
    expect(pill).to_be_hidden()


@SCRIPTS
def test_deciding_on_the_page_of_an_entry(
    dashboard: Dashboard, application: str, open_tab: OpenTab, scripts: bool
) -> None:
    """What is held is decided in the queue; what is approved can be rejected where it is read."""
    dashboard.hk.submit("s", "up", f"At the {HELD}", application=application)
    approved = dashboard.hk.submit("s", "up", "Fine", application=application).feedback
    page = dashboard.sign_in(open_tab(scripts=scripts), dashboard.key(application), "/feedback")
    page.get_by_role("link", name="Fine").click()
    page.locator("summary", has_text="Reject…").click()
    page.get_by_label("Reason for a rejection").select_option("spam")
    page.get_by_role("button", name="Reject", exact=True).click()
    expect(page.locator(".tl")).to_contain_text("Sam")
    stored = dashboard.hk.get(approved.id, application=application).moderation
    assert (stored.status.value, stored.moderator, stored.reason) == ("rejected", "Sam", "spam")
    main_menu(page, "Moderation 1 waiting").click()
    page.locator(".decide").get_by_role("button", name="Approve").click()
    expect(page.locator("main .empty")).to_contain_text("Nothing waits.")
    page.get_by_role("button", name="Undo").first.click()
    expect(page.locator("h1")).to_have_text("1 waits for a decision")


@SCRIPTS
def test_a_refused_delivery(dashboard: Dashboard, application: str, open_tab: OpenTab, scripts: bool) -> None:
    """Its row has the receiver's words; it is sent again, waits, and arrives. So are all others, after a question."""
    for place in range(3):
        dashboard.hk.submit(f"{application} {place}", "down", f"Answer {place}", application=application)
    dashboard.hk.relay.run_due()
    page = dashboard.sign_in(open_tab(scripts=scripts), dashboard.key(application), "/alerts")
    row = page.locator("#deliveries tbody[id]").first
    expect(row).to_contain_text("400 Bad Request")
    row.locator("a.rowb").click()
    expect(row.locator(".tl li")).to_have_count(1)
    row.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("status").filter(has_text="Sent again")).to_be_visible()
    replayed = page.locator("tbody:has(a[aria-expanded=true])")
    expect(replayed.locator("[data-news]")).to_have_text("waiting")
    with dashboard.support.fixed():
        dashboard.send_all(application)
        if not scripts:
            page.reload()
        expect(replayed.locator("[data-news]")).to_have_text("arrived")
        page.goto(f"{dashboard.url}/alerts")
        page.get_by_role("link", name="Replay all 2").click()
        page.get_by_role("button", name="Replay all 2").click()
        expect(page.get_by_role("status").filter(has_text="2 deliveries will be sent again")).to_be_visible()
        dashboard.send_all(application)
    assert dashboard.hk.deliveries.summary(application=application).dead == {}


@SCRIPTS
def test_a_key_for_a_colleague(dashboard: Dashboard, application: str, open_tab: OpenTab, scripts: bool) -> None:
    """An administrator creates a key; who signs in with it sees what it permits; once revoked, that ends."""
    dashboard.hk.submit("s", "up", f"At the {HELD}", application=application)
    options = {"permissions": ["clipboard-read", "clipboard-write"]} if scripts else {}
    admin = dashboard.sign_in(open_tab(scripts=scripts, **options), dashboard.key(application), "/settings")
    admin.get_by_label("Name").first.fill("Priya")
    admin.get_by_label("Moderate").check()
    admin.get_by_role("button", name="Create key").click()
    key = admin.locator("#new-key").inner_text()
    assert dashboard.hk.keys.authenticate(key).name == "Priya"
    if scripts:
        admin.get_by_role("button", name="Copy", exact=True).click()
        expect(admin.locator("#said")).to_have_text("Copied")
        assert admin.evaluate("navigator.clipboard.readText()") == key
    priya = dashboard.sign_in(open_tab(scripts=scripts), key, "/moderation")
    expect(priya.get_by_role("navigation", name="Main").get_by_role("link")).to_have_count(1)
    expect(main_menu(priya, "Moderation 1 waiting")).to_have_attribute("aria-current", "page")
    priya.goto(f"{dashboard.url}/settings")
    expect(priya.locator("h1")).to_have_text("You may not see this")
    admin.get_by_role("link", name="I have it").click()
    row = admin.locator("tr", has_text="Priya")
    row.locator("summary").click()
    expect(row.get_by_text("Programs that use Priya are refused")).to_be_visible()
    row.get_by_role("button", name="Revoke Priya").click()
    expect(admin.get_by_role("status").filter(has_text="The key is revoked")).to_be_visible()
    assert key not in admin.content()
    assert [one.revoked for one in dashboard.hk.keys.keys(application) if one.name == "Priya"] == [True]
    eventually(lambda: priya.goto(f"{dashboard.url}/moderation") and is_signed_out(priya))


@SCRIPTS
def test_a_new_route(dashboard: Dashboard, application: str, open_tab: OpenTab, scripts: bool) -> None:
    """A dry run says what a route would have matched; then it is added, and removed."""
    dashboard.hk.submit("s", "down", "Slow", application=application)
    page = dashboard.sign_in(open_tab(scripts=scripts), dashboard.key(application), "/settings")
    form = page.locator("#route-form")
    form.get_by_label("Name").fill(f"{application}-downs")
    form.get_by_label("down", exact=True).check()
    form.get_by_label("To the channel").select_option("support")
    form.get_by_role("button", name="Dry run").click()
    expect(page.get_by_text("would have matched 1 of the 1 responses")).to_be_visible()
    form.get_by_role("button", name="Add route").click()
    row = page.locator("#routes li", has_text=f"{application}-downs")
    expect(row).to_contain_text("Thumbs-down feedback goes to support")
    added = Route(name=f"{application}-downs", channel="support", ratings=[Rating.DOWN], applications=[application])
    assert added in dashboard.hk.routes.routes()
    row.locator("summary").click()
    row.get_by_role("button", name=f"Remove {application}-downs").click()
    expect(row).to_have_count(0)
    assert [route.name for route in dashboard.hk.routes.routes() if application in route.name] == []


@SCRIPTS
def test_signing_out_everywhere(dashboard: Dashboard, application: str, open_tab: OpenTab, scripts: bool) -> None:
    """Signing out everywhere in one browser ends the session of the other one, whichever process it asks."""
    key = dashboard.key(application)
    here, there = (dashboard.sign_in(open_tab(scripts=scripts), key, "/feedback") for _ in range(2))
    here.locator(".who summary").click()
    here.get_by_role("button", name="Sign out everywhere").click()
    expect(here.get_by_role("status")).to_contain_text("signed out")
    # Each process remembers for some seconds who is signed in.
    eventually(lambda: there.goto(f"{dashboard.url}/feedback?rating=down") and is_signed_out(there))
    there.get_by_label("API key").fill(key)
    there.keyboard.press("Enter")
    there.wait_for_url(f"{dashboard.url}/feedback?*rating=down*")


def test_reading_without_a_mouse(dashboard: Dashboard, application: str, open_tab: OpenTab) -> None:
    """From signing in to the words of a person, with the keyboard alone; keys do nothing in a field."""
    fill(dashboard, application)
    page = open_tab(timezone_id="UTC")
    press = page.keyboard.press
    page.goto(dashboard.url)
    page.keyboard.type(dashboard.key(application))
    press("Enter")
    page.wait_for_url(f"{dashboard.url}*")
    press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    press("Enter")
    expect(page.locator("main")).to_be_focused()
    tab_to(page, issue(page, "slow"))
    press("Enter")
    expect(page.get_by_text("Reason is slow")).to_be_visible()
    strike(page, "w")
    expect(page.locator(".periods [aria-current]")).to_have_attribute("data-key", "W")
    assert values(page)["tag"] == ["slow"]
    strike(page, "g", "f")
    expect(page.locator("h1")).to_have_text("10 responses about “slow”")
    strike(page, "/")
    page.keyboard.type("57 g o")
    press("Enter")
    expect(page.locator("h1")).to_have_text("0 responses about “slow” mention “57 g o”")
    strike(page, "/", "Control+a", "Delete", "Enter")
    expect(page.locator("h1")).to_have_text("10 responses about “slow”")
    tab_to(page, page.get_by_role("link", name="Answer 57 was slow"))
    press("Enter")
    expect(page.locator(".said")).to_have_text("Answer 57 was slow")
    for key, said in (("j", "Answer 51 was slow"), ("k", "Answer 57 was slow")):
        strike(page, key)
        expect(page.locator(".said")).to_have_text(said)


def test_deciding_without_a_mouse(dashboard: Dashboard, application: str, open_tab: OpenTab) -> None:
    """Decisions, undo, the list of keys, other pages and signing out, with the keyboard alone."""
    for place in range(2):
        dashboard.hk.submit("s", "up", f"{HELD} {place}", application=application)
    page = dashboard.sign_in(open_tab(timezone_id="UTC"), dashboard.key(application), "/feedback?tag=slow")
    press, said = page.keyboard.press, page.locator("section .said")
    strike(page, "g", "m")
    tab_to(page, page.get_by_role("link", name="Remove Reason"))
    press("Enter")
    expect(said).to_have_text(f"{HELD} 0")
    strike(page, "r")
    expect(said).to_have_text(f"{HELD} 1")
    press("z")
    expect(said).to_have_text(f"{HELD} 0")
    expect(page.locator("#current")).to_be_focused()
    press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("Reject")
    press("r")
    press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator("h1")).to_have_text("2 wait for a decision")
    strike(page, "g", "a")
    expect(page.locator("#deliveries")).to_be_visible()
    tab_to(page, page.locator(".who summary"))
    press("Enter")
    tab_to(page, page.get_by_role("button", name="Sign out", exact=True))
    press("Enter")
    page.wait_for_url("**/sign-in**")
    expect(page.get_by_role("status")).to_contain_text("signed out")


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until an element has the focus, which must always be somewhere visible."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if wanted.evaluate("one => one === document.activeElement"):
            return
        assert page.evaluate("document.activeElement.checkVisibility()")
    pytest.fail("Tab does not lead there")


def test_both_processes_answer(dashboard: Dashboard, application: str) -> None:
    """Each of the two processes serves pages and accepts forms, so that all of these tests depend on both."""
    key = dashboard.key(application)
    eventually(
        lambda: (
            dashboard.service.ask("POST", "/sign-in", data={"key": key}, allow_redirects=False)
            and all(dashboard.requests_by_worker())
        )
    )
    assert len(dashboard.requests_by_worker()) == 2
