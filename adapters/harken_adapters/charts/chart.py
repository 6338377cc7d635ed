"""A chart: a picture, the table with its values, and the words around them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import field, frozen

from harken_adapters.charts.standalone import Panel, build_standalone
from harken_adapters.charts.svg import Element, element

_EMPTY_HEIGHT: Final = 40


@frozen
class LegendItem:
    """What marks mean.

    Attributes:
        marks: each drawn in 16 by 10 pixels.
        after: the text after them.
        before: the text before them.
        is_apart: whether a group begins here that stands at the right.
    """

    marks: tuple[Element, ...]
    after: str
    before: str = ""
    is_apart: bool = False


@frozen(kw_only=True)
class Chart:
    """A chart, ready to be shown. ``svg``, ``table`` and ``legend`` are markup; all other texts are plain.

    Attributes:
        title: what it is about, as a name.
        description: what it shows, in one sentence.
        table: the same values as an HTML table, or a paragraph where there are none.
        caption: what one has to know to read it: the length of points, the zone, where the axis starts. May be empty.
        notes: sentences that belong beside it. They are labels in a wide picture, which a narrow one leaves out.
        foot: what the marks rest on; stands under the picture. May be empty.
        height: of the picture, in pixels.
        gutter: how many pixels to leave free to the left of the picture, for labels of its rows or axis.
        kind: the classes of the picture.
        content: what is in it, after its title and description.
        legend_items: what its marks mean.
    """

    title: str
    description: str
    table: str = field(repr=False)
    caption: str = ""
    notes: tuple[str, ...] = ()
    foot: str = ""
    height: int
    gutter: int = 0
    kind: str = "p"
    content: tuple[Element, ...] = field(repr=False)
    legend_items: tuple[LegendItem, ...] = field(default=(), repr=False)

    @property
    def svg(self) -> str:
        """The picture, as wide as its container, for a page with Harken's style sheet."""
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
        """What the marks mean, as HTML; empty if there is nothing to explain."""
        if not self.legend_items:
            return ""
        entries = (part for item in self.legend_items for part in _build_legend_entries(item))
        return str(element("div", *entries, class_="legend"))

    def _repr_svg_(self) -> str:
        """The picture for notebooks: of a fixed size, with its own style, title, legend and notes."""
        panel = Panel(
            title=self.title,
            caption=self.caption,
            notes=self.notes,
            foot=self.foot,
            height=self.height,
            gutter=self.gutter,
            kind=self.kind,
            legend=tuple((item.before, item.marks, item.after) for item in self.legend_items),
        )
        return str(build_standalone(panel, self._heading, self.content))

    @property
    def _heading(self) -> tuple[Element, Element]:
        return element("title", self.title), element("desc", self.description)


def empty_chart(title: str, sentence: str) -> Chart:
    """What stands in the place of a chart that has nothing to show: a sentence that says so."""
    return Chart(
        title=title,
        description=sentence,
        table=str(element("p", sentence, class_="muted")),
        height=_EMPTY_HEIGHT,
        content=(element("text", sentence, x=0, y=_EMPTY_HEIGHT // 2 + 4),),
    )


def _build_legend_entries(item: LegendItem) -> Iterator[Element]:
    if item.is_apart:
        yield element("span", "", class_="grow")
    swatches = (element("svg", mark, width=16, height=10, aria_hidden="true") for mark in item.marks)
    yield element("span", item.before, *swatches, item.after)
