"""The HTTP clients of the guide: their requests and responses, over a real socket."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

import harken
from harken import Harken
from harken_adapters.text import text_adapters
from hosts.serving import Server, problem, served, stored_feedback
from support import ManualClock, counting_ids

pytestmark = pytest.mark.slow

PATH = "/api/sessions/user-123/feedback"
PRODUCTION = "/api/feedback"


@contextmanager
def production(clock: ManualClock, **settings: Any) -> Iterator[tuple[Server, Harken]]:
    """A service with the text adapters, like the guide's production endpoint."""
    adapters = text_adapters(sentiment="textblob")
    connecting = harken.connect("memory://", clock=clock, new_id=counting_ids(), **adapters)
    with connecting as hk, served(hk, **settings) as server:
        yield server, hk


class TestClientUsage:
    def test_feedback_is_recorded(self, server: Server) -> None:
        """The response has the guide's message, the id and the version."""
        answer = server.ask("POST", PATH, json={"rating": "up", "comment": "Great response!"})
        assert answer.status_code == 201
        document = answer.json()
        feedback_id = document.pop("feedback_id")
        assert document == {"status": "success", "message": "Feedback recorded successfully", "version": 1}
        assert answer.headers["location"] == f"/api/feedback/{feedback_id}"
        assert server.get(answer.headers["location"])["comment"] == "Great response!"

    def test_feedback_is_listed(self, server: Server, clock: ManualClock) -> None:
        """The feedback of a session is listed oldest first, with the guide's keys, and times that Python can parse."""
        for rating, comment in (("up", "Great response!"), ("down", "Too slow"), (None, "")):
            server.post(PATH, {"rating": rating, "comment": comment})
            clock.turn(seconds=1)
        server.post("/api/sessions/user-124/feedback", {"rating": "up"})
        data = server.get(PATH)
        assert (data["session_id"], data["total_feedbacks"]) == ("user-123", 3)
        found = [(one["rating"], one["comment"]) for one in data["feedbacks"]]
        assert found == [("up", "Great response!"), ("down", "Too slow"), (None, "")]
        times = [datetime.fromisoformat(one["created_at"]) for one in data["feedbacks"]]
        assert times == sorted(set(times))

    def test_figures_of_a_session(self, server: Server) -> None:
        """The statistics have the guide's keys, and satisfaction is rounded to one decimal."""
        for rating in ("up", "up", "down", None):
            server.post(PATH, {"rating": rating, "comment": "so"})
        assert server.get(f"{PATH}/stats") == {
            "session_id": "user-123",
            "total_feedbacks": 4,
            "positive": 2,
            "negative": 1,
            "neutral": 1,
            "satisfaction_score": 66.7,
        }

    def test_a_session_without_feedback(self, server: Server) -> None:
        """A session without feedback has an empty list and zeros, and is not an error."""
        assert server.get(PATH) == {"session_id": "user-123", "total_feedbacks": 0, "feedbacks": [], "next": None}
        stats = server.get(f"{PATH}/stats")
        assert (stats.pop("session_id"), set(stats.values())) == ("user-123", {0})

    def test_a_thumbs_down_needs_a_comment(self, server: Server, hk: Harken) -> None:
        """A thumbs-down without a comment is rejected with 400 and the guide's message in ``detail``."""
        for comment in ("", "   "):
            answer = server.ask("POST", PATH, json={"rating": "down", "comment": comment})
            document = problem(answer, 400, "feedback-refused")
            assert document["detail"] == "Please provide a comment when giving negative feedback"
            assert document["instance"] == PATH
            assert document["violations"][0]["field"] == "comment"
        assert stored_feedback(hk) == []

    @pytest.mark.parametrize("body", [{"rating": "maybe"}, {"rating": "up", "comment": "x" * 1001}])
    def test_invalid_values(self, server: Server, hk: Harken, body: dict[str, Any]) -> None:
        """An unknown rating and a comment that is too long are rejected with 422, as by the guide's models."""
        document = problem(server.ask("POST", PATH, json=body), 422, "invalid")
        assert document["violations"][0]["field"] in body
        assert stored_feedback(hk) == []

    def test_all_violations_are_reported_together(self, server: Server) -> None:
        """All violations of a submission are reported together."""
        answer = server.ask("POST", PATH, json={"rating": "maybe", "comment": "x" * 1001, "tags": [""]})
        fields = {one["field"] for one in problem(answer, 422, "invalid")["violations"]}
        assert fields == {"rating", "comment", "tags"}

    def test_comments_are_trimmed(self, server: Server, hk: Harken) -> None:
        """White space around a comment is removed, and a thousand characters between are allowed."""
        server.post(PATH, {"rating": "up", "comment": "  " + "x" * 1000 + "\n"})
        assert stored_feedback(hk)[0].comment == "x" * 1000


