"""Apprise: messages of services, in which user text is shown verbatim."""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from time import monotonic
from typing import Any
from urllib.parse import parse_qs

import pytest
from apprise import Apprise

from adapters.notifiers.receiver import AnswerTo, Received, Receiver, answering, dripping, receiving
from harken.domain.errors import ConfigurationError, DeliveryFailed, MissingExtra
from harken.domain.events import EventType
from harken.domain.feedback import Rating
from harken.ports.notifier import ErasedFeedback, Notification
from harken.testing.builders import NOON, a_digest, a_feedback, an_alert
from harken.testing.notifier_contract import a_notification
from harken_adapters.charts.labels import DASH
from harken_adapters.notifiers.apprise import open_notifier
from support import PATIENCE, in_threads

TOKEN = "abcdefghijklmnopqrstuvwx"
MARKUP = (
    "*b* _i_ `c` [t](https://e.example) <https://e.example|t> <!channel> <@U1> @everyone @here <script>x</script>\n"
    "Rating: up"
)
OK = answering("200 OK", body=b"ok")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that accepts everything."""
    with receiving(OK) as ready:
        yield ready


def deliver(notification: Notification, *urls: str) -> None:
    """Deliver a notification with a channel of these URLs."""
    with closing(open_notifier({"urls": list(urls)})) as notifier:
        notifier.deliver(notification)


def posted(receiver: Receiver) -> dict[str, Any]:
    """The received JSON object."""
    (request,) = receiver.received
    found: dict[str, Any] = json.loads(request.body)
    return found


def with_markup(**parts: Any) -> Notification:
    """Negative feedback with markup and mentions in the comment."""
    return a_notification(feedback=a_feedback("s-1", rating=Rating.DOWN, comment=MARKUP, **parts))


def unbroken(text: str) -> str:
    """The text without zero-width spaces."""
    return text.replace("\u200b", "")


def test_json(receiver: Receiver) -> None:
    """A ``json://`` message has a title, and the details and the comment line by line."""
    feedback = a_feedback("s-1", id="f-1", agent_id="helper", rating=Rating.DOWN, comment="Too slow 👎", author="Ada")
    deliver(a_notification(feedback=feedback), f"json://127.0.0.1:{receiver.port}/hook")
    message = posted(receiver)
    assert receiver.received[0].path == "/hook"
    assert message["title"] == "New feedback: down in session s-1, agent helper"
    assert message["type"] == "warning"
    assert message["message"].splitlines() == [
        "Rating: down",
        "Session: s-1",
        "Agent: helper",
        "Feedback: f-1",
        "Application: default",
        "At: 2026-01-01T12:00:00.123456Z",
        "",
        "> Too slow 👎",
    ]


def test_a_routes_text_is_the_body(receiver: Receiver) -> None:
    """The text of a route replaces the default body, with mentions broken."""
    deliver(a_notification(text="Look: @everyone"), f"json://127.0.0.1:{receiver.port}")
    assert posted(receiver)["message"] == "Look: @\u200beveryone"


@pytest.mark.parametrize(
    ("notification", "kind"),
    [
        (a_notification(feedback=a_feedback()), "info"),
        (a_notification(feedback=a_feedback(rating=Rating.DOWN)), "warning"),
        (a_notification(type=EventType.WITHDRAWN, feedback=a_feedback(rating=Rating.DOWN).withdraw(at=NOON)), "info"),
        (a_notification(alert=an_alert()), "failure"),
        (a_notification(type=EventType.ALERT_RESOLVED, alert=an_alert().resolved(at=NOON)), "success"),
    ],
)
def test_notification_types(receiver: Receiver, notification: Notification, kind: str) -> None:
    """A raised alert is a failure, a resolved one a success (which closes incidents), negative feedback a warning."""
    deliver(notification, f"json://127.0.0.1:{receiver.port}")
    assert posted(receiver)["type"] == kind


def test_an_alert(receiver: Receiver) -> None:
    """The body has the complete message of an alert, of any length."""
    long = "3 thumbs-down ratings in a row for agent " + "x" * 300
    deliver(a_notification(alert=an_alert(rule="streak", message=long)), f"json://127.0.0.1:{receiver.port}")
    message = posted(receiver)
    assert message["title"] == f"Alert streak: {long}"[:150]
    assert message["message"].startswith(f"Alert streak: {long}\n")


