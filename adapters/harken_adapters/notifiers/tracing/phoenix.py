"""Arize Phoenix: feedback as annotations of spans and traces (https://arize.com/docs/phoenix)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

from harken.domain.errors import DeliveryFailed
from harken.ports.notifier import Notification, Notifier
from harken_adapters.notifiers.endpoint import Endpoint
from harken_adapters.notifiers.tracing.exchange import Exchange
from harken_adapters.notifiers.tracing.ids import SpanContext, TraceSource
from harken_adapters.notifiers.tracing.notifier import Score, TracingNotifier, metadata, score_id
from harken_adapters.notifiers.tracing.settings import Table
from harken_adapters.notifiers.transport import Headers
from harken_adapters.telemetry.evaluation import score_value

_PROJECT: Final = "default"
_KINDS: Final = ("span", "trace")


def open_notifier(table: Mapping[str, object]) -> Notifier:
    """Open the channel that a table of the settings describes.

    ``url`` is that of a Phoenix server. ``project`` is the name of the project that has the traces. ``api_key``,
    ``trace``, ``name`` and ``allow`` are optional.

    Raises:
        ConfigurationError: a key is unknown or missing, or a value is invalid. The message never contains a secret.
    """
    read = Table("Phoenix", table)
    read.check_keys("api_key", "project")
    headers = read.bearer("api_key")
    return PhoenixNotifier(
        read.endpoint(example="http://localhost:6006", credentials="set api_key", headers=headers),
        read.source(),
        read.name(),
        headers,
        project=read.text("project") or _PROJECT,
    )


class PhoenixNotifier(TracingNotifier):
    """Writes feedback as annotations: score 1 for a thumbs-up, 0 for a thumbs-down, none for a neutral rating.

    Args:
        project: the name of the project that has the traces. It is needed to remove annotations.
    """

    def __init__(
        self, endpoint: Endpoint, source: TraceSource, name: str, headers: Headers, *, project: str = _PROJECT
    ) -> None:
        super().__init__(endpoint, source, name, headers)
        self._project = quote(project, safe="")

    def write(self, exchange: Exchange, score: Score) -> None:
        """Create the annotation, or replace it: its identifier is unique on a span or trace."""
        context = SpanContext.parse(score.trace)
        kind, subject = ("span", context.span_id) if context.span_id else ("trace", context.trace_id)
        if subject is None:
            raise DeliveryFailed(
                f"{score.trace!a} is not the id of a span or trace in Phoenix; expected 16 or 32 hexadecimal digits or "
                "a traceparent. Select the feedback that has one with a route, or set trace",
                retryable=False,
                status="invalid trace id",
            )
        if score.moved:
            self._remove(exchange, score.id)
        body = {"data": [{f"{kind}_id": subject, **_annotation(score, self._name)}]}
        # A span may arrive after the feedback on it. Only a synchronous request reports that it is unknown.
        written = exchange.read("POST", f"/v1/{kind}_annotations?sync=true", body, retry=(404,))
        if not written.get("data"):
            raise DeliveryFailed(
                f"Phoenix at {self._endpoint.where} did not confirm the annotation; check the url",
                status="not confirmed",
            )

    def remove(self, exchange: Exchange, notification: Notification) -> None:
        """Delete the annotation, wherever it is in the project."""
        self._remove(exchange, score_id(notification))

    def _remove(self, exchange: Exchange, score: str) -> None:
        # delete_all refers to the times of the annotations, not to the identifier.
        query = urlencode({"identifier": _identifier(score), "delete_all": "true"})
        for kind in _KINDS:
            # The project may be created, or its name be corrected.
            exchange.call("DELETE", f"/v1/projects/{self._project}/{kind}_annotations?{query}", retry=(404,))


def _identifier(score: str) -> str:
    return f"harken:{score}"


def _annotation(score: Score, name: str) -> dict[str, object]:
    feedback = score.feedback
    return {
        "name": name,
        "annotator_kind": "HUMAN",
        "identifier": _identifier(score.id),
        "result": {
            "label": feedback.rating.word,
            "score": score_value(feedback.rating),
            "explanation": feedback.comment or None,
        },
        "metadata": metadata(feedback),
    }
