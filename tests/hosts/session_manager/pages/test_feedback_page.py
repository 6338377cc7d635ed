"""Feedback: dictionaries that come back as they were added, hooks, and what finds and counts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import partial
from itertools import count
from typing import Any
from unittest.mock import Mock
from uuid import UUID

import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from strands import Agent
from strands.types.session import SessionAgent, SessionMessage

import harken
from harken import Change, FeedbackRejected, Harken, IdempotencyConflict
from harken.ports.storage import Storage
from harken.services.copying import Copying
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.migrating.feedback import plan_of
from harken_adapters.formats.migrating.migration import Migration
from harken_adapters.hosts.session_manager import MongoDBSessionManager, MongoDBSessionRepository
from hosts.session_manager.pages.conftest import Open
from local_model import LocalModel, ToolCall

Hook = Callable[..., Any]
#: Sessions of examples, so that each has its own.
NUMBERS = count()
#: Times of MongoDB have no zone.
AT = datetime(2026, 1, 26, 10)  # noqa: DTZ001

ODD: dict[str, Any] = {
    "nested": {"browser": {"name": "Firefox", "versions": [1, 2.5, None]}, "$set": {"a.b": True}},
    "list": [[], {}, "", 0, False],
    "user agent": "Mozilla",
    "a.b.c": 1,
    "$where": "x",
    "": "empty",
    "long": "x" * 1_001,
    "id": 7,
    "_id": ObjectId("65f0c0ffee65f0c0ffee65f0"),
    "session_id": "session-1",
    "harken_id": "h",
    "import_id": "i",
    "_as_json": "rating nested",
    "context": {"tier": "gold", "n": 2},
    "derived": {"values": 1},
    "none": None,
    "empty": "",
    "zero": 0,
    "one": 1.0,
    "true": True,
    "big": 2**80,
    "nan": float("inf"),
    "int64": Int64(2**40),
    "price": Decimal128("1.10"),
    "uuid": UUID(int=7),
    "bson": [Code("f()", {"n": 1}), Code("f()"), Regex("a", "i"), Timestamp(1, 2), MinKey(), MaxKey()],
    "reference": {"to": DBRef("users", ObjectId("0" * 24), "db")},
    "binary": [Binary(b"x", 5), Binary(bytes(16), 4), DatetimeMS(2**60)],
    "number": Code("7"),
    "first": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))),
    "blob": b"\x00\xff",
    "at": AT,
    "aware": datetime(2026, 1, 26, 10, tzinfo=UTC),
    "day": date(2026, 1, 26),
    "hour": time(10),
    "nul\x00": "\x00",
    "surrogate": "\ud800",
    "_validated_at": "10:00",
    "_validated_by": {"name": "ann"},
    "__harken_encoded__": {"__bytes_encoded__": True, "data": "x"},
    "Author": "Ann",
    "reason": "late",
    "sentiment": "good",
}


def extras(feedback: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a program added, in one order."""
    return {name: feedback[name] for name in sorted(feedback.keys() - {"rating", "comment", "created_at"})}


def migrated(hk: Harken, *entries: Mapping[str, Any], session_id: str = "s", **options: Any) -> None:
    """Import entries as mongodb_session_manager stored them; none is rejected."""
    documents = [{"_id": session_id, "feedbacks": [{"created_at": AT, **entry} for entry in entries]}]
    profile, plan = plan_of(
        documents, ImportOptions(**options), "sessions", application_of=lambda _: "default", known=lambda _: ()
    )
    for _ in Migration(hk, profile, plan, pytest.fail).batches(documents):
        pass


@pytest.fixture
def copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Harken], Harken]]:
    """Copies everything into another storage."""
    with ExitStack() as stack:

        def copy(hk: Harken) -> Harken:
            target = harken.connect(f"sqlite:///{tmp_path_factory.mktemp('copy')}/copy.db")
            stack.enter_context(target)
            for _ in Copying(storage_of(hk), storage_of(target), pytest.fail).batches():
                pass
            return target

        yield copy


def storage_of(hk: Harken) -> Storage:
    """The storage of a Harken."""
    return hk._storage


@pytest.fixture
def on_memory(hk: Harken) -> MongoDBSessionManager:
    """A session in memory, for what no storage decides."""
    return MongoDBSessionManager("session-1", harken=hk)


