"""A visit: a request for a page of the dashboard, by a visitor who may see it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from attrs import evolve, frozen

from harken import Feedback, FeedbackNotFound, FeedbackQuery, Harken, InvalidQuery, Scope
from harken.domain.alerts.alert import Alert
from harken.domain.moderation import Backlog
from harken.domain.trend import zone_named
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.guards.access import Principal, application_of, check_own_page
from harken_adapters.hosts.http.guards.cookies import find_cookie, theme_of
from harken_adapters.hosts.http.guards.permissions import agent_filter, check_agent_keys, check_scope
from harken_adapters.hosts.http.logs import log_failure
from harken_adapters.hosts.http.serving.pages import Page, Pages
from harken_adapters.hosts.http.serving.sign_in.paths import sign_in_path
from harken_adapters.hosts.http.wire.bodies import WITH_BODY
from harken_adapters.hosts.http.wire.messages import HTML, Headers, Request, Response, redirect, security_headers
from harken_adapters.hosts.http.wire.parameters import Parameters
from harken_adapters.hosts.http.wire.problems import Problem, internal, problem_of
from harken_adapters.hosts.web.assets import assets
from harken_adapters.hosts.web.compression import compress
from harken_adapters.hosts.web.forms import form_of
from harken_adapters.hosts.web.frame import Frame, uses_letter_keys, who_text
from harken_adapters.hosts.web.rendering import render
from harken_adapters.hosts.web.selection import Selection
from harken_adapters.hosts.web.wording import join_words

DASHBOARD: Final = "/dashboard"
#: Pages have no inline style or script.
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: Forms are checked for their origin, which browsers hide with ``no-referrer``.
_SECURITY: Final[Headers] = security_headers(_POLICY, referrer_policy="same-origin")
#: The problems that the log explains: failures of the program or the storage.
_LOGGED: Final = ("internal", "unavailable")
#: What the error page says instead of the title and the detail of a problem; an empty sentence is the detail.
_ERRORS: Final = {
    "not-found": ("Not found", "There is nothing here. It may have been erased."),
    "invalid": ("This cannot be shown", ""),
    "forbidden": ("You may not see this", ""),
    "unavailable": ("The storage does not respond", "Feedback that was accepted is safe."),
    "overloaded": ("The service is overloaded", "Feedback that was accepted is safe."),
    "indexing": ("Comments cannot be searched yet", ""),
    "internal": (
        "This page could not be shown",
        "Something unexpected failed on the server. Feedback that was accepted is safe.",
    ),
}
#: The same after a form.
_FORM_ERRORS: Final = {
    "not-found": ("Not found", "What you wanted to change is not there. It may have been erased."),
    "invalid": ("Not saved", ""),
    "conflict": ("Nothing was changed", ""),
    "forbidden": ("You may not do this", ""),
    "unavailable": ("The storage does not respond", "Check whether it was saved before you send it again."),
    "overloaded": ("Not saved", "The service is overloaded. Go back and send it again in a moment."),
    "internal": ("This could not be done", "Something unexpected failed on the server. Check whether it was saved."),
}
#: What each scope permits.
_VERBS: Final = {
    Scope.SUBMIT: "submit feedback",
    Scope.READ: "read",
    Scope.MODERATE: "decide",
    Scope.ADMIN: "change settings",
}
#: The field of forms with the application that their page shows.
SHOWN_APPLICATION: Final = "shown_application"
#: The cookie with the time zone of the browser, which scripts set.
ZONE: Final = "harken_zone"
_LONGEST_ZONE: Final = 64
#: More open alerts are not counted.
MOST_ALERTS: Final = 100


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
        return theme_of(self.request)

    @property
    def zone(self) -> str:
        """The name of the time zone of the browser; UTC if that is not known."""
        name = find_cookie(self.request, ZONE) or ""
        try:
            return zone_named(name[:_LONGEST_ZONE]).key
        except InvalidQuery:
            return "UTC"

    @property
    def is_form(self) -> bool:
        """Whether the request is a submitted form, to whose address no link can lead."""
        return self.request.method in WITH_BODY

    @cached_property
    def backlog(self) -> Backlog:
        """What waits for moderation, of all agents. Several parts of a page show it."""
        return self.harken.moderation.backlog(self.application)

    @cached_property
    def open_alerts(self) -> Sequence[Alert]:
        """The open alerts of all agents, the last raised first, and one more than are counted if there are more."""
        return self.harken.alerts.find(self.application, open=True, limit=MOST_ALERTS + 1)

    def may(self, scope: Scope) -> bool:
        """Whether the visitor may do what needs this scope."""
        return self.principal.key is None or self.principal.key.allows(scope)

    def require(self, scope: Scope) -> None:
        """Check that the visitor may do what needs this scope.

        Raises:
            Problem: the visitor may not.
        """
        _check_key(self.principal, scope)

    def selection(self, known: Iterable[str] = ()) -> Selection:
        """The selection in the query string, restricted to what the visitor may see.

        Args:
            known: the names of further parameters of the page.

        Raises:
            Problem: a parameter is unknown or invalid.
            InvalidQuery: a filter or the time zone is invalid.
        """
        selection = self.unlimited_selection(known)
        agent_filter(self.principal, selection.query.agent_id)
        return selection.limited(self.principal.agents)

    def unlimited_selection(self, known: Iterable[str] = ()) -> Selection:
        """Like :meth:`selection`, for pages that read no feedback with it: the agents of the visitor do not matter."""
        return Selection.parse(self.request.query, self.application, self.now, known=known, zone=self.zone)

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

    def show(self, template: str, *, frame: Frame, status: int = 200, **values: Any) -> Response:
        """The response with a page."""
        return _html(template, frame, status=status, visit=self, **values)

    def redirect(self, target: str) -> Response:
        """The response after a form: a redirect to a page."""
        return redirect(target)


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
    """A page of the dashboard, which authenticates its visitor itself: the answer to a wrong key is a page, too.

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
    principal = None
    try:
        principal = api.recognise(request)
        api.count_visit(request, principal)
        _check_key(principal, scope)
        if principal.token is not None:
            check_scope(principal, scope or Scope.READ, tokens=False, session_id=None)
        check_agent_keys(principal, allowed=agent_keys)
        if request.method in WITH_BODY:
            check_own_page(request, needs_proof=principal.browser is not None)
        asked = dict(parse_qsl(request.query)).get("application")
        application = application_of(principal, asked, api.harken.application)
        request.application = application
        if request.method in WITH_BODY:
            _check_shown_application(form_of(request), application)
        visit = Visit(
            api=api, request=request, root=root, principal=principal, application=application, now=api.clock()
        )
        return show(visit)
    except Exception as error:  # noqa: BLE001 - every request needs a page
        problem = problem_of(error) or internal()
        if problem.kind == "unauthorized":
            form_page = _form_page(request) if request.method in WITH_BODY else None
            return redirect(sign_in_path(root, request, problem, form_page=form_page))
        if is_logged := problem.kind in _LOGGED:
            log_failure(request.id, request.path, error)
        title = "Feedback not found" if isinstance(error, FeedbackNotFound) else ""
        return _error(root, request, problem, principal, title=title, is_logged=is_logged)


