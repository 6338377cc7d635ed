"""Preferences of a browser, which the settings page and the menu of the visitor lead to."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from hosts.browser.dashboard import Dashboard, OpenTab

pytestmark = pytest.mark.slow


def test_preferences_hold_on_every_page(dashboard: Dashboard, application: str, open_tab: OpenTab) -> None:
    """The theme wins over that of the device; without single-letter keys, none does anything or is shown."""
    page = dashboard.sign_in(open_tab(color_scheme="dark"), dashboard.key(application), "/feedback")
    page.get_by_role("button", name="Light theme").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator(".who summary").click()
    page.locator(".who").get_by_role("link", name="Preferences").click()
    page.get_by_role("form", name="Single-letter keys").get_by_role("button", name="Off").click()
    page.goto(f"{dashboard.url}/feedback")
    page.keyboard.press("?")
    page.keyboard.press("g")
    page.keyboard.press("o")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert "/dashboard/feedback" in page.url
    assert not page.locator("kbd").first.is_visible()
