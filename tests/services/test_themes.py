"""Themes of thumbs-down comments: their change, examples, names and tags."""

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import harken
from harken import Change, FoundTheme, Harken, InvalidQuery, Keyword, Submission, Themes
from harken.services import themes as service
from support import NOON, ManualClock, a_submission, counting_ids

WEEK = timedelta(days=7)
#: A comment about each topic; most words are stop words.
COMMENTS = {
    "luggage": "They lost my luggage again",
    "refund": "Where is the refund that I asked for",
    "wifi": "The wifi was not there",
    "seat": "My seat was not what I paid for",
    "food": "We had no food at all",
}


def complaints(
    counts: dict[str, int], *, at: datetime = NOON, author: str = "person", **parts: Any
) -> Iterator[Submission]:
    """Thumbs-downs about each topic, each by a different author."""
    for topic, count in counts.items():
        for number in range(count):
            yield a_submission(
                f"{topic}-{number}",
                "down",
                COMMENTS[topic],
                author=f"{author}-{topic}-{number}",
                created_at=at + timedelta(seconds=number),
                **parts,
            )


def store(hk: Harken, *submissions: Iterator[Submission]) -> None:
    """Store all of these."""
    hk.collection.submit_many([one for some in submissions for one in some])


EVENLY = {"luggage": 12, "refund": 11, "wifi": 10, "seat": 9, "food": 9}


def named(themes: Themes) -> dict[str, FoundTheme]:
    """The themes by name."""
    return {one.name: one for one in themes.themes}


def test_words_in_more_than_a_quarter_are_named(hk: Harken) -> None:
    """What most people complain about is not lost, although it is too frequent for a theme."""
    store(hk, complaints({"luggage": 40, "refund": 9, "wifi": 9}))
    hk.collection.submit_many([a_submission(str(number), "up", "The refund was quick") for number in range(9)])
    themes = hk.themes()
    assert "luggage" not in named(themes)
    assert dict(themes.frequent_words) == {"luggage": 40, "lost": 40}
    assert hk.themes(agent_id="nobody").frequent_words == ()


def test_topics_are_found(hk: Harken) -> None:
    """Words of thumbs-down comments are themes, except stop words and words that thumbs-up comments have as well."""
    store(hk, complaints(EVENLY))
    hk.collection.submit_many([a_submission(str(number), "up", "The food was great") for number in range(51)])
    themes = hk.themes()
    assert themes.comments == sum(EVENLY.values())
    assert not themes.is_enough
    found = {one.theme.words[0]: one for one in themes.themes}
    assert found.keys() >= {"luggage", "refund", "wifi", "seat"}
    assert not found.keys() & {"the", "my", "food", "great"}
    assert (found["wifi"].theme.count, round(found["wifi"].theme.share, 3)) == (10, round(10 / 51, 3))
    assert found["wifi"].change is found["wifi"].sentence is None
    examples = found["wifi"].examples
    assert [one.comment for one in examples] == [COMMENTS["wifi"]] * 3
    assert len({one.author for one in examples}) == 3


def test_words_that_belong_together_are_one_theme(hk: Harken) -> None:
    """With enough words, words of the same comments are one theme, however frequent; it counts each comment once."""
    filler = " ".join(f"{letter}{other}" for letter in "bcdfghjk" for other in "aeiou")
    topics = (
        "queue phone hold",
        "bag suitcase luggage",
        "seat legroom row",
        "meal drink snack",
        "delay gate departure",
    )
    hk.collection.submit_many(
        [
            a_submission(f"s{number}", "down", f"{filler} {topics[number % 5]} {topics[number % 5].split()[0]}")
            for number in range(750)
        ]
    )
    themes = hk.themes(limit=10)
    assert themes.is_enough
    assert {frozenset(one.theme.words) for one in themes.themes} == {frozenset(topic.split()) for topic in topics}
    assert {one.theme.count for one in themes.themes} == {150}


