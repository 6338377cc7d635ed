"""The browser of the tests."""

from __future__ import annotations

from typing import Final

from playwright.sync_api import Browser, Playwright

#: What Playwright reports if Chromium has crashed, which is rare, and not a fault of the page.
CRASHED: Final = "Target page, context or browser has been closed"


class Chromium:
    """Chromium, as Debian packages it; launched again after a crash."""

    def __init__(self, playwright: Playwright, program: str) -> None:
        self._playwright = playwright
        self._program = program
        self._browser: Browser | None = None

    def running(self) -> Browser:
        """The browser, which runs."""
        if self._browser is None or not self._browser.is_connected():
            self._browser = self._playwright.chromium.launch(
                executable_path=self._program,
                args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            )
        return self._browser

    def close(self) -> None:
        """End it."""
        if self._browser is not None:
            self._browser.close()
