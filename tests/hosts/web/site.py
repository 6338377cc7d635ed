"""A visitor of the dashboard without JavaScript, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from attrs import field, frozen

from harken import Harken
from harken.ports.time import Clock
from harken_adapters.hosts.fastapi import ServerSettings, create_app
from hosts.html_forms import Html
from hosts.serving import OPEN, Server, serving


@contextmanager
def served_at(hk: Harken, clock: Clock, **settings: Any) -> Iterator[Server]:
    """Serve a Harken whose pages take the time from a clock, with open access by default."""
    app = create_app(ServerSettings(**{**OPEN, **settings}), harken=hk)
    app.state.harken_host.api.clock = clock
    with serving(app) as server:
        yield server


class WebPage(Html):
    """A page whose ``text`` has a space between the texts of its elements."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record an element."""
        self.text += " "
        super().handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        """Record the end of an element."""
        super().handle_endtag(tag)
        self.text += " "


@frozen
class Visitor:
    """Reads pages and submits forms. It keeps cookies, and signs in with the text of a key.

    Attributes:
        server: the server.
        session: its connections and cookies.
    """

    server: Server
    session: requests.Session = field(factory=requests.Session)

    @classmethod
    def signed_in(cls, server: Server, key: str) -> Visitor:
        """A visitor who has signed in on the page for that."""
        visitor = cls(server)
        answer = visitor.post("/sign-in", {"key": key})
        assert answer.status_code == 303, answer.text
        return visitor

    def get(self, path: str) -> requests.Response:
        """The response to a link; redirects are not followed."""
        return self.session.get(f"{self.server.url}{path}", allow_redirects=False, timeout=30)

    def page(self, path: str, *, status: int = 200) -> WebPage:
        """A page, which has this status."""
        answer = self.get(path)
        assert answer.status_code == status, answer.text
        return WebPage(answer.text)

    def post(self, path: str, fields: Any, **headers: str) -> requests.Response:
        """The response to a form of an own page; redirects are not followed."""
        sent = {"Origin": self.server.url, **headers}
        return self.session.post(
            f"{self.server.url}{path}", data=fields, headers=sent, allow_redirects=False, timeout=30
        )


def texts_of(page: Html) -> str:
    """The text of a page, with single spaces."""
    return " ".join(page.text.split())


def links_of(page: Html) -> list[str]:
    """The targets of all links of a page."""
    return [found.get("href") or "" for found in page.attributes("a")]
