"""Comments and replies that try to run scripts, to break the layout, or that are hard to store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import expect

import harken
from harken import Harken
from hosts.browser.chromium import Chromium
from hosts.browser.site import Site
from hosts.browser.visits import SECRET, Visit, stop_clock
from hosts.serving import Server, served
from support import eventually

pytestmark = pytest.mark.slow

_RUN: Final = "window.hacked=1"
TEXTS: Final[tuple[str, ...]] = (
    f"<script>{_RUN}</script>",
    f"</textarea><script>{_RUN}</script>",
    f"</harken-feedback><script>{_RUN}</script>",
    f"<img src=x onerror={_RUN}>",
    f'"><img src=x onerror="{_RUN}">',
    f"' onfocus='{_RUN}' autofocus='",
    f'" onmouseover="{_RUN}',
    f"<svg onload={_RUN}>",
    f"<svg><script>{_RUN}</script></svg>",
    f"<svg><animate onbegin={_RUN} attributeName=x dur=1s>",
    f'<svg><a xlink:href="javascript:{_RUN}"><text y=20>x</text></a></svg>',
    f"<math><mi xlink:href=javascript:{_RUN}>x</mi></math>",
    '<iframe srcdoc="<script>parent.hacked=1</script>"></iframe>',
    f'<a href="javascript:{_RUN}">x</a>',
    f"<body onload={_RUN}>",
    f"<details open ontoggle={_RUN}>x</details>",
    f"<style>@keyframes x{{}}*{{animation:x}}</style><b onanimationstart={_RUN}>x</b>",
    "<style>* { display: none !important }</style>",
    "<link rel=stylesheet href=data:text/css,*%7Bdisplay:none%7D>",
    "<form action=https://evil.example><input name=token></form>",
    f"<template shadowrootmode=open><script>{_RUN}</script></template>",
    f"<!--><img src=x onerror={_RUN}>-->",
    f"<![CDATA[<script>{_RUN}</script>]]>",
    f"&lt;script&gt;{_RUN}&lt;/script&gt;",
    f"${{{_RUN}}}{{{{{_RUN}}}}}<%={_RUN}%>",
    f"javascript:{_RUN}",
    "{n} {0} %s %d \\u0000 \\x00 \\n",
    "\u2400 \u0001\u0008\u001b[31m red",
    "\u202emoc.elpmaxe//:sptth\u202c and on",
    "\u2066\u2067\u2068 never closed",
    "\u200b\u200c\u200d\ufeff\u00ad invisible",
    "مرحبا <b>World</b> مرحبا",
    "a" * 1000,
    "Donaudampfschifffahrtsgesellschaft" * 29,
    "https://example.com/" + "path/" * 180,
    "👩‍👩‍👧‍👦🏳️‍🌈" * 40,
    "😀" * 480,
    "Z̷̡̛͇̤̟̳̓̈́͊̑̀͝a̸͎̳̓l̵̡̛̮͍̇͝g̴̢̛͖̐o̸̳͗ " * 12 + "o" + "\u0301" * 400,
    "line\n" * 180,
    "  .\t\t" * 100 + "\N{NO-BREAK SPACE}" * 100 + ".",
)
#: What is outside of its widget, although each is as wide as the page allows.
_OUTSIDE: Final = """() => [...document.querySelectorAll('harken-feedback')].flatMap((widget) => {
    const outer = widget.getBoundingClientRect();
    return [...widget.shadowRoot.querySelectorAll('.panel, .input, .reply, .links, .group')].filter((one) => {
        const { left, right, bottom } = one.getBoundingClientRect();
        const isOutside = left < outer.left - 8.5 || right > outer.right + 8.5 || bottom > outer.bottom + 6.5;
        return one.checkVisibility() && isOutside;
    }).map((one) => widget.getAttribute('message') + one.className);
})"""


@pytest.fixture(scope="module")
def hk(storage: str) -> Iterator[Harken]:
    """A Harken that replies to the message with this number by the text with this number."""
    with harken.connect(
        storage, spam="allow", responder=lambda feedback: TEXTS[int(feedback.message_id or "")]
    ) as connected:
        yield connected


@pytest.fixture(scope="module")
def server(hk: Harken, site: Site) -> Iterator[Server]:
    """This Harken over a real socket."""
    with served(hk, access="keys", token_secrets=(SECRET,), allowed_origins=(site.origin,)) as serving:
        yield serving


@pytest.fixture(scope="module")
def conversation(chromium: Chromium, server: Server, site: Site, hk: Harken) -> Iterator[Visit]:
    """A narrow page, in which each of the texts has been sent as a comment, and came back as a reply."""
    assert len(TEXTS) == 40
    context = chromium.running().new_context(reduced_motion="reduce", viewport={"width": 390, "height": 800})
    stop_clock(context)
    page = context.new_page()
    visit = Visit(page, server, site, hk)
    visit.open(*(visit.widget(f"{number}", reasons=f"r{number}:{text}") for number, text in enumerate(TEXTS)))
    for number, text in enumerate(TEXTS):
        widget = visit.on(f"{number}")
        widget.down.click()
        widget.input.fill(text)
        widget.element.locator(".reason").first.click()
        widget.send.click()
    eventually(lambda: visit.tick() or sum(vote.reply is not None for vote in visit.votes()) == len(TEXTS))
    yield visit
    context.close()
    assert visit.problems == []


@pytest.fixture
def unharmed(conversation: Visit) -> Iterator[Visit]:
    """The page; afterwards, no script has run, and nothing is out of place."""
    yield conversation
    assert conversation.page.evaluate("window.hacked") is None
    assert conversation.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert conversation.page.evaluate(_OUTSIDE) == []


def test_comments_are_stored_exactly(unharmed: Visit) -> None:
    """Each comment is stored as it was written, except for white space around it."""
    stored = {int(vote.message_id or ""): vote.comment for vote in unharmed.votes()}
    assert stored == {number: text.strip() for number, text in enumerate(TEXTS)}


def test_replies_are_text(unharmed: Visit) -> None:
    """Each reply is shown as it was written, and none as HTML."""
    unharmed.reload()
    for number, text in enumerate(TEXTS):
        widget = unharmed.on(f"{number}")
        widget.link("Show reply").click()
        reply = widget.reply
        expect(reply).to_be_visible()
        assert reply.evaluate("(one) => [one.textContent, one.childElementCount]") == [text, 0]


def test_comments_come_back_exactly(unharmed: Visit) -> None:
    """After a reload, each comment can be changed, and is in the field as it was written."""
    unharmed.reload()
    for number, text in enumerate(TEXTS):
        widget = unharmed.on(f"{number}")
        widget.link("Change").click()
        assert widget.input.input_value() == text.strip()
