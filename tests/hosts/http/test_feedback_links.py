"""The page of feedback links: what people, mail scanners and attackers can do with a link."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import pytest
import requests
from attrs import astuple, define, evolve
from fastapi import Depends, FastAPI, HTTPException
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import Feedback, Harken, Rating, RatingPolicy, ReplyRule, Scope, Target
from harken.testing import Faults
from harken_adapters.hosts.fastapi import ServerSettings, feedback_router
from harken_adapters.hosts.http.serving.feedback_links.page import MAX_COMMENT, View
from harken_adapters.hosts.http.serving.feedback_links.texts import REASONS, TEXTS, preferred_language
from harken_adapters.storage import memory
from harken_adapters.tokens import FeedbackLinks, SessionTokens
from harken_adapters.tokens.feedback_links import LANGUAGES
from hosts.html_forms import Form, Html
from hosts.serving import OPEN, Server, served, serving, stored_feedback
from support import ManualClock, all_events, in_threads

pytestmark = pytest.mark.slow

SECRET: Final = "a secret that has thirty-two bytes or more"
EN: Final = TEXTS["en"]
ABOUT: Final = {"session_id": "s", "message_id": "m", "author": "kim"}
HOSTILE: Final = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</textarea></form><form action=https://evil.example>",
    "<svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt; &amp;amp; &#x3c;",
    "\u202e\u2066reversed\u2067",
    "שלום مرحبا",
    "W" * 1000,
    "a\nb\n\n  c",
    "\n first line empty",
    "👩‍👩‍👧‍👦🤦🏽‍♀️" * 20,
)


#: Texts that pass the rules of the domain.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=60)


@define
class Visitor:
    """A person with a browser without scripts, who has opened a link."""

    server: Server
    path: str
    status: int = 0
    source: str = ""

    def open(self, query: str = "", **headers: str) -> Html:
        """Open the link."""
        return self._load(self.server.ask("GET", f"{self.path}{query}", headers=headers))

    def press(self, form: Form, *button: tuple[str, str], **values: str | list[str]) -> Html:
        """Press a button of a form, after filling in these values, and follow the redirect."""
        data = form.data(*button, **values)
        sent = {"params": data} if form.method == "get" else {"data": data}
        return self._load(self.server.ask(form.method.upper(), self.path, **sent))

    def send(self, rating: str, comment: str = "", tags: tuple[str, ...] = ()) -> Html:
        """Open the form for a rating, fill it in and send it."""
        form = self.open(f"?rating={rating}").forms[0]
        return self.press(form, comment=comment, tag=list(tags))

    def _load(self, answer: requests.Response) -> Html:
        self.status, self.source = answer.status_code, answer.text
        return Html(answer.text)


@contextmanager
def visited(hk: Harken, *, clock: ManualClock | None = None, **settings: Any) -> Iterator[Callable[..., Visitor]]:
    """Serve a Harken; the value creates visitors with a link for the given values."""
    links = FeedbackLinks((SECRET,), clock=clock) if clock else FeedbackLinks((SECRET,))
    with served(hk, access="keys", token_secrets=(SECRET,), **settings) as server:

        def visitor(**values: Any) -> Visitor:
            url = links.mint(server.url, **{**ABOUT, **values})
            return Visitor(server, url.removeprefix(server.url))

        yield visitor


@pytest.fixture
def hk() -> Iterator[Harken]:
    """A Harken that replies to thumbs-down feedback."""
    with harken.connect("memory://", replies=[ReplyRule(text="We are sorry <b>", rating="down")]) as connected:
        yield connected


@pytest.fixture
def visitor(hk: Harken) -> Iterator[Callable[..., Visitor]]:
    """Creates visitors of the Harken of the test."""
    with visited(hk) as create:
        yield create


def one_vote(hk: Harken) -> Feedback:
    """The only entry that is stored."""
    (vote,) = stored_feedback(hk)
    return vote


class TestVoting:
    def test_helpful_is_one_click(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """The button records a vote on the message of the link, with the agent and context of the link."""
        kim = visitor(agent="helper", context={"tier": "pro"}, label="Your <question>")
        page = kim.open()
        assert "Your <question>" in page.text
        up, down = page.forms
        assert (up.method, up.buttons, down.method) == ("post", [("rating", "up")], "get")
        thanks = kim.press(up, ("rating", "up"))
        assert (kim.status, EN.thanks in thanks.text) == (200, True)
        vote = one_vote(hk)
        assert (vote.target, vote.author, vote.rating) == (Target("s", "m", "helper"), "kim", Rating.UP)
        assert (vote.vote, vote.context, vote.comment, vote.tags) == (True, {"tier": "pro"}, "", ())

    def test_not_helpful_asks_why(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """A thumbs-down opens the form and stores nothing; sent, it shows what was stored, and the reply."""
        kim = visitor()
        page = kim.press(kim.open().forms[1], ("rating", "down"))
        assert EN.what_went_wrong in page.text
        assert stored_feedback(hk) == []
        sent = kim.press(page.forms[0], comment="Two\r\nlines", tag=["slow", "other"])
        for text in (EN.sent, "Two\nlines", "Too slow", "Something else", "We are sorry <b>"):
            assert text in sent.text
        vote = one_vote(hk)
        assert (vote.rating, vote.comment, vote.tags) == (Rating.DOWN, "Two\nlines", ("slow", "other"))

    def test_a_vote_is_changed_and_withdrawn(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """There is one vote: Change opens the form with the stored values, and Undo withdraws it."""
        kim = visitor()
        kim.send("down", "Too late", ("slow",))
        page = kim.open()
        assert EN.said_down in page.text
        (change,) = [link["href"] for link in page.attributes("a")]
        form = kim.open(str(change)).forms[0]
        assert form.data()[1:] == [("rating", "down"), ("tag", "slow"), ("comment", "Too late")]
        kim.press(form, rating="up", comment="Just in time")
        vote = one_vote(hk)
        # The reasons of a thumbs-down are hidden for a thumbs-up, so they do not apply to it.
        assert (vote.version, vote.rating, vote.comment, vote.tags) == (2, Rating.UP, "Just in time", ())
        undo = kim.open().forms[0]
        assert EN.taken_back in kim.press(undo, *undo.buttons).text
        assert one_vote(hk).withdrawn
        # Once more, as from a second tab.
        assert EN.taken_back in kim.press(undo, *undo.buttons).text
        kim.press(kim.open().forms[0], ("rating", "up"))
        assert (one_vote(hk).withdrawn, one_vote(hk).rating) == (False, Rating.UP)

    def test_a_link_that_preselects_a_rating(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """Two links in one mail preselect one rating each; the form opens unless that rating is stored."""
        helpful, not_helpful = visitor(rating="up"), visitor(rating="down")
        form = helpful.open().forms[0]
        assert ("rating", "up") in form.fields
        assert EN.thanks in helpful.press(form).text
        assert EN.said_up in helpful.open().text
        form = not_helpful.open().forms[0]
        assert ("rating", "down") in form.fields
        not_helpful.press(form, comment="On second thoughts")
        assert one_vote(hk).rating is Rating.DOWN
        assert EN.said_down in not_helpful.open().text
        assert EN.said_down in helpful.open("?rating=").text

    def test_a_vote_on_a_session(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """Without a message and an author, the link is about the session, and its id is the author."""
        kim = visitor(message_id=None, author=None)
        hk.collection.set_vote(Target("s", "m"), "s", "down", "Of another message")
        assert EN.said_down not in kim.open().text
        kim.press(kim.open().forms[0], ("rating", "up"))
        assert [(vote.message_id, vote.author) for vote in stored_feedback(hk)] == [("m", "s"), (None, "s")]

    def test_a_neutral_vote(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """A neutral vote, given elsewhere, is shown too."""
        hk.collection.set_vote(Target("s", "m"), "kim", None, "So so", tags=["from the app"])
        page = visitor().open()
        for text in (EN.said_neutral, "So so", "from the app"):
            assert text in page.text

    def test_reasons_of_other_clients_are_kept(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """A reason that is not one of the standard ones stays chosen when the vote is changed."""
        hk.collection.set_vote(Target("s", "m"), "kim", "down", "Hm", tags=["wrong language"])
        kim = visitor()
        form = kim.open("?rating=down").forms[0]
        kim.press(form, comment="Spanish, please")
        assert one_vote(hk).tags == ("wrong language",)

    def test_a_reason_alone(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """A reason without a comment is enough, and no comment is invented."""
        assert EN.sent in visitor().send("down", tags=("slow",)).text
        assert (one_vote(hk).comment, one_vote(hk).tags) == ("", ("slow",))

    def test_a_policy_without_reasons(self) -> None:
        """If the rules require no reason, a thumbs-down is stored without one."""
        policy = RatingPolicy.standard(reason_when_down=False)
        with harken.connect("memory://", policy=policy) as hk, visited(hk) as visitor:
            assert EN.thanks in visitor().send("down").text
            assert one_vote(hk).rating is Rating.DOWN

    def test_people_and_applications_are_separate(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """Equal ids in another application, another author, message or session are other votes."""
        others = [{"application": "shop"}, {"author": "Kim"}, {"message_id": "m-1"}, {"session_id": "s2"}]
        for other in others:
            visitor(**other).send("down", f"Secret of {other}")
        page = visitor().open()
        assert "Secret" not in page.text
        assert EN.said_down not in page.text
        visitor().press(page.forms[0], ("rating", "up"))
        undo = visitor().open().forms[0]
        visitor().press(undo, *undo.buttons)
        votes = [*stored_feedback(hk), *stored_feedback(hk, "shop")]
        assert sorted((vote.withdrawn, vote.rating.word) for vote in votes) == [*[(False, "down")] * 4, (True, "up")]


class TestRepetition:
    def test_a_double_click_counts_once(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """The same form, sent several times at once, is stored once."""
        kim = visitor()
        data = kim.open("?rating=down").forms[0].data(comment="Too slow")
        answers = in_threads([lambda: kim.server.ask("POST", kim.path, data=data).status_code] * 6)
        assert answers == [200] * 6
        assert one_vote(hk).version == 1

    def test_a_late_repetition_changes_nothing(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """If a proxy repeats a request after the author has voted again, the later vote stays."""
        kim = visitor()
        first = kim.open().forms[0].data(("rating", "up"))
        kim.server.ask("POST", kim.path, data=first)
        kim.send("down", "After all")
        kim.server.ask("POST", kim.path, data=first)
        assert (one_vote(hk).rating, one_vote(hk).version) == (Rating.DOWN, 2)

    def test_a_late_undo_changes_nothing(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """If a proxy repeats Undo after the author has voted again, the page shows the later vote, which stays."""
        kim = visitor()
        kim.send("up")
        undo = kim.open().forms[0]
        assert EN.taken_back in kim.press(undo, *undo.buttons).text
        kim.send("down", "After all")
        page = kim.press(undo, *undo.buttons)
        assert (kim.status, EN.not_saved in page.text, "After all" in page.text) == (412, True, True)
        assert (one_vote(hk).withdrawn, one_vote(hk).rating) == (False, Rating.DOWN)
        (again,) = page.forms
        assert EN.taken_back in kim.press(again, *again.buttons).text

    def test_undo_after_a_reply(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """A reply or a moderator's decision after the page was loaded does not prevent Undo."""
        kim = visitor()
        kim.send("up")
        kim.send("up", "Thanks")
        undo = kim.open().forms[0]
        hk.collection.reply("default", one_vote(hk).id, "You are welcome")
        hk.moderation.decide("default", one_vote(hk).id, "rejected")
        assert EN.taken_back in kim.press(undo, *undo.buttons).text
        assert one_vote(hk).withdrawn

    @pytest.mark.parametrize("version", ["", "x", "-1", "\u0661", "9" * 5_000])
    def test_an_undo_without_a_version(self, hk: Harken, visitor: Callable[..., Visitor], version: str) -> None:
        """A form that does not say which vote it withdraws is refused."""
        kim = visitor()
        kim.send("up")
        assert kim.server.ask("POST", kim.path, data={"undo": version}).status_code == 422
        assert not one_vote(hk).withdrawn

    def test_back_and_again(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """After the Back button, the same load of the form can be sent with another text."""
        kim = visitor()
        form = kim.open("?rating=down").forms[0]
        kim.press(form, comment="Wrnog")
        assert EN.sent in kim.press(form, comment="Wrong").text
        assert (one_vote(hk).comment, one_vote(hk).version) == ("Wrong", 2)


class TestScanners:
    @pytest.mark.parametrize("rating", ["up", "down", None])
    def test_following_a_link_changes_nothing(
        self, hk: Harken, visitor: Callable[..., Visitor], rating: str | None
    ) -> None:
        """Mail scanners follow links, with any query string, as often as they like."""
        kim = visitor(rating=rating)
        queries = ["", "?rating=up", "?rating=down", "?done=vote", "?done=undo", "?undo=1", "?rating=up&load=x&undo=1"]
        for query in queries * 5:
            for method in ("GET", "HEAD"):
                answer = kim.server.ask(method, f"{kim.path}{query}")
                assert answer.status_code == 200
                assert bool(answer.content) == (method == "GET")
        assert stored_feedback(hk) == []
        assert all_events(hk) == []
        hk.collection.set_vote(Target("s", "m"), "kim", "down", "Mine")
        for query in queries:
            kim.open(query)
        assert (one_vote(hk).version, one_vote(hk).withdrawn) == (1, False)

    def test_tracking_parameters_are_ignored(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """Mail programs add parameters to links; they neither matter nor survive the first button."""
        kim = visitor()
        added = "?utm_source=mail&fbclid=%FF%00&rating%5B%5D=x&" + "&".join(f"a{n}={n}" for n in range(300))
        page = kim.open(added)
        assert kim.status == 200
        answer = kim.server.ask(
            "POST", f"{kim.path}{added}", data=page.forms[0].data(("rating", "up")), allow_redirects=False
        )
        assert (answer.status_code, answer.headers["location"]) == (303, "?done=vote")
        assert one_vote(hk).rating is Rating.UP

    def test_what_browsers_and_crawlers_are_asked(self, visitor: Callable[..., Visitor]) -> None:
        """The page is not stored or indexed, sends no referrer, and allows no scripts, frames or foreign resources."""
        kim = visitor()
        answer = kim.server.ask("GET", kim.path)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-robots-tag"] == "noindex, nofollow"
        assert answer.headers["x-frame-options"] == "DENY"
        policy = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        assert answer.headers["content-security-policy"] == policy
        (sheet,) = [one["href"] for one in Html(answer.text).attributes("link")]
        style = kim.server.ask("GET", f"/vote/{sheet}")
        assert (style.status_code, style.headers["content-type"]) == (200, "text/css; charset=utf-8")


class TestRejected:
    def test_neither_a_reason_nor_words(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """The form says what is missing, beside the field."""
        kim = visitor()
        page = kim.send("down")
        assert kim.status == 400
        assert EN.required in page.text
        (field,) = page.attributes("textarea")
        assert (field["aria-invalid"], field["aria-describedby"]) == ("true", "comment-problem")
        assert f"<title>{EN.required}</title>" in kim.source
        assert "comment-problem" in [attributes.get("id") for attributes in page.attributes("p")]
        assert stored_feedback(hk) == []
        assert EN.sent in kim.press(page.forms[0], comment="Because").text

    @pytest.mark.parametrize("comment", [*(hostile + "x" * 1000 for hostile in HOSTILE), "click here " + HOSTILE[0]])
    def test_no_text_is_lost(self, hk: Harken, visitor: Callable[..., Visitor], comment: str) -> None:
        """A rejected form comes back with its text and reasons, unchanged."""
        kim = visitor()
        page = kim.send("down", comment, ("wrong", "<b>own"))
        assert kim.status in (400, 422)
        assert page.forms[0].data()[1:] == [
            ("rating", "down"),
            ("tag", "wrong"),
            ("tag", "<b>own"),
            ("comment", comment),
        ]
        assert EN.too_long in page.text or EN.spam in page.text
        assert stored_feedback(hk) == []

    def test_rules_of_the_operator(self) -> None:
        """The message of a rule is shown unchanged, beside its field."""

        def no_shouting(submission: harken.Submission) -> list[harken.Violation]:
            if submission.comment.isupper():
                return [
                    harken.Violation("comment", "shouting", "Please do not <shout>"),
                    harken.Violation("tags", "shouting", "Not even in tags"),
                    harken.Violation("author", "shouting", "Nor in names"),
                ]
            return []

        policy = RatingPolicy.standard().with_rules(no_shouting)
        with harken.connect("memory://", policy=policy) as hk, visited(hk) as visitor:
            page = visitor().send("down", "WHY")
            for message in ("Please do not <shout>", "Not even in tags", "Nor in names"):
                assert message in page.text
            assert "<shout>" not in [name for name, _ in page.elements]

    @pytest.mark.parametrize("data", ["", "rating=", "rating=neutral", "rating=UP", "%00=%FF", "a&" * 500, b"\xff\x00"])
    def test_other_forms(self, hk: Harken, visitor: Callable[..., Visitor], data: str | bytes) -> None:
        """A form without a valid rating shows the buttons again."""
        kim = visitor()
        answer = kim.server.ask("POST", kim.path, data=data)
        assert answer.status_code == 422
        assert EN.choose in answer.text
        assert stored_feedback(hk) == []

    def test_a_huge_text_in_any_script_reaches_the_rules(self, visitor: Callable[..., Visitor]) -> None:
        """The longest text that the field accepts is within the default size limit of requests."""
        kim = visitor()
        for text in ("あ" * MAX_COMMENT, "👍" * (MAX_COMMENT // 2), "\n" * MAX_COMMENT):
            kim.send("down", text, ("wrong",))
            assert kim.status in (200, 400, 422)


class TestHostileTexts:
    @pytest.mark.parametrize("text", HOSTILE)
    def test_only_text_is_shown(self, text: str) -> None:
        """Labels, comments, tags and replies are shown as text: the page has the same elements as with other texts."""

        def elements(text: str) -> list[str]:
            line = text.replace("\n", " ")[:100]
            reply = ReplyRule(text=text.replace("{", "(").replace("}", ")"))
            with harken.connect("memory://", replies=[reply]) as hk, visited(hk) as create:
                kim = create(label=line)
                hk.collection.set_vote(Target("s", "m"), "kim", "down", text, tags=[line])
                shown, edited = kim.open(), kim.open("?rating=down")
                assert text.strip() in shown.text
                assert line.strip() in shown.text
                assert ("comment", text.strip()) in edited.forms[0].fields
                return [name for page in (shown, edited) for name, _ in page.elements]

        assert elements(text) == elements("harmless")

    @given(texts, texts)
    def test_any_text(self, label: str, comment: str) -> None:
        """Any text is escaped, in every place."""
        view = View(language="en", label=label, choice="down", comment=comment, tags=[label], errors={"tags": [label]})
        plain = evolve(view, label="x" if label else label, comment="", tags=["x"], errors={"tags": ["x"]})
        page, other = Html(view.html().decode()), Html(plain.html().decode())
        assert [name for name, _ in page.elements] == [name for name, _ in other.elements]
        assert dict(page.forms[0].fields)["comment"] == comment

    def test_nothing_needs_a_script_or_an_inline_style(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """The page in all its states has neither."""
        kim = visitor(label="About this")
        pages = [kim.open(), kim.open("?rating=down"), kim.open("?rating=up"), kim.send("down"), kim.send("down", "a")]
        pages += [kim.open(), Visitor(kim.server, "/vote/nothing").open()]
        for page in pages:
            assert not {"script", "style", "img", "iframe"} & {name for name, _ in page.elements}
            names = {name for _, attributes in page.elements for name in attributes}
            assert "style" not in names
            assert not [name for name in names if name.startswith("on")]


class TestInvalidLinks:
    def test_expired(self, hk: Harken) -> None:
        """An expired link says so (410), and shows a text that was being written, so that it can be copied."""
        long_ago = ManualClock()
        with visited(hk, clock=long_ago) as visitor:
            kim = visitor()
            assert EN.expired in kim.open().text
            assert kim.status == 410
            answer = kim.server.ask("POST", kim.path, data={"rating": "down", "comment": "Hours of <work>"})
            assert answer.status_code == 410
            assert "Hours of <work>" in Html(answer.text).text
            assert stored_feedback(hk) == []

    def test_tampered(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """A truncated or changed link, a session token, and a link of another server are refused (403)."""
        kim = visitor()
        other = FeedbackLinks(["another secret with thirty-two bytes or more"]).mint("http://x", session_id="s")
        token = SessionTokens([SECRET]).mint(session_id="s", author="kim")
        wrong = [
            kim.path[:-1],
            f"{kim.path}A",
            other.removeprefix("http://x"),
            f"/vote/{token}",
            "/vote/x",
            "/vote/%00",
        ]
        for path in wrong:
            for method in ("GET", "POST", "HEAD"):
                answer = kim.server.ask(method, path, data={"rating": "up"} if method == "POST" else None)
                assert answer.status_code == 403, path
                assert method == "HEAD" or EN.invalid in answer.text
        assert stored_feedback(hk) == []

    def test_a_link_is_not_a_credential_of_the_api(self, visitor: Callable[..., Visitor]) -> None:
        """The API does not accept a link instead of a session token."""
        kim = visitor()
        bearer = {"Authorization": f"Bearer {kim.path.rpartition('/')[2]}"}
        answer = kim.server.ask("POST", "/api/sessions/s/feedback", json={"rating": "up"}, headers=bearer)
        assert answer.status_code == 401

    def test_without_secrets(self, hk: Harken) -> None:
        """A server without secrets has no links (404)."""
        with served(hk, access="keys") as server:
            url = FeedbackLinks([SECRET]).mint(server.url, session_id="s")
            answer = server.ask("GET", url.removeprefix(server.url))
            assert answer.status_code == 404
            assert EN.invalid in answer.text


class TestForeignPages:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
        ],
    )
    def test_cannot_send_the_form(self, hk: Harken, visitor: Callable[..., Visitor], headers: dict[str, str]) -> None:
        """A page of another origin that knows a link can send nothing in the name of its visitors, nor fill it in."""
        kim = visitor()
        data = {"rating": "down", "comment": "Words of an attacker"}
        for sent in (data, {"undo": "1"}):
            answer = kim.server.ask("POST", kim.path, data=sent, headers=headers)
            assert answer.status_code == 403
            assert EN.not_saved in answer.text
            assert "Words" not in answer.text
        assert stored_feedback(hk) == []
        kim.press(Html(answer.text).forms[0], ("rating", "up"))
        assert one_vote(hk).rating is Rating.UP

    def test_our_own_page_can(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """Browsers send these with our own form, which has the policy no-referrer."""
        own = visitor().server.url
        for number, headers in enumerate(
            ({}, {"Origin": "null"}, {"Origin": own}, {"Origin": "null", "Sec-Fetch-Site": "same-origin"})
        ):
            kim = visitor(message_id=f"m-{number}")
            kim.server.ask("POST", kim.path, data={"rating": "up"}, headers=headers)
        assert len(stored_feedback(hk)) == 4


class TestLimits:
    def test_of_the_session(self, hk: Harken) -> None:
        """Votes through links and through the API count against one limit of the session. The text is kept."""
        with visited(hk, limit_by_session="2/hour") as visitor:
            kim = visitor()
            key = hk.keys.create("default", [Scope.SUBMIT]).text
            kim.send("down", "One")
            bearer = {"Authorization": f"Bearer {key}"}
            answer = kim.server.ask("POST", "/api/sessions/s/feedback", json={"rating": "up"}, headers=bearer)
            assert answer.status_code == 201
            page = kim.send("down", "Three", ("slow",))
            assert kim.status == 429
            assert re.search(r"Try again in \d+ s", page.text)
            assert ("comment", "Three") in page.forms[0].fields
            undo = kim.open().forms[0]
            assert kim.status == 200
            page = kim.press(undo, *undo.buttons)
            assert (kim.status, len(stored_feedback(hk))) == (429, 2)
            assert re.search(r"Try again in \d+ s", page.text)

    def test_of_forms_of_other_pages(self, hk: Harken) -> None:
        """Forms of other pages count like visits, so they stop reading the storage; the session is not charged."""
        with visited(hk, limit_by_address="3/hour", limit_by_session="1/hour") as visitor:
            kim = visitor()
            foreign = {"Sec-Fetch-Site": "cross-site"}
            data = {"rating": "down", "comment": "Words of an attacker"}
            answers = [kim.server.ask("POST", kim.path, data=data, headers=foreign) for _ in range(5)]
            assert [answer.status_code for answer in answers] == [403, 403, 403, 429, 429]
            assert "Words" not in answers[-1].text

    def test_are_checked_before_the_storage_is_read(self, hk: Harken, monkeypatch: pytest.MonkeyPatch) -> None:
        """A refused Undo and a refused form of another page read no votes."""
        with visited(hk, limit_by_address="1/hour") as visitor:
            kim = visitor()
            kim.open()
            monkeypatch.setattr(hk.collection, "votes", None)
            monkeypatch.setattr(hk.collection, "withdraw_vote", None)
            for headers in ({}, {"Sec-Fetch-Site": "cross-site"}):
                answer = kim.server.ask("POST", kim.path, data={"undo": "1"}, headers=headers)
                assert answer.status_code == 429

    def test_expired_links_are_not_guesses(self, hk: Harken) -> None:
        """Any number of people may open expired links from one address."""
        with visited(hk, clock=ManualClock(), limit_by_address="3/hour") as visitor:
            kim = visitor()
            assert [kim.server.ask("GET", kim.path).status_code for _ in range(5)] == [410] * 5

    def test_of_the_address(self, hk: Harken) -> None:
        """Pages count against the limit of the address; invalid links are counted separately."""
        with visited(hk, limit_by_address="3/hour") as visitor:
            kim = visitor()
            statuses = [kim.server.ask("GET", "/vote/x").status_code for _ in range(5)]
            assert statuses == [403, 403, 403, 429, 429]
            statuses = [kim.server.ask("GET", kim.path).status_code for _ in range(5)]
            assert statuses == [200, 200, 200, 429, 429]
            answer = kim.server.ask("GET", kim.path)
            assert int(answer.headers["retry-after"]) > 0

    def test_in_the_metrics(self, hk: Harken, visitor: Callable[..., Visitor]) -> None:
        """Requests are counted by the name of the page, and votes by their outcome."""
        kim = visitor()
        kim.send("down")
        data = kim.open("?rating=down").forms[0].data(comment="a")
        for _ in range(2):
            kim.server.ask("POST", kim.path, data=data)
        key = hk.keys.create("default", [Scope.READ]).text
        metrics = kim.server.ask("GET", "/metrics", headers={"Authorization": f"Bearer {key}"}).text
        assert 'operation="feedback_link_form",status="303"} 2.0' in metrics
        for outcome in ("stored", "duplicate", "refused"):
            assert re.search(rf'outcome="{outcome}".*}} 1\.0|\{{outcome="{outcome}"\}} 1\.0', metrics), outcome


class TestFailures:
    def test_a_storage_that_fails(self, logged: io.StringIO) -> None:
        """The page says that nothing was saved, keeps the text, and the same form can be sent again."""
        faults = Faults()
        with memory.open_storage() as storage, harken.connect(faults.around(storage)) as hk, visited(hk) as visitor:
            kim = visitor()
            form = kim.open("?rating=down").forms[0]
            faults.arm(at=1, lasting=True)
            page = kim.press(form, comment="Keep <this>", tag=["slow"])
            assert kim.status == 503
            assert EN.not_saved in page.text
            assert page.forms[0].data() == form.data(tag="slow", comment="Keep <this>")
            assert EN.unavailable in kim.open().text
            assert kim.status == 503
            faults.disarm()
            kim.press(page.forms[0])
            assert one_vote(hk).comment == "Keep <this>"
        assert kim.path.rpartition("/")[2] not in logged.getvalue()

    def test_the_link_is_not_logged(self, hk: Harken, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO) -> None:
        """Not even after an error that nobody expected, whose traceback is logged."""
        with visited(hk) as visitor:
            kim = visitor()
            kim.open("?utm_source=mail")
            kim.send("down", "My words")
            Visitor(kim.server, kim.path[:-1]).open()

            def fail(*_: object, **__: object) -> None:
                raise RuntimeError(kim.path)

            monkeypatch.setattr(hk.collection, "set_vote", fail)
            page = kim.send("down", "My other words")
            assert (kim.status, "My other words" in page.text) == (500, True)
            monkeypatch.setattr(hk.collection, "votes", fail)
            kim.open()
            assert kim.status == 500
        text = logged.getvalue()
        assert text.count("/vote/{link}") >= 2
        assert "RuntimeError" in text
        for secret in (kim.path.rpartition("/")[2][:40], "My words", "My other words", "utm_source"):
            assert secret not in text


class TestLanguages:
    def test_every_language_has_texts(self) -> None:
        """Each text is there in each language, and differs from the English one."""
        assert tuple(TEXTS) == LANGUAGES
        for language, texts in TEXTS.items():
            assert len(texts.reasons) == len(REASONS)
            assert "{seconds}" in texts.busy
            for name in texts.__annotations__:
                text = getattr(texts, name)
                assert text
                assert language == "en" or text != getattr(EN, name), (language, name)

    def test_portuguese_of_both_continents(self) -> None:
        """The Portuguese texts have no words that only Portugal or only Brazil uses for this."""
        words = " ".join(map(str, astuple(TEXTS["pt"]))).lower()
        for word in ("correu", "guardad", "ligação", "salvo", "deu errado", "registad", "registrad", "demasiad"):
            assert word not in words

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_the_link_decides(self, visitor: Callable[..., Visitor], language: str) -> None:
        """The language of the link is used, in all states, and the direction of its script."""
        kim = visitor(lang=language, author=language)
        texts = TEXTS[language]
        for page in (kim.open(**{"Accept-Language": "fr"}), kim.send("down"), kim.send("down", "a"), kim.open()):
            (root,) = page.attributes("html")
            assert root == {"lang": language, "dir": "rtl" if language == "ar" else "ltr"}
            assert texts.question in page.text
        assert texts.said_down in page.text

    @pytest.mark.parametrize(
        ("header", "language"),
        [
            (None, "en"),
            ("", "en"),
            ("tlh, nl;q=0.5", "en"),
            ("de", "de"),
            ("DE-ch", "de"),
            ("pt-BR,pt;q=0.9,en;q=0.8", "pt"),
            ("nl, ja;q=0.3, ar;q=0.7", "ar"),
            ("fr;q=0, es;q=0.1", "es"),
            ("fr;q=zero, es", "es"),
            ("fr;q=nan, es;q=0.1", "es"),
            ("zh-Hant-TW , en;q=0.1", "zh"),
            ("*, fr;q=0.5", "fr"),
            (";;,,q=1", "en"),
            ("a," * 10_000, "en"),
        ],
    )
    def test_else_the_browser_decides(self, header: str | None, language: str) -> None:
        """The most preferred language that has texts, else English."""
        assert preferred_language(header) == language

    def test_over_http(self, visitor: Callable[..., Visitor]) -> None:
        """Pages without a valid link are in the language of the browser too."""
        kim = visitor()
        assert TEXTS["ja"].question in kim.open(**{"Accept-Language": "ja"}).text
        assert TEXTS["ar"].invalid in Visitor(kim.server, "/vote/x").open(**{"Accept-Language": "ar"}).text


class TestRouter:
    def test_a_guarded_router_has_links(self, hk: Harken) -> None:
        """The FastAPI router has the page under its prefix, without the dependencies that guard the API."""

        def refuse() -> None:
            raise HTTPException(401)

        app = FastAPI()
        settings = ServerSettings(**OPEN, token_secrets=(SECRET,))
        app.include_router(feedback_router(hk, settings), prefix="/a", dependencies=[Depends(refuse)])
        assert "/a/vote/{link}" not in app.openapi()["paths"]
        with serving(app) as server:
            url = FeedbackLinks([SECRET]).mint(f"{server.url}/a", **ABOUT)
            kim = Visitor(server, url.removeprefix(server.url))
            kim.press(kim.open().forms[0], ("rating", "up"))
            assert one_vote(hk).rating is Rating.UP
            assert server.ask("GET", "/a/vote/assets/style.css").status_code == 200
            assert server.ask("GET", "/a/api/feedback").status_code == 401

    def test_without_secrets(self, hk: Harken) -> None:
        """Without secrets, there are no links, but the widget is there, also without the dependencies."""

        def refuse() -> None:
            raise HTTPException(401)

        app = FastAPI()
        app.include_router(feedback_router(hk, ServerSettings(**OPEN)), dependencies=[Depends(refuse)])
        with serving(app) as server:
            assert server.ask("GET", "/vote/x").status_code == 404
            for name in ("widget.js", "harken.js", "vote/assets/style.css"):
                assert server.ask("GET", f"/{name}").status_code == 200
            assert server.ask("GET", "/demo").status_code == 404


def test_a_lifetime() -> None:
    """A link is valid for its lifetime."""
    links = FeedbackLinks([SECRET])
    link = links.read(links.mint("https://x", session_id="s", lifetime=timedelta(days=7)).rpartition("/")[2])
    assert timedelta(days=6) < link.expires_at - harken.clock.utc_now() <= timedelta(days=7, seconds=1)
