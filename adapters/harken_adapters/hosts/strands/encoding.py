"""What agents say and know, as JSON that every storage keeps alike.

Strands lets an agent's state and messages hold more than JSON can say. What JSON lacks is kept under a mark, as Strands
does with bytes, and comes back as it was::

    float("nan")  ->  {"__harken_encoded__": "float", "data": "nan"}
    b"abc"        ->  {"__bytes_encoded__": true, "data": "YWJj"}

What only another library understands comes back as text.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import date, time
from math import isfinite
from typing import Any, Final

from attrs import define, field, frozen

from harken.ports.sessions import JsonValue

logger = logging.getLogger(__name__)

#: How deep values may be nested. What is deeper, Strands itself could not restore: it walks them by recursion.
MAX_DEPTH: Final = 200
#: What Strands marks bytes with.
_BYTES: Final = "__bytes_encoded__"
#: What else is marked, and what kind of value it is: ``float``, ``int``, or a ``dict`` that looks like a mark itself.
_MARK: Final = "__harken_encoded__"
#: Python writes and reads no longer integers as decimal text.
_LONGEST_INTEGER_BITS: Final = 10_000
#: The content blocks that carry a file.
_MEDIA: Final = frozenset({"image", "document", "video", "audio"})
#: Shorter texts are not worth leaving out.
_LONG_TEXT: Final = 1_000

_Object = dict[str, Any]


def encoded(value: object, what: str) -> Any:
    """A value as JSON can say it; warns of what comes back as text, or not at all.

    Args:
        value: anything.
        what: what it is, for the warning.
    """
    encoder = _Encoder()
    result = encoder.encode(value)
    if encoder.changed:
        logger.warning("%s has values that JSON cannot say; kept as text: %s", what, ", ".join(sorted(encoder.changed)))
    return result


def decoded(value: Any) -> Any:
    """The inverse of :func:`encoded`; an invalid mark is left as it is."""
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_MARK, "data"}:
        return _unmarked(value)
    if value.get(_BYTES) is True and isinstance(value.get("data"), str):
        try:
            return base64.b64decode(value["data"])
        except binascii.Error:
            return value
    return {name: decoded(item) for name, item in value.items()}


def size_of(value: JsonValue) -> int:
    """How many bytes a value takes as JSON."""
    return len(json.dumps(value))


def fitted(value: _Object, limit: int, what: str) -> _Object:
    """An encoded value with at most ``limit`` bytes as JSON, or with as few as leaving out large parts gets it to.

    Files go first if that is enough, otherwise the largest of files and texts; then whole tool inputs, tool results and
    values of an agent's state. A placeholder says what was there. In the place of a file's content block it is a
    content block of text, which every model takes.
    """
    left_out: list[str] = []
    for find in (_files_and_texts, _structures):
        excess = size_of(value) - limit
        if excess <= 0:
            break
        left_out += _leave_out(find(value), excess)
    if left_out:
        logger.warning(
            "%s has more than %s bytes as JSON; left out of what is kept: %s", what, f"{limit:,}", ", ".join(left_out)
        )
    return value


def _leave_out(parts: Iterable[_Part], excess: int) -> list[str]:
    """Put placeholders in the place of the largest parts until that is enough; what they were."""
    largest_first = sorted(parts, key=lambda part: -part.size)
    files = [part for part in largest_first if part.is_file]
    left_out = []
    for part in files if sum(part.size for part in files) >= excess else largest_first:
        if excess <= 0:
            break
        placeholder = part.placeholder()
        part.holder[part.place] = placeholder
        excess -= part.size - size_of(placeholder)
        left_out.append(f"{part.name} ({part.size:,} bytes)")
    return left_out


@define
class _Encoder:
    """Makes JSON of one value; ``changed`` names the types of what became text."""

    changed: set[str] = field(factory=set)
    _within: set[int] = field(factory=set)

    def encode(self, value: object) -> Any:
        """The value as JSON."""
        if value is None or isinstance(value, bool | str | int | float):
            return _scalar(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return {_BYTES: True, "data": base64.b64encode(value).decode()}
        if isinstance(value, Mapping | list | tuple | AbstractSet):
            return self._inside(value)
        if is_dataclass(value) and not isinstance(value, type):
            return self._inside({one.name: getattr(value, one.name) for one in fields(value)})
        return self._as_text(value, value.isoformat() if isinstance(value, date | time) else _text(value))

    def _inside(self, value: Any) -> Any:
        if id(value) in self._within or len(self._within) >= MAX_DEPTH:
            return self._as_text(value, f"[a {type(value).__name__} nested too deeply to be kept]")
        self._within.add(id(value))
        # Loops, as a comprehension would take one more frame of the stack for each level.
        made: Any = {} if isinstance(value, Mapping) else []
        if isinstance(value, Mapping):
            for name, item in value.items():
                made[self._name(name)] = self.encode(item)
        else:
            for item in value:
                made.append(self.encode(item))
        self._within.discard(id(value))
        return _marked(made) if isinstance(made, dict) else made

    def _name(self, name: object) -> str:
        """A name as JSON has it, which knows only texts: ``1`` becomes ``"1"``, as with ``json.dumps``."""
        if isinstance(name, str):
            return str.__str__(name)
        if isinstance(name, int) and name.bit_length() > _LONGEST_INTEGER_BITS:
            return hex(name)
        if name is None or isinstance(name, bool | int | float):
            return json.dumps(name)
        self.changed.add(type(name).__name__)
        return _text(name)

    def _as_text(self, value: object, text: str) -> str:
        self.changed.add(type(value).__name__)
        return text


def _marked(made: _Object) -> _Object:
    """A dictionary, under a mark if it looks like one itself."""
    looks_like_a_mark = made.get(_BYTES) is True or _MARK in made
    return {_MARK: "dict", "data": list(map(list, made.items()))} if looks_like_a_mark else made


def _scalar(value: str | float | bool | None) -> Any:
    """A value of exactly one of JSON's types, also if it was of a class made from one, such as an enumeration."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value) if value.bit_length() <= _LONGEST_INTEGER_BITS else {_MARK: "int", "data": hex(value)}
    return float(value) if isfinite(value) else {_MARK: "float", "data": str(float(value))}


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - of any class, and no text is a reason to stop a turn
        return f"<{type(value).__name__}>"


