"""Tells encodings apart by the letters of languages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final


def _in_both_cases(*alphabets: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(letters + letters.upper()) for letters in alphabets)


#: The letters outside ASCII of languages whose encoding is cp1252, without rare ones, and the signs around words.
_WESTERN: Final = _in_both_cases(
    "äöüß",  # German
    "àâæçéèêëîïôœùû",  # French
    "áéíñóúü",  # Spanish
    "àèéìòù",  # Italian
    "áâãàçéêíóôú",  # Portuguese
    "äåöé",  # Swedish, Finnish
    "æøåé",  # Danish, Norwegian
    "éëèïöü",  # Dutch
)
#: The same of other languages, some of whose letters would be plausible if they were decoded wrongly.
_OTHERS: Final = _in_both_cases(
    "áâãàçéêíóôõú",  # Portuguese
    "àçéèíïóòúü",  # Catalan
    "áðéíóúýþæö",  # Icelandic
    "äõöüšž",  # Estonian
    "ąćęłńóśźż",  # Polish
    "áčďéěíňóřšťúůýžäľô",  # Czech, Slovak
    "áéíóöőúüű",  # Hungarian
    "čćđšž",  # Croatian, Slovenian
    "ăâîşţ",  # Romanian
    "çğıöşüâîûİ",  # Turkish
    "ąčęėįšųūž",  # Lithuanian
    "āčēģīķļņšūž",  # Latvian
)
#: Encodings of Latin script; of those that fit alike, the first is taken.
_LATIN: Final = ("cp1252", "cp1250", "cp1254", "cp1257", "iso8859-2", "cp850", "mac-roman")
#: The share of the characters that a language has if the encoding is right. Others are in names.
_MOST: Final = 0.9
#: How much better another encoding must fit than cp1252.
_MARGIN: Final = 0.05
#: Fewer characters than this are those of several Western languages rather than of another one.
_FEW: Final = 12
#: The share of the letters of another script that are in words of only such letters.
_MOST_IN_WORDS: Final = 0.75
#: The last letter of Latin script.
_LAST_LATIN: Final = "\u024f"
_LETTERS: Final = re.compile(r"[^\W\d_]+")
_PART: Final = re.compile(r"[^\s\0-\x2c]+")
#: Signs of all languages.
_SIGNS: Final = frozenset("“”‘’„‚‹›«»–—…€£©®™°§•·´²³¹½¼¾ªº¡¿\u00a0\u00ad")  # noqa: RUF001 - they are meant
#: Those that may be in words, and those that are never after a letter.
_IN_WORDS: Final = frozenset("’–—…·´\u00ad")  # noqa: RUF001 - they are meant
_BEFORE_WORDS: Final = frozenset("„‚‹•¡¿")  # noqa: RUF001 - they are meant
#: Letters that never stand alone.
_NEVER_ALONE: Final = frozenset("ŠŽŒ")


def is_in_another_script(text: str, encoding: str) -> bool:
    """Whether text is in another script than Latin, and not Latin script that was decoded wrongly.

    That would have letters of the other script among ASCII letters, or alone.

    Args:
        text: some of the text.
        encoding: the encoding by which it was decoded.
    """
    in_words = total = 0
    for word in _LETTERS.findall(text):
        others = sum(letter > _LAST_LATIN for letter in word)
        total += others
        if others == len(word) and len(word.encode(encoding, "replace")) > 1:
            in_words += others
    return bool(total) and in_words >= _MOST_IN_WORDS * total


def latin_encoding(sample: bytes) -> str | None:
    """The encoding of text in Latin script: one in which languages have nearly all of its letters, else ``None``."""
    western, *others = _LATIN
    words = list(_words(sample.decode(western, "replace")))
    fits = {name: _fit(list(_words(sample.decode(name, "replace")))) for name in others}
    fits[western] = _fit(words) + _MARGIN
    if sum(map(len, words)) < _FEW:
        fits[western] = max(fits[western], _western_share(words) + _MARGIN)
    best = max(_LATIN, key=fits.__getitem__)
    if fits[best] >= _MOST:
        return best
    return western if _western_share(words) >= _MOST else None


def _fit(words: Sequence[Sequence[str]]) -> float:
    """The largest share of characters that one language has."""
    found = Counter(chain.from_iterable(words))
    alphabets = _WESTERN + _OTHERS
    return max(sum(found[letter] for letter in one) for one in alphabets) / found.total() if found else 1.0


def _western_share(words: Sequence[Sequence[str]]) -> float:
    """The share of words of which some Western language has all characters."""
    fitting = sum(any(letters.issuperset(word) for letters in _WESTERN) for word in words)
    return fitting / len(words) if words else 1.0


def _words(text: str) -> Iterator[Sequence[str]]:
    """The characters outside ASCII in each word, except signs; empty for one that cannot be where it is."""
    for part in _PART.findall(text):
        if not part.isascii() and (found := list(_characters(f" {part} "))):
            yield found


def _characters(part: str) -> Iterator[str]:
    for before, here, after in zip(part, part[1:], part[2:], strict=False):
        if here.isascii():
            continue
        if here in _SIGNS:
            if before.isalpha() and (here in _BEFORE_WORDS or (after.isalpha() and here not in _IN_WORDS)):
                yield ""
        elif here.isupper() and (before.islower() or (here in _NEVER_ALONE and not (before + after).strip())):
            yield ""
        else:
            yield here
