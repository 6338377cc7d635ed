"""Migrating the feedback and metadata of session documents: each entry and value is stored or rejected."""

import json
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from bson import Code, Decimal128, Int64, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from hypothesis import given
from hypothesis import strategies as st

import harken
from harken import Feedback, FeedbackQuery, Harken, Rating, StorageUnavailable, Target
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.plan import Plan
from harken_adapters.formats.importing.profile import Profile
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.formats.migrating.counts import Migrated
from harken_adapters.formats.migrating.documents import Document, application_of
from harken_adapters.formats.migrating.feedback import plan_of
from harken_adapters.formats.migrating.migration import Migration
from harken_adapters.formats.rejects import ENTRY, to_line
from harken_adapters.formats.value_encoding import decode
from harken_adapters.formats.values import plain
from import_files import imported
from session_documents import Expected, session_documents
from support import NOON, all_events

pytestmark = pytest.mark.slow


A_DATE = "expected one such as 2026-01-31T12:00:00Z; add --date-format for others"


def planned(*documents: Document, **options: Any) -> tuple[Profile, Plan]:
    """What the documents mean, in a storage without earlier imports."""
    of = partial(application_of, named=None, default="default")
    return plan_of(documents, ImportOptions(**options), "sessions", application_of=of, known=lambda _: ())


def migrated(
    hk: Harken, *documents: Document, application: str | None = None, check_rules: bool = False, **options: Any
) -> tuple[Migrated, list[Any]]:
    """Import documents. Returns the tally and the rejected entries."""
    rejected: list[Any] = []
    profile, plan = planned(*documents, **options)
    migration = Migration(
        hk,
        profile,
        plan,
        lambda place, *parts: rejected.append((place["session"], place["position"], *parts)),
        application=application,
        check_rules=check_rules,
    )
    for _ in migration.batches(documents):
        pass
    return migration.tally, rejected


def only(hk: Harken) -> Feedback:
    """The only entry in the storage."""
    [feedback] = hk.export()
    return feedback


def context_of(feedback: Feedback) -> dict[str, Any]:
    """The context, without the id of the import."""
    return {name: value for name, value in feedback.context.items() if name != "import_id"}


def session(*entries: object, **fields: object) -> Document:
    """The document of a session."""
    return {"_id": "s", "feedbacks": list(entries), **fields}


# --- entries ----------------------------------------------------------------------------------------------------------


def test_an_entry_is_feedback_of_its_session(hk: Harken) -> None:
    """All fields that an import knows are stored, and no events are caused."""
    entry = {
        "rating": "down",
        "comment": " Couldn't find my order number. ",
        "created_at": datetime(2024, 1, 26, 10, 0, 0, 123_000),  # noqa: DTZ001 - as BSON gives it
        "message_id": 12,
        "agent_id": "helper",
        "author": "ann",
        "tags": ["order", "search"],
        "sentiment": {"polarity": -0.5, "subjectivity": 1},
    }
    tally, rejected = migrated(hk, session(entry))
    assert (tally, rejected) == (Migrated(1, Tally(1, 1, 0, 0)), [])
    feedback = only(hk)
    assert feedback.target == Target("s", "12", "helper")
    assert (feedback.rating, feedback.comment, feedback.author) == (
        Rating.DOWN,
        "Couldn't find my order number.",
        "ann",
    )
    assert feedback.created_at == datetime(2024, 1, 26, 10, 0, 0, 123_000, tzinfo=UTC)
    assert (feedback.tags, context_of(feedback)) == (("order", "search"), {})
    assert feedback.sentiment == harken.Sentiment(-0.5, 1)
    assert all_events(hk) == []


