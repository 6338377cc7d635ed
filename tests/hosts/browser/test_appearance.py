"""How the widget looks: themes, sizes, contrast and motion, in every state."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from hosts.browser.accessibility import accessibility_problems
from hosts.browser.conftest import ONE_STORAGE
from hosts.browser.states import open_every_state
from hosts.browser.visits import Visit

pytestmark = [pytest.mark.slow, ONE_STORAGE]

#: A page that follows the colours of the system.
_HOST: Final = """<style>
:root { color-scheme: light dark; background: light-dark(#f6f6f3, #111216); color: light-dark(#191a1f, #ededf2) }
body { font: 14px/20px system-ui, sans-serif }
harken-feedback { background: light-dark(#fff, #191a1f); padding: 8px; }
</style>"""
#: What is outside of its widget, or makes the page scroll sideways.
_OUTSIDE: Final = """() => {
    const found = document.documentElement.scrollWidth > innerWidth ? ['the page scrolls sideways'] : [];
    for (const widget of document.querySelectorAll('harken-feedback')) {
        const outer = widget.getBoundingClientRect();
        for (const one of widget.shadowRoot.querySelectorAll('*')) {
            const { left, right, top, bottom, width } = one.getBoundingClientRect();
            if (width <= 1 || !one.checkVisibility()) continue;
            // The thumbs reach into the margin, so that their icons and the text of the page are aligned.
            const isAcross = left < outer.left - 8.5 || right > outer.right + 8.5;
            if (isAcross || top < outer.top - 0.5 || bottom > outer.bottom + 6.5) {
                found.push(`${widget.getAttribute('message')}: ${one.tagName} ${one.className}`);
            }
        }
    }
    return found;
}"""
#: What is cut off because its text is too long.
_CUT: Final = """() => [...document.querySelectorAll('harken-feedback')].flatMap((widget) =>
    [...widget.shadowRoot.querySelectorAll('button, label, p, .status, .title, .reply')]
        .filter((one) => one.checkVisibility() && one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 1)
        .map((one) => `${widget.getAttribute('message')}: ${one.className}: ${one.textContent}`))"""
#: The clickable sizes of all buttons.
_SIZES: Final = """() => [...document.querySelectorAll('harken-feedback')].flatMap((widget) =>
    [...widget.shadowRoot.querySelectorAll('button')].filter((one) => one.checkVisibility()).map((one) => {
        const { width, height } = one.getBoundingClientRect();
        return [`${widget.getAttribute('message')}: ${one.className}`, width, height];
    }))"""
LANGUAGES: Final = ("en", "es", "de", "fr", "pt", "ar", "ja", "zh")


def problems_of(page: Page) -> list[str]:
    """The accessibility problems of the page, with the elements."""
    # It needs a clock that runs.
    page.clock.resume()
    found = accessibility_problems(page)
    page.clock.pause_at(datetime.fromtimestamp(page.evaluate("Date.now()") / 1000 + 1, UTC))
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_state(visit: Visit, scheme: Any) -> None:
    """No state has an accessibility problem, in a light and in a dark page."""
    visit.page.emulate_media(color_scheme=scheme)
    open_every_state(visit, head=_HOST)
    assert problems_of(visit.page) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_fits(visit: Visit, language: str) -> None:
    """In every state, texts are not cut off and nothing is outside of the widget, also at a zoom of 400%."""
    direction = "rtl" if language == "ar" else "ltr"
    open_every_state(visit, head=_HOST, root=f'lang="{language}" dir="{direction}"')
    for width in (320, 390, 1280):
        visit.page.set_viewport_size({"width": width, "height": 900})
        assert visit.page.evaluate(_OUTSIDE) == []
        assert visit.page.evaluate(_CUT) == []


def test_targets_are_large_enough(visit: Visit) -> None:
    """Thumbs and links are 44 pixels high everywhere, and every button of a narrow page is 44 by 44."""
    open_every_state(visit, head=_HOST)
    for width in (390, 1280):
        visit.page.set_viewport_size({"width": width, "height": 900})
        _check_targets(visit, width)


def _check_targets(visit: Visit, width: int) -> None:
    sizes = visit.page.evaluate(_SIZES)
    assert len(sizes) > 60
    for name, across, high in sizes:
        is_always = name.partition(": ")[2].split()[0] in ("thumb", "close", "link")
        least = 44 if width == 390 or is_always else 32
        assert high >= least, (name, across, high)
        assert across >= (24 if "link" in name else least), (name, across, high)
    gap = visit.on("idle").up.evaluate("(one) => one.getBoundingClientRect().right")
    assert visit.on("idle").down.evaluate("(one) => one.getBoundingClientRect().left") >= gap


@pytest.mark.parametrize(
    ("system", "page", "theme", "expected"),
    [
        ("dark", "light", "auto", "light"),
        ("light", "dark", "auto", "dark"),
        ("light", "light dark", "auto", "light"),
        ("dark", "light dark", "auto", "dark"),
        ("dark", "normal", "auto", "light"),
        ("light", "light", "dark", "dark"),
        ("dark", "dark", "light", "light"),
    ],
)
def test_it_follows_the_theme_of_the_page(visit: Visit, system: Any, page: str, theme: str, expected: str) -> None:
    """Colours follow ``color-scheme`` of the page, not of the system, unless the attribute ``theme`` decides."""
    visit.page.emulate_media(color_scheme=system)
    widget = visit.open(visit.widget(theme=theme), style=f":root {{ color-scheme: {page} }}")
    widget.down.click()
    surface = {"light": "rgb(255, 255, 255)", "dark": "rgb(25, 26, 31)"}[expected]
    expect(widget.panel).to_have_css("background-color", surface)
    expect(widget.input).to_have_css("color", {"light": "rgb(25, 26, 31)", "dark": "rgb(237, 237, 242)"}[expected])


def test_the_page_can_change_colours_and_parts(visit: Visit) -> None:
    """Variables and parts of the documentation apply, and slots replace what they name."""
    style = """harken-feedback {
        --harken-accent: rgb(15, 76, 129); --harken-on-accent: rgb(255, 254, 253); --harken-radius: 2px;
        --harken-surface: rgb(250, 250, 240); --harken-line: rgb(1, 2, 3); --harken-font: serif;
        --harken-ink: rgb(9, 9, 9); --harken-up: rgb(0, 90, 0); --harken-down: rgb(120, 0, 120);
    }
    harken-feedback::part(title) { letter-spacing: 3px }
    harken-feedback::part(up) { opacity: 0.9 }"""
    slots = (
        '<b slot="prompt">Did this page help you?</b><i slot="icon-up" id="own">+</i>'
        '<small slot="footer">We read everything.</small>'
    )
    widget = visit.open(visit.widget("m", slots, variant="card"), style=style)
    expect(visit.page.get_by_text("Did this page help you?")).to_be_visible()
    expect(visit.page.locator("#own")).to_be_visible()
    expect(visit.page.get_by_text("We read everything.")).to_be_hidden()
    widget.down.click()
    expect(visit.page.get_by_text("We read everything.")).to_be_visible()
    expect(widget.send).to_have_css("background-color", "rgb(15, 76, 129)")
    expect(widget.send).to_have_css("color", "rgb(255, 254, 253)")
    expect(widget.send).to_have_css("border-radius", "2px")
    expect(widget.panel).to_have_css("background-color", "rgb(250, 250, 240)")
    expect(widget.panel).to_have_css("border-top-color", "rgb(1, 2, 3)")
    expect(widget.title).to_have_css("letter-spacing", "3px")
    expect(widget.title).to_have_css("font-family", "serif")
    expect(widget.title).to_have_css("color", "rgb(9, 9, 9)")
    expect(widget.down).to_have_css("color", "rgb(120, 0, 120)")
    expect(widget.up).to_have_css("opacity", "0.9")
    widget.up.click()
    expect(widget.up).to_have_css("color", "rgb(0, 90, 0)")


def test_every_documented_part_exists(visit: Visit) -> None:
    """A style sheet of the page can reach all parts."""
    open_every_state(visit)
    parts = visit.page.evaluate(
        """() => [...document.querySelectorAll('harken-feedback')].flatMap((widget) =>
            [...widget.shadowRoot.querySelectorAll('[part]')].flatMap((one) => [...one.part]))"""
    )
    documented = "group up down status panel title reasons reason label input error actions send close reply"
    assert set(documented.split()) <= set(parts)


def test_forced_colours_show_the_state(visit: Visit) -> None:
    """In a high contrast theme, pressed thumbs and reasons differ from the others by a system colour."""
    visit.page.emulate_media(forced_colors="active")
    open_every_state(visit)
    background = "(one) => getComputedStyle(one, '::before').backgroundColor"
    down = visit.on("reason")
    assert down.down.evaluate(background) != down.up.evaluate(background)
    chosen, other = (
        down.reason(code).evaluate("(one) => getComputedStyle(one).backgroundColor") for code in ("slow", "wrong")
    )
    assert chosen != other
    for thumb in (down.up, down.down):
        assert thumb.evaluate("(one) => getComputedStyle(one, '::before').borderTopStyle") == "solid"


def test_motion_can_be_reduced(visit: Visit) -> None:
    """The panel opens and the spinner turns only for people who have not asked for reduced motion."""
    open_every_state(visit)
    saving = visit.on("saving")
    for motion, panel, spin in (("reduce", "none", "none"), ("no-preference", "open", "spin")):
        visit.page.emulate_media(reduced_motion=motion)
        expect(saving.panel).to_have_css("animation-name", panel)
        expect(saving.spin).to_have_css("animation-name", spin)
