"""What services get by Apprise: the words as they were written, and no more than words."""

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
from harken.testing.builders import NOON, a_feedback, an_alert
from harken.testing.notifier_contract import a_notification
from harken_adapters.notifiers.apprise import open_notifier
from support import PATIENCE, in_threads

TOKEN = "abcdefghijklmnopqrstuvwx"
NASTY = (
    "*b* _i_ `c` [t](https://e.example) <https://e.example|t> <!channel> <@U1> @everyone @here <script>x</script>\n"
    "Rating: up"
)
OK = answering("200 OK", body=b"ok")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that takes everything."""
    with receiving(OK) as ready:
        yield ready


def deliver(notification: Notification, *urls: str) -> None:
    """Deliver through a channel with these URLs."""
    with closing(open_notifier({"urls": list(urls)})) as notifier:
        notifier.deliver(notification)


def posted(receiver: Receiver) -> dict[str, Any]:
    """The one JSON object that came."""
    (request,) = receiver.received
    found: dict[str, Any] = json.loads(request.body)
    return found


def nasty(**parts: Any) -> Notification:
    """A down with a comment that tries to be more than text."""
    return a_notification(feedback=a_feedback("s-1", rating=Rating.DOWN, comment=NASTY, **parts))


def unbroken(text: str) -> str:
    """The text as people see it."""
    return text.replace("\u200b", "")


def test_json(receiver: Receiver) -> None:
    """A target ``json://`` has a title, and what is known, line by line, with the comment as it was written."""
    feedback = a_feedback("s-1", id="f-1", agent_id="helper", rating=Rating.DOWN, comment="Too slow 👎", author="Ada")
    deliver(a_notification(feedback=feedback), f"json://127.0.0.1:{receiver.port}/hook")
    message = posted(receiver)
    assert receiver.received[0].path == "/hook"
    assert message["title"] == "Feedback given: down in session s-1, agent helper"
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
    """What the template of a route makes goes before the channel's own words, and is as harmless."""
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
def test_how_bad_it_is(receiver: Receiver, notification: Notification, kind: str) -> None:
    """A raised alert is a failure, one that is over a success (it closes incidents), a down a warning."""
    deliver(notification, f"json://127.0.0.1:{receiver.port}")
    assert posted(receiver)["type"] == kind


def test_an_alert(receiver: Receiver) -> None:
    """An alert's message is in the body as a whole, however long it is."""
    long = "3 downs in a row by agent " + "x" * 300
    deliver(a_notification(alert=an_alert(rule="streak", message=long)), f"json://127.0.0.1:{receiver.port}")
    message = posted(receiver)
    assert message["title"] == f"Alert streak: {long}"[:150]
    assert message["message"].startswith(f"Alert streak: {long}\n")


def test_what_was_withdrawn_is_not_quoted(receiver: Receiver) -> None:
    """The words and tags of feedback that its author took back are not sent."""
    withdrawn = a_feedback(comment="Too slow", tags=("slow",)).withdraw(at=NOON)
    deliver(a_notification(type=EventType.WITHDRAWN, feedback=withdrawn), f"json://127.0.0.1:{receiver.port}")
    assert b"slow" not in receiver.received[0].body


def test_an_erasure(receiver: Receiver) -> None:
    """That feedback was erased is in the title and in the body, with its ids."""
    deliver(a_notification(erased=ErasedFeedback("f-1", "s-1")), f"json://127.0.0.1:{receiver.port}")
    message = posted(receiver)
    assert message["title"] == "Feedback erased: f-1 in session s-1"
    assert message["message"].startswith("Feedback erased: f-1 in session s-1\n")
    assert "Feedback: f-1" in message["message"]
    assert message["type"] == "info"


def test_nobody_is_named(receiver: Receiver) -> None:
    """What would mention people or make a link is broken by a space without width, and a comment forges no line."""
    deliver(nasty(agent_id="@here <!channel>"), f"json://127.0.0.1:{receiver.port}")
    message = posted(receiver)
    text = message["title"] + message["message"]
    for word in ("@everyone", "@here", "<!", "<@", "<http", "<script"):
        assert word not in text
    assert "> Rating: up" in message["message"]
    assert unbroken(message["message"]).endswith("\n".join(f"> {line}" for line in NASTY.split("\n")))


def test_titles_are_one_harmless_line(receiver: Receiver) -> None:
    """A title ends in no line of its own making, whatever ids are made of: it may become a header of a mail."""
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
def test_each_format_shows_what_was_written(receiver: Receiver, query: str, comment: str) -> None:
    """Where a target wants Markdown or HTML, what would be markup is escaped."""
    deliver(nasty(), f"form://127.0.0.1:{receiver.port}/?format={query}")
    message = parse_qs(receiver.received[0].body.decode())["message"][0]
    assert comment in message
    assert "<script" not in message


