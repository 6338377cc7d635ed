"""Copying one storage into another: unchanged, once, and without overwriting."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from harken import Feedback, FeedbackQuery, StorageUnavailable
from harken.configuration.storage_urls import open_storage, same_storage
from harken.ports.repository import Stored
from harken.ports.storage import Storage
from harken.services.conversations import CONTINUED, OTHER_VALUE
from harken.services.copying import ConversationPart, Copied, Copyable, Copying, SessionValue
from harken.services.mirroring import BATCH, Extra, Kind
from harken.testing import NOON, a_feedback, a_series, accepted, reference_storage
from harken.testing import strategies as hst

Reported = list[tuple[Copyable, str]]


def copied(source: Storage, target: Storage, application: str | None = None) -> tuple[Copying, Reported]:
    """Copy everything; returns the copying and its reports."""
    reported: Reported = []
    copying = Copying(source, target, lambda *difference: reported.append(difference), application=application)
    for _ in copying.batches():
        pass
    return copying, reported


def said(storage: Storage) -> dict[tuple[str, ...], Any]:
    """The state and the messages of agents, by application, session and agent."""
    kept, sessions = storage.conversations, list(storage.conversations.sessions())
    known = {(*place, agent_id): value for place in sessions for agent_id, value in kept.agents(*place).items()}
    agents = [(*place, agent_id) for place in sessions for agent_id in kept.speakers(*place)]
    return {**known, **{(*agent, "said"): list(kept.messages(*agent, limit=9_999)) for agent in agents}}


def counts(tally: Copied) -> tuple[int, int, int, int]:
    """The numbers read, added, duplicate and in conflict."""
    assert tally.read == tally.added + tally.updated + tally.duplicates + tally.conflicts
    return tally.read, tally.added, tally.duplicates, tally.conflicts


def tally(copying: Copying) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The numbers read, added, duplicate and in conflict: feedback, and metadata values."""
    return counts(copying.feedback), counts(copying.metadata)


def everything(storage: Storage) -> dict[str, list[Feedback]]:
    """All feedback by application, in any state."""
    return {
        name: list(storage.feedback.stream(FeedbackQuery(application=name).in_any_state()))
        for name in storage.feedback.applications()
    }


ERASED = "Only the target has it; --mirror removes it"


def only_there(kind: Kind, name: str = "", session_id: str = "session") -> Extra:
    """What only the target has."""
    return Extra(kind, "default", session_id, name)


@contextmanager
def two_storages() -> Iterator[tuple[Storage, Storage]]:
    """Two empty storages in memory."""
    with open_storage("memory://") as one, open_storage("memory://") as other:
        yield one, other


# --- Unchanged --------------------------------------------------------------------------------------------------------


@given(
    batch=st.lists(hst.feedback_entries(), max_size=12),
    metadata=st.lists(st.tuples(st.sampled_from(hst.APPLICATIONS), st.sampled_from(hst.SESSIONS), hst.metadata())),
    talk=st.lists(
        st.tuples(
            st.sampled_from(hst.APPLICATIONS),
            st.sampled_from(hst.SESSIONS),
            st.sampled_from(hst.AGENTS),
            st.none() | st.integers(0, 3),
            hst.metadata(),
        )
    ),
    data=st.data(),
)
@pytest.mark.slow
def test_a_copy_is_the_same_in_every_storage(
    batch: list[Feedback],
    metadata: list[tuple[str, str, dict[str, Any]]],
    talk: list[tuple[str, str, str, int | None, dict[str, Any]]],
    data: st.DataObject,
) -> None:
    """From memory through two files back into memory, everything is equal, also the statistics, and there are no
    events.
    """
    with TemporaryDirectory() as folder, ExitStack() as stack:
        urls = ("memory://", f"sqlite:///{folder}/one.db", f"sqlite:///{folder}/two.db", "memory://")
        storages = [stack.enter_context(open_storage(url)) for url in urls]
        first = storages[0]
        kept = [one.feedback for one in first.feedback.add(accepted(*batch)) if isinstance(one, Stored)]
        for feedback in kept:
            if data.draw(st.booleans()):
                first.feedback.replace(data.draw(hst.later_versions(feedback)), [])
        for application, session_id, changes in metadata:
            first.sessions.update(application, session_id, changes)
        for *agent, number, value in talk:
            if number is None:
                first.conversations.put_agent(*agent, value)
            else:
                first.conversations.append(*agent, number, value)
        for source, target in pairwise(storages):
            copying, reported = copied(source, target)
            assert reported == []
            assert (copying.total(), copying.feedback.added) == (len(kept), len(kept))
            assert everything(target) == everything(first)
            assert repr(list(target.sessions.stream())) == repr(list(first.sessions.stream()))
            assert repr(said(target)) == repr(said(first))
            for name in first.feedback.applications():
                query = FeedbackQuery(application=name)
                assert target.feedback.summarize(query) == first.feedback.summarize(query)
            assert target.outbox.events(limit=1) == [] == list(target.rebuild())


