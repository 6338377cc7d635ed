"""The overview and the page of issues, without JavaScript."""

from collections.abc import Iterator
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag

import harken
from harken import Harken, StorageUnavailable
from harken.services.analytics import AnalyticsService
from hosts.serving import Server
from hosts.web.site import Visitor, served_at
from support import ManualClock

pytestmark = pytest.mark.slow

COMMENTS = (
    "The checkout page froze again",
    "My suitcase was lost between two flights",
    "Nobody answered the phone for an hour",
    "It named a price that was wrong",
    "The seat was broken and dirty",
)


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A Harken that holds spam."""
    with harken.connect("memory://", clock=clock, spam="hold") as connected:
        yield connected


@pytest.fixture
def server(hk: Harken, clock: ManualClock) -> Iterator[Server]:
    """A server with open access."""
    with served_at(hk, clock) as serving:
        yield serving


@pytest.fixture
def visitor(server: Server) -> Visitor:
    """Anybody."""
    return Visitor(server)


def fill(hk: Harken, count: int = 40, *, rating: str | None = None, **fields: Any) -> None:
    """Feedback of as many sessions, half of it up unless there is a rating."""
    for place in range(count):
        given = rating or ("up" if place % 2 else "down")
        hk.submit(
            f"session-{fields}-{place}",
            given,
            COMMENTS[place % len(COMMENTS)] if given == "down" else "Thank you",
            agent_id=fields.get("agent_id"),
            tags=fields.get("tags", ()),
            context=fields.get("context"),
        )


def read(visitor: Visitor, path: str = "/dashboard", status: int = 200) -> BeautifulSoup:
    """A page."""
    answer = visitor.get(path)
    assert answer.status_code == status, answer.text
    return BeautifulSoup(answer.text, "html.parser")


def text_of(found: Tag | BeautifulSoup | None) -> str:
    """The text of an element, with single spaces."""
    assert found is not None
    return " ".join(found.get_text(" ").split())


def card(page: BeautifulSoup, heading: str) -> Tag:
    """The card with this heading."""
    (found,) = (one for one in page.select("section.card") if [text_of(h) for h in one.select("h2")] == [heading])
    return found


class TestCards:
    @pytest.mark.parametrize(
        "failing",
        [
            ("reasons", "Common issues", "Issues could not be counted."),
            ("ranking", "By agent", "The ranking could not be computed."),
            ("heat_map", "By hour", "The hours could not be computed."),
            ("changes", "Satisfaction over time", "The trend could not be computed."),
        ],
    )
    def test_one_that_fails_does_not_fail_the_page(
        self,
        hk: Harken,
        visitor: Visitor,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        failing: tuple[str, str, str],
    ) -> None:
        """It says so in its place, offers to try again, and the failure is in the log."""
        method, heading, message = failing
        fill(hk, agent_id="Ann", tags=["slow"])

        def fail(*_: Any, **__: Any) -> None:
            raise StorageUnavailable("the disk is on fire")

        monkeypatch.setattr(AnalyticsService, method, fail)
        page = read(visitor, "/dashboard?zone=UTC&agent_id=Ann&latest=up")
        failed = card(page, heading)
        assert text_of(failed.select_one(".note.e span")) == f"{message} The rest of the page is right."
        assert failed.select(".note a")[0]["href"] == "/dashboard?zone=UTC&agent_id=Ann&latest=up"
        assert len(page.select(".note.e")) == 1
        assert len(page.select("section.card")) == 6
        assert "Responses 40" in text_of(page.select_one(".kpis"))
        assert "the disk is on fire" not in text_of(page)
        assert "the disk is on fire" in caplog.text

    def test_filters_survive_every_tab(self, hk: Harken, visitor: Visitor) -> None:
        """Each tab, and each link of the filter bar, keeps the filters, the period and the other tabs."""
        for version in ("1", "2"):
            fill(hk, agent_id="Ann", tags=["slow"], context={"version": version})
        filters = "zone=UTC&period=week&agent_id=Ann&tag=slow"
        chosen = f"{filters}&trend=table&issues=reasons&hours=responses&latest=down&by=agent"
        page = read(visitor, f"/dashboard?{chosen}")
        links = [str(one["href"]) for one in page.select(".tabs a")]
        assert len(links) == 13
        for link in links:
            missing = [pair for pair in chosen.split("&") if pair not in link]
            # The tabs of a card replace the choice of that card only.
            assert len(missing) <= 1, link
            assert not set(filters.split("&")) & set(missing)
            read(visitor, link)
        for one in page.select(".filters .f a, .filters a.f"):
            kept = [pair for pair in chosen.split("&") if pair in str(one["href"])]
            assert len(kept) >= len(chosen.split("&")) - 1, one

    def test_what_needs_somebody(self, hk: Harken, visitor: Visitor) -> None:
        """It is absent if nothing does; else it leads there, and the statistics say what waits."""
        fill(hk)
        assert "Needs you" not in text_of(read(visitor))
        hk.submit("bad", "up", "click here for free money, buy now http://spam.example")
        assert hk.moderation.backlog("default").waiting == 1
        page = read(visitor)
        assert "1 waits for review" in text_of(card(page, "Needs you"))
        assert "Waiting for review 1" in text_of(page.select_one(".kpis"))


class TestIssues:
    def test_words_if_there_are_no_reasons(self, hk: Harken, visitor: Visitor) -> None:
        """A few comments are looked at at once."""
        fill(hk, 100)
        issues = card(read(visitor), "Common issues")
        assert text_of(issues.select_one("[aria-current]")) == "Words"
        assert "checkout" in text_of(issues)

    def test_what_takes_long_comes_later(self, hk: Harken, visitor: Visitor) -> None:
        """A box leads to the page that finds it. Afterwards it is known, and shown at once."""
        fill(hk, 201, rating="down")
        issues = card(read(visitor, "/dashboard?zone=UTC"), "Common issues")
        (box,) = issues.select("[data-later][aria-busy=true]")
        assert "checkout" not in text_of(issues)
        (link,) = box.select("a")
        assert link["href"] == box["data-later"]
        part = read(visitor, f"{link['href']}&fragment=true")
        assert "checkout" in text_of(part)
        assert not part.select("html, script")
        assert "checkout" in text_of(read(visitor, str(link["href"])))
        issues = card(read(visitor, "/dashboard?zone=UTC"), "Common issues")
        assert "checkout" in text_of(issues)
        assert not issues.select("[data-later]")

    def test_a_row_selects_the_reason(self, hk: Harken, visitor: Visitor) -> None:
        """It replaces another reason, and keeps all other filters."""
        fill(hk, agent_id="Ann", tags=["slow", "wrong"])
        page = read(visitor, "/dashboard?zone=UTC&agent_id=Ann&tag=slow&issues=reasons")
        links = {text_of(one.select_one(".t")): one["href"] for one in card(page, "Common issues").select("a.iss")}
        assert links["wrong"] == "/dashboard?zone=UTC&agent_id=Ann&issues=reasons&tag=wrong"

    def test_nothing_to_complain_about(self, hk: Harken, visitor: Visitor) -> None:
        """It says so."""
        fill(hk, rating="up")
        assert "There is no thumbs-down feedback" in text_of(card(read(visitor), "Common issues"))


class TestOneRating:
    """Reasons are given with thumbs-down, so the satisfaction of a reason says nothing."""

    @pytest.fixture
    def page(self, hk: Harken, visitor: Visitor, clock: ManualClock) -> BeautifulSoup:
        """The overview of a reason of 2 of 10 thumbs-down entries of the period before, and 12 of 30 of this one."""
        fill(hk, 2, agent_id="Bob", rating="down", tags=["slow"])
        fill(hk, 8, agent_id="Bob", rating="down", tags=["wrong"])
        clock.turn(days=28, minutes=20)
        fill(hk, 9, agent_id="Ann", rating="down", tags=["slow"], context={"n": "1"})
        fill(hk, 3, agent_id="Cy", rating="down", tags=["slow"], context={"n": "1"})
        fill(hk, 18, agent_id="Ann", rating="down", tags=["wrong"], context={"n": "2"})
        fill(hk, 30, agent_id="Ann", rating="up", context={"n": "2"})
        return read(visitor, "/dashboard?zone=UTC&tag=slow")

    def test_numbers_take_the_place_of_satisfaction(self, page: BeautifulSoup) -> None:
        """The title and the statistics have the number, its change, and its share."""
        title = text_of(page.select_one("h1"))
        assert title.split(" about ") == ["12 thumbs-down ratings", "“slow”, 10 more than before"]
        assert [text_of(one) for one in page.select(".kpi")][:3] == [
            "Thumbs-down ratings 12 ▲ 500% from 2",
            "Of all thumbs-down ratings 40 % of 30 thumbs-down ratings · was 20%",
            "With a comment 100 % same as before",
        ]
        assert "0.0%" not in page.get_text()
        assert "confidence" not in page.get_text()
        assert "too close to tell" not in page.get_text()

    def test_the_trend_is_one_of_numbers(self, page: BeautifulSoup, visitor: Visitor) -> None:
        """As bars, and in the table."""
        chart = card(page, "Responses over time")
        assert chart.select("rect.fd, rect.fd.partbar")
        assert not chart.select(".ln:not(.prev), .band, .pt, .whisk")
        table = card(read(visitor, "/dashboard?zone=UTC&tag=slow&trend=table"), "Responses over time")
        assert [text_of(one) for one in table.select("th")] == ["Time", "Responses", "Before", "Up", "Neutral", "Down"]
        assert [text_of(one) for one in table.select("tbody tr")[-1].select("td")][1:] == ["12", "2", "0", "0", "12"]

    def test_agents_have_numbers(self, page: BeautifulSoup) -> None:
        """And the share of their own downs; each selects its agent."""
        table = card(page, "By agent")
        assert [text_of(one) for one in table.select("tbody tr")] == ["Ann 9 33%", "Cy 3 100%"]
        columns = ["Agent", "Number", "Thumbs-down ratings", "Of its thumbs-down ratings"]
        assert [text_of(one) for one in table.select("th")] == columns
        assert table.select("a[href*=agent_id]")[0]["href"] == "/dashboard?zone=UTC&tag=slow&agent_id=Ann"

    def test_other_groups_have_numbers(self, page: BeautifulSoup, visitor: Visitor) -> None:
        """Such as the values of a context key."""
        grouped = card(read(visitor, "/dashboard?zone=UTC&tag=slow&by=context.n"), "By n")
        assert [text_of(one) for one in grouped.select("tbody tr")] == ["1 12 100%"]

    def test_hours_have_numbers(self, page: BeautifulSoup, visitor: Visitor) -> None:
        """There is no satisfaction to colour them by."""
        assert [text_of(one) for one in card(page, "By hour").select(".tabs a")] == ["Responses", "Table"]
        table = card(read(visitor, "/dashboard?zone=UTC&tag=slow&hours=table"), "By hour")
        assert [text_of(one) for one in table.select("th")] == ["Day", "Hour", "Responses"]

    def test_its_comments_are_the_issues(self, page: BeautifulSoup) -> None:
        """All chose the reason; what they wrote about it is new."""
        current = card(page, "Common issues").select_one(".tabs [aria-current]")
        assert text_of(current) == "Words"

    def test_a_reason_of_both_thumbs_has_satisfaction(self, hk: Harken, visitor: Visitor) -> None:
        """Then it means something."""
        fill(hk, tags=["slow"])
        page = read(visitor, "/dashboard?zone=UTC&tag=slow")
        assert text_of(page.select_one(".kpi .row")) == "50 %"
        assert card(page, "Satisfaction over time")

    def test_what_cannot_be_counted_is_said(
        self, hk: Harken, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In the place of the groups."""
        fill(hk, rating="down", tags=["slow"])

        def fail(*_: Any, **__: Any) -> None:
            raise StorageUnavailable("the disk is on fire")

        monkeypatch.setattr(AnalyticsService, "ranking", fail)
        page = read(visitor, "/dashboard?tag=slow")
        assert "The ranking could not be computed." in text_of(card(page, "By agent"))

    def test_nothing_was_found(self, hk: Harken, visitor: Visitor) -> None:
        """The cards say so."""
        fill(hk)
        page = read(visitor, "/dashboard?tag=slow")
        assert text_of(page.select_one("h1")) == "No feedback in this period"
        assert "No feedback in this period." in text_of(card(page, "Responses over time"))
        assert "There are no thumbs in this period." in text_of(card(page, "By agent"))

    def test_neutral_feedback_is_a_part_of_all(self, hk: Harken, visitor: Visitor) -> None:
        """Also if a reason was chosen for it."""
        for place in range(10):
            hk.submit(f"s{place}", None, "It took a while", tags=["slow"])
        fill(hk, 30)
        page = read(visitor, "/dashboard?zone=UTC&compare=none&tag=slow")
        assert text_of(page.select_one("h1")) == "10 responses about “slow”"
        assert text_of(page.select(".kpi")[1]) == "Of all responses 25 % of 40 responses"


