"""The error page: what it says, and what it offers to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import harken
from harken import Harken, StorageError
from harken.services.feedback.collection import CollectionService
from harken.services.keys import KeyService
from hosts.html_forms import Html
from hosts.serving import Server
from hosts.web.site import Visitor, WebPage, links_of, served_at, texts_of
from support import ManualClock

pytestmark = pytest.mark.slow


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A Harken with one entry."""
    with harken.connect("memory://", clock=clock) as connected:
        connected.submit("s", "up")
        yield connected


@pytest.fixture
def server(hk: Harken, clock: ManualClock) -> Iterator[Server]:
    """A server that requires keys."""
    with served_at(hk, clock, access="keys") as serving:
        yield serving


@pytest.fixture
def reader(hk: Harken, server: Server) -> Visitor:
    """A visitor who may only read."""
    return Visitor.signed_in(server, hk.keys.create("default", ["read"], name="Ann").text)


def failing(error: Exception) -> Callable[..., Any]:
    """A function that raises an error."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def labels(page: Html, element: str) -> list[str | None]:
    """The names of elements for screen readers."""
    return [found["aria-label"] for found in page.attributes(element) if "aria-label" in found]


def test_not_found(reader: Visitor) -> None:
    """It says so and leads on. Nothing failed, so the log is not mentioned; the visitor can still sign out."""
    page = reader.page("/dashboard/feedback/unknown", status=404)
    assert "404 · not found Feedback not found There is nothing here. It may have been erased. Overview" in texts_of(
        page
    )
    assert "in the server log" not in texts_of(page)
    assert "/dashboard" in links_of(page)
    assert "Signed in with key Ann" in labels(page, "summary")
    assert "" not in labels(page, "summary")
    assert "Sign out" in texts_of(page)


def test_a_scope_that_is_missing(reader: Visitor) -> None:
    """It names the scope, and offers to sign in with another key."""
    page = reader.page("/dashboard/settings", status=403)
    assert (
        "You may not see this This key may read, but not change settings. Ask for one with the scope admin."
        in texts_of(page)
    )
    assert "Sign in with another key" in texts_of(page)
    answer = reader.post("/dashboard/settings/keys", {"name": "x", "scopes": "read"})
    assert answer.status_code == 403
    assert "You may not do this" in texts_of(WebPage(answer.text))


def test_invalid_addresses(reader: Visitor) -> None:
    """It says what is wrong in a full sentence."""
    page = reader.page("/dashboard?zone=Atlantis", status=422)
    assert "422 · invalid request This cannot be shown" in texts_of(page)
    assert ".." not in texts_of(page)
    assert "Try now" not in texts_of(page)


def test_a_storage_that_fails(
    reader: Visitor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says what is safe, tries again, and gives the request id under which the log has the reason."""
    monkeypatch.setattr(CollectionService, "find", failing(StorageError("mongodb://secret@host")))
    answer = reader.get("/dashboard/feedback?agent_id=Ann")
    assert answer.status_code == 503
    page = WebPage(answer.text)
    assert "The storage does not respond Feedback that was accepted is safe." in texts_of(page)
    (logged,) = [record for record in caplog.records if record.name == "harken.http"]
    assert f"look for this request id in the server log: {logged.harken['request_id']}" in texts_of(page)  # type: ignore[attr-defined]
    assert "mongodb://secret@host" in caplog.text
    assert "/dashboard/feedback?agent_id=Ann" in links_of(page)
    assert "secret" not in answer.text


def test_a_storage_that_cannot_check_keys(reader: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page is shown without a menu, in the theme of the visitor."""
    monkeypatch.setattr(KeyService, "find", failing(StorageError("no")))
    reader.session.cookies.set("harken_theme", "dark")
    page = reader.page("/dashboard", status=503)
    assert labels(page, "summary") == []
    assert page.attributes("html")[0]["data-theme"] == "dark"


def test_what_nobody_expected(reader: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the blame, and gives the request id of the log."""
    monkeypatch.setattr(CollectionService, "find", failing(ZeroDivisionError("x = 1 / 0")))
    page = reader.page("/dashboard/feedback", status=500)
    assert "This page could not be shown Something unexpected failed on the server." in texts_of(page)
    assert "look for this request id in the server log" in texts_of(page)
    assert "1 / 0" not in texts_of(page)


def test_forms_that_fail(hk: Harken, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A form is not sent again by a link, as its address is none of a page."""
    admin = Visitor.signed_in(server, hk.keys.create("default", ["admin"]).text)
    monkeypatch.setattr(KeyService, "create", failing(StorageError("no")))
    answer = admin.post("/dashboard/settings/keys", {"name": "x", "scopes": "read"})
    assert answer.status_code == 503
    page = WebPage(answer.text)
    assert "The storage does not respond Check whether it was saved before you send it again." in texts_of(page)
    assert "Try now" not in texts_of(page)
    assert links_of(page).count("/dashboard/settings/keys") == 0


def test_the_theme_of_the_sign_in_page(server: Server) -> None:
    """It has the theme that was chosen on the dashboard."""
    visitor = Visitor(server)
    assert "data-theme" not in visitor.page("/sign-in").attributes("html")[0]
    visitor.session.cookies.set("harken_theme", "dark")
    assert visitor.page("/sign-in").attributes("html")[0]["data-theme"] == "dark"
    visitor.session.cookies.set("harken_theme", '"><script>')
    assert "data-theme" not in visitor.page("/sign-in").attributes("html")[0]
