"""Requests of browsers that sign in and out."""

from __future__ import annotations

from datetime import timedelta
from hmac import compare_digest
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from attrs import evolve

from harken import HarkenError, Scope
from harken.configuration.extras import requires
from harken.domain.instants import stamp
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.guards.access import KEY_PREFIX, Principal, check_own_page, unauthorized
from harken_adapters.hosts.http.guards.browser_sessions import BrowserSession, Person
from harken_adapters.hosts.http.guards.cookies import MAX_COOKIE, find_cookie, set_cookie, theme_of
from harken_adapters.hosts.http.serving.sign_in import page, paths
from harken_adapters.hosts.http.serving.sign_in.page import View
from harken_adapters.hosts.http.wire.messages import HTML, Request, Response, answer, redirect
from harken_adapters.hosts.http.wire.problems import Problem, internal, problem_of
from harken_adapters.tokens import InvalidToken
from harken_adapters.tokens.signing import Signer

if TYPE_CHECKING:
    from harken_adapters.hosts.http.serving.sign_in.openid_connect import OpenIdConnect

#: A longer text in the field is not a key, and is not sent back.
_LONGEST_KEY: Final = 200
#: How long people may take at the provider.
_FLOW: Final = timedelta(minutes=10)
_FLOW_COOKIE: Final = "harken_openid_"
_FORBIDDEN: Final = (
    "{provider} signed you in as {name}, but none of your groups has access to this service. Ask its operator to add "
    "one of them."
)
_RESTARTED: Final = "This sign-in took too long, or was started in another tab. Start again."


