"""Requests with a feedback link. GET and HEAD show the page and change nothing; POST votes or withdraws the vote."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final
from urllib.parse import parse_qs

from attrs import frozen

from harken import Feedback, FeedbackNotFound, FeedbackRejected, Rating, StaleFeedback, Target, Violation
from harken.clock import new_uuid7
from harken_adapters.hosts.http.api import Api
from harken_adapters.hosts.http.guards.sources import Header, is_foreign
from harken_adapters.hosts.http.logs import log_failure
from harken_adapters.hosts.http.serving.feedback_links.form import Form, content_version
from harken_adapters.hosts.http.serving.feedback_links.page import View
from harken_adapters.hosts.http.serving.feedback_links.texts import TEXTS, Texts, preferred_language
from harken_adapters.hosts.http.wire.messages import HTML, Headers, Request, Response, redirect, security_headers
from harken_adapters.hosts.http.wire.problems import Problem, internal, problem_of
from harken_adapters.tokens import ExpiredToken, FeedbackLink, InvalidToken
from harken_adapters.tokens.feedback_links import language_of

_POLICY: Final = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
#: These include ``Referrer-Policy: no-referrer``, so that the link is not sent to other sites.
_SECURITY: Final = security_headers(_POLICY)
_HEADERS: Final[Headers] = (("x-robots-tag", "noindex, nofollow"),)
#: The name of the page in logs.
_NAME: Final = "feedback_link"
_CHOICES: Final = (Rating.UP.word, Rating.DOWN.word)


def answer_link(api: Api, request: Request) -> Response:
    """The response to a request with a feedback link. May block on a storage."""
    language = preferred_language(request.header("accept-language"))
    texts = TEXTS[language]
    try:
        link = api.read_link(request, request.parts["link"])
    except ExpiredToken:
        return _closed(request, language, status=410, title=texts.expired, hint=texts.expired_hint)
    except InvalidToken:
        return _closed(request, language, status=403, title=texts.invalid, hint=texts.invalid_hint)
    except Exception as error:  # noqa: BLE001 - web frameworks would log the path, which has the link
        return _unavailable(_problem(error, request), language, request)
    visit = _Visit(api, request, link, language_of(link.lang or "") or language)
    try:
        return visit.submit() if request.method == "POST" else visit.show()
    except Exception as error:  # noqa: BLE001 - as above
        return _unavailable(_problem(error, request), visit.language, request)


@frozen
class _Visit:
    """A request with a valid link."""

    api: Api
    request: Request
    link: FeedbackLink
    language: str

    @property
    def texts(self) -> Texts:
        return TEXTS[self.language]

    def show(self) -> Response:
        """The page with the stored vote.

        Raises:
            Exception: a rate limit is exceeded, or the storage failed.
        """
        self.api.count_link(self.request, self.link, gives_feedback=False)
        query = parse_qs(self.request.query, keep_blank_values=True)
        vote = self._vote()
        done = query.get("done", [""])[0]
        choice = self._choice(query, vote)
        kept = vote if vote is not None and vote.rating.word == choice else None
        return self._page(
            200,
            notice=self._notice(done, vote),
            vote=vote,
            choice=choice,
            comment=kept.comment if kept else "",
            tags=kept.tags if kept else (),
        )

    def submit(self) -> Response:
        """Vote or withdraw the vote, and redirect to the page. If voting fails, the page with the reason and the text.

        Raises:
            Exception: the vote cannot be withdrawn, a rate limit is exceeded, or the storage failed.
        """
        if _is_foreign(self.request.header):
            # It counts only as a visit, so that other pages cannot use up the limit of the session.
            self.api.count_link(self.request, self.link, gives_feedback=False)
            # The content of the form is not shown: the other page chose it.
            return self._page(403, alert=self.texts.not_saved, vote=self._vote())
        form = Form.parse(self.request.body)
        if form.undo is not None:
            return self._withdraw(form.undo)
        try:
            self.api.count_link(self.request, self.link, gives_feedback=True)
            if form.rating not in _CHOICES:
                return self._page(422, alert=self.texts.choose, vote=self._vote())
            self._store(form)
            return _redirect("?done=vote")
        except FeedbackRejected as error:
            return self._rejected(form, error)
        except Exception as error:  # noqa: BLE001 - the page keeps the text
            return self._failed(form, _problem(error, self.request))

    def _vote(self) -> Feedback | None:
        """The stored vote."""
        link = self.link
        votes = self.api.harken.collection.votes(link.application, link.session_id, link.author)
        return next((vote for vote in votes if vote.message_id == link.message_id), None)

    def _store(self, form: Form) -> None:
        link = self.link
        receipt = self.api.harken.collection.set_vote(
            Target(link.session_id, link.message_id, link.agent),
            link.author,
            Rating(form.rating),
            form.comment,
            tags=form.tags,
            context=link.context,
            idempotency_key=form.idempotency_key,
            application=link.application,
        )
        self.api.metrics.outcome("duplicate" if receipt.duplicate else "stored")

    def _withdraw(self, version: int) -> Response:
        """Withdraw the vote, if it still has the content that the page showed.

        Raises:
            Exception: a rate limit is exceeded, or the storage failed.
        """

        def check(vote: Feedback) -> None:
            if content_version(vote) != version:
                raise StaleFeedback(f"The vote was changed after version {version}")

        link = self.link
        self.api.count_link(self.request, link, gives_feedback=True)
        try:
            self.api.harken.collection.withdraw_vote(
                link.application, link.session_id, link.message_id, link.author, check=check
            )
        except FeedbackNotFound:
            pass  # It has been erased meanwhile, so nothing is left to withdraw.
        except StaleFeedback as error:
            problem = problem_of(error) or internal()
            return self._page(problem.status, alert=self.texts.not_saved, vote=self._vote())
        return _redirect("?done=undo")

    def _choice(self, query: dict[str, list[str]], vote: Feedback | None) -> str | None:
        """The rating for which the form is shown: that of the query string, or else that of the link."""
        if "rating" in query:
            return next((one for one in _CHOICES if one == query["rating"][0]), None)
        stored = vote and vote.rating.word
        return None if "done" in query or self.link.rating == stored else self.link.rating

    def _notice(self, done: str, vote: Feedback | None) -> str:
        if done == "undo" and vote is None:
            return self.texts.taken_back
        if done != "vote" or vote is None:
            return ""
        return self.texts.sent if vote.comment or vote.tags else self.texts.thanks

    def _rejected(self, form: Form, error: FeedbackRejected) -> Response:
        problem = problem_of(error) or internal()
        self.api.count_refusal(problem)
        errors: dict[str, list[str]] = defaultdict(list)
        for violation in error.violations:
            errors[violation.field].append(_message(self.texts, violation))
        alert = " ".join(one for name, found in errors.items() if name not in ("comment", "tags") for one in found)
        return self._form(problem, form, alert=alert, errors=errors)

    def _failed(self, form: Form, problem: Problem) -> Response:
        self.api.count_refusal(problem)
        alert = _busy(self.texts, problem) or self.texts.not_saved
        return self._form(problem, form, alert=alert)

    def _form(self, problem: Problem, form: Form, **parts: Any) -> Response:
        """The form with the values that were sent, and the problem."""
        return self._page(
            problem.status,
            problem.headers,
            choice=form.rating,
            comment=form.comment,
            tags=form.tags,
            load=form.load,
            **parts,
        )

    def _page(self, status: int, headers: Headers = (), *, load: str = "", **parts: Any) -> Response:
        view = View(
            language=self.language,
            label=self.link.label,
            load=load or new_uuid7(),
            **parts,
        )
        return _html(status, view, headers)


def _message(texts: Texts, violation: Violation) -> str:
    """The message of a violation; if it is a standard one, in the language of the page."""
    if violation.field != "comment":
        return violation.message
    standard = {"required": texts.required, "too_long": texts.too_long, "spam": texts.spam}
    return standard.get(violation.code, violation.message)


def _busy(texts: Texts, problem: Problem) -> str | None:
    """The message for an exceeded rate limit; ``None`` for another problem."""
    if problem.kind != "rate-limited":
        return None
    return texts.busy.format(seconds=dict(problem.headers).get("retry-after", "60"))


def _is_foreign(header: Header) -> bool:
    """Whether a page of another origin sent the form."""
    if header("sec-fetch-site") is None and header("origin") == "null":
        # Because of ``no-referrer``, browsers without Sec-Fetch-Site send this with our own form.
        return False
    return is_foreign(header)


def _problem(error: Exception, request: Request) -> Problem:
    """The problem that an error is reported as. Unexpected errors are logged."""
    problem = problem_of(error)
    if problem is None:
        log_failure(request.id, _NAME, error)
    return problem or internal()


def _unavailable(problem: Problem, language: str, request: Request) -> Response:
    """The page for a request that failed before the vote could be shown."""
    texts = TEXTS[language]
    if problem.kind == "not-found":
        return _closed(request, language, status=404, title=texts.invalid, hint=texts.invalid_hint)
    hint = _busy(texts, problem) or texts.unavailable
    headers = problem.headers
    return _closed(request, language, status=problem.status, title=texts.question, hint=hint, headers=headers)


def _closed(request: Request, language: str, *, status: int, title: str, hint: str, headers: Headers = ()) -> Response:
    """A page without a form. It shows the text that was sent, if any, so that it is not lost."""
    is_ours = request.method == "POST" and not _is_foreign(request.header)
    comment = Form.parse(request.body).comment if is_ours else ""
    return _html(status, View(language=language, title=title, hint=hint, comment=comment), headers)


def _html(status: int, view: View, headers: Headers = ()) -> Response:
    more = (*headers, *_HEADERS, ("content-language", view.language))
    return Response(status, view.html(), HTML, more, security=_SECURITY)


def _redirect(query: str) -> Response:
    return redirect(query, *_HEADERS, security=_SECURITY)
