"""The sanitiser removes markup and keeps text unchanged."""

import html
import re
from html.parser import HTMLParser
from pathlib import Path
from time import thread_time

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
    """Text of random parts of markup."""
    return st.lists(st.sampled_from(PIECES) | texts(), max_size=14).map("".join)


class Reader(HTMLParser):
    """The text of a page, and the names of its elements."""

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
    """The tags that a browser would find, without closing tags."""
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
def test_text_is_kept(text: str) -> None:
    """Text that only resembles markup is unchanged."""
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
def test_markup_is_removed(text: str, left: str) -> None:
    """Tags are removed without their text, scripts and styles with their content."""
    assert SANITIZER.sanitize(text) == left


@given(entangled())
@example("<noscript><p title='</noscript><img src=x onerror=alert(1)>'>")
@example("<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>")
@example("<scr<b>ipt>alert(1)</scr</b>ipt>")
@example("<b ='x> '<i")
def test_no_element_is_left(text: str) -> None:
    """Neither a browser parser nor that of the standard library finds a known element in the result."""
    plain = SANITIZER.sanitize(text)
    assert not elements_in(plain)
    assert not ELEMENTS.intersection(Reader(plain).elements)


@given(entangled())
def test_sanitising_is_idempotent(text: str) -> None:
    """Sanitising the result again does not change it."""
    once = SANITIZER.sanitize(text)
    assert SANITIZER.sanitize(once) == once


@given(entangled())
def test_the_result_is_not_escaped(text: str) -> None:
    """A page with the escaped result shows exactly this text."""
    plain = SANITIZER.sanitize(text)
    page = Reader(html.escape(plain))
    assert (page.text, page.elements) == (plain, [])


@given(st.text() | entangled().map(lambda text: text.replace("<", "")))
def test_text_without_a_less_than_sign_is_unchanged(text: str) -> None:
    """Without a ``<`` there is no markup."""
    assert SANITIZER.sanitize(text) == text


@given(entangled(), st.sampled_from(["\x00", "\ud800", "\udfff"]), st.integers(0, 100))
def test_invalid_text_is_unchanged(text: str, bad: str, at: int) -> None:
    """Text with a NUL or a lone surrogate is returned unchanged, for the rules to reject."""
    invalid = text[:at] + bad + text[at:]
    assert SANITIZER.sanitize(invalid) == invalid


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
    """The text of any element is kept exactly, including line breaks and entities."""
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
def test_hostile_texts_are_fast(piece: str, length: int) -> None:
    """Hostile texts need little processor time, and the result is stable."""
    text = piece * (length // len(piece))
    start = thread_time()
    once = SANITIZER.sanitize(text)
    assert thread_time() - start < 2
    assert SANITIZER.sanitize(once) == once


def test_deeply_nested_tags() -> None:
    """Above the maximum number of passes, every ``<`` is removed."""
    deep = "<b>".join(["<b" * 15, *[">" * 1] * 40])
    shallow = SANITIZER.sanitize(deep)
    assert not elements_in(shallow)
    assert SANITIZER.sanitize(shallow) == shallow


def test_too_many_unclosed_tags() -> None:
    """A few unclosed tags are kept; if there are many, every ``<`` is removed."""
    few, many = ("<b/" * times + " '='>' " for times in (10, 40))
    assert SANITIZER.sanitize(few) == few
    assert "<" not in SANITIZER.sanitize(many)
    once, rest = "<b/ '='>' ", " x" * 25_000
    assert SANITIZER.sanitize(once + rest) == once + rest
    assert "<" not in SANITIZER.sanitize(few + rest)  # searching for 10 ends would read half a million characters


def test_a_long_page_is_read() -> None:
    """Many tags of a long text are removed like those of a short one."""
    assert SANITIZER.sanitize("<p class='a>b'>one <i>two</i></p>" * 2_000) == "one two" * 2_000


def test_the_examples_in_the_documentation() -> None:
    """Each row of the table in the documentation is correct."""
    table = PAGE.read_text(encoding="utf-8").partition("\n| submitted | stored |\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(.+)` \| (?:`(.+)`|nothing) \|$", table, re.MULTILINE)
    assert len(rows) > 10
    for submitted, stored in rows:
        assert SANITIZER.sanitize(submitted) == stored
