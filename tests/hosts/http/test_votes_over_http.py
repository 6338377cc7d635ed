"""Votes over HTTP, as a widget casts them."""

from typing import Any

import pytest
import requests

from harken import Feedback, Harken
from hosts.serving import Server, problem, stored_feedback
from support import ManualClock, in_threads

#: Many small tests, which take too long for the fast subset.
pytestmark = pytest.mark.slow

MESSAGE = "/api/sessions/s/messages/m-1/feedback"
VOTES = "/api/sessions/s/votes"


def vote(server: Server, rating: str | None, *, author: str = "kim", path: str = MESSAGE, **more: Any) -> None:
    """Cast a vote."""
    headers = more.pop("headers", {})
    answer = server.ask("PUT", path, json={"rating": rating, "author": author, **more}, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "success"


def shown(server: Server, author: str = "kim") -> list[tuple[str, str | None]]:
    """The votes of an author, as message and rating."""
    return [(one["message_id"], one["rating"]) for one in server.get(f"{VOTES}?author={author}")["votes"]]


def test_one_vote_each(server: Server, hk: Harken) -> None:
    """An author has one vote on a message: a later one replaces it, and the earlier version is kept."""
    vote(server, "up", comment="good", tags=["clear"])
    vote(server, "down", comment="wrong after all")
    vote(server, "up", author="lee")
    (mine, others) = stored_feedback(hk)
    assert (mine.author, mine.rating.value, mine.comment, mine.tags, mine.version) == (
        "kim",
        "down",
        "wrong after all",
        (),
        2,
    )
    assert [one.comment for one in mine.revisions] == ["good"]
    assert others.author == "lee"
    assert server.get("/api/sessions/s/feedback/stats")["total_feedbacks"] == 2


def test_the_same_again(server: Server, hk: Harken) -> None:
    """Casting the same vote again has no effect."""
    for _ in range(3):
        vote(server, "up", comment="good")
    assert [one.version for one in stored_feedback(hk)] == [1]


def test_withdrawn_and_cast_again(server: Server, hk: Harken) -> None:
    """A withdrawn vote is not counted or listed; withdrawing a missing vote is not an error."""
    for _ in range(2):
        assert server.ask("DELETE", f"{MESSAGE}?author=kim").status_code == 204
    vote(server, "up")
    for _ in range(2):
        assert server.ask("DELETE", f"{MESSAGE}?author=kim").status_code == 204
    assert shown(server) == []
    assert server.get("/api/sessions/s/feedback/stats")["total_feedbacks"] == 0
    vote(server, "down", comment="again")
    assert shown(server) == [("m-1", "down")]
    assert len(stored_feedback(hk)) == 1


def test_listing(server: Server, clock: ManualClock) -> None:
    """An author's votes in a session are listed oldest first, with the fields that a widget needs."""
    for number, rating in enumerate(("up", None, "up"), 1):
        vote(server, rating, path=f"/api/sessions/s/messages/m-{number}/feedback", tags=["x"])
        clock.turn(seconds=1)
    vote(server, "up", author="lee")
    assert shown(server) == [("m-1", "up"), ("m-2", None), ("m-3", "up")]
    document = server.get(f"{VOTES}?author=kim")
    assert (document["session_id"], document["author"]) == ("s", "kim")
    one = document["votes"][0]
    assert one.keys() == {
        "feedback_id",
        "message_id",
        "rating",
        "comment",
        "tags",
        "reply",
        "version",
        "updated_at",
    }
    assert server.get(f"/api/feedback/{one['feedback_id']}")["vote"] is True
    assert server.get(f"{VOTES}?author=nobody")["votes"] == []


def test_votes_on_the_session(server: Server, hk: Harken) -> None:
    """An author also has one vote on the session as a whole, which the votes on messages do not affect."""
    whole = "/api/sessions/s/feedback"
    vote(server, "up", path=whole)
    vote(server, "up")
    vote(server, "down", path=whole, tags=["slow"])
    assert sorted(shown(server), key=str) == [("m-1", "up"), (None, "down")]
    assert server.ask("DELETE", f"{whole}?author=kim").status_code == 204
    assert shown(server) == [("m-1", "up")]
    assert len(stored_feedback(hk)) == 2


def test_the_receipt(server: Server, hk: Harken) -> None:
    """The response has the id and the version of the stored vote, which do not change if it is cast again."""
    versions = []
    for rating in ("up", None, None):
        receipt = server.ask("PUT", f"{MESSAGE}?author=kim", json={"rating": rating}).json()
        (stored,) = stored_feedback(hk)
        assert receipt["feedback_id"] == stored.id
        versions.append(receipt["version"])
    assert versions == [1, 2, 2]


def test_only_the_version_that_was_seen_is_withdrawn(server: Server) -> None:
    """With If-Match, a vote that was changed meanwhile is not withdrawn; one that is gone is not an error."""
    for rating in ("up", "down"):
        vote(server, rating, tags=["slow"])
    path = f"{MESSAGE}?author=kim"
    problem(server.ask("DELETE", path, headers={"If-Match": '"1"'}), 412, "changed-meanwhile")
    assert shown(server) == [("m-1", "down")]
    for _ in range(2):
        assert server.ask("DELETE", path, headers={"If-Match": '"2"'}).status_code == 204
    assert shown(server) == []


def test_a_repeated_vote_is_marked(server: Server) -> None:
    """The response to a repeated request says so, as the vote may have been replaced since."""
    path, keyed = f"{MESSAGE}?author=kim", {"Idempotency-Key": "k"}
    first = server.ask("PUT", path, json={"rating": "up"}, headers=keyed)
    vote(server, None)
    again = server.ask("PUT", path, json={"rating": "up"}, headers=keyed)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert shown(server) == [("m-1", None)]


def test_submitted_feedback_is_not_a_vote(server: Server, hk: Harken) -> None:
    """Submitted feedback does not affect a vote of the same author on the same message."""
    server.post("/api/sessions/s/feedback", {"rating": "up", "author": "kim", "message_id": "m-1"})
    vote(server, None)
    assert len(stored_feedback(hk)) == 2
    assert shown(server) == [("m-1", None)]


def test_an_author_is_needed(server: Server, hk: Harken) -> None:
    """A vote without an author, or with two, is rejected."""
    for path, body in (
        (MESSAGE, {"rating": "up"}),
        (f"{MESSAGE}?author=kim", {"rating": "up", "author": "lee"}),
        (f"{MESSAGE}?author=kim&author=kim", {"rating": "up"}),
        (f"{MESSAGE}?author=", {"rating": "up"}),
        (f"{MESSAGE}?author=kim", {}),
    ):
        problem(server.ask("PUT", path, json=body), 422, "invalid")
    problem(server.ask("DELETE", MESSAGE), 422, "invalid")
    problem(server.ask("GET", VOTES), 422, "invalid")
    assert stored_feedback(hk) == []


def test_the_rules_hold(server: Server, hk: Harken) -> None:
    """A vote must satisfy the rules, and a rejected one does not replace the earlier one."""
    vote(server, "up")
    answer = server.ask("PUT", f"{MESSAGE}?author=kim", json={"rating": "down"})
    document = problem(answer, 400, "feedback-refused")
    assert document["detail"] == "Please provide a comment when giving negative feedback"
    assert shown(server) == [("m-1", "up")]
    assert [one.version for one in stored_feedback(hk)] == [1]


def test_idempotency_keys(server: Server, hk: Harken) -> None:
    """A repeated vote has no effect, even if another one was cast in between; its key cannot be used for another
    vote.
    """
    first, second = {"Idempotency-Key": "k-1"}, {"Idempotency-Key": "k-2"}
    vote(server, "up", headers=first)
    vote(server, None, headers=second)
    vote(server, "up", headers=first)
    vote(server, None, headers=second)
    assert shown(server) == [("m-1", None)]
    assert [one.version for one in stored_feedback(hk)] == [2]
    answer = server.ask("PUT", f"{MESSAGE}?author=kim", json={"rating": "up", "comment": "x"}, headers=second)
    problem(answer, 422, "idempotency-key-reused")


@pytest.mark.parametrize("authors", [1, 8])
def test_at_once(server: Server, hk: Harken, authors: int) -> None:
    """After concurrent votes, each author has one vote, and every response is a success."""

    def cast(number: int) -> requests.Response:
        rating = ("up", None)[number // 8 % 2]
        return server.ask("PUT", f"{MESSAGE}?author=a{number % authors}", json={"rating": rating})

    answers = in_threads([lambda number=number: cast(number) for number in range(16)])
    assert [answer.status_code for answer in answers if isinstance(answer, requests.Response)] == [200] * 16
    assert sorted(one.author or "" for one in stored_feedback(hk)) == [f"a{number}" for number in range(authors)]


def test_withdrawing_does_not_affect_another_vote(server: Server, hk: Harken, monkeypatch: pytest.MonkeyPatch) -> None:
    """Withdrawing does not affect a vote that was cast after the found one was erased."""
    vote(server, "up")
    votes = hk.collection.votes

    def votes_with_a_race(application: str, session_id: str, author: str) -> list[Feedback]:
        found = votes(application, session_id, author)
        monkeypatch.undo()
        hk.collection.erase(hk.query().in_any_state())
        vote(server, "down", comment="another one")
        return found

    monkeypatch.setattr(hk.collection, "votes", votes_with_a_race)
    assert server.ask("DELETE", f"{MESSAGE}?author=kim").status_code == 204
    assert shown(server) == [("m-1", "down")]
