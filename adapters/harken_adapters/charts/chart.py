"""A chart: a picture, a table with the same values, and texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import Factory, field, frozen

from harken_adapters.charts.standalone import LegendEntry, Panel, build_standalone
from harken_adapters.charts.svg import Element, element

_EMPTY_HEIGHT: Final = 40


@frozen
class LegendItem:
    """An entry of a legend.

    Attributes:
        marks: samples of what is explained, each in an area of 16 by 10 pixels.
        after: the text after them.
        before: the text before them.
        is_apart: whether this entry and those after it are right-aligned.
    """

    marks: tuple[Element, ...]
    after: str
    before: str = ""
    is_apart: bool = False


@frozen(kw_only=True)
class Chart:
    """A chart. ``svg``, ``table`` and ``legend`` are escaped markup; all other texts are plain and have to be escaped.

    Attributes:
        title: its subject.
        description: its result, in one sentence.
        table: the values as an HTML table, or a paragraph if there are none.
        caption: what is needed to read it: the length of points, the time zone, the start of the axis. May be empty.
        table_caption: the same for the table, which has no axis; by default the caption.
        notes: the texts of labels that a narrow picture hides.
        foot: the method, to be shown below. May be empty.
        is_empty: whether there is nothing to show: then the picture is the description.
        height: the height of the picture, in pixels.
        gutter: the space in pixels that the page has to leave to the left of the picture, for its labels.
        kind: the CSS classes of the picture.
        content: the elements of the picture, without its title and description.
        legend_items: the entries of the legend.
    """

    title: str
    description: str
    table: str = field(repr=False)
    caption: str = ""
    table_caption: str = field(default=Factory(lambda chart: chart.caption, takes_self=True))
    notes: tuple[str, ...] = ()
    foot: str = ""
    is_empty: bool = False
    height: int
    gutter: int = 0
    kind: str = "p"
    content: tuple[Element, ...] = field(repr=False)
    legend_items: tuple[LegendItem, ...] = field(default=(), repr=False)

    @property
    def svg(self) -> str:
        """The picture, as wide as its container, for pages with Harken's style sheet."""
        return str(
            element(
                "svg",
                *self._heading,
                *self.content,
                xmlns="http://www.w3.org/2000/svg",
                class_=self.kind,
                width="100%",
                height=self.height,
                overflow="visible",
                role="img",
            )
        )

    @property
    def legend(self) -> str:
        """The legend as HTML; empty if the chart needs none."""
        if not self.legend_items:
            return ""
        entries = (part for item in self.legend_items for part in _build_legend_entries(item))
        return str(element("div", *entries, class_="legend"))

    @property
    def document(self) -> str:
        """The picture as a document, with a fixed size, its own style, title, legend and description; for files."""
        panel = Panel(
            title=self.title,
            caption=self.caption,
            sentences=() if self.is_empty else (self.description, self.foot),
            height=self.height,
            gutter=self.gutter,
            kind=self.kind,
            legend=self._split_legend(),
        )
        return str(build_standalone(panel, self._heading, self.content))

    def _repr_svg_(self) -> str:
        """The document, for notebooks."""
        return self.document

    def _split_legend(self) -> tuple[tuple[LegendEntry, ...], ...]:
        """The entries that are not right-aligned, and those that are."""
        apart = next((place for place, item in enumerate(self.legend_items) if item.is_apart), len(self.legend_items))
        entries = tuple((item.before, item.marks, item.after) for item in self.legend_items)
        return entries[:apart], entries[apart:]

    @property
    def _heading(self) -> tuple[Element, Element]:
        return element("title", self.title), element("desc", self.description)


def empty_chart(title: str, sentence: str) -> Chart:
    """A chart without data: the sentence that says so."""
    return Chart(
        title=title,
        description=sentence,
        table=str(element("p", sentence, class_="muted")),
        is_empty=True,
        height=_EMPTY_HEIGHT,
        content=(element("text", sentence, x=0, y=_EMPTY_HEIGHT // 2 + 4),),
    )


def _build_legend_entries(item: LegendItem) -> Iterator[Element]:
    if item.is_apart:
        yield element("span", "", class_="grow")
    swatches = (element("svg", mark, width=16, height=10, aria_hidden="true") for mark in item.marks)
    yield element("span", item.before, *swatches, item.after)
