"""A chart as an independent SVG document with its own style, for notebooks and files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Final

from attrs import frozen

from harken_adapters.charts.svg import Element, element

WIDTH: Final = 760
_MARGIN: Final = 20
_LINE: Final = 18
_LETTER: Final = 6.6
_LETTERS_IN_LINE: Final = 105

_LIGHT: Final = (
    "--surface:#fff;--sunken:#f0f0ec;--line:#e3e3dd;--control:#84857e;--ink:#191a1f;--ink2:#4a4b54;--ink3:#63646d;"
    "--accent:#4a3fcb;--up:#0a6b64;--upfill:#0a6b64;--down:#a83c08;--downfill:#dd6b2a;--neusoft:#ececea;"
    "--neufill:#8c8e97;--band:.16;--wash:.07"
)
_DARK: Final = (
    "--surface:#191a1f;--sunken:#222329;--line:#2c2d34;--control:#71737d;--ink:#ededf2;--ink2:#bcbdc6;--ink3:#9b9da8;"
    "--accent:#aba3ff;--up:#62d6cb;--upfill:#58cfc4;--down:#ffa67a;--downfill:#e06d30;--neusoft:#2a2b31;"
    "--neufill:#7d7f8a;--band:.22;--wash:.1"
)
_RULES: Final = """
text{font:400 12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","Noto Sans",Arial,sans-serif;\
font-variant-numeric:tabular-nums;fill:var(--ink3)}
text.head{font-size:14px;font-weight:600;fill:var(--ink)}
text.said{font-size:13px;fill:var(--ink2)}
.name{font-weight:600;fill:var(--ink)}
.val{fill:var(--ink)}
.card{fill:var(--surface);stroke:var(--line)}
.g{stroke:var(--line);shape-rendering:crispEdges}
.g0{stroke:color-mix(in srgb,var(--control) 60%,var(--surface));shape-rendering:crispEdges}
.band{fill:var(--accent);opacity:var(--band)}
.ln{fill:none;stroke:var(--accent);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.ln.part{stroke-dasharray:3 4}
.ln.prev{stroke:var(--neufill);stroke-width:1.25;stroke-dasharray:1 4}
.pt{fill:var(--accent)}
.pt.open{fill:var(--surface);stroke:var(--accent);stroke-width:2}
.pt.few{fill:var(--surface);stroke:var(--neufill);stroke-width:1.5}
.wash{fill:var(--downfill);opacity:var(--wash)}
.wash.rise{fill:var(--upfill)}
.mark{stroke:var(--downfill);stroke-width:1.5;shape-rendering:crispEdges}
.mark.rise{stroke:var(--upfill)}
text.mk,.mkb{font-weight:600;fill:var(--down)}
text.mk.rise,.mkb.rise{fill:var(--up)}
.halo text{paint-order:stroke;stroke:var(--surface);stroke-width:5px;stroke-linejoin:round}
.fu{fill:var(--upfill)}
.fd{fill:var(--downfill)}
.fn{fill:var(--neufill)}
.fa{fill:var(--accent)}
.partbar{opacity:.55}
.track{fill:var(--sunken)}
.whisk{stroke:var(--neufill);stroke-width:2;stroke-linecap:round}
.whisk.a{stroke:var(--accent)}
.avg{stroke:var(--control);stroke-dasharray:2 3}
.h rect{stroke:var(--surface);stroke-width:2}
.h0{fill:var(--downfill)}
.h1{fill:color-mix(in srgb,var(--downfill) 42%,var(--surface))}
.h2{fill:var(--neusoft)}
.h3{fill:color-mix(in srgb,var(--upfill) 38%,var(--surface))}
.h4{fill:var(--upfill)}
.hf{fill:var(--neufill)}
"""


LegendEntry = tuple[str, tuple[Element, ...], str]


@frozen(kw_only=True)
class Panel:
    """The texts around a picture.

    Attributes:
        title: the heading.
        caption: the line below it; may be empty.
        sentences: the texts below the picture.
        height: the height of the picture, in pixels.
        gutter: the space for labels to the left of the picture, in pixels.
        kind: the CSS classes of the picture.
        legend: its parts, each in one line if possible; for each entry a text, marks, and another text.
    """

    title: str
    caption: str
    sentences: tuple[str, ...]
    height: int
    gutter: int
    kind: str
    legend: tuple[tuple[LegendEntry, ...], ...]


def build_standalone(panel: Panel, heading: tuple[Element, ...], content: tuple[Element, ...]) -> Element:
    """The document: an ``svg`` with a fixed size in pixels and without external resources.

    Args:
        panel: the texts around the picture.
        heading: the elements ``title`` and ``desc``.
        content: the elements of the picture.
    """
    top = 70 if panel.caption else 46
    lines = _break_legend(panel)
    first = top + panel.height + 22
    bottom = first + _LINE * len(lines) - (10 if lines else 16)
    texts = [part for sentence in panel.sentences for part in wrap(sentence, _LETTERS_IN_LINE)]
    height = bottom + len(texts) * _LINE + _MARGIN
    left = _MARGIN + panel.gutter
    return element(
        "svg",
        *heading,
        element("style", _build_style()),
        element("rect", class_="card", x=0.5, y=0.5, width=WIDTH - 1, height=height - 1, rx=10),
        element("text", panel.title, class_="head", x=_MARGIN, y=30),
        element("text", panel.caption, x=_MARGIN, y=48),
        element(
            "svg", *content, class_=panel.kind, x=left, y=top, width=WIDTH - _MARGIN - left, height=panel.height,
            overflow="visible",
        ),
        *(part for place, line in enumerate(lines) for part in _draw_legend(line, first + place * _LINE)),
        *(
            element("text", text, class_="said", x=_MARGIN, y=bottom + (place + 1) * _LINE)
            for place, text in enumerate(texts)
        ),
        xmlns="http://www.w3.org/2000/svg",
        class_="harken-chart",
        width=WIDTH,
        height=height,
        role="img",
    )  # fmt: skip


def _break_legend(panel: Panel) -> list[list[LegendEntry]]:
    """The entries of the legend in lines that fit the picture."""
    lines: list[list[LegendEntry]] = []
    for part in panel.legend:
        for place, entry in enumerate(part):
            together = part if place == 0 else [entry]
            if lines and sum(map(_width_of, [*lines[-1], *together])) <= WIDTH - _MARGIN:
                lines[-1].append(entry)
            else:
                lines.append([entry])
    return lines


def _width_of(entry: LegendEntry) -> float:
    """The estimated width of an entry with the space after it."""
    before, marks, after = entry
    return (len(before) * _LETTER + 6 if before else 0) + 20 * len(marks) + len(after) * _LETTER + 20


def _draw_legend(entries: Sequence[LegendEntry], baseline: float) -> Iterator[Element]:
    """Texts and marks in a row, with estimated widths of texts."""
    x = float(_MARGIN)
    for before, marks, after in entries:
        if before:
            yield element("text", before, x=x, y=baseline)
            x += len(before) * _LETTER + 6
        for mark in marks:
            yield element("svg", mark, x=x, y=baseline - 9, width=16, height=10, overflow="visible")
            x += 20
        yield element("text", after, x=x + 2, y=baseline)
        x += len(after) * _LETTER + 20


def _build_style() -> str:
    """The style sheet. Its rules are limited to this picture, as notebooks put it into their own page."""
    rules = "".join(_scope_rule(rule) for rule in _RULES.split("\n") if rule)
    return f".harken-chart{{{_LIGHT}}}@media(prefers-color-scheme:dark){{.harken-chart{{{_DARK}}}}}{rules}"


def _scope_rule(rule: str) -> str:
    selectors, brace, declarations = rule.partition("{")
    return ",".join(f".harken-chart {selector}" for selector in selectors.split(",")) + brace + declarations
