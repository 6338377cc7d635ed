"""Visits of pages with widgets, in a real browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from itertools import count
from typing import Any, Final
from urllib.parse import quote

from attrs import define, field, frozen
from playwright.sync_api import BrowserContext, ConsoleMessage, Locator, Page, Request, Route, expect

from harken import Feedback, FeedbackQuery, Harken
from harken_adapters.tokens import SessionTokens
from hosts.browser.site import RESERVED_HEIGHT, Site
from hosts.serving import Server
from support import ManualClock, eventually

SECRET: Final = "a secret that has thirty-two bytes or more"
AUTHOR: Final = "reader"
#: When the clocks of pages start.
_EPOCH: Final = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
#: The timeout of requests runs on the page's clock too, which can be advanced.
_TIMEOUTS: Final = """AbortSignal.timeout = (milliseconds) => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), milliseconds);
    return controller.signal;
};"""

_numbers = count(1)


def stop_clock(context: BrowserContext) -> None:
    """Stop the clock of all pages of a profile, also for the timeouts of requests."""
    context.add_init_script(_TIMEOUTS)
    context.clock.install(time=_EPOCH)
    context.clock.pause_at(_EPOCH + timedelta(hours=1))


@frozen
class Widget:
    """One ``<harken-feedback>`` in a page."""

    element: Locator

    def __getattr__(self, name: str) -> Locator:
        """The element inside of it with this class."""
        return self.element.locator(f".{name}")

    @property
    def message(self) -> Locator:
        """The text beside the thumbs."""
        return self.element.locator(".group .status")

    @property
    def note(self) -> Locator:
        """The text beside the button that sends."""
        return self.element.locator(".actions .status")

    def reason(self, code: str) -> Locator:
        """The button of a reason."""
        return self.element.locator(f".reason[value='{code}']")

    def link(self, name: str) -> Locator:
        """A button beside the thumbs, such as Undo."""
        return self.links.get_by_role("button", name=name, exact=True)

    def shows(self, rating: str | None) -> None:
        """Wait until only the thumb of this rating is pressed; ``None`` for no thumb."""
        for thumb in ("up", "down"):
            expect(self.element.locator(f".thumb.{thumb}")).to_have_attribute(
                "aria-pressed", str(thumb == rating).lower()
            )

    def says(self, text: str) -> None:
        """Wait until this is the text beside the thumbs."""
        expect(self.message).to_have_text(text)

    def is_open(self, yes: bool = True) -> None:
        """Wait until the panel is open, or closed."""
        expect(self.panel).to_be_visible(visible=yes)

    def has_focus(self) -> str:
        """The classes of the element inside of it that has the focus."""
        return str(self.element.evaluate("(one) => one.shadowRoot.activeElement?.className ?? ''"))


# Not frozen and without slots, as Playwright notes the listeners in it.
@define(eq=False, slots=False)
class Visit:
    """A tab of a browser, on a page of the site with widgets of one session."""

    page: Page
    server: Server
    site: Site
    hk: Harken
    session: str = field(factory=lambda: f"session-{next(_numbers)}")
    #: The requests to the API, oldest first.
    requests: list[Request] = field(factory=list)
    #: What the browser complained about.
    problems: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.page.on("request", self._record)
        self.page.on("console", self._complain)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))

    def _record(self, request: Request) -> None:
        if "/api/" in request.url:
            self.requests.append(request)

    def _complain(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.problems.append(message.text)

    # --- Pages --------------------------------------------------------------------------------------------------------

    def token(self, *, age: timedelta = timedelta(0), **claims: Any) -> str:
        """A token of this session, which was minted some time ago and lives for an hour."""
        tokens = SessionTokens([SECRET], clock=ManualClock(datetime.now(UTC) - age))
        return tokens.mint(**{"session_id": self.session, "author": AUTHOR, **claims})

    def widget(self, message: str | None = "m", content: str = "", **attributes: object) -> str:
        """The HTML of a widget. An attribute that is ``None`` is left out, one that is ``True`` has no value."""
        named = {"session": self.session, "message": message, "token": self.token(), **attributes}
        written = " ".join(
            name if value is True else f'{name}="{escape(str(value))}"'
            for name, value in named.items()
            if value is not None
        )
        return f"<harken-feedback {written}>{content}</harken-feedback>"

    def html(self, *body: str, style: str = RESERVED_HEIGHT, head: str = "", root: str = 'lang="en"') -> str:
        """The HTML of a page that loads the widget from the server."""
        if style:
            head = f"<style>{style}</style>{head}"
        return f"""<!doctype html>
