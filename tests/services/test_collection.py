"""Submitting: what is stored, what is refused, and what a repeated call returns."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import (
    Change,
    Content,
    Context,
    FeedbackQuery,
    FeedbackRejected,
    GroupBy,
    Harken,
    IdempotencyConflict,
    InvalidQuery,
    Moderation,
    ModerationStatus,
    Overloaded,
    Rating,
    RatingPolicy,
    Receipt,
    RuleMatch,
    Sentiment,
    StorageClosed,
    StorageUnavailable,
    Submission,
    Summary,
    Target,
)
from harken.ports.repository import Accepted, Conflict, DuplicateOf, Outcome, SessionEntry, Stored
from harken_adapters.storage.memory import open_storage
from support import NOON, PATIENCE, ManualClock, a_feedback, a_submission, all_events, counting_ids, in_threads

Submit = Callable[[Submission], Receipt]
WAYS = ["submit", "submit_soon", "submit_many"]


def way_in(hk: Harken, way: str) -> Submit:
    """One of the three ways to submit, with the signature of the first."""

    def many(submission: Submission) -> Receipt:
        (answer,) = hk.collection.submit_many([submission])
        if isinstance(answer, FeedbackRejected):
            raise answer
        return answer

    return {
        "submit": hk.collection.submit,
        "submit_soon": lambda submission: hk.collection.submit_soon(submission).result(PATIENCE),
        "submit_many": many,
    }[way]


@pytest.fixture(params=WAYS)
def submit(request: pytest.FixtureRequest, hk: Harken) -> Submit:
    """Each way to submit."""
    return way_in(hk, request.param)


class TestKeeping:
    def test_every_part_is_stored(self, hk: Harken, submit: Submit) -> None:
        """Every part of a submission is stored, trimmed and typed, and is returned equal."""
        before = datetime(2020, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)
        receipt = submit(
            a_submission(
                "s1",
                "down",
                "  Too slow \n",
                message_id="m1",
                agent_id="helper",
                author="ann",
                tags=["slow", "slow", "wrong"],
                context={"tier": "free", "attempt": 2},
                sentiment=Sentiment(-0.5, 0.25),
                idempotency_key="k",
                application="shop",
                created_at=before,
            )
        )
        feedback = receipt.feedback
        assert not receipt.duplicate
        assert hk.collection.get("shop", feedback.id) == feedback
        assert (feedback.target, feedback.rating) == (Target("s1", "m1", "helper"), Rating.DOWN)
        assert (feedback.comment, feedback.author, feedback.tags) == ("Too slow", "ann", ("slow", "wrong"))
        assert feedback.context == Context({"tier": "free", "attempt": 2})
        assert (feedback.sentiment, feedback.idempotency_key) == (Sentiment(-0.5, 0.25), "k")
        assert (feedback.created_at, feedback.updated_at, feedback.version) == (before, NOON, 1)
        assert feedback.moderation == Moderation()
        assert all_events(hk) == [("feedback.created", feedback.id, 1)]

    def test_a_refused_submission_stores_nothing(self, hk: Harken, submit: Submit) -> None:
        """A submission that breaks rules is refused with every violation, and stores neither feedback nor event."""
        with pytest.raises(FeedbackRejected) as caught:
            submit(a_submission("", "maybe", "\x00"))
        assert [violation.field for violation in caught.value.violations] == ["rating", "comment", "session_id"]
        assert not hk.collection.find(FeedbackQuery().in_any_state()).items
        assert all_events(hk) == []

    def test_a_bad_submission_does_not_stop_others(self, hk: Harken) -> None:
        """In one write, each submission has its own result, in order."""
        answers = hk.collection.submit_many(
            [a_submission("s1"), a_submission("s2", "down"), a_submission("s3", None), a_submission("s4", "maybe")]
        )
        assert [type(answer) for answer in answers] == [Receipt, FeedbackRejected, Receipt, FeedbackRejected]
        assert [one.session_id for one in hk.export()] == ["s1", "s3"]
        assert hk.collection.submit_many([]) == []

    @given(st.lists(st.tuples(st.sampled_from(["up", "down", None, "maybe"]), st.text(max_size=5)), max_size=8))
    def test_all_ways_to_submit_are_alike(self, said: list[tuple[str | None, str]]) -> None:
        """The result and the statistics do not depend on the way to submit."""
        results = []
        for way in WAYS:
            with harken.connect("memory://", clock=ManualClock(), new_id=counting_ids()) as hk:
                answers: list[object] = []
                for index, (rating, comment) in enumerate(said):
                    try:
                        answers.append(way_in(hk, way)(a_submission(str(index), rating, comment)).feedback.target)
                    except FeedbackRejected as error:
                        answers.append(error.violations)
                results.append((answers, hk.summary()))
        assert results[0] == results[1] == results[2]


BODY = {"rating": "down", "comment": "Too slow ", "tags": ["slow"], "context": {"b": 1, "a": 2}, "author": "ann"}


class TestIdempotency:
    def test_a_repeated_submission_is_a_duplicate(self, hk: Harken, submit: Submit) -> None:
        """Repeating a call is safe: one entry, one event, the first receipt again."""
        first = submit(a_submission(**BODY, idempotency_key="k"))
        reordered = BODY | {"context": {"a": 2, "b": 1}, "tags": ("slow",), "rating": Rating.DOWN}
        again = submit(a_submission(**reordered, idempotency_key="k"))
        assert (again.feedback, again.duplicate, first.duplicate) == (first.feedback, True, False)
        assert hk.summary().total == len(all_events(hk)) == 1

    @pytest.mark.parametrize(
        "other",
        [
            {"rating": "up"},
            {"comment": "Too slow"},
            {"tags": []},
            {"context": {"a": 2}},
            {"context": {"a": 2, "b": True}},
            {"message_id": "m"},
            {"agent_id": "a"},
            {"created_at": NOON - timedelta(days=1)},
            {"vote": True},
        ],
    )
    def test_another_body_is_a_conflict(self, hk: Harken, submit: Submit, other: dict[str, object]) -> None:
        """A key that is used for something else is an error for the caller, and nothing is stored."""
        submit(a_submission(**BODY, idempotency_key="k"))
        with pytest.raises(IdempotencyConflict, match="'k' was used before") as caught:
            submit(a_submission(**BODY | other, idempotency_key="k"))
        assert [(one.field, one.code) for one in caught.value.violations] == [("idempotency_key", "reused")]
        assert hk.summary().total == len(all_events(hk)) == 1

    @pytest.mark.parametrize("other", [{"session_id": "s2"}, {"application": "shop"}, {"idempotency_key": "k2"}])
    def test_keys_belong_to_a_session(self, submit: Submit, other: dict[str, object]) -> None:
        """The same key in another session or application is another key."""
        mine = {"session_id": "s", "idempotency_key": "k"}
        assert not submit(a_submission(**mine)).duplicate
        assert not submit(a_submission(**mine | other)).duplicate

    def test_keys_belong_to_an_author(self, hk: Harken, submit: Submit) -> None:
        """No one can use or detect the key of another author, or of feedback without an author."""
        authors = ("ann", "bob", None)
        receipts = [submit(a_submission(author=author, idempotency_key="k")) for author in authors]
        assert [receipt.duplicate for receipt in receipts] == [False] * 3
        again = [submit(a_submission(author=author, idempotency_key="k")) for author in authors]
        assert again == [Receipt(receipt.feedback, duplicate=True) for receipt in receipts]
        assert hk.summary().total == 3

    def test_votes_have_keys_of_their_author(self, hk: Harken) -> None:
        """The keys of later votes belong to the author too."""
        target = Target("s", "m")
        for author in ("ann", "bob"):
            hk.collection.set_vote(target, author, "up", idempotency_key="first")
            changed = hk.collection.set_vote(target, author, None, idempotency_key="later")
            assert not changed.duplicate
            again = hk.collection.set_vote(target, author, None, idempotency_key="later")
            assert again == Receipt(changed.feedback, duplicate=True)
        assert hk.summary().neutral == 2

    def test_without_a_key_everything_is_new(self, hk: Harken, submit: Submit) -> None:
        """Two people may submit the same content."""
        submit(a_submission())
        submit(a_submission())
        assert hk.summary().total == 2

    def test_inside_one_write(self, hk: Harken) -> None:
        """Earlier submissions of a write count for later ones."""
        body = a_submission(idempotency_key="k")
        first, again, other = hk.collection.submit_many([body, body, a_submission(rating=None, idempotency_key="k")])
        assert isinstance(first, Receipt)
        assert again == Receipt(first.feedback, duplicate=True)
        assert isinstance(other, IdempotencyConflict)
        assert hk.summary().total == 1

    def test_after_it_was_changed_or_withdrawn(self, hk: Harken, submit: Submit) -> None:
        """A key stays used, and the duplicate has the current feedback."""
        body = a_submission(idempotency_key="k")
        feedback_id = submit(body).feedback.id
        changed = hk.collection.change("default", feedback_id, Change(rating=None))
        assert submit(body) == Receipt(changed, duplicate=True)
        withdrawn = hk.collection.withdraw("default", feedback_id)
        assert submit(body) == Receipt(withdrawn, duplicate=True)
        assert hk.summary().total == 0

    @pytest.mark.parametrize("way", WAYS)
    def test_racing_threads(self, hk: Harken, way: str) -> None:
        """Of sixteen threads with one key exactly one is first, and all get the same feedback."""
        body = a_submission("s", "down", "Slow", idempotency_key="k")
        receipts = in_threads([lambda: way_in(hk, way)(body)] * 16)
        assert all(isinstance(receipt, Receipt) for receipt in receipts)
        assert sorted(receipt.duplicate for receipt in receipts) == [False] + [True] * 15  # type: ignore[attr-defined]
        assert len({receipt.feedback for receipt in receipts}) == 1  # type: ignore[attr-defined]
        assert hk.summary().total == len(all_events(hk)) == 1

    def test_a_taken_id_is_refused(self) -> None:
        """An id factory that repeats an id overwrites nothing."""
        with harken.connect("memory://", new_id=lambda: "same") as hk:
            hk.submit("s1", "up")
            with pytest.raises(FeedbackRejected, match="Other feedback has the id 'same'"):
                hk.submit("s2", "up")
            assert [one.session_id for one in hk.export()] == ["s1"]


class ShoutingSanitizer:
    """Removes angle-bracket tags, and marks what it has seen."""

    def sanitize(self, text: str) -> str:
        return text.replace("<b>", "").replace("</b>", "").upper()


class OddFilter:
    """Recognises everything that asks for money as spam."""

    def is_spam(self, submission: Submission) -> bool:
        return "money" in submission.comment.lower()


class LengthSentiment:
    """The longer the comment, the more negative."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def analyze(self, text: str) -> Sentiment:
        self.asked.append(text)
        return Sentiment(-len(text) / 1000, 0.5)


