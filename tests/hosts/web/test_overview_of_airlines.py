"""The numbers on the overview of real feedback on airlines, compared with a count of the file."""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from math import log, sqrt

import pytest
import requests
from bs4 import BeautifulSoup, Tag

import harken
from harken import Rating
from harken.configuration.storage_urls import open_storage
from harken.domain.instants import parse_instant
from harken.ports.repository import Accepted
from harken.testing import a_feedback, with_content
from hosts.serving import Server
from hosts.web.site import served_at
from shared_data import AIRLINES, needs_real_feedback

pytestmark = [pytest.mark.slow, needs_real_feedback]

NOW = datetime(2015, 2, 22, 19, 21, 30, tzinfo=UTC)
SINCE, UNTIL = datetime(2015, 2, 20, tzinfo=UTC), datetime(2015, 2, 23, tzinfo=UTC)
#: The same part of the three days before, to the quarter hour.
BEFORE = datetime(2015, 2, 17, tzinfo=UTC), datetime(2015, 2, 19, 19, 30, tzinfo=UTC)
PERIOD = "since=2015-02-20&until=2015-02-23&zone=UTC"
DASH = "\N{EN DASH}"
Z = 1.959963984540054

Row = dict[str, str]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """The rows of the file."""
    with AIRLINES.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def server(rows: list[Row]) -> Iterator[Server]:
    """A dashboard with all of it, on its last evening."""
    with open_storage("memory://") as storage:
        storage.feedback.add([Accepted(with_content(entry(row), tags=tags_of(row))) for row in rows])
        with harken.connect(storage, clock=lambda: NOW) as hk, served_at(hk, lambda: NOW) as served:
            yield served


def entry(row: Row) -> harken.Feedback:
    """A row as feedback."""
    return a_feedback(
        row["session_id"],
        agent_id=row["agent_id"],
        rating=Rating.from_word(row["rating"] or "neutral"),
        comment=row["comment"],
        created_at=given_at(row),
    )


def tags_of(row: Row) -> tuple[str, ...]:
    """The reason."""
    return (row["reason"],) if row["reason"] else ()


@pytest.fixture(scope="module")
def after(rows: list[Row]) -> list[Row]:
    """The rows of the period."""
    return select(rows, SINCE, UNTIL)


@pytest.fixture(scope="module")
def before(rows: list[Row]) -> list[Row]:
    """The rows of the period before."""
    return select(rows, *BEFORE)


@pytest.fixture(scope="module")
def page(server: Server) -> BeautifulSoup:
    """The overview."""
    return read(server, f"/dashboard?{PERIOD}")


def read(server: Server, path: str) -> BeautifulSoup:
    """A page."""
    answer = requests.get(f"{server.url}{path}", timeout=60)
    assert answer.status_code == 200, answer.text
    return BeautifulSoup(answer.text, "html.parser")


def texts(found: Iterable[Tag]) -> list[str]:
    """The texts of elements, with single spaces."""
    return [" ".join(one.get_text(" ").split()) for one in found]


def card(page: BeautifulSoup, heading: str) -> Tag:
    """The card with this heading."""
    found = [one for one in page.select("section.card") if texts(one.select("h2")) == [heading]]
    assert len(found) == 1
    return found[0]


def cells(table: Tag) -> list[list[str]]:
    """The texts of the cells of a table."""
    return [texts(row.select("td")) for row in table.select("tbody tr")]


# --- Statistics, counted from the file --------------------------------------------------------------------------------


def given_at(row: Row) -> datetime:
    """When it was given."""
    return parse_instant(row["created_at"])


def select(rows: list[Row], since: datetime, until: datetime) -> list[Row]:
    """The rows of a period."""
    return [row for row in rows if since <= given_at(row) < until]


def ups(rows: list[Row]) -> tuple[int, int]:
    """The thumbs-up, and all thumbs."""
    ratings = Counter(row["rating"] for row in rows)
    return ratings["up"], ratings["up"] + ratings["down"]


def percent(rows: list[Row]) -> float:
    """The satisfaction."""
    up, thumbs = ups(rows)
    return up / thumbs * 100


def shown(value: float, thumbs: int) -> str:
    """A percentage as on the page."""
    return f"{value:.1f}" if thumbs >= 100 else f"{value:.0f}"


