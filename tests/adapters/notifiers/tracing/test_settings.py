"""The settings of channels to tracing products."""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytest

from adapters.notifiers.tracing.json_server import Request, Response, serving
from channels import connect_without_relay
from harken.domain.errors import ConfigurationError, DeliveryFailed
from harken.ports.notifier import ErasedFeedback
from harken.testing.notifier_contract import a_notification
from harken_adapters.notifiers.endpoint import LIMIT
from harken_adapters.notifiers.tracing import exchange, langfuse, mlflow, otlp, phoenix
from support import a_feedback

URL = {"url": "https://example.com"}
KEYS = {"public_key": "pk", "secret_key": "sk"}
VALID: dict[Any, dict[str, object]] = {langfuse: KEYS, mlflow: URL, phoenix: URL, otlp: URL}
KINDS = list(VALID)


@pytest.mark.parametrize("kind", KINDS)
def test_valid_settings(kind: Any) -> None:
    """The required keys are sufficient, and the repr shows no secret."""
    notifier = kind.open_notifier(VALID[kind])
    assert "sk" not in repr(notifier)
    assert "Notifier to https://" in repr(notifier)
    notifier.close()
    notifier.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"uri": "x"}, "Unknown key|unknown|uri"),
        ({"url": 7}, "url of an? .* channel must be a string, got int"),
        ({"url": "ftp://example.com"}, "The url of an? .* channel must begin with https:// or http://"),
        ({"url": "https://me:secret@example.com"}, "must not have a user or password, which would be logged; set "),
        ({"url": "http://10.0.0.7:5000"}, "must have a public address: 10.0.0.7 is not a public address; if this is"),
        ({"url": "http://localhost:5000"}, "localhost is the local machine; if this is intended, add 'localhost'"),
        ({"allow": "10.0.0.7"}, "allow of an? .* channel must be a list of strings, got '10.0.0.7'"),
        ({"trace": "session_id"}, "trace of an? .* channel must be 'message_id' or the name of a context value"),
        ({"trace": "context."}, "such as 'context.trace_id', got 'context.'"),
        ({"trace": "context.a b"}, "got 'context.a b'"),
        ({"name": "a\nb"}, "name of an? .* channel must not contain control characters"),
        ({"name": "x" * 101}, "name of an? .* channel too long: 101 characters"),
    ],
)
def test_invalid_settings(kind: Any, table: dict[str, object], message: str) -> None:
    """An invalid value is described in a sentence without a secret."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        kind.open_notifier({**VALID[kind], **table})
    assert "secret@" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "table", "message"),
    [
        (langfuse, {}, "A Langfuse channel needs the public_key and the secret_key of a project"),
        (langfuse, {"public_key": "pk"}, "needs the public_key and the secret_key"),
        (langfuse, {**KEYS, "environment": "Langfuse"}, "environment of a Langfuse channel must have up to 40 lower"),
        (langfuse, {**KEYS, "environment": "langfuse-x"}, "must not begin with 'langfuse', got 'langfuse-x'"),
        (mlflow, {}, "url of an MLflow channel is missing; expected one such as 'http://localhost:5000'"),
        (mlflow, {**URL, "username": "me"}, "password of an MLflow channel is missing"),
        (mlflow, {**URL, "password": "x"}, "username of an MLflow channel is missing"),
        (mlflow, {**URL, "token": "x", "username": "me"}, "must have either token or username and password, not both"),
        (mlflow, {**URL, "token": "secret\nx"}, "token of an MLflow channel may only have printable ASCII characters"),
        (phoenix, {}, "url of a Phoenix channel is missing"),
        (phoenix, {**URL, "api_key": "secret\u00e9"}, "api_key of a Phoenix channel may only have printable ASCII"),
        (phoenix, {**URL, "project": ""}, "project of a Phoenix channel must be a string, got an empty string"),
        (otlp, {}, "url of an OTLP channel is missing; expected one such as 'http://localhost:4318'"),
        (otlp, {**URL, "comments": "yes"}, "comments of an OTLP channel must be true or false, got 'yes'"),
        (otlp, {**URL, "headers": ["x"]}, "headers of an OTLP channel must be a table, got a list"),
        (otlp, {**URL, "headers": {"x": 7}}, "headers.x of an OTLP channel must be a string that is not empty"),
        (otlp, {**URL, "headers": {"x": "secret\nb"}}, "headers.x of an OTLP channel may only have printable ASCII"),
        (otlp, {**URL, "headers": {"a b": "c"}}, "'a b' in headers of an OTLP channel is not the name of a header"),
        (otlp, {**URL, "headers": {"Host": "c"}}, "'Host' in headers of an OTLP channel is not the name of a header"),
    ],
)
def test_invalid_settings_of_a_product(kind: Any, table: dict[str, object], message: str) -> None:
    """So is that of a key that only one product has."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        kind.open_notifier(table)
    assert "secret" not in str(caught.value).replace("secret_key", "")


