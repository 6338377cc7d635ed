"""Votes over slow and failing networks: nothing is lost, and nothing is stored twice."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, expect

from hosts.browser.visits import AUTHOR, Answer, Held, Visit, cut, lose, status

pytestmark = pytest.mark.slow

_TEMPORARY: dict[str, Answer] = {
    "cut": cut,
    "lost after the write": lose,
    "500": status(500),
    "502 of a proxy": status(502, body="<h1>Bad Gateway</h1>", kind="text/html"),
    "408": status(408),
    "200 of a captive portal": status(200, body="<h1>Sign in to the WLAN</h1>", kind="text/html"),
    "503 at once": status(503, Retry_After="0"),
}


def _stored_once(visit: Visit, rating: str, comment: str = "", tags: tuple[str, ...] = ()) -> None:
    """One entry is stored, without revisions, and all requests for it had the same key."""
    visit.stores(rating, comment, tags)
    (only,) = visit.everything()
    assert only.version == 1
    assert len(set(visit.keys())) == 1


@pytest.mark.parametrize("failure", _TEMPORARY.values(), ids=_TEMPORARY)
def test_a_vote_is_sent_again(visit: Visit, failure: Answer) -> None:
    """A failed vote goes back, is sent again with the same key, and is stored exactly once."""
    visit.answer(failure)
    widget = visit.open()
    widget.up.click()
    expect(widget.message).to_contain_text("Not saved.")
    widget.shows(None)
    visit.later(1)
    widget.says("Thanks")
    widget.shows("up")
    assert len(visit.sent()) == 2
    _stored_once(visit, "up")


@pytest.mark.parametrize("failure", [cut, lose, status(500)], ids=["cut", "lost after the write", "500"])
def test_words_stay_until_they_are_stored(visit: Visit, failure: Answer) -> None:
    """While words are sent again, they stay in the panel. They are stored exactly once."""
    visit.answer(failure, failure)
    widget = visit.open()
    widget.down.click()
    widget.reason("wrong").click()
    widget.input.fill("Not my flight")
    widget.send.click()
    expect(widget.note).to_have_text("Not sent. Trying again in 1 s")
    expect(widget.element).to_have_attribute("data-state", "open failed")
    visit.later(1)
    expect(widget.note).to_have_text("Not sent. Trying again in 4 s")
    expect(widget.input).to_have_value("Not my flight")
    visit.later(1)
    expect(widget.note).to_have_text("Not sent. Trying again in 3 s")
    visit.later(3)
    widget.says("Sent. Thank you")
    widget.is_open(False)
    _stored_once(visit, "down", "Not my flight", ("wrong",))


def test_it_gives_up_after_four_attempts(visit: Visit) -> None:
    """After 1, 4 and 15 seconds nothing more is sent until the person asks for it."""
    visit.answer(cut, cut, cut, lose)
    widget = visit.open()
    widget.up.click()
    for seconds in (1, 4, 15):
        widget.says(f"Not saved. Trying again in {seconds} s")
        visit.later(seconds)
    widget.says("Not saved.")
    widget.shows(None)
    visit.later(600)
    assert len(visit.sent()) == 4
    widget.link("Try again").click()
    widget.says("Thanks")
    _stored_once(visit, "up")


def test_the_panel_offers_to_try_again(visit: Visit) -> None:
    """When words could not be sent, its button says so, and sends them again with the same key."""
    visit.answer(cut, cut, cut, cut)
    widget = visit.open()
    widget.down.click()
    widget.input.fill("Not my flight")
    widget.send.click()
    for seconds in (1, 4, 15):
        expect(widget.note).to_have_text(f"Not sent. Trying again in {seconds} s")
        visit.later(seconds)
    expect(widget.note).to_have_text("Not sent.")
    expect(widget.send).to_have_text("Try again")
    widget.send.click()
    widget.says("Sent. Thank you")
    _stored_once(visit, "down", "Not my flight")


def test_taking_back_is_sent_again(visit: Visit) -> None:
    """A withdrawal that fails puts the thumb back, and is sent again."""
    visit.hk.vote(visit.session, "up", author=AUTHOR, message_id="m")
    visit.answer(cut, method="DELETE")
    widget = visit.open()
    widget.up.click()
    widget.says("Not saved. Trying again in 1 s")
    widget.shows("up")
    visit.later(1)
    widget.says("Taken back")
    visit.stores(None)


def test_it_waits_as_long_as_the_server_asks(visit: Visit) -> None:
    """After 429, the vote stays shown, the seconds are counted down, and it is saved then."""
    visit.answer(status(429, Retry_After="9"))
    widget = visit.open()
    widget.up.click()
    widget.says("A moment, please. Saving in 9 s")
    widget.shows("up")
    visit.later(1)
    widget.says("A moment, please. Saving in 8 s")
    visit.later(7.9)
    assert len(visit.sent()) == 1
    visit.later(0.1)
    widget.says("Thanks")
    _stored_once(visit, "up")


def test_a_slow_server_is_given_fifteen_seconds(visit: Visit) -> None:
    """A request without a response is given up and sent again with the same key. A late first one changes nothing."""
    held = Held(visit)
    visit.answer(held)
    widget = visit.open()
    widget.up.click()
    held.wait()
    visit.later(14.9)
    widget.shows("up")
    visit.later(0.1)
    widget.says("Not saved. Trying again in 1 s")
    visit.later(1)
    widget.says("Thanks")
    _stored_once(visit, "up")


@pytest.mark.parametrize("code", [400, 404, 409, 413, 422])
def test_a_refusal_is_not_sent_again(visit: Visit, code: int) -> None:
    """What the server refuses for good is reported at once."""
    visit.answer(status(code))
    widget = visit.open()
    widget.up.click()
    widget.says("Not saved.")
    widget.shows(None)
    expect(widget.link("Try again")).to_be_visible()
    visit.later(600)
    assert len(visit.sent()) == 1


def test_a_request_in_progress_is_waited_for(visit: Visit) -> None:
    """If the first attempt is still being handled, the answer names a time to wait."""
    visit.answer(cut, status(409, {"status": 409, "detail": "In progress"}, Retry_After="2"))
    widget = visit.open()
    widget.up.click()
    widget.says("Not saved. Trying again in 1 s")
    visit.later(1)
    widget.says("Not saved. Trying again in 2 s")
    visit.later(2)
    widget.says("Thanks")
    _stored_once(visit, "up")


def test_violations_are_shown_at_the_words(visit: Visit) -> None:
    """What is wrong with the words is shown at the field, which gets the focus; they can be corrected and sent."""
    widget = visit.open()
    widget.down.click()
    widget.send.click()
    expect(widget.error).to_have_text("Pick a reason or write a few words, so that we can fix it")
    expect(widget.error).to_have_attribute("role", "alert")
    expect(widget.input).to_have_attribute("aria-invalid", "true")
    expect(widget.input).to_have_attribute("aria-describedby", "error")
    assert widget.has_focus() == "input"
    widget.input.fill("Not my flight")
    expect(widget.error).to_be_hidden()
    expect(widget.input).to_have_attribute("aria-invalid", "false")
    widget.send.click()
    widget.says("Sent. Thank you")
    visit.stores("down", "Not my flight")


def test_a_vote_waits_until_the_browser_is_online(visit: Visit, context: BrowserContext) -> None:
    """Offline, the thumb stays pressed, nothing is sent, and the vote is sent when the network is back."""
    widget = visit.open()
    context.set_offline(True)
    widget.up.click()
    widget.says("You are offline. We send it later")
    widget.shows("up")
    visit.later(3600)
    assert len(visit.sent()) == 1
    context.set_offline(False)
    widget.says("Thanks")
    _stored_once(visit, "up")


def test_the_network_coming_back_ends_the_wait(visit: Visit, context: BrowserContext) -> None:
    """A vote that waits for its next attempt is sent as soon as the browser is online again."""
    visit.answer(cut)
    widget = visit.open()
    widget.up.click()
    widget.says("Not saved. Trying again in 1 s")
    context.set_offline(True)
    context.set_offline(False)
    widget.says("Thanks")
    _stored_once(visit, "up")


@pytest.mark.parametrize("failure", [cut, lose], ids=["cut", "lost after the write"])
@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
def test_a_vote_survives_a_reload(visit: Visit, failure: Answer, down: bool) -> None:
    """A vote that was not confirmed before the page was left is sent again, unless it was stored; it is stored once."""
    visit.answer(failure)
    widget = visit.open()
    if down:
        widget.down.click()
        widget.input.fill("Not my flight")
        widget.send.click()
        expect(widget.note).to_contain_text("Not sent.")
    else:
        widget.up.click()
        expect(widget.message).to_contain_text("Not saved.")
    widget = visit.reload()
    rating, comment = ("down", "Not my flight") if down else ("up", "")
    widget.shows(rating)
    widget.says("Thanks" if failure is cut else f"You said: {'not ' * down}helpful.")
    _stored_once(visit, rating, comment)
    widget = visit.reload()
    widget.shows(rating)
    assert len(visit.sent()) == (2 if failure is cut else 1)
    assert visit.page.evaluate("sessionStorage.length") == 0


def test_votes_that_cannot_be_loaded_do_not_disable_voting(visit: Visit) -> None:
    """If earlier votes are not available, the widget is quiet, and new votes are stored."""
    visit.page.route("**/votes", status(500))
    widget = visit.open()
    widget.says("")
    widget.up.click()
    widget.says("Thanks")
    visit.stores("up")


def test_the_page_is_informed_of_failures(visit: Visit) -> None:
    """``harken-failed`` says what happened and whether it is tried again; the page may show a message of its own."""
    visit.answer(status(503, {"status": 503, "title": "Busy"}), status(409, {"status": 409, "title": "Conflict"}))
    widget = visit.open()
    visit.page.evaluate(
        """() => addEventListener('harken-failed', (event) => {
            (window.failures ??= []).push(event.detail);
            event.preventDefault();
        })"""
    )
    widget.up.click()
    expect(widget.element).to_have_attribute("data-state", "failed")
    widget.says("")
    visit.later(1)
    visit.page.wait_for_function("window.failures.length === 2")
    first, second = visit.page.evaluate("window.failures")
    assert first == {"status": 503, "problem": {"status": 503, "title": "Busy"}, "attempt": 1, "willRetry": True}
    assert (second["status"], second["problem"]["title"], second["willRetry"]) == (409, "Conflict", False)
    widget.says("")


def test_leaving_the_page_does_not_lose_a_click(visit: Visit) -> None:
    """A vote right before a navigation reaches the server, as its request outlives the page."""
    widget = visit.open()
    elsewhere = visit.site.show("<!doctype html><title>Elsewhere</title>")
    widget.up.evaluate("(one, url) => { one.click(); location.href = url; }", elsewhere)
    visit.page.wait_for_url(elsewhere)
    visit.stores("up")
