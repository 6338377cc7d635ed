"""The choice of a content coding."""

import pytest

from harken_adapters.hosts.http.wire.encodings import preferred_encoding
from harken_adapters.hosts.http.wire.messages import Request


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, ""),
        ("", ""),
        ("identity", ""),
        ("deflate, zstd", ""),
        ("gzip", "gzip"),
        ("GZip", "gzip"),
        ("gzip, deflate, br, zstd", "br"),
        ("br;q=1.0, gzip;q=1.000", "br"),
        ("gzip;q=1, br;q=0.9", "gzip"),
        ("br ; q=0.5 ,\tgzip ;\tQ=0.8", "gzip"),
        ("gzip;q=0", ""),
        ("gzip;q=0.000", ""),
        ("gzip;q=0.001", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("*", "br"),
        ("*;q=0", ""),
        ("gzip, *;q=0", "gzip"),
        ("br;q=0, *", "gzip"),
        ("gzip;q=0, br;q=0, *", ""),
        ("identity, gzip;q=0.5", ""),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity;q=0, gzip", "gzip"),
        ("gzip;q=", ""),
        ("gzip;q=2", ""),
        ("gzip;q=abc, br", "br"),
        ("gzip;;, ,=;q=1,", ""),
    ],
)
def test_the_preferred_coding_by_header(header: str | None, expected: str) -> None:
    """It is chosen as RFC 9110 says; without the header or with an invalid weight, nothing is encoded."""
    request = Request(method="GET", path="/", parts={}, header={"accept-encoding": header}.get)
    assert preferred_encoding(request, ("br", "gzip")) == expected


@pytest.mark.parametrize(("header", "expected"), [("*", "gzip"), ("gzip;q=0, *", ""), ("br", "")])
def test_one_coding(header: str, expected: str) -> None:
    """A wildcard stands for those that the header does not name."""
    request = Request(method="GET", path="/", parts={}, header={"accept-encoding": header}.get)
    assert preferred_encoding(request, ("gzip",)) == expected
