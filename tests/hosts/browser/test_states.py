"""The states of the widget, and what leads from one to another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from attrs import frozen
from playwright.sync_api import expect

from hosts.browser.visits import AUTHOR, Held, Visit, Widget, status
from support import eventually

pytestmark = pytest.mark.slow

NEEDED: Final = "Pick a reason or write a few words, so that we can fix it"
ACTIONS: Final[dict[str, Callable[[Widget], None]]] = {
    "nothing": lambda widget: None,
    "up": lambda widget: widget.up.click(),
    "down": lambda widget: widget.down.click(),
    "wrong": lambda widget: widget.reason("wrong").click(),
    "slow": lambda widget: widget.reason("slow").click(),
    "words": lambda widget: widget.input.fill("  Not my flight  "),
    "send": lambda widget: widget.send.click(),
    "ctrl+enter": lambda widget: widget.input.press("Control+Enter"),
    "cmd+enter": lambda widget: widget.input.press("Meta+Enter"),
    "needed": lambda widget: expect(widget.error).to_have_text(NEEDED),
    "not now": lambda widget: widget.close.click(),
    "escape": lambda widget: widget.input.press("Escape"),
    "undo": lambda widget: widget.link("Undo").click(),
    "saved": lambda widget: widget.says("Thanks"),
    "sent": lambda widget: widget.says("Sent. Thank you"),
    "removed": lambda widget: widget.says("Taken back"),
}


@frozen
class Path:
    """Actions, and the state that they lead to."""

    actions: str
    shows: str | None
    says: str = ""
    opens: bool = False
    stores: str | None = None
    comment: str = ""
    tags: tuple[str, ...] = ()


WORDS: Final = "Not my flight"
PATHS: Final = (
    Path("nothing", None),
    Path("up", "up", "Thanks", stores="up"),
    Path("up saved up", None, "Taken back"),
    Path("up saved up removed undo", "up", "Thanks", stores="up"),
    Path("up saved up removed up", "up", "Thanks", stores="up"),
    Path("down", "down", opens=True),
    Path("down escape", None),
    Path("down not-now", None),
    Path("down down", None),
    Path("down wrong words escape", None),
    Path("down wrong send", "down", "Sent. Thank you", stores="down", tags=("wrong",)),
    Path("down wrong slow wrong send", "down", "Sent. Thank you", stores="down", tags=("slow",)),
    Path("down words send", "down", "Sent. Thank you", stores="down", comment=WORDS),
    Path("down wrong words ctrl+enter", "down", "Sent. Thank you", stores="down", comment=WORDS, tags=("wrong",)),
    Path("down words cmd+enter", "down", "Sent. Thank you", stores="down", comment=WORDS),
    Path("down send", "down", NEEDED, opens=True),
    Path("down send wrong send", "down", "Sent. Thank you", stores="down", tags=("wrong",)),
    Path("down send needed escape", None),
    Path("down up", "up", "Thanks", stores="up"),
    Path("down words up", "up", "Thanks", stores="up"),
    Path("down words up saved down", "down", opens=True, stores="up"),
    Path("up saved down", "down", opens=True, stores="up"),
    Path("up saved down escape", "up", stores="up"),
    Path("up saved down down", "up", stores="up"),
    Path("up saved down words send", "down", "Sent. Thank you", stores="down", comment=WORDS),
    Path("down wrong send sent up", "up", "Thanks", stores="up"),
    Path("down wrong send sent down", None, "Taken back"),
    Path(
        "down wrong words send sent down removed undo",
        "down",
        "Thanks",
        stores="down",
        comment=WORDS,
        tags=("wrong",),
    ),
)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.actions)
def test_a_state_is_reached(visit: Visit, path: Path) -> None:
    """After each sequence of actions, the thumbs, the panel, the message and the storage agree."""
    widget = visit.open(visit.widget(path.actions))
    for action in path.actions.split():
        ACTIONS[action.replace("-", " ")](widget)
    widget.shows(path.shows)
    widget.is_open(path.opens)
    if path.says == NEEDED:
        expect(widget.error).to_have_text(NEEDED)
    else:
        widget.says(path.says)
    visit.stores(path.stores, path.comment, path.tags, message=path.actions)


def test_messages_disappear(visit: Visit) -> None:
    """Thanks stay for 4 seconds, and the offer to undo for 10, or longer while it has the focus."""
    widget = visit.open()
    widget.up.click()
    widget.says("Thanks")
    visit.later(3.9)
    widget.says("Thanks")
    visit.later(0.2)
    widget.says("")
    widget.up.click()
    widget.says("Taken back")
    visit.later(9.9)
    widget.link("Undo").focus()
    visit.later(10)
    widget.says("Taken back")
    widget.up.focus()
    visit.later(10)
    widget.says("")
    expect(widget.link("Undo")).to_have_count(0)
    visit.stores(None)


def test_a_rejection_after_the_panel_was_closed(visit: Visit) -> None:
    """If the panel is closed before the server rejects the vote, the reason is beside the thumbs; nothing is stored."""
    held = Held(visit)
    visit.answer(held)
    widget = visit.open()
    widget.down.click()
    widget.send.click()
    held.wait()
    widget.input.press("Escape")
    held.release()
    widget.says(NEEDED)
    widget.is_open(False)
    widget.shows(None)
    visit.stores(None)


def test_saving_is_shown_after_400_milliseconds(visit: Visit) -> None:
    """A quick server causes no flicker; for a slow one, the button says so. The focus stays where it is."""
    held = Held(visit)
    visit.answer(held)
    widget = visit.open()
    widget.down.click()
    widget.reason("wrong").click()
    widget.send.click()
    expect(widget.element).to_have_attribute("data-state", "down open saving")
    visit.later(0.399)
    expect(widget.send).to_have_text("Send")
    visit.later(0.001)
    expect(widget.send).to_have_text("Sending…")
    expect(widget.spin).to_be_visible()
    expect(widget.send).to_have_attribute("aria-disabled", "true")
    expect(widget.send).not_to_have_attribute("disabled", "")
    assert widget.has_focus() == "send"
    widget.send.press("Enter")
    held.release()
    widget.says("Sent. Thank you")
    expect(widget.spin).to_have_count(0)
    assert len(visit.sent()) == 1


def test_an_earlier_vote_can_be_changed(visit: Visit) -> None:
    """A vote that is stored is shown on load, its words can be changed, and it stays one entry."""
    visit.hk.vote(visit.session, "down", "Not true", author=AUTHOR, message_id="m", tags=["wrong"])
    widget = visit.open()
    widget.shows("down")
    widget.says("You said: not helpful.")
    widget.link("Change").click()
    widget.is_open()
    expect(widget.input).to_have_value("Not true")
    expect(widget.reason("wrong")).to_have_attribute("aria-pressed", "true")
    widget.reason("slow").click()
    widget.input.fill("Not true, and slow")
    widget.send.click()
    widget.says("Sent. Thank you")
    visit.stores("down", "Not true, and slow", ["wrong", "slow"])
    assert len(visit.everything()) == 1


def test_a_vote_on_the_session_is_one_more_vote(visit: Visit) -> None:
    """Without a message, the vote is about the session as a whole."""
    visit.open(visit.widget(None), visit.widget("m")).up.click()
    visit.stores("up", message=None)
    visit.stores(None, message="m")
    visit.on("m").shows(None)


@pytest.mark.parametrize("reloads", [False, True], ids=["after closing", "after a reload"])
def test_words_are_kept_until_they_are_sent(visit: Visit, reloads: bool) -> None:
    """Words and reasons come back when the panel opens again, for this message only, and are gone once sent."""
    widget = visit.open(visit.widget("m"), visit.widget("other"))
    widget.down.click()
    widget.reason("unclear").click()
    widget.input.fill("Half a sent")
    if reloads:
        widget = visit.reload()
        widget.is_open(False)
    else:
        widget.close.click()
    widget.shows(None)
    widget.down.click()
    expect(widget.input).to_have_value("Half a sent")
    expect(widget.reason("unclear")).to_have_attribute("aria-pressed", "true")
    visit.on("other").down.click()
    expect(visit.on("other").input).to_have_value("")
    widget.send.click()
    widget.says("Sent. Thank you")
    visit.stores("down", "Half a sent", ["unclear"])
    assert "Half" not in visit.page.evaluate("JSON.stringify(sessionStorage)")


def test_words_are_kept_when_the_thumb_changes(visit: Visit) -> None:
    """Words that are not sent stay when the other thumb is pressed, and come back with the panel."""
    widget = visit.open()
    widget.down.click()
    widget.input.fill("Half a sentence")
    widget.up.click()
    widget.says("Thanks")
    visit.stores("up")
    widget.down.click()
    expect(widget.input).to_have_value("Half a sentence")


def test_two_widgets_of_one_message_agree(visit: Visit) -> None:
    """A vote on one of them is shown by both, and panels and messages are those of each."""
    first = visit.open(visit.widget("m", id="first"), visit.widget("m", id="second"))
    second = Widget(visit.page.locator("#second"))
    first.up.click()
    first.says("Thanks")
    second.shows("up")
    second.says("")
    second.down.click()
    second.shows("down")
    first.shows("up")
    first.is_open(False)
    second.reason("wrong").click()
    second.send.click()
    second.says("Sent. Thank you")
    first.shows("down")
    first.down.click()
    first.says("Taken back")
    second.shows(None)
    visit.stores(None)
    assert len(visit.everything()) == 1


def test_the_last_of_many_votes_wins(visit: Visit) -> None:
    """Up, down and up again while the server is slow: requests do not overtake each other, and the last is stored."""
    held = Held(visit)
    visit.answer(held)
    widget = visit.open()
    widget.up.click()
    widget.down.click()
    widget.reason("wrong").click()
    widget.send.click()
    widget.shows("down")
    widget.up.click()
    widget.shows("up")
    assert len(visit.sent()) == 1
    held.release()
    widget.says("Thanks")
    widget.shows("up")
    visit.stores("up")
    assert len(visit.everything()) == 1
    assert len(set(visit.keys())) == len(visit.keys())


@pytest.mark.parametrize("presses", [2, 3, 5, 6])
def test_pressing_quickly_ends_as_shown(visit: Visit, presses: int) -> None:
    """An odd number of presses on one thumb leaves a vote, an even number none, however slow the server is."""
    held = Held(visit)
    visit.answer(held)
    widget = visit.open()
    for _ in range(presses):
        widget.up.click()
    held.release()
    rating = "up" if presses % 2 else None
    widget.says("Thanks" if rating else "Taken back")
    widget.shows(rating)
    visit.stores(rating)


def test_a_reply_is_shown(visit: Visit) -> None:
    """The reply of a rule is shown under the thumbs, and after a reload on request."""
    widget = visit.open()
    widget.down.click()
    widget.reason("slow").click()
    widget.send.click()
    expect(widget.reply).to_have_text("We are making it faster.")
    expect(widget.reply).to_have_attribute("role", "status")
    widget = visit.reload()
    expect(widget.reply).to_be_hidden()
    widget.link("Show reply").click()
    expect(widget.reply).to_have_text("We are making it faster.")


@pytest.mark.parametrize("waits", [(3,), (3, 7)], ids=["after 3 s", "after 10 s"])
def test_a_later_reply_is_asked_for(visit: Visit, waits: tuple[float, ...]) -> None:
    """A reply that is written after the vote was stored is asked for after 3 and 10 seconds."""
    widget = visit.open()
    widget.down.click()
    widget.reason("wrong").click()
    widget.send.click()
    widget.says("Sent. Thank you")
    for wait in waits[:-1]:
        visit.later(wait)
        visit.settle()
    stored = visit.stored()
    assert stored
    visit.hk.collection.reply(stored.application, stored.id, "We have corrected it.")
    visit.later(waits[-1])
    expect(widget.reply).to_have_text("We have corrected it.")


def test_the_state_can_be_styled(visit: Visit) -> None:
    """The state is an attribute and a custom state, so that a style sheet of the page can use it."""
    widget = visit.open()
    states = ("up", "down", "open", "saving", "failed")
    matching = f"(one) => {list(states)}.filter((name) => one.matches(`:state(${{name}})`)).join(' ')"
    for thumb, expected in ((widget.down, "down open"), (widget.up, "up")):
        thumb.click()
        expect(widget.element).to_have_attribute("data-state", expected)
        assert widget.element.evaluate(matching) == expected


def test_the_panel_can_be_used_while_an_earlier_vote_is_sent(visit: Visit) -> None:
    """The outcome of a thumbs-up that is still being sent neither closes nor resets the panel of the thumbs-down."""
    held = Held(visit)
    visit.answer(held)
    widget = visit.open()
    widget.up.click()
    widget.down.click()
    widget.input.fill("Not my")
    held.release()
    visit.stores("up")
    visit.settle()
    widget.is_open()
    widget.shows("down")
    expect(widget.note).to_have_text("")
    visit.page.keyboard.type(" flight")
    widget.send.click()
    widget.says("Sent. Thank you")
    visit.stores("down", "Not my flight")


def test_an_earlier_vote_that_fails_does_not_reset_the_panel(visit: Visit) -> None:
    """If a thumbs-up fails while the panel of the thumbs-down is open, the panel stays, and says which one failed."""
    visit.answer(status(422))
    widget = visit.open()
    widget.down.click()
    widget.element.evaluate("(one) => one.submit({ rating: 'up' })")
    expect(widget.note).to_have_text("Not saved.")
    widget.shows("down")
    expect(widget.send).to_have_text("Send")
    widget.link("Try again").click()
    visit.stores("up")
    widget.is_open()


def test_a_widget_gives_way_to_another_of_its_message(visit: Visit) -> None:
    """While one widget waits for its next attempt, a vote in another one of the same message ends that."""
    visit.answer(status(500))
    first = visit.open(visit.widget("m", id="first"), visit.widget("m", id="second"))
    second = Widget(visit.page.locator("#second"))
    first.up.click()
    first.says("Not saved. Trying again in 1 s")
    second.down.click()
    second.reason("wrong").click()
    second.send.click()
    second.says("Sent. Thank you")
    first.says("")
    expect(first.element).to_have_attribute("data-state", "down")
    visit.later(60)
    visit.stores("down", tags=["wrong"])


def test_votes_that_arrive_late_do_not_bring_back_what_was_taken_back(visit: Visit) -> None:
    """A slow response with the votes does not overwrite a vote that was taken back after it was asked for."""
    widget = visit.open()
    widget.down.click()
    widget.reason("wrong").click()
    widget.send.click()
    widget.says("Sent. Thank you")
    late = []
    visit.page.route("**/votes", lambda route: late.append((route, route.fetch())))
    visit.later(3)
    eventually(lambda: visit.tick() or late)
    widget.down.click()
    widget.says("Taken back")
    ((route, response),) = late
    route.fulfill(response=response)
    visit.settle()
    widget.shows(None)
    visit.stores(None)
