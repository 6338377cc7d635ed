"""Fixtures of browser tests: Chromium, a Harken over a real socket, and a site of another origin."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect, sync_playwright

import harken
import mongod
from harken import Harken
from hosts.browser.chromium import CRASHED, Chromium
from hosts.browser.dashboard import Dashboard, OpenTab, serving_dashboard, watched_tabs
from hosts.browser.site import Site, serving_site
from hosts.browser.visits import SECRET, Visit, stop_clock
from hosts.serving import Server, served
from support import PATIENCE

_numbers = count(1)
#: For tests that depend on the browser only.
ONE_STORAGE = pytest.mark.parametrize("storage", ["sqlite"], indirect=True, scope="module")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run a test again, once, if Chromium crashed."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=[CRASHED]))


# Not for the whole session: while Playwright runs, no other event loop can run in this thread.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """What runs browsers."""
    program = shutil.which("chromium")
    if program is None:
        problem = "This test needs Chromium; install it, for example with 'apt-get install chromium'"
        if os.environ.get("CI"):
            pytest.fail(problem)
        pytest.skip(problem)
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright, closing(Chromium(playwright, program)) as launching:
        yield launching


@pytest.fixture
def browser(chromium: Chromium) -> Browser:
    """A browser."""
    return chromium.running()


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A site of another origin than Harken's."""
    with serving_site() as serving:
        yield serving


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def storage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty storage of each kind."""
    if request.param == "mongodb":
        with mongod.database(request.getfixturevalue("mongodb_server")) as url:
            yield url
    else:
        yield f"sqlite:///{Path(tmp_path_factory.mktemp('browser'))}/feedback.db"


@pytest.fixture(scope="module")
def hk(storage: str) -> Iterator[Harken]:
    """A Harken that all tests of a module share, each with sessions of its own. Its replies are chosen by the tag."""
    with harken.connect(
        storage, spam="allow", replies=[{"tag": "slow", "text": "We are making it faster."}]
    ) as connected:
        yield connected


@pytest.fixture(scope="module")
def server(hk: Harken, site: Site) -> Iterator[Server]:
    """The Harken over a real socket, for pages of the site."""
    with served(hk, access="keys", token_secrets=(SECRET,), allowed_origins=(site.origin,)) as serving:
        yield serving


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile. Its clock stands still, so that messages stay however busy the machine is."""
    # Without motion, clicks do not wait until it has ended.
    created = browser.new_context(reduced_motion="reduce")
    stop_clock(created)
    yield created
    created.close()


@pytest.fixture
def visit(context: BrowserContext, server: Server, site: Site, hk: Harken) -> Iterator[Visit]:
    """A tab. The test fails if the browser reports an error that is not about the network."""
    opened = Visit(context.new_page(), server, site, hk)
    yield opened
    opened.page.close()
    assert opened.problems == []


@pytest.fixture(scope="session", params=["sqlite", "mongodb"])
def dashboard(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard on a storage of each kind, served by two processes. Each test has applications of its own."""
    folder = tmp_path_factory.mktemp("dashboard")
    with ExitStack() as ends:
        storage = f"sqlite:///{folder}/feedback.db"
        if request.param == "mongodb":
            storage = ends.enter_context(mongod.database(request.getfixturevalue("mongodb_server")))
        yield ends.enter_context(serving_dashboard(storage, folder))


@pytest.fixture
def application() -> str:
    """The name of an application that no other test uses."""
    return f"app-{next(_numbers)}"


@pytest.fixture
def open_tab(browser: Browser, dashboard: Dashboard) -> Iterator[OpenTab]:
    """Opens tabs. The test fails if a browser reports anything but a response that says that a request failed."""
    with watched_tabs(browser, dashboard.service.url, expected=["Failed to load resource"]) as opening:
        yield opening