def test_a_digest(receiver: Receiver) -> None:
    """The title has the sentence, the body everything; comments are quoted, and mention and imitate nothing."""
    digest = a_digest("Hello @everyone\nslow: 100, 100%", link="https://example.com/dashboard")
    deliver(a_notification(digest=digest), f"json://127.0.0.1:{receiver.port}")
    message = posted(receiver)
    (example,) = digest.quoted
    assert message["title"] == f"default, 29 Dec 2025 {DASH} 4 Jan 2026: Satisfaction fell 30.0 points, to 50.0%"
    assert message["type"] == "info"
    assert message["message"].splitlines() == [
        "Satisfaction fell 30.0 points, to 50.0%",
        "By 1.2 to 58.8 points, 95% confidence; 100 thumbs now, 100 before.",
        "",
        "Satisfaction by day:",
        "█████░░░░░ Mon 29 Dec: 50.0% of 100 thumbs",
        "",
        "Most frequent in 50 thumbs-down ratings:",
        "slow: 25, 50%, ▲ 25.0 points",
        "> Hello @\u200beveryone",
        "> slow: 100, 100%",
        f"(feedback {example})",
        "",
        "https://example.com/dashboard",
    ]


def test_withdrawn_content_is_not_sent(receiver: Receiver) -> None:
    """The comment and tags of withdrawn feedback are not sent."""
    withdrawn = a_feedback(comment="Too slow", tags=("slow",)).withdraw(at=NOON)
    deliver(a_notification(type=EventType.WITHDRAWN, feedback=withdrawn), f"json://127.0.0.1:{receiver.port}")
    assert b"slow" not in receiver.received[0].body


def test_an_erasure(receiver: Receiver) -> None:
    """The title and the body have the ids of erased feedback."""
    deliver(a_notification(erased=ErasedFeedback("f-1", "s-1")), f"json://127.0.0.1:{receiver.port}")
    message = posted(receiver)
    assert message["title"] == "Feedback erased: f-1 in session s-1"
    assert message["message"].startswith("Feedback erased: f-1 in session s-1\n")
    assert "Feedback: f-1" in message["message"]
    assert message["type"] == "info"


def test_mentions_are_broken(receiver: Receiver) -> None:
    """A zero-width space breaks mentions and links, and the lines of a comment are quoted."""
    deliver(with_markup(agent_id="@here <!channel>"), f"json://127.0.0.1:{receiver.port}")
    message = posted(receiver)
    text = message["title"] + message["message"]
    for word in ("@everyone", "@here", "<!", "<@", "<http", "<script"):
        assert word not in text
    assert "> Rating: up" in message["message"]
    assert unbroken(message["message"]).endswith("\n".join(f"> {line}" for line in MARKUP.split("\n")))


def test_titles_are_one_line(receiver: Receiver) -> None:
    """A title is one line without markup, as it may become the header of a mail."""
    alert = an_alert(rule="r\r\nBcc: a@example.com", message="<b>*x*</b>\n[y](z)")
    deliver(a_notification(alert=alert), f"json://127.0.0.1:{receiver.port}")
    title = posted(receiver)["title"]
    assert title == "Alert r Bcc: a@\u200bexample.com: b x /b y (z)"


@pytest.mark.parametrize(
    ("query", "comment"),
    [
        ("text", "> *b* _i_ `c` [t](https://e.example)"),
        ("markdown", r"\> \*b\* \_i\_ \`c\` \[t\]\(https://e\.example\)"),
        ("html", "&gt;&nbsp;*b*&nbsp;_i_&nbsp;`c`&nbsp;[t](https://e.example)&nbsp;&lt;"),
    ],
)
def test_each_format_shows_the_comment_verbatim(receiver: Receiver, query: str, comment: str) -> None:
    """Markup is escaped for targets with Markdown or HTML."""
    deliver(with_markup(), f"form://127.0.0.1:{receiver.port}/?format={query}")
    message = parse_qs(receiver.received[0].body.decode())["message"][0]
    assert comment in message
    assert "<script" not in message


def at_loopback(monkeypatch: pytest.MonkeyPatch, url: str, attribute: str, target: str) -> None:
    """Redirect the service of a URL to localhost."""
    service = Apprise.instantiate(url)
    assert service is not None
    monkeypatch.setattr(type(service), attribute, target)


