"""Compression of responses with gzip, which every browser accepts."""

from __future__ import annotations

import gzip
from typing import Final

from harken_adapters.hosts.http.wire.encodings import preferred_encoding
from harken_adapters.hosts.http.wire.messages import Request, Response

#: Smaller bodies fit one packet anyway.
_WORTHWHILE: Final = 1_024
#: Most of the effect for a tenth of the time of the highest level.
_LEVEL: Final = 5


def compress(response: Response, request: Request) -> Response:
    """Compress the body of a response, if it is worthwhile and the client accepts it.

    Not for pages with a secret, such as a new key or a token against forged requests: an attacker could guess it from
    their length.
    """
    response.headers += (("vary", "Accept-Encoding, Cookie"),)
    if len(response.body) >= _WORTHWHILE and preferred_encoding(request, ("gzip",)):
        response.body = gzip.compress(response.body, _LEVEL, mtime=0)
        response.headers += (("content-encoding", "gzip"),)
    return response
