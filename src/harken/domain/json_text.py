"""JSON text of small values."""

from __future__ import annotations

from collections.abc import Callable
from json import JSONEncoder
from json import encoder as library


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
