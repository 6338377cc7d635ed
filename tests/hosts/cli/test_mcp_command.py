"""The command ``mcp``: its options and errors. How it serves is tested in ``tests/hosts/mcp``."""

from pathlib import Path
from typing import Any

import pytest


def test_a_missing_storage(cli: Any) -> None:
    """Without write access it is not created, so that a mistyped URL is not taken for an empty storage."""
    ran = cli("mcp")
    assert (ran.code, ran.out) == (5, "")
    assert "does not exist" in ran.err
    assert not Path("feedback.db").exists()


@pytest.mark.usefixtures("empty_storage")
def test_http_needs_a_key(cli: Any) -> None:
    """It does not start before there is a key, and says how to create one."""
    ran = cli("mcp", "--http", "127.0.0.1:0")
    assert (ran.code, ran.out) == (2, "")
    assert "keys create --scope read" in ran.err


@pytest.mark.usefixtures("empty_storage")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mcp", "--http", "8765"), "expected HOST:PORT, such as 127.0.0.1:8765"),
        (("mcp", "--http", "127.0.0.1:http"), "expected HOST:PORT"),
        (("mcp", "--http", "127.0.0.1:99999"), "port must be from 0"),
        (("mcp", "--allowed-host", "example.com"), "--allowed-host needs --http"),
        (("--application", "shop", "mcp", "--http", "127.0.0.1:0"), "leave out --application"),
    ],
)
def test_wrong_options(cli: Any, arguments: tuple[str, ...], message: str) -> None:
    """The error says what to type instead."""
    ran = cli(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