def _form_page(request: Request) -> str:
    """The page that a form is on, as the browser says; empty if it does not."""
    referrer = urlsplit(request.header("referer") or "")
    return f"{referrer.path}?{referrer.query}" if referrer.query else referrer.path


def _check_shown_application(form: Parameters, application: str) -> None:
    """Check that a form is about the application that its page showed.

    Another tab may have signed in with a key of another application meanwhile: all tabs share the cookie.

    Raises:
        Problem: it would change another application.
    """
    shown = form.get(SHOWN_APPLICATION, application)
    if shown != application:
        raise Problem(
            "conflict", f"The page showed the application “{shown[:100]}”, but you are now signed in to “{application}”"
        )


def _check_key(principal: Principal, scope: Scope | None) -> None:
    """Check that the key of a visitor has a scope.

    Raises:
        Problem: it does not. It says what the visitor may do, and what to ask for.
    """
    key = principal.key
    if key is None or scope is None or key.allows(scope):
        return
    may = join_words([verb for one, verb in _VERBS.items() if one in key.scopes])
    who, wanted = ("You", "a group") if principal.choices else ("This key", "one")
    detail = f"{who} may {may}, but not {_VERBS[scope]}. Ask for {wanted} with the scope {scope.value}"
    raise Problem("forbidden", detail)


def _error(
    root: str, request: Request, problem: Problem, principal: Principal | None, *, title: str, is_logged: bool
) -> Response:
    """The error page, which needs nothing of the storage. ``principal`` is ``None`` if it is not known."""
    is_form = request.method in WITH_BODY
    home, application = f"{root}{DASHBOARD}", dict(parse_qsl(request.query)).get("application")
    # An application that the visitor may not see leads nowhere.
    is_chosen = application is not None and application == request.application
    frame = Frame(
        root=root,
        home=home,
        overview=f"{home}?{urlencode({'application': application})}" if is_chosen else home,
        theme=theme_of(request),
        letter_keys=uses_letter_keys(request),
        back="" if is_form else request.target,
        who=who_text(principal) if principal else "",
        signed_in=principal is not None and principal.browser is not None,
    )
    heading, sentence = (_FORM_ERRORS if is_form else _ERRORS).get(problem.kind, (problem.title, ""))
    response = _html(
        "error.html",
        frame,
        status=problem.status,
        title=title or heading,
        # Details have no full stop at their end, as they are parts of messages elsewhere.
        sentence=sentence or f"{problem.detail.removesuffix('.')}.",
        problem=problem,
        request=request,
        is_logged=is_logged,
        address=request.target,
        again="" if is_form else request.target,
    )
    response.headers += problem.headers
    return response


def _html(template: str, frame: Frame, *, status: int, **values: Any) -> Response:
    body = render(template, {"frame": frame, "assets": assets(), **values})
    return Response(status, body, HTML, security=_SECURITY)