class TestValues:
    """What a program passes comes back unchanged."""

    def test_feedback_is_returned_in_order(self, open_session: Open) -> None:
        """Thumbs up, down with a comment, neutral, and a rating only, each with the time in UTC as ISO text."""
        manager = open_session()
        given = [
            {"rating": "up", "comment": "Great"},
            {"rating": "down", "comment": "Too slow"},
            {"rating": None, "comment": "Not sure"},
            {"rating": "up"},
        ]
        began = datetime.now(UTC).replace(tzinfo=None)
        for entry in given:
            manager.add_feedback(entry)
        found = open_session().get_feedbacks()
        times = [datetime.fromisoformat(one.pop("created_at")) for one in found]
        assert found == [{"comment": "", **entry} for entry in given]
        assert [began, *times] == sorted([began, *times])
        assert all(moment.tzinfo is None for moment in times)

    @pytest.mark.parametrize("name", sorted(ODD))
    def test_odd_values(self, on_memory: MongoDBSessionManager, name: str) -> None:
        """Any name, and any value of JSON or of MongoDB, is returned with its type."""
        on_memory.add_feedback({"rating": "up", name: ODD[name]})
        [found] = on_memory.get_feedbacks()
        assert repr(extras(found)) == repr({name: ODD[name]})

    def test_all_odd_values_at_once(self, open_session: Open) -> None:
        """They do not affect each other."""
        manager = open_session()
        manager.add_feedback({"rating": "up", **ODD})
        [found] = open_session().get_feedbacks()
        assert repr(extras(found)) == repr(extras(ODD))

    @pytest.mark.parametrize(
        "entry",
        [
            {"rating_given": [1]},
            {"rating.given": 5},
            {"rating_given": 5, "rating.given": 4},
            {"idempotency_key": "import-1"},
            {"idempotency_key": "import-1", "list": [1]},
        ],
    )
    def test_names_and_keys_of_an_import(self, on_memory: MongoDBSessionManager, entry: dict[str, Any]) -> None:
        """What looks like something that an import adds is returned if the program passed it."""
        on_memory.add_feedback({"rating": "up", **entry})
        [found] = on_memory.get_feedbacks()
        assert repr(extras(found)) == repr(extras(entry))

    @pytest.mark.parametrize(
        ("entry", "shown"),
        [
            ({}, {"rating_given": "positive"}),
            ({"rating given": ""}, {"rating_given": "positive", "rating given": ""}),
            ({"rating given": 5}, {"rating given": 5}),
            ({"rating_given": [1]}, {"rating_given": [1]}),
        ],
    )
    def test_a_translated_rating(
        self, on_memory: MongoDBSessionManager, hk: Harken, entry: dict[str, Any], shown: dict[str, Any]
    ) -> None:
        """A migration adds the rating as it was, but never in place of a value of that name."""
        migrated(hk, {"rating": "positive", "comment": "Fine", **entry}, session_id="session-1")
        [found] = on_memory.get_feedbacks()
        assert repr(extras(found)) == repr(extras(shown))

    @pytest.mark.parametrize("names", [0, 1, 48, 49, 80])
    def test_any_number_of_names(self, open_session: Open, names: int) -> None:
        """Also more than a context holds."""
        entry = {"rating": "up", "comment": "Fine", **{f"name-{number}": number for number in range(names)}}
        manager = open_session()
        manager.add_feedback(entry)
        [found] = manager.get_feedbacks()
        assert found == {**entry, "created_at": found["created_at"]}

    def test_a_large_value(self, open_session: Open) -> None:
        """A megabyte of text, and names that are long too."""
        manager = open_session()
        entry = {"rating": "up", "log": "👍" * 250_000, "n" * 5_000: ["x" * 1_000] * 10}
        manager.add_feedback(entry)
        [found] = manager.get_feedbacks()
        assert extras(found) == extras(entry)

    @pytest.mark.parametrize("entry", [{"x": ["\ud83d\ude00"]}, {"x": {"\ud83d\ude00": 1}}, {"\ud83d\ude00": 1}])
    def test_split_pairs(self, on_memory: MongoDBSessionManager, entry: dict[str, Any]) -> None:
        """Text that JSON would return as another one is refused."""
        with pytest.raises(FeedbackRejected, match="two halves of a surrogate pair"):
            on_memory.add_feedback({"rating": "up", "comment": "Fine", **entry})
        assert on_memory.get_feedbacks() == []

    @pytest.mark.parametrize("entry", [{"import_id": "i"}, {"context": {"import_id": "i"}}])
    def test_the_id_of_an_import(self, hk: Harken, on_memory: MongoDBSessionManager, entry: dict[str, Any]) -> None:
        """It is returned, but does not make feedback part of an import, so that it is not erased with it."""
        hk.imports.begin("default", import_id="i")
        on_memory.add_feedback({"rating": "up", "comment": "Fine", **entry})
        assert hk.imports.erase("default", "i").feedback == 0
        [found] = on_memory.get_feedbacks()
        assert {name: found[name] for name in entry} == entry

    def test_a_long_number_of_a_message(self, on_memory: MongoDBSessionManager) -> None:
        """It is returned, and belongs to no message."""
        on_memory.add_feedback({"rating": "up", "comment": "Fine", "message_id": 10**400})
        assert on_memory.get_feedbacks()[0]["message_id"] == 10**400
        assert [one.message_id for one in on_memory.harken.export()] == [None]

    @pytest.mark.parametrize("value", [{1, 2}, object(), {1: "a"}, {"a": [{1, 2}]}])
    def test_a_value_that_cannot_be_stored(self, on_memory: MongoDBSessionManager, value: object) -> None:
        """The error names it, and what is expected; nothing is stored."""
        with pytest.raises(FeedbackRejected, match=r"answers.* must (be text, a number|have text as keys)"):
            on_memory.add_feedback({"rating": "up", "answers": value})
        with pytest.raises(FeedbackRejected, match=r"a value that cannot be stored: .*4300 digits"):
            on_memory.add_feedback({"rating": "up", "answers": [10**5_000]})
        with pytest.raises(FeedbackRejected, match="text as names, got 7"):
            on_memory.add_feedback({"rating": "up", 7: "a"})  # type: ignore[dict-item] # the mistake
        assert on_memory.get_feedbacks() == []

    @pytest.mark.parametrize(
        ("value", "path"),
        [({1}, "answers"), ([0, {"a": ({1},)}], r"answers\[1\]\.a\[0\]"), ({"a": {"b": {1}}}, r"answers\.a\.b")],
    )
    def test_the_place_of_such_a_value(self, on_memory: MongoDBSessionManager, value: object, path: str) -> None:
        """The error says where it is in lists and dictionaries."""
        with pytest.raises(FeedbackRejected, match=f"(^| ){path} must be text, a number.* got set"):
            on_memory.add_feedback({"rating": "up", "answers": value})

    def test_a_value_that_contains_itself(self, on_memory: MongoDBSessionManager) -> None:
        """It is refused."""
        endless: list[Any] = []
        endless.append(endless)
        with pytest.raises(FeedbackRejected, match="nested at most"):
            on_memory.add_feedback({"rating": "up", "answers": endless})

    @pytest.mark.parametrize(
        "created_at",
        ["yesterday", 7, None, {"$date": 1}, datetime(2020, 1, 1), "2020-01-01T00:00:00"],  # noqa: DTZ001
    )
    def test_the_time_of_feedback(self, on_memory: MongoDBSessionManager, created_at: object) -> None:
        """A time is kept; anything else means now."""
        on_memory.add_feedback({"rating": "up", "created_at": created_at})
        [found] = on_memory.get_feedbacks()
        expected = "2020-01-01T00:00:00.000000" if str(created_at).startswith("2020") else "2026-03-04T12:00:00.000000"
        assert found["created_at"] == expected

    def test_times_as_datetimes(self, open_session: Open, place: dict[str, Any]) -> None:
        """With ``created_at_type="datetime"``, they are UTC without a zone, as in mongodb_session_manager."""
        open_session().add_feedback({"rating": "up", "created_at": "2026-01-26T12:00:00.000001+02:00"})
        manager = open_session(created_at_type="datetime")
        assert [one["created_at"] for one in manager.get_feedbacks()] == [AT.replace(microsecond=1)]
        repository = MongoDBSessionRepository(**place, created_at_type="datetime")
        assert repository.get_feedbacks("session-1") == manager.get_feedbacks()
        repository.close()
        with pytest.raises(ValueError, match="created_at_type must be 'iso' or 'datetime', got 'date'"):
            open_session(created_at_type="date")


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=4)
    | st.datetimes().map(lambda moment: moment.replace(fold=0))
    | st.text("é€👍x", min_size=1_001, max_size=1_003),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
