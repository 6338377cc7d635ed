"""Reads the elements of a list in a JSON document one by one, in constant memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.strict_json import RepeatedMember, parse_at
from harken_adapters.formats.tables.lines import MAX_EXPORTED_CHARACTERS, SHOWN_CHARACTERS, TOO_LONG

_SPACE: Final = re.compile(r"[ \t\n\r]*")
#: The characters that nesting depends on, outside of strings and in them.
_STRUCTURE: Final = re.compile(r'[\[\]{}"]')
_IN_STRING: Final = re.compile(r'"|\\.', re.DOTALL)
_NESTING: Final = {"[": 1, "{": 1, "]": -1, "}": -1}
_SCALAR: Final = re.compile(r'[^\[\]{}",:\s]*')
#: An error or the end of a number this close to the end of what was read may only mean that there is more to read.
_NEAR_THE_END: Final = 16
#: How deep lists are searched.
_MAX_DEPTH: Final = 5


class JsonDocument:
    """A position in a document, which only moves forward."""

    def __init__(self, name: str, chunks: Iterator[str]) -> None:
        """Read nothing yet.

        Args:
            name: the name of the file, for errors.
            chunks: the text in pieces.
        """
        self._name = name
        self._chunks = chunks
        self._text = ""
        self._at = 0
        self._lines_before = 0  # the number of line ends before the text

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            if match := _SPACE.match(self._text, self._at):
                self._at = match.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_more():
                return ""

    def elements(self) -> Iterator[tuple[Any, str]]:
        """The elements of the list that begins here: each value and ``""``, or its text and why it is invalid.

        Raises:
            UnusableFile: the list ends early, or an element is so invalid that the next one cannot be found.
        """
        self._take("[")
        if self.peek() == "]":
            self._at += 1
            return
        while True:
            yield self._value()
            if self.peek() != ",":
                break
            self._at += 1
        self._take("]")

    def go_to(self, key: str, prefix: str = "") -> bool:
        """Go to the list under a dotted path in the object that begins here. Returns whether there is one."""
        for name in self._names():
            path = f"{prefix}{name}"
            if path == key and self.peek() == "[":
                return True
            if key.startswith(f"{path}.") and self.peek() == "{":
                if self.go_to(key, f"{path}."):
                    return True
            else:
                self._skip_member()
        return False

    def lists(self, prefix: str = "", depth: int = 1) -> Iterator[str]:
        """The paths of the lists of objects in the object that begins here."""
        for name in self._names():
            path = f"{prefix}{name}"
            match self.peek():
                case "[":
                    elements = self.elements()
                    first, problem = next(elements, ("", ""))
                    for _ in elements:
                        pass
                    if isinstance(first, dict) or (problem and first.startswith("{")):
                        yield path
                case "{" if depth < _MAX_DEPTH:
                    yield from self.lists(f"{path}.", depth + 1)
                case _:
                    self._skip_member()

    def members(self) -> Iterator[str]:
        """The names in the object that begins here."""
        for name in self._names():
            yield name
            self._skip_member()

    def check_end(self) -> None:
        """Raise ``UnusableFile`` if there is anything but white space."""
        if self.peek():
            raise self._error("there is more after its end; if each line is an object, add --format jsonl")

    def _names(self) -> Iterator[str]:
        """The names of the members of the object that begins here. The caller reads each value before the next name."""
        self._take("{")
        names: set[str] = set()
        while self.peek() != "}" or names:
            if self.peek() != '"':
                raise self._error("expected a name in quotes")
            name, problem = self._value()
            if problem or name in names:
                raise self._error(problem or str(RepeatedMember(name)))
            names.add(name)
            self._take(":")
            yield name
            if self.peek() != ",":
                break
            self._at += 1
        self._take("}")

    def _value(self) -> tuple[Any, str]:
        """The value that begins here and ``""``, or its text and why it is invalid."""
        self.peek()
        while True:
            value, end, problem, is_certain = self._try_value()
            size = len(self._text) - self._at
            # Twice as much, so that a long value is not parsed again for each piece.
            if not is_certain and size < MAX_EXPORTED_CHARACTERS and self._read_more(size):
                continue
            if problem and (is_certain or size < MAX_EXPORTED_CHARACTERS):
                return self._skip(), problem
            if problem or end - self._at >= MAX_EXPORTED_CHARACTERS:
                return self._skip()[:SHOWN_CHARACTERS], TOO_LONG
            self._at = end
            return value, ""

    def _try_value(self) -> tuple[Any, int, str, bool]:
        """The value that begins here, the index after it, why it is invalid, and whether more text changes nothing."""
        try:
            value, end = parse_at(self._text, self._at)
        except json.JSONDecodeError as error:
            is_open = error.msg.startswith("Unterminated string")
            is_certain = len(self._text) - error.pos > _NEAR_THE_END and not is_open
            return None, 0, f"not valid JSON: {error.msg}", is_certain
        except RepeatedMember as error:
            return None, 0, str(error), True
        except (ValueError, RecursionError) as error:
            return None, 0, f"the JSON exceeds a limit: {error}", True
        is_certain = isinstance(value, str | list | dict) or len(self._text) - end > _NEAR_THE_END
        return value, end, "", is_certain

    def _skip_member(self) -> None:
        """Go past the value that begins here. Lists are parsed, which is faster than looking for their end."""
        if self.peek() != "[":
            self._skip()
            return
        for _ in self.elements():
            pass

    def _skip(self) -> str:
        """Go past the value that begins here, which may be invalid. Returns its text, cut off if it is long."""
        if self.peek() not in '[{"':
            return self._skip_scalar()
        parts: list[str] = []
        size, depth, pattern = 0, 0, _STRUCTURE
        while True:
            start = self._at
            match = self._search(pattern)
            if size < MAX_EXPORTED_CHARACTERS:
                parts.append(self._text[start : self._at])
            size += self._at - start
            if match == '"':
                pattern = _STRUCTURE if pattern is _IN_STRING else _IN_STRING
            elif not match and not self._read_more():
                raise self._error(f"{'a string' if pattern is _IN_STRING else 'a list or an object'} is not closed")
            elif pattern is _STRUCTURE:
                depth += _NESTING.get(match, 0)
            if match and depth == 0 and pattern is _STRUCTURE:
                return "".join(parts)

    def _search(self, pattern: re.Pattern[str]) -> str:
        """Go past the next match in the text. Returns it; empty if there is none."""
        if match := pattern.search(self._text, self._at):
            self._at = match.end()
            return match[0]
        # A backslash at the end belongs to the character after it.
        self._at = len(self._text) - (pattern is _IN_STRING and self._text.endswith("\\"))
        return ""

    def _skip_scalar(self) -> str:
        while (end := self._end_of_scalar()) == len(self._text) and end - self._at < MAX_EXPORTED_CHARACTERS:
            if not self._read_more():
                break
        text = self._text[self._at : end]
        self._at = end
        return text

    def _end_of_scalar(self) -> int:
        match = _SCALAR.match(self._text, self._at)
        return match.end() if match else self._at

    def _take(self, character: str) -> None:
        if self.peek() != character:
            raise self._error(f"expected {character}")
        self._at += 1

    def _read_more(self, at_least: int = 1) -> bool:
        """Read more text, and forget what is before the position. Returns whether there was any."""
        parts = []
        size = 0
        while size < at_least and (chunk := next(self._chunks, None)) is not None:
            parts.append(chunk)
            size += len(chunk)
        if not size:
            return False
        self._lines_before += self._text.count("\n", 0, self._at)
        self._text = "".join((self._text[self._at :], *parts))
        self._at = 0
        return True

    def _error(self, problem: str) -> UnusableFile:
        line = 1 + self._lines_before + self._text.count("\n", 0, self._at)
        if not self.peek():
            problem = f"it ends early; {problem}"
        return UnusableFile(f"{self._name} is not valid JSON in line {line}: {problem}")
