"""A visit: a request for a page of the dashboard, by a visitor who may see it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from attrs import evolve, frozen

from harken import Feedback, FeedbackNotFound, FeedbackQuery, Harken, HarkenError, Scope
from harken.domain.moderation import Backlog
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.guards.access import Principal, application_of, check_own_page
from harken_adapters.hosts.http.guards.permissions import agent_filter, check_agent_keys, check_scope
from harken_adapters.hosts.http.logs import log_failure
from harken_adapters.hosts.http.serving.pages import Page, Pages
from harken_adapters.hosts.http.serving.sign_in.paths import sign_in_path
from harken_adapters.hosts.http.wire.bodies import WITH_BODY
from harken_adapters.hosts.http.wire.messages import Headers, Request, Response, security_headers
from harken_adapters.hosts.http.wire.problems import Problem, internal, problem_of
from harken_adapters.hosts.web.assets import assets
from harken_adapters.hosts.web.compression import compress
from harken_adapters.hosts.web.navigation import Choice, Entry, application_choices, navigation
from harken_adapters.hosts.web.rendering import render
from harken_adapters.hosts.web.selection import Selection

DASHBOARD: Final = "/dashboard"
_HTML: Final = "text/html; charset=utf-8"
#: Pages have no inline style or script.
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: Forms are checked for their origin, which browsers hide with ``no-referrer``.
_SECURITY: Final[Headers] = security_headers(_POLICY, referrer_policy="same-origin")
#: What the error page says instead of the title and the detail of a problem; an empty sentence is the detail.
_ERRORS: Final = {
    "not-found": ("Not found", "There is nothing here. It may have been erased."),
    "unavailable": (
        "Statistics are unavailable right now",
        "The storage does not respond. Feedback that was accepted is safe.",
    ),
    "indexing": ("Comments cannot be searched yet", ""),
    "forbidden": ("You may not see this", ""),
}
#: The cookies of preferences.
THEME: Final = "harken_theme"
LETTER_KEYS: Final = "harken_letter_keys"
_THEME: Final = re.compile(rf"(?:\A|;)[ \t]*{THEME}=(light|dark)[ \t]*(?:;|\Z)")
_NO_LETTER_KEYS: Final = re.compile(rf"(?:\A|;)[ \t]*{LETTER_KEYS}=off[ \t]*(?:;|\Z)")


@frozen(kw_only=True)
class Frame:
    """What surrounds a page.

    Attributes:
        root: the prefix of all paths.
        home: the path of the overview.
        theme: ``light`` or ``dark``, if the visitor has chosen one.
        letter_keys: whether single letters are keys.
        application: the application that the page is about; empty if that is not known.
        applications: the applications that the visitor can choose from, with links; empty if there is no choice.
        entries: the main menu.
        back: the address of the page.
        who: who is signed in, for people.
        signed_in: whether the visitor can sign out.
        ends_at: when the visitor is signed out, in UTC, if that can be later.
        events: the address of the event stream; empty if the page does not listen.
    """

    root: str
    home: str
    theme: str | None
    letter_keys: bool
    application: str = ""
    applications: Sequence[Choice] = ()
    entries: Sequence[Entry] = ()
    back: str = ""
    who: str = ""
    signed_in: bool = False
    ends_at: datetime | None = None
    events: str = ""


@frozen(kw_only=True)
class Visit:
    """A request for a page.

    Attributes:
        api: the API that is served.
        request: the HTTP request.
        root: the prefix of all paths, percent-encoded and without a trailing slash.
        principal: the visitor.
        application: the application that the page is about.
        now: the time of the visit, in UTC.
    """

    api: Api
    request: Request
    root: str
    principal: Principal
    application: str
    now: datetime

    @property
    def harken(self) -> Harken:
        """The Harken that is served."""
        return self.api.harken

    @property
    def home(self) -> str:
        """The path of the overview."""
        return f"{self.root}{DASHBOARD}"

    @property
    def theme(self) -> str | None:
        """``light`` or ``dark``, if the visitor has chosen one."""
        return _theme_of(self.request)

    @property
    def is_form(self) -> bool:
        """Whether the request is a submitted form, to whose address no link can lead."""
        return self.request.method in WITH_BODY

    @cached_property
    def backlog(self) -> Backlog:
        """What waits for moderation, of all agents. Several parts of a page show it."""
        return self.harken.moderation.backlog(self.application)

    def may(self, scope: Scope) -> bool:
        """Whether the visitor may do what needs this scope."""
        return self.principal.key is None or self.principal.key.allows(scope)

    def selection(self, known: Iterable[str] = ()) -> Selection:
        """The selection in the query string, restricted to what the visitor may see.

        Args:
            known: the names of further parameters of the page.

        Raises:
            Problem: a parameter is unknown or invalid.
            InvalidQuery: a filter or the time zone is invalid.
        """
        selection = Selection.parse(self.request.query, self.application, self.now, known=known)
        agent_filter(self.principal, selection.query.agent_id)
        return selection.limited(self.principal.agents)

    def visible(self, query: FeedbackQuery) -> FeedbackQuery:
        """The query, restricted to the agents that the visitor may see.

        Raises:
            Problem: it names other agents.
        """
        return evolve(query, agent_id=agent_filter(self.principal, query.agent_id))

    def check_visible(self, feedback: Feedback) -> None:
        """Check that the visitor may see feedback.

        Raises:
            FeedbackNotFound: the visitor may not, which is not distinguished from missing feedback.
        """
        if not self.principal.may_see(feedback.agent_id):
            raise FeedbackNotFound(self.application, feedback.id)

    def frame(self, current: str, selection: Selection) -> Frame:
        """What surrounds a page: the main menu, the theme and the visitor.

        Args:
            current: the name of the page in the main menu.
            selection: the selection that links keep.
        """
        browser, request = self.principal.browser, self.request
        entries = navigation(self, current, selection)
        return Frame(
            root=self.root,
            home=self.home,
            theme=self.theme,
            letter_keys=_uses_letter_keys(request),
            application=self.application,
            applications=application_choices(self, selection, entries),
            entries=entries,
            back=self.home if self.is_form else f"{request.path}?{request.query}" if request.query else request.path,
            who=_who(self.principal),
            signed_in=browser is not None,
            ends_at=browser.expires_at if browser and browser.can_extend else None,
            events=f"{self.root}/api/events{_only(selection, 'application')}",
        )

    def show(self, template: str, *, frame: Frame, status: int = 200, **values: Any) -> Response:
        """The response with a page."""
        return _html(template, frame, status=status, visit=self, **values)

    def redirect(self, target: str, *headers: tuple[str, str]) -> Response:
        """The response after a form: a redirect to a page."""
        return Response(303, b"", None, (("location", target), *headers))


Show = Callable[[Visit], Response]


def page(
    name: str,
    path: str,
    show: Show,
    *,
    scope: Scope | None = Scope.READ,
    methods: tuple[str, ...] = ("GET", "HEAD"),
    agent_keys: bool = True,
    is_secret: bool = False,
) -> Page:
    """A page of the dashboard.

    Args:
        name: its name, for web frameworks and logs.
        path: its path below :data:`DASHBOARD`.
        show: returns the response.
        scope: the scope that an API key needs; ``None`` if any will do.
        methods: the allowed HTTP methods. Forms of other sites are refused.
        agent_keys: whether keys that are limited to agents may see it.
        is_secret: whether it contains a secret. It is not compressed, as its length would tell about the secret.
    """

    def respond(pages: Pages, root: str, request: Request) -> Response:
        response = _respond(pages.api, root, request, show, scope, agent_keys=agent_keys)
        return response if is_secret else compress(response, request)

    return Page(f"dashboard_{name}", f"{DASHBOARD}{path}", respond, methods, needs="nothing")


def _respond(api: Api, root: str, request: Request, show: Show, scope: Scope | None, *, agent_keys: bool) -> Response:
    try:
        principal = api.recognise(request)
        if scope is not None or principal.token is not None:
            check_scope(principal, scope or Scope.READ, tokens=False, session_id=None)
        check_agent_keys(principal, allowed=agent_keys)
        if request.method in WITH_BODY:
            check_own_page(request, needs_proof=principal.browser is not None)
        asked = dict(parse_qsl(request.query)).get("application")
        application = application_of(principal, asked, api.harken.application)
        request.application = application
        visit = Visit(
            api=api, request=request, root=root, principal=principal, application=application, now=api.clock()
        )
        return show(visit)
    except Problem as problem:
        if problem.kind == "unauthorized":
            return Response(303, b"", None, (("location", sign_in_path(root, request, problem)),))
        return _error(root, request, problem)
    except HarkenError as error:
        return _error(root, request, problem_of(error) or internal())
    except Exception as error:  # noqa: BLE001 - every request needs a page
        log_failure(request.id, request.path, error)
        return _error(root, request, internal())


def _error(root: str, request: Request, problem: Problem) -> Response:
    """The error page, which needs nothing of the storage."""
    home, letter_keys = f"{root}{DASHBOARD}", _uses_letter_keys(request)
    frame = Frame(root=root, home=home, theme=_theme_of(request), letter_keys=letter_keys)
    title, sentence = _ERRORS.get(problem.kind, (problem.title, problem.detail))
    response = _html(
        "error.html",
        frame,
        status=problem.status,
        title=title,
        sentence=sentence or problem.detail,
        problem=problem,
        request=request,
        again=f"{request.path}?{request.query}" if request.query else request.path,
    )
    response.headers += problem.headers
    return response


def _html(template: str, frame: Frame, *, status: int, **values: Any) -> Response:
    body = render(template, {"frame": frame, "assets": assets(), **values})
    return Response(status, body, _HTML, security=_SECURITY)


def _theme_of(request: Request) -> str | None:
    found = _THEME.search(request.header("cookie") or "")
    return found[1] if found else None


def _who(principal: Principal) -> str:
    key, browser = principal.key, principal.browser
    if key is None:
        return "Anyone may see this: access is open"
    if browser is not None and browser.person is not None:
        return f"Signed in as {key.name or key.id}"
    return f"Signed in with key {key.name or key.id}"


def _uses_letter_keys(request: Request) -> bool:
    return _NO_LETTER_KEYS.search(request.header("cookie") or "") is None


def _only(selection: Selection, name: str) -> str:
    """A query string with one parameter of a selection; empty if it does not have it."""
    values = [(name, value) for value in selection.values(name)]
    return f"?{urlencode(values)}" if values else ""
