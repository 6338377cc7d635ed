"""What the benchmarks do to a Harken, whatever its storage is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier

import harken

COMMENT = "Too slow, and the answer was not what I had asked for"

_COMMAND = (sys.executable, "-c", "from harken_adapters.hosts.cli import main; raise SystemExit(main())")
_sessions = count()


def command(storage: str, *arguments: str) -> dict[str, float]:
    """Run the command line in a process of its own, and give what it reports as JSON."""
    done = subprocess.run([*_COMMAND, "--storage", storage, *arguments], check=True, stdout=subprocess.PIPE)
    report: dict[str, float] = json.loads(done.stdout)
    return report


def submit(hk: harken.Harken, times: int) -> None:
    """Submit one after the other, each durable before the next."""
    for _ in range(times):
        hk.submit(f"session-{next(_sessions) % 500}", "down", COMMENT, agent_id="helper")


def submit_soon(hk: harken.Harken, times: int) -> None:
    """Submit without waiting for each, as a server with many requests does; all are durable in the end."""
    soon = [
        hk.submit_soon(f"session-{next(_sessions) % 500}", "down", COMMENT, agent_id="helper") for _ in range(times)
    ]
    for future in soon:
        future.result()


def in_threads(threads: int, call: Callable[[int], object]) -> None:
    """Call with the numbers from 0 on, each in a thread, all at once."""
    start = Barrier(threads)

    def run(number: int) -> None:
        start.wait()
        call(number)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, range(threads)))