@pytest.mark.parametrize(
    ("value", "at"),
    [
        ("2024-01-26T10:00:00.123456", datetime(2024, 1, 26, 10, 0, 0, 123_456, tzinfo=UTC)),
        ("2024-01-26T10:00:00+02:00", datetime(2024, 1, 26, 8, tzinfo=UTC)),
        (datetime(2024, 1, 26, 10, tzinfo=UTC), datetime(2024, 1, 26, 10, tzinfo=UTC)),
        (None, NOON),
    ],
)
def test_times_are_utc(hk: Harken, value: object, at: datetime) -> None:
    """Texts and BSON dates are UTC unless they have a zone; without a date it is the current time."""
    migrated(hk, session({"rating": "up", "created_at": value}))
    assert only(hk).created_at == at


@pytest.mark.parametrize(
    ("value", "rating"), [("up", Rating.UP), ("down", Rating.DOWN), (None, Rating.NEUTRAL), ("", Rating.NEUTRAL)]
)
def test_ratings(hk: Harken, value: object, rating: Rating) -> None:
    """Up, down or neutral."""
    migrated(hk, session({"rating": value, "comment": "words"}))
    assert only(hk).rating is rating


def test_other_fields_go_into_the_context(hk: Harken) -> None:
    """Their names and values are converted to valid ones."""
    entry = {
        "rating": "up",
        "user.tier": "gold",
        "$n": 1,
        "_id": ObjectId("65f0c0ffee65f0c0ffee65f0"),
        "seen_at": datetime(2024, 1, 26),  # noqa: DTZ001 - as BSON gives it
        "nested": {"a": [True, ObjectId("0" * 24)], "b": float("inf")},
        "number": Int64(7),
        "price": Decimal128("1.10"),
        "share": float("nan"),
        "blob": b"\x01\xff",
        "uuid": UUID(int=7),
        "context": {"n": 2.5},
        "reason": "late",
    }
    migrated(hk, session(entry))
    feedback = only(hk)
    assert feedback.tags == ("late",)
    assert context_of(feedback) == {
        "user_tier": "gold",
        "_n": 1,
        "_id": "65f0c0ffee65f0c0ffee65f0",
        "seen_at": "2024-01-26T00:00:00.000000Z",
        "nested": '{"a": [true, "000000000000000000000000"], "b": "inf"}',
        "number": 7,
        "price": "1.10",
        "share": "nan",
        "blob": "01ff",
        "uuid": "00000000-0000-0000-0000-000000000007",
        "n": 2.5,
    }


def test_fields_can_be_read_by_other_names(hk: Harken) -> None:
    """Columns map fields with other names."""
    migrated(hk, session({"user_id": 7, "text": "hi"}), columns={"author": "user_id", "comment": "text"})
    assert (only(hk).author, only(hk).comment, context_of(only(hk))) == ("7", "hi", {})


def test_the_session_is_that_of_the_document(hk: Harken) -> None:
    """The session_id of an entry is dropped if it is the same, and otherwise goes into the context."""
    migrated(hk, session({"session_id": "s", "comment": "a"}, {"session_id": "t", "comment": "b"}))
    same, other = hk.export()
    assert (same.session_id, context_of(same)) == ("s", {})
    assert (other.session_id, context_of(other)) == ("s", {"session_id_2": "t"})


@pytest.mark.parametrize(
    ("fields", "chosen", "application"),
    [
        ({"application_name": "shop"}, None, "shop"),
        ({"application_name": "shop"}, "mine", "mine"),
        ({"application_name": ""}, None, "default"),
        ({"application_name": None}, None, "default"),
        ({}, None, "default"),
    ],
)
def test_the_application_of_a_document(hk: Harken, fields: Document, chosen: str | None, application: str) -> None:
    """Feedback and metadata go to the application in the document, unless another one is given."""
    migrated(hk, session({"rating": "up"}, metadata={"a": 1}, **fields), application=chosen)
    assert hk.summary(application=application).positive == 1
    assert hk.sessions.get(application, "s") == {"a": 1}