class TestRanking:
    def test_context_keys_are_tabs(self, hk: Harken, visitor: Visitor) -> None:
        """At most three tabs: agents and the keys with several values that most feedback has; and the chosen one."""
        for place in range(40):
            context = {"version": str(place % 2), "segment": f"s{place % 3}", "constant": "1"}
            hk.submit(
                f"s{place}", "up", "Fine", agent_id="Ann", context=context | ({"rare": str(place)} if place < 3 else {})
            )
        page = read(visitor, "/dashboard?by=context.version")
        assert [text_of(one) for one in card(page, "By version").select(".tabs a")] == ["Agent", "Segment", "Version"]
        ranked = card(page, "By version")
        assert [text_of(one) for one in ranked.select("td a")] == ["0", "1"]
        assert ranked.select("td a")[0]["href"] == "/dashboard?by=context.version&context.version=0"
        chosen = card(read(visitor, "/dashboard?by=context.rare"), "By rare")
        assert [text_of(one) for one in chosen.select(".tabs a")] == ["Agent", "Segment", "Rare"]

    def test_without_agents(self, hk: Harken, visitor: Visitor) -> None:
        """A context key takes their place."""
        for version in ("1", "2"):
            fill(hk, context={"version": version})
        assert card(read(visitor), "By version")

    def test_what_cannot_be_ranked(self, hk: Harken, visitor: Visitor) -> None:
        """Sessions are too many; the error says what can be."""
        fill(hk, 2)
        for by in ("session", "slot", "nothing", "context."):
            sentence = text_of(read(visitor, f"/dashboard?by={by}", status=422).select_one(".lead"))
            assert "context" in sentence