def test_slack(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """Slack gets plain text without mentions and links, with and without blocks."""
    url = f"slack://T1JJ3T3L2/A1BRTD4JD/{TOKEN}/#general"
    at_loopback(monkeypatch, url, "webhook_url", f"http://127.0.0.1:{receiver.port}")
    for query in ("?blocks=no", "?blocks=yes", "?blocks=yes&format=markdown"):
        deliver(with_markup(), url + query)
    legacy, blocks, markdown = (request.body.decode() for request in receiver.received)
    for body in (legacy, blocks):
        assert "*b* _i_" in body
        assert "<" not in body
    assert r"\\*b\\* \\_i\\_" in markdown
    for body in (legacy, blocks, markdown):
        assert "@everyone" not in body
        assert not re.search(r"<[^\\]", body)
    assert '"type": "plain_text"' in blocks


def test_discord(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """Discord renders Markdown and mentions: both are escaped."""
    url = f"discord://1234567890/{TOKEN}"
    at_loopback(monkeypatch, url, "notify_url", f"http://127.0.0.1:{receiver.port}")
    deliver(with_markup(), url)
    deliver(with_markup(), f"{url}?format=markdown")
    plain, embedded = (json.loads(request.body) for request in receiver.received)
    assert r"\> \*b\* \_i\_ \`c\` \[t\](https://e.example)" in plain["content"]
    assert r"\*b\* \_i\_" in embedded["embeds"][0]["description"]
    for message in (plain, embedded):
        assert "@everyone" not in str(message)
        assert "<@" not in str(message)
        assert "allow_mentions" not in message


def test_telegram(monkeypatch: pytest.MonkeyPatch) -> None:
    """Telegram renders HTML, which is escaped."""
    url = "tgram://123456789:abcdefg_hijklmnop/12315544/"
    with receiving(answering("200 OK", body=b'{"ok": true, "result": {}}')) as receiver:
        at_loopback(monkeypatch, url, "notify_url", f"http://127.0.0.1:{receiver.port}/bot")
        deliver(with_markup(), url)
        text = posted(receiver)["text"]
    assert "<script" not in text
    assert "&lt;\u200bscript&gt;" in text


def test_mattermost(receiver: Receiver) -> None:
    """Mattermost renders text as Markdown: it is escaped, and a long text is split."""
    deliver(with_markup(), f"mmost://127.0.0.1:{receiver.port}/{TOKEN}")
    assert r"\> \*b\* \_i\_" in posted(receiver)["text"]
    receiver.received.clear()
    deliver(a_notification(text="x " * 4_000), f"mmost://127.0.0.1:{receiver.port}/{TOKEN}")
    assert len(receiver.received) > 1


def test_several_services(receiver: Receiver) -> None:
    """Each URL gets the notification; a retry sends it only to the services that failed."""
    broken = True

    def sometimes(request: Received) -> Iterator[bytes]:
        yield from (answering("503 Service Unavailable") if broken else OK)(request)

    notification = with_markup()
    with receiving(sometimes) as other:
        paths = (f"json://127.0.0.1:{receiver.port}/a", f"json://127.0.0.1:{other.port}/b")
        urls = [*paths, f"mmost://127.0.0.1:{receiver.port}/{TOKEN}"]
        with closing(open_notifier({"urls": urls})) as notifier:
            for _ in range(2):
                with pytest.raises(DeliveryFailed) as caught:
                    notifier.deliver(notification)
                assert str(caught.value) == "Apprise could not send to URL 2 (json://...): status 503"
                assert caught.value.retryable
            broken = False
            notifier.deliver(notification)
        assert [request.path for request in other.received] == ["/b", "/b", "/b"]
    assert sorted(request.path for request in receiver.received) == ["/a", f"/hooks/{TOKEN}"]


def test_threads_do_not_wait(receiver: Receiver) -> None:
    """Services for which Apprise waits between messages get eight at once."""
    begun = monotonic()
    with closing(open_notifier({"url": f"mmost://127.0.0.1:{receiver.port}/{TOKEN}"})) as notifier:
        assert in_threads([partial(notifier.deliver, a_notification()) for _ in range(8)]) == [None] * 8
        notifier.deliver(a_notification())
    assert len(receiver.received) == 9
    # By default Apprise waits 5.5 seconds between two of them.
    assert monotonic() - begun < 30


@pytest.mark.slow
@pytest.mark.parametrize("answer", [lambda _: (), dripping(after=b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")])
def test_timeouts(answer: AnswerTo) -> None:
    """A slow service is given up in time, even if its URL has a longer timeout."""
    begun = monotonic()
    with receiving(answer) as receiver, pytest.raises(DeliveryFailed, match="too slow"):
        deliver(with_markup(), f"json://127.0.0.1:{receiver.port}/?rto=15&cto=15&retry=5&wait=10")
    assert monotonic() - begun < PATIENCE


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answering("401 Unauthorized"), "status 401"),
        (answering("429 Too Many Requests"), "status 429"),
        (answering("500 Internal Server Error", body=b"very-secret"), "status 500"),
    ],
)
def test_errors_are_retried(answer: AnswerTo, reason: str) -> None:
    """The error has the status and is retried, even with ``optional`` in the URL."""
    with receiving(answer) as receiver, pytest.raises(DeliveryFailed) as caught:
        deliver(with_markup(), f"json://127.0.0.1:{receiver.port}/?optional=yes&retry=3")
    assert str(caught.value) == f"Apprise could not send to URL 1 (json://...): {reason}"
    assert caught.value.retryable
    assert len(receiver.received) == 1


def test_secrets_are_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """The secrets of a URL are not in the log at any level, in errors, in tracebacks or in the ``repr``."""
    secret = "very-secret"
    with receiving(answering("401 Unauthorized", body=b"no")) as refusing:
        here = f"127.0.0.1:{refusing.port}/{secret}"
    urls = [f"json://user:{secret}@{here}", f"mmost://user@{here}{TOKEN}"]
    with caplog.at_level(1), receiving(answering("401 Unauthorized")) as receiver:
        urls += [f"json://user:{secret}@127.0.0.1:{receiver.port}/{secret}"]
        notifier = open_notifier({"urls": urls})
        with pytest.raises(DeliveryFailed) as failed:
            notifier.deliver(with_markup())
        for url in (f"slack://{secret}", f"{secret}://x", f"json://:{secret}@", f"file:///{secret}"):
            with pytest.raises(ConfigurationError) as refused:
                open_notifier({"url": url})
            assert secret not in str(refused.value).replace(f"{secret}://...", "")
    printed = "".join(traceback.format_exception(failed.value))
    assert secret not in f"{caplog.text}{printed}{notifier!r}{vars(failed.value)}"
    assert "Too slow" not in caplog.text


def test_other_log_messages_are_kept(caplog: pytest.LogCaptureFixture, receiver: Receiver) -> None:
    """Log messages of Apprise outside of a delivery are logged."""
    deliver(with_markup(), f"json://127.0.0.1:{receiver.port}")
    with caplog.at_level(logging.INFO, logger="apprise"):
        logging.getLogger("apprise").info("Another message")
    assert "Another message" in caplog.text


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "An Apprise channel needs url or urls"),
        ({"url": "json://a", "urls": ["json://b"]}, "An Apprise channel needs url or urls"),
        ({"url": "json://a", "config": "x.yml"}, "unknown key 'config'; expected one of url, urls"),
        ({"urls": []}, "urls of an Apprise channel must be a list with at least one text"),
        ({"urls": "json://a"}, "urls of an Apprise channel must be a list with at least one text"),
        ({"urls": ["json://a", 7]}, "Each URL of an Apprise channel must be a string"),
        ({"url": ["json://a"]}, "Each URL of an Apprise channel must be a string"),
        ({"urls": ["json://a", "slack://"]}, "Apprise does not support URL 2 of the channel (slack://...)"),
        ({"url": "file:///etc/apprise.yml"}, "Apprise does not support URL 1 of the channel (file://...)"),
        ({"url": "https://example.com/apprise.yml"}, "Apprise does not support URL 1 of the channel (https://...)"),
        ({"url": "nobody"}, "Apprise does not support URL 1 of the channel (without ://)"),
        ({"url": ""}, "Apprise does not support URL 1 of the channel (without ://)"),
    ],
)  # fmt: skip
def test_invalid_tables(table: dict[str, object], message: str) -> None:
    """The error says what is expected. Configuration files of Apprise are not read."""
    with pytest.raises(ConfigurationError) as caught:
        open_notifier(table)
    assert message in str(caught.value)


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Apprise the error has the command that installs it."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(MissingExtra) as caught:
        open_notifier({"url": "json://127.0.0.1"})
    assert str(caught.value) == "An Apprise channel needs the package 'apprise'; try pip install \"harken[notify]\""