@pytest.mark.parametrize(
    ("document_id", "session_id"),
    [
        (7, "7"),
        (Int64(2**40), str(2**40)),
        (ObjectId("65f0c0ffee65f0c0ffee65f0"), "65f0c0ffee65f0c0ffee65f0"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (datetime(2024, 1, 26), "2024-01-26T00:00:00.000000Z"),  # noqa: DTZ001 - as BSON gives it
        ({"user": 1}, '{"user": 1}'),
    ],
)
def test_ids_become_text(hk: Harken, document_id: object, session_id: str) -> None:
    """Ids of other types are converted to text."""
    assert migrated(hk, session({"rating": "up"}, _id=document_id))[1] == []
    assert only(hk).session_id == session_id


@pytest.mark.parametrize("value", [Regex("a"), Timestamp(1, 2), DatetimeMS(2**62), {1, 2}, float("-inf"), (1, None)])
def test_every_value_becomes_json(value: object) -> None:
    """A rejected entry can be written as JSON, for any type of the driver."""
    assert json.loads(json.dumps(plain({"value": [value]}), allow_nan=False))


#: Entries of every shape, and the keys that the first version of the migration gave them.
ENTRIES: list[Document] = [
    {"rating": "up"},
    {"rating": "up"},
    {"rating": "down", "comment": "No order number", "created_at": datetime(2024, 1, 26, 10, 0, 0, 123_000)},  # noqa: DTZ001
    {"rating": None, "comment": "words", "message_id": 3, "agent_id": "helper", "author": "ann", "tags": ["slow"]},
    {
        "rating": "up",
        "nested": {"a": [1, None, True]},
        "seen at": datetime(2024, 1, 26),  # noqa: DTZ001
        "long": "x" * 1_500,
        "_id": ObjectId("65f0c0ffee65f0c0ffee65f0"),
    },
]
KEYS = [
    "import-6c4c00279383d5fd5562b8e0fe200010-1",
    "import-8dc7dc145ddc7503820bb51d11c054a3-1-int",
    "import-9920da0bf58b971b8b83a7edc8a3566a-1",
    "import-9bf138ea5228cb236348d1c48f9931fe-1",
    "import-9bf138ea5228cb236348d1c48f9931fe-2",
    "import-d10dafb190cfdadb4ad540f7b6657bae-1",
]


def test_the_keys_of_entries_never_change(hk: Harken) -> None:
    """So a repeated migration adds nothing to what earlier versions stored; agents and messages do not matter."""
    messages = [{"message_id": number, "role": "user", "content": "Hi"} for number in range(4)]
    documents = [
        session(*ENTRIES, agents={"helper": {"messages": messages}}),
        session(ENTRIES[0], _id=7, application_name="shop"),
    ]
    migrated(hk, *documents)
    found = [one.idempotency_key for name in ("default", "shop") for one in hk.export(application=name)]
    assert sorted(map(str, found)) == KEYS


# --- repeated migrations ----------------------------------------------------------------------------------------------


def test_equal_entries_are_stored_once_each(hk: Harken) -> None:
    """An entry is identified by its session, its content and the number of equal entries before it."""
    documents = (session({"rating": "up"}, {"rating": "up"}), session({"rating": "up"}, _id="t"))
    assert migrated(hk, *documents)[0].feedback == Tally(3, 3, 0, 0)
    assert migrated(hk, *documents)[0].feedback == Tally(3, 0, 3, 0)
    assert migrated(hk, documents[1])[0].feedback == Tally(1, 0, 1, 0)
    later = session({"rating": "down", "comment": "new"}, *documents[0]["feedbacks"])
    assert migrated(hk, later)[0].feedback == Tally(3, 1, 2, 0)


def test_ids_with_equal_texts_are_distinguished(hk: Harken) -> None:
    """The feedback of the documents 7 and "7" is stored separately."""
    documents = (session({"rating": "up"}, _id=7), session({"rating": "up"}, _id="7"))
    assert migrated(hk, *documents)[0].feedback == Tally(2, 2, 0, 0)
    assert migrated(hk, *documents)[0].feedback == Tally(2, 0, 2, 0)
    assert migrated(hk, session({"rating": "up"}, _id=Int64(7)))[0].feedback == Tally(1, 0, 1, 0)


def test_an_interrupted_migration_can_continue(hk: Harken, monkeypatch: pytest.MonkeyPatch) -> None:
    """``reached`` is the last complete document; continuing after it, or starting again, misses nothing."""
    documents = [session({"rating": "up"}, {"rating": None}, _id=f"{number:04}") for number in range(1_200)]
    migration = Migration(hk, *planned(*documents), print)
    batches = migration.batches(documents)
    assert (next(batches), migration.reached) == (500, "0499")
    submit_many = hk.collection.submit_many

    def fails(*_: object, **__: object) -> None:
        raise StorageUnavailable("no answer")

    monkeypatch.setattr(hk.collection, "submit_many", fails)
    with pytest.raises(StorageUnavailable):
        next(batches)
    assert (migration.tally.documents, migration.reached) == (500, "0499")
    monkeypatch.setattr(hk.collection, "submit_many", submit_many)
    assert migrated(hk, *documents[500:])[0].feedback == Tally(1_400, 1_400, 0, 0)
    assert migrated(hk, *documents)[0].feedback == Tally(2_400, 0, 2_400, 0)


def test_a_very_long_array_is_one_document(hk: Harken) -> None:
    """An array with more entries than a batch is imported as one document."""
    entries = [{"rating": "up", "comment": f"{number}"} for number in range(2_500)]
    assert migrated(hk, session(*entries))[0] == Migrated(1, Tally(2_500, 2_500, 0, 0))


LARGE = "x" * 8_000_000


@pytest.mark.parametrize(
    ("fields", "batches"),
    [
        ({"feedbacks": [{"rating": "up", "trace": LARGE}]}, [2, 4, 6, 8]),
        ({"feedbacks": [{"rating": "invalid", "trace": LARGE}]}, [4, 8]),
        ({"agents": {"helper": {"messages": [{"message": LARGE}]}}}, [4, 8]),
    ],
    ids=["accepted entries, also as extras", "rejected entries", "rejected messages"],
)
def test_large_values_are_migrated_in_small_batches(hk: Harken, fields: dict[str, Any], batches: list[int]) -> None:
    """What waits for the end of a batch has 32 MB or little more."""
    plan = planned(session({"rating": "up", "trace": ""}))
    documents = [{**session(), **fields, "_id": f"{number:04}"} for number in range(8)]
    assert list(Migration(hk, *plan, lambda *_: None).batches(documents)) == batches


# --- invalid entries --------------------------------------------------------------------------------------------------


def test_a_corrected_entry_can_be_imported(hk: Harken) -> None:
    """The file of rejected entries has what an import needs, also the session; metadata stays rejected."""
    document = session({"rating": "meh", "comment": "so"}, {"rating": "up"}, metadata={"n\x07": 1})
    _, rejected = migrated(hk, document)
    lines = [
        to_line(dict(zip(ENTRY, ("default", *place), strict=True)), reason, row) for *place, reason, row in rejected
    ]
    tally, refused = imported(hk, "\n".join(lines).replace("meh", "down"), "jsonl")
    assert (tally.added, [position for position, *_ in refused]) == (1, [1])
    corrected = next(one for one in hk.export() if one.rating is Rating.DOWN)
    assert (corrected.session_id, corrected.comment) == ("s", "so")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("great!", "expected an object such as {...}, got str"),
        (None, "expected an object such as {...}, got NoneType"),
        ([1], "expected an object such as {...}, got list"),
        ({"rating": "meh"}, "Unknown rating 'meh'"),
        ({"comment": "x" * 10_001}, "Comment too long: 10001 characters (max: 10000)"),
        ({"comment": "\udcff"}, "comment contains a lone surrogate, which is not valid Unicode text"),
        ({"created_at": "soon"}, f"created_at is not a date: 'soon'; {A_DATE}"),
        ({"comment": ["a"]}, "comment must be a string, got list"),
    ],
)
def test_an_invalid_entry_does_not_affect_others(hk: Harken, entry: object, reason: str) -> None:
    """It is reported with its session, its position, the reason and its value."""
    tally, rejected = migrated(hk, session({"rating": "up", "created_at": NOON}, entry, {"rating": None}))
    assert tally.feedback == Tally(3, 2, 0, 1)
    assert rejected == [("s", 1, reason, entry)]


