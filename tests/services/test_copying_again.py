"""Copying again: the target gets the changes of the source, between all kinds of storages, and loses nothing."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

import harken
import mongod
from harken import (
    Change,
    Content,
    Feedback,
    FeedbackNotFound,
    FeedbackQuery,
    Moderation,
    ModerationStatus,
    Rating,
    StaleFeedback,
    StorageUnavailable,
)
from harken.configuration.storage_urls import open_storage
from harken.ports.storage import Storage
from harken.services.copying import ConversationPart, Copied, Copyable, Copying, SessionValue
from harken.services.mirroring import Extra, Kind
from harken.testing import NOON, a_feedback, a_series, accepted, with_content
from support import ManualClock

KINDS = ("memory", "sqlite", "mongodb")
PAIRS = [
    pytest.param((one, other), marks=[] if one == other == "memory" else [pytest.mark.slow], id=f"{one}-{other}")
    for one in KINDS
    for other in KINDS
]
LATER = NOON + timedelta(hours=3)
REJECTED = Moderation(status=ModerationStatus.REJECTED, moderator="mo", decided_at=LATER)

Pair = tuple[Storage, Storage]


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """Two empty storages, of each kind."""
    with ExitStack() as stack:

        def opened(kind: str, name: str) -> Storage:
            if kind == "mongodb":
                server = request.getfixturevalue("mongodb_server")
                return stack.enter_context(open_storage(stack.enter_context(mongod.database(server))))
            url = "memory://" if kind == "memory" else f"sqlite:///{tmp_path}/{name}.db"
            return stack.enter_context(open_storage(url))

        source, target = request.param
        yield opened(source, "source"), opened(target, "target")


@pytest.fixture
def two() -> Iterator[Pair]:
    """Two empty storages in memory."""
    with open_storage("memory://") as source, open_storage("memory://") as target:
        yield source, target


def copied(
    source: Storage,
    target: Storage,
    *,
    mirror: bool = False,
    application: str | None = None,
    allow_empty: bool = False,
) -> Copying:
    """Copy everything, and for a mirror remove what only the target has."""
    options = {"mirror": mirror, "allow_empty": allow_empty}
    copying = Copying(source, target, lambda *_: None, application=application, **options)
    if mirror:
        # As the command does: a source that cannot be compared fails before anything is removed.
        list(copying.extras())
        copying.remove(copying.extras(), at=NOON)
    for _ in copying.batches():
        pass
    return copying


def contents(storage: Storage, applications: tuple[str, ...] = ("default", "other")) -> dict[str, Any]:
    """Everything that can be copied, and its statistics."""
    kept = storage.conversations
    everything = {name: FeedbackQuery(application=name).in_any_state() for name in applications}
    return {
        "feedback": {name: list(storage.feedback.stream(query)) for name, query in everything.items()},
        "figures": {name: dict(storage.feedback.summarize(FeedbackQuery(application=name))) for name in applications},
        "metadata": list(storage.sessions.stream()),
        "agents": {place: repr(kept.agents(*place)) for place in kept.sessions()},
        "messages": {
            (*place, agent): repr(list(kept.messages(*place, agent, limit=9)))
            for place in kept.sessions()
            for agent in kept.speakers(*place)
        },
    }


def voted_again(vote: Feedback, *comments: str) -> Feedback:
    """A vote that its author has changed that many times."""
    for comment in comments:
        content = Content(Rating.UP if vote.rating is Rating.DOWN else Rating.DOWN, comment)
        vote = vote.revised(content, at=vote.updated_at + timedelta(minutes=1))
    return vote


def much_happens(source: Storage, given: list[Feedback]) -> Feedback:
    """Change, moderate, withdraw, reply to and erase feedback, erase a session, continue others, and set a new vote."""
    for one in given[:4]:
        changed = voted_again(one, "else", "and else", "at last")
        source.feedback.replace(changed, [], over=1)
    source.feedback.replace(given[4].moderated(REJECTED, at=LATER), [])
    source.feedback.replace(given[5].withdraw(at=LATER), [])
    source.feedback.replace(given[6].answered("Sorry", at=LATER), [])
    for one in given[7:10]:
        source.feedback.erase(FeedbackQuery(feedback_id=one.id).in_any_state(), at=NOON)
    # The same author votes on the same message as before the erasure.
    recast = evolve(with_content(given[9], comment="again"), id=f"{given[9].id}-2")
    source.feedback.add(accepted(recast, a_feedback()))
    source.sessions.update("default", "s", {"tier": "gold"})
    source.sessions.delete("default", "s", ["age"])
    source.sessions.delete("other", "s")
    source.conversations.erase("default", "restarted")
    source.conversations.append("default", "restarted", "helper", 0, {"text": "new"})
    source.conversations.erase("default", "over")
    source.conversations.put_agent("default", "s", "helper", {"turns": 2})
    source.conversations.replace("default", "s", "helper", 0, {"text": "redacted"})
    source.conversations.append("default", "s", "helper", 1, {"text": "more"})
    return recast


def filled(source: Storage) -> list[Feedback]:
    """Feedback, metadata and conversations in two applications; returns the votes of the first."""
    votes = [
        a_feedback(author=f"a-{n}", vote=True, comment=f"{n}", idempotency_key=f"k-{n}", fingerprint=f"{n}")
        for n in range(12)
    ]
    source.feedback.add(accepted(*votes, a_feedback(application="other")))
    source.sessions.update("default", "s", {"tier": "free", "age": 7})
    source.sessions.update("other", "s", {"tier": "free"})
    for session in ("s", "restarted", "over"):
        source.conversations.put_agent("default", session, "helper", {"turns": 1})
        source.conversations.append("default", session, "helper", 0, {"text": session})
    source.conversations.append("default", "restarted", "helper", 1, {"text": "old"})
    return votes


def test_copying_again_catches_up(pair: Pair) -> None:
    """Later versions are copied, with exact statistics; other differences are counted, and removed on request."""
    source, target = pair
    given = filled(source)
    assert copied(source, target).differences == 0
    assert contents(target) == contents(source)
    recast = much_happens(source, given)
    again = copied(source, target)
    assert (again.feedback.added, again.feedback.updated, again.feedback.duplicates) == (1, 7, 3)
    # The vote that was cast again, and the three that were erased.
    assert (again.feedback.conflicts, again.feedback.extra) == (1, 3)
    assert (again.metadata.conflicts, again.metadata.extra) == (1, 2)
    # The state of the agent, two changed messages, and a new message that follows one of them.
    assert (again.conversations.conflicts, again.conversations.added, again.conversations.extra) == (4, 0, 2)
    assert again.differences == 13
    kept = {one.id: one for one in contents(target)["feedback"]["default"]}
    for one in contents(source)["feedback"]["default"]:
        assert kept.get(one.id, one) == one
    replacements = [type(one) for one in Copying(source, target, print, mirror=True).replacements()]
    assert replacements == [SessionValue, *[ConversationPart] * 3]
    mirrored = copied(source, target, mirror=True)
    removed = [part.removed for part in (mirrored.feedback, mirrored.metadata, mirrored.conversations)]
    assert (mirrored.differences, removed) == (0, [3, 2, 2])
    assert contents(target) == contents(source)
    assert target.feedback.get("default", recast.id) == recast
    assert target.outbox.events(limit=1) == []
    assert not target.rebuild()
    last = copied(source, target)
    assert (last.differences, last.feedback.updated, last.feedback.added) == (0, 0, 0)


def test_unique_values_of_copied_versions_stay_taken(pair: Pair) -> None:
    """A retry finds the feedback by its key, and its author has one vote, in the target as in the source."""
    source, target = pair
    vote = a_feedback(author="ann", vote=True, idempotency_key="k", fingerprint="f")
    source.feedback.add(accepted(vote))
    copied(source, target)
    changed = voted_again(vote, "one", "two")
    source.feedback.replace(changed, [], over=1)
    copied(source, target)
    retry = evolve(a_feedback(), author="ann", idempotency_key="k", fingerprint="f")
    rival = evolve(a_feedback(), author="ann", vote=True)
    for storage in (source, target):
        assert [outcome.feedback for outcome in storage.feedback.add(accepted(retry, rival))] == [changed, changed]


def test_later_versions_in_the_target_are_not_overwritten(pair: Pair) -> None:
    """Neither a later version nor other content in the target is overwritten; each is a difference, mirror or not."""
    source, target = pair
    ahead, apart, rivals = a_feedback(), a_feedback(), a_feedback()
    for storage in pair:
        storage.feedback.add(accepted(ahead, apart, rivals))
    target.feedback.replace(ahead.answered("Sorry", at=LATER), [])
    # The author changed it in both, to different content.
    target.feedback.replace(voted_again(apart, "in the target"), [])
    source.feedback.replace(voted_again(apart, "in the source", "again"), [], over=1)
    target.feedback.replace(rivals.answered("target", at=LATER), [])
    source.feedback.replace(rivals.answered("source", at=LATER), [])
    before = contents(target)
    for mirror in (False, True):
        reported: list[tuple[Copyable, str]] = []
        copying = Copying(source, target, lambda *difference, to=reported: to.append(difference), mirror=mirror)
        assert list(copying.extras()) == list(copying.replacements()) == []
        list(copying.batches())
        assert (copying.feedback.conflicts, copying.differences) == (3, 3)
        reasons = {one.id: reason for one, reason in reported if isinstance(one, Feedback)}
        assert reasons == {
            ahead.id: "The target has a later version, 2; this is version 1",
            apart.id: "Both were changed: the target's version 2 is not an earlier version of this one",
            rivals.id: "Both were changed: the target's version 2 is not an earlier version of this one",
        }
        assert contents(target) == before


def test_other_feedback_with_the_same_id_is_not_an_earlier_version(two: Pair) -> None:
    """With any version."""
    source, target = two
    theirs = a_feedback("elsewhere")
    ours = evolve(a_feedback(), id=theirs.id, version=5)
    source.feedback.add(accepted(ours))
    target.feedback.add(accepted(theirs))
    copying = copied(source, target, mirror=True)
    assert (copying.feedback.updated, copying.differences) == (0, 1)
    assert target.feedback.get("default", theirs.id) == theirs


def test_a_change_in_the_target_during_the_copy_is_a_difference(two: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not overwritten, and the next copy resolves it."""
    source, target = two
    one = a_feedback()
    for storage in two:
        storage.feedback.add(accepted(one))
    later = one.answered("Sorry", at=LATER).answered("Very sorry", at=LATER)
    source.feedback.replace(later, [], over=1)
    for error in (StaleFeedback(), FeedbackNotFound("default", one.id)):
        with monkeypatch.context() as patch:

            def refuses(*_: object, error: Exception = error, **__: object) -> None:
                raise error

            patch.setattr(target.feedback, "replace", refuses)
            assert copied(source, target).differences == 1
    assert copied(source, target).differences == 0
    assert target.feedback.get("default", one.id) == later


