"""Values that JSON cannot represent, as JSON.

Such a value is encoded with a marker, as Strands encodes bytes, and is restored unchanged::

    float("nan")               ->  {"__harken_encoded__": "float", "data": "nan"}
    b"abc"                     ->  {"__bytes_encoded__": true, "data": "YWJj"}
    datetime(2026, 11, 30)     ->  {"__harken_encoded__": "datetime", "data": "2026-11-30T00:00:00"}

:func:`encode_exactly` does so for dates, times, UUIDs and BSON types, which :func:`encode` stores as text.
``ObjectId`` and ``Decimal128`` have their text, and others Extended JSON as text, with the marker ``bson``. ``Int64``
becomes ``int``. A dictionary that looks like a marker is encoded with the type ``dict``.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time
from functools import cache, partial
from math import isfinite
from typing import Any, Final
from uuid import UUID

from attrs import define, field

from harken.domain.metadata import BYTES_MARKER, VALUE_MARKER

logger = logging.getLogger(__name__)

#: The maximum nesting depth. Strands processes values recursively and could not restore deeper ones.
MAX_DEPTH: Final = 200
#: Both markers contain it, so JSON text without it has no marker.
MARK: Final = "_encoded__"
#: The size up to which Python converts integers to decimal text and back.
_LONGEST_INTEGER_BITS: Final = 10_000

_TYPES: Final[Mapping[str, type]] = {"datetime": datetime, "date": date, "time": time, "uuid": UUID}
_SCALARS: Final = (bool, str, int, float)
_BSON: Final = frozenset({"ObjectId", "Decimal128"})
#: JSON text has both halves as escapes, and its readers join them.
_SPLIT_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")

_Object = dict[str, Any]
#: The path of what contains a value, and its key or index there, or only the name of the whole. It becomes text only
#: for errors, as lists may have thousands of numbers.
_Path = tuple[Any, ...]


def encode(value: object, name: str) -> Any:
    """Encode a value as JSON. Logs a warning if parts of it will be restored as text, or not at all.

    Args:
        value: any value.
        name: the name of the value, for the warning.
    """
    encoder = _Encoder()
    result = encoder.encode(value)
    if encoder.changed:
        types = ", ".join(sorted(encoder.changed))
        logger.warning("%s has values that JSON cannot represent; stored as text: %s", name, types)
    return result


def decode(value: Any) -> Any:
    """The inverse of :func:`encode` and :func:`encode_exactly`. An invalid marker is returned unchanged."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {VALUE_MARKER, "data"}:
        return _decode_marked(value)
    if value.get(BYTES_MARKER) is True and isinstance(value.get("data"), str):
        try:
            return base64.b64decode(value["data"], validate=True)
        except ValueError:  # Not Base64, or not even ASCII.
            return value
    return {name: decode(item) for name, item in value.items()}


def encode_exactly(value: object, name: str) -> Any:
    """Encode a value as JSON, so that :func:`decode` returns it equal; tuples become lists.

    Args:
        value: text, a number, true, false, ``None``, bytes, a date, a time, a UUID, a value of a BSON type, or a list
            or dictionary of these.
        name: the name of the value, for errors.

    Raises:
        TypeError: the value, or one in it, is of another type, or the key of a dictionary is not text.
        ValueError: it is nested more than :data:`MAX_DEPTH` levels deep, such as a list that contains itself, or has
            text with the two halves of a surrogate pair as separate characters.
    """
    return _encode_exactly(value, (name,), 0)


def _encode_exactly(value: object, path: _Path, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"{_text_of(path)} must be nested at most {MAX_DEPTH} levels deep")
    if isinstance(value, list | tuple):
        return [_encode_exactly(item, (path, index), depth + 1) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        _check_keys(value, path)
        return _mark_if_ambiguous(
            {str.__str__(key): _encode_exactly(item, (path, key), depth + 1) for key, item in value.items()}
        )
    return _encode_leaf(value, path)


def _check_keys(value: Mapping[Any, object], path: _Path) -> None:
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"{_text_of(path)} must have text as keys, got {key!r}")
        if _is_split(key):
            check_text(key, f"the key {key!a} of {_text_of(path)}")


