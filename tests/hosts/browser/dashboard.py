"""The dashboard as people use it: ``harken serve`` with two worker processes, and browsers that report every fault."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from attrs import frozen
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request
from prometheus_client.mmap_dict import MmapedDict
from tests.reliability.http_processes import UNLIMITED, Service, serve

import harken
from channels import Recorder
from harken import DeliveryFailed, Harken
from harken.clock import utc_now
from harken.ports.notifier import Notification
from harken.ports.time import Clock
from hosts.browser.test_hostile_texts import TEXTS
from support import eventually

WORKERS: Final = 2
#: Comments with this word are held.
HELD: Final = "casino"
_REQUESTS: Final = "harken_http_requests_total"
_SETTINGS: Final = """
spam = "hold"
spam_phrases = ["casino"]
max_comment_length = 2000

[[alerts]]
name = "in a <b>row</b>"
kind = "streak"
by = "session"
length = 2

[[replies]]
tag = "slow"
text = "<script>window.hacked=1</script> We are making it faster."

[[routes]]
name = "downs"
channel = "support"
ratings = ["down"]

[[routes]]
name = "alerts"
channel = "desk"
events = ["alert.raised"]
"""
_CHANNELS: Final = """
[channels.support]
kind = "log"

[channels.desk]
kind = "log"
"""
#: Reports what is against the policy of the page, and scripts of texts, which set ``hacked``.
_REPORTS: Final = """
addEventListener('securitypolicyviolation', (event) =>
    console.error(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
Object.defineProperty(window, 'hacked', { set() { console.error('a script of a text ran'); } });
"""
OpenTab = Callable[..., Page]


class Support(Recorder):
    """A receiver that refuses everything in hostile words, unless it is fixed."""

    def __init__(self) -> None:
        super().__init__(self._refuse)
        self._words = cycle(TEXTS)
        self._is_fixed = False

    def _refuse(self, _: Notification) -> None:
        if not self._is_fixed:
            words = next(self._words)
            raise DeliveryFailed("It responded with 400", retryable=False, status="400 Bad Request", words=words)

    @contextmanager
    def fixed(self) -> Iterator[None]:
        """Accept everything within the context."""
        self._is_fixed = True
        try:
            yield
        finally:
            self._is_fixed = False


@frozen
class Dashboard:
    """A served dashboard.

    Attributes:
        service: the processes.
        hk: a Harken of the test on the same storage, with the same settings. Only its relay sends anything, when
            the test calls it.
        support: the receiver of the channel ``support``, to which thumbs-down feedback goes. That of alerts
            is ``desk``.
        connect: connects another Harken like ``hk``, with another clock.
        metrics: the folder in which each worker counts its requests.
    """

    service: Service
    hk: Harken
    support: Support
    connect: Callable[[Clock], AbstractContextManager[Harken]]
    metrics: Path

    @property
    def url(self) -> str:
        """The address of the overview."""
        return f"{self.service.url}/dashboard"

    def key(self, application: str, *scopes: str, name: str = "Sam") -> str:
        """The text of a new key; by default, an administrator's."""
        return self.hk.keys.create(application, scopes or ["admin"], name=name).text

    def send_all(self, application: str) -> None:
        """Send what waits, also what a worker made due by a clock that is ahead of this one."""

        def is_sent() -> bool:
            self.hk.relay.run_due()
            return not self.hk.deliveries.summary(application=application).pending

        eventually(is_sent)

    def sign_in(self, page: Page, key: str, path: str = "") -> Page:
        """Sign in with a key, and open a page of the dashboard."""
        page.goto(f"{self.service.url}/sign-in?next={quote(f'/dashboard{path}', safe='')}")
        page.get_by_label("API key").fill(key)
        page.keyboard.press("Enter")
        page.wait_for_url(f"{self.url}{path}*")
        return page

    def requests_by_worker(self) -> list[int]:
        """The number of counted requests that each worker has answered: forms, event streams and operations."""
        files = (self.metrics / f"counter_{worker}.db" for worker in self.service.workers())
        values = (MmapedDict.read_all_values_from_file(str(file)) for file in files)
        return [int(sum(value for key, value, *_ in of_worker if _REQUESTS in key)) for of_worker in values]


@contextmanager
def serving_dashboard(storage: str, folder: Path, **variables: str) -> Iterator[Dashboard]:
    """Serve a storage with two workers.

    Args:
        storage: its URL.
        folder: for the settings, the log and the metrics.
        variables: environment variables of the service.
    """
    metrics = folder / "metrics"
    metrics.mkdir()
    more = {
        **UNLIMITED,
        "HARKEN_SERVER_SENTIMENT": "none",
        "HARKEN_SERVER_RELAY": "false",
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        **variables,
    }
    (folder / "harken.toml").write_text(f"{_SETTINGS}{_CHANNELS}")
    support = Support()
    same = tomllib.loads(_SETTINGS)
    same["alert_rules"] = same.pop("alerts")
    same["channels"] = {"support": support, "desk": Recorder()}

    def connect(clock: Clock) -> Harken:
        return harken.connect(storage, clock=clock, **same)

    with connect(utc_now) as hk, serve(storage, folder, "--workers", str(WORKERS), **more) as service:
        service.ready(WORKERS)
        yield Dashboard(service, hk, support, connect, metrics)


@contextmanager
def watched_tabs(browser: Browser, origin: str, *, expected: Sequence[str] = ()) -> Iterator[OpenTab]:
    """Opens tabs, each in a profile of its own. All of them together must not report anything.

    They report errors and warnings in the console, violations of the policy, scripts that are in texts, dialogs, and
    requests to other origins.

    Args:
        browser: the browser.
        origin: the only origin that pages may load something from.
        expected: the beginnings of reports that are expected.
    """
    reports: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            reports.append(message.text)

    def refuse(dialog: Dialog) -> None:
        reports.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def check(request: Request) -> None:
        if not request.url.startswith((f"{origin}/", "data:")):
            reports.append(f"another origin: {request.url}")

    with ExitStack() as profiles:

        def open_tab(*, scripts: bool = True, **options: Any) -> Page:
            profile = profiles.enter_context(
                browser.new_context(java_script_enabled=scripts, **{"reduced_motion": "reduce", **options})
            )
            profile.add_init_script(_REPORTS)
            page = profile.new_page()
            page.on("console", hear)
            page.on("pageerror", lambda error: reports.append(str(error)))
            page.on("dialog", refuse)
            page.on("request", check)
            return page

        yield open_tab
    unexpected = [report for report in reports if not report.startswith(tuple(expected))]
    assert not unexpected, unexpected
