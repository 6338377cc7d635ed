"""The operations of the API over HTTP give the same results as the library."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import quote

import pytest
import requests

import harken
from harken import GroupBy, Harken, ModerationStatus, Period, Rating, Receipt, Summary
from harken.testing.builders import with_content
from harken_adapters.charts.comparison import ranking_sentence
from harken_adapters.charts.headline import headline_details, headline_title
from harken_adapters.formats.exporting import WRITERS, write_all
from harken_adapters.formats.statistics import WEEKDAYS
from hosts.serving import Server, problem, served, stored_feedback
from services.learning import decided, pending, rated
from support import NOON, PATIENCE, ManualClock, a_feedback, a_submission, in_threads

#: Many small tests, which take too long for the fast subset.
pytestmark = pytest.mark.slow

PATH = "/api/sessions/s/feedback"
AGENTS = ("helper", "clerk", None)


@pytest.fixture
def many(hk: Harken, clock: ManualClock) -> list[str]:
    """The ids of varied feedback on several sessions and days, oldest first."""
    return filled(hk, clock)


@pytest.fixture(scope="module")
def measured() -> Iterator[tuple[Harken, Server]]:
    """A Harken with the same feedback, which no test changes, and its server."""
    clock = ManualClock()
    with harken.connect("memory://", clock=clock) as hk, served(hk) as server:
        filled(hk, clock)
        yield hk, server


def filled(hk: Harken, clock: ManualClock) -> list[str]:
    """Submit varied feedback on several sessions and days; returns the ids, oldest first."""
    ids = []
    for number in range(60):
        rating = ("up", "down", None, "up")[number % 4]
        receipt = hk.submit(
            f"s-{number % 5}",
            rating,
            f"It is slow, number {number}" if number % 3 else ("unclear" if rating == "down" else ""),
            agent_id=AGENTS[number % 3],
            author=f"a-{number % 7}",
            tags=["fast", "clear"][: number % 3],
            context={"tier": ("gold", "none")[number % 2]},
        )
        ids.append(receipt.feedback.id)
        clock.turn(hours=5, minutes=7)
    hk.collection.withdraw("default", ids[7])
    hk.moderation.decide("default", ids[8], "rejected", moderator="kim")
    hk.moderation.decide("default", ids[9], "pending", moderator="kim")
    return ids


def statistics_of(summary: Summary) -> dict[str, Any]:
    """Some values of a summary, with the names and rounding of the API. Averages of nothing are null."""
    return {
        "total_feedbacks": summary.total,
        "positive": summary.positive,
        "negative": summary.negative,
        "neutral": summary.neutral,
        "satisfaction_score": round(summary.satisfaction, 1) if summary.decided else None,
        "quality_score": round(summary.quality, 1) if summary.total else None,
        "average_comment_length": round(summary.average_comment_length, 1) if summary.total else None,
        "comments": summary.comments,
        "comment_characters": summary.comment_characters,
        "sentiments": summary.sentiments,
        "by_hour": list(summary.by_hour),
    }


def shown(document: dict[str, Any]) -> dict[str, Any]:
    """The same values of a response."""
    return {name: document[name] for name in statistics_of(Summary())}


@pytest.mark.usefixtures("in_kathmandu")
@pytest.mark.parametrize("path", ["/api/feedback", "/api/analytics/summary", "/api/export"])
def test_a_time_without_a_zone_is_in_utc(server: Server, hk: Harken, path: str) -> None:
    """``since`` and ``until`` without a time zone are in UTC, in any zone of the server, as on the command line."""
    hk.submit("s", "up", "here it is")

    def found(**span: str) -> str:
        answer = server.ask("GET", path, params=span)
        assert answer.status_code == 200
        return answer.text

    noon, later = "2026-03-04T12:00", "2026-03-04T12:01"
    assert found(since=noon, until=later) == found(since=f"{noon}Z", until=f"{later}Z")
    assert found(since=noon, until=later) == found(since="2026-03-04T17:45+05:45", until="2026-03-04T17:46+05:45")
    assert found(since=noon, until=later) != found(since=later) == found(until=noon)


@pytest.mark.parametrize("path", ["trend", "heat-map", "changes", "headline", "reasons", "ranking"])
def test_a_time_beside_a_zone_is_in_it(server: Server, path: str) -> None:
    """``since`` and ``until`` without an offset are local times of ``zone``; a skipped one is an error."""

    def found(**span: str) -> str:
        answer = server.ask("GET", f"/api/analytics/{path}", params={"zone": "Asia/Kathmandu", **span})
        assert answer.status_code == 200
        return answer.text

    local = found(since="2026-03-01", until="2026-03-04T12:00")
    assert local == found(since="2026-02-28T18:15Z", until="2026-03-04T12:00+05:45")
    skipped = {"since": "2026-03-29T02:30", "zone": "Europe/Berlin"}
    problem = server.ask("GET", f"/api/analytics/{path}", params=skipped)
    assert problem.status_code == 422
    (violation,) = problem.json()["violations"]
    assert (violation["field"], violation["code"]) == ("since", "skipped")
    assert "does not exist in the time zone Europe/Berlin" in violation["message"]


def test_local_days_bound_statistics(server: Server, hk: Harken) -> None:
    """The first local day of a trend begins at the local midnight that ``since`` names."""
    for hour in (17, 19):
        hk.collection.submit(a_submission(created_at=datetime(2026, 2, 28, hour, tzinfo=UTC)))
    span = {"since": "2026-03-01", "until": "2026-03-02", "zone": "Asia/Kathmandu"}
    (point,) = server.get("/api/analytics/trend", params=span)["points"]
    assert (point["start"], point["total_feedbacks"]) == ("2026-03-01T00:00:00+05:45", 1)


class TestSubmitting:
    def test_all_fields(self, server: Server, hk: Harken) -> None:
        """All fields of a submission are stored and returned unchanged, in any script."""
        body = {
            "rating": "down",
            "comment": "zu langsam 🐌 <b>\u202e\r\n'; DROP TABLE feedback; --",
            "agent_id": "travel-desk",
            "message_id": "m/1 ü",
            "author": "user-7",
            "tags": ["wrong answer", "$where"],
            "context": {"user_tier": "premium", "größe": 2**63 - 1, "share": 0.1, "known": True, "none": None},
        }
        answer = server.ask("POST", f"/api/sessions/{quote('s ü?#%', safe='')}/feedback", json=body)
        assert answer.status_code == 201
        shown = server.get(answer.headers["location"])
        assert {name: shown[name] for name in body} == body
        assert shown["session_id"] == "s ü?#%"
        assert (shown["version"], shown["status"], shown["created_at"]) == (
            1,
            "approved",
            "2026-03-04T12:00:00.000000Z",
        )
        assert not shown.keys() & {"idempotency_key", "fingerprint", "later_keys"}

    def test_repeated(self, server: Server, hk: Harken, clock: ManualClock) -> None:
        """A retry with the same key and body gets the same response, and one entry is stored."""
        body = {"rating": "up", "comment": "good", "context": {"b": 1, "a": 2}}
        first = server.ask("POST", PATH, json=body, headers={"Idempotency-Key": '"key 1"'})
        assert "idempotency-replayed" not in first.headers
        for key in ('"key 1"', "key 1"):
            clock.turn(days=2)
            again = server.ask("POST", PATH, json=body, headers={"Idempotency-Key": key})
            assert (again.status_code, again.json()) == (201, first.json())
            assert again.headers["location"] == first.headers["location"]
            assert again.headers["idempotency-replayed"] == "true"
        assert len(stored_feedback(hk)) == 1
        other = server.post("/api/sessions/t/feedback", body, headers={"Idempotency-Key": "key 1"})
        assert other["feedback_id"] != first.json()["feedback_id"]

    def test_repeated_at_once(self, server: Server, hk: Harken) -> None:
        """Of concurrent identical requests, one is stored; the others get its response or Retry-After."""
        headers = {"Idempotency-Key": "k"}
        calls = [lambda: server.ask("POST", PATH, json={"rating": "up"}, headers=headers) for _ in range(12)]
        answers = [one for one in in_threads(calls) if isinstance(one, requests.Response)]
        assert {answer.status_code for answer in answers} <= {201, 409}
        assert len(answers) == 12
        given = {answer.json()["feedback_id"] for answer in answers if answer.status_code == 201}
        assert given == {one.id for one in stored_feedback(hk)}
        assert len(given) == 1

    def test_nothing_is_lost(self, server: Server, hk: Harken) -> None:
        """Of many concurrent submissions, each gets the id of its own entry."""

        def several(author: int) -> list[tuple[str, str]]:
            with requests.Session() as session:
                url, found = f"{server.url}{PATH}", []
                for number in range(20):
                    body = {"rating": "up", "comment": f"{author}/{number}"}
                    answer = session.post(url, json=body, timeout=PATIENCE)
                    found.append((answer.json()["feedback_id"], body["comment"]))
                return found

        receipts = [pair for pairs in in_threads([lambda a=a: several(a) for a in range(6)]) for pair in pairs]
        assert sorted(receipts) == sorted((one.id, one.comment) for one in stored_feedback(hk))
        assert len(receipts) == 120


class TestChanging:
    def test_a_change(self, server: Server, hk: Harken, clock: ManualClock) -> None:
        """A change updates the sent fields, keeps the others and the earlier version, and changes the ETag."""
        feedback_id = server.post(PATH, {"rating": "down", "comment": "slow", "tags": ["late"]})["feedback_id"]
        clock.turn(minutes=1)
        answer = server.ask("PATCH", f"/api/feedback/{feedback_id}", json={"comment": "too slow"})
        assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
        changed = answer.json()
        assert (changed["rating"], changed["comment"], changed["tags"]) == ("down", "too slow", ["late"])
        assert changed["updated_at"] == "2026-03-04T12:01:00.000000Z"
        assert [one["comment"] for one in changed["revisions"]] == ["slow"]
        assert server.get(f"/api/feedback/{feedback_id}") == changed
        assert server.ask("PATCH", f"/api/feedback/{feedback_id}", json={"rating": None}).json()["rating"] is None

    def test_if_match(self, server: Server, hk: Harken) -> None:
        """With If-Match, a change is rejected if the feedback has changed in the meantime."""
        feedback_id = server.post(PATH, {"rating": "up"})["feedback_id"]
        path = f"/api/feedback/{feedback_id}"
        seen = server.ask("GET", path).headers["etag"]
        for tag, expected in ((seen, 200), (seen, 412), ("*", 200), ('"3"', 200), ('"9"', 412)):
            answer = server.ask("PATCH", path, json={"comment": f"for {tag}"}, headers={"If-Match": tag})
            assert answer.status_code == expected
            if expected == 412:
                problem(answer, 412, "changed-meanwhile")
        for tag in ("", "x", '"x"', '"1", "2"', '"-1"', '"' + "9" * 30 + '"'):
            answer = server.ask("PATCH", path, json={"comment": "never"}, headers={"If-Match": tag})
            problem(answer, 422, "invalid")
        (feedback,) = stored_feedback(hk)
        assert (feedback.version, feedback.comment) == (4, 'for "3"')

    def test_one_of_many_wins(self, server: Server, hk: Harken) -> None:
        """Of concurrent changes of one version, exactly one succeeds."""
        path = f"/api/feedback/{server.post(PATH, {'rating': 'up'})['feedback_id']}"
        headers = {"If-Match": '"1"'}
        calls = [
            lambda number=number: server.ask("PATCH", path, json={"comment": f"{number}"}, headers=headers)
            for number in range(8)
        ]
        answers = [one for one in in_threads(calls) if isinstance(one, requests.Response)]
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
        (won,) = (answer.json() for answer in answers if answer.status_code == 200)
        assert stored_feedback(hk)[0].comment == won["comment"]

    def test_the_rules_hold(self, server: Server) -> None:
        """A change must satisfy the same rules as a submission."""
        path = f"/api/feedback/{server.post(PATH, {'rating': 'up'})['feedback_id']}"
        problem(server.ask("PATCH", path, json={"rating": "down"}), 400, "feedback-refused")
        problem(server.ask("PATCH", path, json={"comment": "x" * 1001}), 422, "invalid")
        problem(server.ask("PATCH", path, json={"comment": "casino"}), 400, "feedback-refused")
        problem(server.ask("PATCH", path, json={"author": "kim"}), 422, "invalid")

    def test_withdrawing(self, server: Server, hk: Harken) -> None:
        """Withdrawn feedback is not counted and cannot be changed; withdrawing it again has no effect."""
        feedback_id = server.post(PATH, {"rating": "up"})["feedback_id"]
        for _ in range(2):
            assert server.ask("DELETE", f"/api/feedback/{feedback_id}").status_code == 204
        assert server.get(PATH)["total_feedbacks"] == 0
        assert server.get(f"/api/feedback/{feedback_id}")["withdrawn_at"] is not None
        answer = server.ask("PATCH", f"/api/feedback/{feedback_id}", json={"comment": "x"})
        problem(answer, 409, "conflict")
        assert stored_feedback(hk)[0].version == 2

    def test_missing_feedback(self, server: Server) -> None:
        """Feedback that does not exist cannot be changed or withdrawn."""
        for method, options in (("GET", {}), ("DELETE", {}), ("PATCH", {"json": {"comment": "x"}})):
            problem(server.ask(method, "/api/feedback/nothing", **options), 404, "not-found")


class TestPages:
    def pages(self, server: Server, path: str) -> Iterator[dict[str, Any]]:
        """All pages, following the links."""
        following: str | None = path
        for _ in range(1_000):
            if following is None:
                return
            answer = server.ask("GET", following)
            assert answer.status_code == 200, answer.text
            document = answer.json()
            link = answer.links.get("next")
            assert (link is None) == (document["next"] is None)
            assert link is None or document["next"] in link["url"]
            following = link["url"] if link else None
            yield document

    @pytest.mark.parametrize("limit", [1, 7, 100])
    def test_all_of_them(self, server: Server, hk: Harken, many: list[str], limit: int) -> None:
        """Following the links returns each entry once, newest first, with the filters of the first page."""
        pages = list(self.pages(server, f"/api/feedback?limit={limit}&context.tier=gold&status=any"))
        found = [one["id"] for page in pages for one in page["feedbacks"]]
        assert found == [one for number, one in enumerate(many) if number % 2 == 0][::-1]
        assert all(len(page["feedbacks"]) == limit for page in pages[:-1])

    def test_while_things_change(self, server: Server, hk: Harken, many: list[str]) -> None:
        """Additions, changes and erasures between two pages do not skip or repeat other entries."""
        found, numbers = [], count()
        erased, changed = many[3], many[11]
        for page in self.pages(server, "/api/feedback?limit=5"):
            found += [one["id"] for one in page["feedbacks"]]
            server.post(f"/api/sessions/new-{next(numbers)}/feedback", {"rating": "up"})
            if len(found) == 20:
                assert server.post("/api/erasures", {"feedback_id": erased}, status=200)["erased"] == 1
                server.ask("PATCH", f"/api/feedback/{changed}", json={"comment": "changed meanwhile"})
                # The entry at which the next page starts may have been erased.
                server.post("/api/erasures", {"feedback_id": found[-1]}, status=200)
        expected = [one for number, one in enumerate(many) if number not in (3, 7, 8, 9)][::-1]
        assert found == expected

    def test_of_a_session(self, server: Server, many: list[str]) -> None:
        """The feedback of a session is listed oldest first, in pages, each with the total number."""
        pages = list(self.pages(server, "/api/sessions/s-1/feedback?limit=4"))
        assert [len(page["feedbacks"]) for page in pages] == [4, 4, 4]
        assert {page["total_feedbacks"] for page in pages} == {12}
        assert [one["id"] for page in pages for one in page["feedbacks"]] == many[1::5]

    def test_equal_timestamps(self, server: Server, hk: Harken) -> None:
        """Entries with the same timestamp are neither skipped nor repeated, in either order."""
        ids = [hk.submit("s", "up").feedback.id for _ in range(11)]
        newest = [one["id"] for page in self.pages(server, "/api/feedback?limit=3") for one in page["feedbacks"]]
        oldest = [one["id"] for page in self.pages(server, f"{PATH}?limit=3") for one in page["feedbacks"]]
        assert newest[::-1] == oldest == ids


#: Query parameters, and the equivalent arguments of the library.
FILTERS: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
    ({}, {}),
    ({"session_id": "s-1"}, {"session_id": "s-1"}),
    ({"agent_id": "helper"}, {"agent_id": "helper"}),
    ({"author": "a-3"}, {"author": "a-3"}),
    ({"rating": "down"}, {"rating": "down"}),
    ({"rating": "neutral"}, {"rating": None}),
    ({"tag": "fast"}, {"tag": "fast"}),
    ({"context.tier": "gold"}, {"context": {"tier": "gold"}}),
    (
        {"since": "2026-03-06T00:00Z", "until": "2026-03-10T08:00:00+02:00"},
        {"since": datetime(2026, 3, 6, tzinfo=UTC), "until": datetime(2026, 3, 10, 6, tzinfo=UTC)},
    ),
    ({"agent_id": "nobody"}, {"agent_id": "nobody"}),
    (
        {"agent_id": ["helper", "nobody"], "rating": ["down", "neutral"]},
        {"agent_id": ["helper", "nobody"], "rating": ["down", None]},
    ),
    (
        {"tag": ["fast", "none"], "context.tier": ["gold", "none"], "has_comment": "false"},
        {"tag": ["fast", "none"], "context": {"tier": ["gold", "none"]}, "has_comment": False},
    ),
)


@pytest.mark.parametrize(("parameters", "filters"), FILTERS, ids=str)
class TestStatistics:
    """Statistics of the API equal those of the library, for every filter."""

    @pytest.fixture
    def hk(self, measured: tuple[Harken, Server]) -> Harken:
        return measured[0]

    @pytest.fixture
    def server(self, measured: tuple[Harken, Server]) -> Server:
        return measured[1]

    def test_summary(self, server: Server, hk: Harken, parameters: dict[str, Any], filters: dict[str, Any]) -> None:
        """Statistics of all matching feedback."""
        found = server.get("/api/analytics/summary", params=parameters)
        estimate = hk.analytics.estimate(hk.query(**filters))
        assert shown(found) == statistics_of(estimate.summary)
        low, high = (pytest.approx(one, abs=0.051) for one in (estimate.interval.low, estimate.interval.high))
        assert found["interval"] == {"low": low, "high": high}
        assert found["design_effect"] == estimate.design_effect

    @pytest.mark.parametrize("by", ["agent", "session", "tag", "context.tier"])
    def test_groups(
        self, server: Server, hk: Harken, parameters: dict[str, Any], filters: dict[str, Any], by: str
    ) -> None:
        """Statistics by group."""
        found = server.get("/api/analytics/summary", params={**parameters, "by": by})
        groups = hk.analytics.groups(hk.query(**filters), GroupBy.parse(by))
        assert found["by"] == by
        assert {one["key"]: shown(one) for one in found["groups"]} == {
            key: statistics_of(one) for key, one in groups.items()
        }

    @pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
    def test_trend(
        self, server: Server, hk: Harken, parameters: dict[str, Any], filters: dict[str, Any], zone: str
    ) -> None:
        """Statistics over time, in any zone."""
        query = hk.query(**filters)
        for period in Period:
            found = server.get("/api/analytics/trend", params={**parameters, "by": period.value, "zone": zone})
            expected = hk.analytics.trend(query, period, zone)
            assert [shown(one) for one in found["points"]] == [statistics_of(one.summary) for one in expected]
            starts = [datetime.fromisoformat(one["start"]) for one in found["points"]]
            assert starts == [one.start for one in expected]
        hours = server.get("/api/analytics/trend", params={**parameters, "by": "hour-of-day", "zone": zone})
        by_hour = hk.analytics.by_hour_of_day(query, zone)
        assert [shown(one) for one in hours["points"]] == [statistics_of(one.summary) for one in by_hour]
        days = server.get("/api/analytics/trend", params={**parameters, "by": "weekday", "zone": zone})
        by_weekday = hk.analytics.by_weekday(query, zone)
        assert [shown(one) for one in days["points"]] == [statistics_of(one.summary) for one in by_weekday]

    def test_themes(self, server: Server, hk: Harken, parameters: dict[str, Any], filters: dict[str, Any]) -> None:
        """The keywords in negative feedback, or what it is about."""
        query = hk.query(**filters)
        for words in (["slow"], ["number 1", "unclear"]):
            found = server.get("/api/analytics/themes", params={**parameters, "keyword": words})
            assert found == {
                "themes": [
                    {"keyword": one.keyword, "mentions": one.mentions} for one in hk.analytics.keywords(query, words)
                ]
            }
        found, themes = server.get("/api/analytics/themes", params=parameters), hk.analytics.themes(query)
        assert found["comments"] == themes.comments
        assert found["tags"] == [{"tag": tag, "count": count} for tag, count in themes.tags]
        assert [one["label"] for one in found["themes"]] == [one.theme.label for one in themes.themes]

    def test_sentiment(self, server: Server, hk: Harken, parameters: dict[str, Any], filters: dict[str, Any]) -> None:
        """How comments read on average, in total and by rating."""
        found = server.get("/api/analytics/sentiment", params=parameters)
        survey = hk.sentiment.survey(hk.query(**filters))
        averages = {"all": found["average"], **found["by_rating"]}
        expected = {"all": survey.average, **{one.word: average for one, average in survey.by_rating.items()}}
        assert {name: one["comments"] for name, one in averages.items()} == {
            name: one.comments for name, one in expected.items()
        }
        assert found["average"]["likelihood"] == pytest.approx(survey.average.likelihood, abs=0.0005)

    @pytest.mark.parametrize("by", ["agent", "session", "tag", "context.tier"])
    def test_compared_groups(
        self, server: Server, hk: Harken, parameters: dict[str, Any], filters: dict[str, Any], by: str
    ) -> None:
        """Each group compared with the others."""
        found = server.get("/api/analytics/groups", params={**parameters, "by": by})
        groups = hk.analytics.compare_groups(hk.query(**filters), GroupBy.parse(by))
        assert found["by"] == by
        assert [(one["key"], one["sentence"]) for one in found["groups"]] == [
            (key, one.sentence) for key, one in groups.items()
        ]
        for one, expected in zip(found["groups"], groups.values(), strict=True):
            assert shown(one["before"]) == statistics_of(expected.before)
            assert shown(one["after"]) == statistics_of(expected.after)

    @pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
    def test_heat_map_and_changes(
        self, server: Server, hk: Harken, parameters: dict[str, Any], filters: dict[str, Any], zone: str
    ) -> None:
        """The hours of the local week that have feedback, and the days of changes."""
        query = hk.query(**filters)
        found = server.get("/api/analytics/heat-map", params={**parameters, "zone": zone})
        cells = hk.analytics.heat_map(query, zone)
        assert found["zone"] == zone
        assert [(one["weekday"], one["hour"], one["total_feedbacks"], one["verdict"]) for one in found["cells"]] == [
            (WEEKDAYS[one.weekday], one.hour, one.summary.total, one.verdict.value) for one in cells
        ]
        found = server.get("/api/analytics/changes", params={**parameters, "zone": zone})
        assert found == {"zone": zone, "changes": []}
        assert hk.analytics.changes(query, zone) == []

    def test_overview(self, server: Server, hk: Harken, parameters: dict[str, str], filters: dict[str, Any]) -> None:
        """The headline with its words, the reasons, the ranking and the values to filter by."""
        query = hk.query(**filters)
        periods = hk.analytics.periods(query, "Asia/Kathmandu")
        in_zone = {**parameters, "zone": "Asia/Kathmandu"}
        found = server.get("/api/analytics/headline", params=in_zone)
        headline = hk.analytics.headline(hk.analytics.periods(query, "Asia/Kathmandu"))
        assert (found["title"], tuple(found["details"])) == (headline_title(headline), headline_details(headline))
        assert (found["finding"], found["zone"]) == (headline.finding.value, "Asia/Kathmandu")
        assert found["after"]["since"] == periods.span[0].isoformat()
        found = server.get("/api/analytics/reasons", params={**in_zone, "limit": 2})
        reasons = hk.analytics.reasons(periods, limit=2)
        assert [(one["name"], one["count"]) for one in found["issues"]] == [
            (one.name, one.share.count) for one in reasons.issues
        ]
        assert (found["found"], found["downs"]) == (reasons.found, reasons.downs)
        found = server.get("/api/analytics/ranking", params={**in_zone, "by": "context.tier"})
        ranking = hk.analytics.ranking(periods, GroupBy.parse("context.tier"))
        assert [one["key"] for one in found["groups"]] == [one.key for one in ranking.groups]
        assert found["sentence"] == ranking_sentence(ranking, "context.tier")
        found = server.get("/api/analytics/facets", params=parameters)
        assert [(one["value"], one["count"]) for one in found["tags"]] == list(hk.analytics.facets(query).tags)

    @pytest.mark.parametrize("chosen", ["jsonl", "csv"])
    def test_export(
        self, server: Server, hk: Harken, parameters: dict[str, Any], filters: dict[str, Any], chosen: str
    ) -> None:
        """An export has exactly the bytes that the command line writes, and a file name."""
        answer = server.ask("GET", "/api/export", params={**parameters, "format": chosen})
        expected = io.BytesIO()
        write_all(hk.collection.stream(hk.query(**filters)), expected, WRITERS[chosen])
        assert answer.content == expected.getvalue()
        assert answer.headers["content-disposition"] == f'attachment; filename="feedback.{chosen}"'
        assert answer.headers["content-type"].startswith({"jsonl": "application/x-ndjson", "csv": "text/csv"}[chosen])


class TestComparing:
    def fill(self, hk: Harken, agent: str, day: int, up: int, down: int) -> None:
        """Store ratings of an agent on a day in March."""
        at = datetime(2026, 3, day, tzinfo=UTC)
        hk.collection.submit_many(
            [
                a_submission(f"{agent}-{day}-{n}", "up" if n < up else "down", "x", agent_id=agent, created_at=at)
                for n in range(up + down)
            ]
        )

    def test_two_times(self, server: Server, hk: Harken) -> None:
        """A filter with a prefix applies to one side, and one without to both."""
        self.fill(hk, "helper", 5, 40, 60)
        self.fill(hk, "helper", 10, 75, 25)
        self.fill(hk, "other", 10, 0, 50)
        found = server.get(
            "/api/analytics/compare",
            params={"agent_id": "helper", "before.until": "2026-03-09", "after.since": "2026-03-09"},
        )
        middle = datetime(2026, 3, 9, tzinfo=UTC)
        assert shown(found.pop("before")) == statistics_of(hk.summary(agent_id="helper", until=middle))
        assert shown(found.pop("after")) == statistics_of(hk.summary(agent_id="helper", since=middle))
        assert found.pop("p_value") == pytest.approx(5.5e-7, abs=1e-8)
        assert found == {
            "satisfaction_change": 35.0,
            "quality_change": 35.0,
            "total_change": 0,
            "interval": {"low": 21.5, "high": 46.7},
            "significant": True,
            "verdict": "better",
            "sentence": "better by 5 to 65 points",
            "needed": 0,
            "alpha": 0.05,
            "always_valid_interval": {"low": 4.6, "high": 65.4},
            "p_value_is_exact": False,
            "mix": None,
        }

    def test_few_ratings(self, server: Server, hk: Harken) -> None:
        """The p-value of small groups is exact. It does not decide the verdict."""
        self.fill(hk, "helper", 5, 3, 7)
        self.fill(hk, "helper", 10, 9, 1)
        found = server.get("/api/analytics/compare?before.until=2026-03-09&after.since=2026-03-09")
        assert (found["p_value"], found["p_value_is_exact"]) == (0.0102, True)
        assert (found["significant"], found["verdict"], found["needed"]) == (False, "too close to tell", 70)
        assert found["sentence"] == "too close to tell: about 70 more thumbs needed"

    def test_the_previous_period(self, server: Server, hk: Harken) -> None:
        """Without a prefix, the period is compared with the one before, which is as long."""
        for day, positive in ((3, 1), (4, 2), (7, 4), (8, 8), (11, 16), (12, 32)):
            self.fill(hk, "helper", day, positive, 0)
        found = server.get("/api/analytics/compare?since=2026-03-08&until=2026-03-12&agent_id=helper")
        assert (found["before"]["positive"], found["after"]["positive"]) == (6, 24)
        refused = server.ask("GET", "/api/analytics/compare?since=2026-03-08&until=2026-03-08")
        assert "previous period" in problem(refused, 422, "invalid")["detail"]

    @pytest.mark.parametrize(
        "query",
        ["", "agent_id=a", "until=2026-03-08", "before.agent_id=a&after.agent_id=a", "before.rating=up&rating=up"],
    )
    def test_a_selection_and_itself(self, server: Server, query: str) -> None:
        """Two equal selections are not compared with each other; the error says what is missing."""
        refused = problem(server.ask("GET", f"/api/analytics/compare?{query}"), 422, "invalid")
        assert refused["detail"] == (
            "Both selections are the same; add since, or filters of one of them, such as before.agent_id"
        )

    def test_a_new_agent(self, server: Server, hk: Harken) -> None:
        """Agents that only one side has are named, with the comparison of the others."""
        self.fill(hk, "good", 5, 80, 20)
        self.fill(hk, "good", 10, 80, 20)
        self.fill(hk, "hard", 10, 20, 80)
        found = server.get("/api/analytics/compare?before.until=2026-03-09&after.since=2026-03-09")
        assert (found["satisfaction_change"], found["verdict"]) == (-30.0, "worse")
        assert (found["mix"]["new"], found["mix"]["gone"]) == (["hard"], [])
        assert (found["mix"]["without"]["after"]["total_feedbacks"], found["mix"]["without"]["total_change"]) == (
            100,
            0,
        )
        agents = server.get("/api/analytics/compare?before.agent_id=good&after.agent_id=hard")
        assert (agents["satisfaction_change"], agents["mix"]) == (-60.0, None)

    def test_by_context(self, server: Server, hk: Harken) -> None:
        """A side may be selected by context."""
        found = server.get("/api/analytics/compare?before.context.tier=gold&after.context.tier=none&rating=up")
        assert shown(found["before"]) == statistics_of(hk.summary(rating="up", context={"tier": "gold"}))
        assert shown(found["after"]) == statistics_of(hk.summary(rating="up", context={"tier": "none"}))


class TestThemes:
    def fill(self, hk: Harken, count: int = 9, **parts: Any) -> None:
        """Store thumbs-downs about five topics."""
        for topic in ("luggage", "refund", "wifi", "seat", "food"):
            for number in range(count):
                hk.submit(f"{topic}-{number}", "down", f"The {topic} was not there", author=f"a-{number}", **parts)

    def test_themes_with_examples(self, server: Server, hk: Harken, clock: ManualClock) -> None:
        """Examples are feedback as other operations return it; the change is since the previous period."""
        self.fill(hk)
        clock.turn(days=2)
        self.fill(hk, 10, tags=["late"])
        clock.turn(days=1)
        found = server.get("/api/analytics/themes?since=2026-03-06&limit=2")
        assert (found["comments"], found["is_enough"]) == (50, False)
        assert found["tags"] == [{"tag": "late", "count": 50}]
        assert len(found["themes"]) == 2
        theme = found["themes"][0]
        assert (theme["name"], theme["count"], theme["share"]) == (theme["label"], 10, 20.0)
        assert theme["change"]["verdict"] == "too close to tell"
        assert len(theme["examples"]) == 3
        for example in theme["examples"]:
            assert example == server.get(f"/api/feedback/{example['id']}")
        assert server.get("/api/analytics/themes")["themes"][0]["change"] is None

    def test_a_rise(self, server: Server, hk: Harken) -> None:
        """The day on which satisfaction changed."""
        hk.collection.submit_many(
            [
                a_submission(
                    f"{day}-{number}",
                    "up" if number % 10 < (3 if day < 15 else 8) else "down",
                    "x",
                    created_at=datetime(2026, 3, 1 + day, 12, tzinfo=UTC),
                )
                for day in range(30)
                for number in range(50)
            ]
        )
        (change,) = server.get("/api/analytics/changes")["changes"]
        assert (change["at"], change["before"], change["after"]) == ("2026-03-16T00:00:00+00:00", 30.0, 80.0)
        assert [change[name]["positive"] for name in ("before_summary", "after_summary")] == [225, 600]

    def test_contradictions(self, server: Server, hk: Harken) -> None:
        """The newest comments that contradict their rating, with their readings; no more than the limit."""
        odd = [with_content(one, rating=Rating.UP) for one in rated(6, seed=2, created_at=NOON)[::2]]
        hk.collection.restore([*rated(300), *odd])
        found = server.get("/api/analytics/sentiment?limit=2")
        assert found["contradicting"] == 3
        assert [one["id"] for one in found["contradictions"]] == ["2-0004", "2-0002"]
        assert [one["contradicts"] for one in found["readings"].values()] == [True, True]
        assert found["by_rating"]["neutral"] == {"likelihood": None, "comments": 0}

    @pytest.mark.parametrize("query", ["limit=0", "limit=51", "limit=x", "keyword="])
    def test_invalid_parameters(self, server: Server, query: str) -> None:
        """The limit is from 1 to 50, and a keyword is not empty."""
        problem(server.ask("GET", f"/api/analytics/themes?{query}"), 422, "invalid")


class TestExporting:
    def test_formats(self, server: Server, hk: Harken) -> None:
        """An export is JSON Lines, CSV, or CSV without cells that spreadsheets execute; others are rejected."""
        hk.submit("s", "up", "=1+1\n'quoted\"")
        (line,) = server.ask("GET", "/api/export").text.splitlines()
        assert json.loads(line)["comment"] == "=1+1\n'quoted\""
        (row,) = csv.DictReader(io.StringIO(server.ask("GET", "/api/export?format=csv").text, newline=""))
        assert row["comment"] == "=1+1\n'quoted\""
        table = server.ask("GET", "/api/export?format=csv&for=spreadsheet").content.decode("utf-8-sig")
        (row,) = csv.DictReader(io.StringIO(table, newline=""))
        assert row["comment"] == "'=1+1\n'quoted\""
        for wrong in ("format=xml", "format=", "format=JSONL", "format=csv&for=it", "for=spreadsheet"):
            problem(server.ask("GET", f"/api/export?{wrong}"), 422, "invalid")

    def test_an_empty_export(self, server: Server) -> None:
        """An empty export is not an error."""
        assert server.ask("GET", "/api/export").content == b""
        assert len(server.ask("GET", "/api/export?format=csv").text.splitlines()) == 1

    def test_a_large_export(self, server: Server, hk: Harken) -> None:
        """An export of more than one chunk is complete."""
        receipts = hk.collection.submit_many([a_submission(comment=f"{number}") for number in range(1_001)])
        found = [json.loads(line)["id"] for line in server.ask("GET", "/api/export").iter_lines()]
        assert found == [one.feedback.id for one in receipts if isinstance(one, Receipt)]
        assert len(found) == 1_001


class TestMetadata:
    def test_update_and_delete(self, server: Server, hk: Harken) -> None:
        """Sent keys are set and others remain; keys are deleted one by one or all at once."""
        path = "/api/sessions/s/metadata"
        assert server.get(path) == {"session_id": "s", "metadata": {}}
        nested = {"a": [1, 2.5, None, {"b": "ü"}]}
        answer = server.ask("PATCH", path, json={"user_tier": "gold", "nested": nested, "n": -(2**63)})
        assert answer.json()["metadata"] == {"user_tier": "gold", "nested": nested, "n": -(2**63)}
        server.ask("PATCH", path, json={"user_tier": "none", "none": None})
        everything = {"user_tier": "none", "nested": nested, "n": -(2**63), "none": None}
        assert server.get(path)["metadata"] == everything == hk.sessions.get("default", "s")
        assert server.ask("DELETE", f"{path}?key=n&key=none&key=nothing").json()["removed"] == 2
        assert set(server.get(path)["metadata"]) == {"user_tier", "nested"}
        assert server.ask("DELETE", path).json() == {"session_id": "s", "removed": 2}
        assert server.get(path)["metadata"] == {}

    def test_without_the_scope_to_read(self, hk: Harken) -> None:
        """An update returns only the names that it sets."""
        hk.sessions.update("default", "s", {"plan": "secret", "tier": "none"})
        with served(hk, access="keys") as server:
            for scopes, names in (
                (["submit"], {"tier"}),
                (["submit", "read"], {"tier", "plan"}),
                (["admin"], {"tier", "plan"}),
            ):
                headers = {"Authorization": f"Bearer {hk.keys.create('default', scopes).text}"}
                answer = server.ask("PATCH", "/api/sessions/s/metadata", json={"tier": "gold"}, headers=headers)
                assert answer.json()["metadata"].keys() == names

    def test_names_that_programs_chose(self, server: Server, hk: Harken) -> None:
        """They are returned and can be deleted, but a client cannot set them, at any level."""
        path = "/api/sessions/s/metadata"
        odd: dict[str, Any] = {"a.b": 1, "$set": {"50 %": [{"<b>": 1}]}}
        hk.sessions.update("default", "s", odd)
        assert server.get(path)["metadata"] == odd
        for body in ({"c.d": 1}, {"fine": 1, "c": [{"e f": 1}]}):
            refused = server.ask("PATCH", path, json=body)
            assert (refused.status_code, "may only have letters" in refused.json()["detail"]) == (422, True)
        assert server.ask("DELETE", path, params={"key": ["a.b", "$set.50 %"]}).json()["removed"] == 1
        assert server.get(path)["metadata"] == {"$set": {"50 %": [{"<b>": 1}]}}

    @pytest.mark.parametrize("name", ["__harken_encoded__", "__bytes_encoded__"])
    def test_reserved_names(self, server: Server, hk: Harken, name: str) -> None:
        """A client chooses no types of session managers: it cannot set names of encoded values, at any level."""
        path = "/api/sessions/s/metadata"
        date = {"since": {"__harken_encoded__": "date", "data": "2026-01-01"}}
        hk.sessions.update("default", "s", date)
        for body in ({name: 1}, {"fine": 1, "tier": {name: "float", "data": "nan"}}, {"a": [{"b": {name: True}}]}):
            refused = server.ask("PATCH", path, json=body)
            assert (refused.status_code, f"{name!r} is reserved" in refused.json()["detail"]) == (422, True)
        assert server.get(path)["metadata"] == date

    def test_no_update_is_lost(self, server: Server, hk: Harken) -> None:
        """Concurrent updates of different keys do not undo each other."""
        calls = [lambda n=n: server.ask("PATCH", "/api/sessions/s/metadata", json={f"n{n}": n}) for n in range(12)]
        assert {one.status_code for one in in_threads(calls) if isinstance(one, requests.Response)} == {200}
        assert hk.sessions.get("default", "s") == {f"n{n}": n for n in range(12)}


class TestReadings:
    def test_readings_on_request(self, server: Server, hk: Harken) -> None:
        """A page has the readings of its comments if they are asked for."""
        odd = a_feedback("odd", Rating.UP, "slow, rude and wrong", agent_id="mine")
        hk.collection.restore([*rated(300), odd, a_feedback("silent", agent_id="mine")])
        assert "readings" not in server.get("/api/feedback")
        assert "readings" not in server.get("/api/feedback?reading=false")
        page = server.get("/api/feedback?reading=true&agent_id=mine")
        assert [one["id"] for one in page["feedbacks"]] == ["silent", "odd"]
        assert page["readings"]["odd"].pop("likelihood") < 0.1
        assert page["readings"] == {"odd": {"contradicts": True, "by": "words", "version": 1}}
        problem(server.ask("GET", "/api/feedback?reading=yes"), 422, "invalid")

    def test_the_next_page_has_readings_too(self, server: Server, hk: Harken) -> None:
        """The link keeps the parameter."""
        hk.collection.restore(rated(3))
        link = server.ask("GET", "/api/feedback?reading=true&limit=1").headers["link"]
        assert "reading=true" in link

    def test_the_queue_has_likelihoods(self, server: Server, hk: Harken, clock: ManualClock) -> None:
        """Once moderators have decided enough."""
        hk.collection.restore([pending("cheap casino bonus")])
        assert server.get("/api/moderation/queue")["spam"] == {}
        for status in (ModerationStatus.APPROVED, ModerationStatus.REJECTED):
            hk.collection.restore(decided(60, status))
        clock.turn(minutes=1)
        assert server.get("/api/moderation/queue")["spam"]["pending"]["reason"] == "resembles rejected comments"


class TestModerating:
    def test_a_queue(self, server: Server, hk: Harken, clock: ManualClock) -> None:
        """Pending feedback is in the queue until it is decided, and a decision can be changed."""
        feedback_id = server.post(PATH, {"rating": "up", "comment": "buy"})["feedback_id"]
        path = f"/api/feedback/{feedback_id}/moderation"
        assert server.get("/api/moderation/queue")["feedbacks"] == []
        pending = server.post(path, {"status": "pending", "reason": "odd", "moderator": "kim"}, status=200)
        assert pending["moderation"]["reason"] == "odd"
        assert [one["id"] for one in server.get("/api/moderation/queue?rating=up")["feedbacks"]] == [feedback_id]
        assert server.get("/api/moderation/queue?rating=down")["feedbacks"] == []
        assert server.get(PATH)["total_feedbacks"] == 0
        rejected = server.post(path, {"status": "rejected", "moderator": "lee"}, status=200)
        assert (rejected["status"], rejected["moderation"]["moderator"]) == ("rejected", "lee")
        assert rejected["moderation"]["previous"] == "pending"
        undone = server.post(f"{path}/undo", {"moderator": "lee"}, status=200)
        assert undone["status"] == "pending"
        assert server.post(path, {"status": "approved"}, status=200)["status"] == "approved"
        assert server.get(PATH)["total_feedbacks"] == 1
        assert [one["id"] for one in server.get("/api/feedback?status=approved")["feedbacks"]] == [feedback_id]

    def test_invalid_decisions(self, server: Server) -> None:
        """Repeating a decision, deciding on missing feedback, and undoing without a decision are different errors."""
        feedback_id = server.post(PATH, {"rating": "up"})["feedback_id"]
        path = f"/api/feedback/{feedback_id}/moderation"
        problem(server.ask("POST", f"{path}/undo"), 409, "conflict")
        server.post(path, {"status": "rejected"}, status=200)
        problem(server.ask("POST", "/api/feedback/no/moderation", json={"status": "rejected"}), 404, "not-found")
        problem(server.ask("POST", "/api/feedback/no/moderation/undo"), 404, "not-found")
        for body in ({}, {"status": "fine"}, {"status": None}, {"status": ["rejected"]}):
            problem(server.ask("POST", path, json=body), 422, "invalid")

    def test_the_moderator(self, hk: Harken) -> None:
        """By default, the moderator is the name of the key, or its id."""
        made = [hk.keys.create("default", ["moderate", "submit"], name=name) for name in ("night shift", "")]
        with served(hk, access="keys") as server:
            for key, expected in zip(made, ("night shift", made[1].key.id), strict=True):
                headers = {"Authorization": f"Bearer {key.text}"}
                feedback_id = server.post(PATH, {"rating": "up"}, headers=headers)["feedback_id"]
                path = f"/api/feedback/{feedback_id}/moderation"
                decided = server.post(path, {"status": "rejected"}, status=200, headers=headers)
                assert decided["moderation"]["moderator"] == expected


class TestErasing:
    @pytest.mark.parametrize(
        ("conditions", "left"),
        [
            ({"author": "kim"}, 2),
            ({"session_id": "s"}, 1),
            ({"session_id": "s", "author": "kim"}, 3),
            ({"author": "nobody"}, 4),
            ({"session_id": "s", "author": None}, 1),
        ],
    )
    def test_erasing(self, server: Server, hk: Harken, conditions: dict[str, str | None], left: int) -> None:
        """Feedback that matches all conditions is erased, in any state, with its statistics; everything else
        remains.
        """
        for session_id, author in (("s", "kim"), ("t", "kim"), ("s", "lee"), ("s", None)):
            hk.submit(session_id, "up", author=author)
        hk.collection.withdraw("default", stored_feedback(hk)[0].id)
        hk.sessions.update("default", "s", {"tier": "gold"})
        hk.conversations.append("default", "s", "helper", 0, {"text": "I am Lee"})
        answered = server.post("/api/erasures", conditions, status=200)
        assert (answered["erased"], answered["removed"]["feedback"]) == (4 - left, 4 - left)
        assert len(stored_feedback(hk)) == left
        # The metadata of the erased session is removed, and that of others remains.
        whole = conditions.get("session_id") and not conditions.get("author")
        assert hk.sessions.get("default", "s") == ({} if whole else {"tier": "gold"})
        assert hk.conversations.count("default", "s") == (0 if whole else 1)
        assert (answered["removed"]["messages"], answered["removed"]["metadata"]) == ((1, 1) if whole else (0, 0))
        assert server.get("/api/analytics/summary?status=any&withdrawn=true")["total_feedbacks"] == left

    def test_conditions_are_required(self, server: Server, hk: Harken) -> None:
        """Without a condition, or with a misspelt or empty one, nothing is erased."""
        hk.submit("s", "up", author="kim")
        for body in ({}, {"author": None}, {"author": ""}, {"autor": "kim"}, {"author": "kim", "agent_id": "x"}):
            problem(server.ask("POST", "/api/erasures", json=body), 422, "invalid")
        assert len(stored_feedback(hk)) == 1
