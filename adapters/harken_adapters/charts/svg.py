"""A few primitives for SVG and HTML. Every text is escaped when it is written, and numbers stay short."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Final

from attrs import frozen

#: What XML 1.0 does not allow in a document, not even escaped.
_FORBIDDEN: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@frozen
class Element:
    """An element of SVG or HTML. ``str()`` writes it; children that are texts are escaped.

    Attributes:
        name: the name of the tag.
        attributes: names and values, in order; values are not escaped yet.
        children: elements and texts. An element without any is written as ``<name/>``.
    """

    name: str
    attributes: tuple[tuple[str, str], ...]
    children: tuple[Element | str, ...]

    def __str__(self) -> str:
        return "".join(self._parts())

    def _parts(self) -> Iterable[str]:
        yield f"<{self.name}"
        for name, value in self.attributes:
            yield f' {name}="{escape(value)}"'
        if not self.children:
            yield "/>"
            return
        yield ">"
        for child in self.children:
            yield escape(child) if isinstance(child, str) else str(child)
        yield f"</{self.name}>"


def element(name: str, *children: Element | str, **attributes: str | float | None) -> Element:
    """An element. Numbers get at most three decimals, and ``None`` leaves an attribute out.

    Args:
        name: the name of the tag.
        children: elements and texts.
        attributes: ``text_anchor`` stands for ``text-anchor``, and ``class_`` for ``class``.
    """
    written = tuple(
        (key.rstrip("_").replace("_", "-"), value if isinstance(value, str) else number(value))
        for key, value in attributes.items()
        if value is not None
    )
    return Element(name, written, children)


def title(text: str) -> Element:
    """What is shown while the pointer rests on the parent."""
    return element("title", text)


def line(kind: str, x: tuple[str, str], y: tuple[float, float]) -> Element:
    """A straight line of a class, between two horizontal positions (with units) and two vertical ones (in pixels)."""
    return element("line", class_=kind, x1=x[0], x2=x[1], y1=y[0], y2=y[1])


def path(kind: str, commands: str) -> Element:
    """A path of a class, whose stroke stays as wide as it is if the picture is stretched."""
    return element("path", class_=kind, d=commands, vector_effect="non-scaling-stroke")


def stretched(height: float, *children: Element) -> Element:
    """A part whose coordinates run from 0 to 1000 across the full width, and from 0 to ``height`` pixels down."""
    return element(
        "svg", *children, width="100%", height=height, viewBox=f"0 0 1000 {number(height)}", preserveAspectRatio="none"
    )


def number(value: float) -> str:
    """A number with at most three decimals, and none that are zero."""
    text = f"{value:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def percent(share: float) -> str:
    """A share from 0 to 1 as a position or length in percent."""
    return f"{number(share * 100)}%"


def escape(text: str) -> str:
    """The text for XML and HTML, in content and in attributes; characters that XML forbids become U+FFFD."""
    return html.escape(_FORBIDDEN.sub("\ufffd", text))
