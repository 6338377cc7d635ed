"""Lists of texts, and texts for messages and logs: unknown names, URLs without passwords, unprintable characters.

Also JSON text of small values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from json import JSONEncoder
from json import encoder as library


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


def json_writer(encoder: JSONEncoder) -> Callable[[object], str]:
    """Return a function that gives the same text as ``encoder.encode``, for values without cycles.

    The encoder prepares itself again for each value, which takes longer than the encoding of a small one.
    """
    make = getattr(library, "c_make_encoder", None)
    if make is None:  # Python without its C accelerator
        return encoder.encode
    escape = library.encode_basestring_ascii if encoder.ensure_ascii else library.encode_basestring
    write = make(
        None,  # no search for cycles
        encoder.default,
        escape,
        encoder.indent,
        encoder.key_separator,
        encoder.item_separator,
        encoder.sort_keys,
        encoder.skipkeys,
        encoder.allow_nan,
    )
    return lambda value: "".join(write(value, 0))
