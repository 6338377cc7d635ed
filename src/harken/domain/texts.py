"""Texts for people: unknown names, URLs without passwords, unprintable characters, tables in HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal


def unknown_names(names: Iterable[object], known: Iterable[str], what: str = "key") -> str | None:
    """Return ``"unknown key 'a'; expected one of b, c"`` for the names that are not known; ``None`` if all are.

    ``what`` is the noun for a name, in the singular.
    """
    expected = list(known)
    unknown = sorted({str(name) for name in names} - set(expected))
    if not unknown:
        return None
    noun = what if len(unknown) == 1 else f"{what}s"
    return f"unknown {noun} {', '.join(map(repr, unknown))}; {_expected(expected)}"


def no_such(what: str, name: object, known: Iterable[str]) -> str:
    """Return ``"Unknown channel 'a'; expected one of b, c"``."""
    return f"Unknown {what} {name!r}; {_expected(list(known))}"


def _expected(known: Sequence[str]) -> str:
    if not known:
        return "there is none"
    return f"expected {known[0]}" if len(known) == 1 else f"expected one of {', '.join(known)}"


def without_password(url: str) -> str:
    """Return the URL without its user and password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def escape_unprintable(text: str) -> str:
    r"""Replace line ends and other unprintable characters with escapes such as ``\n``."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def as_texts(given: str | Iterable[str]) -> tuple[str, ...]:
    """Return the strings of a collection. A single string is one element.

    Without this, iterating over a single string would give its letters: ``keys="topic"`` must be one key.
    """
    return (given,) if isinstance(given, str) else tuple(given)


def excerpt(text: str, most: int) -> str:
    """Return the beginning of a foreign text in one line: printable, and at most ``most`` characters."""
    if len(text) <= most and text.isprintable():
        return text.strip()
    beginning = text[: 10 * most]
    line = " ".join("".join(one if one.isprintable() else " " for one in beginning).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def html_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    note: str = "",
    *,
    align: Literal["left", "right"] = "right",
) -> str:
    """Return a table in HTML, for notebooks, with a note below it. Every text is escaped."""
    from html import escape  # noqa: PLC0415 - keeps `import harken` light

    def cells(tag: str, texts: Sequence[str]) -> str:
        return "".join(f'<{tag} style="text-align: {align}">{escape(text)}</{tag}>' for text in texts)

    head, body = cells("th", headings), "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    below = f"<p>{escape(note)}</p>" if note else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"
