"""Throughput of the HTTP service, relative to an empty endpoint of the same framework: ``wrk``, 64 connections, one
worker each.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import requests
from attrs import frozen
from limits import RateLimitItemPerMinute
from limits.storage import storage_from_string
from limits.strategies import FixedWindowRateLimiter
from tests import mongod
from tests.benchmarks.measure import Result, at_least, at_most, in_turn

import harken
from harken_adapters.hosts.http.guards.rate_limits import MEMORY, Limit, RateLimiter

CONNECTIONS: Final = 64
SECONDS: Final = 6
ROUNDS: Final = 3
SOAKED: Final = 200_000
#: A limit per minute that is not reached, so that a lease has 10,000 hits.
LIMIT: Final = 1_000_000
_POST: Final = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer KEY"
wrk.body = '{"rating": "down", "comment": "The answer was wrong about the baggage fee, and slow too"}'
local number = 0
local prefix = "PREFIX"
request = function()
  number = number + 1
  if prefix ~= "" then wrk.headers["Idempotency-Key"] = prefix .. number end
  return wrk.format(nil, "/api/sessions/session-" .. number % 500 .. "/feedback")
end
"""
_STATS: Final = "/api/sessions/session-1/feedback/stats"


@frozen
class Load:
    """The results of ``wrk``: requests per second, 99th percentile in milliseconds, and the number of responses and
    errors.
    """

    rate: float
    p99: float
    answered: int
    refused: int


