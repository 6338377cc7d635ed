"""The attributes, events, properties and methods of the element."""

from __future__ import annotations

from typing import Any, Final

import pytest
from playwright.sync_api import expect

from hosts.browser.conftest import ONE_STORAGE
from hosts.browser.visits import AUTHOR, Visit, Widget

pytestmark = [pytest.mark.slow, ONE_STORAGE]

_RECORD: Final = """() => {
    window.events = [];
    for (const type of ['vote', 'saved', 'removed', 'failed', 'open', 'close', 'token']) {
        document.addEventListener(`harken-${type}`, ({ detail, composed }) => events.push([type, detail, composed]));
    }
}"""


def _events(visit: Visit) -> list[Any]:
    recorded = visit.page.evaluate("events.splice(0)")
    assert all(composed for _, _, composed in recorded)
    return [(kind, detail) for kind, detail, _ in recorded]


def _reasons(widget: Widget) -> list[str]:
    return widget.element.locator(".reason").all_text_contents()


# --- Attributes -------------------------------------------------------------------------------------------------------


def test_reasons(visit: Visit) -> None:
    """``reasons`` replaces the five, with or without labels; an empty one leaves them out."""
    visit.open(
        visit.widget("default"),
        visit.widget("own", reasons="rude:Not polite, slow , price:Costs 5 €: too much"),
        visit.widget("none", reasons=""),
    )
    for message in ("default", "own", "none"):
        visit.on(message).down.click()
    shown = {message: _reasons(visit.on(message)) for message in ("default", "own", "none")}
    assert shown["default"] == ["Not true", "Incomplete", "Too slow", "Hard to follow", "Something else"]
    assert shown["own"][:2] == ["Not polite", "Too slow"]
    assert shown["none"] == []
    expect(visit.on("none").reasons).to_be_hidden()
    assert visit.on("none").has_focus() == "input"
    visit.on("own").reason("rude").click()
    visit.on("own").send.click()
    visit.stores("down", tags=["rude"], message="own")


def test_comments_can_be_required_or_left_out(visit: Visit) -> None:
    """``comment`` decides about the field: without it, reasons only; ``required`` asks for words also with a reason."""
    visit.open(visit.widget("off", comment="off"), visit.widget("required", comment="required"))
    off, required = visit.on("off"), visit.on("required")
    off.down.click()
    expect(off.input).to_have_count(0)
    off.send.click()
    expect(off.error).to_have_text("Pick a reason or write a few words, so that we can fix it")
    off.reason("wrong").click()
    off.send.click()
    visit.stores("down", tags=["wrong"], message="off")
    required.down.click()
    required.reason("wrong").click()
    required.send.click()
    expect(required.error).to_be_visible()
    assert not any("required" in request.url for request in visit.sent())
    required.input.fill("Not my flight")
    required.send.click()
    visit.stores("down", "Not my flight", ["wrong"], message="required")


def test_asking_for_words_for_both_thumbs(visit: Visit) -> None:
    """With ``ask="both"``, a thumbs-up is saved at once, and its panel stays open for words."""
    widget = visit.open(visit.widget(ask="both"))
    widget.up.click()
    visit.stores("up")
    visit.settle()
    widget.is_open()
    expect(widget.title).not_to_have_text("What went wrong?")
    expect(widget.reasons).to_be_hidden()
    widget.input.fill("Quick and right")
    widget.send.click()
    widget.says("Sent. Thank you")
    widget.is_open(False)
    visit.stores("up", "Quick and right")
    assert len(visit.everything()) == 1


def test_asking_for_no_words(visit: Visit) -> None:
    """With ``ask="none"``, a thumbs-down is sent at once; where the rule needs more, that is said beside the thumbs."""
    widget = visit.open(visit.widget(ask="none"))
    widget.up.click()
    widget.says("Thanks")
    widget.down.click()
    widget.is_open(False)
    expect(widget.message).to_have_text("Pick a reason or write a few words, so that we can fix it")
    widget.shows("up")
    visit.stores("up")


