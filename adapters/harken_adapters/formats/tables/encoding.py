"""Detects the encoding of text, and decodes it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from attrs import frozen

from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.tables.alphabets import is_in_another_script, latin_encoding
from harken_adapters.formats.tables.compression import FileContent

#: Characters that bytes become which are invalid in the encoding. Valid text never has them.
INVALID: Final = re.compile("[\ud800-\udfff]")
#: In this order, as the mark of UTF-32 begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: Byte order marks at the beginning, also where a program added another one, or read it in another encoding before.
_LEADING_MARKS: Final = re.compile("(?:\ufeff|ï»¿)+")
_OUTSIDE_ASCII: Final = re.compile("[^\0-\x7f]+")
_SAMPLE: Final = 1 << 16


@frozen
class Encoding:
    """How bytes become text.

    Attributes:
        name: the name that Python has for it.
        is_valid: whether all bytes are valid in it.
        is_guess: whether it was guessed by what is common in languages, so that it may be another one.
    """

    name: str
    is_valid: bool
    is_guess: bool = False

    def decode(self, chunks: Iterable[bytes]) -> Iterator[str]:
        """The text in pieces, without byte order marks. Invalid bytes become surrogates."""
        decoder = _decoder(self.name)
        is_first = True
        for chunk in chunks:
            text = decoder.decode(chunk)
            if text:
                yield _LEADING_MARKS.sub("", text, count=1) if is_first and _LEADING_MARKS.match(text) else text
                is_first = False
        # What remains of an incomplete character.
        rest = decoder.getstate()[0]
        yield "".join(chr(0xDC00 + byte) for byte in rest)

    def describe_invalid(self) -> str:
        """Why a row with invalid bytes is rejected."""
        if self.name == "utf-8":
            return "the row is not UTF-8; save the file as UTF-8 and import it again"
        return f"the row is not valid {self.name}"


def _decoder(name: str) -> codecs.IncrementalDecoder:
    # What Python has for this is faster, and there may be many invalid bytes, but some encodings do not support it.
    return codecs.getincrementaldecoder(name)("surrogateescape" if name == "utf-8" else _TO_SURROGATES)


def _to_surrogates(error: UnicodeError) -> tuple[str, int]:
    """Replace each invalid byte by a surrogate, as ``surrogateescape`` does, also in ASCII."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


_TO_SURROGATES: Final = "harken.surrogates"
codecs.register_error(_TO_SURROGATES, _to_surrogates)


def readable(text: str) -> str:
    """The text with its invalid bytes as escapes."""
    return INVALID.sub(lambda match: _escape(ord(match[0])), text)


def _escape(surrogate: int) -> str:
    byte = surrogate - 0xDC00
    return f"\\x{byte:02x}" if 0 <= byte <= 0xFF else f"\\u{surrogate:04x}"


def detect_encoding(content: FileContent, named: str | None) -> Encoding:
    """The encoding of a file: the named one, that of its byte order mark, UTF-8, UTF-16, or else a legacy encoding.

    All of it is read. A file is UTF-8 if more of its characters are valid than invalid, so that a few invalid rows do
    not change the meaning of all others. Characters are invalid if they are next to invalid bytes, as some pairs of
    characters in other encodings are valid.

    Raises:
        UnusableFile: the named encoding is unknown, or no encoding was found.
    """
    if named is not None:
        return _named(content, named)
    start = next(content.chunks(), b"")
    for mark, name in _MARKS:
        if start.startswith(mark):
            return Encoding(name, _scan(content, name).is_valid)
    if wide := _wide(start[:_SAMPLE]):
        return Encoding(wide, _scan(content, wide).is_valid)
    scan = _scan(content, "utf-8")
    if scan.invalid > scan.valid:
        return _legacy(content, scan.sample)
    return Encoding("utf-8", scan.is_valid)


def _named(content: FileContent, name: str) -> Encoding:
    try:
        "".encode(name)  # refuses codecs that are not for text, such as base64
        name = codecs.lookup(name).name
        if name in ("utf-16", "utf-32"):
            start = next(content.chunks(), b"")
            order = "be" if start.startswith((codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)) else "le"
            name = f"{name}-{order}"
        name = "utf-8" if name == "utf-8-sig" else name
        return Encoding(name, _scan(content, name).is_valid)
    except (LookupError, UnicodeError):
        raise UnusableFile(
            f"Unknown encoding {name!r}; use a name such as utf-8, utf-16, cp1252 or shift_jis"
        ) from None


@frozen
class _Scan:
    """What decoding all bytes has shown.

    Attributes:
        valid: the number of bytes in characters outside ASCII, less one for each of them.
        invalid: the number of invalid bytes, and of characters outside ASCII that are next to them.
        is_valid: whether all bytes are valid; not if the last character is incomplete.
        sample: some of the lines outside ASCII.
    """

    valid: int
    invalid: int
    is_valid: bool
    sample: bytes


def _scan(content: FileContent, name: str) -> _Scan:
    decoder = _decoder(name)
    valid = invalid = 0
    sample = b""
    for chunk in content.chunks():
        text = decoder.decode(chunk)
        if text.isascii() and chunk.isascii():
            continue
        right = _OUTSIDE_ASCII.sub(_without_invalid, text) if INVALID.search(text) else text
        invalid += len(text) - len(right)
        valid += len(right.encode()) - len(right)
        if len(sample) < _SAMPLE:
            lines = (line for line in chunk.splitlines(keepends=True) if not line.isascii())
            sample += b"".join(lines)[:_SAMPLE]
    return _Scan(valid, invalid, not invalid and not decoder.getstate()[0], sample)


def _without_invalid(match: re.Match[str]) -> str:
    return "" if INVALID.search(match[0]) else match[0]


def _wide(start: bytes) -> str | None:
    """UTF-16 without a byte order mark: every other byte of Latin text is 0."""
    zeros = [start[0::2].count(0), start[1::2].count(0)]
    if max(zeros) * 8 < len(start) or min(zeros) * 50 > max(zeros) or not any(zeros):
        return None
    return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"


def _likely(guesses: Sequence[str], sample: bytes) -> str | None:
    """The encoding of a sample, of guesses by the bytes that are common in languages, the likeliest first."""
    others = [name for name in guesses if is_in_another_script(sample.decode(name, "replace"), name)]
    if others and others[0] == guesses[0]:
        return others[0]
    return latin_encoding(sample) or next(iter([*others, *guesses]), None)


def _legacy(content: FileContent, sample: bytes) -> Encoding:
    """The legacy encoding in which all bytes are valid."""
    name, hint = content.source.name, "add its encoding, such as --encoding cp1252, or save it as UTF-8"
    try:
        from chardet import EncodingEra, detect_all  # noqa: PLC0415 - only files that are not UTF-8 need it
    except ImportError:
        raise UnusableFile(f'{name} is not UTF-8; {hint}, or pip install "harken[files]", which detects it') from None
    guesses = detect_all(
        sample, ignore_threshold=True, encoding_era=EncodingEra.MODERN_WEB, prefer_superset=True, compat_names=False
    )
    found = _likely([guess["encoding"] for guess in guesses if guess["encoding"]], sample)
    if found is None or (scan := _scan(content, found)).invalid:
        raise UnusableFile(f"{name} is not UTF-8, and its encoding is unknown; {hint}")
    return Encoding(codecs.lookup(found).name, scan.is_valid, is_guess=True)
