"""MLflow: feedback as assessments of traces (https://mlflow.org/docs/latest/genai/assessments/feedback/)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from harken.domain.errors import ConfigurationError, DeliveryFailed
from harken.domain.feedback import Feedback
from harken.domain.instants import stamp
from harken.ports.notifier import Notification, Notifier
from harken_adapters.notifiers.tracing.exchange import Exchange
from harken_adapters.notifiers.tracing.ids import SpanContext
from harken_adapters.notifiers.tracing.notifier import Score, TracingNotifier, metadata, score_id
from harken_adapters.notifiers.tracing.settings import Table
from harken_adapters.telemetry.evaluation import score_value

_TRACES: Final = "/api/3.0/mlflow/traces"
_EXPERIMENTS: Final = "/api/2.0/mlflow/experiments/search"
_TRACE_ID: Final = re.compile(r"tr-[0-9a-f]{32}")
#: How many experiments, and traces, a page of a search has. Both come with notes and tags, which can be long.
_MAX_EXPERIMENTS: Final = 100
_MAX_TRACES: Final = 100
_ANONYMOUS: Final = "anonymous"
#: The status if another trace has the assessment, because the feedback, or the setting ``trace``, was changed.
_CONFLICT: Final = 500


def open_notifier(table: Mapping[str, object]) -> Notifier:
    """Open the channel that a table of the settings describes.

    ``url`` is that of a tracking server. ``token``, or ``username`` and ``password``, and ``trace``, ``name`` and
    ``allow`` are optional.

    Raises:
        ConfigurationError: a key is unknown or missing, or a value is invalid. The message never contains a secret.
    """
    read = Table("MLflow", table)
    read.check_keys("token", "username", "password")
    if "token" in table and "username" in table:
        raise ConfigurationError("An MLflow channel must have either token or username and password, not both")
    headers = read.bearer("token") if "token" in table else read.basic("username", "password")
    credentials = "set username and password, or token"
    return MlflowNotifier(
        read.endpoint(example="http://localhost:5000", credentials=credentials, headers=headers),
        read.source(),
        read.name(),
        headers,
    )


class MlflowNotifier(TracingNotifier):
    """Writes feedback as assessments: true for a thumbs-up, false for a thumbs-down, null for a neutral rating.

    A tag of the trace has the id of the assessment. It leads to the trace when only the id of the feedback is known.
    """

    def write(self, exchange: Exchange, score: Score) -> None:
        """Create the assessment, or replace it."""
        trace_id = _trace_id(score.trace)
        path, identifier = f"{_TRACES}/{trace_id}", _assessment_id(score.id)
        # A trace may arrive after the feedback on it.
        exchange.call("GET", path, retry=(404,))
        # First, so that every assessment can be found.
        exchange.call("PATCH", f"{path}/tags", {"key": _tag(score.id), "value": identifier})
        exchange.call("DELETE", f"{path}/assessments/{identifier}")
        create = partial(exchange.call, "POST", f"{path}/assessments", _body(score.feedback, identifier, self._name))
        answer = create(accept=(_CONFLICT,), retry=(404,))
        if answer.status == _CONFLICT and self._remove(exchange, score.id, kept=trace_id):
            answer = create(retry=(404,))
        created = exchange.parse_object(exchange.require_success(answer)).get("assessment")
        if not isinstance(created, dict) or created.get("assessment_id") != identifier:
            raise DeliveryFailed(
                f"MLflow at {self._endpoint.where} did not confirm the assessment; check the url",
                status="not confirmed",
            )

    def remove(self, exchange: Exchange, notification: Notification) -> None:
        """Delete the assessment and its tag."""
        self._remove(exchange, score_id(notification))

    def _remove(self, exchange: Exchange, score: str, *, kept: str | None = None) -> bool:
        """Delete the assessment and its tag from all traces but ``kept``; returns whether there were any."""
        traces = [trace_id for trace_id in _tagged(exchange, score) if trace_id != kept]
        for trace_id in traces:
            path = f"{_TRACES}/{quote(trace_id, safe='')}"
            exchange.call("DELETE", f"{path}/assessments/{_assessment_id(score)}")
            exchange.call("DELETE", f"{path}/tags", {"key": _tag(score)}, accept=(404,))
        return bool(traces)


def _tagged(exchange: Exchange, score: str) -> Iterator[str]:
    """The ids of the traces with the tag of this score, in all experiments."""
    query = f"tags.`{_tag(score)}` = '{_assessment_id(score)}'"
    token = ""
    while True:
        search = {"max_results": _MAX_EXPERIMENTS, "view_type": "ALL", "page_token": token}
        page = exchange.read("POST", _EXPERIMENTS, search)
        experiments = _ids(exchange, page, "experiments", "experiment_id")
        if not experiments:
            raise DeliveryFailed(
                "MLflow shows no experiment to Harken, so that the trace cannot be found", status="no experiment"
            )
        locations = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": one}} for one in experiments]
        body = {"locations": locations, "filter": query, "max_results": _MAX_TRACES}
        yield from _ids(exchange, exchange.read("POST", f"{_TRACES}/search", body), "traces", "trace_id")
        if not (token := page.get("next_page_token", "")):
            return


def _ids(exchange: Exchange, response: Mapping[str, Any], items: str, key: str) -> list[str]:
    try:
        ids = [item[key] for item in response.get(items, ())]
    except (KeyError, TypeError) as error:
        raise DeliveryFailed(
            f"MLflow at {exchange.endpoint.where} did not respond with {items}", status="unexpected answer"
        ) from error
    return [str(one) for one in ids]


def _trace_id(text: str) -> str:
    """The trace id of MLflow, which is derived from that of OpenTelemetry.

    Raises:
        DeliveryFailed: the text is not a trace id. It must not become a part of a path.
    """
    if _TRACE_ID.fullmatch(text):
        return text
    if trace_id := SpanContext.parse(text).trace_id:
        return f"tr-{trace_id}"
    raise DeliveryFailed(
        f"{text!a} is not the id of a trace in MLflow; expected 'tr-' and 32 hexadecimal digits, a trace id of "
        "OpenTelemetry or a traceparent. Select the feedback that has one with a route, or set trace",
        retryable=False,
        status="invalid trace id",
    )


def _assessment_id(score: str) -> str:
    return f"a-{score}"


def _tag(score: str) -> str:
    return f"harken.feedback.{score}"


def _body(feedback: Feedback, identifier: str, name: str) -> dict[str, object]:
    value = score_value(feedback.rating)
    assessment = {
        "assessment_id": identifier,
        "assessment_name": name,
        "source": {"source_type": "HUMAN", "source_id": feedback.author or _ANONYMOUS},
        "create_time": stamp(feedback.created_at),
        "last_update_time": stamp(feedback.updated_at),
        "feedback": {"value": None if value is None else value > 0},
        "rationale": feedback.comment,
        "metadata": {name: _text(value) for name, value in metadata(feedback).items()},
    }
    return {"assessment": assessment}


def _text(value: object) -> str:
    """A value of the metadata, of which MLflow stores texts only."""
    return ", ".join(value) if isinstance(value, list) else str(value)