def test_the_change_since_the_previous_period(hk: Harken) -> None:
    """The period before is as long, and ends where that of the query begins; older feedback does not matter."""
    many = dict.fromkeys(COMMENTS, 60)
    store(
        hk,
        complaints(many, at=NOON - 3 * WEEK, author="older"),
        complaints({**many, "luggage": 9}, at=NOON - WEEK, author="before"),
        complaints({**many, "wifi": 10}, at=NOON, author="now"),
    )
    themes = named(hk.themes(since=NOON, until=NOON + WEEK))
    luggage = next(one for one in themes.values() if "luggage" in one.theme.words)
    wifi = next(one for one in themes.values() if "wifi" in one.theme.words)
    refund = next(one for one in themes.values() if "refund" in one.theme.words)
    assert (luggage.change.before.count, luggage.change.after.count) == (9, 60)  # type: ignore[union-attr]
    assert luggage.verdict == "more frequent"
    assert str(luggage.sentence).startswith("more frequent by ")
    assert wifi.verdict == "rarer"
    assert refund.verdict == "too close to tell"
    assert "ratings" not in str(refund.sentence)


def test_a_period_without_an_end_ends_now(hk: Harken, clock: ManualClock) -> None:
    """The clock decides how long the previous period is."""
    store(hk, complaints({"luggage": 9}, at=NOON - timedelta(days=3)), complaints({**EVENLY}, at=NOON))
    clock.now = NOON + timedelta(days=2)
    (luggage,) = [one for one in hk.themes(since=NOON).themes if "luggage" in one.theme.words]
    assert luggage.change is not None
    assert luggage.change.before.total == 0
    assert luggage.sentence == "too close to tell: one side has no comments"
    clock.now = NOON + timedelta(days=4)
    (luggage,) = [one for one in hk.themes(since=NOON).themes if "luggage" in one.theme.words]
    assert luggage.change is not None
    assert luggage.change.before.count == 9


@pytest.mark.parametrize("period", [{}, {"until": NOON + WEEK}, {"since": datetime(1, 2, 1, tzinfo=UTC)}])
def test_without_a_previous_period(hk: Harken, period: dict[str, Any]) -> None:
    """Themes of a period without a beginning, or with no time before it, have no change."""
    store(hk, complaints(EVENLY))
    themes = hk.themes(**period).themes
    assert {"luggage", "refund", "wifi"} <= {one.theme.words[0] for one in themes}
    assert {one.change for one in themes} == {None}


def test_one_author_is_not_a_crowd(hk: Harken) -> None:
    """What a single author repeats does not make a theme more frequent."""
    many = dict.fromkeys(COMMENTS, 60)
    store(hk, complaints({**many, "luggage": 9}, at=NOON - WEEK, author="before"))
    store(hk, complaints({**many, "luggage": 0}, at=NOON, author="now"))
    hk.collection.submit_many(
        [a_submission("s", "down", COMMENTS["luggage"], author="loud", created_at=NOON) for _ in range(60)]
    )
    (luggage,) = [one for one in hk.themes(since=NOON, until=NOON + WEEK).themes if "luggage" in one.theme.words]
    assert luggage.theme.count == 60
    assert luggage.verdict == "too close to tell"
    assert len(luggage.examples) == 1


def test_filters(hk: Harken) -> None:
    """Filters select the comments; the rating is always thumbs-down."""
    store(hk, complaints({"luggage": 10, "wifi": 9, "seat": 9, "food": 9, "refund": 9}, agent_id="a"))
    store(hk, complaints({"luggage": 3}, author="other", agent_id="b"))
    mine = hk.themes(agent_id="a")
    assert mine.comments == 46
    assert mine == hk.themes(agent_id="a", rating="up")
    assert hk.themes(agent_id="b") == Themes((), 3, is_enough=False, tags=())
    assert hk.themes(agent_id="nobody") == Themes((), 0, is_enough=False, tags=())


def test_many_comments(hk: Harken) -> None:
    """More comments than a page has are all searched."""
    store(hk, complaints(dict.fromkeys(COMMENTS, 220)))
    assert (hk.themes().comments, hk.themes(since=NOON).comments) == (1100, 1100)