# --- Mirrors ----------------------------------------------------------------------------------------------------------


def test_a_mirror_is_limited_to_the_copied_applications(two: Pair) -> None:
    """Other applications of the target stay; one without data in the source is a difference, and is not removed."""
    source, target = two
    source.feedback.add(accepted(a_feedback()))
    for name in ("default", "other"):
        target.feedback.add(accepted(a_feedback(application=name)))
        target.sessions.update(name, "s", {"a": 1})
        target.conversations.append(name, "s", "helper", 0, {})
    other = contents(target)["feedback"]["other"]
    copying = copied(source, target, mirror=True)
    assert (copying.other_applications, copying.differences) == (["other"], 1)
    assert contents(target)["feedback"] == contents(source)["feedback"] | {"other": other}
    assert list(target.sessions.stream()) == [("other", "s", {"a": 1})]
    assert list(target.conversations.sessions()) == [("other", "s")]
    copying = copied(source, target, mirror=True, application="default")
    assert (copying.other_applications, copying.differences) == ([], 0)
    # Also if it is named, as the source may be the wrong one.
    copying = copied(source, target, mirror=True, application="other")
    assert (copying.other_applications, copying.differences) == (["other"], 1)
    assert contents(target)["feedback"]["other"] == other
    assert copied(source, target, mirror=True, application="other", allow_empty=True).differences == 0
    assert target.feedback.applications() == ["default"]
    assert list(target.sessions.stream()) == list(target.conversations.sessions()) == []
    with pytest.raises(ValueError, match="needs an application"):
        Copying(source, target, print, mirror=True, allow_empty=True)