@pytest.mark.parametrize(
    ("kind", "table", "authorization"),
    [
        (
            "langfuse",
            {"public_key": "env:T_KEY", "secret_key": "env:T_KEY"},
            "Basic czNjcmV0OnMzY3JldA==",
        ),
        ("mlflow", {"token": "env:T_KEY"}, "Bearer s3cret"),
        ("mlflow", {"username": "me", "password": "env:T_KEY"}, "Basic bWU6czNjcmV0"),
        ("phoenix", {"api_key": "env:T_KEY"}, "Bearer s3cret"),
        ("otlp", {"headers": {"authorization": "env:T_KEY"}}, "s3cret"),
    ],
)
def test_secrets(monkeypatch: pytest.MonkeyPatch, kind: str, table: dict[str, object], authorization: str) -> None:
    """Secrets come from environment variables, also those in a table, and a line break at the end is ignored."""
    monkeypatch.setenv("T_KEY", "s3cret\n")
    received: list[Request] = []

    def refuse(request: Request) -> Response:
        received.append(request)
        return Response(400, {"message": "No"})

    with serving(refuse) as url:
        channel = {"kind": kind, "url": url, "allow": ["127.0.0.1"], **table}
        with connect_without_relay(channels={"tracing": channel}) as hk:
            hk.submit("s", "up", message_id="0" * 31 + "1")
            hk.relay.run_due()
            (dead,) = hk.deliveries.find("dead")
    assert [one.headers["authorization"] for one in received] == [authorization]
    assert "s3cret" not in dead.error


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_not_reachable(kind: Any) -> None:
    """A server that refuses connections is named, and the delivery is retried."""
    with serving(lambda _: Response(200)) as url:
        pass
    notifier = kind.open_notifier({**VALID[kind], "url": url, "allow": ["127.0.0.1"]})
    with pytest.raises(DeliveryFailed, match=rf" at {url} cannot be reached: connection refused") as caught:
        notifier.deliver(a_notification(feedback=a_feedback(message_id="0" * 31 + "1")))
    assert caught.value.retryable
    notifier.close()


@pytest.mark.parametrize(
    ("experiments", "message"),
    [({}, "MLflow shows no experiment"), ({"experiments": [7]}, "did not respond with experiments")],
)
def test_an_mlflow_server_without_experiments(experiments: dict[str, object], message: str) -> None:
    """An assessment that cannot be searched for is not reported as removed."""
    with serving(lambda _: Response(200, experiments)) as url:
        notifier = mlflow.open_notifier({"url": url, "allow": ["127.0.0.1"]})
        with pytest.raises(DeliveryFailed, match=message):
            notifier.deliver(a_notification(erased=ErasedFeedback("f", "s")))
        notifier.close()


def test_the_time_limit_of_a_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is that of the delivery, not of each request: no request is sent after it."""
    monkeypatch.setattr(exchange, "monotonic", lambda: monotonic() - LIMIT)
    requests: list[Request] = []

    def answer(request: Request) -> Response:
        requests.append(request)
        return Response(200, {})

    with serving(answer) as url:
        notifier = mlflow.open_notifier({"url": url, "allow": ["127.0.0.1"]})
        with pytest.raises(DeliveryFailed, match="took longer than 15 seconds"):
            notifier.deliver(a_notification(feedback=a_feedback(message_id="0" * 31 + "1")))
        notifier.close()
    assert requests == []