def talk(storage: Storage, application: str = "default", **known: Any) -> None:
    """One agent has state, and two have messages."""
    storage.conversations.put_agent(application, "s", "helper", known)
    for agent_id in ("helper", "quiet"):
        for number in range(BATCH + 1 if agent_id == "helper" else 1):
            storage.conversations.append(application, "s", agent_id, number, {"n": number})


def test_conversations_are_copied_once() -> None:
    """With any length; a second copy adds only what is new."""
    with two_storages() as (source, target):
        talk(source, model="local")
        messages = BATCH + 2
        assert counts(copied(source, target)[0].conversations) == (messages + 1, messages + 1, 0, 0)
        assert said(target) == said(source)
        source.conversations.append("default", "s", "quiet", 1, {"n": 1})
        copying, reported = copied(source, target)
        assert counts(copying.conversations) == (messages + 2, 1, messages + 1, 0)
        assert (said(target), reported) == (said(source), [])


def test_a_second_copy_adds_nothing() -> None:
    """Copied items are recognised, so that a copy can be repeated at any time."""
    with two_storages() as (source, target):
        source.feedback.add(accepted(*a_series(3), a_feedback(application="other", author="ann", vote=True)))
        source.sessions.update("default", "session", {"tier": "gold", "age": 7})
        assert tally(copied(source, target)[0]) == ((4, 4, 0, 0), (2, 2, 0, 0))
        assert tally(copied(source, target)[0]) == ((4, 0, 4, 0), (2, 0, 2, 0))
        source.feedback.add(accepted(a_feedback()))
        source.sessions.update("default", "session", {"more": None})
        assert tally(copied(source, target)[0]) == ((5, 1, 4, 0), (3, 1, 2, 0))


def test_an_interrupted_copy_continues() -> None:
    """Each batch is durable when it is reported; when the target fails, a second run copies the rest."""
    with two_storages() as (source, target):
        source.feedback.add(accepted(*a_series(2 * BATCH + 1)))
        batches = Copying(source, target, print).batches()
        assert next(batches) == BATCH
        assert len(everything(target)["default"]) == BATCH
        assert next(batches) == 2 * BATCH
        copying, _ = copied(source, target)
        assert tally(copying)[0] == (2 * BATCH + 1, 1, 2 * BATCH, 0)
        assert everything(target) == everything(source)


def test_errors_of_a_storage_are_raised() -> None:
    """An error of a storage is raised, not reported as a conflict."""

    def fails(*_: object) -> None:
        raise StorageUnavailable("no answer")

    with two_storages() as (source, target), pytest.MonkeyPatch.context() as patch:
        source.feedback.add(accepted(a_feedback()))
        patch.setattr(target.feedback, "add", fails)
        with pytest.raises(StorageUnavailable, match="no answer"):
            copied(source, target)


def test_one_application_can_be_copied() -> None:
    """Then no feedback, metadata and conversations of others are copied."""
    with two_storages() as (source, target):
        source.feedback.add(accepted(a_feedback(), a_feedback(application="other")))
        for application in ("another", "default", "other"):
            source.sessions.update(application, "s", {"of": application})
            source.conversations.put_agent(application, "s", "helper", {"of": application})
        copying, _ = copied(source, target, "other")
        assert (tally(copying), copying.total()) == (((1, 1, 0, 0), (1, 1, 0, 0)), 1)
        assert target.feedback.applications() == ["other"]
        assert list(target.sessions.stream()) == [("other", "s", {"of": "other"})]
        assert said(target) == {("other", "s", "helper"): {"of": "other"}}
        assert tally(copied(source, target, "nobody")[0]) == ((0, 0, 0, 0), (0, 0, 0, 0))


# --- Conflicts --------------------------------------------------------------------------------------------------------