@pytest.mark.parametrize("value", ["fine", {"rating": "up"}, 7, True])
def test_a_value_that_is_not_an_array_counts_as_one_entry(hk: Harken, value: object) -> None:
    """It is reported and counted, so that the counts add up."""
    tally, rejected = migrated(hk, {"_id": "s", "feedbacks": value})
    assert tally == Migrated(1, Tally(1, 0, 0, 1))
    assert rejected == [("s", None, f"feedbacks must be a list, got {type(value).__name__}", value)]


@pytest.mark.parametrize("document", [{"_id": "s"}, {"_id": "s", "feedbacks": None}, {"_id": "s", "feedbacks": []}])
def test_a_session_without_feedback_is_only_counted(hk: Harken, document: Document) -> None:
    """A session without feedback is valid."""
    assert migrated(hk, document) == (Migrated(1), [])


@pytest.mark.parametrize(
    ("document_id", "named", "reason"),
    [
        ("", "", "session_id must not be empty"),
        (None, "", "session_id must not be empty"),
        ("a\nb", "a\nb", "session_id must not contain control characters"),
    ],
)
def test_a_document_with_an_invalid_id(hk: Harken, document_id: object, named: str, reason: str) -> None:
    """All its entries and metadata values are rejected."""
    tally, rejected = migrated(hk, session({"rating": "up"}, {}, _id=document_id, metadata={"a": 1, "b": 2}))
    assert tally == Migrated(1, Tally(2, 0, 0, 2), Tally(2, 0, 0, 2))
    assert rejected == [
        (named, None, reason, {"metadata": {"a": 1}}),
        (named, None, reason, {"metadata": {"b": 2}}),
        (named, 0, f"The _id is not a valid session_id: {reason}", {"rating": "up"}),
        (named, 1, f"The _id is not a valid session_id: {reason}", {}),
    ]


