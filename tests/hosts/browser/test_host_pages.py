"""Pages that the widget is embedded in: strict policies, other origins, hostile style sheets, many messages."""

from __future__ import annotations

from typing import Final

import pytest
from playwright.sync_api import expect

from harken import Harken
from hosts.browser.conftest import ONE_STORAGE
from hosts.browser.site import Site
from hosts.browser.states import open_every_state
from hosts.browser.visits import AUTHOR, SECRET, Visit, Widget
from hosts.serving import Server, served

pytestmark = [pytest.mark.slow, ONE_STORAGE]

_COUNT_VIOLATIONS: Final = """window.violations = [];
document.addEventListener('securitypolicyviolation', (event) => violations.push(event.violatedDirective));"""
#: A style sheet that resets and breaks everything that it can reach.
_HOSTILE: Final = """
* { all: unset }
button, textarea, svg, span, div, form, label, p { display: none !important; position: fixed !important }
:focus-visible { outline: none !important }
html, body { font: 40px/0.5 monospace; letter-spacing: 1em; word-spacing: 2em; text-transform: uppercase;
  text-indent: 90px; white-space: nowrap; text-align: right; cursor: none; font-variant: small-caps; font-style: italic;
  font-weight: 900; text-shadow: 5px 5px red; user-select: none; -webkit-user-select: none; hyphens: none;
  word-break: break-all; line-break: anywhere; tab-size: 40; list-style: none; pointer-events: auto }
"""


def _vote_everywhere(visit: Visit, widget: Widget) -> None:
    widget.down.click()
    widget.reason("slow").click()
    widget.input.fill("Not my flight")
    widget.send.click()
    expect(widget.reply).to_have_text("We are making it faster.")
    visit.stores("down", "Not my flight", ["slow"])


