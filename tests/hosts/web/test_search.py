"""Text search on the list of feedback, without JavaScript."""

from collections.abc import Iterator
from datetime import timedelta
from logging import WARNING
from typing import Any
from urllib.parse import urlencode

import pytest
from bs4 import BeautifulSoup

import harken
from harken import FeedbackQuery, Harken, Page, SearchNotReady
from harken.services.feedback.collection import CollectionService
from harken_adapters.hosts.web.pages import overview
from hosts.web.site import Visitor, served_at
from support import ManualClock

pytestmark = pytest.mark.slow

COMMENTS = (
    "On hold for an hour, then ON-HOLD again",
    "I was put on hold <b>on hold</b> & cut off",
    "Hold on, this was fine",
    "ตั๋วเครื่องบินแพง",
    "Nothing to say",
)


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A Harken with a few comments."""
    with harken.connect("memory://", clock=clock) as connected:
        for place, comment in enumerate(COMMENTS):
            connected.submit(f"s{place}", None, comment, agent_id="Ann")
        yield connected


@pytest.fixture
def visitor(hk: Harken, clock: ManualClock) -> Iterator[Visitor]:
    """Anybody."""
    with served_at(hk, clock) as server:
        yield Visitor(server)


def search(visitor: Visitor, text: str, path: str = "/feedback", **more: str) -> BeautifulSoup:
    """The page of a search."""
    answer = visitor.get(f"/dashboard{path}?{urlencode({'text': text, **more})}")
    assert answer.status_code == 200, answer.text
    return BeautifulSoup(answer.text, "html.parser")


def hits(page: BeautifulSoup) -> list[str]:
    """What is highlighted."""
    return [one.get_text() for one in page.select("mark")]


def test_hits_are_highlighted(visitor: Visitor) -> None:
    """Each hit, as it was written; the rest of the comment is unchanged, and all of it is text."""
    page = search(visitor, '"on hold"')
    assert hits(page) == ["on hold", "on hold", "On hold", "ON-HOLD"]
    assert [one.get_text() for one in page.select(".words")] == [COMMENTS[1], COMMENTS[0]]
    assert not page.select(".words b")
    assert hits(search(visitor, "แพง")) == ["แพง"]


def test_the_headline(visitor: Visitor) -> None:
    """It counts what is found, names the filters, and how frequent that is."""
    page = search(visitor, '"on hold"', agent_id="Ann", rating="neutral")
    assert page.select("h1")[0].get_text() == "2 neutral ratings for Ann mention “on hold”"
    assert page.select(".lead")[0].get_text() == "40% of 5 neutral ratings for Ann."
    assert search(visitor, "fine").select("h1")[0].get_text() == "1 response mentions “fine”"


@pytest.mark.parametrize(
    ("filters", "title"),
    [
        ({"rating": "neutral", "has_comment": "true"}, "5 neutral ratings with a comment"),
        ({"has_comment": "false"}, "0 responses without a comment"),
        ({"context.plan": "free"}, "0 responses with plan free"),
        (
            {"context.plan": ["free", "plus"], "context.n": "1", "has_comment": "true", "tag": ["a", "b"]},
            "0 responses about “a” or “b” with a comment, plan free or plus and n 1",
        ),
        ({"author": "u-1", "text": "hold"}, "0 responses by u-1 mention “hold”"),
        ({"session_id": "s1", "message_id": "m1"}, "0 responses in session s1 on message m1"),
    ],
)
def test_the_headline_names_every_filter(visitor: Visitor, filters: dict[str, str | list[str]], title: str) -> None:
    """So that its number is not taken for that of all feedback."""
    answer = visitor.get(f"/dashboard/feedback?{urlencode(filters, doseq=True)}")
    assert BeautifulSoup(answer.text, "html.parser").select("h1")[0].get_text() == title


def test_the_field(visitor: Visitor) -> None:
    """It keeps its text and all filters; the search is not a chip beside it, but is one on the overview."""
    page = search(visitor, "hold", agent_id="Ann", zone="UTC")
    for form in page.select("form.search"):
        assert form["action"] == "/dashboard/feedback"
        assert [(one["name"], one["value"]) for one in form.select("[type=hidden]")] == [
            ("agent_id", "Ann"),
            ("zone", "UTC"),
        ]
        assert form.select("[name=text]")[0]["value"] == "hold"
    assert "has" not in " ".join(one.get_text() for one in page.select(".f.on"))
    (link,) = (one["href"] for one in page.select(".sumbar a") if one.get_text() == "Statistics for these")
    assert link == "/dashboard?text=hold&agent_id=Ann&zone=UTC"
    overview = search(visitor, "hold", path="")
    assert "Comment has “hold”" in [" ".join(one.get_text(" ").split()) for one in overview.select(".f.on")]
    assert "Responses 3" in " ".join(overview.select(".kpis")[0].get_text(" ").split())


def test_an_empty_field(visitor: Visitor) -> None:
    """It searches for nothing, so all is listed."""
    for text in ("", "  "):
        assert search(visitor, text).select("h1")[0].get_text() == "5 responses"


def test_nothing_is_found(visitor: Visitor) -> None:
    """The page says what to leave out."""
    page = search(visitor, "lounge wifi", agent_id="Ann")
    assert "Without “lounge wifi” there are 5." in page.get_text()
    assert page.find("a", string="Remove it")["href"] == "/dashboard/feedback?agent_id=Ann"


def test_more_hits_than_are_counted(hk: Harken, clock: ManualClock, visitor: Visitor) -> None:
    """The list and the page of an entry say that there may be more; no number is given to a place further down."""
    first = hk.submit("first", "up", "needle", agent_id="Ben").feedback
    clock.turn(minutes=1)
    for _ in range(2_000):
        hk.submit("s", "up", "needle")
    clock.turn(minutes=1)
    last = hk.submit("last", "up", "needle").feedback
    assert "At least 2,000 responses" in str(search(visitor, "needle").h1)

    def place(feedback_id: str) -> str:
        """The breadcrumb of an entry."""
        crumb = search(visitor, "needle", f"/feedback/{feedback_id}").select_one("nav.crumb")
        assert crumb
        return " ".join(crumb.get_text(" ").split())

    assert "1 of at least 2,000" in place(last.id)
    assert "/ one of at least 2,000" in place(first.id)
    without = search(visitor, "needle", author="nobody").select_one(".empty")
    assert without
    assert "Without “nobody” there are at least 2,000." in without.get_text()


@pytest.mark.parametrize("text", ["!!!", '""', "x" * 2_000, " ".join(f"w{n}" for n in range(40))])
def test_what_cannot_be_searched_for(visitor: Visitor, text: str) -> None:
    """The error says what a search needs."""
    answer = visitor.get(f"/dashboard/feedback?{urlencode({'text': text})}")
    assert answer.status_code == 422
    assert "text must have at" in answer.text


@pytest.mark.parametrize("path", ["/feedback", ""])
def test_comments_that_are_not_indexed_yet(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """The page says how far it is, and tries again. Nothing is logged, as nothing failed."""

    def find(_: object, query: FeedbackQuery, **__: Any) -> Page:
        if query.search is None:
            return Page((), None)
        raise SearchNotReady(300_000, 1_000_000, retry_after=timedelta(seconds=20))

    monkeypatch.setattr(CollectionService, "find", find)
    monkeypatch.setattr(overview, "is_empty", lambda *_: False)
    answer = visitor.get(f"/dashboard{path}?text=hold")
    assert not [one for one in caplog.records if one.levelno >= WARNING]
    assert answer.status_code == 503
    page = BeautifulSoup(answer.text, "html.parser")
    assert page.select("h1")[0].get_text() == "Comments cannot be searched yet"
    assert "300,000 of 1,000,000 entries are done" in page.get_text()
    assert page.select("[data-retry]")


def test_words_of_issues_are_links(hk: Harken, visitor: Visitor) -> None:
    """Each word of an issue leads to the negative comments that have it."""
    complaints = ("The checkout froze", "Wrong price", "Far too slow", "My suitcase is lost", "A dirty seat")
    for place in range(200):
        is_down = place % 2
        hk.submit(f"more-{place}", "down" if is_down else "up", complaints[place % 5] if is_down else "Thank you")
    answer = visitor.get("/dashboard?zone=UTC&issues=words&trend=table")
    page = BeautifulSoup(answer.text, "html.parser")
    links = {one.get_text(): str(one["href"]) for one in page.select(".issues .q a")}
    assert "froze" in links
    for word, link in links.items():
        assert link == f"/dashboard/feedback?zone=UTC&rating=down&text={word}"
    found = BeautifulSoup(visitor.get(links["froze"]).text, "html.parser")
    assert found.select("h1")[0].get_text().split() == ["20", "thumbs-down", "ratings", "mention", "“froze”"]


def test_days_of_another_year_have_it(visitor: Visitor, clock: ManualClock) -> None:
    """In the list, and on the page of an entry."""
    year = clock.now.year
    listed = BeautifulSoup(visitor.get("/dashboard/feedback?zone=UTC").text, "html.parser")
    assert str(year) not in listed.select(".day")[0].get_text()
    clock.turn(days=365)
    listed = BeautifulSoup(visitor.get(f"/dashboard/feedback?zone=UTC&since={year}-01-01").text, "html.parser")
    assert listed.select(".day")[0].get_text().endswith(f" {year}")
    link = listed.select(".feed a[href*='/feedback/']")[0]["href"]
    detail = BeautifulSoup(visitor.get(str(link)).text, "html.parser")
    assert f" {year}, " in detail.select(".lead")[0].get_text()
