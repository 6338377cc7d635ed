"""The spam filter: it detects spam, and accepts honest comments."""

import csv
import json
import tracemalloc
from datetime import datetime, timedelta

import pytest
from hypothesis import given

import harken
from harken import ConfigurationError, ModerationStatus, Submission, Target
from harken.testing.strategies import texts
from harken_adapters.text import HeuristicSpamFilter
from shared_data import AIRLINES, REVIEWS, needs_real_feedback
from support import NOON, ManualClock, a_submission, in_threads

PILLS = "The best shop for cheap pills is number one"


def is_spam(comment: str, **options: object) -> bool:
    """Whether a new filter classifies a comment without an author as spam."""
    return HeuristicSpamFilter(**options).is_spam(a_submission(comment=comment))  # type: ignore[arg-type]


class TestOneComment:
    """The content of one comment."""

    @pytest.mark.parametrize("comment", ["Click HERE!", "a limited\r\n  offer", "CASINO", "viagra"])
    def test_phrases(self, comment: str) -> None:
        """The default phrases are spam, ignoring case and white space."""
        assert is_spam(comment)

    def test_other_phrases(self) -> None:
        """Configured phrases replace the default ones."""
        assert is_spam("Buy  Now!", phrases=["BUY now"])
        assert not is_spam("The casino was closed", phrases=["BUY now"])

    @pytest.mark.parametrize(
        ("links", "spam"), [(("http://a.example", "www.b.example"), False), (("https://a.example",) * 3, True)]
    )
    def test_links(self, links: tuple[str, ...], spam: bool) -> None:
        """Two links are accepted, three are spam, with any prefix."""
        assert is_spam(" and ".join(links)) is spam
        assert not is_spam(" and ".join(links), max_links=3)
        assert is_spam(links[0], max_links=0)

    def test_a_link_counts_once(self) -> None:
        """``http://www.`` is one link."""
        assert not is_spam("http://www.a.example https://www.b.example/www.c")

    @pytest.mark.parametrize(
        "comment",
        [
            "aaaaaaaaaaaaaaaa",
            "AAAAaaaaAAAAaaaa!!",
            "1111111111111111 1",
            "spam " * 10,
            "buy now " * 6,
            "Look: " + "cheap pills for you " * 12,
        ],
    )
    def test_repetition(self, comment: str) -> None:
        """One repeated letter or a few repeated words are spam."""
        assert is_spam(comment)

    @pytest.mark.parametrize(
        "comment",
        [
            "",
            "ok",
            "no no no",
            "No, no, no, no, no, no!",
            "sooooo good",
            "nooooooooooooooooooooo",
            "!!!!!!!",
            "!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!",
            "😡😡😡😡😡😡😡😡😡😡😡😡😡😡😡😡",
            "hahahahaha",
            "hahahahahahahahahahahahahahahaha",
            "ha ha ha ha ha ha ha ha",
            "Thank you thank you thank you thank you!",
            "very very very very very slow",
            "------------------------------ see above",
            "order 000000000000 is still not here, and nobody answers me",
            "I waited and waited and waited and waited and waited and waited for the bag and it is still not there",
        ],
    )
    def test_honest_comments(self, comment: str) -> None:
        """Stretched, repeated and shouted words are accepted."""
        assert not is_spam(comment)

    @given(texts())
    def test_any_text_is_classified(self, comment: str) -> None:
        """A filter classifies a comment without an author the same each time."""
        spam_filter = HeuristicSpamFilter()
        answers = {spam_filter.is_spam(a_submission(comment=comment)) for _ in range(5)}
        assert len(answers) == 1


