"""The style sheet and the modules of the dashboard, with names that change with their contents."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import Final

from attrs import frozen

from harken_adapters.hosts.http.wire.encodings import preferred_encoding
from harken_adapters.hosts.http.wire.messages import Headers, Request, Response
from harken_adapters.hosts.http.wire.problems import path_not_found
from harken_adapters.hosts.web.style import style

_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
#: In the order in which modules import each other.
_MODULES: Final = ("live.js", "app.js")
_IMPORT: Final = re.compile(r'(from "\./)([\w.-]+)(")')
_SECURITY: Final[Headers] = (
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "public, max-age=31536000, immutable"),
    ("vary", "Accept-Encoding"),
)


@frozen
class Asset:
    """A file for browsers.

    Attributes:
        name: its name with a digest of its contents.
        media_type: its media type.
        body: its contents.
        compressed: the same, compressed with gzip.
    """

    name: str
    media_type: str
    body: bytes
    compressed: bytes


@cache
def assets() -> Mapping[str, Asset]:
    """The files by their names in the folder."""
    folder = files("harken_adapters.hosts.web") / "static"
    found = {"dashboard.css": _build("dashboard.css", style())}
    for name in _MODULES:
        # A module imports another one by its name with the digest, so that each browser loads it once.
        text = _IMPORT.sub(
            lambda match: f"{match[1]}{found[match[2]].name}{match[3]}", (folder / name).read_text("utf-8")
        )
        found[name] = _build(name, text.encode())
    return found


def asset_response(name: str, request: Request) -> Response:
    """The response with a file, which browsers may keep for ever.

    Raises:
        Problem: the file does not exist, or has other contents now.
    """
    asset = _by_digest().get(name)
    if asset is None:
        raise path_not_found()
    if preferred_encoding(request, ("gzip",)):
        headers: Headers = (("content-encoding", "gzip"),)
        return Response(200, asset.compressed, asset.media_type, headers, security=_SECURITY)
    return Response(200, asset.body, asset.media_type, security=_SECURITY)


@cache
def _by_digest() -> Mapping[str, Asset]:
    return {asset.name: asset for asset in assets().values()}


def _build(name: str, body: bytes) -> Asset:
    stem, _, ending = name.rpartition(".")
    digest = blake2b(body, digest_size=6).hexdigest()
    return Asset(f"{stem}.{digest}.{ending}", _TYPES[ending], body, gzip.compress(body, 9, mtime=0))