def test_different_feedback_is_a_conflict() -> None:
    """A taken id, key or vote is reported with its holder, nothing is overwritten, and all else is copied."""
    changed = a_feedback()
    keyed = a_feedback(idempotency_key="key", fingerprint="body")
    rivals = evolve(keyed, id="other-1", fingerprint="rival")
    again = a_feedback("again", idempotency_key="key", fingerprint="body")
    vote = a_feedback(author="ann", vote=True)
    fine = a_feedback()
    with two_storages() as (source, target):
        source.feedback.add(accepted(changed, keyed, again, vote, fine))
        there = [changed.withdraw(at=NOON), rivals, evolve(again, id="other-2"), evolve(vote, id="other-3")]
        target.feedback.add(accepted(*there))
        copying, reported = copied(source, target)
        assert tally(copying)[0] == (5, 1, 0, 4)
        assert reported == [
            (changed, "The target has a later version, 2; this is version 1"),
            (keyed, "Its idempotency key is taken by other feedback, other-1"),
            (again, "Its idempotency key is taken by other feedback, other-2"),
            (vote, "Its vote slot is taken by other feedback, other-3"),
            (only_there(Kind.FEEDBACK, "other-1"), ERASED),
            (only_there(Kind.FEEDBACK, "other-2", "again"), ERASED),
            (only_there(Kind.FEEDBACK, "other-3"), ERASED),
        ]
        stored = everything(target)["default"]
        assert sorted(stored, key=lambda one: one.id) == sorted([*there, fine], key=lambda one: one.id)


def test_different_metadata_is_reported() -> None:
    """The target's value stays, 1, 1.0 and true are different, and the session's other values are copied."""
    values: dict[str, Any] = {"same": [1, {"b": 1, "a": 2}], "other": "new", "number": 1, "truth": True, "more": 7}
    there: dict[str, Any] = {"same": [1, {"a": 2, "b": 1}], "other": "old", "number": 1.0, "truth": 1, "kept": 0}
    with two_storages() as (source, target):
        source.sessions.update("default", "s", values)
        target.sessions.update("default", "s", there)
        copying, reported = copied(source, target)
        assert tally(copying)[1] == (5, 1, 1, 3)
        assert target.sessions.get("default", "s") == {**there, "more": 7}
    kept = "has another value already, which was kept"
    assert reported == [
        (SessionValue("default", "s", "number", 1), f"metadata.number {kept}: 1.0"),
        (SessionValue("default", "s", "other", "new"), f'metadata.other {kept}: "old"'),
        (SessionValue("default", "s", "truth", True), f"metadata.truth {kept}: 1"),
        (only_there(Kind.METADATA, "kept", "s"), ERASED),
    ]


def test_different_messages_are_reported() -> None:
    """The target's messages stay, 1, 1.0 and true are different, and no later messages are copied."""
    with two_storages() as (source, target):
        for number, value in enumerate(({"a": 1, "b": 2}, {"a": 1}, {"a": 3})):
            source.conversations.append("default", "s", "helper", number, value)
        source.conversations.put_agent("default", "s", "helper", {"knows": 1})
        for number, value in enumerate(({"b": 2, "a": 1}, {"a": True})):
            target.conversations.append("default", "s", "helper", number, value)
        target.conversations.put_agent("default", "s", "helper", {"knows": 1.0})
        copying, reported = copied(source, target)
        assert counts(copying.conversations) == (4, 0, 1, 3)
        assert repr(target.conversations.agent("default", "s", "helper")) == "{'knows': 1.0}"
        messages = target.conversations.messages("default", "s", "helper", limit=9)
        assert repr(list(messages)) == "[(0, {'b': 2, 'a': 1}), (1, {'a': True})]"
    assert reported == [
        (ConversationPart("default", "s", "helper", None, {"knows": 1}), OTHER_VALUE),
        (ConversationPart("default", "s", "helper", 1, {"a": 1}), OTHER_VALUE),
        (ConversationPart("default", "s", "helper", 2, {"a": 3}), CONTINUED),
    ]


def speak(storage: Storage, words: str, numbers: Iterable[int], agent_id: str = "helper") -> None:
    """Append messages of one conversation."""
    for number in numbers:
        storage.conversations.append("default", "s", agent_id, number, {"message": {"text": f"{words} {number}"}})


def numbers_of(reported: Reported) -> list[tuple[int, str]]:
    """The numbers of the reported messages, with the reasons."""
    return [
        (one.number, reason) for one, reason in reported if isinstance(one, ConversationPart) and one.number is not None
    ]


@pytest.mark.parametrize("length", [5, 250])
def test_two_conversations_are_not_mixed(length: int) -> None:
    """Messages after a different one are refused and reported, by each copy; those of other agents are copied."""
    with two_storages() as (source, target):
        speak(source, "old", range(length))
        speak(source, "other", range(2), agent_id="quiet")
        speak(target, "live", range(3))
        before = list(target.conversations.messages("default", "s", "helper", limit=9))
        for added, existing in ((2, 0), (0, 2)):
            copying, reported = copied(source, target)
            assert counts(copying.conversations) == (length + 2, added, existing, length)
            refused = [OTHER_VALUE] * 3 + [CONTINUED] * (length - 3)
            assert numbers_of(reported) == list(enumerate(refused))
            assert list(target.conversations.messages("default", "s", "helper", limit=9)) == before
            assert target.conversations.count("default", "s", "quiet") == 2


