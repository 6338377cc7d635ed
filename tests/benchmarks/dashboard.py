"""The dashboard over a year of 1,000,000 entries, as a browser gets it from ``harken serve``.

``python -m tests.benchmarks.dashboard [ENTRIES]`` takes about 15 minutes, most of which fill the storages. Prints the
median time of each page with its bound, and the size of a first visit in Chromium.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any, Final, Self
from urllib.parse import quote_plus, urlsplit

import requests
from attrs import field, frozen
from playwright.sync_api import Request, sync_playwright
from pymongo import MongoClient
from tests import mongod
from tests.benchmarks import dashboard_entries
from tests.benchmarks.dashboard_entries import RARE_TAG
from tests.benchmarks.measure import Result, at_most, seconds
from tests.reliability.http_processes import UNLIMITED, Service, serve

import harken
from harken.clock import utc_now
from harken.ports.storage import Storage
from harken_adapters.storage.mongodb import mongo_storage

ENTRIES: Final = 1_000_000
ROUNDS: Final = 21
WAITING: Final = 500
CACHE_GB: Final = 2.0
OVERVIEW: Final = "/dashboard"
LIST: Final = "/dashboard/feedback"
#: In milliseconds.
PAGE_BOUND, SEARCH_BOUND = 100, 200
#: Of a first visit, and in KB of 1,024 bytes with the headers of responses.
REQUESTS_BOUND, SIZE_BOUND = 4, 45
#: How many seconds a page may take before the benchmark fails.
_PATIENCE: Final = 300.0
#: More than what MongoDB needs to consider writes as settled.
_SETTLED: Final = timedelta(minutes=5)

#: Pages with the bound of each. ``{n}`` is another number for each request: the page shows a selection that it has not
#: shown before.
PAGES: Final[Mapping[str, tuple[str, float]]] = {
    "overview": (OVERVIEW, PAGE_BOUND),
    "overview of the last 30 days": (f"{OVERVIEW}?since={{month}}", PAGE_BOUND),
    "overview of a year": (f"{OVERVIEW}?period=year", PAGE_BOUND),
    "overview of an agent": (f"{OVERVIEW}?agent_id=agent-1", PAGE_BOUND),
    "overview of a tag": (f"{OVERVIEW}?tag=slow", PAGE_BOUND),
    "overview of a context value": (f"{OVERVIEW}?context.version=2.1", PAGE_BOUND),
    "overview of a session": (f"{OVERVIEW}?session_id=session-99000", PAGE_BOUND),
    "overview of a session, another one each time": (f"{OVERVIEW}?session_id=session-{{n}}", PAGE_BOUND),
    "feedback": (LIST, PAGE_BOUND),
    "feedback of a tag": (f"{LIST}?tag=slow", PAGE_BOUND),
    "search for a frequent word": (f"{LIST}?text=the", SEARCH_BOUND),
    "search for a rare word": (f"{LIST}?text=giraffe", SEARCH_BOUND),
    "search for a phrase": (f"{LIST}?text=%22the+elephant%22", SEARCH_BOUND),
    "search for nothing that exists": (f"{LIST}?text=unicorn{{n}}", SEARCH_BOUND),
    "search for a frequent word in a year": (f"{LIST}?text=the&period=year", SEARCH_BOUND),
    "search for a rare word in a year": (f"{LIST}?text=giraffe&period=year", SEARCH_BOUND),
    "search for a phrase in a year": (f"{LIST}?text=%22the+elephant%22&period=year", SEARCH_BOUND),
    "search for nothing that exists in a year": (f"{LIST}?text=unicorn{{n}}&period=year", SEARCH_BOUND),
    "search for a frequent word with a rare tag": (f"{LIST}?text=the&tag={quote_plus(RARE_TAG)}", SEARCH_BOUND),
    "search for a frequent word with a rare tag in a year": (
        f"{LIST}?text=the&tag={quote_plus(RARE_TAG)}&period=year",
        SEARCH_BOUND,
    ),
    f"moderation with {WAITING} that wait": ("/dashboard/moderation", PAGE_BOUND),
    f"alerts with {WAITING} dead deliveries": ("/dashboard/alerts", PAGE_BOUND),
    "settings": ("/dashboard/settings", PAGE_BOUND),
}
#: The same after a new submission before each request.
AFTER_A_SUBMISSION: Final = ("overview", "overview of an agent", "overview of a tag", "overview of a context value")


@frozen
class Visitor:
    """Somebody who has signed in, and what the processes of the service and of the storage have used so far."""

    service: Service
    storage_process: int | None
    cookies: requests.cookies.RequestsCookieJar
    numbers: Iterator[int] = field(factory=lambda: count(1_000))

    @classmethod
    def sign_in(cls, service: Service, storage_process: int | None) -> Self:
        """Sign in with the key that the service has created."""
        answer = service.ask(
            "POST", "/sign-in", headers={"Origin": service.url}, data={"key": service.key}, allow_redirects=False
        )
        assert answer.status_code == 303, answer.text
        return cls(service, storage_process, answer.cookies)

    def get(self, path: str) -> float:
        """Read a page over a new connection, which any worker may accept; returns the milliseconds that it took."""
        month = (utc_now() - timedelta(days=30)).date().isoformat()
        filled = path.format(n=next(self.numbers), month=month)
        address = f"{self.service.url}{filled}"
        answer = requests.get(address, cookies=self.cookies, allow_redirects=False, timeout=_PATIENCE)
        assert answer.status_code == 200, f"{filled}: {answer.status_code} {answer.text[:500]}"
        return answer.elapsed.total_seconds() * 1e3

    def submit(self) -> None:
        """Submit feedback."""
        session = f"session-{next(self.numbers)}"
        body = {
            "rating": "down",
            "comment": "Too slow",
            "agent_id": "agent-1",
            "tags": ["slow"],
            "context": {"version": "2.1"},
        }
        answer = self.service.ask("POST", f"/api/sessions/{session}/feedback", json=body)
        assert answer.status_code == 201, answer.text

    def processor_time(self) -> tuple[float, float]:
        """The milliseconds of processor time that the service and the server of the storage have used."""
        own = sum(map(_processor_time, {self.service.process.pid, *self.service.workers()}))
        return own, _processor_time(self.storage_process) if self.storage_process else 0.0


def _processor_time(process: int) -> float:
    """The milliseconds of processor time that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") * 1e3


