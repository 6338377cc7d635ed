"""Texts for error messages and logs: unknown names, URLs without passwords, unprintable characters."""

from __future__ import annotations

from collections.abc import Iterable


def unknown_names(names: Iterable[object], known: Iterable[str]) -> str | None:
    """Return ``"unknown a, b; known are c, d"`` for the names that are not known, or ``None`` if all are known."""
    expected = list(known)
    unknown = sorted({str(name) for name in names} - set(expected))
    return f"unknown {', '.join(unknown)}; known are {', '.join(expected)}" if unknown else None


def no_such(what: str, name: object, known: Iterable[str]) -> str:
    """Return the sentence that there is nothing of this kind with this name, and the names that are known."""
    return f"There is no {what} {name!r}; known are {', '.join(known) or 'none'}"


def without_password(url: str) -> str:
    """Return the URL without its user and password."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def escape_unprintable(text: str) -> str:
    r"""Replace line ends and other unprintable characters with escapes such as ``\n``."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