@pytest.mark.parametrize(("live", "added"), [(1, []), (3, [2]), (4, [2, 4]), (5, [2, 4]), (151, [*range(2, 151, 2)])])
def test_a_message_that_the_source_does_not_have_is_another_one(live: int, added: list[int]) -> None:
    """Numbers of messages may have gaps; messages after such a message of the target are refused."""
    with two_storages() as (source, target):
        speak(source, "old", range(0, 300, 2))
        speak(target, "old", [0])
        speak(target, "live", [live])
        copying, reported = copied(source, target)
        stored = [number for number, _ in target.conversations.messages("default", "s", "helper", limit=999)]
        assert stored == sorted({0, *(number for number in added if number < live), live})
        assert [number for number, _ in numbers_of(reported)] == [n for n in range(2, 300, 2) if n >= live]
        assert copying.conversations.conflicts == len(numbers_of(reported))


def test_a_missing_message_is_added_before_the_same_messages() -> None:
    """And a target with a longer conversation has no different messages."""
    with two_storages() as (source, target):
        speak(source, "old", range(6))
        speak(target, "old", (0, 2, 3, 5, 6, 7))
        copying, reported = copied(source, target)
        assert counts(copying.conversations) == (6, 2, 4, 0)
        assert numbers_of(reported) == []
        assert target.conversations.count("default", "s", "helper") == 8


def test_what_is_stored_with_a_message_does_not_end_a_conversation() -> None:
    """A message with other metrics is reported, and later ones are added."""
    with two_storages() as (source, target):
        speak(source, "old", range(3))
        target.conversations.append("default", "s", "helper", 0, {"message": {"text": "old 0"}, "metrics": 1})
        copying, reported = copied(source, target)
        assert counts(copying.conversations) == (3, 2, 0, 1)
        assert numbers_of(reported) == [(0, OTHER_VALUE)]


def test_a_mirror_replaces_a_conversation() -> None:
    """Different messages are replaced, and missing ones are added after them."""
    with two_storages() as (source, target):
        speak(source, "old", range(250))
        speak(target, "live", range(3))
        copying = Copying(source, target, lambda *_: None, mirror=True)
        list(copying.batches())
        assert said(target) == said(source)
        assert (copying.conversations.updated, counts(copying.conversations)) == (3, (250, 247, 0, 0))


def test_invalid_data_is_reported() -> None:
    """Data in the source that Harken's rules do not allow is left out, and all else is copied."""
    source = reference_storage()
    spoilt, fine = a_feedback(comment="nul\0"), a_feedback()
    source.feedback.add(accepted(spoilt, fine))
    source.sessions.update("default", "s", {"a\nb": 1, "fine": 2})
    source.sessions.update("default", "\x07", {"a": 1, "b": 2})
    source.conversations.append("default", "\x07", "helper", 0, {"a": 1})
    with open_storage("memory://") as target:
        copying, reported = copied(source, target)
        assert tally(copying) == ((2, 1, 0, 1), (4, 1, 0, 3))
        assert everything(target) == {"default": [fine]}
        assert target.sessions.get("default", "s") == {"fine": 2}
        assert said(target) == {}
    assert [reason for _, reason in reported] == [
        "comment must not contain NUL characters",
        *["session_id must not contain control characters"] * 2,
        "metadata name 'a\\nb' must not contain control characters",
        "session_id must not contain control characters",
    ]


# --- The same storage -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("memory://", "MEMORY://", True),
        ("sqlite:///a.db", "sqlite:///a.db?busy_timeout=1", True),
        ("sqlite:///a.db", "SQLite:///./sub/../a.db", True),
        ("sqlite:///a%20b.db", "sqlite:///a b.db", True),
        ("sqlite:///a.db", "sqlite:///{folder}/a.db", True),
        ("sqlite:///a.db", "sqlite:///link.db", True),
        ("sqlite:///a.db", "sqlite:///b.db", False),
        ("sqlite:///a.db", "sqlite:////a.db", False),
        ("sqlite:///%00", "sqlite:///b.db", False),
        ("mongodb://Host/db", "mongodb://me:secret@host/db?w=1", True),
        ("mongodb://a,b/db", "mongodb://b,a/db", True),
        ("mongodb://host/one", "mongodb://host/two", False),
        ("mongodb://host/db", "mongodb://host:1/db", False),
        ("mongodb://host/db", "sqlite:///db", False),
    ],
)
def test_the_same_storage_by_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one: str, other: str, *, same: bool
) -> None:
    """A storage is recognised by any spelling of its URL; different ones are never considered the same."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.db").symlink_to("a.db")
    assert same_storage(one, other.format(folder=tmp_path)) is same
    assert same_storage(other.format(folder=tmp_path), one) is same