def test_disabled_and_readonly(visit: Visit) -> None:
    """Neither accepts votes; ``readonly`` shows the stored one. Both are states of the buttons, not missing buttons."""
    for message in ("disabled", "readonly"):
        visit.hk.vote(visit.session, "up", author=AUTHOR, message_id=message)
    visit.open(visit.widget("disabled", disabled=True), visit.widget("readonly", readonly=True))
    for message, shown in (("disabled", None), ("readonly", "up")):
        widget = visit.on(message)
        widget.shows(shown)
        expect(widget.down).to_have_attribute("aria-disabled", "true")
        widget.down.click(force=True)
        widget.up.click(force=True)
        widget.element.evaluate("(one) => one.open()")
        widget.is_open(False)
        widget.shows(shown)
        visit.stores("up", message=message)
    visit.on("disabled").element.evaluate("(one) => one.removeAttribute('disabled')")
    visit.on("disabled").shows("up")
    visit.on("disabled").up.click()
    visit.stores(None, message="disabled")


def test_agent_and_context_are_stored(visit: Visit) -> None:
    """The feedback has the agent and the context of the attributes. An invalid context is reported, and not sent."""
    visit.open(
        visit.widget("m", agent="skylark", context='{"plan": "pro", "seats": 3}'),
        visit.widget("broken", context="{plan}"),
    )
    for message in ("m", "broken"):
        visit.on(message).up.click()
        visit.on(message).says("Thanks")
    stored = visit.stored()
    assert stored
    assert (stored.agent_id, dict(stored.context)) == ("skylark", {"plan": "pro", "seats": 3})
    assert [problem for problem in visit.problems if "is not valid JSON" in problem] == visit.problems != []
    visit.problems.clear()


def test_remaining_characters(visit: Visit) -> None:
    """From the last 100 on, the remaining characters are shown, and no more than 1,000 can be written."""
    widget = visit.open()
    widget.down.click()
    widget.input.fill("x" * 899)
    expect(widget.left).to_have_text("")
    widget.input.fill("x" * 900)
    expect(widget.left).to_have_text("100")
    widget.input.fill("x" * 998)
    visit.page.keyboard.type("yyyyy")
    expect(widget.left).to_have_text("0")
    widget.send.click()
    widget.says("Sent. Thank you")
    visit.stores("down", "x" * 998 + "yy")


def test_odd_ids(visit: Visit) -> None:
    """Sessions and messages with characters that mean something in a URL are themselves."""
    for message in ("a b?c#d", "%2F", "ä€😀", "..x"):
        visit.open(visit.widget(message))
        visit.page.locator("harken-feedback .up").click()
        visit.stores("up", message=message)


# --- Languages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "attributes", "expected"),
    [
        ('lang="de"', {}, "Hilfreich"),
        ('lang="de-AT"', {}, "Hilfreich"),
        ('lang="zh-Hant"', {}, "有帮助"),
        ('lang="en"', {"lang": "fr"}, "Utile"),
        ('lang="xx"', {}, "Helpful"),
        ("", {}, "Helpful"),
    ],
)
def test_the_language_is_inherited(visit: Visit, root: str, attributes: dict[str, object], expected: str) -> None:
    """The nearest ``lang`` decides; languages without texts fall back to English."""
    widget = visit.open(visit.widget(**attributes), root=root)
    expect(widget.up).to_have_accessible_name(expected)


def test_right_to_left(visit: Visit) -> None:
    """In a right-to-left page, the thumbs begin at the right, and words have the direction that they are written in."""
    widget = visit.open(root='lang="ar" dir="rtl"')
    widget.down.click()
    up, down, close = (one.bounding_box() for one in (widget.up, widget.down, widget.close))
    assert up
    assert down
    assert close
    assert up["x"] > down["x"] > close["x"]
    for words, direction in (("Hello", "ltr"), ("مرحبا", "rtl")):
        widget.input.fill(words)
        expect(widget.input).to_have_css("direction", direction)


