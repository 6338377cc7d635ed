"""Texts for people: unknown names, URLs without passwords, unprintable characters.

Also counts and lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

#: How many names get a suggestion, and how long they may be, as the names may be anyone's and comparing takes time.
_MOST_SUGGESTIONS: Final = 3
_LONGEST_SUGGESTED: Final = 100


def unknown_names(names: Iterable[object], known: Iterable[str], what: str = "key") -> str | None:
    """Return ``"unknown key 'a'; expected one of b, c"`` for the names that are not known; ``None`` if all are.

    A name that is similar to a known one is followed by :func:`did_you_mean`. ``what`` is the noun for a name, in the
    singular.
    """
    expected = list(known)
    unknown = sorted({str(name) for name in names} - set(expected))
    if not unknown:
        return None
    noun = what if len(unknown) == 1 else f"{what}s"
    shown = [
        f"{name!r}{did_you_mean(name, expected) if place < _MOST_SUGGESTIONS else ''}"
        for place, name in enumerate(unknown)
    ]
    return f"unknown {noun} {', '.join(shown)}; {_expected(expected)}"


def no_such(what: str, name: object, known: Iterable[str]) -> str:
    """Return ``"Unknown channel 'a'; expected one of b, c"``, with :func:`did_you_mean` after the name."""
    expected = list(known)
    return f"Unknown {what} {name!r}{did_you_mean(str(name), expected)}; {_expected(expected)}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'port'?)"`` if one of several known names is similar, otherwise an empty text."""
    by_lower_case = {one.lower(): one for one in known}
    if len(by_lower_case) < 2 or len(name) > _LONGEST_SUGGESTED:
        return ""
    # Not at the top: only few programs have a mistake to explain.
    from difflib import get_close_matches  # noqa: PLC0415

    similar = get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.7)
    return f" (did you mean {by_lower_case[similar[0]]!r}?)" if similar else ""


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


def listed(texts: Sequence[str], most: int) -> str:
    """Return ``"a, b and 3 more"``: the first ``most`` texts, and how many others there are."""
    more = f" and {len(texts) - most:,} more" if len(texts) > most else ""
    return f"{', '.join(texts[:most])}{more}"


def amount(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun, in the plural unless the count is one; by default, that has an ``s``."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def excerpt(text: str, most: int) -> str:
    """Return the beginning of a foreign text in one line: printable, and at most ``most`` characters."""
    if len(text) <= most and text.isprintable():
        return text.strip()
    beginning = text[: 10 * most]
    line = " ".join("".join(one if one.isprintable() else " " for one in beginning).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