class TestTextPorts:
    def test_the_sanitizer_runs_first(self) -> None:
        """The rules check the plain text: markup alone is not a comment, and a comment may be too long only with
        markup.
        """
        with harken.connect("memory://", sanitizer=ShoutingSanitizer()) as hk:
            assert hk.submit("s", "down", " <b>slow</b> ").feedback.comment == "SLOW"
            assert hk.submit("s", "up", "<b>" * 400).feedback.comment == ""
            with pytest.raises(FeedbackRejected, match="Please provide a comment"):
                hk.submit("s", "down", "<b></b>")

    def test_the_sanitizer_gets_text_only(self) -> None:
        """Wrong types are violations, with or without a sanitiser."""
        with (
            harken.connect("memory://", sanitizer=ShoutingSanitizer()) as hk,
            pytest.raises(FeedbackRejected, match="comment must be a string"),
        ):
            hk.submit("s", "up", 7)  # type: ignore[arg-type]

    @pytest.mark.parametrize("spam", ["refuse", "hold", "allow"])
    def test_the_spam_filter_does_what_the_setting_says(self, spam: str) -> None:
        """Submissions that the filter recognises are treated like the phrases: refused, held, or stored."""
        with harken.connect("memory://", spam_filter=OddFilter(), spam=spam) as hk:
            assert hk.submit("s", "up", "Fine").feedback.is_counted
            if spam == "refuse":
                with pytest.raises(FeedbackRejected, match=r"^Spam detected$"):
                    hk.submit("s", "up", "Money!")
                return
            moderation = hk.submit("s", "up", "Money!").feedback.moderation
            expected = (
                (ModerationStatus.PENDING, "Spam detected") if spam == "hold" else (ModerationStatus.APPROVED, "")
            )
            assert (moderation.status, moderation.reason) == expected

    def test_sentiment_of_comments(self) -> None:
        """A comment gets a sentiment, unless it has one; refused and empty comments are not analysed."""
        analyzer = LengthSentiment()
        with harken.connect("memory://", sentiment_analyzer=analyzer) as hk:
            assert hk.submit("s", "up", " Good ").feedback.sentiment == Sentiment(-0.004, 0.5)
            assert hk.submit("s", "up").feedback.sentiment is None
            own = hk.collection.submit(a_submission(comment="Good", sentiment=Sentiment(1, 1))).feedback
            assert own.sentiment == Sentiment(1, 1)
            with pytest.raises(FeedbackRejected):
                hk.submit("s", "up", "casino")
            assert analyzer.asked == ["Good"]
            changed = hk.collection.change("default", own.id, Change(comment="Better"))
            assert changed.sentiment == Sentiment(-0.006, 0.5)
            rated = hk.collection.change("default", own.id, Change(rating=None))
            assert rated.sentiment == changed.sentiment
            assert analyzer.asked == ["Good", "Better"]

    def test_a_custom_policy(self) -> None:
        """A policy replaces the rules, and its ``hold`` rules hold submissions."""
        policy = RatingPolicy.standard(reason_when_down=False, spam="hold")
        with harken.connect("memory://", policy=policy) as hk:
            assert hk.submit("s", "down").feedback.is_counted
            held = hk.submit("s", "up", "casino").feedback
            assert held.moderation == Moderation.held("Spam detected", (RuleMatch("spam phrases", ((0, 6),)),))
            assert [one.id for one in hk.moderation.queue(hk.query()).items] == [held.id]
            assert hk.summary().total == 1