@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_strict_policy_is_enough(visit: Visit, language: str) -> None:
    """Only ``script-src`` and ``connect-src`` of Harken are needed, without exceptions, also with trusted types."""
    policy = (
        f"default-src 'none'; script-src {visit.server.url}; connect-src {visit.server.url}; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    visit.page.add_init_script(_COUNT_VIOLATIONS)
    parts = {"style": "", "root": f'lang="{language}"', "headers": {"Content-Security-Policy": policy}}
    _vote_everywhere(visit, visit.open(**parts))
    widget = visit.reload()
    widget.links.get_by_role("button").last.click()
    expect(widget.reply).to_be_visible()
    widget.down.click()
    visit.stores(None)
    expect(widget.panel).to_have_css("padding", "12px")
    assert visit.page.evaluate("violations") == []


def test_a_page_of_another_origin_needs_permission(visit: Visit, hk: Harken, site: Site) -> None:
    """Without ``allowed_origins`` the module is loaded, but votes are neither sent nor shown as saved."""
    with served(hk, access="keys", token_secrets=(SECRET,)) as closed:
        visit.server = closed
        visit.page.goto(site.show(visit.html(visit.widget())))
        widget = Widget(visit.page.locator("harken-feedback"))
        widget.up.click()
        expect(widget.message).to_contain_text("Not saved.")
        widget.shows(None)
        visit.stores(None)
        assert all("blocked by CORS policy" in problem for problem in visit.problems)
        visit.problems.clear()


def test_a_page_of_the_same_origin_needs_no_settings(visit: Visit, hk: Harken) -> None:
    """Where Harken is part of the application, ``allowed_origins`` is not needed."""
    with served(hk, access="keys", token_secrets=(SECRET,)) as closed:
        visit.server = closed
        address = f"{closed.url}/chat"
        visit.page.route(
            address, lambda route: route.fulfill(content_type="text/html", body=visit.html(visit.widget()))
        )
        visit.page.goto(address)
        _vote_everywhere(visit, visit.ready())


def test_an_endpoint_may_differ_from_the_module(visit: Visit, hk: Harken, site: Site) -> None:
    """The attribute ``endpoint`` names another Harken than the one that serves the module."""
    with served(hk, access="keys", token_secrets=(SECRET,), allowed_origins=("*",)) as other:
        widget = visit.open(visit.widget(endpoint=f"{other.url}/"))
        widget.up.click()
        widget.says("Thanks")
        assert {request.url.partition("/api/")[0] for request in visit.requests} == {other.url}


def test_no_cookies_are_sent(visit: Visit, server: Server) -> None:
    """Requests have the token, but neither cookies nor the address of the page's path."""
    visit.page.context.add_cookies([{"name": "secret", "value": "1", "url": server.url}])
    visit.open().up.click()
    visit.stores("up")
    for request in visit.requests:
        headers = request.all_headers()
        assert "cookie" not in headers
        assert headers["authorization"].startswith("Bearer ")
    visit.page.context.clear_cookies()


def test_style_sheets_of_the_page_do_not_break_in(visit: Visit) -> None:
    """Resets, and text properties that are inherited, change neither the sizes nor the texts of the widget."""
    widget = visit.open(style=_HOSTILE)
    for thumb in (widget.up, widget.down):
        box = thumb.bounding_box()
        assert box
        assert (box["width"], box["height"]) == (44, 44)
    widget.down.click()
    for part in (widget.title, widget.input, widget.send):
        expect(part).to_be_visible()
        for name, expected in {
            "font-size": "14px",
            "line-height": "20px",
            "letter-spacing": "normal",
            "word-spacing": "0px",
            "text-transform": "none",
            "text-indent": "0px",
            "font-style": "normal",
            "font-variant-caps": "normal",
            "text-shadow": "none",
        }.items():
            expect(part).to_have_css(name, expected)
    expect(widget.reason("wrong")).to_have_css("font-size", "13px")
    widget.send.press("Tab")
    widget.send.focus()
    visit.page.keyboard.press("Shift+Tab")
    expect(widget.input).to_have_css("outline-style", "solid")
    box, page = widget.panel.bounding_box(), visit.page.viewport_size
    assert box
    assert page
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= page["width"]


def test_the_font_of_the_page_is_used_in_the_size_of_the_widget(visit: Visit) -> None:
    """The family is inherited, the size is not."""
    widget = visit.open(style="body { font: 30px/2 Georgia, serif }")
    widget.down.click()
    expect(widget.title).to_have_css("font-family", "Georgia, serif")
    expect(widget.title).to_have_css("font-size", "14px")
    expect(widget.title).to_have_css("line-height", "20px")


def test_the_widget_does_not_change_the_page(visit: Visit) -> None:
    """It adds no style sheet, element or global to the page, and takes no focus and no scrolling."""
    visit.page.goto(visit.site.show("<!doctype html><title>Empty</title>"))
    before = set(visit.page.evaluate("Object.getOwnPropertyNames(window)"))
    open_every_state(visit)
    after = set(visit.page.evaluate("Object.getOwnPropertyNames(window)"))
    assert after - before <= {name for name in after if name.isdigit()}
    assert visit.page.evaluate("document.querySelectorAll('style, link, script').length") == 2
    assert visit.page.evaluate("document.adoptedStyleSheets.length") == 0


def test_two_hundred_messages(visit: Visit) -> None:
    """A long conversation asks once for the earlier votes, nothing moves, and each panel opens in its place."""
    count = 200
    for number in range(0, count, 3):
        visit.hk.vote(visit.session, "down", author=AUTHOR, message_id=f"m{number}", tags=["slow"])
    visit.page.add_init_script(
        """window.shifts = [];
        new PerformanceObserver((list) => shifts.push(...list.getEntries().map((one) => one.value)))
            .observe({ type: 'layout-shift', buffered: true });"""
    )
    visit.open(*(f"<p>Answer {number}</p>{visit.widget(f'm{number}')}" for number in range(count)))
    expect(visit.on("m198").message).to_have_text("You said: not helpful.")
    # All frames until now have been drawn then.
    visit.page.screenshot()
    assert visit.page.evaluate("shifts") == []
    assert len(visit.requests) == 1
    for number in (1, 100, 199):
        widget = visit.on(f"m{number}")
        widget.down.click()
        expect(widget.panel).to_be_in_viewport()
        widget.reason("wrong").click()
        widget.send.click()
        widget.says("Sent. Thank you")
    visit.stores("down", tags=["wrong"], message="m199")


def test_messages_of_a_stream(visit: Visit) -> None:
    """Widgets that a framework adds, moves, changes and removes while a chat goes on behave as those of a page."""
    visit.open()
    visit.page.evaluate(
        """(token) => {
            window.added = document.createElement('harken-feedback');
            document.querySelector('main').append(added);
            added.message = 'ignored';
            added.setAttribute('message', 'later');
            added.token = token;
        }""",
        visit.token(),
    )
    later = visit.on("later")
    later.up.click()
    visit.stores("up", message="later")
    visit.page.evaluate("document.querySelector('main').prepend(added)")
    later.shows("up")
    visit.page.evaluate("added.setAttribute('message', 'next')")
    visit.on("next").shows(None)
    visit.on("next").up.click()
    visit.stores("up", message="next")
    visit.on("next").up.evaluate("(one) => { one.click(); added.remove(); }")
    visit.stores(None, message="next")


def test_without_javascript_a_form_is_shown(visit: Visit) -> None:
    """What the page puts into the slot ``fallback`` is shown where modules do not run, and only there."""
    form = '<form slot="fallback" method="post"><button>Helpful</button></form>'
    visit.open(visit.widget("m", form))
    expect(visit.page.locator("form[slot=fallback]")).to_be_hidden()
    browser = visit.page.context.browser
    assert browser
    with browser.new_context(java_script_enabled=False) as context:
        plain = context.new_page()
        plain.goto(visit.page.url)
        expect(plain.get_by_role("button", name="Helpful")).to_be_visible()
