"""The widget without a mouse, and with the keyboard shortcuts of the page around it."""

from __future__ import annotations

from typing import Final

import pytest
from playwright.sync_api import expect

from hosts.browser.visits import Held, Visit

pytestmark = pytest.mark.slow

#: A page with shortcuts, which counts the keys that reach them.
_SHORTCUTS: Final = """() => {
    window.keys = [];
    for (const type of ['keydown', 'keypress', 'keyup']) addEventListener(type, (event) => keys.push(event.key));
}"""


def test_everything_works_with_the_keyboard(visit: Visit) -> None:
    """From the first Tab to Undo, without a mouse; the focus is never lost and never trapped."""
    visit.open('<a href="#before" id="before">Before</a>', visit.widget(), '<a href="#after" id="after">After</a>')
    widget = visit.on("m")
    press = visit.page.keyboard.press
    visit.page.locator("#before").focus()
    press("Tab")
    assert widget.has_focus() == "thumb up"
    press("Space")
    widget.says("Thanks")
    press("Tab")
    assert widget.has_focus() == "thumb down"
    press("Enter")
    assert widget.has_focus() == "reason"
    press("Space")
    expect(widget.reason("wrong")).to_have_attribute("aria-pressed", "true")
    for _ in range(5):
        press("Tab")
    assert widget.has_focus() == "input"
    visit.page.keyboard.type("Not my flight")
    press("Enter")
    visit.page.keyboard.type("or day")
    press("Tab")
    assert widget.has_focus() == "send"
    press("Enter")
    widget.says("Sent. Thank you")
    assert widget.has_focus() == "thumb down"
    visit.stores("down", "Not my flight\nor day", ["wrong"])
    press("Enter")
    widget.says("Taken back")
    visit.stores(None)
    press("Tab")
    assert widget.has_focus() == "link"
    press("Enter")
    widget.says("Thanks")
    assert widget.has_focus() == "thumb down"
    visit.stores("down", "Not my flight\nor day", ["wrong"])
    press("Tab")
    expect(visit.page.locator("#after")).to_be_focused()
    press("Shift+Tab")
    assert widget.has_focus() == "thumb down"


@pytest.mark.parametrize("place", ["reason", "input", "send", "close"])
def test_escape_returns_to_the_thumb(visit: Visit, place: str) -> None:
    """Escape closes the panel from everywhere in it, and the focus returns to the thumb that opened it."""
    widget = visit.open()
    widget.down.click()
    visit.page.locator(f"harken-feedback .{place}").first.press("Escape")
    widget.is_open(False)
    assert widget.has_focus() == "thumb down"
    widget.shows(None)


def test_a_key_that_is_held_down_sends_only(visit: Visit) -> None:
    """People who hold keys for long do not take back with the same key press what it has just sent."""
    widget = visit.open()
    widget.down.click()
    widget.reason("wrong").click()
    widget.send.focus()
    visit.page.keyboard.down("Enter")
    widget.says("Sent. Thank you")
    assert widget.has_focus() == "thumb down"
    visit.page.keyboard.down("Enter")
    visit.page.keyboard.up("Enter")
    widget.says("Sent. Thank you")
    visit.stores("down", tags=["wrong"])


def test_focus_stays_where_the_person_is(visit: Visit) -> None:
    """A vote that is stored while the person is elsewhere in the page does not take the focus."""
    widget = visit.open(visit.widget(), '<input aria-label="Message" id="elsewhere">')
    widget.down.click()
    widget.reason("wrong").click()
    held = Held(visit)
    visit.answer(held)
    widget.send.click()
    visit.page.locator("#elsewhere").focus()
    held.release()
    widget.says("Sent. Thank you")
    expect(visit.page.locator("#elsewhere")).to_be_focused()


def test_shortcuts_of_the_page_do_not_react_to_writing(visit: Visit) -> None:
    """What is typed in the panel does not reach the page, and what is typed elsewhere is not taken from it."""
    widget = visit.open()
    visit.page.evaluate(_SHORTCUTS)
    widget.down.click()
    widget.input.press_sequentially("jk?")
    widget.input.press("Escape")
    assert visit.page.evaluate("keys") == []
    widget.up.press("j")
    visit.page.keyboard.press("Escape")
    assert visit.page.evaluate("keys") == ["j", "j", "j", "Escape", "Escape"]


def test_keys_of_an_input_method_are_not_commands(visit: Visit) -> None:
    """Escape and Enter that belong to an input method neither close the panel nor send."""
    widget = visit.open()
    widget.down.click()
    widget.input.fill("にほん")
    for key in ("Escape", "Enter"):
        widget.input.dispatch_event("keydown", {"key": key, "ctrlKey": True, "isComposing": True})
    widget.is_open()
    assert visit.sent() == []