def _encode_leaf(value: object, path: _Path) -> Any:
    if type(value) not in _SCALARS and _is_bson(value):
        # Before text, integers and bytes, which some of these types are.
        return {VALUE_MARKER: "bson", "data": _to_extended_json(value, _text_of(path))}
    if isinstance(value, str) and _is_split(value):
        check_text(value, _text_of(path))
    if value is None or isinstance(value, _SCALARS):
        return _scalar(value)
    if isinstance(value, bytes | bytearray):
        return _bytes(value)
    if kind := _kind(value):
        return {VALUE_MARKER: kind, "data": value.isoformat() if isinstance(value, date | time) else str(value)}
    raise TypeError(
        f"{_text_of(path)} must be text, a number, true, false, None, bytes, a date, a time, a UUID, a value of a BSON "
        f"type, or a list or dictionary of these, got {type(value).__name__}"
    )


def _text_of(path: _Path) -> str:
    """The path of a value for an error, such as ``answers[2].at``."""
    text = ""
    while len(path) > 1:
        path, key = path
        text = f".{key}{text}" if isinstance(key, str) else f"[{key}]{text}"
    return f"{path[0]}{text}"


def check_text(text: str, name: str) -> None:
    """Raise ``ValueError`` if JSON would not restore the text: it joins the halves of a surrogate pair."""
    if _is_split(text):
        raise ValueError(
            f"{name} has the two halves of a surrogate pair as separate characters, which is not valid Unicode text; "
            "decode it properly, such as with .encode('utf-16', 'surrogatepass').decode('utf-16')"
        )


def _is_split(text: str) -> bool:
    return not text.isascii() and _SPLIT_PAIR.search(text) is not None


def _is_bson(value: object) -> bool:
    """Whether it is of a BSON type that Python and :func:`_kind` do not have."""
    name = type(value).__name__
    if not type(value).__module__.startswith("bson.") or name in _BSON or isinstance(value, Mapping):
        return False
    return name != "Int64" and not (name == "Binary" and getattr(value, "subtype", None) == 0)


def _to_extended_json(value: object, name: str) -> str:
    from bson import json_util  # noqa: PLC0415 - an optional package, which the value is of
    from bson.errors import BSONError  # noqa: PLC0415

    try:
        text = json_util.dumps(value, json_options=_json_options())
        is_exact = json_util.loads(text, json_options=_json_options()) == value
    except (BSONError, LookupError, RecursionError, TypeError, ValueError):
        # Such as code whose scope has the names of Extended JSON, or is nested too deeply.
        is_exact = False
    if not is_exact:
        raise TypeError(f"{name} must be a value that Extended JSON can represent, got {type(value).__name__}")
    return text


def _from_extended_json(text: str) -> Any:
    """The value; its text if the driver of MongoDB is not installed."""
    try:
        from bson import json_util  # noqa: PLC0415 - an optional package
        from bson.errors import BSONError  # noqa: PLC0415
    except ModuleNotFoundError:
        return text
    try:
        return json_util.loads(text, json_options=_json_options())
    except (BSONError, LookupError, RecursionError) as error:
        # Anybody may have written the text, which json_util does not expect.
        raise ValueError(str(error)) from error


@cache
def _json_options() -> Any:
    from bson.binary import UuidRepresentation  # noqa: PLC0415 - an optional package
    from bson.codec_options import DatetimeConversion  # noqa: PLC0415
    from bson.json_util import JSONMode, JSONOptions  # noqa: PLC0415

    # Binary values stay what they are, also those that could be a UUID.
    return JSONOptions(
        json_mode=JSONMode.CANONICAL,
        uuid_representation=UuidRepresentation.UNSPECIFIED,
        datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    )


def _kind(value: object) -> str | None:
    """The marker of a value that has an exact text."""
    # A datetime is a date, so the order matters.
    for kind, type_ in _TYPES.items():
        if isinstance(value, type_):
            return kind
    # Not imported, because most programs have no driver of MongoDB.
    name = type(value).__name__
    return name if name in _BSON and type(value).__module__.startswith("bson.") else None


