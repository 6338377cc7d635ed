"""Replacing the large parts of messages and of the state of agents, so that a storage can store them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

from attrs import frozen

from harken.domain.metadata import BYTES_MARKER
from harken.domain.texts import listed
from harken.ports.sessions import JsonValue

logger = logging.getLogger(__name__)

#: The content blocks that contain a file.
_MEDIA: Final = frozenset({"image", "document", "video", "audio"})
#: Shorter texts and smaller content blocks are not replaced individually.
_LONG_TEXT: Final = 1_000
#: Blocks that occur in pairs. A model rejects a conversation in which one of a pair is missing.
_TOOL_BLOCKS: Final = frozenset({"toolUse", "toolResult"})
#: The known fields of messages, tool calls and tool results. Other fields can be replaced.
_KNOWN: Final = frozenset({"role", "content", "tracking_id", "toolUseId", "name", "input", "status"}) | _TOOL_BLOCKS
#: The maximum number of bytes of a placeholder.
_PLACEHOLDER: Final = 200
_LONGEST_NAME: Final = 50
_MOST_LOGGED: Final = 20

_Object = dict[str, Any]


def size_of(value: JsonValue) -> int:
    """The size of a value as JSON, in bytes."""
    return len(json.dumps(value))


def shorten(value: _Object, limit: int, name: str) -> _Object:
    """Replace large parts of an encoded value with placeholders, so that it has at most ``limit`` bytes as JSON.

    Files are replaced first if that is sufficient, otherwise the largest files and texts; then whole tool inputs, tool
    results and values of an agent's state; then whole content blocks and the last blocks of long lists; finally the
    whole content of a message, so that the record of a message never exceeds the limit. Other records may. A
    placeholder describes the part. For a content block it is a text block, which every model accepts.
    """
    replaced: list[str] = []
    for replace in (
        partial(_replace_parts, _files_and_texts),
        partial(_replace_parts, _structures),
        partial(_replace_parts, _blocks),
        _replace_last_blocks,
        partial(_replace_parts, _messages),
    ):
        excess = size_of(value) - limit
        if excess <= 0:
            break
        replaced += replace(value, excess)
    if replaced:
        parts = listed(replaced, _MOST_LOGGED)
        logger.warning("%s has more than %s bytes as JSON; stored without: %s", name, f"{limit:,}", parts)
    return value


def _replace_parts(find: Callable[[_Object], Iterable[_Part]], value: _Object, excess: int) -> list[str]:
    """Replace the largest parts with placeholders until ``excess`` bytes are saved; returns their descriptions."""
    largest_first = sorted(find(value), key=lambda part: -part.size)
    files = [part for part in largest_first if part.is_file]
    replaced = []
    for part in files if sum(part.size for part in files) >= excess else largest_first:
        if excess <= 0:
            break
        placeholder = part.placeholder()
        saved = part.size - size_of(placeholder)
        if saved <= 0:
            continue
        part.holder[part.place] = placeholder
        excess -= saved
        replaced.append(f"{part.name} ({part.size:,} bytes)")
    return replaced


def _replace_last_blocks(value: _Object, excess: int) -> list[str]:
    """Replace the last blocks of content lists with one placeholder each, in tool results before messages."""
    replaced = []
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
        kept.insert(position, {"text": f"[{removed:,} blocks of {saved:,} bytes were too large to store]"})
        holder["content"] = kept[::-1]
        excess -= saved - _PLACEHOLDER
        replaced.append(f"{removed:,} blocks ({saved:,} bytes)")
        if excess <= 0:
            break
    return replaced


@frozen
class _Part:
    """A large part that can be replaced, and its place: ``holder[place]``."""

    holder: Any
    place: Any
    name: str
    size: int
    is_file: bool = False
    is_block: bool = False

    def placeholder(self) -> Any:
        """A text that replaces the part, as a content block if it is one."""
        text = f"[{self.name[:_LONGEST_NAME]} of {self.size:,} bytes was too large to store]"
        return {"text": text} if self.is_block else text


@frozen
class _Message(_Part):
    """A whole message. Its placeholder keeps the role and the id."""

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
    """Large content blocks, and large unknown fields of messages, tool calls and tool results."""
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
    """Messages and tool results, which hold a list of content blocks; a nested one comes after its container."""
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
    """The parts of a value at any depth; none contains another."""
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
    if item.get(BYTES_MARKER) is True:
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
