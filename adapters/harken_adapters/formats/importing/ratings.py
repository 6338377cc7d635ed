"""What the values of a rating column mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from harken import Rating
from harken.domain.rules import MAX_CONTEXT_VALUE_LENGTH
from harken.domain.texts import excerpt, listed, no_such
from harken_adapters.formats.errors import BadRow, UnusableFile
from harken_adapters.formats.values import canonical_text, is_empty

#: The key of ``--rating`` for all values that have no other meaning.
OTHER: Final = "other"
#: How many values a refusal lists.
_LISTED: Final = 12
_SHOWN_CHARACTERS: Final = 40
#: How many readings are remembered.
_REMEMBERED: Final = 10_000

_UP, _DOWN, _NEUTRAL = Rating.UP, Rating.DOWN, Rating.NEUTRAL
#: The meaning of words, without the characters in ``_SEPARATORS``.
_WORDS: Final[Mapping[str, Rating]] = {
    "": _NEUTRAL,
    **dict.fromkeys(("up", "yes", "like", "liked", "thumbsup", "positive", "true", "👍"), _UP),
    **dict.fromkeys(("down", "no", "dislike", "disliked", "thumbsdown", "negative", "false", "👎"), _DOWN),
    "neutral": _NEUTRAL,
}
#: Words for no rating, as programs for data write them, which are not kept in the context as the original value.
_ABSENT: Final = frozenset({"", "-", "none", "null", "nan", "n/a", "na", "#n/a", "<na>", "undefined"})
_SEPARATORS: Final = re.compile("[ _-]")
#: Skin tones, and the selector of a coloured symbol.
_VARIANTS: Final = re.compile("[\ufe0f\U0001f3fb-\U0001f3ff]")
_NUMBER: Final = re.compile(r"[+-]?\d{1,15}(\.\d{1,15})?([eE][+-]?\d{1,2})?")
#: A number as it is written on a scale: ``4``, ``4,0``, ``4/5``, ``4 out of 5``, ``4 stars``, ``80%``.
_ON_SCALE: Final = re.compile(
    r"(?P<number>\d{1,15}([.,]\d{1,15})?)\s*(?:(?:/|of|out of)\s*(?P<highest>\d{1,3}))?\s*(?P<unit>stars?|%)?",
    re.IGNORECASE,
)
#: Symbols of stars, and of those that were not given.
_STARS: Final = re.compile("([★⭐🌟]+)([☆✩]*)")
#: How plain numbers are read in a column that holds no others.
_SIGNED: Final = {"1": _UP, "0": _NEUTRAL, "-1": _DOWN}
_BINARY: Final = {"1": _UP, "0": _DOWN}

#: Numbers that are probably ratings, and the share of the values of a column that are, if it holds ratings.
_SMALL: Final = frozenset(map(str, range(-1, 11)))
_NEARLY_ALL: Final = 0.9


@frozen
class Scale:
    """A scale of numbers: up to ``down`` they are thumbs-down, and from ``up`` on thumbs-up.

    Attributes:
        unit: what may be written after a number.
    """

    lowest: float
    down: float
    up: float
    highest: float
    description: str
    unit: str = ""

    def read_text(self, text: str) -> Rating | None:
        """The rating of a number that may be written in one of several ways; ``None`` if it is not on the scale."""
        if _NUMBER.fullmatch(text):
            return self.read(float(text))
        if self.unit == "star" and (stars := _STARS.fullmatch(_VARIANTS.sub("", text))):
            given, others = stars.groups()
            return self.read(len(given)) if not others or len(given) + len(others) == self.highest else None
        if (match := _ON_SCALE.fullmatch(text)) is None:
            return None
        number, highest, unit = float(match["number"].replace(",", ".")), match["highest"], match["unit"] or ""
        if (highest and float(highest) != self.highest) or unit.lower().removesuffix("s") not in ("", self.unit):
            return None
        return self.read(number / 100 if unit == "%" else number)

    def read(self, number: float) -> Rating | None:
        """The rating; ``None`` for a number that is not on the scale."""
        if not self.lowest <= number <= self.highest:
            return None
        return _DOWN if number <= self.down else _UP if number >= self.up else _NEUTRAL


_BELOW_HALF: Final = 0.5 - 2**-50
#: The values of ``--scale``, the one with the fewest numbers first.
SCALES: Final[Mapping[str, Scale]] = {
    "0..1": Scale(0, _BELOW_HALF, 1 - _BELOW_HALF, 1, "below 0.5 down, 0.5 neutral, above 0.5 up", "%"),
    "stars": Scale(1, 2, 4, 5, "1-2 down, 3 neutral, 4-5 up", "star"),
    "nps": Scale(0, 6, 9, 10, "0-6 down, 7-8 neutral, 9-10 up"),
}


def canonical(value: object) -> str:
    """The text by which a value is recognised: ``5``, ``5.0``, ``"5"`` and ``" 5.00 "`` have the same, ``"5"``."""
    text = "" if is_empty(value) else canonical_text(value).strip()
    if not _NUMBER.fullmatch(text):
        return text
    number = float(text)
    return str(int(number)) if number.is_integer() else repr(number)


def _word(text: str) -> Rating | None:
    lowered = text.casefold()
    return _NEUTRAL if lowered in _ABSENT else _WORDS.get(_SEPARATORS.sub("", _VARIANTS.sub("", lowered)))


def are_ratings(values: Sequence[object]) -> bool:
    """Whether nearly all of these values look like ratings: words and thumbs, or numbers up to 10 that do not count."""
    texts = [text for text in map(canonical, values) if text.casefold() not in _ABSENT]
    numbers = [text for text in texts if text in _SMALL]
    # A few numbers may mean anything, and numbers of rows are in order.
    if numbers and len(numbers) == len(texts):
        first = int(numbers[0])
        return len(numbers) > 2 and [*map(int, numbers)] != [*range(first, first + len(numbers))]
    known = len(numbers) + sum(_word(text) is not None for text in texts)
    return bool(texts) and known >= _NEARLY_ALL * len(texts)


class Ratings:
    """Reads the ratings of a column.

    Args:
        counts: how often each value occurs, by its :func:`canonical` text, or those of the most frequent values.
        scale: the name of the scale of its numbers.
        chosen: the ratings of values, see :class:`harken_adapters.formats.import_options.ImportOptions`.

    Attributes:
        plain_numbers: what 1, 0 and -1 mean without a scale, beside the values that occur; empty with a scale.

    Raises:
        UnusableFile: the scale or a rating is unknown.
    """

    def __init__(
        self,
        counts: Mapping[str, int] | None = None,
        *,
        scale: str | None = None,
        chosen: Mapping[str, str] | None = None,
    ) -> None:
        self.counts = counts or {}
        self.scale = scale
        self._chosen = {canonical(value).casefold(): _rating_of(value, word) for value, word in (chosen or {}).items()}
        self._other = self._chosen.pop(OTHER, None)
        if scale is not None and scale not in SCALES:
            raise UnusableFile(no_such("scale", scale, SCALES))
        self.plain_numbers: Mapping[str, Rating] = {} if scale else _plain(self.counts)
        self._number = SCALES[scale].read_text if scale else self.plain_numbers.get
        self._known: dict[str, tuple[Rating, str | None]] = {}

    def read(self, value: Any) -> tuple[Rating, str | None]:
        """The rating, and the original value as text if it was translated.

        Raises:
            BadRow: the value has no meaning.
        """
        key = value if type(value) is str else canonical(value)
        if (known := self._known.get(key)) is not None:
            return known
        text = canonical(key)
        if (rating := self._meaning(text)) is None:
            raise BadRow(f"Unknown rating {excerpt(text, _SHOWN_CHARACTERS)!r}{self._expected}")
        lowered = text.casefold()
        found = rating, None if lowered in _ABSENT or lowered == rating.word else text[:MAX_CONTEXT_VALUE_LENGTH]
        if len(self._known) < _REMEMBERED:
            self._known[key] = found
        return found

    @property
    def counted(self) -> set[str]:
        """The values that occur, in which case makes no difference."""
        return {text.casefold() for text in self.counts}

    def meanings(self) -> dict[str, Rating]:
        """The rating of each value that occurs and can be read."""
        return {text: rating for text in self.counts if (rating := self._meaning(text)) is not None}

    def check(self, columns: Sequence[str]) -> None:
        """Refuse columns whose values are ambiguous.

        Raises:
            UnusableFile: more of their values cannot be read than can.
        """
        unknown = {text: count for text, count in self.counts.items() if self._meaning(text) is None}
        known = sum(count for text, count in self.counts.items() if text and text not in unknown)
        if sum(unknown.values()) > known:
            where = " or ".join(map(repr, columns))
            what = f"not on the scale {self.scale}" if self.scale else "ambiguous"
            raise UnusableFile(f"The ratings in {where} are {what}: {_listed(unknown)}. {self._advice()}")

    def _advice(self) -> str:
        """The options that read the column."""
        texts = [text for text in self.counts if text.casefold() not in self._chosen and _word(text) is None]
        numbers = [text for text in texts if any(scale.read_text(text) for scale in SCALES.values())]
        are_most = sum(self.counts[one] for one in numbers) * 2 > sum(self.counts[one] for one in texts)
        fitting = [name for name, scale in SCALES.items() if are_most and all(map(scale.read_text, numbers))]
        by_value = (
            "say what each value means with --rating VALUE=up, down or neutral, and --rating other=... for the rest"
        )
        if not fitting:
            return by_value[0].upper() + by_value[1:]
        scales = " or ".join(f"--scale {name} ({SCALES[name].description})" for name in fitting)
        return f"Add {scales}, or {by_value}"

    @property
    def _expected(self) -> str:
        return f"; the scale is {SCALES[self.scale].description}" if self.scale else ""

    def _meaning(self, text: str) -> Rating | None:
        chosen = self._chosen.get(text.casefold())
        if chosen is not None:
            return chosen
        rating = self._number(text)
        # With a rating for all other values, only those are read that were named, and those that say there is none.
        if rating is None and (self._other is None or text.casefold() in _ABSENT):
            rating = _word(text)
        return self._other if rating is None else rating


def _rating_of(value: str, word: str) -> Rating:
    try:
        return Rating.from_word(word.strip().lower())
    except ValueError:
        raise UnusableFile(
            f"{excerpt(word, _SHOWN_CHARACTERS)!r} is not a rating for {excerpt(value, _SHOWN_CHARACTERS)!r}; "
            "expected up, down or neutral"
        ) from None


def _plain(counts: Mapping[str, int]) -> Mapping[str, Rating]:
    """How numbers without a scale are read: as 1 and -1, or as 1 and 0 in a column that holds nothing else."""
    values = {text for text in counts if text.casefold() not in _ABSENT}
    numbers = {text for text in values if _NUMBER.fullmatch(text)}
    if "-1" in numbers and numbers <= _SIGNED.keys():
        return _SIGNED
    # Ones alone may be the worst of five stars, and zeros alone may be neutral.
    if values == _BINARY.keys():
        return _BINARY
    return {}


def _listed(counts: Mapping[str, int]) -> str:
    texts = sorted((text for text in counts if text), key=_by_number)
    return listed([f"{excerpt(text, _SHOWN_CHARACTERS)} ({counts[text]:,})" for text in texts], _LISTED)


def _by_number(text: str) -> tuple[bool, float, str]:
    is_number = _NUMBER.fullmatch(text) is not None
    return not is_number, float(text) if is_number else 0, text