known = {name: values | st.text(max_size=5) for name in ("message_id", "agent_id", "author", "sentiment", "Author")}
entries = st.builds(
    lambda own, others: {**others, **own, "rating": "up", "comment": "Fine"},
    st.fixed_dictionaries({}, optional={**known, "tags": values | st.lists(st.sampled_from("abc"), max_size=4)}),
    st.dictionaries(
        st.text(max_size=5) | st.text("a_.$- ", max_size=3) | st.sampled_from(sorted(ODD)), values, max_size=6
    ).filter(lambda given: not given.keys() & {"rating", "comment", "created_at", "idempotency_key"}),
)


@pytest.fixture
def repository(place: dict[str, Any]) -> Iterator[MongoDBSessionRepository]:
    """A repository of sessions."""
    opened = MongoDBSessionRepository(**place)
    yield opened
    opened.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entry=entries)
def test_any_entry_comes_back_equal(repository: MongoDBSessionRepository, entry: dict[str, Any]) -> None:
    """With the types of its values, also after a migration."""
    added, imported = f"added-{next(NUMBERS)}", f"migrated-{next(NUMBERS)}"
    repository.add_feedback(added, entry)
    [found] = repository.get_feedbacks(added)
    assert repr(extras(found)) == repr(extras(entry))
    assume(not {"author", "Author"} <= entry.keys())  # A migration asks which of them is meant.
    migrated(repository.harken, entry, session_id=imported)
    [found] = repository.get_feedbacks(imported)
    assert repr(extras(found)) == repr(extras(entry))