@define
class _Encoder:
    """Encodes one value. ``changed`` has the types of values that were encoded as text."""

    changed: set[str] = field(factory=set)
    _within: set[int] = field(factory=set)

    def encode(self, value: object) -> Any:
        """The value as JSON, or its text if reading it fails: objects of other libraries may raise any error."""
        try:
            if value is None or isinstance(value, _SCALARS):
                return _scalar(value)
            if isinstance(value, bytes | bytearray | memoryview):
                return _bytes(value)
            if isinstance(value, Mapping | list | tuple | AbstractSet):
                return self._inside(value)
            if is_dataclass(value) and not isinstance(value, type):
                # A field that was never set does not exist.
                names = [one.name for one in fields(value) if hasattr(value, one.name)]
                return self._inside({name: getattr(value, name) for name in names})
            return self._as_text(value, _text(value))
        except Exception:  # noqa: BLE001 - any class may raise any error, and no value may stop a turn
            return self._as_text(value, _text(value))

    def _inside(self, value: Any) -> Any:
        if id(value) in self._within or len(self._within) >= MAX_DEPTH:
            return self._as_text(value, f"[a {type(value).__name__} nested too deeply to store]")
        self._within.add(id(value))
        try:
            # Loops, because a comprehension would add a stack frame for each level.
            result: Any = {} if isinstance(value, Mapping) else []
            if isinstance(value, Mapping):
                for name, item in value.items():
                    result[self._name(name)] = self.encode(item)
            else:
                for item in value:
                    result.append(self.encode(item))
        finally:
            self._within.discard(id(value))
        return _mark_if_ambiguous(result) if isinstance(result, dict) else result

    def _name(self, name: object) -> str:
        """A key as text, as ``json.dumps`` converts it: ``1`` becomes ``"1"``."""
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


def _mark_if_ambiguous(value: _Object) -> _Object:
    """The dictionary, with a marker if it looks like one itself."""
    ambiguous = value.get(BYTES_MARKER) is True or VALUE_MARKER in value
    return {VALUE_MARKER: "dict", "data": list(map(list, value.items()))} if ambiguous else value


def _bytes(value: bytes | bytearray | memoryview) -> _Object:
    return {BYTES_MARKER: True, "data": base64.b64encode(memoryview(value).tobytes()).decode()}


def _scalar(value: str | float | bool | None) -> Any:
    """The value as exactly one of JSON's types, also if it is of a subclass, such as an enumeration."""
    # Before subclasses, as most values are of exactly these types.
    if value is None or type(value) is bool or type(value) is str or (type(value) is float and isfinite(value)):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    # The methods of the base type, because those of a subclass may be broken.
    if isinstance(value, int):
        whole = int.__int__(value)
        return whole if whole.bit_length() <= _LONGEST_INTEGER_BITS else {VALUE_MARKER: "int", "data": hex(whole)}
    number = float.__float__(value)
    return number if isfinite(number) else {VALUE_MARKER: "float", "data": str(number)}


def _text(value: object) -> str:
    try:
        return str.__str__(value.isoformat() if isinstance(value, date | time) else str(value))
    except Exception:  # noqa: BLE001 - any class may raise any error, and no value may stop a turn
        return f"<{type(value).__name__}>"


def _decode_marked(value: _Object) -> Any:
    kind, data = value[VALUE_MARKER], value["data"]
    if isinstance(kind, str) and kind in _DECODERS:
        try:
            return _DECODERS[kind](data)
        except (TypeError, ValueError, ArithmeticError, AttributeError):
            pass
    return {VALUE_MARKER: decode(kind), "data": decode(data)}


def _bson(kind: str, text: str) -> Any:
    """The value of a BSON type; its text if the driver of MongoDB is not installed."""
    try:
        from bson import Decimal128, ObjectId  # noqa: PLC0415 - an optional package
        from bson.errors import InvalidId  # noqa: PLC0415
    except ModuleNotFoundError:
        return text
    try:
        return ObjectId(text) if kind == "ObjectId" else Decimal128(text)
    except InvalidId as error:
        raise ValueError(str(error)) from error


_DECODERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "float": float,
    "int": lambda data: int(data, 16),
    "dict": lambda data: {name: decode(item) for name, item in data},
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "uuid": UUID,
    "ObjectId": partial(_bson, "ObjectId"),
    "Decimal128": partial(_bson, "Decimal128"),
    "bson": _from_extended_json,
}
