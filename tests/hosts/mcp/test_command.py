"""The command ``harken mcp`` in a process of its own: pipes, signals, addresses and errors."""

import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import harken
from hosts.mcp_client import HARKEN, MODES, answer_of, over_http, over_stdio, run
from support import PATIENCE

pytestmark = pytest.mark.slow

INITIALIZE = {
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


def storage_of(folder: Path) -> tuple[str, ...]:
    """The options for a storage in a folder."""
    return "--storage", f"sqlite:///{folder}/feedback.db"


@contextmanager
def started(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """``harken`` with these arguments, with pipes. It is killed at the end, if it still runs."""
    with subprocess.Popen(
        (*HARKEN, *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background process may ignore SIGINT, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - there are no threads yet
        **options,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def send(process: subprocess.Popen[str], number: int, request: dict[str, Any]) -> dict[str, Any]:
    """Send a request, and return the next line of the output, which is the response to it."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, **request}) + "\n")
    process.stdin.flush()
    response: dict[str, Any] = json.loads(process.stdout.readline())
    assert response["id"] == number
    return response


def tool_call(tool: str, **arguments: Any) -> dict[str, Any]:
    """The request of a tool call."""
    return {"method": "tools/call", "params": {"name": tool, "arguments": arguments}}


@pytest.mark.parametrize("mode", MODES)
def test_over_standard_input_and_output(tmp_path: Path, mode: str) -> None:
    """A client starts the command, records feedback and reads statistics of the application."""

    async def use() -> Any:
        async with over_stdio(*storage_of(tmp_path), "--application", "shop", "mcp", "--write", mode=mode) as client:
            answer_of(await client.call_tool("record_feedback", {"session_id": "s", "rating": "up"}))
            return answer_of(await client.call_tool("get_statistics", {}))["result"]

    assert run(use)["positive"] == 1
    with harken.connect(storage_of(tmp_path)[1]) as hk:
        assert hk.summary(application="shop").total == 1


def test_stdout_has_only_the_protocol(tmp_path: Path) -> None:
    """Lines that are not valid messages, and calls that fail, print nothing else."""
    with started(*storage_of(tmp_path), "mcp", "--write") as process:
        send(process, 1, INITIALIZE)
        assert process.stdin is not None
        process.stdin.write('not JSON\n[]\n{"jsonrpc": "2.0"}\n"\\ud800"\n\x00\n')
        assert send(process, 2, tool_call("record_feedback", session_id="s", rating="down"))["result"]["isError"]
        assert not send(process, 3, tool_call("get_statistics"))["result"]["isError"]
        process.stdin.close()
        assert process.wait(PATIENCE) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    """Although a thread waits for the next line, it ends at once, without an error."""
    with started(*storage_of(tmp_path), "mcp", "--write") as process:
        send(process, 1, INITIALIZE)
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_client_that_crashed_ends_it(tmp_path: Path) -> None:
    """If nobody reads standard output any more, it ends, and prints no traceback."""
    with started(*storage_of(tmp_path), "mcp", "--write") as process:
        send(process, 1, INITIALIZE)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}) + "\n")
        process.stdin.flush()
        assert process.wait(PATIENCE) == 0
        assert process.stderr.read() == ""


def test_what_it_confirmed_survives_being_killed(tmp_path: Path) -> None:
    """Feedback is durable before the tool answers, and a retry after a restart is stored once."""
    call = tool_call("record_feedback", session_id="s", rating="down", comment="late", idempotency_key="k-1")
    ids = []
    for _ in range(2):
        with started(*storage_of(tmp_path), "mcp", "--write") as process:
            send(process, 1, INITIALIZE)
            ids.append(send(process, 2, call)["result"]["structuredContent"]["result"]["feedback_id"])
            process.kill()
    with harken.connect(storage_of(tmp_path)[1]) as hk:
        assert [feedback.id for feedback in hk.feedback().items] == ids[:1]
    assert ids[0] == ids[1]


def test_over_http(tmp_path: Path) -> None:
    """The command prints the URL, serves clients with a key, and ends at a signal."""
    with harken.connect(storage_of(tmp_path)[1]) as hk:
        hk.submit("s", "up")
        credential = hk.keys.create("default", ["read"]).text
    with started(*storage_of(tmp_path), "mcp", "--http", "127.0.0.1:0") as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/mcp", process.stdout.readline())
        assert found

        async def use() -> Any:
            async with over_http(found[0], credential) as client:
                return answer_of(await client.call_tool("get_statistics", {}))["result"]

        assert run(use)["positive"] == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0


def test_an_address_in_use(tmp_path: Path) -> None:
    """The error names the address."""
    with harken.connect(storage_of(tmp_path)[1]) as hk:
        hk.keys.create("default", ["read"])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started(*storage_of(tmp_path), "mcp", "--http", f"127.0.0.1:{port}") as process:
            _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert f"Cannot listen on 127.0.0.1 port {port}" in errors
