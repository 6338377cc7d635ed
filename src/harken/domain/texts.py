"""Texts for error messages and logs: unknown names, URLs without passwords, unprintable characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


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


def excerpt(text: str, most: int) -> str:
    """Return the beginning of a foreign text in one line: printable, and at most ``most`` characters."""
    if len(text) <= most and text.isprintable():
        return text.strip()
    beginning = text[: 10 * most]
    line = " ".join("".join(one if one.isprintable() else " " for one in beginning).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