<html {root}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Host</title>
{head}
<script type="module" src="{self.server.url}/widget.js"></script>
</head>
<body><main><h1>Host</h1>{"".join(body)}</main></body>
</html>"""

    def open(self, *body: str, headers: Mapping[str, str] | None = None, **parts: str) -> Widget:
        """Open a page with this body, or with one widget. Returns its first widget, which has loaded its votes."""
        self.page.goto(self.site.show(self.html(*(body or [self.widget()]), **parts), headers))
        return self.ready()

    def reload(self) -> Widget:
        """Load the page again."""
        self.page.reload()
        return self.ready()

    def ready(self) -> Widget:
        """Wait until all widgets are shown and have loaded their votes. Returns the first one."""
        widgets = self.page.locator("harken-feedback")
        expect(widgets.locator(".group")).to_have_count(widgets.count())
        self.settle()
        return Widget(widgets.first)

    def settle(self) -> None:
        """Wait until all requests to the API that are not held have got a response."""
        eventually(lambda: self.tick() or all(_is_over(request) for request in self.requests))

    def tick(self) -> None:
        """Let Playwright report what has happened meanwhile, and call the routes."""
        self.page.evaluate("() => 0")

    def on(self, message: str) -> Widget:
        """The widget of a message."""
        return Widget(self.page.locator(f"harken-feedback[message='{message}']"))

    def later(self, seconds: float) -> None:
        """Advance the clock of the page, which otherwise stands still."""
        self.page.clock.run_for(round(seconds * 1000))

    # --- The network --------------------------------------------------------------------------------------------------

    def answer(self, *answers: Answer, method: str = "PUT", message: str = "m") -> None:
        """Answer the next requests of this method about a message as given; those after them reach the server."""
        waiting = list(answers)

        def handle(route: Route) -> None:
            if route.request.method != method or not waiting:
                route.fallback()
            else:
                waiting.pop(0)(route)

        self.page.route(f"**/messages/{quote(message)}/feedback", handle)

    def sent(self, method: str = "PUT") -> list[Request]:
        """The requests of a method."""
        return [one for one in self.requests if one.method == method]

    def keys(self) -> list[str]:
        """The idempotency keys of the votes that were sent."""
        return [one.headers["idempotency-key"] for one in self.sent()]

    # --- What is stored -----------------------------------------------------------------------------------------------

    def stored(self, message: str | None = "m") -> Feedback | None:
        """The vote on a message that is stored."""
        return next((vote for vote in self.votes() if vote.message_id == message), None)

    def votes(self) -> list[Feedback]:
        """All votes of the session that are stored."""
        return self.hk.votes(self.session, author=AUTHOR)

    def everything(self) -> list[Feedback]:
        """All feedback of the session, in any state."""
        return list(self.hk.collection.stream(FeedbackQuery(session_id=self.session).in_any_state()))

    def stores(
        self, rating: str | None, comment: str = "", tags: Sequence[str] = (), message: str | None = "m"
    ) -> None:
        """Wait until exactly this vote is stored; ``None`` for no vote."""
        expected = None if rating is None else (rating, comment, tuple(tags))

        def is_stored() -> bool:
            self.tick()
            found = self.stored(message)
            return (found and (found.rating.word, found.comment, tuple(found.tags))) == expected

        eventually(is_stored)


def _is_over(request: Request) -> bool:
    return request.failure is not None or request.timing["responseEnd"] >= 0


# --- Answers ----------------------------------------------------------------------------------------------------------

Answer = Callable[[Route], None]


def status(
    code: int,
    document: object = None,
    *,
    body: str | None = None,
    kind: str = "application/problem+json",
    **headers: str,
) -> Answer:
    """A response that does not come from Harken."""
    sent = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "Retry-After",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    text = json.dumps(document or {"status": code}) if body is None else body
    return lambda route: route.fulfill(status=code, headers=sent, content_type=kind, body=text)


def cut(route: Route) -> None:
    """The connection is closed before the server sees the request."""
    route.abort()


def lose(route: Route) -> None:
    """The server handles the request, but its response is lost."""
    route.fetch()
    route.abort()


def pass_on(route: Route) -> None:
    """The server answers."""
    route.continue_()


def hold(route: Route) -> None:
    """There is no answer."""


class Held:
    """Requests that wait until the test lets them go on."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._routes: list[Route] = []

    def __call__(self, route: Route) -> None:
        """Hold a request."""
        self._routes.append(route)

    def wait(self) -> None:
        """Wait until a request is held."""
        eventually(lambda: self._visit.tick() or self._routes)

    def release(self) -> None:
        """Let the oldest one reach the server."""
        self.wait()
        self._routes.pop(0).continue_()
