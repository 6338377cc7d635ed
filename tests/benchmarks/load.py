"""Operations of the benchmarks, for every storage."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier

import harken

COMMENT = "Too slow, and the answer was not what I had asked for"

_sessions = count()


def submit(hk: harken.Harken, times: int) -> None:
    """Submit sequentially; each submission is durable before the next."""
    for _ in range(times):
        hk.submit(f"session-{next(_sessions) % 500}", "down", COMMENT, agent_id="helper")


def submit_soon(hk: harken.Harken, times: int) -> None:
    """Submit without waiting for each one, as a server under load does; all are durable on return."""
    futures = [
        hk.submit_soon(f"session-{next(_sessions) % 500}", "down", COMMENT, agent_id="helper") for _ in range(times)
    ]
    for future in futures:
        future.result()


def in_threads(threads: int, call: Callable[[int], object]) -> None:
    """Call with each number below ``threads``, concurrently in threads."""
    start = Barrier(threads)

    def run(number: int) -> None:
        start.wait()
        call(number)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, range(threads)))
