"""Session tokens that end while a page is open."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pytest
from playwright.sync_api import expect

from harken_adapters.tokens import InvalidToken, SessionTokens
from hosts.browser.visits import SECRET, Visit
from support import eventually

pytestmark = pytest.mark.slow

CLOSED: Final = "Feedback is closed for this chat"
#: A page that answers each request for a token, and counts them.
_PROVIDES: Final = """(token) => addEventListener('harken-token', (event) => {
    (window.asked ??= []).push(event.detail.expired);
    event.detail.provide(Promise.resolve(token));
})"""


def _has_expired(token: str) -> bool:
    try:
        SessionTokens([SECRET]).read(token)
    except InvalidToken:
        return True
    return False


def test_a_token_that_expires_in_the_middle_is_renewed(visit: Visit) -> None:
    """The page is asked for a token when the server refuses the old one, and the vote is stored without a new click."""
    short = visit.token(lifetime=timedelta(seconds=1))
    widget = visit.open(visit.widget(token=short))
    visit.page.evaluate(_PROVIDES, visit.token())
    widget.down.click()
    widget.input.fill("Not my flight")
    eventually(lambda: _has_expired(short))
    widget.send.click()
    widget.says("Sent. Thank you")
    visit.stores("down", "Not my flight")
    assert visit.page.evaluate("window.asked") == [True]
    assert len(set(visit.keys())) == 1


def test_all_widgets_ask_once(visit: Visit) -> None:
    """The page is asked once for all widgets of a session, and their later requests have the new token."""
    expired = visit.token(age=timedelta(hours=2))
    visit.page.add_init_script(f"({_PROVIDES})({visit.token()!r})")
    visit.open(*(visit.widget(str(number), token=expired) for number in range(3)))
    for number in range(3):
        visit.on(str(number)).up.click()
        visit.stores("up", message=str(number))
    assert visit.page.evaluate("window.asked") == [True]


def test_a_page_may_set_the_token(visit: Visit) -> None:
    """Instead of providing a token, the page may set the property of the widget that asks."""
    expired = visit.token(age=timedelta(hours=2))
    visit.page.add_init_script(
        f"addEventListener('harken-token', (event) => {{ event.target.token = {visit.token()!r}; }})"
    )
    widget = visit.open(visit.widget(token=expired))
    widget.up.click()
    widget.says("Thanks")
    visit.stores("up")
    assert visit.token() not in visit.page.content()


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "event.detail.provide(undefined)",
        "event.detail.provide(Promise.reject(new Error('Signed out')))",
        "event.detail.provide('not a token')",
    ],
    ids=["nothing", "undefined", "a rejection", "an invalid token"],
)
def test_without_a_new_token_it_closes(visit: Visit, answer: str) -> None:
    """Without a valid token, feedback is closed: the thumbs do nothing. A token that is set later opens it again."""
    visit.page.add_init_script(f"addEventListener('harken-token', (event) => {{ {answer} }})")
    widget = visit.open(visit.widget(token=visit.token(age=timedelta(hours=2))))
    widget.says(CLOSED)
    expect(widget.up).to_have_attribute("aria-disabled", "true")
    widget.up.click(force=True)
    widget.down.click(force=True)
    widget.shows(None)
    widget.is_open(False)
    assert visit.sent() == []
    widget.element.evaluate("(one, token) => { one.token = token; }", visit.token())
    widget.says("")
    expect(widget.up).to_have_attribute("aria-disabled", "false")
    widget.up.click()
    widget.says("Thanks")
    visit.stores("up")


def test_words_survive_a_token_that_is_not_renewed(visit: Visit) -> None:
    """Words that the server refused because the token has ended are sent when the page has a new one."""
    short = visit.token(lifetime=timedelta(seconds=1))
    widget = visit.open(visit.widget(token=short))
    widget.down.click()
    widget.input.fill("Not my flight")
    eventually(lambda: _has_expired(short))
    widget.send.click()
    widget.says(CLOSED)
    visit.stores(None)
    widget.element.evaluate("(one, token) => one.setAttribute('token', token)", visit.token())
    widget.says("Thanks")
    widget.shows("down")
    visit.stores("down", "Not my flight")
    assert len(set(visit.keys())) == 1


def test_a_new_token_does_not_interrupt_writing(visit: Visit) -> None:
    """A page that renews its tokens early does not close the panel or move the caret."""
    widget = visit.open()
    widget.down.click()
    widget.input.press_sequentially("Not")
    widget.element.evaluate("(one, token) => one.setAttribute('token', token)", visit.token(age=timedelta(minutes=-1)))
    visit.settle()
    widget.is_open()
    visit.page.keyboard.type(" my flight")
    expect(widget.input).to_have_value("Not my flight")
