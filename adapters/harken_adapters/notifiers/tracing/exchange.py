"""The requests of one delivery to a tracing product, and what the statuses of its responses mean."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from time import monotonic
from typing import Any, Final

from attrs import field, frozen

from harken.domain.errors import DeliveryFailed
from harken_adapters.notifiers.endpoint import LIMIT, Endpoint, pause, status_of
from harken_adapters.notifiers.transport import Answer, Headers

JSON: Final = b"application/json"
#: Statuses below 500 after which a later attempt may succeed. Credentials can be corrected.
_RETRIED: Final = frozenset({401, 403, 407, 408, 425, 429})
#: The maximum number of bytes of a response. A page of MLflow's experiments has their notes.
_MAX_CONTENT: Final = 4_000_000


@frozen
class Exchange:
    """The requests of one delivery, which share one time limit.

    Attributes:
        endpoint: the server of the product.
        headers: the headers of every request.
        sent_at: the time of the attempt.
        deadline: when the last response must have arrived, as a time of ``time.monotonic``.
        statuses: the status codes of the responses so far.
    """

    endpoint: Endpoint
    headers: Headers
    sent_at: datetime
    deadline: float = field(factory=lambda: monotonic() + LIMIT)
    statuses: list[int] = field(factory=list)

    def send(self, method: str, path: str, content: bytes, content_type: bytes) -> Answer:
        """Send a request to a path below the URL, and return the response with any status.

        Raises:
            DeliveryFailed: there was no response in time.
        """
        base = self.endpoint.target.partition(b"?")[0].rstrip(b"/")
        headers = (*self.headers, (b"content-type", content_type))
        answer = self.endpoint.request(
            method, base + path.encode(), headers, content, deadline=self.deadline, max_content=_MAX_CONTENT
        )
        self.statuses.append(answer.status)
        return answer

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        accept: Collection[int] = (),
        retry: Collection[int] = (),
    ) -> Answer:
        """Send a request with a JSON body, and return the response to it.

        Args:
            method: the method.
            path: the path below the URL, with the query.
            body: the body; ``None`` for an empty one.
            accept: statuses that are successes in addition to those from 200 to 299.
            retry: statuses after which the delivery is retried, in addition to the usual ones.

        Raises:
            DeliveryFailed: there was no response in time, or the status is not a success.
        """
        answer = self.send(method, path, b"" if body is None else json.dumps(body).encode(), JSON)
        return self.require_success(answer, accept=accept, retry=retry)

    def read(self, method: str, path: str, body: Mapping[str, object], *, retry: Collection[int] = ()) -> Any:
        """Like :meth:`call`; returns the JSON object in the response.

        Raises:
            DeliveryFailed: also if the response is not a JSON object.
        """
        return self.parse_object(self.call(method, path, body, retry=retry))

    def parse_object(self, answer: Answer) -> Any:
        """Return the JSON object in a response.

        Raises:
            DeliveryFailed: it is not a JSON object.
        """
        try:
            parsed = json.loads(answer.content)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise DeliveryFailed(
                f"{self.endpoint.describe(answer)}, but not with a JSON object; check the url",
                status=f"{status_of(answer.status)}, unexpected answer",
            )
        return parsed

    def require_success(self, answer: Answer, *, accept: Collection[int] = (), retry: Collection[int] = ()) -> Answer:
        """Return a response that is a success.

        Raises:
            DeliveryFailed: it is not.
        """
        if 200 <= answer.status < 300 or answer.status in accept:
            return answer
        words = self.endpoint.words_of(answer)
        permanent = 400 <= answer.status < 500 and answer.status not in _RETRIED and answer.status not in retry
        raise DeliveryFailed(
            f"{self.endpoint.describe(answer)}{f': {words}' if words else ''}",
            retryable=not permanent,
            retry_after=pause(answer, self.sent_at),
            status=status_of(answer.status),
            words=words,
        )