@frozen
class Process:
    """A server in its own process."""

    url: str
    pid: int
    #: The key that every request needs; empty if none is needed.
    key: str = ""

    @property
    def megabytes(self) -> float:
        """The resident memory of the process."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        found = re.search(r"VmRSS:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) / 1024


def empty() -> AbstractContextManager[Process]:
    """One uvicorn worker that serves an empty endpoint."""
    return _served("tests.benchmarks.http_apps:empty", {})


def serving(storage: str) -> AbstractContextManager[Process]:
    """One worker, as ``harken serve`` starts it, with an API key.

    The pipeline is complete except for sentiment analysis. Requests are counted, but the limits are out of reach. As
    with the empty endpoint, requests are not logged, and neither are the thumbs-down that the relay delivers to the
    log.
    """
    limits = dict.fromkeys(("KEY", "SESSION", "ADDRESS"), "1000000000/minute")
    settings = {f"HARKEN_SERVER_LIMIT_BY_{name}": limit for name, limit in limits.items()}
    settings |= {"HARKEN_SERVER_SENTIMENT": "none", "HARKEN_SERVER_LOG_LEVEL": "error"}
    with harken.connect(storage) as hk:
        key = hk.keys.create("default", ["submit", "read"]).text
    return _served("harken_adapters.hosts.fastapi.serving:app", {"HARKEN_STORAGE": storage, **settings}, key)


@contextmanager
def _served(app: str, environment: dict[str, str], key: str = "") -> Iterator[Process]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    words = [sys.executable, "-m", "uvicorn", app, "--factory", "--port", str(port)]
    words += ["--no-access-log", "--log-level", "warning", "--no-proxy-headers"]
    with subprocess.Popen(words, env={**os.environ, **environment}) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            mongod.until(partial(_answers, url), f"{app} answered")
            yield Process(url, process.pid, key)
        finally:
            process.terminate()


def wrk(url: str, *, script: Path | None = None, seconds: int = SECONDS, key: str = "") -> Load:
    """Send requests over all connections. A script sends the key itself.

    Raises:
        RuntimeError: ``wrk`` is not installed.
    """
    if shutil.which("wrk") is None:
        raise RuntimeError("This benchmark needs wrk; install it, for example with 'apt-get install wrk'")
    words = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}",
        "--latency",
        *(["-s", str(script)] if script else ["-H", f"Authorization: Bearer {key}"]),
        url,
    ]
    output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    answered = re.search(r"(\d+) requests in", output)
    rate, p99 = re.search(r"Requests/sec:\s+([\d.]+)", output), re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
    assert rate, output
    assert p99, output
    assert answered, output
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]]
    return Load(float(rate[1]), float(p99[1]) * scale, int(answered[1]), int(refused[1]) if refused else 0)


def http_on_mongodb(folder: Path) -> Iterator[Result]:
    """Submitting over HTTP to MongoDB with majority writes."""
    with mongod.replica_set(folder=folder) as started:
        storage = mongod.with_database(started.url, "harken_http")
        yield from _submitting("MongoDB", storage, folder, bound=0.5)
        yield from _soaking("MongoDB", mongod.with_database(started.url, "harken_soak"), folder)


def http_on_sqlite(folder: Path) -> Iterator[Result]:
    """Submitting over HTTP to SQLite, and reading the statistics of a session."""
    storage = f"sqlite:///{folder}/http.db"
    yield from _submitting("SQLite", storage, folder, bound=0.4)
    with empty() as bare, serving(storage) as ours:
        script = _script(folder, ours)
        pairs = [(wrk(f"{ours.url}{_STATS}", key=ours.key), wrk(bare.url, script=script)) for _ in range(ROUNDS)]
    ratio = median(mine.rate / other.rate for mine, other in pairs)
    yield at_least("GET stats on SQLite : empty endpoint", ratio, 0.5, detail=_detail(pairs))
    yield from _soaking("SQLite", f"sqlite:///{folder}/soak.db", folder)


def rate_limits(folder: Path) -> Iterator[Result]:
    """Checking two limits in leases, relative to counting each hit with the package ``limits``."""
    with mongod.replica_set(folder=folder) as started:
        yield _checking("MongoDB", mongod.with_database(started.url, "limits"), bound=0.1, checks=2_000, w=1)
    yield _checking("memory", MEMORY, bound=2, checks=20_000)


def _checking(name: str, url: str, *, bound: float, checks: int, **options: int) -> Result:
    limit, item = Limit(LIMIT, 60), RateLimitItemPerMinute(LIMIT)
    hits = [("key", limit, "one"), ("session", limit, "two")]
    plain = FixedWindowRateLimiter(storage_from_string(url, **options))

    def count_each() -> None:
        for _ in range(checks):
            assert all([plain.hit(item, "key", "one"), plain.hit(item, "session", "two")])

    with closing(RateLimiter(url)) as limiter:

        def lease() -> None:
            for _ in range(checks):
                assert all(verdict.allowed for verdict in limiter.check(hits))

        mine, other, ratio = in_turn(lease, count_each, rounds=ROUNDS)
    detail = f"{mine / checks * 1e6:.1f} : {other / checks * 1e6:,.1f} microseconds for two limits"
    return at_most(f"Check of rate limits in {name}, leases : plain counting", ratio, bound, detail=detail)


def _submitting(name: str, storage: str, folder: Path, *, bound: float) -> Iterator[Result]:
    with empty() as bare, serving(storage) as ours:
        script = _script(folder, ours)
        wrk(ours.url, script=script, seconds=2), wrk(bare.url, script=script, seconds=1)
        pairs = [(wrk(ours.url, script=script), wrk(bare.url, script=script)) for _ in range(ROUNDS)]
    assert not any(load.refused for pair in pairs for load in pair), "some requests were refused"
    ratio = median(mine.rate / other.rate for mine, other in pairs)
    yield at_least(f"POST feedback on {name} : empty endpoint", ratio, bound, detail=_detail(pairs))
    p99 = median(mine.p99 for mine, _ in pairs)
    yield at_most(
        f"POST feedback on {name}, 99th percentile", p99, 100, unit=" ms", detail=f"{CONNECTIONS} connections"
    )


def _soaking(name: str, storage: str, folder: Path) -> Iterator[Result]:
    """Sustained full load: memory stays constant, and everything acknowledged is stored exactly once."""
    acknowledged = runs = 0
    held: list[float] = []
    with serving(storage) as ours:
        while acknowledged < SOAKED:
            runs += 1
            load = wrk(ours.url, script=_script(folder, ours, prefix=f"run-{runs}-"), seconds=10)
            assert not load.refused, f"{load.refused} requests were refused"
            acknowledged += load.answered
            held.append(ours.megabytes)
    with harken.connect(storage) as hk:
        stored = hk.summary().total
    # Submissions in progress at the end of a run may be stored without having been counted.
    assert acknowledged <= stored <= acknowledged + runs * CONNECTIONS, f"{acknowledged} acknowledged, {stored} stored"
    detail = f"{acknowledged:,} acknowledged, {stored:,} stored, {runs} runs; {held[0]:.0f} MB at first"
    yield at_most(
        f"Growth of memory under full load on {name}",
        held[-1] - held[0],
        20,
        unit=" MB",
        detail=detail,
    )


def _script(folder: Path, ours: Process, *, prefix: str = "") -> Path:
    script = folder / "post.lua"
    script.write_text(_POST.replace("PREFIX", prefix).replace("KEY", ours.key), encoding="utf-8")
    return script


def _answers(url: str) -> bool:
    try:
        # Either the application or the empty endpoint may respond, with or without a key.
        return requests.get(f"{url}/openapi.json", timeout=1).status_code in (200, 401)
    except requests.ConnectionError:
        return False


def _detail(pairs: list[tuple[Load, Load]]) -> str:
    mine, other = (median(load.rate for load in side) for side in zip(*pairs, strict=True))
    return f"{mine:,.0f} : {other:,.0f}/s"


BENCHMARKS = (http_on_mongodb, http_on_sqlite, rate_limits)