class TestNearDuplicates:
    """Near-duplicates by one author."""

    def test_the_fourth_within_ten_minutes(self, clock: ManualClock) -> None:
        """The fourth near-duplicate within ten minutes is spam; later it is accepted again."""
        spam_filter = HeuristicSpamFilter(clock=clock)
        sent = [by_ann(f"s{number}", f"{PILLS} {number}") for number in range(6)]
        assert [spam_filter.is_spam(submission) for submission in sent] == [False] * 3 + [True] * 3
        clock.turn(minutes=10)
        assert not spam_filter.is_spam(sent[-1])

    def test_messages_of_a_session(self) -> None:
        """Messages of one session are different targets."""
        spam_filter = HeuristicSpamFilter(max_near_duplicates=1)
        assert [spam_filter.is_spam(by_ann("s", message_id=name)) for name in "ab"] == [False, True]

    @pytest.mark.parametrize("comment", ["thanks", "Thank you so much", "ok, ok, ok, ok, ok, ok", "😡 😡 😡 😡 😡 😡"])
    def test_short_comments(self, comment: str) -> None:
        """Short comments are not near-duplicates."""
        spam_filter = HeuristicSpamFilter()
        assert not any(spam_filter.is_spam(by_ann(f"s{number}", comment)) for number in range(20))

    def test_different_comments(self) -> None:
        """One author may submit many different comments."""
        spam_filter = HeuristicSpamFilter()
        topics = ("flight late again bag", "meal cold hungry child", "seat broken dirty floor", "staff kind quick desk")
        assert not any(spam_filter.is_spam(by_ann(topic, f"The {topic}, that is all")) for topic in topics * 3)

    def test_different_authors(self) -> None:
        """Equal comments of different authors or applications are not spam."""
        spam_filter = HeuristicSpamFilter(max_near_duplicates=1)
        people = [{"author": None}] * 5 + [{"author": "bob"}, {"author": "cat"}, {"application": "other"}]
        assert not any(spam_filter.is_spam(by_ann(f"s{number}", **person)) for number, person in enumerate(people))

    def test_the_same_target_again(self) -> None:
        """A retry, or a changed vote or comment, is not spam, even if the limit is reached."""
        spam_filter = HeuristicSpamFilter()
        first = by_ann("s0", idempotency_key="k")
        assert not any(spam_filter.is_spam(by_ann(f"s{number}", idempotency_key="k")) for number in range(3))
        assert not any(spam_filter.is_spam(first) for _ in range(20))
        assert not any(spam_filter.is_spam(by_ann("s1", f"{PILLS} or {number}")) for number in range(20))
        assert spam_filter.is_spam(by_ann("s3"))

    def test_a_late_retry(self, clock: ManualClock) -> None:
        """A late retry is not spam, even after near-duplicates on other targets."""
        spam_filter = HeuristicSpamFilter(clock=clock)
        for number in range(6):
            assert not spam_filter.is_spam(by_ann(f"s{number}"))
            clock.turn(minutes=4)
        assert not spam_filter.is_spam(by_ann("s0"))

    def test_imported_feedback(self) -> None:
        """Imported feedback counts at its own time, in any time zone."""
        spam_filter = HeuristicSpamFilter()
        days = [NOON - timedelta(days=number) for number in range(6)]
        assert not any(spam_filter.is_spam(by_ann(f"s{at}", created_at=at)) for at in days)
        moments = [NOON + timedelta(days=1, seconds=number) for number in range(4)]
        assert [spam_filter.is_spam(by_ann(f"s{at}", created_at=at)) for at in moments] == [False] * 3 + [True]
        assert not spam_filter.is_spam(by_ann("s", created_at=datetime(2026, 3, 4)))  # noqa: DTZ001 - the rules refuse it

    def test_only_the_latest_authors(self) -> None:
        """If there are more authors, the least recent ones are forgotten."""
        spam_filter = HeuristicSpamFilter(max_near_duplicates=1, max_authors=2)
        for author in ("ann", "bob", "ann", "cat"):
            assert not spam_filter.is_spam(by_ann("s1", author=author))
        assert [spam_filter.is_spam(by_ann("s2", author=name)) for name in ("ann", "bob")] == [True, False]

    def test_long_ids_take_no_memory(self) -> None:
        """The memory per author does not depend on the length of ids."""
        spam_filter = HeuristicSpamFilter(max_authors=100)

        def word(number: int) -> str:
            return "".join(chr(ord("a") + int(digit)) for digit in f"{number:06}")

        tracemalloc.start()
        try:
            for number in range(800):
                author, session = (f"{one}" + "\U0001f600" * 190 for one in (number // 8, number))
                target = Target(session_id=session, message_id=session)
                comment = " ".join(word(20 * number + one) for one in range(20))
                assert not spam_filter.is_spam(Submission(target=target, rating="up", comment=comment, author=author))
            used = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert used < 800 * 1_000

    def test_many_threads(self) -> None:
        """Concurrent calls do not exceed the limit."""
        spam_filter = HeuristicSpamFilter()
        calls = [lambda number=number: spam_filter.is_spam(by_ann(f"s{number}")) for number in range(40)]
        assert in_threads(calls).count(False) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phrases": "casino"}, "phrases must be a list of strings, such as ['casino'], got one string"),
        ({"phrases": ["casino", " "]}, "A spam phrase must not be empty: it would be in every comment"),
        ({"max_links": -1}, "max_links must be at least 0, got -1"),
        ({"max_near_duplicates": 0}, "max_near_duplicates must be at least 1, got 0"),
        ({"max_authors": 0}, "max_authors must be at least 1, got 0"),
    ],
)
def test_invalid_options(options: dict[str, object], message: str) -> None:
    """The error names the invalid option."""
    with pytest.raises(ConfigurationError) as caught:
        HeuristicSpamFilter(**options)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_spam_is_held() -> None:
    """With ``spam="hold"``, spam is pending."""
    with harken.connect("memory://", spam="hold", spam_filter=HeuristicSpamFilter()) as hk:
        assert hk.submit("s", "up", "buy now " * 6).feedback.moderation.status is ModerationStatus.PENDING
        assert hk.submit("s", "up", "no no no").feedback.moderation.status is ModerationStatus.APPROVED


