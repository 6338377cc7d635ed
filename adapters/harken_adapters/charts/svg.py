"""Primitives for SVG and HTML. All texts are escaped when they are written; numbers have at most three decimals."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Final

from attrs import frozen

#: Characters that XML 1.0 does not allow, not even escaped.
_FORBIDDEN: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@frozen
class Element:
    """An element of SVG or HTML. ``str()`` writes it and escapes its attributes and texts.

    Attributes:
        name: the name of the tag.
        attributes: names and unescaped values, in order.
        children: elements and unescaped texts. Without children it is written as ``<name/>``.
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
    """An element. Attributes with the value ``None`` are left out.

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
    """The tooltip of the parent element."""
    return element("title", text)


def line(kind: str, x: tuple[str, str], y: tuple[float, float]) -> Element:
    """A straight line between two horizontal positions (with units) and two vertical positions (in pixels)."""
    return element("line", class_=kind, x1=x[0], x2=x[1], y1=y[0], y2=y[1])


def path(kind: str, commands: str) -> Element:
    """A path with a stroke that keeps its width when the picture is stretched."""
    return element("path", class_=kind, d=commands, vector_effect="non-scaling-stroke")


def stretched(height: float, *children: Element) -> Element:
    """A nested picture of full width with coordinates from 0 to 1000 across and 0 to ``height`` pixels down."""
    return element(
        "svg", *children, width="100%", height=height, viewBox=f"0 0 1000 {number(height)}", preserveAspectRatio="none"
    )


def number(value: float) -> str:
    """A number with at most three decimals and without trailing zeros."""
    text = f"{value:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def percent(share: float) -> str:
    """A share (0 to 1) as a position or length in percent."""
    return f"{number(share * 100)}%"


def escape(text: str) -> str:
    """The text escaped for XML and HTML content and attributes. Characters that XML forbids become U+FFFD."""
    return html.escape(_FORBIDDEN.sub("\ufffd", text))