class SignIn:
    """The pages of signing in and out.

    The argument ``root`` of its methods is the prefix of the API's paths, percent-encoded and without a trailing slash.

    Args:
        api: the API.

    Raises:
        MissingExtra: OpenID Connect is configured, but the extra ``oidc`` is not installed.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._openid = _openid_connect(api) if api.settings.oidc_issuer else None

    def show(self, root: str, request: Request) -> Response:
        """The sign-in page; if access is open, a redirect to the page that it leads to."""
        asked = parse_qs(request.query, keep_blank_values=True)
        following = paths.landing(root, asked.get("next", [None])[0])
        if self._api.settings.access == "open":
            return redirect(following)
        notices = {
            paths.SIGNED_OUT: page.SIGNED_OUT_EVERYWHERE if paths.EVERYWHERE in asked else page.SIGNED_OUT,
            paths.ENDED_BEFORE: page.ENDED_BEFORE,
            paths.UNSAVED: page.UNSAVED,
            paths.ENDED: page.ENDED,
        }
        notice = next((text for name, text in notices.items() if name in asked), "")
        return self._page(evolve(_view(root, request, following), notice=notice))

    def submit(self, root: str, request: Request) -> Response:
        """Exchange the submitted API key for a cookie. On failure, show the sign-in page with the reason."""
        form = parse_qs(request.body.decode("latin-1"))
        key = form.get("key", [""])[0].strip()
        view = _view(root, request, paths.landing(root, form.get("next", [None])[0]))
        try:
            check_own_page(request)
        except Problem as problem:
            return self._failure(view, problem)
        if len(key) <= _LONGEST_KEY:
            view = evolve(view, key=key)
        try:
            cookie = self._begin(root, request, key)
        except (Problem, HarkenError) as error:
            reason = _problem(error)
            return self._failure(evolve(view, is_invalid=reason.kind == "unauthorized"), reason)
        return redirect(view.next, cookie)

    def sign_out(self, root: str, request: Request) -> Response:
        """End the session and remove the cookie; with the field ``everywhere``, end all sessions of the same owner.

        The sign-in page says what was done. If the session had already ended, its owner is not known, and nobody else's
        session ends. For a form of another origin, and if the storage fails, show the sign-in page with the reason.
        """
        everywhere = paths.EVERYWHERE in parse_qs(request.body.decode("latin-1"), keep_blank_values=True)
        try:
            check_own_page(request)
            session = self._session(request)
            if session is not None:
                self._api.sign_out(session, everywhere=everywhere)
        except (Problem, HarkenError) as error:
            view = _view(root, request, paths.landing(root))
            return self._failure(evolve(view, title="Not signed out."), _problem(error))
        query = paths.SIGNED_OUT
        if everywhere:
            query = paths.ENDED_BEFORE if session is None else f"{query}&{paths.EVERYWHERE}"
        name = self._api.browsers.cookie
        removal = [set_cookie(name, "", path=root, max_age=0, secure=self._is_secure(request))] if name else []
        return redirect(f"{root}{paths.SIGN_IN}?{query}", *removal)

    def stay(self, root: str, request: Request) -> Response:
        """Extend the session. Redirects to the page in the field ``next``.

        Raises:
            Problem: the browser is not signed in, or a page of another origin sent the form.
            StorageError: the storage failed.
        """
        check_own_page(request, needs_proof=True)
        session = self._api.recognise(request).browser
        if session is None:
            raise unauthorized("Only a browser that is signed in can stay signed in")
        form = parse_qs(request.body.decode("latin-1"))
        following = paths.landing(root, form.get("next", [None])[0])
        return redirect(following, self._cookie(root, request, *self._api.browsers.extend(session)))

    def current(self, _: str, request: Request) -> Response:
        """Who is signed in, and what they may do, as JSON.

        Raises:
            Problem: there were too many requests with invalid credentials.
            StorageError: the storage failed.
        """
        try:
            principal = self._api.recognise(request)
        except Problem as problem:
            if problem.kind != "unauthorized":
                raise
            return answer({"signed_in": False})
        return answer({"signed_in": True, **_record(principal, self._api.harken.application)})

    def start(self, root: str, request: Request) -> Response:
        """Redirect to the OpenID Connect provider."""
        view = _view(root, request, paths.landing(root, parse_qs(request.query).get("next", [None])[0]))
        flow = {name: token_urlsafe(32) for name in ("state", "nonce", "verifier")}
        try:
            url = self._provider().authorization_url(**flow)
            signer = self._flow_signer()
        except (Problem, HarkenError) as error:
            return self._failure(view, _problem(error))
        cookie = set_cookie(
            self._flow_cookie,
            signer.sign({**flow, "next": view.next}, _FLOW),
            path=f"{root}{paths.SIGN_IN}",
            max_age=int(_FLOW.total_seconds()),
            secure=self._is_secure(request),
            # With Strict, browsers would not send it when they come back from the provider.
            same_site="Lax",
        )
        return redirect(url, cookie)

    def finish(self, root: str, request: Request) -> Response:
        """Sign in the person whom the provider sent back, or show why that is not possible."""
        view = _view(root, request, paths.landing(root))
        try:
            flow = self._flow(request)
            view = evolve(view, next=paths.landing(root, flow["next"]))
            person = self._person(request, flow)
            cookie = self._cookie(root, request, *self._api.browsers.begin(person=person))
        except (Problem, HarkenError) as error:
            return self._failure(view, self._counted(request, _problem(error)))
        body = page.continue_page(root, view.next, view.theme)
        return Response(200, body, HTML, (cookie,), security=page.SECURITY)

    # --- Helpers ----------------------------------------------------------------------------------------------------

    def _begin(self, root: str, request: Request, key: str) -> tuple[str, str]:
        """Begin a session with an API key. Returns the cookie."""
        if not key.startswith(KEY_PREFIX):
            raise unauthorized(f"An API key must start with {KEY_PREFIX}")
        bearer = f"Bearer {key}"
        principal = self._api.recognise(
            evolve(request, header=lambda name: bearer if name == "authorization" else request.header(name))
        )
        request.application = principal.application
        key_id = principal.key.id if principal.key else None
        return self._cookie(root, request, *self._api.browsers.begin(key_id=key_id))

    def _session(self, request: Request) -> BrowserSession | None:
        """The session of a request; ``None`` if it has ended already, or has none."""
        try:
            return self._api.recognise(request).browser
        except Problem as problem:
            if problem.kind != "unauthorized":
                raise
            return None

    def _cookie(self, root: str, request: Request, session: BrowserSession, value: str) -> tuple[str, str]:
        max_age = round((session.expires_at - self._api.clock()).total_seconds())
        name = self._api.browsers.cookie
        return set_cookie(name, value, path=root, max_age=max_age, secure=self._is_secure(request))

    def _is_secure(self, request: Request) -> bool:
        """Whether the browser uses TLS, according to the settings or Origin, also if a proxy terminates TLS."""
        urls = (self._api.settings.public_url, request.header("origin") or "")
        return any(url.startswith("https://") for url in urls)

    def _provider(self) -> OpenIdConnect:
        if self._openid is None:
            raise Problem("not-found", "OpenID Connect is not configured. Use an API key.")
        return self._openid

    def _flow_signer(self) -> Signer:
        return self._api.browsers.signer_of(
            what="sign-in",
            audience="harken-openid",
            longest=MAX_COOKIE,
            required=("state", "nonce", "verifier", "next"),
            check=lambda _: (),
        )

    @property
    def _flow_cookie(self) -> str:
        return f"{_FLOW_COOKIE}{self._api.browsers.cookie.rpartition('_')[2]}"

    def _flow(self, request: Request) -> dict[str, Any]:
        """What the sign-in began with, from its cookie, after checking that the provider's response belongs to it."""
        self._provider()
        signer = self._flow_signer()
        try:
            flow = dict(signer.verify(find_cookie(request, self._flow_cookie) or ""))
        except InvalidToken:
            raise unauthorized(_RESTARTED, wrong=True) from None
        state = parse_qs(request.query).get("state", [""])[0]
        if not compare_digest(state.encode(), str(flow["state"]).encode()):
            raise unauthorized(_RESTARTED, wrong=True)
        return flow

    def _person(self, request: Request, flow: dict[str, Any]) -> Person:
        asked = {name: values[0] for name, values in parse_qs(request.query).items()}
        provider = self._api.settings.oidc_name
        if "code" not in asked:
            reason = asked.get("error_description") or asked.get("error") or "no reason was given"
            raise unauthorized(f"{provider} did not sign you in: {reason[:200]}")
        person, groups = self._provider().person(
            asked["code"], nonce=flow["nonce"], verifier=flow["verifier"], issuer=asked.get("iss")
        )
        person = evolve(person, groups=self._api.groups.needed(groups))
        if not person.groups:
            raise Problem("forbidden", _FORBIDDEN.format(provider=provider, name=person.name))
        request.application = next(iter(self._api.groups.scopes(person.groups)))
        return person

    def _counted(self, request: Request, problem: Problem) -> Problem:
        """The problem, after counting it as a failure; or that there were too many."""
        if problem.kind != "unauthorized":
            return problem
        try:
            self._api.count_failure(request)
        except Problem as limited:
            return limited
        return problem

    def _failure(self, view: View, problem: Problem) -> Response:
        # Details have no full stop at their end, as they are parts of messages elsewhere.
        return self._page(evolve(view, error=f"{problem.detail.removesuffix('.')}."), problem)

    def _page(self, view: View, problem: Problem | None = None) -> Response:
        shown = evolve(view, provider=self._api.settings.oidc_name if self._openid else "")
        status, headers = (200, ()) if problem is None else (problem.status, problem.headers)
        return Response(status, shown.html(), HTML, headers, security=page.SECURITY)


