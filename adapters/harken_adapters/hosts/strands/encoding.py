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
from functools import partial
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
#: Shorter texts are not worth leaving out, nor are smaller content blocks one by one.
_LONG_TEXT: Final = 1_000
#: The blocks that belong together in pairs. A model refuses a conversation in which one of a pair is missing.
_TOOL_BLOCKS: Final = frozenset({"toolUse", "toolResult"})
#: What messages, calls of tools and their results consist of. Anything else in them can be left out.
_KNOWN: Final = frozenset({"role", "content", "tracking_id", "toolUseId", "name", "input", "status"}) | _TOOL_BLOCKS
#: Bytes that any placeholder has room in.
_PLACEHOLDER: Final = 200
_LONGEST_NAME: Final = 50
_MOST_LOGGED: Final = 20

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
    values of an agent's state; then whole content blocks, and the last blocks of long lists of them; and finally the
    whole content of a message, so that the record of a message always fits. A placeholder says what was there. In the
    place of a content block it is a content block of text, which every model takes.
    """
    left_out: list[str] = []
    for leave_out in (
        partial(_leave_out, _files_and_texts),
        partial(_leave_out, _structures),
        partial(_leave_out, _blocks),
        _leave_out_last_blocks,
        partial(_leave_out, _messages),
    ):
        excess = size_of(value) - limit
        if excess <= 0:
            break
        left_out += leave_out(value, excess)
    if left_out:
        more = f" and {len(left_out) - _MOST_LOGGED:,} more" if len(left_out) > _MOST_LOGGED else ""
        names = ", ".join(left_out[:_MOST_LOGGED])
        logger.warning(
            "%s has more than %s bytes as JSON; left out of what is kept: %s%s", what, f"{limit:,}", names, more
        )
    return value


def _leave_out(find: Callable[[_Object], Iterable[_Part]], value: _Object, excess: int) -> list[str]:
    """Put placeholders in the place of the largest parts until that is enough; what they were."""
    largest_first = sorted(find(value), key=lambda part: -part.size)
    files = [part for part in largest_first if part.is_file]
    left_out = []
    for part in files if sum(part.size for part in files) >= excess else largest_first:
        if excess <= 0:
            break
        placeholder = part.placeholder()
        saved = part.size - size_of(placeholder)
        if saved <= 0:
            continue
        part.holder[part.place] = placeholder
        excess -= saved
        left_out.append(f"{part.name} ({part.size:,} bytes)")
    return left_out


def _leave_out_last_blocks(value: _Object, excess: int) -> list[str]:
    """Put one placeholder in the place of the last blocks of a content list, in tool results before messages."""
    left_out = []
    for holder in reversed(_content_holders(value)):
        removed = saved = position = 0
        kept: list[Any] = []
        for block in reversed(holder["content"]):
            if saved - _PLACEHOLDER >= excess or _is_tool_block(block):
                kept.append(block)
                continue
            removed += 1
            saved += size_of(block) + len(", ")
            position = len(kept)
        if saved <= _PLACEHOLDER:
            continue
        kept.insert(position, {"text": f"[{removed:,} blocks of {saved:,} bytes were too large to be kept]"})
        holder["content"] = kept[::-1]
        excess -= saved - _PLACEHOLDER
        left_out.append(f"{removed:,} blocks ({saved:,} bytes)")
        if excess <= 0:
            break
    return left_out


@define
class _Encoder:
    """Makes JSON of one value; ``changed`` names the types of what became text."""

    changed: set[str] = field(factory=set)
    _within: set[int] = field(factory=set)

    def encode(self, value: object) -> Any:
        """The value as JSON; text, if reading it fails, as objects of other libraries may do in any way."""
        try:
            if value is None or isinstance(value, bool | str | int | float):
                return _scalar(value)
            if isinstance(value, bytes | bytearray | memoryview):
                return {_BYTES: True, "data": base64.b64encode(memoryview(value).tobytes()).decode()}
            if isinstance(value, Mapping | list | tuple | AbstractSet):
                return self._inside(value)
            if is_dataclass(value) and not isinstance(value, type):
                # A field that was never set is not there.
                names = [one.name for one in fields(value) if hasattr(value, one.name)]
                return self._inside({name: getattr(value, name) for name in names})
            return self._as_text(value, _text(value))
        except Exception:  # noqa: BLE001 - it is of any class, and no value is a reason to stop a turn
            return self._as_text(value, _text(value))

    def _inside(self, value: Any) -> Any:
        if id(value) in self._within or len(self._within) >= MAX_DEPTH:
            return self._as_text(value, f"[a {type(value).__name__} nested too deeply to be kept]")
        self._within.add(id(value))
        try:
            # Loops, as a comprehension would take one more frame of the stack for each level.
            made: Any = {} if isinstance(value, Mapping) else []
            if isinstance(value, Mapping):
                for name, item in value.items():
                    made[self._name(name)] = self.encode(item)
            else:
                for item in value:
                    made.append(self.encode(item))
        finally:
            self._within.discard(id(value))
        return _marked(made) if isinstance(made, dict) else made

    def _name(self, name: object) -> str:
        """A name as JSON has it, which knows only texts: ``1`` becomes ``"1"``, as with ``json.dumps``."""
        if isinstance(name, str):
            return str.__str__(name)
        if isinstance(name, int) and int.bit_length(name) > _LONGEST_INTEGER_BITS:
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
    # By the methods of the type itself, which those of a class made from it cannot break.
    if isinstance(value, int):
        whole = int.__int__(value)
        return whole if whole.bit_length() <= _LONGEST_INTEGER_BITS else {_MARK: "int", "data": hex(whole)}
    number = float.__float__(value)
    return number if isfinite(number) else {_MARK: "float", "data": str(number)}


def _text(value: object) -> str:
    try:
        return str.__str__(value.isoformat() if isinstance(value, date | time) else str(value))
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
        text = f"[{self.name[:_LONGEST_NAME]} of {self.size:,} bytes was too large to be kept]"
        return {"text": text} if self.is_block else text


@frozen
class _Message(_Part):
    """A whole message: what is left of it says who said something, and which message it was."""

    def placeholder(self) -> Any:
        message = self.holder[self.place]
        known = message if isinstance(message, dict) else {}
        short = {
            name: known[name]
            for name in ("role", "tracking_id")
            if isinstance(known.get(name), str) and size_of(known[name]) <= _LONGEST_NAME
        }
        return {"role": "user", **short, "content": [{"text": super().placeholder()}]}


def _files_and_texts(value: Any) -> Iterator[_Part]:
    return _parts(value, _file_or_text)


def _structures(value: Any) -> Iterator[_Part]:
    state = value.get("state")
    if isinstance(state, dict):
        yield from (_Part(state, name, name, size_of(item)) for name, item in state.items())
    yield from _parts({name: item for name, item in value.items() if name != "state"}, _structure)


def _blocks(value: Any) -> Iterator[_Part]:
    """Large content blocks, and what else is large in messages, calls of tools and their results."""
    for holder in _content_holders(value):
        yield from _unknown_parts(holder)
        for place, block in enumerate(holder["content"]):
            if _is_tool_block(block):
                yield from _unknown_parts(block)
                yield from _unknown_parts(block.get("toolUse"))
            elif (size := size_of(block)) > _LONG_TEXT:
                name = next(iter(block), "block") if isinstance(block, dict) else "block"
                yield _Part(holder["content"], place, name, size, is_block=True)


def _unknown_parts(holder: Any) -> Iterator[_Part]:
    for name, item in holder.items() if isinstance(holder, dict) else ():
        if name not in _KNOWN and (size := size_of(item)) > _LONG_TEXT:
            yield _Part(holder, name, name, size, is_block=True)


def _content_holders(value: _Object) -> list[_Object]:
    """Messages and results of tools, which hold a list of content blocks; what lies in another comes after it."""
    found: list[_Object] = []
    holders: list[Any] = [{name: item for name, item in value.items() if name != "state"}]
    while holders:
        holder = holders.pop()
        if isinstance(holder, dict):
            if isinstance(holder.get("content"), list) and ("role" in holder or "toolUseId" in holder):
                found.append(holder)
            holder = list(holder.values())
        holders += [item for item in holder if isinstance(item, dict | list)]
    return found


def _is_tool_block(block: Any) -> bool:
    return isinstance(block, dict) and not _TOOL_BLOCKS.isdisjoint(block)


def _messages(value: Any) -> Iterator[_Part]:
    for name in ("message", "redact_message"):
        if value.get(name) is not None:
            yield _Message(value, name, "message", size_of(value[name]))


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