class TestComparison:
    def test_without(self, hk: Harken, visitor: Visitor, clock: ManualClock) -> None:
        """Nothing on the page is about the period before."""
        fill(hk, 200, agent_id="Ann", tags=["slow"])
        clock.turn(days=7, hours=1)
        fill(hk, 200, agent_id="Ann", rating="up")
        fill(hk, 30, agent_id="Bob", rating="down", tags=["slow"])
        compared = read(visitor, "/dashboard?period=week")
        assert text_of(compared.select_one("h1")).startswith("Satisfaction rose")
        assert "from 200" in text_of(compared.select_one(".kpis"))
        page = read(visitor, "/dashboard?period=week&compare=none")
        assert text_of(page.select_one("h1")) == "Satisfaction is 87.0%"
        assert not page.select(".lead")
        assert not page.select(".chg")
        assert "was" not in text_of(page.select_one(".kpis"))
        assert "from 200" not in text_of(page)

    def test_too_little_and_nothing(self, hk: Harken, visitor: Visitor) -> None:
        """Few thumbs, and a filter that nothing fits."""
        fill(hk, 7)
        assert text_of(read(visitor).select_one("h1")) == "Too little to tell: 7 thumbs so far"
        page = read(visitor, "/dashboard?agent_id=nobody")
        assert text_of(page.select_one("h1")) == "No feedback in this period"
        assert not page.select(".note.e")