class TestProductionEndpoint:
    def test_all_steps_of_the_guide(self, clock: ManualClock) -> None:
        """Comments are sanitised, their sentiment is analysed, and no client data is stored by default."""
        with production(clock) as (server, hk):
            body = {"rating": "up", "comment": "<b>Great</b> <script>x()</script>response!"}
            assert server.post(f"{PRODUCTION}?session_id=user-123", body)["status"] == "success"
            (feedback,) = stored_feedback(hk)
        assert (feedback.session_id, feedback.comment) == ("user-123", "Great response!")
        assert feedback.sentiment is not None
        assert feedback.sentiment.polarity > 0.5
        assert feedback.context == {}

    def test_spam(self, clock: ManualClock) -> None:
        """Spam is rejected with the guide's message, also if it is hidden by markup, on both endpoints."""
        with production(clock) as (server, hk):
            for path in (f"{PRODUCTION}?session_id=s", PATH):
                for comment in ("Click HERE for a prize", "vi<b>ag</b>ra"):
                    answer = server.ask("POST", path, json={"rating": "up", "comment": comment})
                    assert problem(answer, 400, "feedback-refused")["detail"] == "Spam detected"
            assert stored_feedback(hk) == []

    def test_spam_without_adapters(self, server: Server) -> None:
        """The guide's spam phrases are rejected even without text adapters."""
        answer = server.ask("POST", f"{PRODUCTION}?session_id=s", json={"rating": "up", "comment": "CASINO"})
        assert problem(answer, 400, "feedback-refused")["detail"] == "Spam detected"

    def test_the_session_is_needed(self, server: Server, hk: Harken) -> None:
        """Without a session, with several or with an empty one, nothing is stored, and the response says what is
        missing.
        """
        for query in ("", "?session_id=a&session_id=b", "?session_id="):
            document = problem(server.ask("POST", PRODUCTION + query, json={"rating": "up"}), 422, "invalid")
            assert "session_id" in document["detail"]
        assert stored_feedback(hk) == []

    @pytest.mark.parametrize(
        ("keep", "address"), [("no", None), ("plain", "127.0.0.1"), ("hashed", "16 hexadecimal digits")]
    )
    def test_what_is_kept_of_the_client(self, clock: ManualClock, keep: str, address: str | None) -> None:
        """The address or its digest, and the user agent, are stored on this endpoint if the operator enables it."""
        agent = {"user-agent": "Guide/1.0"}
        with production(clock, keep_client=keep) as (server, hk):
            for _ in range(2):
                body = {"rating": "up", "context": {"user_tier": "gold"}}
                server.post(f"{PRODUCTION}?session_id=s", body, headers=agent)
            server.post(PATH, {"rating": "up"}, headers=agent)
            first, again, other = stored_feedback(hk)
        assert other.context == {}
        assert first.context == again.context
        found = dict(first.context)
        assert found.pop("user_tier") == "gold"
        assert found.pop("user_agent", None) == ("Guide/1.0" if address else None)
        kept_address = found.pop("client_address", None)
        if keep == "hashed":
            assert isinstance(kept_address, str)
            assert len(bytes.fromhex(kept_address)) == 8
        else:
            assert kept_address == address
        assert found == {}

    def test_the_client_cannot_be_forged(self, clock: ManualClock) -> None:
        """An address or user agent in the body is ignored, even if the server knows none; a long one is truncated."""
        with production(clock, keep_client="plain") as (server, hk):
            body = {"rating": "up", "context": {"client_address": "8.8.8.8"}}
            headers = {"X-Forwarded-For": "9.9.9.9", "User-Agent": "x" * 3000}
            server.post(f"{PRODUCTION}?session_id=s", body, headers=headers)
            without = {"rating": "up", "context": {"user_agent": "forged", "tier": "gold"}}
            server.post(f"{PRODUCTION}?session_id=s", without, headers={"User-Agent": ""})
            kept = sorted((one.context for one in stored_feedback(hk)), key=len)
        assert {"client_address": "127.0.0.1", "user_agent": "x" * 200} in kept
        assert {"client_address": "127.0.0.1", "tier": "gold"} in kept

    def test_a_retry_from_another_address(self, clock: ManualClock) -> None:
        """A retry with the same key is a duplicate, from any address."""
        with production(clock, keep_client="plain", trusted_proxies=("127.0.0.1",)) as (server, hk):
            answers = [
                server.post(
                    f"{PRODUCTION}?session_id=s",
                    {"rating": "up"},
                    headers={"Idempotency-Key": "k", "X-Forwarded-For": address, "User-Agent": address},
                )
                for address in ("8.8.8.8", "9.9.9.9")
            ]
            (feedback,) = stored_feedback(hk)
        assert [answer["feedback_id"] for answer in answers] == [feedback.id] * 2
        assert feedback.context["client_address"] == "8.8.8.8"

    def test_five_a_minute(self, hk: Harken) -> None:
        """An address may use this endpoint five times a minute, for any sessions; the other endpoint is counted
        separately.
        """
        with served(hk, limit_production="5/minute") as server:
            answers = []
            for number in range(20):
                answers.append(server.ask("POST", f"{PRODUCTION}?session_id=s{number}", json={"rating": "up"}))
                if answers[-1].status_code == 429:
                    break
            # The window may end once in between.
            assert 6 <= len(answers) <= 11
            problem(answers[-1], 429, "rate-limited")
            assert len(stored_feedback(hk)) == len(answers) - 1
            server.post(PATH, {"rating": "up"})