class TestFields:
    """Fields have what fits, and the program gets back what it passed."""

    @pytest.mark.parametrize(
        ("name", "value", "stored"),
        [
            ("author", "ann", "ann"),
            ("author", 7, "7"),
            ("author", AT, "2026-01-26T10:00:00.000000Z"),
            ("author", None, None),
            ("author", "", None),
            ("author", True, None),
            ("author", {"id": 7}, None),
            ("author", "x" * 201, None),
            ("Author", "ann", "ann"),
            ("tags", ["a", "b"], ("a", "b")),
            ("tags", "a", ("a",)),
            ("tags", '["a"]', ("a",)),
            ("tags", '["a"', ()),
            ("tags", ["a", "a"], ("a",)),
            ("tags", [], ()),
            ("tags", [1], ()),
            ("tags", {"a": 1}, ()),
            ("tags", ["x" * 101], ()),
            ("tags", list(map(str, range(21))), ()),
            ("reason", "late", ("late",)),
            ("reason", "x" * 101, ()),
            ("reason", "a\nb", ()),
            ("message_id", "m-1", "m-1"),
            ("message_id", 12, "12"),
            ("message_id", -1, "-1"),
            ("message_id", 2**70, str(2**70)),
            ("message_id", True, None),
            ("message_id", [1], None),
            ("agent_id", "helper", "helper"),
            ("agent_id", 7, "7"),
            ("agent_id", {"id": 7}, None),
            ("sentiment", {"polarity": -0.5, "subjectivity": 0.25}, harken.Sentiment(-0.5, 0.25)),
            ("sentiment", {"polarity": 1, "subjectivity": 0}, harken.Sentiment(1, 0)),
            ("sentiment", {"polarity": 2, "subjectivity": 0}, None),
            ("sentiment", "good", None),
        ],
    )
    def test_what_fits(self, on_memory: MongoDBSessionManager, name: str, value: object, stored: object) -> None:
        """Text, and numbers as text; other values leave the field empty."""
        receipt = on_memory.add_feedback({"rating": "up", name: value})
        assert receipt is not None
        field = {"Author": "author", "reason": "tags"}.get(name, name)
        assert getattr(receipt.feedback, field) == stored
        [found] = on_memory.get_feedbacks()
        assert repr(extras(found)) == repr({name: value})

    def test_the_number_of_a_message(self, repository: MongoDBSessionRepository) -> None:
        """The feedback is about the message of the agent with this number, or of the only agent that has one."""
        for agent_id, number in (("a", 1), ("a", 2), ("b", 1), ("b", 3)):
            repository.create_agent("s", SessionAgent(agent_id, {}, {}))
            message: Any = {"role": "assistant", "content": [{"text": "Hi"}], "tracking_id": f"{agent_id}-{number}"}
            repository.create_message("s", agent_id, SessionMessage(message, number))
        # As a program without Strands stores it.
        conversations, application = repository.harken.conversations, repository.application
        conversations.append(application, "s", "c", 5, {"role": "assistant", "content": "Hi", "id": "c-5"})
        conversations.append(application, "s", "c", 6, {"role": "assistant", "content": "Hi"})
        given: list[dict[str, Any]] = [
            {"message_id": 1, "agent_id": "a"},
            {"message_id": 1, "agent_id": "b"},
            {"message_id": 2},
            {"message_id": Int64(3)},
            {"message_id": 1},
            {"message_id": 2, "agent_id": "b"},
            {"message_id": "2"},
            {"message_id": 5},
            {"message_id": 6},
        ]
        targets = [repository.add_feedback("s", {"rating": "up", **one}).feedback.message_id for one in given]
        assert targets == ["a-1", "b-1", "a-2", "b-3", "1", "2", "2", "c-5", "6"]
        assert [extras(one) for one in repository.get_feedbacks("s")] == given

    def test_feedback_on_an_answer(self, open_session: Open) -> None:
        """Without a message, it is about the latest answer; a number is that of a message of the conversation."""
        manager = open_session()
        agent = Agent(LocalModel(["One", "Two"]), session_manager=manager, agent_id="helper", callback_handler=None)
        agent("Go")
        agent("Go on")
        _, first, _, second = [message["tracking_id"] for message in agent.messages]  # type: ignore[typeddict-item]
        for entry in ({}, {"message_id": None}, {"message_id": 1}, {"message_id": 1, "agent_id": "helper"}):
            manager.add_feedback({"rating": "up", **entry})
        found = manager.harken.feedback(session_id="session-1").items
        assert [one.message_id for one in reversed(found)] == [second, second, first, first]
        latest = {"message_id": second, "agent_id": "helper"}
        returned = [extras(one) for one in manager.get_feedbacks()]
        assert returned == [latest, latest, {"message_id": 1}, {"message_id": 1, "agent_id": "helper"}]

    def test_later_changes_show(self, open_session: Open) -> None:
        """What an operator or the author changed or removed is not hidden by the original values."""
        manager = open_session()
        entry = {"rating": "up", "tags": "a", "browser": {"name": "F"}, "os": {"name": "L"}, "a.b": 1, "c.d": [2]}
        receipt = manager.add_feedback(entry)
        assert receipt is not None
        context = {**receipt.feedback.context, "browser": "Chrome", "a_b": 3}
        del context["os"]
        manager.harken.change(receipt.feedback.id, Change(tags=["b"], context=context))
        [found] = manager.get_feedbacks()
        assert extras(found) == {"tags": ["b"], "browser": "Chrome", "a_b": 3, "a.b": 1, "c.d": [2]}

    def test_an_analyzed_sentiment_hides_nothing(self) -> None:
        """A sentiment of the program is returned, although Harken determines another one."""
        with harken.connect("memory://", sentiment_analyzer=Cheerful()) as hk:
            manager = MongoDBSessionManager("s", harken=hk)
            manager.add_feedback({"rating": "up", "comment": "Fine", "sentiment": "mixed"})
            manager.add_feedback({"rating": "up", "comment": "Fine"})
            given, analyzed = [one["sentiment"] for one in manager.get_feedbacks()]
        assert (given, analyzed) == ("mixed", {"polarity": 1.0, "subjectivity": 0.0})

    def test_a_repeated_submission(self, open_session: Open) -> None:
        """The same key with the same values is a duplicate, also with nested values; with others it is a conflict."""
        manager = open_session()
        entry = {"rating": "up", "idempotency_key": "k", "browser": {"name": "F"}, "_seen": 1}
        manager.add_feedback(entry)
        again = manager.add_feedback({**entry, "_seen": 2})
        assert again is not None
        assert again.duplicate
        with pytest.raises(IdempotencyConflict):
            manager.add_feedback({**entry, "browser": {"name": "G"}})
        [found] = manager.get_feedbacks()
        assert extras(found) == extras(entry)