def test_an_invalid_application_is_rejected(hk: Harken) -> None:
    """The feedback and metadata of a document with an invalid application_name are rejected."""
    tally, rejected = migrated(hk, session({"rating": "up"}, metadata={"a": 1}, application_name=["shop"]))
    assert tally == Migrated(1, Tally(1, 0, 0, 1), Tally(1, 0, 0, 1))
    assert {reason for _, _, reason, _ in rejected} == {"application must be a string, got list"}


# --- metadata ---------------------------------------------------------------------------------------------------------


def test_metadata_is_imported(hk: Harken) -> None:
    """Values come back equal; those of other types and invalid names are rejected, and the others are stored."""
    valid = {"tier": "gold", "history": ["up", {"n": 1, "at": datetime(2024, 1, 26)}], "blob": b"\x00"}  # noqa: DTZ001
    valid |= {"user": ObjectId("0" * 24), "price": Decimal128("1.10"), "ratio": float("inf")}
    valid |= {"late": DatetimeMS(2**62), "code": Code("f()", {"n": 1}), "all": [MinKey(), Regex("a", "i")]}
    invalid = {"n\x07": 1, "": 2, "set": {1, 2}, "deep": {"x": {"\x07": ObjectId("0" * 24)}}}
    tally, rejected = migrated(hk, session(metadata={**valid, **invalid}))
    assert tally.metadata == Tally(13, 9, 0, 4)
    assert {name: decode(value) for name, value in hk.sessions.get("default", "s").items()} == valid
    assert [(place, position) for place, position, *_ in rejected] == [("s", None)] * 4
    found = {name: reason for *_, reason, row in rejected for name in row["metadata"]}
    assert found.keys() == invalid.keys()
    assert found["set"].startswith("metadata.set must be text, a number, true, false, None, bytes, a date")


