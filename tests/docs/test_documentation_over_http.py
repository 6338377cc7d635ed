"""The facade's examples in the documentation also run through both clients, with the same output.

``harken.connect`` is replaced while Python blocks run: it serves what it connects to, and its result calls the facade's
methods on a client. What the client does not have, such as the services, is that of the served Harken. So no example
is left out, and every call that a client can make is made over HTTP.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from attrs import field, mutable

import harken
from clients import opened
from docs.test_documentation import PAGES, ROOT, SLOW, Block, Reader, blocks, reader
from harken import Harken
from harken_adapters.client import Client
from hosts.serving import served

__all__ = ["reader"]

#: The methods of the facade that clients have, except those about the client itself. A service of the facade, such as
#: ``deliveries``, is a method of clients, but with other arguments.
METHODS = {name for name in vars(Client) if not name.startswith("_") and name in vars(Harken)} - {"close"}
#: Pages whose examples make hundreds of calls.
MANY_CALLS = {"docs/statistics.md", "docs/text.md"}
#: A call that goes through a client; most pages name the Harken ``hk``.
CALL = re.compile(rf"\bhk\.(?:{'|'.join(sorted(METHODS))})\(")


def _has_examples(page: Path) -> bool:
    """Whether Python blocks of the page, which are not files of other programs, connect and call the facade."""
    run = [block.content for block in blocks(page) if block.language in ("python", "pycon") and not block.file]
    return any("harken.connect(" in content for content in run) and any(map(CALL.search, run))


EXAMPLES = list(filter(_has_examples, PAGES))


class OverHttp:
    """Calls the methods of a client, and has everything else from the served Harken."""

    def __init__(self, kind: str, hk: Harken, calls: Counter[str]) -> None:
        self._hk = hk
        self._calls = calls
        self._stack = ExitStack()
        server = self._stack.enter_context(served(hk))
        self._client = self._stack.enter_context(opened(kind, server.url, application=hk.application))

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS:
            return getattr(self._hk, name)
        self._calls[name] += 1
        return getattr(self._client, name)

    def __enter__(self) -> OverHttp:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the client, the server and the Harken."""
        self._stack.close()
        self._hk.close()


@mutable
class ReaderOverHttp(Reader):
    """Runs Python blocks with clients."""

    kind: str = "client"
    calls: Counter[str] = field(factory=Counter)
    connected: list[OverHttp] = field(factory=list)

    def run(self, block: Block) -> None:
        """Run a Python block."""
        self._with_clients(super().run, block)

    def run_session(self, block: Block) -> None:
        """Run an interactive Python session."""
        self._with_clients(super().run_session, block)

    def close(self) -> None:
        """Close what the page did not close."""
        for one in self.connected:
            one.close()
        super().close()

    def _with_clients(self, run: Callable[[Block], None], block: Block) -> None:
        def connect(*arguments: Any, **keywords: Any) -> OverHttp:
            one = OverHttp(self.kind, real(*arguments, **keywords), self.calls)
            self.connected.append(one)
            return one

        real = harken.connect
        harken.connect = connect  # type: ignore[assignment]
        try:
            run(block)
        finally:
            harken.connect = real


@pytest.fixture(params=["client", pytest.param("async client", marks=pytest.mark.slow)])
def over_http(request: pytest.FixtureRequest, reader: Reader) -> Iterator[ReaderOverHttp]:
    """A reader in an empty folder whose examples use clients."""
    one = ReaderOverHttp(reader.folder, kind=request.param)
    try:
        yield one
    finally:
        one.close()


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow) if _name(page) in MANY_CALLS | SLOW else page for page in EXAMPLES],
    ids=_name,
)
def test_examples_run_through_clients(page: Path, over_http: ReaderOverHttp) -> None:
    """Every example of a page that connects runs over HTTP, in order, with the output on the page."""
    over_http.read(page)
    assert over_http.calls
    print(f"{_name(page)}: {over_http.calls.total()} calls, {dict(over_http.calls)}")
