"""Every link and form of every page leads on, with several selections; and what is hostile never breaks a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import pytest
from attrs import define, field
from bs4 import BeautifulSoup, Tag
from hypothesis import example, given
from hypothesis import strategies as st

import harken
from channels import Recorder
from harken import DeliveryFailed, Harken
from harken_adapters.hosts.web.selection import is_filter
from hosts.serving import Server
from hosts.web.site import Visitor, served_at
from hosts.web.test_selection import NAMES, VALUES, check
from support import ManualClock

pytestmark = pytest.mark.slow

NOW: Final = datetime(2026, 4, 15, 12, 7, 30, tzinfo=UTC)
PAGES: Final = (
    *("", "/feedback", "/issues", "/filter?name=tag&page=overview", "/filter?name=context&page=feedback"),
    *("/moderation", "/moderation?tab=rejected", "/moderation?tab=approved", "/alerts", "/alerts?alerts=resolved"),
    *("/alerts?state=arrived", "/settings", "/preferences"),
)
SELECTIONS: Final = (
    "",
    "zone=Asia/Tokyo&period=week&agent_id=Ann%20%26%20%3Cb%3E&rating=down&compare=none",
    "since=2026-04-01&until=2026-04-08&zone=Pacific/Kiritimati&tag=slow%2Fnow&has_comment=true",
    "application=other&period=today",
    "text=nobody+wrote+this&agent_id=unknown&context.version=%C3%A4+1",
    "status=any&withdrawn=true&session_id=angry&period=year&by=context.version&trend=table&hours=table&issues=words",
)
NUMBERS: Final = count()
#: What only some pages know.
OWN: Final = ("by", "trend", "hours", "issues")
MORE_NAMES: Final = (
    *("tab", "held_by", "like", "current", "decided", "today", "message", "state", "channel", "type", "cause"),
    *("feedback_id", "alert_id", "open", "done", "count", "alerts", "alerts_after", "dry_run", "events", "ratings"),
)
MORE_VALUES: Final = (
    *("waiting", "rejected", "approved", "1:x", "-1:x", ":", "9" * 30, "dead", "arrived", "log", "feedback.created"),
    "bm8.bm8",
)


def refuse(_: object) -> None:
    """The answer of a receiver that is gone."""
    raise DeliveryFailed("410 Gone", retryable=False)


@pytest.fixture
def hk() -> Iterator[Harken]:
    """A Harken with something on every page."""
    rules: Any = [
        {"name": "in a row", "kind": "streak", "by": "session", "length": 3},
        {"name": "low", "kind": "satisfaction", "by": "agent", "below": 60, "window": "3h", "at_least": 5},
    ]
    channels: Any = {"support": Recorder(refuse), "team": Recorder()}
    clock = ManualClock(NOW - timedelta(days=20))
    with harken.connect("memory://", clock=clock, spam="hold", channels=channels, alert_rules=rules) as connected:
        fill(connected, clock)
        yield connected


def fill(hk: Harken, clock: ManualClock) -> None:
    """Feedback of twenty days, some of it held, decided, withdrawn and in alerts."""
    agents = ("Ann & <b>", "Ben")
    for place in range(118):
        hk.submit(
            f"s-{place % 7}",
            ("up", "down", None)[place % 3],
            "Slow & wrong" if place % 3 else "",
            agent_id=agents[place % 2],
            tags=["slow/now"] if place % 3 else [],
            context={"version": f"ä {place % 2}"},
        )
        clock.turn(hours=4)
    for place in range(4):
        hk.submit("angry", "down", "<b>wrong</b>", agent_id="Ben", message_id=f"m/{place}", author="kim?")
        clock.turn(minutes=1)
    hk.submit("angry", "up", "Better", agent_id="Ben")
    for place in range(24):
        hk.submit(f"spam-{place}", "up", "click here", author="bot", agent_id=agents[place % 2])
    one, two, *_ = hk.moderation.queue(hk.query()).items
    hk.moderation.decide(one.application, one.id, "approved", moderator="Sam")
    hk.moderation.decide(two.application, two.id, "rejected", moderator="Sam", reason="spam")
    gone = hk.vote("angry", "down", "Taken back", author="kim?", message_id="m/9")
    hk.withdraw(gone.feedback.id)
    hk.submit("s", "up", application="other")
    hk.keys.create("default", ["read"], name="<b>", agents=["Ben"])
    hk.alerts.evaluate_windows()
    hk.relay.run_due()
    clock.now = NOW


@pytest.fixture
def server(hk: Harken) -> Iterator[Server]:
    """A server with open access."""
    with served_at(hk, lambda: NOW, relay=False) as serving:
        yield serving


def shape(address: str) -> tuple[str, frozenset[str]]:
    """An address without the values of its parameters; all entries are one, and so are all filters."""
    parts = urlsplit(address)
    path = "/dashboard/feedback/ID" if parts.path.startswith("/dashboard/feedback/") else parts.path
    names = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    return path, frozenset("filter" if is_filter(name) else name for name in names)


def fields_of(form: Tag) -> list[tuple[str, str]]:
    """What a browser sends with the first button; required fields have a text, and one of several boxes is checked."""
    sent: list[tuple[str, str]] = []
    for one in form.select("input[name], select[name], textarea[name]"):
        kind, name, value = one.get("type"), str(one["name"]), str(one.get("value", ""))
        if one.name == "select":
            chosen = one.select_one("option[selected]") or one.select_one("option")
            value = str(chosen.get("value", chosen.get_text())) if chosen else ""
        elif one.name == "textarea":
            value = one.get_text()
        elif kind in ("checkbox", "radio") and name in dict(sent):
            continue
        # Names of routes must differ.
        sent.append((name, value or (f"x{next(NUMBERS)}" if one.has_attr("required") else "")))
    button = form.select_one("button[name]:not([disabled])")
    return sent if button is None else [*sent, (str(button["name"]), str(button.get("value", "")))]


def sentence(html: str) -> str:
    """What an error page says."""
    lead = BeautifulSoup(html, "html.parser").select_one(".lead")
    return lead.get_text(" ", strip=True) if lead else html


@define
class Crawl:
    """Follows links, each shape of an address once. All combinations of parameters would be too many.

    Attributes:
        visitor: who follows them.
        seen: the shapes that were followed.
        forms: the address and the fields of each form that changes something.
    """

    visitor: Visitor
    seen: set[tuple[str, frozenset[str]]] = field(factory=set)
    forms: dict[tuple[str, frozenset[str]], tuple[str, list[tuple[str, str]]]] = field(factory=dict)

    def follow(self, addresses: Sequence[str]) -> None:
        """Follow addresses, the links of their pages, and the links of pages that these lead to for the first time."""
        paths = {shape(address)[0] for address in addresses}
        waiting = [(address, True) for address in addresses]
        while waiting:
            address, goes_on = waiting.pop(0)
            if shape(address) in self.seen:
                continue
            self.seen.add(shape(address))
            found = self._links(address)
            path = shape(address)[0]
            if goes_on or path not in paths:
                waiting += [(one.partition("#")[0], False) for one in found]
            paths.add(path)

    def _links(self, address: str) -> list[str]:
        answer = self.visitor.get(address)
        assert answer.status_code == 200, (address, sentence(answer.text))
        if not answer.headers["content-type"].startswith("text/html"):
            return []
        page = BeautifulSoup(answer.text, "html.parser")
        links = [str(one["href"]) for one in page.select("a[href]")]
        links += [str(one["data-later"]) for one in page.select("[data-later]")]
        for form in page.select("form[action]"):
            action, fields = str(form["action"]), fields_of(form)
            if form.get("method") == "post":
                self.forms.setdefault((shape(action)[0], frozenset(dict(fields))), (action, fields))
            else:
                # Forms of GET replace the query string.
                links.append(f"{action.partition('?')[0]}?{urlencode(fields)}")
        return [urljoin(address, link) for link in links]


@pytest.mark.parametrize("selection", SELECTIONS)
def test_every_link_and_form_leads_on(server: Server, selection: str) -> None:
    """All links have an answer; so do all forms, as they are filled in at first."""
    crawl = Crawl(Visitor(server))
    shared = "&".join(one for one in selection.split("&") if not one.startswith(OWN))
    starts = [f"/dashboard?{selection}", *(f"/dashboard{page}{'&' if '?' in page else '?'}{shared}" for page in PAGES)]
    crawl.follow(starts)
    # The pages of another application have little feedback.
    assert len(crawl.seen) >= (40 if "application=" in selection else 44)
    assert len(crawl.forms) > 7
    # What is sent to a channel that is off is refused.
    for action, fields in sorted(crawl.forms.values(), key=lambda form: "/off" in form[0]):
        answer = crawl.visitor.post(action, fields)
        if answer.status_code == 303:
            answer = crawl.visitor.get(answer.headers["location"].partition("#")[0])
        assert answer.status_code == 200, (action, fields, sentence(answer.text))


@pytest.fixture(scope="module")
def visitor() -> Iterator[Visitor]:
    """A visitor of a dashboard with a little feedback."""
    with harken.connect("memory://", clock=ManualClock(NOW), spam="hold") as hk:
        hk.submit("s", "down", "Slow", agent_id="Ann", tags=["slow"])
        hk.submit("s", "up", "click here", agent_id="Ann")
        with served_at(hk, lambda: NOW) as server:
            yield Visitor(server)


PAIRS = st.lists(
    st.tuples(st.sampled_from(NAMES + MORE_NAMES), st.sampled_from(VALUES + MORE_VALUES) | st.text(max_size=20)),
    max_size=6,
)


@given(page=st.sampled_from(["/moderation", "/alerts", "/alerts/replay-all", "/settings", "/preferences"]), pairs=PAIRS)
@example(page="/moderation", pairs=[("current", "\0"), ("like", "x" * 3_000)])
@example(page="/moderation", pairs=[("decided", "9" * 30 + ":x"), ("seen", "9" * 30)])
@example(page="/moderation", pairs=[("after", "bm8")])
@example(page="/alerts", pairs=[("open", "\udcff"), ("after", "\0"), ("alerts_after", "%")])
@example(page="/settings", pairs=[("dry_run", "true"), ("channel", "<b>"), ("ratings", "maybe"), ("events", "")])
def test_hostile_query_strings_of_other_pages(visitor: Visitor, page: str, pairs: list[tuple[str, str]]) -> None:
    """As for the pages of a selection: each is a page, or says what is wrong."""
    check(visitor, f"/dashboard{page}?{urlencode(pairs, errors='surrogatepass')}")


@given(pairs=PAIRS)
def test_hostile_query_strings_of_an_entry(visitor: Visitor, pairs: list[tuple[str, str]]) -> None:
    """The page of an entry, and of one that does not exist."""
    listed = BeautifulSoup(visitor.get("/dashboard/feedback").text, "html.parser").select_one("a.words")
    assert listed
    path = str(listed["href"]).partition("?")[0]
    query = urlencode(pairs, errors="surrogatepass")
    # Another application does not have it.
    if not any(name == "application" for name, _ in pairs):
        check(visitor, f"{path}?{query}")
    assert visitor.get(f"{path}x?{query}").status_code in (404, 400, 422)


@pytest.mark.parametrize(
    "zone", ["../../etc/passwd", "", "Europe", "x" * 5_000, "Asia/Tokyo\u00ff", '"><script>', "UTC\t"]
)
def test_hostile_zones_of_browsers(visitor: Visitor, zone: str) -> None:
    """A cookie that names no time zone is ignored, and does not reach the page."""
    headers = {"Cookie": f"a=b; harken_zone={zone}".encode("latin-1")}
    answer = visitor.session.get(f"{visitor.server.url}/dashboard/feedback", headers=headers, timeout=30)
    assert answer.status_code == 200
    assert "times in UTC" in answer.text
    assert "<script>" not in answer.text


def test_the_zone_of_the_browser(visitor: Visitor) -> None:
    """Its cookie is used where the address has no zone, on every page, and also by their links and forms."""
    cookies = {"harken_zone": "Asia/Tokyo"}
    for page in ("", "/feedback", "/issues", "/alerts", "/moderation", "/settings", "/preferences"):
        address = f"{visitor.server.url}/dashboard{page}"
        answer = visitor.session.get(address, cookies=cookies, timeout=30)
        assert 'data-zone="Asia/Tokyo"' in answer.text
    answer = visitor.session.get(f"{visitor.server.url}/dashboard?zone=Europe/Berlin", cookies=cookies, timeout=30)
    assert 'data-zone="Europe/Berlin"' in answer.text