def test_stored_metadata_is_kept(hk: Harken) -> None:
    """An equal value is a duplicate; a different one is kept, and that of the document is rejected."""
    hk.sessions.update("default", "s", {"tier": "free", "age": 7})
    tally, rejected = migrated(hk, session(metadata={"tier": "gold", "age": 7, "more": 1}))
    assert tally.metadata == Tally(3, 1, 1, 1)
    assert hk.sessions.get("default", "s") == {"tier": "free", "age": 7, "more": 1}
    reason = 'metadata.tier has another value already, which was kept: "free"'
    assert rejected == [("s", None, reason, {"metadata": {"tier": "gold"}})]


@pytest.mark.parametrize("metadata", [[1], "gold", 5])
def test_metadata_that_is_not_an_object_counts_as_one_value(hk: Harken, metadata: object) -> None:
    """It is rejected, and the feedback of the document is imported."""
    tally, rejected = migrated(hk, session({"rating": "up"}, metadata=metadata))
    assert tally == Migrated(1, Tally(1, 1, 0, 0), Tally(1, 0, 0, 1))
    reason = f"metadata must be an object, got {type(metadata).__name__}"
    assert rejected == [("s", None, reason, {"metadata": metadata})]


# --- any documents ----------------------------------------------------------------------------------------------------


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters())
    | st.binary(max_size=4)
    | st.datetimes()
    | st.builds(ObjectId, st.binary(min_size=12, max_size=12)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
entries = anything | st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("comment", "created_at", "tags", "context", "sentiment", "session_id", "author"), anything)
    | {"rating": st.sampled_from(("up", None)) | anything},
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"_id": st.text(min_size=1) | anything, "feedbacks": st.lists(entries, max_size=4) | anything},
            optional=dict.fromkeys(("metadata", "agents", "guardrail_events", "session_type", "created_at"), anything)
            | {"application_name": st.text(max_size=4) | anything},
        ),
        max_size=4,
    )
)
def test_the_counts_add_up_for_any_documents(documents: list[Document]) -> None:
    """No document stops a migration, each entry is counted, and a repeated migration adds nothing."""
    with harken.connect("memory://") as hk:
        try:
            tally, rejected = migrated(hk, *documents)
        except UnusableFile:
            # Most of the ratings or dates cannot be read, or there is neither a rating nor a comment.
            assert hk.summary().total == 0
            return
        arrays = [one["feedbacks"] for one in documents if one["feedbacks"] is not None]
        assert tally.feedback.read == sum(len(array) if isinstance(array, list) else 1 for array in arrays)
        for counts in tally.kinds.values():
            assert counts.read == counts.added + counts.duplicates + counts.rejected
        assert len(rejected) == tally.rejected
        json.dumps(rejected, allow_nan=False)
        again, _ = migrated(hk, *documents)
        assert [counts.added for counts in again.kinds.values()] == [0] * 6
        assert again.feedback.rejected == tally.feedback.rejected


def test_every_entry_of_ten_thousand_sessions_is_accounted_for(hk: Harken) -> None:
    """Each is imported or rejected exactly once; a repeated migration adds nothing and rejects the same."""
    expected = Expected()
    documents = list(session_documents(10_000, expected))
    tally, rejected = migrated(hk, *documents)
    kept = expected.kept.total()
    assert tally.documents == expected.documents == 10_000
    assert tally.feedback == Tally(expected.entries, kept, 0, expected.entries - kept)
    assert tally.metadata == Tally(expected.values, expected.values_kept, 0, expected.values - expected.values_kept)
    assert Counter((session_id, position) for session_id, position, *_ in rejected) == Counter(expected.rejected)
    assert all(reason for _, _, reason, _ in rejected)
    stored = Counter(
        (name, feedback.session_id)
        for name in ("default", "shop")
        for feedback in hk.collection.stream(FeedbackQuery(application=name))
    )
    assert stored == expected.kept
    again, rejected_again = migrated(hk, *documents)
    assert again.feedback == Tally(expected.entries, 0, kept, expected.entries - kept)
    assert again.metadata == Tally(expected.values, 0, expected.values_kept, expected.values - expected.values_kept)
    assert rejected_again == rejected
