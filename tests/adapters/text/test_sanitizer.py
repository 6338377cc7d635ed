"""Markup goes, and what people write stays as they wrote it."""

import html
import re
from html.parser import HTMLParser
from pathlib import Path
from time import perf_counter

import nh3
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harken.testing.strategies import texts
from harken_adapters.text import Nh3Sanitizer
from harken_adapters.text.elements import ELEMENTS

PAGE = Path(__file__).parents[3] / "docs" / "text.md"
SANITIZER = Nh3Sanitizer()
PIECES = (
    "<", ">", "</", "/>", "<!--", "-->", "<!", "<![CDATA[", "]]>", "<?php", "?>", "&", "&lt;", "&#60;", "&amp", "=",
    "/", '"', "'", " ", "\n", "\r\n", "\r", "\t", "\f", "\x0b", "\xa0", "\ufeff", "\ufdd0", "\ufdd1", "a", "b", "x",
    "3", "script", "style", "<script>", "</script>", "<style>", "</style", "<template>", "</template>", "<b>", "<b ",
    "</b>", "<img src=x onerror=alert(1)", "<x onclick=y>", "<svg>", "<math>", "<title>", "<textarea>", "</textarea>",
    "<xmp>", "<plaintext>", "<table>", "<td>", "<select>", "<pre>", "<iframe>", "<noscript>", "<!DOCTYPE html>",
    "<i a='", '<u a="', "<BR/>", "<p\n", " onload=", "href=", "<annotation-xml>", "<font-face>",
)  # fmt: skip


def entangled() -> st.SearchStrategy[str]:
    """Text that is made of what markup is made of, in no good order."""
    return st.lists(st.sampled_from(PIECES) | texts(), max_size=14).map("".join)