def test_texts_can_be_replaced(visit: Visit) -> None:
    """A page may add a language for all widgets, and texts for one of them, also while it is shown."""
    visit.open(visit.widget("m", lang="nl"), visit.widget("own", lang="nl"))
    visit.page.evaluate("customElements.get('harken-feedback').texts('nl', { up: 'Nuttig', down: 'Niet nuttig' })")
    expect(visit.on("m").up).to_have_accessible_name("Nuttig")
    visit.on("own").element.evaluate("(one) => { one.texts = { up: 'Top' }; }")
    expect(visit.on("own").up).to_have_accessible_name("Top")
    expect(visit.on("own").down).to_have_accessible_name("Niet nuttig")
    visit.on("own").down.click()
    expect(visit.on("own").close).to_have_accessible_name("Not now")
    expect(visit.on("m").element.locator(".group")).to_have_accessible_name("Was this answer helpful?")


def test_texts_are_replaced_while_somebody_writes(visit: Visit) -> None:
    """A change of the texts or the language does not lose words, reasons or the open panel."""
    widget = visit.open()
    widget.down.click()
    widget.reason("wrong").click()
    widget.input.fill("Not my flight")
    widget.element.evaluate("(one) => one.setAttribute('lang', 'de')")
    expect(widget.send).to_have_text("Senden")
    widget.is_open()
    expect(widget.input).to_have_value("Not my flight")
    expect(widget.reason("wrong")).to_have_attribute("aria-pressed", "true")


# --- Events and methods -----------------------------------------------------------------------------------------------


def test_events(visit: Visit) -> None:
    """The page is informed of everything, before and after it happens, with the values of the documentation."""
    widget = visit.open()
    visit.page.evaluate(_RECORD)
    widget.up.click()
    widget.says("Thanks")
    stored = visit.stored()
    assert stored
    assert _events(visit) == [
        ("vote", {"rating": "up", "previous": None}),
        ("saved", {"rating": "up", "version": 1, "reply": None, "id": stored.id}),
    ]
    widget.down.click()
    widget.reason("slow").click()
    widget.send.click()
    widget.says("Sent. Thank you")
    saved = {"rating": "down", "version": 2, "reply": "We are making it faster.", "id": stored.id}
    assert _events(visit) == [
        ("open", {"rating": "down"}),
        ("vote", {"rating": "down", "previous": "up"}),
        ("close", {"rating": "down"}),
        ("saved", saved),
    ]
    assert widget.element.evaluate("(one) => one.vote.reply") == "We are making it faster."
    widget.down.click()
    widget.says("Taken back")
    assert _events(visit) == [("vote", {"rating": None, "previous": "down"}), ("removed", {"previous": "down"})]
    assert widget.element.evaluate("(one) => one.vote") is None


@pytest.mark.parametrize("kind", ["vote", "open"])
def test_the_page_can_prevent(visit: Visit, kind: str) -> None:
    """A cancelled ``harken-vote`` sends nothing, a cancelled ``harken-open`` leaves room for a panel of the page."""
    widget = visit.open()
    visit.page.evaluate(f"addEventListener('harken-{kind}', (event) => event.preventDefault())")
    (widget.up if kind == "vote" else widget.down).click()
    widget.shows(None)
    widget.is_open(False)
    assert visit.sent() == []
    sent = "(one) => one.submit({ rating: 'down', comment: 'From my own panel', tags: ['own'] })"
    assert widget.element.evaluate(sent) is (kind == "open")
    if kind == "open":
        widget.shows("down")
        visit.stores("down", "From my own panel", ["own"])


def test_methods(visit: Visit) -> None:
    """``open``, ``close`` and ``reset`` do what the thumbs and buttons do; ``reset`` also forgets the words."""
    widget = visit.open()
    call = widget.element.evaluate
    call("(one) => one.open()")
    widget.is_open()
    widget.shows("down")
    widget.input.fill("Not my flight")
    call("(one) => one.close()")
    widget.is_open(False)
    widget.shows(None)
    call("(one) => one.open('down')")
    expect(widget.input).to_have_value("Not my flight")
    call("(one) => one.reset()")
    widget.is_open(False)
    widget.down.click()
    expect(widget.input).to_have_value("")
    assert visit.sent() == []
