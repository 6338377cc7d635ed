"""Amazon: feedback in SNS topics, and changes of metadata in SQS queues and on WebSockets of API Gateway."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from threading import Event
from time import monotonic
from typing import Any

import pytest
from attrs import evolve

import harken
from adapters.notifiers.amazon import ENVIRON, REGION, Amazon, amazon
from adapters.notifiers.receiver import AnswerTo, Received, answering, receiving
from channels import connect_without_relay
from harken.ports.storage import same_clock
from harken_adapters.hosts.session_manager import (
    FeedbackSNSHook,
    MetadataSQSHook,
    MetadataWebSocketHook,
    MongoDBSessionManager,
    create_feedback_sns_hook,
    create_metadata_sqs_hook,
    create_metadata_websocket_hook,
    hooks,
    is_feedback_sns_hook_available,
    is_metadata_sqs_hook_available,
    is_metadata_websocket_hook_available,
)
from hosts.session_manager.pages.conftest import Open
from support import PATIENCE, ManualClock

ARN = "arn:aws:sns:eu-west-1:123456789:feedback"
QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789/metadata-updates"
API = "https://abc123.execute-api.eu-west-1.amazonaws.com/prod"
PUBLISHED = answering(
    "200 OK",
    body=b"<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>",
)

Hook = FeedbackSNSHook | MetadataSQSHook | MetadataWebSocketHook


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set invalid credentials, and prevent boto3 from finding others."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def server() -> Iterator[Amazon]:
    """SNS, SQS and API Gateway."""
    with amazon() as started:
        yield started


@pytest.fixture
def aws(server: Amazon, monkeypatch: pytest.MonkeyPatch) -> Amazon:
    """The services, at which boto3 finds SNS."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", server.url)
    return server


@pytest.fixture
def receive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[AnswerTo], list[Received]]]:
    """Makes SNS a server that answers like this; returns the list of its requests."""
    servers = []

    def start(answer: AnswerTo) -> list[Received]:
        servers.append(receiving(answer))
        receiver = servers[-1].__enter__()
        monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", receiver.url)
        return receiver.received

    yield start
    for one in servers:
        one.__exit__(None, None, None)


@pytest.fixture
def session_manager() -> Iterator[MongoDBSessionManager]:
    """A session on memory without hooks, for tests that call hooks themselves."""
    with closing(MongoDBSessionManager("session-1", "memory://")) as opened:
        yield opened


def with_hooks(**given: Hook | None) -> dict[str, Any]:
    """The hooks as arguments; none of them may be missing."""
    assert None not in given.values()
    return dict(given)


def changes_in(aws: Amazon, queue: str) -> list[dict[str, Any]]:
    """The bodies of the new messages in a queue, without their times."""
    bodies = [json.loads(one["Body"]) for one in aws.envelopes(queue)]
    return [{name: value for name, value in body.items() if name != "timestamp"} for body in bodies]


def texts(one: dict[str, Any]) -> dict[str, str]:
    """The attributes of a message from SQS."""
    return {name: value["StringValue"] for name, value in one["MessageAttributes"].items()}


# --- feedback in SNS --------------------------------------------------------------------------------------------------


