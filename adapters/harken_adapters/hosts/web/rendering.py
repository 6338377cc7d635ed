"""Rendering of templates."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harken.domain.texts import amount
from harken_adapters.charts.labels import isolated
from harken_adapters.hosts.web import wording

_SYMBOL: Final = re.compile(r'<symbol id="i-([\w-]+)".*?</symbol>')
#: The filters of templates: functions that turn values into texts.
_FILTERS: Final[Mapping[str, Callable[..., object]]] = {
    "age": wording.age_markup,
    "date": wording.date_markup,
    "since": wording.since_text,
    "amount": amount,
    "count": wording.count_markup,
    "duration": wording.duration_text,
    "points": wording.points_text,
    "share": wording.share_text,
    "moment": wording.moment_markup,
    "when": wording.when_markup,
    "clock": wording.clock_markup,
    "day": wording.day_text,
    "first_upper": wording.first_upper,
    "isolated": isolated,
}


#: Separates the two forms of a text until the page is complete. No text of others can contain it.
_MARK: Final = f"\ufdd0{secrets.token_hex(8)}"
_FORMS: Final = re.compile(f"{_MARK}(.*?){_MARK}(.*?){_MARK}", re.DOTALL)
#: Where a text is a value, not words: tags with their attributes, in which ``>`` is escaped, and fields of text.
_VALUES: Final = re.compile(r"<textarea[^>]*>[^<]*|<[^>]*>")


def _isolate(value: object) -> object:
    """Isolate an inserted text, as it may be of others. Markup and texts from left to right stay as they are."""
    if isinstance(value, Markup) or not isinstance(value, str) or value.isascii():
        return value
    shown = isolated(value)
    return value if shown is value else f"{_MARK}{shown}{_MARK}{value}{_MARK}"


def _choose_forms(page: str) -> str:
    """The page in which texts are isolated where they are words, and exact where they are values."""
    exact = _VALUES.sub(lambda found: _FORMS.sub(r"\2", found[0]), page)
    return _FORMS.sub(r"\1", exact)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harken_adapters.hosts.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=_isolate,
    )
    environment.filters.update(_FILTERS)
    return environment


@cache
def _symbols() -> Mapping[str, Markup]:
    text = (files("harken_adapters.hosts.web") / "static" / "icons.svg").read_text("utf-8")
    return {match[1]: Markup(match[0]) for match in _SYMBOL.finditer(text)}  # noqa: S704 - Harken's own file


class Icons:
    """Draws icons, and remembers which were used, so that a page contains the shapes of these only."""

    def __init__(self) -> None:
        self._used: dict[str, None] = {}

    def __call__(self, name: str, size: str = "") -> Markup:
        """An icon; ``size`` is a CSS class, ``s`` for a small one."""
        self._used[name] = None
        kind = f"i {size}" if size else "i"
        return Markup('<svg class="{}" aria-hidden="true"><use href="#i-{}"/></svg>').format(kind, name)

    def shapes(self) -> Markup:
        """The shapes of the icons that were used, to be placed after them."""
        symbols = Markup().join(_symbols()[name] for name in self._used)
        return Markup('<svg id="shapes" width="0" height="0" class="vh" aria-hidden="true">{}</svg>').format(symbols)


def render(template: str, values: Mapping[str, Any]) -> bytes:
    """Render a template with values, as UTF-8. Lone surrogates in texts become question marks."""
    page = _environment().get_template(template).render({**values, "icon": Icons()})
    if _MARK in page:
        page = _choose_forms(page)
    return page.encode(errors="replace")
