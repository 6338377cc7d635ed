"""The command sentiment, and what list and moderate show of readings."""

from typing import Any

import pytest

import harken
from harken import ModerationStatus, Rating
from harken.clock import utc_now
from harken.testing.builders import with_content
from services.learning import Moods, decided, pending, rated, unclear
from support import NOON, a_feedback

URL = "sqlite:///feedback.db"


def stored(*feedback: harken.Feedback) -> None:
    """Store feedback exactly."""
    with harken.connect(URL) as hk:
        hk.collection.restore(feedback)


def moderated(count: int) -> list[harken.Feedback]:
    """Comments that moderators approved and rejected now, `count` of each."""
    statuses = (ModerationStatus.APPROVED, ModerationStatus.REJECTED)
    return [one for status in statuses for one in decided(count, status, updated_at=utc_now())]


@pytest.fixture(autouse=True)
def narrow(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of the usual width."""
    monkeypatch.setenv("COLUMNS", "80")


def test_averages_and_contradictions(cli: Any) -> None:
    """The average reading by rating, and the newest comments that contradict theirs."""
    odd = [with_content(one, rating=Rating.UP) for one in rated(6, seed=2, created_at=NOON)[::2]]
    stored(*rated(300), *odd)
    shown = cli("sentiment", "--limit", "1")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[0].split() == ["rating", "comments", "thumbs-up", "likely"]
    assert [line.split()[:2] for line in lines[1:4]] == [["up", "153"], ["down", "150"], ["all", "303"]]
    assert "3 comments contradict their rating; the newest 1:" in lines
    assert "2-0004" in shown.out
    assert "2-0002" not in shown.out
    document = cli("sentiment", "--json").json
    assert document["contradicting"] == len(document["contradictions"]) == 3
    assert document["by_rating"]["neutral"] == {"likelihood": None, "comments": 0}
    assert document["contradictions"][0]["id"] == "2-0004"
    assert document["readings"]["2-0004"]["contradicts"] is True
    assert document["average"]["comments"] == 303
    assert document["average"]["likelihood"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.usefixtures("empty_storage")
def test_a_selection_without_contradictions(cli: Any) -> None:
    """The filters select what is read; it is still learned from all comments."""
    assert cli("sentiment").out == "No feedback yet\n"
    stored(*rated(300))
    shown = cli("sentiment", "--author", "author-3").out
    assert "No comment contradicts its rating" in shown
    assert shown.splitlines()[1].split()[:2] == ["up", "15"]


def test_an_evaluation_fits_into_80_columns(cli: Any) -> None:
    """Each statistic has its value for readings and for the analyser alone, and its meaning, in one whole line."""
    stored(*rated(300))
    shown = cli("sentiment", "--evaluate").out
    assert "150 thumbs-up and 150 thumbs-down comments" in shown
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    rows = {line.split("  ")[0]: line.split() for line in shown.splitlines()[3:] if line}
    assert rows["accuracy"][1:3] == ["1.000", "1.000"]
    document = cli("sentiment", "--evaluate", "--json").json
    assert (document["up"], document["down"], document["by"]) == (150, 150, "words")
    assert document["learned"]["comments"] == document["analyser"]["comments"] == 300


def test_an_evaluation_of_embeddings(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If they are on, they are computed first, and compared with words on the same comments."""
    monkeypatch.setattr("harken_adapters.text.embeddings.E5FeatureExtractor", Moods)
    stored(*unclear(60))
    assert "embeddings" not in cli("sentiment", "--evaluate", "--json").json
    monkeypatch.setenv("HARKEN_EMBEDDINGS", "true")
    shown = cli("sentiment", "--evaluate").out
    assert "The newest 60 of these comments, also by embeddings." in shown
    assert "Embeddings count: they clearly predict ratings better." in shown
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    document = cli("sentiment", "--evaluate", "--json").json["embeddings"]
    assert document["are_used"] is True
    assert document["embeddings"]["brier"] < document["otherwise"]["brier"]


def test_an_evaluation_says_that_embeddings_do_not_count(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Because words are as good; or because there is nothing to compare with."""
    monkeypatch.setattr("harken_adapters.text.embeddings.E5FeatureExtractor", Moods)
    monkeypatch.setenv("HARKEN_EMBEDDINGS", "true")
    stored(*rated(10)[1::2])
    assert "embeddings" not in cli("sentiment", "--evaluate").out
    assert cli("sentiment", "--evaluate", "--json").json["embeddings"]["embeddings"] is None
    stored(*rated(300))
    shown = cli("sentiment", "--evaluate").out
    assert "Embeddings do not count: they do not clearly predict ratings better." in shown


def test_without_an_analyser_there_is_no_column_for_it(cli: Any) -> None:
    """Only the learned readings are shown."""
    stored(*rated(30, sentiment=None))
    assert "analyser  " not in cli("sentiment", "--evaluate").out
    assert cli("sentiment", "--evaluate", "--json").json["analyser"] is None


@pytest.mark.usefixtures("empty_storage")
def test_without_ratings_an_evaluation_says_what_is_missing(cli: Any) -> None:
    """Both ratings are needed."""
    assert "no comment is rated up or down" in cli("sentiment", "--evaluate").out
    stored(*rated(10)[1::2])
    shown = cli("sentiment", "--evaluate")
    assert (shown.code, shown.out) == (0, "Nothing to compare with: no comment is rated down\n")
    assert cli("sentiment", "--evaluate", "--json").json["learned"] is None


@pytest.mark.usefixtures("empty_storage")
def test_an_evaluation_takes_no_filters(cli: Any) -> None:
    """It is about the model of the application."""
    refused = cli("sentiment", "--evaluate", "--agent", "helper")
    assert refused.code == 2
    assert "leave out the filters" in refused.err


def test_a_list_shows_readings_on_request(cli: Any) -> None:
    """Without --sentiment nothing is computed."""
    stored(*rated(300), a_feedback("odd", Rating.UP, "slow, rude and wrong"), a_feedback("silent"))
    assert "readings" not in cli("list", "--json").json
    assert "reads" not in cli("list").out
    readings = cli("list", "--limit", "2", "--sentiment", "--json").json["readings"]
    assert readings.keys() == {"odd"}
    assert readings["odd"]["contradicts"] is True
    assert "% likely, contradicts the rating" in cli("list", "--limit", "2", "--sentiment").out


def test_the_queue_shows_how_likely_a_rejection_is(cli: Any) -> None:
    """Once moderators have decided enough."""
    stored(pending("cheap casino bonus"))
    assert cli("moderate", "queue", "--json").json["spam"] == {}
    assert "rejection" not in cli("moderate", "queue").out
    stored(*moderated(60))
    (reading,) = cli("moderate", "queue", "--json").json["spam"].values()
    assert reading["reason"] == "resembles rejected comments"
    assert "% likely: resembles rejected comments" in cli("moderate", "queue").out


@pytest.mark.usefixtures("empty_storage")
def test_the_evaluation_of_the_queue(cli: Any) -> None:
    """It says what is missing, whether likelihoods are shown, and how good they are."""
    assert " ".join(cli("moderate", "evaluate").out.split()) == (
        "Off: it needs 50 approved and 50 rejected comments; moderators approved 0 and rejected 0"
    )
    stored(*moderated(40))
    assert "until there are 50 of both" in cli("moderate", "evaluate").out
    stored(*moderated(60))
    shown = cli("moderate", "evaluate").out
    assert "The queue shows how likely a rejection is." in shown
    assert "…" not in shown
    document = cli("moderate", "evaluate", "--json").json
    assert (document["approved"], document["rejected"], document["is_on"]) == (60, 60, True)
    assert document["likelihoods"]["auc"] == 1.0
