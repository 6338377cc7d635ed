"""A stub of Langfuse: the operations on scores, as its API and its documentation describe them.

Requests are validated with the types of Langfuse's Python client, which are generated from the description of the API.
The rules beyond the types are from https://langfuse.com/docs/api-and-data-platform/features/public-api,
https://langfuse.com/docs/evaluation/evaluation-methods/scores-via-sdk and the descriptions of the fields:

- A project's public and secret key are the user and the password of Basic authentication.
- Scores are accepted at once and stored later. Deletions are also done later, but without that delay.
- A score that is sent again with the same id and timestamp is merged into the stored one. Null changes nothing,
  metadata is merged by key, and the trace of a score never changes. With another timestamp it is a second score.
- A numeric score has a number; a score belongs to one trace, session or run; only a trace may have an observation.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Lock
from typing import Any, Final

from attrs import define, field
from langfuse.api.core.pydantic_utilities import parse_obj_as
from langfuse.api.scores.types.create_score_request import CreateScoreRequest
from pydantic import ValidationError

from adapters.notifiers.tracing.json_server import Request, Response, serving

PUBLIC_KEY: Final = "pk-lf-1234"
SECRET_KEY: Final = "sk-lf-5678"
_SCORES: Final = "/api/public/scores"
_AUTHORIZATION: Final = f"Basic {b64encode(f'{PUBLIC_KEY}:{SECRET_KEY}'.encode()).decode()}"


@define
class Langfuse:
    """The state of the stub.

    Attributes:
        url: its URL.
        stored: the scores, by id and timestamp.
        outage: the response to every request instead of the usual one, if set.
        requests: all requests.
    """

    url: str = ""
    stored: dict[tuple[str, datetime | None], dict[str, Any]] = field(factory=dict)
    outage: Response | None = None
    requests: list[Request] = field(factory=list)
    _accepted: list[CreateScoreRequest] = field(factory=list)
    _lock: Lock = field(factory=Lock)

    def of_trace(self, trace: str) -> list[dict[str, Any]]:
        """The stored scores of a trace."""
        return [score for score in self.stored.values() if score["trace_id"] == trace]

    def store(self) -> None:
        """Store the scores that were accepted."""
        for score in self._accepted:
            old = self.stored.get((str(score.id), score.timestamp), {})
            new = {name: value for name, value in score.model_dump().items() if value is not None}
            metadata = {**old.get("metadata", {}), **new.get("metadata", {})}
            kept = {"trace_id": old["trace_id"]} if old else {}
            self.stored[str(score.id), score.timestamp] = {**old, **new, **kept, "metadata": metadata}
        self._accepted.clear()

    def answer(self, request: Request) -> Response:
        """Respond to a request."""
        with self._lock:
            self.requests.append(request)
            if self.outage is not None:
                return self.outage
            if request.headers.get("authorization") != _AUTHORIZATION:
                return Response(401, {"message": "Invalid credentials."})
            if request.method == "POST" and request.path == _SCORES:
                return self._create(request)
            if request.method == "DELETE" and request.path.startswith(f"{_SCORES}/"):
                return self._delete(request.path.removeprefix(f"{_SCORES}/"))
            return Response(404, {"message": "Not found"})

    def _create(self, request: Request) -> Response:
        try:
            score = parse_obj_as(CreateScoreRequest, json.loads(request.content))
        except (ValidationError, ValueError) as error:
            return Response(400, {"message": "Invalid request data", "error": str(error)})
        if problems := list(_problems(score)):
            return Response(400, {"message": "Invalid request data", "error": problems})
        self._accepted.append(score)
        return Response(200, {"id": score.id})

    def _delete(self, score_id: str) -> Response:
        for key in [key for key in self.stored if key[0] == score_id]:
            del self.stored[key]
        return Response(202, {"message": "Score deletion queued successfully"})


def _problems(score: CreateScoreRequest) -> Iterator[str]:
    if score.model_extra:
        yield f"Unknown fields: {', '.join(score.model_extra)}"
    if [score.trace_id, score.session_id, score.dataset_run_id].count(None) != 2:
        yield "Exactly one of traceId, sessionId and datasetRunId is required"
    if score.observation_id and not score.trace_id:
        yield "observationId requires traceId"
    if score.data_type != "NUMERIC" or isinstance(score.value, str):
        yield "value must be a number, and dataType NUMERIC"
    if score.timestamp and score.timestamp.tzinfo is None:
        yield "timestamp needs an offset"
    if score.environment and score.environment.startswith("langfuse"):
        yield "environment must not start with 'langfuse'"


@contextmanager
def langfuse_server() -> Iterator[Langfuse]:
    """Start the stub."""
    state = Langfuse()
    with serving(state.answer) as url:
        state.url = url
        yield state
