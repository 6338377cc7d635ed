"""Isolation within an application: keys limited to agents, tokens with a fixed agent or context, idempotency keys of
authors, and hidden moderators.
"""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from attrs import frozen

import harken
from harken import Feedback, FeedbackQuery, Harken, Moderation, ModerationStatus, Scope, Target
from harken.clock import utc_now
from harken.ports.storage import Storage
from harken.testing import a_key, an_alert
from harken_adapters.hosts.fastapi import SessionTokens
from harken_adapters.hosts.http.guards import access
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.storage import memory
from hosts.serving import OPEN, Server, call_operation, problem, served, stored_feedback

pytestmark = pytest.mark.slow

SECRET = "a secret that is long enough for HS256"
TOKENS = SessionTokens([SECRET], clock=utc_now)
PATH = "/api/sessions/s/feedback"
VOTE = "/api/sessions/s/messages/m/feedback"
UP = {"rating": "up"}

#: The access of API keys that are limited to agents. A new operation must be added to one of these sets, and rejects
#: such keys until its definition allows them.
FOR_AGENTS = {
    "submit_feedback",
    "submit_feedback_in_production",
    "set_vote",
    "withdraw_vote",
    "set_session_vote",
    "withdraw_session_vote",
    "list_votes",
    "list_session_feedback",
    "session_stats",
    "list_feedback",
    "get_feedback",
    "change_feedback",
    "withdraw_feedback",
    "moderation_queue",
    "moderation_waiting",
    "moderation_decisions",
    "moderate_many",
    "undo_many",
    "preview_decisions",
    "review_feedback",
    "moderate_feedback",
    "undo_moderation",
    "analytics_summary",
    "analytics_trend",
    "analytics_themes",
    "analytics_sentiment",
    "analytics_compare",
    "analytics_groups",
    "analytics_heat_map",
    "analytics_changes",
    "analytics_headline",
    "analytics_reasons",
    "analytics_ranking",
    "analytics_facets",
    "export_feedback",
    "erase_feedback",
    "watch_events",
    "list_keys",
    "create_key",
    "revoke_key",
}
NOT_FOR_AGENTS = {
    "moderation_rules",
    "get_metadata",
    "update_metadata",
    "delete_metadata",
    "list_alerts",
    "get_alert",
    "list_channels",
    "switch_channel_on",
    "switch_channel_off",
    "list_routes",
    "put_route",
    "dry_run_route",
    "delete_route",
    "list_deliveries",
    "summarize_deliveries",
    "get_delivery",
    "replay_delivery",
    "replay_deliveries",
}
BY_NAME = {operation.name: operation for operation in OPERATIONS}


def bearing(credential: str) -> dict[str, str]:
    """The Authorization header for a credential."""
    return {"Authorization": f"Bearer {credential}"}


