"""The modules for web pages: the widget and the browser client. They are built from ``clients/javascript``."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import Final

from attrs import frozen

from harken_adapters.hosts.http.wire.encodings import preferred_encoding
from harken_adapters.hosts.http.wire.messages import Headers, Request, Response

#: The widget loads its other languages from a module beside it.
MODULES: Final = ("widget", "widget-languages", "harken")
_JAVASCRIPT: Final = "text/javascript; charset=utf-8"
#: Pages of any origin may load them, as they contain no data. Browsers ask for a new version after an hour.
_SECURITY: Final[Headers] = (
    ("x-content-type-options", "nosniff"),
    ("access-control-allow-origin", "*"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("cache-control", "public, max-age=3600, stale-while-revalidate=86400"),
    ("vary", "Accept-Encoding"),
)


@frozen
class _Module:
    etag: str
    #: The bytes by content encoding; the empty name is the module itself.
    encoded: Mapping[str, bytes]


@cache
def _module(name: str) -> _Module:
    folder = files("harken_adapters.hosts.http") / "browser"
    body = (folder / name).read_bytes()
    # Weak, as it is the same for all encodings.
    etag = f'W/"{blake2b(body, digest_size=12).hexdigest()}"'
    # The standard library cannot compress with Brotli, so the build does that.
    encoded = {"br": (folder / f"{name}.br").read_bytes(), "gzip": gzip.compress(body, 9, mtime=0), "": body}
    return _Module(etag, encoded)


def module_response(name: str, request: Request) -> Response:
    """The response with a module, compressed if the client supports that; 304 if the client has this version."""
    module = _module(name)
    headers: Headers = (("etag", module.etag),)
    known = request.header("if-none-match") or ""
    if module.etag in known or known.strip() == "*":
        return Response(304, b"", None, headers, security=_SECURITY)
    if encoding := preferred_encoding(request, ("br", "gzip")):
        headers += (("content-encoding", encoding),)
    return Response(200, module.encoded[encoding], _JAVASCRIPT, headers, security=_SECURITY)