def test_thumbs_without_comments_do_not_displace_comments(hk: Harken) -> None:
    """The newest comments are searched, with any number of newer thumbs without a comment among them."""
    store(hk, complaints(EVENLY, at=NOON - timedelta(hours=1)))
    hk.collection.submit_many([a_submission(created_at=NOON)] * 20_000)
    themes = hk.themes(since=NOON - timedelta(days=1), until=NOON + timedelta(days=1))
    assert themes.comments == sum(EVENLY.values())
    assert [one.theme for one in themes.themes] == [one.theme for one in hk.themes().themes] != []


def test_tags_are_listed_beside_themes(hk: Harken) -> None:
    """The reasons that submitters chose come with the number of comments, the most frequent first."""
    store(
        hk,
        complaints({"wifi": 3}, tags=["online", "b"]),
        complaints({"food": 2}, tags=["a"]),
        complaints({"seat": 1}, tags=["b"]),
    )
    hk.submit("s", "up", "Fine", tags=["a"])
    assert hk.themes().tags == (("b", 4), ("online", 3), ("a", 2))


@pytest.mark.parametrize("limit", [0, 51])
def test_limits(hk: Harken, limit: int) -> None:
    """The number of themes is bounded."""
    store(hk, complaints(EVENLY))
    with pytest.raises(InvalidQuery, match="limit must be from 1 to 50"):
        hk.themes(limit=limit)
    assert len(hk.themes(limit=2).themes) == 2


def test_keywords_are_counted_instead(hk: Harken) -> None:
    """With keywords, the comments that contain each of them are counted."""
    store(hk, complaints(EVENLY))
    expected = (Keyword("wifi", 10), Keyword("food", 9))
    assert hk.themes(["wifi", "food"]) == hk.themes(keywords=("wifi", "food")) == expected
    assert hk.themes("wifi", since=NOON + timedelta(seconds=5)) == (Keyword("wifi", 5),)


def test_languages(clock: ManualClock) -> None:
    """The stop words are those of the languages of the settings."""
    comments = [f"vlak a {word}" for word in ("dveře", "jízdenka", "sedadlo", "okno", "káva") for _ in range(9)]
    found = []
    for languages in (["en"], ["cs"], []):
        with harken.connect("memory://", clock=clock, languages=languages) as hk:
            hk.collection.submit_many(
                [a_submission(str(n), "down", f"{one} byla špatně" if n < 9 else one) for n, one in enumerate(comments)]
            )
            found.append({word for one in hk.themes().themes for word in one.theme.words})
    assert "byla" in found[0]
    assert "byla" not in found[1]
    assert "byla" in found[2]


class Namer:
    """Names themes, and counts its calls."""

    def __init__(self, answer: str | Exception) -> None:
        self.answer = answer
        self.calls: list[tuple[Sequence[str], Sequence[str]]] = []

    def __call__(self, words: Sequence[str], comments: Sequence[str]) -> str:
        self.calls.append((words, comments))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def shortest_comment(_: Sequence[str], comments: Sequence[str]) -> str:
    """Names themes by a comment."""
    return min(comments, key=len)