@frozen
class Shop:
    """A Harken with feedback about two agents and about none, and a server that requires keys or tokens."""

    hk: Harken
    storage: Storage
    server: Server
    mine: Feedback
    other: Feedback
    without_agent: Feedback

    def key(self, *agents: str, scopes: Any = (Scope.ADMIN,)) -> dict[str, str]:
        """The Authorization header of a new key that is limited to these agents."""
        return bearing(self.hk.keys.create("default", scopes, agents=agents).text)


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A :class:`Shop` in memory."""
    settings = {**OPEN, "access": "keys", "token_secrets": (SECRET,)}
    with memory.open_storage("memory://") as storage, harken.connect(storage) as hk, served(hk, **settings) as server:
        mine, other, without_agent = (
            hk.submit("s", "down", f"{agent} slow", agent_id=agent, author="ann", tags=["t"], context={"c": 1}).feedback
            for agent in ("mine", "other", None)
        )
        alert = an_alert()
        storage.alerts.add(alert, alert.event())
        storage.keys.add(a_key("0123456789abcdef", agents=frozenset({"mine"})))
        hk.sessions.update("default", "s", {"tier": "pro"})
        yield Shop(hk, storage, server, mine, other, without_agent)


def _shown(answer: requests.Response) -> str:
    with answer:
        return answer.text


class TestKeysForAgents:
    def test_each_operation_is_covered(self) -> None:
        """For every operation, it is decided whether such a key may call it."""
        assert set(BY_NAME) == FOR_AGENTS | NOT_FOR_AGENTS
        assert {operation.name for operation in OPERATIONS if operation.agent_keys} == FOR_AGENTS

    @pytest.mark.parametrize("name", sorted(NOT_FOR_AGENTS))
    def test_shared_data_is_rejected(self, shop: Shop, name: str) -> None:
        """Operations on data that agents share are rejected, for any scopes of the key."""
        answer = call_operation(shop.server, BY_NAME[name], shop.mine.id, headers=shop.key("mine"))
        assert "limited to the agents 'mine'" in problem(answer, 403, "forbidden")["detail"]
        assert shop.hk.sessions.get("default", "s") == {"tier": "pro"}

    @pytest.mark.parametrize("name", sorted(FOR_AGENTS - {"watch_events", "erase_feedback"}))
    def test_other_feedback_is_not_found(self, shop: Shop, name: str) -> None:
        """With every other operation, feedback about another agent or about none is not found."""
        before = [one for one in stored_feedback(shop.hk) if one.agent_id != "mine"]
        for one in (shop.other, shop.without_agent):
            answer = call_operation(shop.server, BY_NAME[name], one.id, headers=shop.key("mine"))
            shown = _shown(answer)
            assert answer.status_code < 500
            assert "other slow" not in shown
            assert "None slow" not in shown
            if "feedback_id" in BY_NAME[name].path:
                unknown = call_operation(shop.server, BY_NAME[name], "unknown", headers=shop.key("mine"))
                details = [problem(each, 404, "not-found")["detail"] for each in (answer, unknown)]
                assert details[0].replace(one.id, "unknown") == details[1]
        assert [one for one in stored_feedback(shop.hk) if one.agent_id != "mine"] == before

    @pytest.mark.parametrize("name", sorted(FOR_AGENTS - {"watch_events", "undo_moderation"}))
    def test_feedback_about_the_agent(self, shop: Shop, name: str) -> None:
        """With a key for one agent, all operations work on feedback about that agent, which need not be named."""
        answer = call_operation(shop.server, BY_NAME[name], shop.mine.id, headers=shop.key("mine"))
        assert answer.status_code < 300, answer.text

    def test_readings_are_of_feedback_about_the_agent(self, shop: Shop) -> None:
        """A page has the readings of its own entries only."""
        page = shop.server.get("/api/feedback?reading=true", headers=shop.key("mine"))
        assert page["readings"].keys() == {shop.mine.id}
        whole = bearing(shop.hk.keys.create("default", (Scope.READ,)).text)
        assert len(shop.server.get("/api/feedback?reading=true", headers=whole)["readings"]) == 3

    @pytest.mark.parametrize(
        "path",
        [
            "/api/feedback",
            "/api/export",
            PATH,
            f"{PATH}/stats",
            "/api/moderation/queue",
            "/api/analytics/summary",
            "/api/analytics/trend",
            "/api/analytics/themes",
            "/api/analytics/sentiment",
            "/api/analytics/compare?since=2026-03-01",
            "/api/analytics/groups",
            "/api/analytics/heat-map",
            "/api/analytics/changes",
            "/api/analytics/headline",
            "/api/analytics/reasons",
            "/api/analytics/ranking",
        ],
    )
    def test_lists_are_of_all_their_agents(self, shop: Shop, path: str) -> None:
        """With a key for several agents, lists and statistics are those of all of them, or of some that are named."""
        headers, whole = shop.key("mine", "third"), bearing(shop.hk.keys.create("default", [Scope.ADMIN]).text)
        about = f"{path}{'&' if '?' in path else '?'}agent_id="
        for named in ("other", "", "mine&agent_id=other"):
            detail = problem(shop.server.ask("GET", f"{about}{named}", headers=headers), 403, "forbidden")["detail"]
            assert "limited to the agents 'mine', 'third'" in detail
        for limited, named in ((path, "mine&agent_id=third"), (f"{about}mine", "mine")):
            answer = shop.server.ask("GET", limited, headers=headers)
            assert answer.status_code == 200
            assert "other slow" not in answer.text
            assert answer.text == shop.server.ask("GET", f"{about}{named}", headers=whole).text
        answer = shop.server.ask("GET", f"{about}other", headers=shop.key("mine"))
        assert "got agent_id 'other'" in problem(answer, 403, "forbidden")["detail"]

    def test_comparisons(self, shop: Shop) -> None:
        """Neither side of a comparison can be about another agent."""
        for side in ("before", "after"):
            answer = shop.server.ask(
                "GET", f"/api/analytics/compare?{side}.agent_id=other", headers=shop.key("mine", "third")
            )
            problem(answer, 403, "forbidden")

    def test_agents_of_a_comparison(self, shop: Shop) -> None:
        """The agents that are new do not include any that the key is not for."""
        path = "/api/analytics/compare?before.context.version=1&after.context.version=2"
        for agent in ("mine", "other"):
            shop.hk.submit("s", "up", agent_id=agent, context={"version": "2"})
        whole = bearing(shop.hk.keys.create("default", (Scope.READ,)).text)
        for headers, agents in ((shop.key("mine"), ["mine"]), (whole, ["mine", "other"])):
            assert shop.server.get(path, headers=headers)["mix"]["new"] == agents

    def test_facets(self, shop: Shop) -> None:
        """The values to filter by are those of feedback about the agent only."""
        whole = bearing(shop.hk.keys.create("default", (Scope.READ,)).text)
        for headers, agents in ((shop.key("mine"), {"mine"}), (whole, {"mine", "other"})):
            found = shop.server.get("/api/analytics/facets", headers=headers)["agents"]
            assert {one["value"] for one in found} == agents
        for named in ("other", "", "mine&agent_id=other"):
            answer = shop.server.ask(
                "GET", f"/api/analytics/facets?agent_id={named}", headers=shop.key("mine", "third")
            )
            assert "limited to the agents 'mine', 'third'" in problem(answer, 403, "forbidden")["detail"]

    def test_themes(self, shop: Shop) -> None:
        """Themes, and their examples, are found in feedback about the agent only."""
        for topic in ("luggage", "refund", "wifi", "seat", "food"):
            for agent in ("mine", "other"):
                for number in range(9 if agent == "mine" else 12):
                    shop.hk.submit(f"{topic}-{number}", "down", f"The {topic} of {agent}", agent_id=agent)
        answer = shop.server.ask("GET", "/api/analytics/themes", headers=shop.key("mine", scopes=["read"]))
        assert [one["count"] for one in answer.json()["themes"]] == [9] * 5
        assert "of other" not in answer.text

    def test_statistics(self, shop: Shop) -> None:
        """Totals, groups and trends count only feedback about the agent."""
        headers = shop.key("mine")
        assert shop.server.get(f"{PATH}/stats", headers=headers)["total_feedbacks"] == 1
        assert shop.server.get("/api/analytics/summary", headers=headers)["total_feedbacks"] == 1
        groups = shop.server.get("/api/analytics/summary?by=agent", headers=headers)["groups"]
        assert [(group["key"], group["total_feedbacks"]) for group in groups] == [("mine", 1)]
        points = shop.server.get("/api/analytics/trend", headers=headers)["points"]
        assert [point["total_feedbacks"] for point in points] == [1]
        assert [
            row["id"]
            for row in map(json.loads, shop.server.ask("GET", "/api/export", headers=headers).text.splitlines())
        ] == [shop.mine.id]

    @pytest.mark.parametrize("path", [PATH, "/api/feedback?session_id=s"])
    def test_feedback_is_given_about_their_agents_only(self, shop: Shop, path: str) -> None:
        """The only agent is the default; of several, one must be named; any other is rejected."""
        one, several = shop.key("mine"), shop.key("mine", "third")
        made = shop.server.post(path, UP, headers=one)["feedback_id"]
        assert shop.hk.collection.get("default", made).agent_id == "mine"
        made = shop.server.post(path, {**UP, "agent_id": "third"}, headers=several)["feedback_id"]
        assert shop.hk.collection.get("default", made).agent_id == "third"
        before = stored_feedback(shop.hk)
        for headers, named in ((several, None), (one, "other"), (several, "other"), (one, ["mine"]), (one, "")):
            answer = shop.server.ask("POST", path, json={**UP, "agent_id": named}, headers=headers)
            problem(answer, 403, "forbidden")
        assert stored_feedback(shop.hk) == before

    def test_votes_about_another_agent(self, shop: Shop) -> None:
        """A vote about another agent can neither be replaced, which would reveal its content, nor withdrawn, nor
        listed.
        """
        headers = shop.key("mine")
        for agent in ("other", None):
            vote = shop.hk.collection.set_vote(Target("s", "m", agent), "ann", "down", f"private {agent}").feedback
            answer = shop.server.ask("PUT", f"{VOTE}?author=ann", json=UP, headers=headers)
            detail = problem(answer, 403, "forbidden")["detail"]
            assert detail == "This API key cannot replace the author's vote on this message"
            assert shop.server.ask("DELETE", f"{VOTE}?author=ann", headers=headers).status_code == 204
            assert shop.server.get("/api/sessions/s/votes?author=ann", headers=headers)["votes"] == []
            assert shop.hk.collection.get("default", vote.id) == vote
            shop.hk.collection.erase(FeedbackQuery(feedback_id=vote.id))
        assert shop.server.ask("PUT", f"{VOTE}?author=bob", json=UP, headers=headers).status_code == 200
        assert shop.server.get("/api/sessions/s/votes?author=bob", headers=headers)["votes"]
        assert shop.server.ask("DELETE", f"{VOTE}?author=bob", headers=headers).status_code == 204
        assert shop.server.get("/api/sessions/s/votes?author=bob", headers=headers)["votes"] == []

    @pytest.mark.parametrize("condition", ["session_id", "author", "feedback_id"])
    def test_they_erase_their_agents_feedback_only(self, shop: Shop, condition: str) -> None:
        """Erasing a session or author keeps feedback about other agents, and the session's metadata."""
        third = shop.hk.submit("s", "up", agent_id="third", author="ann").feedback
        values = {"session_id": "s", "author": "ann", "feedback_id": shop.mine.id}
        headers = shop.key("mine", "third")
        body = {condition: values[condition]}
        erased = shop.server.post("/api/erasures", body, status=200, headers=headers)["erased"]
        left = [shop.other, shop.without_agent] + ([third] if condition == "feedback_id" else [])
        assert (stored_feedback(shop.hk), erased) == (left, 4 - len(left))
        answered = shop.server.post("/api/erasures", {"feedback_id": shop.other.id}, status=200, headers=headers)
        assert answered["erased"] == 0
        assert shop.hk.sessions.get("default", "s") == {"tier": "pro"}

    def test_they_decide_on_their_agents_feedback(self, shop: Shop) -> None:
        """Approving, rejecting and undoing work on feedback about the agent only."""
        headers = shop.key("mine", scopes=["moderate"])
        path = f"/api/feedback/{shop.mine.id}/moderation"
        assert shop.server.post(path, {"status": "rejected"}, status=200, headers=headers)["status"] == "rejected"
        assert shop.server.post(f"{path}/undo", {}, status=200, headers=headers)["status"] == "approved"

    def test_they_watch_their_agents_feedback(self, shop: Shop) -> None:
        """The event stream has events of feedback about the agents, and neither other feedback nor alerts."""
        with shop.server.ask("GET", "/api/events", headers=shop.key("mine", "third"), stream=True) as stream:
            lines = stream.iter_lines(decode_unicode=True)
            assert next(lines).startswith("retry")
            shop.hk.submit("s", "up", agent_id="other")
            shop.hk.submit("s", "up")
            shop.hk.collection.reply("default", shop.other.id, "private")
            alert = an_alert("another", raised_at=utc_now())
            shop.storage.alerts.add(alert, alert.event())
            last = shop.hk.submit("s", "up", agent_id="third").feedback
            line = next(line for line in lines if line.startswith("data:"))
        assert json.loads(line.removeprefix("data:"))["data"]["id"] == last.id

    def test_they_see_all_their_agents(self, shop: Shop) -> None:
        """Without an agent in the request, a key for several agents sees each of them, and nothing else."""
        third = shop.hk.submit("s", "down", "third slow", agent_id="third").feedback
        headers = shop.key("mine", "third")
        found = [one["id"] for one in shop.server.get("/api/feedback", headers=headers)["feedbacks"]]
        assert found == [third.id, shop.mine.id]
        groups = shop.server.get("/api/analytics/summary?by=agent", headers=headers)["groups"]
        assert {one["key"]: one["total_feedbacks"] for one in groups} == {"mine": 1, "third": 1}

    def test_a_key_without_agents_sees_all(self, shop: Shop) -> None:
        """Keys that are not limited see everything."""
        headers = bearing(shop.hk.keys.create("default", [Scope.ADMIN]).text)
        assert len(shop.server.get("/api/feedback", headers=headers)["feedbacks"]) == 3
        assert shop.server.get(f"/api/feedback/{shop.without_agent.id}", headers=headers)["agent_id"] is None