def effect(rows: list[Row], part: Callable[[Row], Hashable] = lambda _: None) -> float:
    """Cochran's ratio estimator for clusters: what each session gave in each part."""
    clusters: dict[Hashable, list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        if row["rating"]:
            of_session = clusters[part(row), row["session_id"]]
            of_session[0] += 1
            of_session[1] += row["rating"] == "up"
    thumbs, up = (sum(one[place] for one in clusters.values()) for place in (0, 1))
    share = (up + 1) / (thumbs + 2)
    variance = share * (1 - share)
    residuals = sum((up - share * given) ** 2 for given, up in clusters.values())
    count = len(clusters)
    repeated = [one for one in clusters.values() if one[0] > 1]
    if not repeated:
        return 1.0
    within = sum(up * (given - up) / (given - 1) for given, up in repeated) / sum(given for given, _ in repeated)
    alike = (1 - within / variance) * min(1, 10 / count)
    kish = 1 + (sum(given**2 for given, _ in clusters.values()) / thumbs - 1) * alike
    return max(1.0, residuals / (thumbs * variance) * count / (count - 1), kish)


def wilson(up: int, thumbs: int, design_effect: float) -> str:
    """The 95% score interval, on effective counts."""
    n, share = thumbs / design_effect, up / thumbs
    centre, scale = share + Z**2 / (2 * n), 1 + Z**2 / n
    margin = Z * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    low = max(0.0, (centre - margin) / scale) if up else 0.0
    high = (centre + margin) / scale if up < thumbs else 1.0
    return f"{shown(low * 100, thumbs)} {DASH} {shown(high * 100, thumbs)}"


def variance_of_change(old: list[Row], new: list[Row]) -> float:
    """The larger of the separate and the pooled variance, on effective counts."""
    sides = []
    for side in (old, new):
        of_side = effect(side)
        sides.append([value / of_side for value in ups(side)])
    (x1, n1), (x2, n2) = sides
    p1, p2, pooled = (x1 + 1) / (n1 + 2), (x2 + 1) / (n2 + 2), (x1 + x2 + 1) / (n1 + n2 + 2)
    return max(p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2, pooled * (1 - pooled) * (1 / n1 + 1 / n2))


def margin(variance: float, alpha: float) -> float:
    """Half of the always-valid interval in points: Robbins' mixture with a scale of five points."""
    mixed = variance + 0.05**2
    return 100 * sqrt(variance * mixed / 0.05**2 * (2 * log(1 / alpha) + log(mixed / variance)))


def evidence(old: list[Row], new: list[Row]) -> float:
    """The logarithm of the e-value of the same mixture."""
    variance = variance_of_change(old, new)
    mixed = variance + 0.05**2
    change = (percent(new) - percent(old)) / 100
    return log(variance / mixed) / 2 + change**2 * 0.05**2 / (2 * variance * mixed)


def holm(evidences: Iterable[float]) -> float:
    """The level of Holm's procedure at 5%."""
    ranked = sorted(evidences, reverse=True)
    for place, value in enumerate(ranked):
        level = 0.05 / (len(ranked) - place)
        if value < log(1 / level):
            return level
    return 0.05


def of_agents(rows: list[Row]) -> dict[str, list[Row]]:
    """The rows of each agent."""
    return {name: [row for row in rows if row["agent_id"] == name] for name in {row["agent_id"] for row in rows}}


# --- The page ---------------------------------------------------------------------------------------------------------


def test_the_headline(page: BeautifulSoup, before: list[Row], after: list[Row]) -> None:
    """What changed, by how much at least and at most, since when, why, and what would mislead."""
    change = percent(after) - percent(before)
    assert texts(page.select("h1")) == [f"Satisfaction fell {-change:.1f} points, to {percent(after):.1f}%"]
    half = margin(variance_of_change(before, after), 0.05)
    began = datetime(2015, 2, 21, 18, tzinfo=UTC)
    sides = [percent(select(after, SINCE, began)), percent(select(after, began, UNTIL))]
    shares = [
        Counter(row["reason"] for row in side if row["rating"] == "down")["Cancelled Flight"]
        / sum(row["rating"] == "down" for row in side)
        for side in (before, after)
    ]
    others = [[row for row in side if row["agent_id"] != "American"] for side in (before, after)]
    lead = (
        f"By {-change - half:.1f} to {-change + half:.1f} points, 95% confidence; "
        f"{ups(after)[1]:,} thumbs now, {ups(before)[1]:,} before. "
        f"The fall began on Saturday at 18:00 UTC: {sides[0]:.1f}% before, {sides[1]:.1f}% since. "
        f"Cancelled Flight grew from {shares[0]:.0%} to {shares[1]:.0%} of thumbs-down ratings. "
        f"American is new in this period: without it, satisfaction fell {percent(others[0]) - percent(others[1]):.1f} "
        "points."
    )
    assert texts(page.select(".lead")) == [lead]


def test_the_main_statistics(page: BeautifulSoup, before: list[Row], after: list[Row]) -> None:
    """Satisfaction with its interval, responses, comments, and what waits."""
    up, thumbs = ups(after)
    commented = [sum(bool(row["comment"]) for row in side) / len(side) for side in (before, after)]
    assert commented == [1, 1]
    satisfaction = (
        f"Satisfaction , what it means The share of thumbs up among all thumbs: {up:,} of {thumbs:,}. "
        "Neutral responses do not count. The interval contains the true share with 95% confidence; it is wider if "
        "authors gave several thumbs. "
        f"{percent(after):.1f} % ▼ {percent(before) - percent(after):.1f} points "
        f"{wilson(up, thumbs, effect(after))}, 95% confidence · from {thumbs:,} thumbs · was {percent(before):.1f}%"
    )
    assert texts(page.select(".kpi")) == [
        satisfaction,
        f"Responses {len(after):,} ▲ {len(after) / len(before) - 1:.0%} from {len(before):,}",
        "With a comment 100 % same as before",
        "Waiting for review 0 nothing waits",
    ]


def test_the_trend(server: Server, rows: list[Row], after: list[Row]) -> None:
    """Each three hours: satisfaction, its interval, that of three days before, and the responses."""

    def start_of(row: Row) -> datetime:
        at = given_at(row)
        return at.replace(hour=at.hour // 3 * 3, minute=0, second=0)

    trend = card(read(server, f"/dashboard?{PERIOD}&trend=table"), "Satisfaction over time")
    assert texts(trend.select(".hd .grow")) == ["by 3 hours · UTC · today so far"]
    of_all, starts = effect(after, start_of), sorted({start_of(row) for row in after})
    expected = []
    for start in starts:
        part = [row for row in after if start_of(row) == start]
        earlier = [row for row in select(rows, *BEFORE) if start_of(row) == start - timedelta(days=3)]
        up, thumbs = ups(part)
        ratings = Counter(row["rating"] for row in part)
        expected.append(
            [
                f"{start:%a} {start.day} {start:%b}, {start:%H:%M} {DASH} {start + timedelta(hours=3):%H:%M}"
                + (" so far" if start == starts[-1] else ""),
                f"{shown(percent(part), thumbs)}%",
                wilson(up, thumbs, of_all),
                f"{shown(percent(earlier), ups(earlier)[1])}%" if ups(earlier)[1] else DASH,
                f"{len(part):,}",
                f"{ratings['up']:,}",
                f"{ratings['']:,}",
                f"{ratings['down']:,}",
            ]
        )
    assert cells(trend) == expected
    assert len(expected) == 23


def test_the_change_in_the_picture(page: BeautifulSoup, after: list[Row]) -> None:
    """The label of the fall names the hour that the headline names."""
    began = datetime(2015, 2, 21, 18, tzinfo=UTC)
    old, new = percent(select(after, SINCE, began)), percent(select(after, began, UNTIL))
    picture = " ".join(texts(card(page, "Satisfaction over time").select("svg text")))
    assert f"Fell at Sat 18:00 {old:.1f}% before, {new:.1f}% since" in picture


def test_the_issues(page: BeautifulSoup, before: list[Row], after: list[Row]) -> None:
    """The five most frequent reasons with counts and shares, and the change of the one that grew."""
    downs, earlier = ([row for row in side if row["rating"] == "down"] for side in (after, before))
    counts = Counter(row["reason"] for row in downs)
    issues = card(page, "Common issues")
    assert texts(issues.select(".hd .grow")) == [f"share of {len(downs):,} thumbs-down ratings"]
    assert texts(issues.select(".r")) == [f"{n:,} · {n / len(downs):.0%}" for _, n in counts.most_common(5)]
    grown = counts["Cancelled Flight"] / len(downs) - Counter(row["reason"] for row in earlier)[
        "Cancelled Flight"
    ] / len(earlier)
    tag = f" ▲ {grown * 100:.1f} points of share"
    names = [name for name, _ in counts.most_common(5)]
    assert texts(issues.select(".t")) == [f"{name}{tag if name == 'Cancelled Flight' else ''}" for name in names]
    assert texts(issues.select(".ft a")) == [f"All {len(counts)} reasons"]
    for name, quote in zip(names, texts(issues.select(".q")), strict=True):
        comment, agent = re.fullmatch(f"“(.*)” {DASH} (.*)", quote, re.DOTALL).groups()  # type: ignore[union-attr]
        assert any(
            (row["reason"], row["agent_id"], " ".join(row["comment"].split())) == (name, agent, comment)
            for row in downs
        )


def test_all_reasons(server: Server, after: list[Row]) -> None:
    """The page that the card leads to has all of them."""
    downs = [row for row in after if row["rating"] == "down"]
    page = read(server, f"/dashboard/issues?{PERIOD}")
    assert texts(page.select(".r")) == [
        f"{n:,} · {n / len(downs):.0%}" for _, n in Counter(row["reason"] for row in downs).most_common()
    ]


def test_the_ranking(page: BeautifulSoup, before: list[Row], after: list[Row]) -> None:
    """Each agent, its interval and its change; and the pair of agents that differs most clearly."""
    agents, earlier = of_agents(after), of_agents(before)
    ranked = sorted(agents, key=lambda name: -percent(agents[name]))
    known = [name for name in ranked if ups(earlier.get(name, []))[1] >= 20]
    level = holm(evidence(earlier[name], agents[name]) for name in known)
    expected = []
    for name in ranked:
        up, thumbs = ups(agents[name])
        satisfaction, interval = f"{percent(agents[name]):.1f}%", wilson(up, thumbs, effect(agents[name]))
        row = [
            f"{name} {thumbs:,} thumbs",
            f"{name}: {satisfaction} of {thumbs:,} thumbs ({interval})",
            f"{satisfaction} {interval}",
        ]
        if name not in known:
            expected.append([*row, "new"])
            continue
        change = percent(agents[name]) - percent(earlier[name])
        is_sure = abs(change) > margin(variance_of_change(earlier[name], agents[name]), level)
        expected.append([*row, f"{'▲' if change > 0 else '▼'} {abs(change):.1f}" if is_sure else "≈ no clear change"])
    ranking = card(page, "By agent")
    assert cells(ranking) == expected
    assert any("▼" in row[-1] for row in expected)

    pairs = {(one, other): evidence(agents[other], agents[one]) for one, other in combinations(ranked, 2)}
    better, other = max(pairs, key=lambda pair: pairs[pair])
    apart = percent(agents[better]) - percent(agents[other])
    half = margin(variance_of_change(agents[other], agents[better]), holm(pairs.values()))
    sentence = texts(ranking.select(".note"))[0]
    assert sentence.startswith(f"{better} is better than {other} by {apart - half:.0f} to {apart + half:.0f} points; ")
    assert texts(ranking.select(".ft")) == [
        f"Dashed line: all, {percent(after):.1f}%. 95% confidence, the sentence corrected for {len(pairs)} comparisons."
    ]


def test_the_latest_feedback(page: BeautifulSoup, after: list[Row]) -> None:
    """The six newest comments with their ages, and how many there are."""
    newest = sorted(after, key=given_at, reverse=True)[:6]
    latest = card(page, "Latest feedback")
    assert texts(latest.select(".words")) == [" ".join(row["comment"].split()) for row in newest]
    ages = [int((NOW - given_at(row)).total_seconds()) for row in newest]
    assert texts(latest.select(".tm")) == [f"{age} s" if age < 60 else f"{age // 60} min" for age in ages]
    assert texts(latest.select(".ft a")) == [f"See all {len(after):,}"]


def test_the_hours(server: Server, after: list[Row]) -> None:
    """The satisfaction and the responses of each hour."""
    hours: dict[datetime, list[Row]] = defaultdict(list)
    for row in after:
        hours[given_at(row).replace(minute=0, second=0)].append(row)
    of_all = effect(after, lambda row: given_at(row).replace(minute=0, second=0))
    expected = []
    for hour in sorted(hours):
        up, thumbs = ups(hours[hour])
        satisfaction = f"{shown(percent(hours[hour]), thumbs)}%" if thumbs else DASH
        expected.append([satisfaction, wilson(up, thumbs, of_all) if thumbs else DASH, f"{len(hours[hour]):,}"])
    table = card(read(server, f"/dashboard?{PERIOD}&hours=table"), "By hour")
    assert [row[2:5] for row in cells(table)] == expected


def test_a_rating_filter(server: Server, before: list[Row], after: list[Row]) -> None:
    """Under a filter on the rating, numbers take the place of satisfaction, also over time and by agent."""
    downs, earlier = (sum(row["rating"] == "down" for row in side) for side in (after, before))
    page = read(server, f"/dashboard?{PERIOD}&rating=down")
    assert texts(page.select("h1")) == [f"{downs:,} thumbs-down ratings, {downs - earlier:,} more than before"]
    share = f"Of all responses {downs / len(after):.0%} of {len(after):,} responses".replace("%", " %", 1)
    assert texts(page.select(".kpi"))[:2] == [
        f"Thumbs-down ratings {downs:,} ▲ {downs / earlier - 1:.0%} from {earlier:,}",
        f"{share} · was {earlier / len(before):.0%}",
    ]
    trend = read(server, f"/dashboard?{PERIOD}&rating=down&trend=table")
    assert sum(int(row[-1].replace(",", "")) for row in cells(card(trend, "Responses over time"))) == downs
    of_agent = Counter(row["agent_id"] for row in after if row["rating"] == "down")
    all_of_agent = Counter(row["agent_id"] for row in after)
    assert [[row[0], *row[2:]] for row in cells(card(page, "By agent"))] == [
        [agent, f"{count:,}", f"{count / all_of_agent[agent]:.0%}"] for agent, count in of_agent.most_common()
    ]
    assert {one.get_text() for one in card(page, "Latest feedback").select(".th")} == {"Down"}
