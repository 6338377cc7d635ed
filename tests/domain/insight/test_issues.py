"""Reasons, their changes, and the comments that are shown as examples."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken import Feedback, Proportion, ProportionChange
from harken.domain.insight.issues import Examples, ReasonShares, directions, is_quotable, normalize_text
from harken.domain.insight.sampling import AuthorRatings, design_effect
from support import a_feedback

AUTHORS, TAGS = ["a", "b", "c", "d"], ["slow", "wrong", "rude"]
DOWNS = st.lists(st.tuples(st.sampled_from(AUTHORS), st.sets(st.sampled_from(TAGS))), max_size=60)
Down = tuple[str, set[str]]


def shares(downs: list[Down]) -> ReasonShares:
    """The shares of reasons in these entries, from counts as a storage gives them."""
    by_author = Counter(author for author, _ in downs)
    by_tag = Counter((tag, author) for author, tags in downs for tag in (tags or {None}))
    return ReasonShares.of(
        [AuthorRatings(None, author, count, 0) for author, count in by_author.items()],
        [AuthorRatings(tag, author, count, 0) for (tag, author), count in by_tag.items()],
    )


@given(DOWNS)
def test_shares_equal_a_count(downs: list[Down]) -> None:
    """Each reason has its number of entries, and the design effect of its authors among all."""
    found = shares(downs)
    counts = Counter(tag for _, tags in downs for tag in tags)
    assert (found.downs, found.found) == (len(downs), len(counts))
    assert list(found.shares) == sorted(counts, key=lambda tag: (-counts[tag], tag))
    for tag, share in found.shares.items():
        of_authors = [[tag in tags for author, tags in downs if author == one] for one in AUTHORS]
        clusters = [(len(marks), sum(marks)) for marks in of_authors if marks]
        assert (share.count, share.total) == (counts[tag], len(downs))
        assert share.design_effect == pytest.approx(design_effect(clusters))


@given(DOWNS, DOWNS)
def test_added_entries(downs: list[Down], added: list[Down]) -> None:
    """Shares with a few entries more have the counts of all."""
    found, expected = shares(downs).with_entries([tags for _, tags in added]), shares(downs + added)
    assert (found.downs, found.found) == (expected.downs, expected.found)
    assert [(tag, one.count) for tag, one in found.shares.items()] == [
        (tag, one.count) for tag, one in expected.shares.items()
    ]


def test_changes_are_decided_together() -> None:
    """A reason that doubled is named; the same change among many that did not is less sure, and a small one is not."""
    grown = {"slow": ProportionChange(Proportion(100, 1000), Proportion(200, 1000))}
    small = {"wrong": ProportionChange(Proportion(100, 1000), Proportion(110, 1000))}
    assert directions(grown | small) == {"slow": 1, "wrong": 0}
    assert directions({"slow": ProportionChange(Proportion(200, 1000), Proportion(100, 1000))}) == {"slow": -1}
    unsure = {"slow": ProportionChange(Proportion(100, 1000), Proportion(142, 1000))}
    steady = {str(number): ProportionChange(Proportion(50, 1000), Proportion(50, 1000)) for number in range(40)}
    assert directions(unsure) == {"slow": 1}
    assert directions(unsure | steady)["slow"] == 0
    assert directions({}) == {}


def test_false_changes_are_rare() -> None:
    """Of series without a change, about 1% have one at a single look."""
    random = Random(11)

    def counts() -> Counter[str]:
        return Counter(random.choices("abcdef", (30, 20, 15, 15, 10, 10), k=400))

    def has_change() -> bool:
        before, after = counts(), counts()
        changes = {one: ProportionChange(Proportion(before[one], 400), Proportion(after[one], 400)) for one in "abcdef"}
        return any(directions(changes).values())

    assert sum(has_change() for _ in range(400)) <= 12


def _pool(*comments: str) -> list[Feedback]:
    return [a_feedback(str(number), comment=comment) for number, comment in enumerate(comments)]


MIDDLE = "The answer about my refund was wrong, and nobody called back"


def test_an_example_is_of_middle_length() -> None:
    """The newest of middle length is chosen, before shorter and longer ones; else the newest that fits two lines."""
    pool = _pool("Too slow again", "x" * 30 + " and so on" * 30, MIDDLE, f"{MIDDLE} either")
    assert Examples(pool).choose(pool) == pool[2]
    assert Examples(pool).choose(pool[:2]) == pool[0]
    assert Examples(pool).choose(pool[1:2]) is None
    assert Examples([]).choose([]) is None


def test_no_example_twice() -> None:
    """A comment is an example once, and one that was sent several times never."""
    pool = _pool(MIDDLE, "I waited for two hours, and then the line was cut off", f"{MIDDLE.upper()}!!")
    examples = Examples(pool)
    assert examples.choose(pool) == pool[1]
    assert examples.choose(pool) is None


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "Bad",
        "   \n  ",
        "Great offers at https://casino.example, and more of them",
        "visit www.casino.example for great offers today",
        "<script>alert('This is a long script')</script>",
        "a" * 60,
        "word " * 60,
        "one line\nanother line\na third line of this comment",
        "soooooooooooooo slow that I could not believe it",
        "The answer\u202e was turned around by this character",
        "The answer\x00 has a control character in it",
        "Z\u0300\u0301\u0302\u0303\u0304\u0305algo text that runs over its line",
        "\U0001f621\U0001f621\U0001f621\U0001f621 \U0001f621\U0001f621\U0001f621\U0001f621 bad",
    ],
)
def test_what_is_not_quoted(comment: str) -> None:
    """Links, markup, noise, invisible characters, and what is too short or too long."""
    assert not is_quotable(comment)


@pytest.mark.parametrize(
    "comment",
    [
        MIDDLE,
        "pleaseeeee find my suitcase. I want a clean shirt for work tomorrow :(",
        "3 hour 45 min delay so far..... Would love to go to bed!",
        "Die Antwort war falsch, und niemand hat zurückgerufen",
        "जवाब गलत था और किसी ने वापस फोन नहीं किया",
        "الجواب كان خاطئا ولم يتصل بي أحد بعد ذلك",
        "回答是错误的,之后没有人给我回电话",
        "Never again \U0001f621\nNobody answered my call",
    ],
)
def test_what_is_quoted(comment: str) -> None:
    """Ordinary sentences of any language, with the marks that people use."""
    assert is_quotable(comment)


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    """Any text can be judged, and its letters identify it."""
    assert is_quotable(text) in {True, False}
    assert normalize_text(text) == normalize_text(f"{text} !")