class TestOverload:
    def test_a_full_queue_and_an_unavailable_storage(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each way to submit raises the error that says whether to retry."""
        writing, go = Event(), Event()

        def add(batch: Sequence[Accepted]) -> Sequence[Outcome]:
            writing.set()
            assert go.wait(PATIENCE)
            raise StorageUnavailable("gone")

        with open_storage() as storage:
            monkeypatch.setattr(storage.feedback, "add", add)
            hk = harken.connect(storage, max_queue=1)
            first = hk.submit_soon("s", "up")
            assert writing.wait(PATIENCE)
            second = hk.submit_soon("s", "up")
            assert isinstance(hk.submit_soon("s", "up").exception(PATIENCE), Overloaded)
            with pytest.raises(Overloaded):
                hk.submit("s", "up")
            go.set()
            for future in (first, second):
                assert isinstance(future.exception(PATIENCE), StorageUnavailable)
            with pytest.raises(StorageUnavailable):
                hk.collection.submit_many([a_submission()])

    @pytest.mark.parametrize("way", WAYS)
    def test_after_closing(self, way: str) -> None:
        """A closed Harken refuses submissions, for each way to submit."""
        hk = harken.connect("memory://")
        hk.close()
        with pytest.raises(StorageClosed):
            way_in(hk, way)(a_submission())


class TestRestoring:
    def test_restored_feedback_is_unchanged(self, hk: Harken) -> None:
        """Restored feedback keeps ids, versions and revisions, is in the statistics, and has no event."""
        old = a_feedback("old", Rating.DOWN, "Slow", version=2, created_at=NOON - timedelta(days=400), fingerprint="f")
        revised = old.revised(Content(Rating.UP, "Fine"), at=NOON)
        gone = a_feedback("gone", withdrawn_at=NOON, reply="Bye")
        assert hk.collection.restore([revised, gone]) == [Stored(revised), Stored(gone)]
        assert hk.collection.get("default", "old") == revised
        assert hk.summary() == Summary.of(revised)
        assert all_events(hk) == []

    def test_restoring_again(self, hk: Harken) -> None:
        """Restoring again reports duplicates, and overwrites nothing."""
        old = a_feedback("old")
        hk.collection.restore([old])
        again, other = hk.collection.restore([old, a_feedback("old", comment="Other")])
        assert again == DuplicateOf(old)
        assert isinstance(other, Conflict)
        assert hk.collection.get("default", "old") == old

    @pytest.mark.parametrize(
        ("parts", "field"),
        [
            ({"comment": "\x00"}, "comment"),
            ({"author": ""}, "author"),
            ({"feedback_id": "\ud800"}, "id"),
            ({"feedback_id": ""}, "id"),
            ({"reply": "\x00"}, "reply"),
            ({"moderation": Moderation(reason="\ud800")}, "reason"),
            ({"moderation": Moderation(moderator=" ")}, "moderator"),
            ({"created_at": datetime(1969, 1, 1, tzinfo=UTC)}, "created_at"),
        ],
    )
    def test_invalid_feedback_is_not_restored(self, hk: Harken, parts: dict[str, object], field: str) -> None:
        """One entry that is not well-formed stops the call, and nothing is stored."""
        good = a_feedback("good")
        with pytest.raises(FeedbackRejected) as caught:
            hk.collection.restore([good, a_feedback(**parts)])  # type: ignore[arg-type]
        assert [violation.field for violation in caught.value.violations] == [field]
        assert hk.summary().total == 0

    def test_revisions_are_checked(self, hk: Harken) -> None:
        """Revisions are stored too, so they must be valid."""
        for before, field in ((a_feedback(comment="\x00"), "comment"), (a_feedback(reply="\ud800"), "reply")):
            with pytest.raises(FeedbackRejected) as caught:
                hk.collection.restore([before.revised(Content(Rating.DOWN), at=NOON)])
            assert [violation.field for violation in caught.value.violations] == [field]


class TestErasing:
    def test_erased_permanently(self, hk: Harken) -> None:
        """Matching feedback is erased with its events and statistics, and its key can be used again."""
        first = hk.submit("s1", "up", idempotency_key="k").feedback
        kept = hk.submit("s2", "down", "Slow").feedback
        assert hk.collection.erase(hk.query(session_id="s1")).feedback == 1
        assert list(hk.export()) == [kept]
        assert hk.summary() == Summary.of(kept)
        assert all_events(hk) == [("feedback.created", kept.id, 1)]
        with pytest.raises(harken.FeedbackNotFound):
            hk.collection.get("default", first.id)
        assert not hk.submit("s1", None, idempotency_key="k").duplicate

    def test_only_counted_feedback_by_default(self, hk: Harken) -> None:
        """A plain query leaves tombstones; a query in any state, or for an author or a session, leaves nothing."""
        feedback = hk.submit("s", "up").feedback
        hk.collection.withdraw("default", feedback.id)
        with pytest.raises(harken.InvalidQuery, match="no condition"):
            hk.collection.erase(hk.query(author=None))
        assert hk.collection.erase(hk.query(session_id="s", rating="up")).feedback == 0
        assert hk.collection.erase(hk.query(session_id="s")).feedback == 1
        hk.collection.withdraw("default", hk.submit("s", "up").feedback.id)
        assert hk.collection.erase(hk.query().in_any_state()).feedback == 1


class TestFinding:
    @pytest.mark.parametrize("limit", [0, -1, 1001])
    def test_limits(self, hk: Harken, limit: int) -> None:
        """A page has 1 to 1,000 entries."""
        with pytest.raises(InvalidQuery, match="limit must be from 1 to 1,000"):
            hk.feedback(limit=limit)

    def test_orders(self, hk: Harken) -> None:
        """Feedback is found newest or oldest first."""
        with pytest.raises(InvalidQuery, match="order must be 'newest' or 'oldest', got 'best'"):
            hk.collection.find(hk.query(), order="best")  # type: ignore[arg-type]

    @given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 5))
    def test_pages_show_everything_once_oldest_first(self, minutes: list[int], limit: int) -> None:
        """The cursors continue in the order of the page before, also within a period."""
        clock = ManualClock()
        with harken.connect("memory://", clock=clock, new_id=counting_ids()) as hk:
            for offset in minutes:
                clock.now = NOON + timedelta(minutes=offset)
                hk.submit("s", "up")
            for query in (hk.query(), hk.query(since=NOON + timedelta(minutes=1))):
                seen, page = [], hk.collection.find(query, limit=limit, order="oldest")
                seen.extend(page.items)
                while page.next:
                    assert len(page.items) == limit
                    page = hk.collection.find(query, limit=limit, after=page.next, order="oldest")
                    seen.extend(page.items)
                assert seen == list(hk.collection.stream(query))

    @given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 5))
    def test_pages_show_everything_once_newest_first(self, minutes: list[int], limit: int) -> None:
        """Following the cursors shows each entry once, also entries with the same timestamp."""
        clock = ManualClock()
        with harken.connect("memory://", clock=clock, new_id=counting_ids()) as hk:
            for offset in minutes:
                clock.now = NOON + timedelta(minutes=offset)
                hk.submit("s", "up")
            seen, page = [], hk.feedback(limit=limit)
            seen.extend(page.items)
            while page.next:
                assert len(page.items) == limit
                page = hk.feedback(limit=limit, after=str(page.next))
                seen.extend(page.items)
            assert seen == list(reversed(list(hk.export())))
            assert sorted(one.created_at for one in seen) == sorted(NOON + timedelta(minutes=at) for at in minutes)
            assert hk.groups(GroupBy.parse("session")) == ({"s": hk.summary()} if minutes else {})


def test_another_sentiment_is_another_body(hk: Harken) -> None:
    """A computed sentiment belongs to the submission, so a key does not cover two of them."""
    first = a_submission(idempotency_key="k", sentiment=Sentiment(1, 1))
    hk.collection.submit(first)
    assert hk.collection.submit(first).duplicate
    with pytest.raises(IdempotencyConflict):
        hk.collection.submit(evolve(first, sentiment=Sentiment(-1, 1)))


def test_enrichment_is_stored_and_not_part_of_the_body(hk: Harken) -> None:
    """Enrichment is in the context, overrides sent values, and does not make a retry with the same key another body."""
    said = a_submission(context={"tier": "gold", "where": "made up"}, idempotency_key="k")
    first = hk.collection.submit(evolve(said, enrichment={"where": "here"}))
    again = hk.collection.submit(evolve(said, enrichment={"where": "there"}))
    assert first.feedback.context == {"tier": "gold", "where": "here"}
    assert again == Receipt(first.feedback, duplicate=True)


def test_a_context_of_the_wrong_type_is_refused(hk: Harken) -> None:
    """An invalid context is refused as such, with any enrichment."""
    with pytest.raises(FeedbackRejected, match="context must map names to values"):
        hk.collection.submit(a_submission(context=["no"], enrichment={"where": "here"}))


def test_the_rules_do_not_apply_to_historical_feedback(hk: Harken) -> None:
    """It is stored as it was given, without waiting for a moderator; the receipts have what the rules find."""
    given = [a_submission("s", "down"), a_submission("s", "up", "click here"), a_submission("s", "up", "x" * 1_001)]
    rules = [("reason when down",), ("spam phrases",), ("comment length",)]
    checked = hk.collection.check_many(given, historical=True)
    assert [tuple(one.rule for one in found) for found in checked if isinstance(found, tuple)] == rules
    assert hk.summary().total == 0
    receipts = hk.collection.submit_many(given, announce=False, historical=True)
    assert [tuple(one.rule for one in receipt.waived) for receipt in receipts if isinstance(receipt, Receipt)] == rules
    assert hk.summary().total == 3
    refused = hk.collection.submit_many(
        [a_submission("s", "up", "x" * 10_001), a_submission("", "up")], historical=True
    )
    assert all(isinstance(one, FeedbackRejected) for one in refused)


def test_checking_is_like_submitting(hk: Harken) -> None:
    """Without storing and counting anything."""
    given = [a_submission("s", "down"), a_submission("s", "down", "Slow"), a_submission("s", "up", "y" * 6_000)]
    first, second, third = hk.collection.check_many(given)
    assert (str(first), second) == ("Please provide a comment when giving negative feedback", ())
    assert isinstance(third, FeedbackRejected)
    assert [*hk.moderation.rule_counts(hk.application)] == []
    assert [isinstance(one, Receipt) for one in hk.collection.submit_many(given)] == [False, True, False]


@pytest.mark.parametrize("way", WAYS)
def test_extras_are_stored_and_shown_by_their_session(way: str) -> None:
    """Extras come back with the entries of a session, exactly as they were submitted, and nowhere else."""
    hk = harken.connect("memory://")
    extras = '{"nested": [1, {"a.b": null}]}'
    receipt = way_in(hk, way)(a_submission(session_id="s", extras=extras))
    (entry,) = hk.collection.session_entries("default", "s")
    assert entry.rest is not None
    assert entry.rest["extras"] == extras
    assert extras not in str(receipt.feedback)


def test_the_session_of_entries_must_be_text_that_can_be_stored() -> None:
    """A session id that no feedback can have is refused, as it is by queries."""
    hk = harken.connect("memory://")
    with pytest.raises(InvalidQuery, match="session_id must not contain NUL"):
        hk.collection.session_entries("default", "a\0b")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("parts", [{}, {"author": "ann", "vote": True}])
def test_extras_that_are_too_large_are_refused(way: str, parts: dict[str, object]) -> None:
    """The violation names them and their limit, and nothing is stored; a check without storing finds it too."""
    hk = harken.connect("memory://")
    submission = a_submission(extras="€" * 5_000_000, **parts)
    with pytest.raises(FeedbackRejected) as refused:
        way_in(hk, way)(submission)
    (violation,) = refused.value.violations
    assert (violation.field, violation.code) == ("extras", "too_long")
    assert violation.message == "extras too long: 15,000,000 bytes (max: 14,000,000)"
    assert list(hk.export()) == []
    (checked,) = hk.collection.check_many([submission])
    assert isinstance(checked, FeedbackRejected)
    assert checked.violations == (violation,)


@pytest.mark.parametrize("way", WAYS)
def test_extras_belong_to_the_body_of_a_key(way: str) -> None:
    """The same key with other extras is another body, and the stored extras stay."""
    hk = harken.connect("memory://")
    submit = way_in(hk, way)
    first = a_submission(idempotency_key="key", extras='{"n": 1}')
    submit(first)
    assert submit(first).duplicate
    for other in ('{"n": 2}', ""):
        with pytest.raises(IdempotencyConflict):
            submit(evolve(first, extras=other))
    (entry,) = hk.collection.session_entries("default", "s")
    assert entry.rest == {"idempotency_key": "key", "extras": '{"n": 1}'}


def test_a_changed_vote_keeps_its_extras() -> None:
    """Extras are those of the first vote, as those of any changed feedback."""
    hk = harken.connect("memory://")
    vote = a_submission(author="ann", vote=True, extras='{"n": 1}')
    hk.collection.submit(vote)
    hk.collection.submit(evolve(vote, rating="down", comment="Slow", extras='{"n": 2}'))
    (entry,) = hk.collection.session_entries("default", "s")
    assert entry == SessionEntry("down", "Slow", entry.created_at, {"author": "ann", "extras": '{"n": 1}'})


def test_an_import_in_another_form_is_a_duplicate() -> None:
    """The key of an import is a digest of an entry: what has it is the same entry, though not for new feedback."""
    hk = harken.connect("memory://")
    first = a_submission(idempotency_key="import-0a1b", comment="Old")
    again = evolve(first, extras='{"n": 1}', target=Target("s", message_id="m"))
    other = evolve(first, idempotency_key="click-1")
    (stored, by_hand) = hk.collection.submit_many([first, other], historical=True)
    assert isinstance(stored, Receipt)
    assert hk.collection.submit_many([again], historical=True) == [Receipt(stored.feedback, duplicate=True)]
    assert isinstance(by_hand, Receipt)
    refused = [
        *hk.collection.submit_many([evolve(other, comment="New")], historical=True),
        *hk.collection.submit_many([again]),
    ]
    assert [type(one) for one in refused] == [IdempotencyConflict, IdempotencyConflict]


def test_feedback_is_restored_with_its_extras() -> None:
    """Restored entries may have extras, in pairs; if those of one are invalid, nothing is stored."""
    hk = harken.connect("memory://")
    plain, full = a_feedback("plain"), a_feedback("full")
    with pytest.raises(FeedbackRejected, match="extras must not contain NUL"):
        hk.collection.restore([plain, (full, "\0")])
    assert list(hk.export()) == []
    assert hk.collection.restore([plain, (full, "{}")]) == [Stored(plain), Stored(full)]
    assert [entry.rest for entry in hk.collection.session_entries("default", "s")] == [{"extras": "{}"}, None]
