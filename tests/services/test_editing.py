"""Changes: listeners are notified of each change that has an event, and cannot affect it."""

import logging
from collections.abc import Callable, Iterator

import pytest
from attrs import evolve

import harken
from harken import Change, FeedbackRejected, Harken, ModerationStatus, Target
from harken.ports.repository import Accepted
from harken.services.erasures import Erasures
from harken.services.feedback.collection import CollectionService
from harken.services.feedback.editing import Editor
from harken.services.feedback.erasing import Eraser
from harken.services.feedback.moderation import ModerationService
from harken.testing import a_feedback, with_content
from harken_adapters.storage.memory import open_storage
from support import ManualClock, a_submission, counting_ids

APP = "default"


class Wired:
    """The services that share an editor, and the number of notifications."""

    def __init__(
        self, hk: Harken, collection: CollectionService, moderation: ModerationService, editor: Editor
    ) -> None:
        self.hk = hk
        self.collection = collection
        self.moderation = moderation
        self.editor = editor
        self.calls = 0
        editor.on_change(self.count)

    def count(self) -> None:
        """Count a notification."""
        self.calls += 1


@pytest.fixture
def wired(clock: ManualClock) -> Iterator[Wired]:
    """Collection and moderation with one editor, on an empty storage."""
    with open_storage() as storage, harken.connect(storage) as hk:
        editor = Editor(storage.feedback)
        collection = CollectionService(
            storage.feedback,
            Eraser(
                storage.feedback,
                storage.sessions,
                storage.conversations,
                Erasures(storage.state),
                storage.state,
                clock=clock,
            ),
            clock=clock,
            new_id=counting_ids(),
            policy=harken.RatingPolicy(),
            editor=editor,
        )
        moderation = ModerationService(storage.feedback, clock=clock, editor=editor)
        yield Wired(hk, collection, moderation, editor)
        collection.close()


@pytest.fixture
def kept(wired: Wired) -> str:
    """The id of a vote."""
    return wired.collection.set_vote(Target("s"), "ann", "down", "Slow").feedback.id


NEWS: dict[str, Callable[[Wired, str], object]] = {
    "change": lambda wired, kept: wired.collection.change(APP, kept, Change(comment="Very slow")),
    "reply": lambda wired, kept: wired.collection.reply(APP, kept, "Sorry"),
    "withdraw": lambda wired, kept: wired.collection.withdraw(APP, kept),
    "vote again": lambda wired, kept: wired.collection.set_vote(Target("s"), "ann", "up"),
    "decide": lambda wired, kept: wired.moderation.decide(APP, kept, ModerationStatus.REJECTED),
    "import with news": lambda wired, kept: wired.collection.submit_many([a_submission(), a_submission()]),
}
NO_NEWS: dict[str, Callable[[Wired, str], object]] = {
    "change nothing": lambda wired, kept: wired.collection.change(APP, kept, Change(comment="Slow")),
    "no reply": lambda wired, kept: wired.collection.reply(APP, kept, None),
    "the same vote": lambda wired, kept: wired.collection.set_vote(Target("s"), "ann", "down", "Slow"),
    "import": lambda wired, kept: wired.collection.submit_many([a_submission()], announce=False),
    "import of a vote": lambda wired, kept: wired.collection.submit_many(
        [a_submission(rating=None, author="ann", vote=True)], announce=False
    ),
    "import of nothing": lambda wired, kept: wired.collection.submit_many([]),
}


@pytest.mark.parametrize("way", NEWS)
def test_one_notification(wired: Wired, kept: str, way: str) -> None:
    """Each change that stores an event notifies once, when it is stored."""
    before = len(wired.hk.outbox.events(limit=100))
    NEWS[way](wired, kept)
    assert wired.calls == 1
    assert len(wired.hk.outbox.events(limit=100)) > before


@pytest.mark.parametrize("way", NO_NEWS)
def test_no_notification(wired: Wired, kept: str, way: str) -> None:
    """A change that changes nothing, or has no event, does not notify."""
    before = len(wired.hk.outbox.events(limit=100))
    NO_NEWS[way](wired, kept)
    assert wired.calls == 0
    assert len(wired.hk.outbox.events(limit=100)) == before


def test_a_listener_that_fails(wired: Wired, kept: str, caplog: pytest.LogCaptureFixture) -> None:
    """The change stays stored, the other listeners are called, and the error is logged."""

    def fail() -> None:
        raise ZeroDivisionError

    later: list[str] = []
    wired.editor.on_change(fail)
    wired.editor.on_change(lambda: later.append("called"))
    assert wired.collection.reply(APP, kept, "Sorry").reply == "Sorry"
    assert (wired.calls, later) == (1, ["called"])
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "A listener failed after feedback was changed")


def test_a_listener_may_change_feedback(wired: Wired, kept: str) -> None:
    """Listeners are called without a lock."""

    def answer() -> None:
        wired.collection.reply(APP, kept, "Sorry")

    wired.editor.on_change(answer)
    wired.collection.change(APP, kept, Change(comment="Very slow"))
    assert wired.collection.get(APP, kept).reply == "Sorry"
    assert wired.calls == 2


def test_versions_never_block(hk: Harken) -> None:
    """However often a moderator decides, the next decision, reply, change and withdrawal is accepted."""
    feedback = hk.submit("s", "up").feedback
    hk.moderation.decide(APP, feedback.id, "rejected")
    for _ in range(1_100):
        hk.moderation.undo(APP, feedback.id)
    hk.collection.reply(APP, feedback.id, "Thanks")
    hk.collection.change(APP, feedback.id, Change(comment="Good"))
    withdrawn = hk.collection.withdraw(APP, feedback.id)
    assert (withdrawn.withdrawn, withdrawn.version, withdrawn.revisions[0].version) == (True, 1_105, 1_103)


def test_feedback_has_a_limited_size() -> None:
    """Replies and decisions count too; feedback that was too large before can be withdrawn."""
    with open_storage() as storage, harken.connect(storage) as hk:
        feedback = hk.submit("s", "up").feedback
        large = with_content(a_feedback(), comment="x" * 8_000_001)
        storage.feedback.add([Accepted(large)])
        with pytest.raises(FeedbackRejected, match=r"reply too long: 250001 characters \(max: 250000"):
            hk.collection.reply(APP, feedback.id, "x" * 250_001)
        with pytest.raises(FeedbackRejected, match=r"reason too long: 250001 characters \(max: 250000"):
            hk.moderation.decide(APP, feedback.id, "pending", reason="x" * 250_001)
        with pytest.raises(FeedbackRejected, match="8,000,004 bytes"):
            hk.moderation.decide(APP, large.id, "pending", reason="why")
        with pytest.raises(FeedbackRejected, match="reply too long"):
            hk.collection.restore([evolve(a_feedback(), reply="x" * 250_001)])
        assert hk.collection.withdraw(APP, large.id).withdrawn
