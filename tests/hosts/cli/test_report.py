"""The command report: text, and a page that is complete in itself."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from attrs import fields

import harken
from harken import FeedbackQuery, Harken, ModerationStatus, Rating, Submission, Target
from harken_adapters.charts.labels import DASH
from harken_adapters.hosts.web.report import ask, filters_of, report_page, report_text
from hosts.html_forms import Html

NOW = datetime(2026, 3, 30, 10, tzinfo=UTC)
COMMENT = 'I waited for a minute & "more", and then the answer wasn\'t about my question'
HOSTILE = "<script>alert(1)</script>"
URL = "sqlite:///feedback.db"


def fill(hk: Harken) -> None:
    """Two periods of 28 days: 80% up before, 50% up in the last one, and an agent of another application."""
    for day in range(56):
        for number in range(10):
            down = number >= (8 if day < 28 else 5)
            hk.collection.submit(
                Submission(
                    target=Target(f"s{day}-{number}", agent_id=("helper", "North & Süd")[number % 2]),
                    rating="down" if down else "up",
                    comment=f"{HOSTILE if number == 9 else COMMENT} {day} {number}" if down else "",
                    tags=(f"slow {HOSTILE}",) if down else (),
                    created_at=NOW - timedelta(days=55 - day, minutes=number + 1),
                )
            )
    hk.submit("other", "down", "A secret of another application", application="other", agent_id="spy")


@pytest.fixture(scope="module")
def page() -> bytes:
    """A page over the last 28 days."""
    with harken.connect("memory://", clock=lambda: NOW) as hk:
        fill(hk)
        return report_page(ask(hk, hk.query(), "UTC", now=NOW))


def test_the_page_has_everything(page: bytes) -> None:
    """The headline, the statistics with their interval, the period, issues with a comment, and when it was made."""
    text = " ".join(Html(page.decode()).text.split())
    assert "Satisfaction fell 30.0 points, to 50.0%" in text
    assert "95% confidence · from 280 thumbs" in text
    assert f"default, 3 {DASH} 30 Mar 2026 so far, times in UTC" in text
    assert f"slow {HOSTILE}" in text
    assert f"{COMMENT} 55 5" in text
    assert "North & Süd" in text
    assert "Mon 30 Mar, 10:00 2026, UTC" in text
    assert "By hour" in text
    assert "secret" not in text
    assert "spy" not in text


def test_the_page_is_complete_in_itself(page: bytes) -> None:
    """It has no script, loads nothing, and its own policy forbids both; words of people are never markup."""
    document = Html(page.decode())
    names = {name for name, _ in document.elements}
    assert not names & {"script", "img", "iframe", "object", "base", "form"}
    assert not [one for _, attributes in document.elements for one in attributes if one.startswith("on")]
    links = [attributes.get(name) for _, attributes in document.elements for name in ("src", "href")]
    assert {link for link in links if link and not link.startswith("#")} == {"data:,"}
    (policy,) = [one for one in document.attributes("meta") if "http-equiv" in one]
    assert str(policy["content"]).startswith("default-src 'none'")
    style = page.decode().partition("<style>")[2].partition("</style>")[0]
    assert not re.search(r"@import|url\(", style)


def test_a_report_is_the_same_at_the_same_time(page: bytes) -> None:
    """Two reports of the same feedback at the same time are equal, byte by byte."""
    with harken.connect("memory://", clock=lambda: NOW) as hk:
        fill(hk)
        assert report_page(ask(hk, hk.query(), "UTC", now=NOW)) == page


def test_filters_are_named() -> None:
    """A report of a part of the feedback says which part, and counts nothing else."""
    with harken.connect("memory://", clock=lambda: NOW) as hk:
        fill(hk)
        query = hk.query(
            agent_id="helper", tag=f"slow {HOSTILE}", rating="down", since=NOW - timedelta(days=7), until=NOW
        )
        text = report_text(ask(hk, query, "Asia/Kathmandu", now=NOW))
    assert f"agent is helper, reason is slow {HOSTILE}, rating is down" in text
    assert "times in Asia/Kathmandu" in text
    assert "North" not in text


def test_every_filter_is_named() -> None:
    """No filter is left out of the sentence that says what the report is of."""
    values: dict[str, Any] = {
        "feedback_id": "f-1",
        "session_id": "s-1",
        "message_id": "m-1",
        "agent_id": "helper",
        "author": "kim",
        "rating": Rating.DOWN,
        "tag": "slow",
        "context": {"tier": "free"},
        "text": "on hold",
        "has_comment": True,
        "statuses": frozenset({ModerationStatus.REJECTED}),
        "withdrawn": None,
    }
    assert values.keys() == {one.name for one in fields(FeedbackQuery)} - {"application", "since", "until"}
    for name, value in values.items():
        assert len(list(filters_of(FeedbackQuery(**{name: value})))) == 1, name


def test_a_long_period() -> None:
    """A report of a century has everything, too."""
    with harken.connect("memory://", clock=lambda: NOW) as hk:
        hk.collection.submit(Submission(target=Target("s"), rating="up", created_at=NOW - timedelta(days=9_000)))
        fill(hk)
        report = ask(hk, hk.query(since=NOW - timedelta(days=36_500)), "Europe/Berlin", now=NOW)
        assert "561 responses" in report_text(report)
        assert b"561" in report_page(report)


@pytest.mark.parametrize("application", ["default", "empty"])
def test_nothing_to_report(application: str) -> None:
    """Without feedback, page and text say so."""
    with harken.connect("memory://", clock=lambda: NOW) as hk:
        report = ask(hk, hk.query(application=application), "UTC", now=NOW)
        assert "No feedback in this period" in report_text(report)
        assert b"No feedback in this period" in report_page(report)


def test_the_command_writes_a_file(cli: Any, tmp_path: Path) -> None:
    """``--html`` writes the page, ``--html -`` prints it, and nothing writes over a database."""
    with harken.connect(URL) as hk:
        hk.submit("s", "down", HOSTILE)
    assert "Too little to tell: 1 thumb so far" in cli("report").out
    assert cli("report", "--html", "out.html").out == "The report is in out.html\n"
    written = (tmp_path / "out.html").read_text()
    assert written.startswith("<!doctype html>")
    assert cli("report", "--html", "-").out.startswith("<!doctype html>")
    refused = cli("report", "--html", "feedback.db")
    assert refused.code == 2
    assert "is an SQLite database" in refused.err
    assert cli("report", "--html", "missing/out.html").code == 2
    assert cli("report", "--zone", "Mars").code == 2