@pytest.mark.slow
class TestFeedback:
    """Feedback is published to the topic of its rating."""

    def test_each_rating_has_its_topic(self, aws: Amazon, open_session: Open) -> None:
        """With the attributes ``session_id`` and ``rating``, the subject and the body of the library."""
        good, bad, neutral = aws.topic(), aws.topic(), aws.topic()
        hook = create_feedback_sns_hook(topic_arn_good=good, topic_arn_bad=bad, topic_arn_neutral=neutral)
        manager = open_session(**with_hooks(feedback_hook=hook))
        for rating in ("up", "down", None):
            manager.add_feedback({"rating": rating, "comment": "The response was incomplete", "page": 3})
        assert hook is not None
        hook.close()
        for topic, word in ((good, "positive"), (bad, "negative"), (neutral, "neutral")):
            [message] = aws.messages(topic)
            assert message["Subject"] == f"Virtual Agents Feedback {word} on session session-1"
            assert message["Message"] == "Password: N/A\n\nSession: session-1\n\nThe response was incomplete"
            assert {name: one["Value"] for name, one in message["MessageAttributes"].items()} == {
                "session_id": "session-1",
                "rating": word,
            }

    def test_none_switches_a_rating_off(self, aws: Amazon, session_manager: MongoDBSessionManager) -> None:
        """The feedback is stored, and nothing is sent or logged."""
        bad = aws.topic()
        with closing(FeedbackSNSHook("none", bad, "none")) as hook:
            for rating in ("up", "down", None):
                hook(session_manager.add_feedback, "add", "session-1", feedback={"rating": rating, "comment": "x"})
        assert len(aws.messages(bad)) == 1
        assert len(session_manager.get_feedbacks()) == 3

    def test_prefixes(self, aws: Amazon, session_manager: MongoDBSessionManager) -> None:
        """Prefixes of subject and body have three placeholders; braces that are not placeholders stay."""
        bad, good = aws.topic(), aws.topic()
        hook = FeedbackSNSHook(
            good,
            bad,
            "none",
            subject_prefix_bad="[PROD] {rating} in {session_id}: ",
            body_prefix_bad="ALERT\nSession: {session_id}\nTimestamp: {timestamp}\n---\n\n",
            body_prefix_good='{"env": "prod"} {user}\n',
        )
        with closing(hook):
            for rating in ("up", "down"):
                feedback = {"rating": rating, "comment": "{rating} {0.__class__}"}
                hook(session_manager.add_feedback, "add", "session-1", feedback=feedback)
        [message] = aws.messages(bad)
        assert message["Subject"].startswith("[PROD] negative in session-1: Virtual Agents Feedback negative on")
        first, session, timestamp, *rest = message["Message"].splitlines()
        assert (first, session) == ("ALERT", "Session: session-1")
        stored = session_manager.harken.feedback(rating="down").items[0]
        assert timestamp == f"Timestamp: {stored.created_at.strftime('%Y-%m-%dT%H:%M:%S.%fZ')}"
        assert rest == ["---", "", "Password: N/A", "", "Session: session-1", "", "{rating} {0.__class__}"]
        assert aws.messages(good)[0]["Message"].startswith('{"env": "prod"} {user}\nPassword: N/A')

    def test_what_is_stored_is_published(self, aws: Amazon, open_session: Open) -> None:
        """Also what an inner hook made of it; a rejected entry and a retry are not published."""
        topic = aws.topic()

        def mask(original_func: Callable[..., Any], action: str, session_id: str, **kwargs: Any) -> Any:
            return original_func({**kwargs["feedback"], "comment": "masked"})

        with closing(FeedbackSNSHook(topic, topic, topic)) as hook:
            manager = open_session(feedback_hook=[hook, mask])
            for _ in range(2):
                manager.add_feedback({"rating": "up", "comment": "4711", "idempotency_key": "one"})
            with pytest.raises(ValueError, match="Invalid rating"):
                manager.add_feedback({"rating": "maybe"})
        [message] = aws.messages(topic)
        assert message["Message"].endswith("\n\nmasked")

    def test_other_hooks_may_return_anything(self, aws: Amazon) -> None:
        """Then the dictionary is published that the hook passed on."""
        topic = aws.topic()
        with closing(FeedbackSNSHook(topic, topic, topic)) as hook:
            for rating in ("up", "down", None, "odd"):
                assert hook(lambda _: "mine", "add", "s", feedback={"rating": rating, "comment": None}) == "mine"
        ratings = [one["MessageAttributes"]["rating"]["Value"] for one in aws.messages(topic)]
        assert ratings == ["positive", "negative", "neutral", "neutral"]

    def test_in_an_event_loop(self, aws: Amazon, session_manager: MongoDBSessionManager) -> None:
        """``add_feedback`` works in a coroutine, and so does the method that publishes without storing."""
        topic = aws.topic()

        async def give() -> None:
            with closing(FeedbackSNSHook(topic, topic, topic)) as hook:
                hook(session_manager.add_feedback, "add", "session-1", feedback={"rating": "up", "comment": "one"})
                await hook.on_feedback_add("session-1", {"rating": "down", "comment": "two"}, session_manager=None)

        asyncio.run(give())
        assert {one["Message"].rpartition("\n")[2] for one in aws.messages(topic)} == {"one", "two"}
        assert len(session_manager.get_feedbacks()) == 1

    def test_three_attempts(self, receive: Callable[[AnswerTo], list[Received]], caplog: Any) -> None:
        """A failure is repeated twice, and then logged once."""
        requests = receive(answering("503 Service Unavailable"))
        with closing(FeedbackSNSHook(ARN, ARN, ARN)) as hook:
            asyncio.run(hook.on_feedback_add("session-1", {"rating": "up", "comment": ""}))
        assert len(requests) == 3
        [record] = caplog.records
        assert record.levelname == "ERROR"
        assert record.getMessage().startswith("Feedback to SNS: nothing was sent for session session-1: SNS rejected")