def at_loopback(monkeypatch: pytest.MonkeyPatch, url: str, attribute: str, target: str) -> None:
    """Let the service of a URL post to this machine."""
    service = Apprise.instantiate(url)
    assert service is not None
    monkeypatch.setattr(type(service), attribute, target)


def test_slack(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    """Slack gets plain text with nothing that it would take for a mention or a link, in blocks and without."""
    url = f"slack://T1JJ3T3L2/A1BRTD4JD/{TOKEN}/#general"
    at_loopback(monkeypatch, url, "webhook_url", f"http://127.0.0.1:{receiver.port}")
    for query in ("?blocks=no", "?blocks=yes", "?blocks=yes&format=markdown"):
        deliver(nasty(), url + query)
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
    """Discord shows Markdown and pings whom a text names: it gets every sign escaped and nobody named."""
    url = f"discord://1234567890/{TOKEN}"
    at_loopback(monkeypatch, url, "notify_url", f"http://127.0.0.1:{receiver.port}")
    deliver(nasty(), url)
    deliver(nasty(), f"{url}?format=markdown")
    plain, embedded = (json.loads(request.body) for request in receiver.received)
    assert r"\> \*b\* \_i\_ \`c\` \[t\](https://e.example)" in plain["content"]
    assert r"\*b\* \_i\_" in embedded["embeds"][0]["description"]
    for message in (plain, embedded):
        assert "@everyone" not in str(message)
        assert "<@" not in str(message)
        assert "allow_mentions" not in message


def test_telegram(monkeypatch: pytest.MonkeyPatch) -> None:
    """Telegram reads HTML: it gets every sign of it escaped."""
    url = "tgram://123456789:abcdefg_hijklmnop/12315544/"
    with receiving(answering("200 OK", body=b'{"ok": true, "result": {}}')) as receiver:
        at_loopback(monkeypatch, url, "notify_url", f"http://127.0.0.1:{receiver.port}/bot")
        deliver(nasty(), url)
        text = posted(receiver)["text"]
    assert "<script" not in text
    assert "&lt;\u200bscript&gt;" in text


def test_mattermost(receiver: Receiver) -> None:
    """Mattermost shows Markdown although Apprise sends it text: it is escaped too, and what is long comes in parts."""
    deliver(nasty(), f"mmost://127.0.0.1:{receiver.port}/{TOKEN}")
    assert r"\> \*b\* \_i\_" in posted(receiver)["text"]
    receiver.received.clear()
    deliver(a_notification(text="x " * 4_000), f"mmost://127.0.0.1:{receiver.port}/{TOKEN}")
    assert len(receiver.received) > 1


def test_several_services(receiver: Receiver) -> None:
    """Each URL gets the notification; what one did not take goes to that one alone when it is tried again."""
    broken = True

    def sometimes(request: Received) -> Iterator[bytes]:
        yield from (answering("503 Service Unavailable") if broken else OK)(request)

    notification = nasty()
    with receiving(sometimes) as other:
        paths = (f"json://127.0.0.1:{receiver.port}/a", f"json://127.0.0.1:{other.port}/b")
        urls = [*paths, f"mmost://127.0.0.1:{receiver.port}/{TOKEN}"]
        with closing(open_notifier({"urls": urls})) as notifier:
            for _ in range(2):
                with pytest.raises(DeliveryFailed) as caught:
                    notifier.deliver(notification)
                assert str(caught.value) == "Apprise could not send it to URL 2 (json://...): answered with 503"
                assert caught.value.retryable
            broken = False
            notifier.deliver(notification)
        assert [request.path for request in other.received] == ["/b", "/b", "/b"]
    assert sorted(request.path for request in receiver.received) == ["/a", f"/hooks/{TOKEN}"]


def test_threads_wait_for_nobody(receiver: Receiver) -> None:
    """Services that Apprise would let wait for seconds between two messages take eight at once."""
    begun = monotonic()
    with closing(open_notifier({"url": f"mmost://127.0.0.1:{receiver.port}/{TOKEN}"})) as notifier:
        assert in_threads([partial(notifier.deliver, a_notification()) for _ in range(8)]) == [None] * 8
        notifier.deliver(a_notification())
    assert len(receiver.received) == 9
    # Apprise alone would wait for 5.5 seconds between two of them.
    assert monotonic() - begun < 30


@pytest.mark.slow
@pytest.mark.parametrize("answer", [lambda _: (), dripping(after=b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")])
def test_who_takes_for_ever(answer: AnswerTo) -> None:
    """A service that does not come to an end is given up in time, also where the URL has a longer limit."""
    begun = monotonic()
    with receiving(answer) as receiver, pytest.raises(DeliveryFailed, match="too slow"):
        deliver(nasty(), f"json://127.0.0.1:{receiver.port}/?rto=15&cto=15&retry=5&wait=10")
    assert monotonic() - begun < PATIENCE


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (answering("401 Unauthorized"), "answered with 401"),
        (answering("429 Too Many Requests"), "answered with 429"),
        (answering("500 Internal Server Error", body=b"very-secret"), "answered with 500"),
    ],
)
def test_what_is_not_taken(answer: AnswerTo, told: str) -> None:
    """A refusal is told with its status, and tried again; ``optional`` in a URL does not hide it."""
    with receiving(answer) as receiver, pytest.raises(DeliveryFailed) as caught:
        deliver(nasty(), f"json://127.0.0.1:{receiver.port}/?optional=yes&retry=3")
    assert str(caught.value) == f"Apprise could not send it to URL 1 (json://...): {told}"
    assert caught.value.retryable
    assert len(receiver.received) == 1


def test_no_secret_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """What is in a URL is in no log at any level, no error, no traceback of it and no ``repr``."""
    secret = "very-secret"
    with receiving(answering("401 Unauthorized", body=b"no")) as refusing:
        here = f"127.0.0.1:{refusing.port}/{secret}"
    urls = [f"json://user:{secret}@{here}", f"mmost://user@{here}{TOKEN}"]
    with caplog.at_level(1), receiving(answering("401 Unauthorized")) as receiver:
        urls += [f"json://user:{secret}@127.0.0.1:{receiver.port}/{secret}"]
        notifier = open_notifier({"urls": urls})
        with pytest.raises(DeliveryFailed) as failed:
            notifier.deliver(nasty())
        for url in (f"slack://{secret}", f"{secret}://x", f"json://:{secret}@", f"file:///{secret}"):
            with pytest.raises(ConfigurationError) as refused:
                open_notifier({"url": url})
            assert secret not in str(refused.value).replace(f"{secret}://...", "")
    told = "".join(traceback.format_exception(failed.value))
    assert secret not in f"{caplog.text}{told}{notifier!r}{vars(failed.value)}"
    assert "Too slow" not in caplog.text


def test_others_may_log(caplog: pytest.LogCaptureFixture, receiver: Receiver) -> None:
    """What Apprise says to others who use it in this process stays in the log."""
    deliver(nasty(), f"json://127.0.0.1:{receiver.port}")
    with caplog.at_level(logging.INFO, logger="apprise"):
        logging.getLogger("apprise").info("Somebody else's message")
    assert "Somebody else's message" in caplog.text


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({}, "An Apprise channel needs either a url or urls"),
        ({"url": "json://a", "urls": ["json://b"]}, "An Apprise channel needs either a url or urls"),
        ({"url": "json://a", "config": "x.yml"}, "An Apprise channel sets unknown config; known are url, urls"),
        ({"urls": []}, "urls of an Apprise channel must be a list of texts, with one at least"),
        ({"urls": "json://a"}, "urls of an Apprise channel must be a list of texts, with one at least"),
        ({"urls": ["json://a", 7]}, "Each URL of an Apprise channel must be a text"),
        ({"url": ["json://a"]}, "Each URL of an Apprise channel must be a text"),
        ({"urls": ["json://a", "slack://"]}, "URL 2 of the Apprise channel (slack://...) is none"),
        ({"url": "file:///etc/apprise.yml"}, "URL 1 of the Apprise channel (file://...) is none"),
        ({"url": "https://example.com/apprise.yml"}, "URL 1 of the Apprise channel (https://...) is none"),
        ({"url": "nobody"}, "URL 1 of the Apprise channel (without ://) is none"),
        ({"url": ""}, "URL 1 of the Apprise channel (without ://) is none"),
    ],
)  # fmt: skip
def test_tables_that_make_no_sense(table: dict[str, object], told: str) -> None:
    """What cannot be meant is refused when it is configured; files with settings of Apprise are not read."""
    with pytest.raises(ConfigurationError) as caught:
        open_notifier(table)
    assert told in str(caught.value)


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Apprise the channel says what to install."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(MissingExtra) as caught:
        open_notifier({"url": "json://127.0.0.1"})
    assert str(caught.value) == "An Apprise channel needs the package 'apprise'; try pip install \"harken[notify]\""