def test_an_empty_source_erases_nothing(pair: Pair) -> None:
    """It may be the wrong source, whether an application is named or not."""
    source, target = pair
    filled(target)
    before = contents(target)
    copying = copied(source, target, mirror=True)
    assert (copying.other_applications, copying.differences) == (["default", "other"], 2)
    copying = copied(source, target, mirror=True, application="default")
    assert (copying.other_applications, copying.differences) == (["default"], 1)
    assert contents(target) == before


def test_unreadable_items_are_not_removed(two: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the source fails during the comparison, the target is not changed."""
    source, target = two
    filled(source)
    copied(source, target)
    target.feedback.add(accepted(a_feedback()))
    before = contents(target)

    def fails(*_: object) -> None:
        raise StorageUnavailable("no answer")

    for part, name in ((source.feedback, "get_many"), (source.sessions, "get"), (source.conversations, "agents")):
        with monkeypatch.context() as patch:
            patch.setattr(part, name, fails)
            with pytest.raises(StorageUnavailable):
                copied(source, target, mirror=True)
        assert contents(target) == before


def test_items_that_the_source_has_now_are_not_removed(two: Pair) -> None:
    """Each extra item is looked up again before it is removed."""
    source, target = two
    one = a_feedback()
    target.feedback.add(accepted(one))
    target.sessions.update("default", "s", {"a": 1})
    target.conversations.append("default", "s", "helper", 0, {})
    before = contents(target)
    copying = Copying(source, target, print, application="default", mirror=True, allow_empty=True)
    extras = list(copying.extras())
    assert extras == [
        Extra(Kind.FEEDBACK, "default", one.session_id, one.id),
        Extra(Kind.METADATA, "default", "s", "a"),
        Extra(Kind.CONVERSATION, "default", "s"),
    ]
    copied(target, source)
    copying.remove(extras, at=NOON)
    assert contents(target) == before
    assert copying.feedback.removed == copying.metadata.removed == copying.conversations.removed == 0


@contextmanager
def dying_after(target: Storage, writes: int) -> Iterator[list[str]]:
    """That many writes to a storage succeed, and then each fails as if the process had died; returns their names."""
    written: list[str] = []

    def dying(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if len(written) == writes:
                raise KeyboardInterrupt
            written.append(write.__name__)
            return write(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for part, names in (
            (target.feedback, ("add", "replace", "erase")),
            (target.sessions, ("update", "change", "delete")),
            (target.conversations, ("append", "replace", "put_agent", "erase")),
        ):
            for name in names:
                patch.setattr(part, name, dying(getattr(part, name)))
        yield written


@pytest.mark.slow
def test_an_interrupted_copy_is_repeated(two: Pair) -> None:
    """After an interruption at any write to the target, the next run does the rest."""
    source, before = two
    given = filled(source)
    copied(source, before)
    before.feedback.add(accepted(a_feedback("stranger")))
    much_happens(source, given)
    for writes in count():
        with open_storage("memory://") as target:
            copied(before, target)
            with dying_after(target, writes) as written, suppress(KeyboardInterrupt):
                copied(source, target, mirror=True)
            assert copied(source, target, mirror=True).differences == 0
            assert contents(target) == contents(source)
        if len(written) < writes:
            break
    assert {"add", "replace", "erase", "update", "delete", "append", "put_agent"} <= set(written)


def test_statistics_that_were_kept(pair: Pair) -> None:
    """A service on the target that runs during the copy shows the later versions, although their times are old."""
    source, target = pair
    clock = ManualClock(NOON)
    with harken.connect(source, clock=clock) as ours, harken.connect(target, clock=clock) as theirs:
        first, *_ = [ours.submit(f"s-{number}", "up", tags=["fast"]).feedback for number in range(5)]
        copied(source, target)
        clock.turn(hours=1)
        ours.change(first.id, Change(tags=("kind",)))
        clock.turn(hours=5)
        assert theirs.facets().tags == (("fast", 5),)
        copied(source, target)
        assert theirs.facets().tags == (("fast", 4), ("kind", 1))


def test_extras_are_copied(pair: Pair) -> None:
    """Extras are copied with their feedback, also if there are more than are read at once, and stay with changes."""
    source, target = pair
    series = a_series(120)
    texts = {one.id: f'{{"number": {number}}}' for number, one in enumerate(series) if number % 3}
    source.feedback.add([item for one in series for item in accepted(one, extras=texts.get(one.id, ""))])
    assert copied(source, target).feedback == Copied(read=120, added=120)
    assert target.feedback.extras("default", [one.id for one in series]) == texts
    source.feedback.replace(series[1].answered("Thanks", at=LATER), [])
    again = copied(source, target, mirror=True)
    assert again.feedback == Copied(read=120, updated=1, duplicates=119)
    assert target.feedback.extras("default", [one.id for one in series]) == texts


def test_few_extras_are_read_at_once(two: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may have 14 MB, so that hundreds would not fit into memory; they are read from both storages."""
    source, target = two
    for one in a_series(120):
        source.feedback.add(accepted(one, extras="{}"))
    sizes: list[int] = []
    for storage in two:

        def extras(
            application: str, ids: Collection[str], read: Callable[..., Mapping[str, str]] = storage.feedback.extras
        ) -> Mapping[str, str]:
            sizes.append(len(ids))
            return read(application, ids)

        monkeypatch.setattr(storage.feedback, "extras", extras)
    copied(source, target)
    assert copied(source, target).feedback == Copied(read=120, duplicates=120)
    assert sum(sizes) == 3 * 120
    assert max(sizes) <= 10


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("mirror", [False, True])
def test_other_extras_are_a_difference(two: Pair, changed: bool, mirror: bool) -> None:
    """Feedback that has other extras in the target is reported, and neither changed nor replaced."""
    source, target = two
    series = a_series(3)
    for storage, texts in ((source, ("{}", "", "[1]")), (target, ("{}", "{}", "[2]"))):
        storage.feedback.add(
            [item for one, text in zip(series, texts, strict=True) for item in accepted(one, extras=text)]
        )
    if changed:
        for one in series:
            source.feedback.replace(one.answered("Thanks", at=LATER), [])
    reported: list[tuple[Copyable, str]] = []
    copying = Copying(source, target, lambda *one: reported.append(one), mirror=mirror)
    for _ in copying.batches():
        pass
    assert copying.feedback.conflicts == copying.differences == 2
    assert copying.feedback.updated == changed
    reason = "The target has other extras, and extras never change; erase the entry there and copy again"
    assert reported == [(source.feedback.get("default", one.id), reason) for one in series[1:]]
    assert [target.feedback.get("default", one.id) for one in series[1:]] == series[1:]
