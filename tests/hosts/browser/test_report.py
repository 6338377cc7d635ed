"""The page of a report, opened as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser

import harken
from harken_adapters.hosts.web.report import ask, report_page
from hosts.browser.test_appearance import problems_of
from hosts.cli.test_report import NOW, fill

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of words that try to be markup."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    with harken.connect("memory://", clock=lambda: NOW) as hk:
        fill(hk)
        path.write_bytes(report_page(ask(hk, hk.query(), "UTC", now=NOW)))
    return path


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_report_needs_nothing_else(browser: Browser, file: Path, width: int, theme: Literal["light", "dark"]) -> None:
    """It loads nothing, its policy holds, axe finds nothing, nothing is wider than the window, and it prints."""
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme)
    page = context.new_page()
    said: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    assert [url for url in requests if not url.startswith("data:")] == [file.as_uri()]
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert problems_of(page) == []
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.pdf().startswith(b"%PDF")
    context.close()