class TestKeysOfAgents:
    def test_nothing_of_other_agents_is_shown(self, hk: Harken, clock: ManualClock) -> None:
        """Neither their names and numbers, nor what waits, nor alerts, on any page."""
        fill(hk, agent_id="Ann", tags=["slow"])
        fill(hk, 60, agent_id="Zoe", rating="down", tags=["secret"])
        hk.submit("bad", "up", "click here for free money, buy now http://spam.example", agent_id="Zoe")
        key = hk.keys.create("default", ["read", "moderate"], agents=["Ann"]).text
        with served_at(hk, clock, access="keys") as server:
            visitor = Visitor.signed_in(server, key)
            for path in (
                "",
                "/issues",
                "/feedback",
                "/filter?name=agent_id",
                "/filter?name=tag",
                "/feedback?tag=nothing",
            ):
                text = text_of(read(visitor, f"/dashboard{path}"))
                assert "Zoe" not in text
                assert "secret" not in text
                assert "waiting" not in text
            page = read(visitor)
            assert "Responses 40" in text_of(page.select_one(".kpis"))
            assert "Waiting for review" not in text_of(page)
            assert "Alerts" not in text_of(page.select_one(".nav"))
            read(visitor, "/dashboard?agent_id=Zoe", status=403)
            # Without its filter, only what the visitor may see is counted.
            nothing = text_of(read(visitor, "/dashboard/feedback?agent_id=Ann&tag=nothing"))
            assert "Without “nothing” there are 40" in nothing
