"""The dashboard while its storage is away, and when it is back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest
from attrs import frozen
from playwright.sync_api import Browser, Error, Page, expect

import mongod
from hosts.browser.accessibility import accessibility_problems
from hosts.browser.dashboard import HELD, Dashboard, OpenTab, serving_dashboard, watched_tabs

pytestmark = pytest.mark.slow

APPLICATION = "default"


@frozen
class Outage:
    """A storage that can go away.

    Attributes:
        url: its URL, with short time limits.
        away: lets it go away within a context.
    """

    url: str
    away: Callable[[], AbstractContextManager[None]]


@contextmanager
def moved_file(folder: Path) -> Iterator[Outage]:
    """An SQLite file that is moved to another name."""
    file, elsewhere = folder / "feedback.db", folder / "elsewhere.db"

    @contextmanager
    def away() -> Iterator[None]:
        file.rename(elsewhere)
        yield
        elsewhere.rename(file)

    yield Outage(f"sqlite:///{file}?busy_timeout=0.5", away)


@contextmanager
def killed_server(_: Path) -> Iterator[Outage]:
    """A MongoDB server that is killed."""
    with mongod.standalone() as deployment:
        (server,) = deployment.members

        @contextmanager
        def away() -> Iterator[None]:
            server.kill()
            yield
            server.start()

        yield Outage(mongod.with_database(deployment.url, "harken", timeoutMS=2_000), away)


@contextmanager
def paused_server(_: Path) -> Iterator[Outage]:
    """A MongoDB server that keeps its connections, but does not respond."""
    with mongod.standalone() as deployment:
        (server,) = deployment.members

        @contextmanager
        def away() -> Iterator[None]:
            server.pause()
            yield
            server.resume()

        yield Outage(mongod.with_database(deployment.url, "harken", timeoutMS=2_000), away)


@pytest.fixture(scope="module", params=[moved_file, killed_server, paused_server], ids=lambda one: one.__name__)
def outage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outage]:
    """A storage of each kind, which goes away in each way."""
    with request.param(tmp_path_factory.mktemp("storage")) as found:
        yield found


@pytest.fixture(scope="module")
def dashboard(outage: Outage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard on this storage."""
    with serving_dashboard(outage.url, tmp_path_factory.mktemp("dashboard")) as serving:
        serving.hk.submit("s", "down", "Slow", tags=["slow"])
        serving.hk.submit("s", "up", f"At the {HELD}")
        yield serving


@pytest.fixture
def open_tab(browser: Browser, dashboard: Dashboard) -> Iterator[OpenTab]:
    """Opens tabs. The test fails if a browser reports anything but responses that say that a request failed."""
    with watched_tabs(browser, dashboard.service.url, expected=["Failed to load resource"]) as opening:
        yield opening


@pytest.fixture(scope="module")
def key(dashboard: Dashboard) -> str:
    """A key of an administrator."""
    return dashboard.key(APPLICATION)


def test_a_page_comes_back_by_itself(dashboard: Dashboard, outage: Outage, key: str, open_tab: OpenTab) -> None:
    """It says what is safe and when it tries again, and continues where it was."""
    tab = open_tab(timezone_id="UTC")
    tab.clock.install()
    page = dashboard.sign_in(tab, key, "/feedback")
    expect(page.get_by_role("link", name="Slow")).to_be_visible()
    with outage.away():
        is_unavailable(page, lambda: page.goto(f"{dashboard.url}/feedback?rating=down"))
        expect(page.locator(".lead")).to_contain_text("Feedback that was accepted is safe.")
        page.clock.run_for(1_000)
        expect(page.locator(".lead")).to_contain_text("This page tries again in 7 s.")
        assert accessibility_problems(page) == []
    page.clock.run_for(8_000)
    expect(page.get_by_role("link", name="Slow")).to_be_visible()
    assert page.url == f"{dashboard.url}/feedback?rating=down"


def test_a_page_gives_up(dashboard: Dashboard, outage: Outage, key: str, open_tab: OpenTab) -> None:
    """After its attempts, it says how many there were and what to do."""
    tab = open_tab(timezone_id="UTC")
    tab.clock.install()
    page = dashboard.sign_in(tab, key)
    with outage.away():
        is_unavailable(page, lambda: page.goto(f"{dashboard.url}/feedback"))
        page.clock.run_for(60_000)
        expect(page.locator(".lead")).to_contain_text("Gave up after 5 attempts. Reload the page to try again.")
    # This fails if the answer to an earlier attempt reloads the page at the same time.
    with suppress(Error):
        page.reload()
    expect(page.get_by_role("link", name="Slow")).to_be_visible()


def test_a_page_without_javascript(dashboard: Dashboard, outage: Outage, key: str, open_tab: OpenTab) -> None:
    """The same, with a link."""
    page = dashboard.sign_in(open_tab(scripts=False), key)
    with outage.away():
        is_unavailable(page, lambda: page.get_by_role("link", name="Feedback", exact=True).click())
    page.get_by_role("link", name="Try now").click()
    expect(page.get_by_role("link", name="Slow")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False], ids=["javascript", "no javascript"])
def test_a_decision(dashboard: Dashboard, outage: Outage, key: str, open_tab: OpenTab, scripts: bool) -> None:
    """A decision that cannot be saved is reported as such, changes nothing, and can be repeated."""
    page = dashboard.sign_in(open_tab(scripts=scripts), key, "/moderation")
    approve = page.locator(".decide").get_by_role("button", name="Approve")
    with outage.away():
        approve.click()
        if scripts:
            expect(page.locator(".toast")).to_contain_text("The storage does not respond")
            expect(page.locator("h1")).to_have_text("1 waits for a decision")
        else:
            expect(page.locator("h1")).to_have_text("The storage does not respond")
    if not scripts:
        page.go_back()
    approve.click()
    expect(page.locator("main .empty")).to_contain_text("Nothing waits.")
    page.get_by_role("button", name="Undo").first.click()
    expect(page.locator("h1")).to_have_text("1 waits for a decision")


def test_nothing_is_missed(dashboard: Dashboard, outage: Outage, key: str, open_tab: OpenTab) -> None:
    """A page that was open all the time counts what is new after an outage, also of the server processes.

    It says that it is not live while there is no server.
    """
    page = dashboard.sign_in(open_tab(timezone_id="UTC"), key)
    live = page.locator(".live").first
    expect(live).to_have_text("Live")
    with outage.away():
        pass
    dashboard.hk.submit("s", "up", "After the first outage")
    expect(page.get_by_role("button", name="1 new · show")).to_be_visible()
    # The supervisor, which is stopped meanwhile, starts no other workers.
    supervisor = dashboard.service.process.pid
    os.kill(supervisor, signal.SIGSTOP)
    try:
        for worker in dashboard.service.workers():
            os.kill(worker, signal.SIGKILL)
        expect(live).to_contain_text("Not live: trying again")
        dashboard.hk.submit("s", "up", "During the second one")
    finally:
        os.kill(supervisor, signal.SIGCONT)
    expect(live).to_have_text("Live")
    dashboard.hk.submit("s", "up", "After it")
    expect(page.get_by_role("button", name="3 new · show")).to_be_visible()


def is_unavailable(page: Page, act: Callable[[], object]) -> None:
    """Do something, and wait for the page that says that the storage does not respond."""
    act()
    expect(page.locator("h1")).to_have_text("The storage does not respond")