class TestFailures:
    """Feedback is stored even if Amazon fails, and the failure is logged."""

    def test_amazon_refuses(
        self, receive: Callable[[AnswerTo], list[Received]], open_session: Open, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nothing is raised, and one line is logged."""
        error = b"<ErrorResponse><Error><Code>AuthorizationError</Code><Message>No.</Message></Error></ErrorResponse>"
        requests = receive(answering("403 Forbidden", body=error))
        with closing(FeedbackSNSHook(ARN, ARN, ARN)) as hook:
            manager = open_session(feedback_hook=hook)
            manager.add_feedback({"rating": "down", "comment": "Too slow"})
        assert [one["comment"] for one in manager.get_feedbacks()] == ["Too slow"]
        assert len(requests) >= 1
        [message] = [one.getMessage() for one in caplog.records if one.name.startswith("harken_adapters")]
        assert "AuthorizationError: the credentials are not allowed to publish to the topic: No." in message

    def test_amazon_is_slow(self, receive: Callable[[AnswerTo], list[Received]], open_session: Open) -> None:
        """``add_feedback`` does not wait for it."""
        asked, release = Event(), Event()

        def hang(sent: Received) -> Iterable[bytes]:
            asked.set()
            release.wait(PATIENCE)
            return PUBLISHED(sent)

        receive(hang)
        hook = FeedbackSNSHook(ARN, ARN, ARN)
        manager = open_session(feedback_hook=hook)
        begun = monotonic()
        for comment in ("one", "two", "three"):
            manager.add_feedback({"rating": "up", "comment": comment})
        # Boto3 would wait for nine seconds each time.
        assert monotonic() - begun < 9
        assert asked.wait(PATIENCE)
        assert [one["comment"] for one in manager.get_feedbacks()] == ["one", "two", "three"]
        release.set()
        hook.close()

    @pytest.mark.parametrize("topic", [None, "", "feedback", "arn:aws:sqs:eu-west-1:123:q", 7])
    def test_an_invalid_topic(
        self, topic: Any, receive: Callable[[AnswerTo], list[Received]], open_session: Open, caplog: Any
    ) -> None:
        """It is logged when the hook is created, and the other topics work."""
        requests = receive(PUBLISHED)
        hook = create_feedback_sns_hook(topic, ARN, "none")
        assert hook is not None
        [record] = [one for one in caplog.records if one.name.startswith("harken_adapters")]
        [rating, problem] = record.getMessage().split(": ", 1)
        assert rating == "Feedback is not published if its rating is up"
        assert problem == f"topic_arn_good must be 'none' or the ARN of a topic, got {topic!r}"
        manager = open_session(feedback_hook=hook)
        for rating in ("up", "down"):
            manager.add_feedback({"rating": rating, "comment": "x"})
        hook.close()
        assert len(requests) == 1
        assert len(manager.get_feedbacks()) == 2

    def test_after_closing(self, receive: Callable[[AnswerTo], list[Received]], open_session: Open) -> None:
        """Feedback is stored, and nothing is sent; closing again has no effect."""
        requests = receive(PUBLISHED)
        hook = FeedbackSNSHook(ARN, ARN, ARN)
        manager = open_session(feedback_hook=hook)
        manager.add_feedback({"rating": "up", "comment": "sent"})
        hook.close()
        manager.add_feedback({"rating": "up", "comment": "stored"})
        hook.close()
        assert len(requests) == 1
        assert len(manager.get_feedbacks()) == 2

    def test_closing_sends_what_waits(self, receive: Callable[[AnswerTo], list[Received]]) -> None:
        """All of it, if Amazon is fast enough."""
        requests = receive(PUBLISHED)
        with closing(FeedbackSNSHook(ARN, ARN, ARN)) as hook:
            for number in range(20):
                hook(lambda _: None, "add", "s", feedback={"rating": "up", "comment": str(number)})
        assert [number for number in range(20) if f"%0A{number}&".encode() in requests[number].body] == [*range(20)]


# --- metadata in SQS --------------------------------------------------------------------------------------------------


@pytest.mark.slow
class TestQueue:
    """Changes of metadata are sent to a queue."""

    def test_changes(self, aws: Amazon, open_session: Open) -> None:
        """An update has its values, a deletion ``null`` for each name; reading sends nothing."""
        queue = aws.queue()
        hook = create_metadata_sqs_hook(queue_url=queue)
        manager = open_session(**with_hooks(metadata_hook=hook))
        manager.update_metadata({"status": "open", "steps": [1, {"a": None}]})
        manager.update_metadata({"status": None})
        assert manager.get_metadata()["metadata"] == {"status": None, "steps": [1, {"a": None}]}
        manager.delete_metadata(["status", "unknown"])
        assert hook is not None
        hook.close()
        messages = aws.envelopes(queue)
        known = {"session_id": "session-1", "event": "metadata_update"}
        assert [texts(one) for one in messages] == [known] * 3
        bodies = [json.loads(one["Body"]) for one in messages]
        assert all(one.pop("timestamp").endswith("Z") for one in bodies)
        assert bodies == [
            {**known, "operation": "update", "metadata": {"status": "open", "steps": [1, {"a": None}]}},
            {**known, "operation": "update", "metadata": {"status": None}},
            {**known, "operation": "delete", "metadata": {"status": None, "unknown": None}},
        ]
        assert manager.get_metadata()["metadata"] == {"steps": [1, {"a": None}]}

    def test_selected_fields(self, aws: Amazon, session_manager: MongoDBSessionManager) -> None:
        """Only the listed names are sent; ``None`` in an update is left out."""
        queue = aws.queue()
        with closing(MetadataSQSHook(queue, ["status", "priority"])) as hook:
            values = {"status": "open", "priority": None, "internal": 1}
            hook(session_manager.update_metadata, "update", "session-1", metadata=values)
            hook(session_manager.delete_metadata, "delete", "session-1", keys=["internal", "status"])
        assert [one["metadata"] for one in changes_in(aws, queue)] == [{"status": "open"}, {"status": None}]

    def test_later_changes_of_a_value_are_not_sent(self, aws: Amazon, session_manager: MongoDBSessionManager) -> None:
        """What is sent is what was stored."""
        queue, steps = aws.queue(), [1]
        with closing(MetadataSQSHook(queue)) as hook:
            hook(session_manager.update_metadata, "update", "session-1", metadata={"steps": steps})
            steps.append(2)
        assert changes_in(aws, queue)[0]["metadata"] == {"steps": [1]}

    def test_the_method_of_the_hook(self, aws: Amazon) -> None:
        """It sends without changing anything."""
        queue = aws.queue()
        with closing(MetadataSQSHook(queue, metadata_fields=None)) as hook:
            asyncio.run(hook.on_metadata_change("s", {"status": None}, "delete"))
        [change] = changes_in(aws, queue)
        assert (change["session_id"], change["operation"], change["metadata"]) == ("s", "delete", {"status": None})

    def test_both_hooks(self, aws: Amazon, open_session: Open) -> None:
        """Feedback goes to SNS and metadata to SQS, in one session, in a coroutine."""
        topic, queue = aws.topic(), aws.queue()
        feedback_hook, metadata_hook = FeedbackSNSHook(topic, topic, topic), MetadataSQSHook(queue)
        manager = open_session(feedback_hook=feedback_hook, metadata_hook=metadata_hook)

        async def use() -> None:
            manager.add_feedback({"rating": "down", "comment": "Issue with billing"})
            manager.update_metadata({"status": "escalated"})

        asyncio.run(use())
        feedback_hook.close()
        metadata_hook.close()
        assert len(aws.messages(topic)) == 1
        assert [one["metadata"] for one in changes_in(aws, queue)] == [{"status": "escalated"}]


def test_a_failing_change_is_not_sent(session_manager: MongoDBSessionManager) -> None:
    """The error of the storage or of another hook is raised, and nothing is sent."""
    with (
        receiving() as receiver,
        closing(MetadataSQSHook(f"{receiver.url}/1/q")) as hook,
        pytest.raises(ValueError, match="metadata"),
    ):
        hook(session_manager.update_metadata, "update", "session-1", metadata={"x": object()})
    assert receiver.received == []


def test_a_value_that_cannot_be_sent(caplog: pytest.LogCaptureFixture) -> None:
    """If the program stores it elsewhere, the change is made and not sent, which is logged."""
    with receiving() as receiver, closing(MetadataSQSHook(f"{receiver.url}/1/q")) as hook:
        assert hook(lambda _: 1, "update", "session-1", metadata={"x": object()}) == 1
    assert receiver.received == []
    assert "Nothing was sent for session session-1: metadata.x must be text" in caplog.text


# --- metadata on WebSockets -------------------------------------------------------------------------------------------


class TestWebSocket:
    """Changes of metadata are posted to the connection of the session."""

    @pytest.mark.slow
    def test_changes(self, aws: Amazon, open_session: Open) -> None:
        """Also later changes without the id of the connection, and deletions; the id itself is not sent."""
        hook = create_metadata_websocket_hook(api_gateway_endpoint=aws.url, region=REGION)
        manager = open_session(**with_hooks(metadata_hook=hook))
        connection = f"connection-{id(manager)}"
        manager.update_metadata({"connection_id": connection, "status": "open"})
        manager.update_metadata({"progress": 50})
        manager.delete_metadata(["status"])
        assert hook is not None
        hook.close()
        decoder, text, changes = json.JSONDecoder(), aws.posted(connection), []
        while text:
            change, end = decoder.raw_decode(text)
            changes.append((change["session_id"], change["event"], change["operation"], change["metadata"]))
            text = text[end:]
        known = ("session-1", "metadata_update")
        assert changes == [
            (*known, "update", {"status": "open"}),
            (*known, "update", {"progress": 50}),
            (*known, "delete", {"status": None}),
        ]

    def test_without_a_connection(self, open_session: Open, caplog: pytest.LogCaptureFixture) -> None:
        """The metadata is stored, nothing is sent, and a warning is logged; also after the id was deleted."""
        with receiving() as receiver, closing(MetadataWebSocketHook(receiver.url)) as hook:
            manager = open_session(metadata_hook=hook)
            manager.update_metadata({"status": "open"})
            assert "Session session-1 has no connection_id in its metadata" in caplog.text
            open_session().update_metadata({"connection_id": "abc"})
            manager.delete_metadata("connection_id")
        assert receiver.received == []
        assert manager.get_metadata()["metadata"] == {"status": "open"}

    def test_a_closed_connection(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is not an error: nothing is raised or repeated."""
        gone = answering("410 Gone", "x-amzn-errortype: GoneException", body=b'{"message":"Gone"}')
        with receiving(gone) as receiver, closing(MetadataWebSocketHook(receiver.url)) as hook:
            asyncio.run(hook.on_metadata_change("s", {"connection_id": "abc", "x": 1}, "update"))
        assert len(receiver.received) == 1
        assert [one for one in caplog.records if one.levelname in {"WARNING", "ERROR"}] == []


# --- processes --------------------------------------------------------------------------------------------------------


def run(code: str, **environ: str) -> str:
    """The output of a program that uses the hooks."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


GIVE = """
from harken_adapters.hosts.session_manager import MongoDBSessionManager, create_feedback_sns_hook
hook = create_feedback_sns_hook({arn!r}, {arn!r}, {arn!r})
manager = MongoDBSessionManager("session-1", "memory://", feedback_hook=hook)
"""


@pytest.mark.slow
class TestProcesses:
    """Messages are sent at the end of a process, and in forked processes."""

    def test_at_exit(self) -> None:
        """A program that ends at once still sends what waits."""
        with receiving(PUBLISHED) as receiver:
            code = GIVE.format(arn=ARN) + "manager.add_feedback({'rating': 'up', 'comment': 'Bye'})"
            run(code, AWS_ENDPOINT_URL_SNS=receiver.url)
        assert len(receiver.received) == 1

    def test_at_exit_without_an_answer(self) -> None:
        """A server that does not answer delays the exit for five seconds at most."""
        with receiving(lambda _: ()) as receiver:
            code = GIVE.format(arn=ARN) + (
                "from time import monotonic\n"
                "import atexit\n"
                "for _ in range(3): manager.add_feedback({'rating': 'up', 'comment': 'Bye'})\n"
                "began = monotonic()\n"
                "atexit._run_exitfuncs()\n"
                "print(monotonic() - began)"
            )
            waited = float(run(code, AWS_ENDPOINT_URL_SNS=receiver.url))
        # Without the limit, each of the three would take nine seconds.
        assert 4 < waited < 20

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    def test_after_a_fork(self) -> None:
        """Parent and child send what they have stored, with a thread and connections of their own."""
        with receiving(PUBLISHED) as receiver:
            code = GIVE.format(arn=ARN) + (
                "import os\n"
                "manager.add_feedback({'rating': 'up', 'comment': 'parent'})\n"
                "child = os.fork()\n"
                "if not child:\n"
                "    manager = MongoDBSessionManager('session-1', 'memory://', feedback_hook=hook)\n"
                "    manager.add_feedback({'rating': 'up', 'comment': 'child'})\n"
                "    hook.close()\n"
                "    os._exit(0)\n"
                "assert os.waitpid(child, 0)[1] == 0"
            )
            run(code, AWS_ENDPOINT_URL_SNS=receiver.url)
        assert sorted(b"child" in one.body for one in receiver.received) == [False, True]


# --- availability -----------------------------------------------------------------------------------------------------

AVAILABLE = (is_feedback_sns_hook_available, is_metadata_sqs_hook_available, is_metadata_websocket_hook_available)


def test_availability(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The hooks are available if boto3 is installed. Otherwise the functions return ``None``, and log what to do."""
    assert all(available() is True for available in AVAILABLE)
    monkeypatch.setitem(sys.modules, "boto3", None)
    assert all(available() is False for available in AVAILABLE)
    assert create_feedback_sns_hook(ARN, ARN, ARN) is None
    assert create_metadata_sqs_hook(QUEUE) is None
    assert create_metadata_websocket_hook(API) is None
    assert [one.getMessage().rpartition("; ")[2] for one in caplog.records] == [
        'try pip install "harken[sns]"',
        'try pip install "harken[aws]"',
        'try pip install "harken[aws]"',
    ]


def test_invalid_places(caplog: pytest.LogCaptureFixture) -> None:
    """Without a valid URL there is no hook; ``None`` is what the environment has if a variable is missing."""
    assert create_metadata_sqs_hook(None) is None
    assert create_metadata_websocket_hook("wss://example.com") is None
    assert [one.getMessage().partition(": ")[0] for one in caplog.records] == ["The hook was not created"] * 2


def test_the_other_name() -> None:
    """The module ``hooks`` of the library has the factory under another name."""
    assert hooks.create_feedback_hook is create_feedback_sns_hook


# --- routes -----------------------------------------------------------------------------------------------------------


def connect(storage: Any, clock: ManualClock, table: dict[str, Any]) -> Any:
    """A Harken with a route for changes of metadata to this channel."""
    route = {"name": "changes", "channel": "amazon", "events": ["session.metadata_updated"]}
    return connect_without_relay(clock, storage, channels={"amazon": table}, routes=[route])


@pytest.mark.slow
class TestRoutes:
    """Routes to the channels ``sqs`` and ``apigateway`` deliver changes of metadata at least once."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        """A clock that the test turns."""
        return ManualClock()

    def test_a_queue(self, aws: Amazon, storage_url: str, clock: ManualClock) -> None:
        """A change in a session manager reaches the queue as from the hook; after failures, too."""
        queue = aws.queue()
        with harken.open_storage(storage_url) as opened:
            storage = evolve(opened, clock=same_clock)
            table = {"kind": "sqs", "queue_url": queue, "region": REGION}
            with connect(storage, clock, table) as hk:
                manager = MongoDBSessionManager("session-1", client=hk)
                manager.update_metadata({"status": "open"})
                hk.relay.run_due()
                manager.delete_metadata("status")
                hk.relay.run_due()
        known = {"session_id": "session-1", "event": "metadata_update"}
        assert changes_in(aws, queue) == [
            {**known, "operation": "update", "metadata": {"status": "open"}},
            {**known, "operation": "delete", "metadata": {"status": None}},
        ]

    def test_a_websocket(self, storage_url: str, clock: ManualClock) -> None:
        """A change that API Gateway refuses is sent again, until it is accepted."""
        statuses = ["500 Internal Server Error", "200 OK"]

        def answer(sent: Received) -> Iterable[bytes]:
            return answering(statuses.pop(0))(sent)

        with (
            receiving(answer) as receiver,
            harken.open_storage(storage_url) as opened,
        ):
            table = {"kind": "apigateway", "endpoint_url": receiver.url, "region": REGION}
            with connect(evolve(opened, clock=same_clock), clock, table) as hk:
                manager = MongoDBSessionManager("session-1", client=hk)
                manager.update_metadata({"connection_id": "abc", "status": "open"})
                hk.relay.run_due()
                assert [one.state for one in hk.deliveries.find("pending")]
                clock.turn(days=1)
                hk.relay.run_due()
                assert len(hk.deliveries.find("delivered")) == 1
        assert [json.loads(one.body)["metadata"] for one in receiver.received] == [{"status": "open"}] * 2
        assert {one.path for one in receiver.received} == {"/hook/@connections/abc"}