def _openid_connect(api: Api) -> OpenIdConnect:
    with requires("Signing in with OpenID Connect", "oidc"):
        # Its packages may be missing, and few services use it.
        from harken_adapters.hosts.http.serving.sign_in.openid_connect import OpenIdConnect  # noqa: PLC0415
    return OpenIdConnect(api.settings, clock=api.clock)


def _view(root: str, request: Request, following: str) -> View:
    return View(root=root, next=following, theme=theme_of(request))


def _problem(error: Exception) -> Problem:
    return problem_of(error) or internal()


def _record(principal: Principal, default: str) -> dict[str, Any]:
    """Who is signed in, and what they may do, for scripts of pages; ``default`` is the application of the service."""
    key, browser = principal.key, principal.browser
    choices = [choice.application for choice in principal.choices]
    scopes = [] if principal.token else [scope.value for scope in Scope if key is None or scope in key.scopes]
    return {
        "id": key.id if key else "",
        "name": principal.name or principal.author or "",
        "application": principal.application or default,
        "applications": choices or list(filter(None, [principal.application])),
        "scopes": scopes,
        "agents": None if principal.agents is None else sorted(principal.agents),
        "expires_at": stamp(browser.expires_at) if browser else None,
        "can_stay": browser is not None and browser.can_extend,
    }