FORMER = ModerationStatus.PENDING, ModerationStatus.APPROVED


class TestVotesThatWereAboutAnotherAgent:
    """A vote can change to a key's agent: the key then sees the current version, and nothing of earlier ones."""

    @pytest.fixture(params=FORMER)
    def moved(self, shop: Shop, request: pytest.FixtureRequest) -> Feedback:
        """A vote that was about another agent, with a reply and decisions, and is now about ``mine``."""
        collection, decide = shop.hk.collection, shop.hk.moderation.decide
        secret = {"tags": ["SECRET"], "context": {"note": "SECRET"}, "idempotency_key": "SECRET"}
        vote = collection.set_vote(Target("s", "m", "other"), "a", "down", "SECRET", **secret).feedback
        collection.set_vote(Target("s", "m", "other"), "a", "down", "SECRET again", idempotency_key="SECRET 2")
        collection.reply("default", vote.id, "SECRET reply")
        for status in FORMER[: FORMER.index(request.param) + 1]:
            decide("default", vote.id, status, moderator="SECRET Sam", reason="SECRET reason")
        return collection.set_vote(Target("s", "m", "mine"), "a", "down", "about mine").feedback

    @pytest.mark.parametrize("name", sorted(FOR_AGENTS - {"watch_events"}))
    def test_earlier_versions_are_hidden(self, shop: Shop, moved: Feedback, name: str) -> None:
        """No operation shows earlier content, replies, moderators or reasons, or anything derived from them."""
        secrets = ("SECRET", moved.fingerprint, moved.later_keys[0][1])
        state = "" if "status" not in BY_NAME[name].filters else "status=any"
        if name == "moderation_queue":
            state = ""
        answer = call_operation(shop.server, BY_NAME[name], moved.id, headers=shop.key("mine"), query=state)
        shown = _shown(answer)
        assert answer.status_code < 300 or name == "undo_moderation", shown
        assert not [secret for secret in secrets if secret in shown]
        if "{feedback_id}" in BY_NAME[name].path and answer.status_code == 200:
            assert moved.id in shown

    def test_events_hide_earlier_versions(self, shop: Shop, moved: Feedback) -> None:
        """Events show the feedback as the key sees it elsewhere."""
        headers = shop.key("mine")
        with shop.server.ask("GET", "/api/events", headers=headers, stream=True) as stream:
            lines = stream.iter_lines(decode_unicode=True)
            assert next(lines).startswith("retry")
            shop.hk.collection.reply("default", moved.id, "about mine, too")
            line = next(line for line in lines if line.startswith("data:"))
        assert "SECRET" not in line
        shown = shop.server.get(f"/api/feedback/{moved.id}", headers=headers)
        assert json.loads(line.removeprefix("data:"))["data"] == shown
        assert (shown["reply"], shown["revisions"]) == ("about mine, too", [])

    def test_unlimited_keys_see_the_history(self, shop: Shop, moved: Feedback) -> None:
        """A key that is not limited sees the complete history, and so do all keys for feedback that is not a vote."""
        everything = bearing(shop.hk.keys.create("default", ["read"]).text)
        revisions = shop.server.get(f"/api/feedback/{moved.id}", headers=everything)["revisions"]
        assert [one["comment"] for one in revisions] == ["SECRET", "SECRET again"]
        headers, path = shop.key("mine"), f"/api/feedback/{shop.mine.id}"
        changed = shop.server.ask("PATCH", path, json={"comment": "else"}, headers=headers).json()
        assert [one["comment"] for one in changed["revisions"]] == ["mine slow"]

    def test_decisions_are_reduced_to_their_status(self, shop: Shop, moved: Feedback) -> None:
        """A vote about another agent cannot approve itself, and keeps no notes of earlier decisions."""
        stored = shop.hk.collection.get("default", moved.id)
        assert stored.moderation.status in FORMER
        assert stored.moderation == Moderation(status=stored.moderation.status)
        assert stored.reply is None

    def test_a_retry_does_not_show_the_reply_to_another_vote(self, shop: Shop) -> None:
        """A retry of a vote that was replaced by one about another agent gets a response without a reply."""
        headers = {**shop.key("mine"), "Idempotency-Key": "k"}
        assert shop.server.ask("PUT", f"{VOTE}?author=a", json=UP, headers=headers).status_code == 200
        vote = shop.hk.collection.set_vote(Target("s", "m", "other"), "a", "up", "SECRET").feedback
        shop.hk.collection.reply("default", vote.id, "SECRET")
        again = shop.server.ask("PUT", f"{VOTE}?author=a", json=UP, headers=headers)
        assert again.status_code == 200
        assert again.json().keys() == {"status", "message", "feedback_id"}

    def test_after_a_withdrawn_vote(self, shop: Shop) -> None:
        """After a withdrawn vote about another agent, its author can vote again; earlier content stays hidden."""
        vote = shop.hk.collection.set_vote(Target("s", "m", "other"), "a", "down", "SECRET").feedback
        shop.hk.collection.withdraw("default", vote.id)
        headers = shop.key("mine")
        assert shop.server.ask("PUT", f"{VOTE}?author=a", json=UP, headers=headers).status_code == 200
        (shown,) = shop.server.get("/api/feedback?author=a", headers=headers)["feedbacks"]
        assert (shown["agent_id"], shown["comment"], shown["revisions"]) == ("mine", "", [])