@needs_real_feedback
class TestRealFeedback:
    """Real messages and reviews."""

    def test_airlines(self) -> None:
        """Three of 9,760 messages are spam: a "click here", three links, and a wish sent to many."""
        spam_filter = HeuristicSpamFilter()
        with AIRLINES.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        spam = [
            row["comment"]
            for number, row in enumerate(rows)
            if spam_filter.is_spam(
                by_ann(
                    f"s{number}",
                    row["comment"],
                    author=row["session_id"],
                    created_at=datetime.fromisoformat(row["created_at"]),
                )
            )
        ]
        assert [next(part for part in PARTS if part in comment) for comment in spam] == list(PARTS)

    def test_reviews(self) -> None:
        """None of 2,000 reviews is spam, even if one author had written them all at once."""
        spam_filter = HeuristicSpamFilter()
        lines = REVIEWS.read_text(encoding="utf-8").strip().split("\n")
        comments = [json.loads(line)["comment"] for line in lines]
        assert not [comment for comment in comments if spam_filter.is_spam(by_ann(comment, comment))]


PARTS = ("Grandma Ella", "click here", "better travel photos")


def by_ann(session_id: str, comment: str = PILLS, **parts: object) -> Submission:
    """A submission by Ann; ``parts`` overrides fields."""
    return a_submission(session_id, comment=comment, **{"author": "ann", **parts})


@pytest.mark.parametrize(
    ("comment", "rule", "parts"),
    [
        ("A limited\n offer: Click here", "spam phrases", ["limited\n offer", "Click here"]),
        ("http://a.example www.b.example https://c", "many links", ["http://a.example", "www.b.example", "https://c"]),
        ("spam " * 10, "repeated words", []),
        ("aaaaaaaaaaaaaaaa!", "repeated letters", ["aaaaaaaaaaaaaaaa"]),
    ],
)
def test_what_is_held_says_why(comment: str, rule: str, parts: list[str]) -> None:
    """Feedback that the filter holds has the check as its rule, and the parts of the comment that it matched."""
    with harken.connect("memory://", spam_filter=HeuristicSpamFilter(), spam="hold") as hk:
        held = hk.submit("session", "up", comment).feedback
    (match,) = held.moderation.held_by
    assert held.moderation.reason == "Spam detected"
    assert (match.rule, [held.comment[start:end] for start, end in match.spans]) == (rule, parts)


def test_near_duplicates_say_why() -> None:
    """The rule of a comment that is held only because its author repeats it is ``near-duplicates``."""
    with harken.connect("memory://", spam_filter=HeuristicSpamFilter(), spam="hold") as hk:
        given = [hk.submit(f"session-{number}", "up", PILLS, author="ann").feedback for number in range(4)]
    assert [one.moderation.rules for one in given] == [(), (), (), ("near-duplicates",)]