def _unmarked(value: _Object) -> Any:
    kind, data = value[_MARK], value["data"]
    try:
        match kind:
            case "float":
                return float(data)
            case "int":
                return int(data, 16)
            case "dict":
                return {name: decoded(item) for name, item in data}
    except (TypeError, ValueError):
        pass
    return {_MARK: decoded(kind), "data": decoded(data)}


@frozen
class _Part:
    """Something large that can be left out, and where it is."""

    holder: Any
    place: Any
    name: str
    size: int
    is_file: bool = False
    is_block: bool = False

    def placeholder(self) -> Any:
        """What to put in its place: text, as a content block where it is one."""
        text = f"[{self.name} of {self.size:,} bytes was too large to be kept]"
        return {"text": text} if self.is_block else text


def _files_and_texts(value: Any) -> Iterator[_Part]:
    return _parts(value, _file_or_text)


def _structures(value: Any) -> Iterator[_Part]:
    state = value.get("state")
    if isinstance(state, dict):
        yield from (_Part(state, name, name, size_of(item)) for name, item in state.items())
    yield from _parts({name: item for name, item in value.items() if name != "state"}, _structure)


def _parts(value: Any, part_at: Callable[[Any, Any], _Part | None]) -> Iterator[_Part]:
    """The parts of a value, however deep; none lies in another."""
    holders = [value]
    while holders:
        holder = holders.pop()
        for place in list(holder) if isinstance(holder, dict) else range(len(holder)):
            if part := part_at(holder, place):
                yield part
            elif isinstance(holder[place], dict | list):
                holders.append(holder[place])


def _file_or_text(holder: Any, place: Any) -> _Part | None:
    item = holder[place]
    if isinstance(item, str):
        return _Part(holder, place, "text", size_of(item)) if len(item) > _LONG_TEXT else None
    if not isinstance(item, dict):
        return None
    if item.get(_BYTES) is True:
        return _Part(holder, place, "bytes", size_of(item), is_file=True)
    kind = next(iter(item), "")
    if len(item) == 1 and kind in _MEDIA and isinstance(item[kind], dict):
        name = f"{item[kind].get('format', 'unknown')} {kind}"
        return _Part(holder, place, name, size_of(item), is_file=True, is_block=True)
    return None


def _structure(holder: Any, place: Any) -> _Part | None:
    item = holder[place]
    if isinstance(item, dict) and item.keys() == {"json"}:
        return _Part(holder, place, "JSON", size_of(item), is_block=True)
    if isinstance(holder, dict) and place == "input" and "toolUseId" in holder:
        return _Part(holder, place, "input", size_of(item), is_block=True)
    return None