class Cheerful:
    """Finds every comment positive."""

    def analyze(self, text: str) -> harken.Sentiment:
        """The same for all."""
        return harken.Sentiment(1, 0)


ENTRIES: list[dict[str, Any]] = [
    {"rating": "up", "author": 7, "tags": "late", "user.tier": "gold", "browser": {"name": "F"}, "seen": AT},
    {"rating": "down", "comment": "No", "author": "ann", "tags": ["late", "a"], "message_id": 12, "agent_id": "helper"},
    {"rating": "down", "comment": "No", "author": {"id": 1}, "tags": {"a": 1}, "tier": "gold", "note": "x" * 1_500},
    {"rating": None, "message_id": "m-1", "import_id": "i", "blob": b"\x01", "none": None, "context": {"tier": "gold"}},
]


class TestOneKindOfFeedback:
    """Feedback is found and counted alike, however it arrived."""

    @pytest.fixture(params=["added", "migrated", "copied"])
    def arrived(
        self, request: pytest.FixtureRequest, open_session: Open, copies: Callable[[Harken], Harken]
    ) -> MongoDBSessionManager:
        """A session with the entries."""
        manager = open_session()
        if request.param == "migrated":
            migrated(manager.harken, *ENTRIES, session_id="session-1")
        else:
            for entry in ENTRIES:
                manager.add_feedback(entry)
        return (
            manager if request.param != "copied" else MongoDBSessionManager("session-1", harken=copies(manager.harken))
        )

    def test_filters_and_statistics(self, arrived: MongoDBSessionManager) -> None:
        """By author, tag, message, agent and context."""
        hk = arrived.harken
        filters: list[tuple[dict[str, Any], int]] = [
            ({"author": "7"}, 1),
            ({"author": "ann"}, 1),
            ({"tag": "late"}, 2),
            ({"message_id": "12"}, 1),
            ({"message_id": "m-1"}, 1),
            ({"agent_id": "helper"}, 1),
            ({"context": {"user_tier": "gold"}}, 1),
            ({"context": {"tier": "gold"}}, 2),
            ({"context": {"browser": '{"name": "F"}'}}, 1),
            ({"context": {"seen": "2026-01-26T10:00:00.000000Z"}}, 1),
            ({"context": {"note": "x" * 999 + "…"}}, 1),
            ({"context": {"import_id_2": "i", "blob": "01"}}, 1),
        ]
        assert [hk.summary(session_id="session-1", **one).total for one, _ in filters] == [
            total for _, total in filters
        ]
        assert {tag: one.total for tag, one in hk.groups("tag").items()} == {None: 2, "late": 2, "a": 1}
        assert {tier: one.total for tier, one in hk.groups("context.tier").items()} == {None: 2, "gold": 2}

    def test_values(self, arrived: MongoDBSessionManager) -> None:
        """They come back as they were given, without what Harken added."""
        assert [extras(one) for one in arrived.get_feedbacks()] == [extras(one) for one in ENTRIES]

    def test_counts(self, arrived: MongoDBSessionManager) -> None:
        """The statistics of the session are those that a program counts."""
        ratings = [one["rating"] for one in arrived.get_feedbacks()]
        up, down = ratings.count("up"), ratings.count("down")
        assert arrived.get_feedback_stats() == {
            "session_id": "session-1",
            "total_feedbacks": len(ratings),
            "positive": up,
            "negative": down,
            "neutral": ratings.count(None),
            "satisfaction_score": round(up / (up + down) * 100, 1),
        }
        assert arrived.session_repository.get_feedback_stats("other")["satisfaction_score"] == 0