class CutIn:
    """A clock that calls ``happen`` once, in the middle of another call."""

    def __init__(self) -> None:
        self.happen: Callable[[], object] | None = None

    def __call__(self) -> datetime:
        """The current time."""
        happen, self.happen = self.happen, None
        if happen:
            happen()
        return utc_now()


@pytest.mark.parametrize("storage", ["memory", "sqlite", "mongodb"])
@pytest.mark.parametrize(
    "name",
    ["set_vote", "withdraw_vote", "change_feedback", "withdraw_feedback", "moderate_feedback", "undo_moderation"],
)
class TestVotesThatChangeTheirAgent:
    def test_concurrent_changes(
        self, storage: str, name: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A vote that changes to another agent at the last moment is neither changed nor shown."""
        urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/f.db"}
        url = urls.get(storage) or request.getfixturevalue("mongodb_url")
        # The key is cached first, so that its lookup does not trigger the clock.
        monkeypatch.setattr(access, "TRUSTED_FOR", 3_600.0)
        clock = CutIn()
        with harken.connect(url, clock=clock) as hk, served(hk, access="keys") as server:
            headers = bearing(hk.keys.create("default", ["admin"], agents=["mine"]).text)
            set_vote = hk.collection.set_vote
            vote = set_vote(Target("s", "m", "mine"), "a", "up", "about mine").feedback
            for status in FORMER:
                hk.moderation.decide("default", vote.id, status)
            assert len(server.get("/api/feedback", headers=headers)["feedbacks"]) == 1
            clock.happen = lambda: set_vote(Target("s", "m", "other"), "a", "down", "SECRET")
            answer = call_operation(server, BY_NAME[name], vote.id, headers=headers)
            assert clock.happen is None
            if name == "set_vote":
                problem(answer, 403, "forbidden")
            elif name == "withdraw_vote":
                assert answer.status_code == 204
            else:
                problem(answer, 404, "not-found")
            assert "SECRET" not in answer.text
            (left,) = stored_feedback(hk)
            assert (left.agent_id, left.comment, left.withdrawn, left.version) == ("other", "SECRET", False, 4)


class TestIdempotencyKeysOfAgents:
    @pytest.mark.parametrize("limited_first", [True, False])
    def test_a_key_for_another_agent_is_a_key_of_its_own(self, shop: Shop, limited_first: bool) -> None:
        """With keys limited to agents, an idempotency key of another agent is neither revealed nor a conflict, and
        retries work.
        """
        sent = [
            ({**shop.key("mine"), "Idempotency-Key": "k"}, {**UP, "author": "a"}),
            ({**shop.key("mine", "third"), "Idempotency-Key": "k"}, {**UP, "author": "a", "agent_id": "third"}),
            ({**free_key(shop), "Idempotency-Key": "k"}, {**UP, "author": "a", "agent_id": "other"}),
        ]
        if not limited_first:
            sent.reverse()
        answers = [shop.server.ask("POST", PATH, json=body, headers=headers) for headers, body in sent]
        assert [answer.status_code for answer in answers] == [201] * 3
        assert not any("idempotency-replayed" in answer.headers for answer in answers)
        assert len({answer.json()["feedback_id"] for answer in answers}) == 3
        for (headers, body), first in zip(sent, answers, strict=True):
            again = shop.server.ask("POST", PATH, json=body, headers=headers)
            assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
            other = shop.server.ask("POST", PATH, json={**body, "comment": "else"}, headers=headers)
            assert "k" in problem(other, 422, "idempotency-key-reused")["detail"]

    @pytest.mark.parametrize("limited_first", [True, False])
    def test_votes(self, shop: Shop, limited_first: bool) -> None:
        """Idempotency keys of votes are separate for each agent too, for first votes and replacements."""
        sent = [(shop.key("mine"), {**UP, "agent_id": "mine"}, "m"), (free_key(shop), {**UP, "agent_id": "other"}, "o")]
        for rating in ("up", None):
            for headers, body, message in sent if limited_first else reversed(sent):
                path = f"/api/sessions/s/messages/{message}/feedback?author=a"
                for _ in range(2):
                    keyed = {**headers, "Idempotency-Key": f"k {rating}"}
                    answer = shop.server.ask("PUT", path, json={**body, "rating": rating}, headers=keyed)
                    assert answer.status_code == 200, answer.text
        assert [one.version for one in stored_feedback(shop.hk) if one.vote] == [2, 2]

    @pytest.mark.parametrize("key", ["", " ", "k" * 201, "mine \u2192 k"])
    def test_a_key_that_is_invalid_is_refused(self, shop: Shop, key: str) -> None:
        """An empty or too long key, or one with the separator of agents, is rejected with any API key."""
        for headers in (shop.key("mine"), free_key(shop)):
            sent = {**headers, "Idempotency-Key": f'"{key}"'.encode()}
            problem(shop.server.ask("POST", PATH, json=UP, headers=sent), 422, "invalid")


def free_key(shop: Shop) -> dict[str, str]:
    """The Authorization header of a key that is not limited to agents."""
    return bearing(shop.hk.keys.create("default", ["submit"]).text)


class TestTokensWithFixedFields:
    @pytest.mark.parametrize(
        ("method", "path"), [("POST", PATH), ("POST", "/api/feedback?session_id=s"), ("PUT", VOTE)]
    )
    def test_the_agent(self, shop: Shop, method: str, path: str) -> None:
        """Feedback is about the token's agent, even if the page names none, and another agent is rejected."""
        headers = bearing(TOKENS.mint(session_id="s", author="kim", agent="mine"))
        for body in (UP, {**UP, "comment": "Thanks", "agent_id": "mine"}):
            assert shop.server.ask(method, path, json=body, headers=headers).status_code < 300
        before = stored_feedback(shop.hk)
        assert {one.agent_id for one in before if one.author == "kim"} == {"mine"}
        for named in ("other", "", ["mine"], 1):
            answer = shop.server.ask(method, path, json={**UP, "agent_id": named}, headers=headers)
            problem(answer, 403, "forbidden")
        assert stored_feedback(shop.hk) == before

    @pytest.mark.parametrize(
        ("method", "path"), [("POST", PATH), ("POST", "/api/feedback?session_id=s"), ("PUT", VOTE)]
    )
    @pytest.mark.parametrize("fixed", [{"tier": "pro", "seats": 1}, {}])
    def test_the_context(self, shop: Shop, method: str, path: str, fixed: dict[str, Any]) -> None:
        """Feedback has exactly the token's context, even if the page sends none."""
        headers = bearing(TOKENS.mint(session_id="s", author="kim", context=fixed))
        for body in (UP, {**UP, "comment": "Thanks", "context": fixed}, {"rating": None, "context": {}}):
            assert shop.server.ask(method, path, json=body, headers=headers).status_code < 300
        before = stored_feedback(shop.hk)
        assert all(one.context == fixed for one in before if one.author == "kim")
        for named in ({"tier": "free"}, {"seats": True}, {"seats": 1.0}, {**fixed, "more": None}, [], "x", None):
            answer = shop.server.ask(method, path, json={**UP, "context": named}, headers=headers)
            problem(answer, 403, "forbidden")
        assert stored_feedback(shop.hk) == before

    def test_the_context_of_changes(self, shop: Shop) -> None:
        """A page can change the content of feedback, but not its context."""
        free = bearing(TOKENS.mint(session_id="s", author="kim"))
        fixed = bearing(TOKENS.mint(session_id="s", author="kim", context={"tier": "pro"}))
        made = shop.server.post(PATH, {**UP, "context": {"tier": "free"}}, headers=free)["feedback_id"]
        path = f"/api/feedback/{made}"
        changed = shop.server.ask("PATCH", path, json={"comment": "Thanks"}, headers=fixed).json()
        assert (changed["comment"], changed["context"]) == ("Thanks", {"tier": "free"})
        problem(shop.server.ask("PATCH", path, json={"context": {"tier": "free"}}, headers=fixed), 403, "forbidden")
        changed = shop.server.ask("PATCH", path, json={"context": {"tier": "pro"}}, headers=fixed).json()
        assert changed["context"] == {"tier": "pro"}
        assert shop.server.ask("PATCH", path, json={"context": {"a": 1}}, headers=free).json()["context"] == {"a": 1}

    def test_a_retry_is_a_duplicate(self, shop: Shop) -> None:
        """The token's fields are part of the body, so a retry with a later token is a duplicate."""
        fixed = {"session_id": "s", "author": "kim", "agent": "mine", "context": {"tier": "pro"}}
        made = [
            shop.server.post(PATH, UP, headers={**bearing(TOKENS.mint(**fixed)), "Idempotency-Key": "k"})
            for _ in range(2)
        ]
        assert made[0] == made[1]


class TestIdempotencyKeysOfAuthors:
    def test_another_author_cannot_claim_a_key(self, shop: Shop) -> None:
        """Guessing a key neither returns the feedback nor reveals that the key is used, nor blocks its author."""
        people = [TOKENS.mint(session_id="s", author=author) for author in ("kim", "lou")]
        people.append(shop.hk.keys.create("default", ["submit"]).text)
        headers = [{**bearing(credential), "Idempotency-Key": "k"} for credential in people]
        answers = [
            shop.server.ask("POST", PATH, json={"rating": rating}, headers=each)
            for each, rating in zip(headers, ("up", None, "up"), strict=True)
        ]
        assert [answer.status_code for answer in answers] == [201] * 3
        assert not any("idempotency-replayed" in answer.headers for answer in answers)
        assert len({answer.json()["feedback_id"] for answer in answers}) == 3
        again = shop.server.ask("POST", PATH, json=UP, headers=headers[0])
        assert (again.json(), again.headers["idempotency-replayed"]) == (answers[0].json(), "true")
        vote = shop.server.ask("PUT", VOTE, json=UP, headers=headers[1])
        problem(vote, 422, "idempotency-key-reused")

    @pytest.mark.parametrize("author", [["kim"], {"a": 1}, 7])
    def test_an_author_that_is_not_text_is_refused(self, shop: Shop, author: object) -> None:
        """A body with a key is validated by the rules like any other."""
        headers = {**bearing(shop.hk.keys.create("default", ["submit"]).text), "Idempotency-Key": "k"}
        problem(shop.server.ask("POST", PATH, json={**UP, "author": author}, headers=headers), 422, "invalid")


class TestAuthorsView:
    def test_the_moderator_and_reason_are_hidden(self, shop: Shop) -> None:
        """Responses to session tokens have at most the moderation status, before and after every decision."""
        headers = bearing(TOKENS.mint(session_id="s", author="kim"))
        keyed = {**headers, "Idempotency-Key": "k"}
        made = shop.server.post(PATH, UP, headers=keyed)["feedback_id"]
        shop.server.ask("PUT", VOTE, json=UP, headers=headers)
        for one in stored_feedback(shop.hk):
            if one.author == "kim":
                decide = shop.hk.moderation.decide
                decide("default", one.id, ModerationStatus.PENDING, moderator="Secret Sam", reason="secret note")
        answers = [
            call_operation(
                shop.server, operation, made, headers=keyed if operation.gives_feedback else headers, query=query
            )
            for operation in OPERATIONS
            if operation.tokens
            for query in [""]
        ]
        assert len(answers) >= 8
        for answer in answers:
            assert "ecret" not in answer.text
            assert "decided_at" not in answer.text
        shown = shop.server.get(f"/api/feedback/{made}", headers=headers)
        assert (shown["status"], shown["moderation"]) == ("pending", None)

    def test_a_key_for_submitting_gets_the_authors_view(self, shop: Shop) -> None:
        """A key with the scope ``submit`` gets the author's view, unless it also has ``read``."""
        shop.hk.moderation.decide("default", shop.mine.id, ModerationStatus.PENDING, moderator="Sam", reason="note")
        path = f"/api/feedback/{shop.mine.id}"
        for scopes, shown in ((["submit"], None), (["submit", "read"], "Sam"), (["admin"], "Sam")):
            headers = bearing(shop.hk.keys.create("default", scopes).text)
            changed = shop.server.ask("PATCH", path, json={"comment": f"{scopes}"}, headers=headers).json()
            assert (changed["moderation"] or {}).get("moderator") == shown
