"""A JSON document with a list of objects: at the top, or in an object, under a path such as ``data.items``."""

from __future__ import annotations

import json
from collections.abc import Iterator

from harken.domain.texts import listed
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.tables.compression import FileContent
from harken_adapters.formats.tables.encoding import INVALID, Encoding
from harken_adapters.formats.tables.json_document import JsonDocument
from harken_adapters.formats.tables.json_lines import describe_other
from harken_adapters.formats.tables.table import Layout, Row
from harken_adapters.formats.tables.text_table import TextTable

_SHOWN_LISTS = 5


class JsonArrayTable(TextTable):
    """A row for each element of a list. One that is not an object, or has a member twice, has a problem."""

    columns = None

    def __init__(self, content: FileContent, encoding: Encoding, key: str | None) -> None:
        """Find the list.

        Args:
            content: the file.
            encoding: its encoding.
            key: the path of the list; ``None`` to find the only one with objects.

        Raises:
            UnusableFile: the document is invalid, or has no such list or several.
        """
        super().__init__(content, encoding)
        self._key = self._find_list(key)
        place = f"the list under {self._key!r}" if self._key else None
        self.layout = Layout(
            "json",
            encoding.name,
            compression=content.compression,
            place=place,
            encoding_is_guess=encoding.is_guess,
        )

    def rows(self) -> Iterator[Row]:
        """The elements."""
        document = self._document()
        if self._key:
            document.go_to(self._key)
        for number, (value, problem) in enumerate(document.elements(), 1):
            if problem:
                yield Row(number, value, problem)
            elif not isinstance(value, dict):
                yield Row(number, json.dumps(value), describe_other(value))
            elif not self._encoding.is_valid and INVALID.search(json.dumps(value, ensure_ascii=False)):
                yield Row(number, json.dumps(value), self._encoding.describe_invalid())
            else:
                yield Row(number, value)
        if not self._key:
            document.check_end()

    def _document(self) -> JsonDocument:
        return JsonDocument(self.name, self._encoding.decode(self._content.chunks()))

    def _find_list(self, key: str | None) -> str:
        """The path of the list; empty if it is the document."""
        if self._document().peek() == "[":
            if key:
                raise UnusableFile(f"{self.name} is a list, in which nothing is under {key!r}; leave out --key")
            return ""
        if key and self._document().go_to(key):
            return key
        document = self._document()
        found = list(document.lists())
        document.check_end()
        if not key and len(found) == 1:
            return found[0]
        names = listed(found, _SHOWN_LISTS)
        if key:
            there_are = f"there are lists under {names}" if found else f"it has no list of objects, {self._members()}"
            raise UnusableFile(f"{self.name} has no list under {key!r}; {there_are}")
        if not found:
            raise UnusableFile(f"{self.name} has no list of objects")
        raise UnusableFile(f"{self.name} has several lists of objects; choose one with --key: {names}")

    def _members(self) -> str:
        names = [repr(name) for name in self._document().members()]
        return f"only {listed(names, _SHOWN_LISTS)}" if names else "as it is empty"