class Reader(HTMLParser):
    """What a page has: its text, and the names of its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.elements: list[str] = []
        self.feed(page)
        self.close()

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.elements.append(tag)


def elements_in(page: str) -> list[str]:
    """The elements that a browser would find in it, with tags that are not closed any more left out."""
    read = nh3.clean(page, tags=set(ELEMENTS), clean_content_tags=set())
    return re.findall(r"<[a-z][^>]*>", read)


@pytest.mark.parametrize(
    "text",
    [
        "I <3 this",
        "my heart </3",
        "<3 <3 <3",
        "a < b",
        "x<y and z>w",
        "if a <b then c",
        "5 > 3 && 2 < 4",
        "AT&T",
        "&lt;b&gt;",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&amp;lt;",
        "<- that",
        "<<<<<<-------- do not reply",
        "GNV<<<FSD",
        "me@example.com <me@example.com>",
        "std::vector<int>",
        "Map<String, List<Integer>>",
        "<https://example.com/a?b=c&d=e>",
        "<your name here>",
        "<>",
        "</>",
        "< b >",
        "<!important>",
        "a <= b <=> c",
        "one\r\ntwo <3\rthree\n",
        "\ufeff<3",
    ],
)
def test_what_people_write_stays(text: str) -> None:
    """What only looks a little like markup is text, and comes back to the character."""
    assert SANITIZER.sanitize(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<script>alert(1)</script>", ""),
        ("<script>alert(1)", ""),
        ("<script", ""),
        ("fine<SCRIPT SRC=//x.example></SCRIPT >", "fine"),
        ("<scr<script>ipt>alert(1)</scr</script>ipt>", ""),
        ("<style>b { color: red }</style>", ""),
        ("<template>one</template>two", "onetwo"),
        ("Save to <path> and <text>it</text> fails", "Save to  and it fails"),
        ("<table><td>one</td>two</table><select><b>three</select>", "onetwothree"),
        ("<b>bold</b>", "bold"),
        ("<B CLASS='a>b'>bold</B>", "bold"),
        ("<b\r\n>bold</b\n>", "bold"),
        ("<img src=x onerror=alert(1)>", ""),
        ("<img src=x onerror=alert(1)", ""),
        ("<img/src=x/onerror=alert(1)//", ""),
        ('<img x title="<" onerror=alert(1)>', ""),
        ("<svg/onload=alert(1)>", ""),
        ("<anything onclick=alert(1)>text", "text"),
        ("<!-- hidden -->shown", "shown"),
        ("<!DOCTYPE html><p>one</p>", "one"),
        ("<?php echo 1 ?>two", "two"),
        ("<math><mi>x</mi></math>", "x"),
        ("<b>a < b & c &amp; d\r\n\r\ne</b>", "a < b & c &amp; d\r\n\r\ne"),
        ("<xmp>AT&T</xmp>\xa0<textarea>\n<b>&lt;</b></textarea>", "AT&T\xa0\n&lt;"),
        ("\ufeff<i>\ufdd0</i>", "\ufeff\ufdd0"),
    ],
)
def test_markup_goes(text: str, left: str) -> None:
    """Tags go and leave their text, scripts and styles go with all that is in them, and nothing else changes."""
    assert SANITIZER.sanitize(text) == left


@given(entangled())
@example("<noscript><p title='</noscript><img src=x onerror=alert(1)>'>")
@example("<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>")
@example("<scr<b>ipt>alert(1)</scr</b>ipt>")
@example("<b ='x> '<i")
def test_no_element_is_left(text: str) -> None:
    """Neither a browser's parser nor the standard library's finds an element that browsers know in what comes out."""
    plain = SANITIZER.sanitize(text)
    assert not elements_in(plain)
    assert not ELEMENTS.intersection(Reader(plain).elements)


@given(entangled())
def test_twice_is_once(text: str) -> None:
    """Sanitising what was sanitised changes nothing: no tag is put together from what others leave."""
    once = SANITIZER.sanitize(text)
    assert SANITIZER.sanitize(once) == once


@given(entangled())
def test_what_comes_out_is_escaped_once(text: str) -> None:
    """Escaped where it is shown, it reads there as it is kept: nothing was escaped before."""
    plain = SANITIZER.sanitize(text)
    page = Reader(html.escape(plain))
    assert (page.text, page.elements) == (plain, [])


@given(st.text() | entangled().map(lambda text: text.replace("<", "")))
def test_text_without_a_less_than_sign_is_untouched(text: str) -> None:
    """Without a ``<`` there is no markup, so nothing changes."""
    assert SANITIZER.sanitize(text) == text


@given(entangled(), st.sampled_from(["\x00", "\ud800", "\udfff"]), st.integers(0, 100))
def test_what_the_rules_refuse_is_left_to_them(text: str, bad: str, at: int) -> None:
    """A NUL or a lone surrogate breaks nothing and is still there for the rules to see."""
    broken = text[:at] + bad + text[at:]
    assert SANITIZER.sanitize(broken) == broken


@given(
    texts(),
    st.sampled_from(
        [
            "b",
            "div",
            "td",
            "svg",
            "pre",
            "xmp",
            "textarea",
            "title",
            "select",
            "mi",
            "text",
            "foreignObject",
            "template",
            "frameset",
        ]
    ),
)
def test_the_text_of_an_element_is_kept(text: str, name: str) -> None:
    """Whatever an element holds as text is kept to the character: line breaks, entities and all."""
    wrapped = text.replace("<", "")
    assert SANITIZER.sanitize(f"<{name}>{wrapped}</{name}>") == wrapped


@pytest.mark.parametrize(
    "piece",
    [
        "<div>",
        "<b x='",
        '<a b="<b " ',
        "<b ",
        "<x on",
        "<!doctype ",
        "<sc<b>",
        "<?x ",
        "<b =",
        "<!--",
        "<a a=\"'<a a='",
    ],
)
@pytest.mark.parametrize("length", [1_000, 100_000])
def test_no_text_takes_long(piece: str, length: int) -> None:
    """Whatever somebody sends on purpose is done in no time, and twice is still once."""
    text = piece * (length // len(piece))
    start = perf_counter()
    once = SANITIZER.sanitize(text)
    assert perf_counter() - start < 2
    assert SANITIZER.sanitize(once) == once


def test_wrapped_up_too_deep() -> None:
    """Tags inside tags inside tags end somewhere: then every ``<`` goes, and nothing is left to put together."""
    deep = "<b>".join(["<b" * 15, *[">" * 1] * 40])
    shallow = SANITIZER.sanitize(deep)
    assert not elements_in(shallow)
    assert SANITIZER.sanitize(shallow) == shallow


def test_too_many_tags_that_do_not_end() -> None:
    """Where a quotation mark hides the end of tag after tag, every ``<`` goes; where it hides a few, they stay."""
    few, many = ("<b/" * times + " '='>' " for times in (10, 40))
    assert SANITIZER.sanitize(few) == few
    assert "<" not in SANITIZER.sanitize(many)
    once, rest = "<b/ '='>' ", " x" * 25_000
    assert SANITIZER.sanitize(once + rest) == once + rest
    assert "<" not in SANITIZER.sanitize(few + rest)  # looking for 10 ends would read half a million characters


def test_a_long_page_is_read() -> None:
    """Tags of a long text are removed as those of a short one, however many they are."""
    assert SANITIZER.sanitize("<p class='a>b'>one <i>two</i></p>" * 2_000) == "one two" * 2_000


def test_the_page_says_what_happens() -> None:
    """Each row of the table on the documentation's page is true."""
    table = PAGE.read_text(encoding="utf-8").partition("\n| typed | kept |\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(.+)` \| (?:`(.+)`|nothing) \|$", table, re.MULTILINE)
    assert len(rows) > 10
    for typed, kept in rows:
        assert SANITIZER.sanitize(typed) == kept