def dashboard_on_sqlite(folder: Path, total: int = ENTRIES) -> Iterator[Result]:
    """The pages on SQLite, served by one process."""
    url = f"sqlite:///{folder}/dashboard.db"
    with harken.open_storage(url) as storage:
        _fill(storage, total, "SQLite")
        storage.index_comments("default")
    with serve(url, folder, **UNLIMITED) as service:
        yield from _measure("sqlite", Visitor.sign_in(service, None))


def dashboard_on_mongodb(folder: Path, total: int = ENTRIES) -> Iterator[Result]:
    """The pages on MongoDB, served by two processes."""
    with mongod.replica_set(cache_gb=CACHE_GB, folder=folder) as started, MongoClient[Any](started.url) as client:
        # Written as if it was a few minutes ago, so that nobody has to wait until it is settled.
        _fill(mongo_storage(client, "dashboard", clock=lambda: utc_now() - _SETTLED), total, "MongoDB")
        mongo_storage(client, "dashboard").index_comments("default")
        process = client.admin.command("serverStatus")["pid"]
        with serve(mongod.with_database(started.url, "dashboard"), folder, "--workers", "2", **UNLIMITED) as service:
            service.ready(2)
            yield from _measure("mongodb", Visitor.sign_in(service, process))


def _fill(storage: Storage, total: int, name: str) -> None:
    now = datetime.now(UTC)
    took = seconds(lambda: dashboard_entries.fill(storage, total, now))
    dashboard_entries.hold(storage, WAITING, now)
    dashboard_entries.bury(storage, WAITING, now)
    print(f"     {total:,} stored in {name} in {took:.0f} s", flush=True)


def _measure(name: str, visitor: Visitor) -> Iterator[Result]:
    yield from _first_visit(name, visitor)
    for page, (path, bound) in PAGES.items():
        yield _timed(f"{name}: {page}", visitor, path, bound)
        if page in AFTER_A_SUBMISSION:
            yield _timed(f"{name}: {page}, with new feedback", visitor, path, bound, before=visitor.submit)


def _timed(
    name: str, visitor: Visitor, path: str, bound: float, *, before: Callable[[], object] = lambda: None
) -> Result:
    # Of every worker: which one accepts a connection is up to the operating system.
    first = max(visitor.get(path) for _ in range(6))
    times, used = [], [(0.0, 0.0)]
    for _ in range(ROUNDS):
        before()
        start = visitor.processor_time()
        times.append(visitor.get(path))
        end = visitor.processor_time()
        used.append((end[0] - start[0], end[1] - start[1]))
    service, storage = (sum(one) / ROUNDS for one in zip(*used, strict=True))
    slowest = quantiles(times, n=20)[-1]
    processors = f"{service:.0f} ms of a processor" + (f", {storage:.0f} ms of the storage's" if storage else "")
    detail = f"95th percentile {slowest:.0f} ms; {processors}; at first {first:.0f} ms"
    return at_most(name, median(times), bound, unit=" ms", detail=detail)


def _first_visit(name: str, visitor: Visitor) -> Iterator[Result]:
    """The requests of a browser without a cache, until nothing more is loaded."""
    origin, received = visitor.service.url, list[Request]()
    program = shutil.which("chromium")
    if program is None:
        raise RuntimeError("This benchmark needs Chromium; install it, for example with 'apt-get install chromium'")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context()
        context.add_cookies([{"name": one.name, "value": one.value or "", "url": origin} for one in visitor.cookies])
        page = context.new_page()
        page.on("request", lambda request: received.append(request))  # noqa: PLW0108 - Playwright needs a function
        page.goto(f"{origin}{OVERVIEW}")
        page.wait_for_load_state("load")
        # The stream of events is opened last. It has no size, as it does not end.
        page.wait_for_selector(".live:not([hidden])", state="attached")
        files = [one for one in received if one.resource_type != "eventsource" and not one.url.startswith("data:")]
        sizes = [one.sizes() for one in files]
        browser.close()
    detail = ", ".join(urlsplit(one.url).path.rpartition("/")[2] for one in files)
    yield at_most(f"{name}: requests of a first visit", len(files), REQUESTS_BOUND, unit="", detail=detail)
    size = sum(one["responseBodySize"] + one["responseHeadersSize"] for one in sizes) / 1024
    yield at_most(f"{name}: size of a first visit", size, SIZE_BOUND, unit=" KB", detail="compressed, with headers")
    others = [one.url for one in received if not one.url.startswith((origin, "data:"))]
    yield at_most(f"{name}: requests to other origins", len(others), 0, unit="", detail=", ".join(others) or "none")


BENCHMARKS = (dashboard_on_sqlite, dashboard_on_mongodb)

if __name__ == "__main__":
    OK = True
    with TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as temporary:
        for benchmark in BENCHMARKS:
            for result in benchmark(Path(temporary), int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES):
                print(result, flush=True)
                OK = OK and result.ok
    raise SystemExit(not OK)