def test_a_migration_with_a_mapping(open_session: Open) -> None:
    """What the user mapped or left out is not stored a second time."""
    manager = open_session()
    entry = {"score": "up", "text": "Fine", "user": "ann", "secret": {"a": 1}, "meta": {"key": 1, "os": "L"}}
    columns = {"rating": "score", "comment": "text", "author": "user"}
    migrated(manager.harken, entry, session_id="session-1", columns=columns, drop=["secret", "meta.key"])
    [found] = manager.get_feedbacks()
    assert (found["rating"], found["comment"]) == ("up", "Fine")
    assert extras(found) == {"author": "ann", "meta": {"os": "L"}}


class TestHooks:
    """Hooks around ``add_feedback``."""

    def test_the_call(self, open_session: Open) -> None:
        """A hook gets the function, the action, the session, and by name the feedback and the session manager."""
        hook = Mock(side_effect=lambda original_func, *_, feedback, **__: original_func(feedback))
        manager = open_session(feedback_hook=hook)
        manager.add_feedback({"rating": "up", "when": AT})
        [call] = hook.call_args_list
        assert call.args[1:] == ("add", "session-1")
        assert call.kwargs == {"feedback": {"rating": "up", "when": AT}, "session_manager": manager}
        assert call.args[0].__self__ is manager
        assert extras(manager.get_feedbacks()[0]) == {"when": AT}

    @pytest.mark.parametrize("shape", ["function", "object", "method", "partial", "mock"])
    @pytest.mark.parametrize("by_name", [True, False])
    def test_shapes(self, hk: Harken, shape: str, *, by_name: bool) -> None:
        """Any callable is a hook; it passes the feedback on by position or by name."""

        def function(original_func: Hook, action: str, session_id: str, **kwargs: Any) -> Any:
            changed = {**kwargs["feedback"], "seen": [action, session_id]}
            return original_func(feedback=changed) if by_name else original_func(changed)

        class Audit:
            """Has the hook as a method, and is one."""

            def __call__(self, *args: Any, **kwargs: Any) -> Any:
                """The hook."""
                return function(*args, **kwargs)

        hooks: dict[str, Hook] = {
            "function": function,
            "object": Audit(),
            "method": Audit().__call__,
            "partial": partial(function),
            "mock": Mock(side_effect=function),
        }
        manager = MongoDBSessionManager("session-1", feedback_hook=hooks[shape], harken=hk)
        assert manager.add_feedback({"rating": "up"}) is not None
        assert extras(manager.get_feedbacks()[0]) == {"seen": ["add", "session-1"]}

    def test_a_hook_that_raises(self, open_session: Open) -> None:
        """Nothing is stored, and the program gets the error."""
        manager = open_session(feedback_hook=Mock(side_effect=ValueError("Not on Sundays")))
        with pytest.raises(ValueError, match="Not on Sundays"):
            manager.add_feedback({"rating": "up"})
        assert manager.get_feedbacks() == []

    def test_several_hooks(self, open_session: Open) -> None:
        """Validation, enrichment and notification run in their order; the last one sees what is stored."""
        seen: list[list[dict[str, Any]]] = []

        def validate(original_func: Hook, action: str, session_id: str, **kwargs: Any) -> Any:
            if not kwargs["feedback"].get("comment"):
                raise ValueError("A comment is required")
            return original_func(kwargs["feedback"])

        def enrich(original_func: Hook, action: str, session_id: str, **kwargs: Any) -> Any:
            kwargs["feedback"]["request"] = {"ip": "192.0.2.1"}
            return original_func(kwargs["feedback"])

        def notify(original_func: Hook, action: str, session_id: str, **kwargs: Any) -> Any:
            result = original_func(kwargs["feedback"])
            seen.append(kwargs["session_manager"].get_feedbacks())
            return result

        manager = open_session(feedback_hook=[validate, enrich, notify])
        with pytest.raises(ValueError, match="required"):
            manager.add_feedback({"rating": "up"})
        manager.add_feedback({"rating": "up", "comment": "Fine"})
        assert seen == [manager.get_feedbacks()]
        assert extras(seen[0][0]) == {"request": {"ip": "192.0.2.1"}}

    def test_feedback_of_the_tool(self, hk: Harken) -> None:
        """Hooks get the same dictionary from an agent as from a program, and may add any value; a later vote wins."""

        def enrich(original_func: Hook, action: str, session_id: str, **kwargs: Any) -> Any:
            feedback = kwargs["feedback"]
            return original_func({**feedback, "seen": {"rating": feedback["rating"]}})

        manager = MongoDBSessionManager("session-1", harken=hk, feedback_hook=enrich)
        calls = [ToolCall("record_feedback", {"rating": rating}) for rating in ("up", "neutral")]
        seen: list[Any] = []
        agent = Agent(
            LocalModel(["One", calls[0], "Two", calls[1], "Three"]),
            session_manager=manager,
            tools=[manager.get_feedback_tool()],
            callback_handler=None,
        )
        for text in ("Go", "Great", "Hm"):
            agent(text)
            seen += [one["seen"] for one in manager.get_feedbacks()]
        assert seen == [{"rating": "up"}, {"rating": None}]

    def test_the_deprecated_name(self, open_session: Open) -> None:
        """``feedbackHook`` works, with a warning."""
        with pytest.warns(DeprecationWarning, match="feedback_hook"):
            manager = open_session(feedbackHook=lambda *_, **__: None)
        assert manager.add_feedback({"rating": "up"}) is None