class TestNaming:
    @pytest.mark.parametrize(
        ("answer", "name"),
        [("Lost bags", "Lost bags"), ("  Lost\nbags ", "Lost bags"), ("x" * 200, "x" * 100)],
    )
    def test_a_namer_names(self, clock: ManualClock, answer: str, name: str) -> None:
        """It gets the words and the examples, once for the same words; counts do not change."""
        namer = Namer(answer)
        with harken.connect("memory://", clock=clock, theme_namer=namer, new_id=counting_ids()) as hk:
            store(hk, complaints(EVENLY))
            themes = hk.themes()
            assert {one.name for one in themes.themes} == {name}
            calls = [(one.theme.words, [each.comment for each in one.examples]) for one in themes.themes]
            assert namer.calls == calls
            assert hk.themes() == themes
            assert len(namer.calls) == len(calls)
        with harken.connect("memory://", clock=clock, new_id=counting_ids()) as hk:
            store(hk, complaints(EVENLY))
            assert [one.theme for one in hk.themes().themes] == [one.theme for one in themes.themes]

    def test_an_empty_name(self, clock: ManualClock) -> None:
        """A theme without a name has its label."""
        with harken.connect("memory://", clock=clock, theme_namer=Namer(" ")) as hk:
            store(hk, complaints(EVENLY))
            assert all(one.name == one.theme.label for one in hk.themes().themes)

    def test_an_error(self, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
        """An error of the namer is logged, labels are used, and the namer is not called for a minute."""
        namer = Namer(RuntimeError("no answer"))
        with harken.connect("memory://", clock=clock, theme_namer=namer) as hk:
            store(hk, complaints(EVENLY))
            with caplog.at_level(logging.ERROR):
                themes = hk.themes()
            assert len(themes.themes) > 3
            assert [one.name for one in themes.themes] == [one.theme.label for one in themes.themes]
            assert "The theme namer failed" in caplog.text
            namer.answer = "Better now"
            clock.turn(seconds=59)
            assert hk.themes() == themes
            assert len(namer.calls) == 1
            clock.turn(seconds=1)
            first, *others = (one.name for one in hk.themes().themes)
            assert first == themes.themes[0].theme.label, "the theme that caused the error waits for longer"
            assert set(others) == {"Better now"}
            clock.turn(minutes=9)
            assert {one.name for one in hk.themes().themes} == {"Better now"}

    @pytest.mark.parametrize("what", ["withdrawn", "rejected", "changed"])
    def test_a_name_is_not_kept_without_its_comments(self, clock: ManualClock, what: str) -> None:
        """A name that was made from a comment that is not counted any more is not shown."""
        with harken.connect("memory://", clock=clock, theme_namer=shortest_comment) as hk:
            secret = hk.submit("s", "down", "Ann's luggage", author="ann").feedback
            store(hk, complaints(EVENLY))
            assert secret.comment in named(hk.themes())
            if what == "withdrawn":
                hk.collection.withdraw("default", secret.id)
            elif what == "rejected":
                hk.moderation.decide("default", secret.id, "rejected")
            else:
                hk.collection.change("default", secret.id, Change(comment="My luggage"))
            assert secret.comment not in named(hk.themes())

    def test_the_number_of_names_is_bounded(self, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
        """Older names are forgotten, and asked for again."""
        monkeypatch.setattr(service, "_MAX_NAMES", 2)
        namer = Namer("Name")
        with harken.connect("memory://", clock=clock, theme_namer=namer) as hk:
            store(hk, complaints(EVENLY))
            for _ in range(2):
                assert {one.name for one in hk.themes(limit=3).themes} == {"Name"}
            assert len(namer.calls) == 6

    def test_applications_and_agents_do_not_share_names(self, clock: ManualClock) -> None:
        """A name comes from the comments of the selection, and not from others that its reader must not see."""
        with harken.connect("memory://", clock=clock, theme_namer=shortest_comment) as hk:
            for application, agent in (("default", "a"), ("default", "b"), ("shop", "a")):
                hk.submit("s", "down", f"Luggage {application} {agent}", application=application, agent_id=agent)
                store(hk, complaints(EVENLY, application=application, agent_id=agent, author=agent))
            for application, agent in (("default", "a"), ("default", "b"), ("shop", "a")):
                found = named(hk.themes(application=application, agent_id=agent))
                assert [name for name in found if "Luggage" in name] == [f"Luggage {application} {agent}"]


def test_an_erased_author_leaves_no_trace(storage_url: str) -> None:
    """After an erasure, themes are those of a storage that never had the author's feedback."""
    found = []
    for with_author in (True, False):
        with harken.connect(storage_url if with_author else "memory://", new_id=counting_ids()) as hk:
            store(hk, complaints(EVENLY))
            if with_author:
                hk.collection.submit_many(
                    [a_submission("x", "down", "The toilet was broken", author="gone", created_at=NOON)] * 9
                )
                assert "toilet" in {word for one in hk.themes().themes for word in one.theme.words}
                hk.collection.erase(hk.query(author="gone").in_any_state())
            found.append([one.theme for one in hk.themes().themes])
    assert found[0] == found[1]
