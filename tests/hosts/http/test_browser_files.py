"""The modules for web pages, as every host serves them."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Final

import brotli
import pytest

import harken
from harken_adapters.hosts.http.serving import browser_files
from hosts.http.test_every_host import HOSTS
from hosts.serving import RawAnswer, Server, raw_request

pytestmark = pytest.mark.slow

MODULES: Final = [f"{name}.js" for name in browser_files.MODULES]
_FOLDER: Final = files("harken_adapters.hosts.http") / "browser"
#: The bounds of the compressed modules, in bytes.
_BOUNDS: Final = {"widget.js": 8 * 1024, "harken.js": 3 * 1024}
_SHOP: Final = "https://shop.example"
_ORIGINS: Final = {"no origin": (), "one origin": (_SHOP,), "any origin": ("*",)}


@pytest.fixture(params=[(host, allowed) for host in HOSTS for allowed in _ORIGINS], ids=" and ".join)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Each host, with and without origins that may call the API. The modules need no access."""
    host, allowed = request.param
    with (
        harken.connect("memory://") as hk,
        HOSTS[host](hk, access="keys", allowed_origins=_ORIGINS[allowed]) as serving,
    ):
        yield serving


def _plain(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()


def _raw(server: Server, path: str, *headers: str, method: str = "GET") -> tuple[RawAnswer, list[str]]:
    """The response, and its header lines in lower case."""
    received = server.send(raw_request(method, path, *headers))
    lines = received.partition(b"\r\n\r\n")[0].decode("latin-1").lower().split("\r\n")
    return RawAnswer.parse(received), lines


def _check_encodings(server: Server, name: str) -> None:
    compressed = (_FOLDER / f"{name}.br").read_bytes()
    for accepted, encoding in (
        ("br", "br"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("gzip;q=0", None),
        ("identity", None),
    ):
        answer, _ = _raw(server, f"/{name}", f"Accept-Encoding: {accepted}")
        assert answer.status == 200
        assert answer.headers.get("content-encoding") == encoding
        assert "accept-encoding" in answer.headers["vary"].lower()
        expected = compressed if encoding == "br" else _plain(name)
        assert (gzip.decompress(answer.body) if encoding == "gzip" else answer.body) == expected
        assert answer.headers["content-length"] == str(len(answer.body))


def _check_caching(server: Server, name: str) -> None:
    first = server.ask("GET", f"/{name}")
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    assert first.headers["x-content-type-options"] == "nosniff"
    assert "max-age=" in first.headers["cache-control"]
    etag = first.headers["etag"]
    for sent in (etag, f'"other", {etag}'):
        again = server.ask("GET", f"/{name}", headers={"If-None-Match": sent})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert server.ask("GET", f"/{name}", headers={"If-None-Match": 'W/"other"'}).status_code == 200
    head = server.ask("HEAD", f"/{name}", headers={"Accept-Encoding": "identity"})
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(_plain(name)))


def _check_origins(server: Server, name: str) -> None:
    for origin in ("", f"Origin: {_SHOP}", "Origin: https://other.example", "Origin: null"):
        for known in ("", f"If-None-Match: {server.ask('HEAD', f'/{name}').headers['etag']}"):
            answer, lines = _raw(server, f"/{name}", *filter(None, [origin, known]))
            assert answer.status == (304 if known else 200)
            assert [line for line in lines if line.startswith("access-control-allow-origin:")] == [
                "access-control-allow-origin: *"
            ]
            assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


def test_every_host_serves_the_modules(server: Server) -> None:
    """Compressed as the client accepts, cacheable, and for pages of all origins, with exactly one header for CORS."""
    for name in MODULES:
        _check_encodings(server, name)
        _check_caching(server, name)
        _check_origins(server, name)


@pytest.mark.parametrize("name", MODULES)
def test_the_compressed_files_are_those_of_the_modules(name: str) -> None:
    """The build has compressed the modules that are served, not older ones."""
    assert brotli.decompress((_FOLDER / f"{name}.br").read_bytes()) == _plain(name)


@pytest.mark.parametrize("name", MODULES)
def test_sizes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The modules stay small enough to be loaded by every page."""
    plain, compressed = _plain(name), (_FOLDER / f"{name}.br").read_bytes()
    sizes = f"{name}: {len(plain):,} bytes, gzip {len(gzip.compress(plain, 9)):,}, Brotli {len(compressed):,}"
    with capsys.disabled():
        print(f"\n{sizes}")
    assert len(compressed) <= _BOUNDS.get(name, 3 * 1024), sizes


def test_the_modules_load_nothing_else() -> None:
    """The widget imports only its languages, and no module names another host."""
    for name in MODULES:
        text = _plain(name).decode()
        assert set(re.findall(r"""import\(?["']([^"']+)""", text)) <= {"./widget-languages.js"}
        assert set(re.findall(r"https?://[^\"'`\s]+", text)) <= {"http://www.w3.org/2000/svg"}
