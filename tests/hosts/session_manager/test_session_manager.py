"""The replacement for mongodb_session_manager: feedback and metadata as dictionaries, and hooks."""

import re
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import copy
from functools import partial, wraps
from pathlib import Path
from threading import Thread
from typing import Any

import mongomock
import pytest
from pymongo import MongoClient
from pymongo.errors import InvalidOperation

import harken
from harken import Change, FeedbackRejected, Harken, IdempotencyConflict, InvalidMetadata, Receipt
from harken.services.forks import ForkSafeLock
from harken_adapters.hosts.session_manager import (
    MongoDBConnectionPool,
    MongoDBSessionManager,
    MongoDBSessionManagerFactory,
    close_global_factory,
    create_mongodb_session_manager,
    get_global_factory,
    initialize_global_factory,
)
from harken_adapters.hosts.session_manager.opening import close_client
from harken_adapters.hosts.session_manager.pool import add_factory_client, remove_factory_client

Hook = Callable[..., Any]

#: The names that are fields.
_OWN = {"rating", "comment", "created_at", "message_id", "agent_id", "author", "tags", "sentiment", "idempotency_key"}


@pytest.fixture
def session_manager(hk: Harken) -> MongoDBSessionManager:
    """A session manager on memory, with a frozen clock."""
    return MongoDBSessionManager("session-1", harken=hk)


class TestFeedback:
    """Feedback as dictionaries."""

    def test_feedback_is_returned_in_order(self, session_manager: MongoDBSessionManager) -> None:
        """Rating, comment and time, oldest first; the time is UTC with microseconds, without a zone."""
        for rating, comment in (("up", "Very helpful!"), ("down", "Too slow"), (None, "")):
            session_manager.add_feedback({"rating": rating, "comment": comment})
        assert session_manager.get_feedbacks() == [
            {"rating": "up", "comment": "Very helpful!", "created_at": "2026-03-04T12:00:00.000000"},
            {"rating": "down", "comment": "Too slow", "created_at": "2026-03-04T12:00:00.000000"},
            {"rating": None, "comment": "", "created_at": "2026-03-04T12:00:00.000000"},
        ]

    def test_a_receipt_is_returned(self, session_manager: MongoDBSessionManager, hk: Harken) -> None:
        """``add_feedback`` returns the receipt, and the feedback is stored like any other."""
        receipt = session_manager.add_feedback({"rating": "up", "comment": "Great"})
        assert receipt is not None
        assert hk.feedback(session_id="session-1").items == (receipt.feedback,)

    @pytest.mark.parametrize(
        ("feedback", "message"),
        [
            ({"rating": "maybe", "comment": "Not sure"}, "Invalid rating: maybe"),
            ({"rating": "down", "comment": " "}, "Please provide a comment"),
            ({"rating": "up", "comment": "x" * 1001}, "1001 characters"),
            ({"rating": "up", "comment": 3}, "comment must be a string"),
            ("up", "must be a dictionary"),
            ({"rating": "up", "idempotency_key": 7}, "idempotency_key must be a string"),
            ({"rating": "up", "seen": {1, 2}}, "seen must be text, a number"),
        ],
    )
    def test_invalid_feedback_is_rejected(
        self, session_manager: MongoDBSessionManager, feedback: Any, message: str
    ) -> None:
        """The ``ValueError`` has the reason, and nothing is stored."""
        with pytest.raises(FeedbackRejected, match=message):
            session_manager.add_feedback(feedback)
        assert session_manager.get_feedbacks() == []

    def test_known_names_are_stored_in_fields(self, session_manager: MongoDBSessionManager, hk: Harken) -> None:
        """Message, agent, author, tags, sentiment, time and idempotency key are fields, and are returned."""
        given = {
            "rating": "down",
            "comment": "Wrong",
            "message_id": "m-1",
            "agent_id": "helper",
            "author": "ann",
            "tags": ["facts"],
            "sentiment": {"polarity": -0.5, "subjectivity": 0.25},
            "idempotency_key": "key-1",
            "created_at": "2026-02-01T08:00:00.000001",
        }
        session_manager.add_feedback(given)
        (entry,) = hk.feedback(session_id="session-1").items
        assert (entry.message_id, entry.agent_id, entry.author, entry.tags) == ("m-1", "helper", "ann", ("facts",))
        assert (entry.idempotency_key, entry.context) == ("key-1", {})
        assert session_manager.get_feedbacks() == [given]

    def test_an_idempotency_key_stores_feedback_once(self, session_manager: MongoDBSessionManager) -> None:
        """A retry is a duplicate, even if enrichment differs; another comment is a conflict."""
        once = {"rating": "up", "comment": "Great", "idempotency_key": "key-1"}
        first = session_manager.add_feedback({**once, "_validated_at": "10:00"})
        again = session_manager.add_feedback({**once, "_validated_at": "10:01"})
        assert first is not None
        assert again == Receipt(first.feedback, duplicate=True)
        with pytest.raises(IdempotencyConflict):
            session_manager.add_feedback({**once, "comment": "Something else"})
        assert len(session_manager.get_feedbacks()) == 1

    def test_sessions_and_applications_are_isolated(self, hk: Harken) -> None:
        """Feedback and metadata of other sessions and applications are not visible."""
        for session, application in (("one", "web"), ("one", "app"), ("two", "web")):
            manager = MongoDBSessionManager(session, application_name=application, harken=hk)
            manager.add_feedback({"rating": "up", "comment": f"{session} {application}"})
            manager.update_metadata({"where": application})
        manager = MongoDBSessionManager("one", application_name="app", harken=hk)
        assert [one["comment"] for one in manager.get_feedbacks()] == ["one app"]
        assert manager.get_metadata()["metadata"] == {"where": "app"}
        assert manager.get_application_name() == "app"

    @pytest.mark.parametrize("name", sorted(_OWN))
    def test_a_context_is_never_a_field(self, session_manager: MongoDBSessionManager, hk: Harken, name: str) -> None:
        """A context value with the name of a field is not returned, whether or not the feedback has that field."""
        about: dict[str, Any] = {"author": "ann", "message_id": "m-1", "agent_id": "a", "tags": ["t"]}
        for fields in ({}, {**about, "idempotency_key": "k"}):
            forged = '{"polarity": 1, "subjectivity": 1}'
            hk.submit("session-1", "up", "Fine", context={name: forged}, **fields)
        bare, full = session_manager.get_feedbacks()
        when = "2026-03-04T12:00:00.000000"
        assert bare == {"rating": "up", "comment": "Fine", "created_at": when}
        assert full == {"rating": "up", "comment": "Fine", "created_at": when, **about, "idempotency_key": "k"}

    def test_context_from_other_hosts_is_returned(self, session_manager: MongoDBSessionManager, hk: Harken) -> None:
        """Feedback from another host is returned unchanged: a visitor chooses no types, and text stays text."""
        context = {
            "_as_json": "a",
            "a": "[NaN]",
            "b": '{"__harken_encoded__": "bson", "data": "{}"}',
            "c": '{"__bytes_encoded__": true, "data": "YQ=="}',
            "d": 1,
        }
        hk.submit("session-1", "up", context=context)
        (feedback,) = session_manager.get_feedbacks()
        assert {name: feedback[name] for name in context} == context

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ('{"plan": ["gold", 1.5, null]}', {"plan": ["gold", 1.5, None]}),
            ('{"__harken_encoded__": "float", "data": "nan"}', {"__harken_encoded__": "float", "data": "nan"}),
            *((text, text) for text in ("[NaN]", '{"n": 1e999}', "[-Infinity]", "[" * 900, "[" + "9" * 900 + "e9999]")),
        ],
    )
    def test_text_in_place_of_a_dictionary(
        self, session_manager: MongoDBSessionManager, hk: Harken, text: str, shown: object
    ) -> None:
        """JSON text that a change puts in place of a dictionary is shown as that JSON, and as text if it is invalid."""
        receipt = session_manager.add_feedback({"rating": "up", "user": {"plan": "free"}})
        assert receipt is not None
        hk.collection.change("default", receipt.feedback.id, Change(context={"user": text}))
        assert session_manager.get_feedbacks()[0]["user"] == shown


class TestHooks:
    """Hooks around feedback and metadata."""

    def test_the_arguments_of_a_hook(self, hk: Harken) -> None:
        """It gets the original function, the action, the session and, by name, the feedback and session manager."""
        calls: list[tuple[str, str, dict[str, Any]]] = []

        def listen(original_func: Hook, action: str, session_id: str, **kwargs: Any) -> Any:
            calls.append((action, session_id, dict(kwargs)))
            return original_func(kwargs["feedback"])

        manager = MongoDBSessionManager("session-1", feedback_hook=listen, harken=hk)
        manager.add_feedback({"rating": "up"})
        assert calls == [("add", "session-1", {"feedback": {"rating": "up"}, "session_manager": manager})]

    @pytest.mark.parametrize("shape", ["plain", "keyword only", "decorated", "method", "partial", "chain", "built-in"])
    def test_a_hook_without_a_session_manager_parameter(self, hk: Harken, shape: str) -> None:
        """Any kind of callable is called without the session manager if it does not accept it."""

        def plain(original_func: Hook, action: str, session_id: str, feedback: dict[str, Any]) -> Any:
            return original_func({**feedback, "comment": f"{action} in {session_id}"})

        def keyword_only(original_func: Hook, action: str, session_id: str, *, feedback: dict[str, Any]) -> Any:
            return plain(original_func, action, session_id, feedback)

        @wraps(plain)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            return plain(*args, **kwargs)

        class Audit:
            def __call__(self, original_func: Hook, action: str, session_id: str, feedback: dict[str, Any]) -> Any:
                return plain(original_func, action, session_id, feedback)

        class BuiltIn(Audit):
            """A callable whose signature cannot be read."""

            __signature__ = "unknown"

        hooks: dict[str, Any] = {
            "plain": plain,
            "keyword only": keyword_only,
            "decorated": decorated,
            "method": Audit().__call__,
            "partial": partial(plain),
            "chain": [decorated, plain],
            "built-in": BuiltIn(),
        }
        manager = MongoDBSessionManager("session-1", feedback_hook=hooks[shape], harken=hk)
        manager.add_feedback({"rating": "up"})
        assert [feedback["comment"] for feedback in manager.get_feedbacks()] == ["add in session-1"]

    def test_a_hook_reads_and_writes_the_session(self, hk: Harken) -> None:
        """Each hook of a chain gets the session manager, if it accepts it."""

        def count(original_func: Hook, action: str, session_id: str, **kwargs: Any) -> Any:
            manager = kwargs["session_manager"]
            before = manager.get_metadata()["metadata"].get("count", 0)
            manager.update_metadata({"count": before + 1})
            return original_func(kwargs["feedback"])

        def keep(original_func: Hook, action: str, session_id: str, feedback: dict[str, Any]) -> Any:
            return original_func(feedback)

        manager = MongoDBSessionManager("session-1", feedback_hook=[count, keep, count], harken=hk)
        manager.add_feedback({"rating": "up"})
        assert manager.get_metadata()["metadata"] == {"count": 2}

    def test_a_hook_may_change_the_feedback(self, hk: Harken) -> None:
        """The changed feedback is stored, and the caller's dictionary is not changed."""

        def shout(original_func: Hook, action: str, session_id: str, **kwargs: Any) -> Any:
            kwargs["feedback"]["comment"] = kwargs["feedback"]["comment"].upper()
            return original_func(kwargs["feedback"])

        manager = MongoDBSessionManager("session-1", harken=hk, feedback_hook=shout)
        given = {"rating": "up", "comment": "great"}
        manager.add_feedback(given)
        assert given["comment"] == "great"
        assert manager.get_feedbacks()[0]["comment"] == "GREAT"

    def test_a_hook_may_reject(self, hk: Harken) -> None:
        """The caller gets the hook's error, and nothing is stored."""

        def reject(original_func: Hook, action: str, session_id: str, **kwargs: Any) -> Any:
            raise ValueError("Not on Sundays")

        manager = MongoDBSessionManager("session-1", feedback_hook=reject, harken=hk)
        with pytest.raises(ValueError, match="Not on Sundays"):
            manager.add_feedback({"rating": "up"})
        assert manager.get_feedbacks() == []

    def test_a_hook_may_skip(self, hk: Harken) -> None:
        """If it does not call the original function, nothing is stored and there is no receipt."""
        manager = MongoDBSessionManager("session-1", feedback_hook=lambda *_, **__: None, harken=hk)
        assert manager.add_feedback({"rating": "up"}) is None
        assert manager.get_feedbacks() == []

    def test_hooks_chain(self, hk: Harken) -> None:
        """The first is the outermost, and each gets the feedback of the one before."""

        def adding(mark: str) -> Hook:
            def hook(original_func: Hook, action: str, session_id: str, **kwargs: Any) -> Any:
                feedback = kwargs["feedback"]
                return original_func({**feedback, "comment": feedback["comment"] + mark})

            return hook

        manager = MongoDBSessionManager("session-1", feedback_hook=[adding("1"), adding("2")], harken=hk)
        manager.add_feedback({"rating": "up", "comment": "0"})
        assert manager.get_feedbacks()[0]["comment"] == "012"

    @pytest.mark.parametrize("create", [MongoDBSessionManager, create_mongodb_session_manager, "factory"])
    def test_camel_case_hooks(self, hk: Harken, create: Any) -> None:
        """They work, with a warning that names the line of the program; the current spelling wins."""
        called: list[str] = []

        def named(name: str) -> Hook:
            def hook(original_func: Hook, action: str, session_id: str, **kwargs: Any) -> Any:
                called.append(name)
                return original_func(**kwargs)

            return hook

        arguments = {"harken": hk}
        if create == "factory":
            create, arguments = MongoDBSessionManagerFactory(harken=hk).create_session_manager, {}
        with pytest.warns(DeprecationWarning, match=r"(feedback|metadata)Hook is deprecated; use \1_hook") as warned:
            old = create("old", feedbackHook=named("feedback"), metadataHook=named("metadata"), **arguments)
        assert [Path(one.filename) for one in warned] == [Path(__file__)] * 2
        old.add_feedback({"rating": "up"})
        old.update_metadata({"a": 1})
        with pytest.warns(DeprecationWarning, match="feedbackHook is deprecated"):
            both = create("both", feedback_hook=named("new"), feedbackHook=named("old"), **arguments)
        both.add_feedback({"rating": "up"})
        assert called == ["feedback", "metadata", "new"]
        assert len(old.get_feedbacks()) == len(both.get_feedbacks()) == 1

    @pytest.mark.parametrize("form", ["position", "name", "everything"])
    def test_the_original_function(self, hk: Harken, form: str) -> None:
        """It takes its argument by position, by name, or with all that the hook received; it knows its manager."""
        managers: list[object] = []

        def hook(original_func: Any, action: str, session_id: str, **kwargs: Any) -> Any:
            managers.append(original_func.__self__)
            if form == "everything":
                return original_func(**kwargs)
            kwargs.pop("session_manager", None)
            return original_func(*kwargs.values()) if form == "position" else original_func(**kwargs)

        manager = MongoDBSessionManager("session-1", feedback_hook=[hook, hook], metadata_hook=hook, harken=hk)
        manager.add_feedback({"rating": "up"})
        manager.update_metadata({"a": 1, "b": 2})
        manager.delete_metadata(["a"])
        assert manager.get_metadata() == {"_id": "session-1", "metadata": {"b": 2}}
        assert [one["rating"] for one in manager.get_feedbacks()] == ["up"]
        assert managers == [manager] * 5

    def test_wrong_arguments_of_the_original_function(self, hk: Harken) -> None:
        """The error names the argument, and nothing is stored."""
        manager = MongoDBSessionManager(
            "session-1", feedback_hook=lambda original, *_, **__: original(rating="up"), harken=hk
        )
        with pytest.raises(TypeError, match="feedback"):
            manager.add_feedback({"rating": "up"})
        assert manager.get_feedbacks() == []

    def test_metadata_hooks(self, hk: Harken) -> None:
        """Update, get and delete are separate actions; the hook may change arguments and results."""
        actions: list[str] = []

        def guard(original_func: Hook, action: str, session_id: str, **kwargs: Any) -> Any:
            actions.append(action)
            if action == "update":
                return original_func({**kwargs["metadata"], "by": "hook"})
            if action == "delete":
                return original_func([key for key in kwargs["keys"] if key != "by"])
            return original_func()

        manager = MongoDBSessionManager("session-1", harken=hk, metadata_hook=guard)
        manager.update_metadata({"tier": "premium"})
        assert manager.get_metadata()["metadata"] == {"by": "hook", "tier": "premium"}
        assert manager.delete_metadata(["by", "tier"]) == 1
        assert manager.get_metadata()["metadata"] == {"by": "hook"}
        assert actions == ["update", "get", "delete", "get"]

    def test_an_invalid_hook_is_rejected(self, hk: Harken) -> None:
        """The constructor raises, not the first call of ``add_feedback``."""
        with pytest.raises(TypeError, match="must be callable, got 'audit'"):
            MongoDBSessionManager("session-1", feedback_hook=["audit"], harken=hk)  # type: ignore[list-item]
        with pytest.raises(TypeError, match="must be callable, got 'audit'"):
            MongoDBSessionManager("session-1", feedback_hook="audit", harken=hk)  # type: ignore[arg-type]

        async def later(original_func: Hook, action: str, session_id: str, **kwargs: Any) -> Any:
            return original_func(**kwargs)

        with pytest.raises(TypeError, match="coroutine function"):
            MongoDBSessionManager("session-1", feedback_hook=later, harken=hk)


class TestMetadata:
    """Metadata of a session."""

    def test_names_are_set_separately(self, session_manager: MongoDBSessionManager) -> None:
        """An update leaves other names unchanged; an unknown session has no metadata."""
        assert session_manager.get_metadata()["metadata"] == {}
        session_manager.update_metadata({"tier": "premium", "history": ["up"]})
        session_manager.update_metadata({"history": ["up", "up"]})
        assert session_manager.get_metadata()["metadata"] == {"history": ["up", "up"], "tier": "premium"}
        assert session_manager.delete_metadata(["tier", "nothing"]) == 1
        assert session_manager.get_metadata()["metadata"] == {"history": ["up", "up"]}

    def test_a_single_text_is_one_name(self, hk: Harken) -> None:
        """A text deletes the name, not the names of its letters; hooks get a list."""
        keys: list[object] = []

        def listen(original_func: Hook, action: str, session_id: str, **kwargs: Any) -> Any:
            keys.append(kwargs["keys"])
            return original_func("topic")

        manager = MongoDBSessionManager("session-1", harken=hk)
        manager.update_metadata(dict.fromkeys(("topic", "tier", "o", "p"), 1))
        assert manager.delete_metadata("tier") == 1
        assert MongoDBSessionManager("session-1", harken=hk, metadata_hook=listen).delete_metadata("topic") == 1
        assert (manager.get_metadata(), keys) == ({"_id": "session-1", "metadata": {"o": 1, "p": 1}}, [["topic"]])

    def test_invalid_metadata_is_rejected(self, session_manager: MongoDBSessionManager) -> None:
        """The error names the value, and nothing is changed."""
        with pytest.raises(InvalidMetadata, match=r"metadata\.who\[0\]\.it must be .*, got object"):
            session_manager.update_metadata({"tier": "basic", "who": [{"it": object()}]})
        assert session_manager.get_metadata()["metadata"] == {}


class TestOpening:
    """The storage of a session manager."""

    def test_feedback_is_durable(self, tmp_path: Path) -> None:
        """A second manager on the same file reads the feedback of the first; closing twice is allowed."""
        url = f"sqlite:///{tmp_path / 'feedback.db'}"
        for _ in range(2):
            manager = create_mongodb_session_manager(
                session_id="session-1", connection_string=url, database_name="examples", collection_name="sessions"
            )
            manager.add_feedback({"rating": "up", "comment": "Great"})
            manager.close()
            manager.close()
        with harken.connect(url) as hk:
            assert hk.summary(session_id="session-1").positive == 2

    @pytest.mark.parametrize("connection_string", [None, ""])
    @pytest.mark.parametrize("settings", [{}, {"HARKEN_STORAGE": "sqlite:///feedback.db"}])
    @pytest.mark.parametrize(
        "opener",
        [
            lambda url: MongoDBSessionManager("session-1", url),
            lambda url: create_mongodb_session_manager("session-1", connection_string=url, database_name="examples"),
            MongoDBSessionManagerFactory,
            initialize_global_factory,
        ],
    )
    def test_without_a_connection_string_nothing_is_opened(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        opener: Callable[[str | None], object],
        settings: dict[str, str],
        connection_string: str | None,
    ) -> None:
        """The ``ValueError`` says what to pass, and no file is created."""
        monkeypatch.chdir(tmp_path)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ValueError, match="Either connection_string or client must be given"):
            opener(connection_string)
        assert list(tmp_path.iterdir()) == []

    def test_the_storage_of_the_settings_can_be_passed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A session manager and a factory accept ``harken.connect()``, which uses HARKEN_STORAGE."""
        monkeypatch.setenv("HARKEN_STORAGE", f"sqlite:///{tmp_path / 'feedback.db'}")
        with harken.connect() as hk:
            MongoDBSessionManager("session-1", harken=hk).add_feedback({"rating": "up"})
            MongoDBSessionManagerFactory(harken=hk).create_session_manager("session-1").add_feedback({"rating": "up"})
            assert hk.summary().total == 2

    def test_a_client_is_used_and_stays_open(self) -> None:
        """Session managers with the same client and database share their data. It wins over a connection string."""
        client: MongoClient[Any] = mongomock.MongoClient()
        for session in ("one", "two"):
            manager = MongoDBSessionManager(
                session, "mongodb://nowhere.invalid", client=client, database_name="examples"
            )
            manager.add_feedback({"rating": "up", "comment": session})
            manager.close()
        assert client["examples"]["harken_feedback"].count_documents({}) == 2

    def test_a_harken_that_is_passed_stays_open(self, hk: Harken) -> None:
        """The caller closes it."""
        MongoDBSessionManager("session-1", harken=hk).close()
        assert hk.submit("session-1", "up").feedback


@pytest.mark.parametrize("as_option", [True, False])
@pytest.mark.parametrize("open_", [partial(MongoDBSessionManager, "s"), MongoDBSessionManagerFactory])
def test_a_dead_server(open_: Callable[..., Any], *, as_option: bool) -> None:
    """Opening waits for it as long as ``serverSelectionTimeoutMS`` says, as an argument or in the URL."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    query, options = ("", {"serverSelectionTimeoutMS": 50}) if as_option else ("?serverSelectionTimeoutMS=50", {})
    with pytest.raises(harken.StorageUnavailable, match="could not be reached in time") as caught:
        open_(f"mongodb://127.0.0.1:{port}/{query}", **options)
    reported = caught.value.__cause__ and caught.value.__cause__.__cause__
    [limit] = re.findall(r"Timeout: (\S+)s", str(reported))
    assert float(limit) <= 0.05


def test_a_dead_server_of_the_pool() -> None:
    """The error names no database, as the pool has none."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        url = f"mongodb://127.0.0.1:{bound.getsockname()[1]}/"
    with pytest.raises(harken.StorageUnavailable, match=r"^The MongoDB server could not be reached in time"):
        MongoDBConnectionPool.initialize(url, serverSelectionTimeoutMS=50)


@pytest.mark.parametrize("open_", [partial(MongoDBSessionManager, "s"), MongoDBSessionManagerFactory])
def test_a_database_that_cannot_exist(open_: Callable[..., Any]) -> None:
    """The name is refused before the server is reached."""
    with pytest.raises(harken.ConfigurationError, match=r"name of a MongoDB database .* got 'a/b'"):
        open_("mongodb://127.0.0.1:1/", database_name="a/b")


class TestFactory:
    """The factory of session managers."""

    @pytest.fixture
    def factory(self) -> Iterator[MongoDBSessionManagerFactory]:
        """The global factory, on memory."""
        yield initialize_global_factory("memory://", database_name="feedback_api", collection_name="sessions")
        close_global_factory()

    def test_its_session_managers_share_the_storage(self, factory: MongoDBSessionManagerFactory) -> None:
        """Closing one leaves the storage open for the others."""
        for session in ("one", "two"):
            manager = get_global_factory().create_session_manager(session_id=session)
            manager.add_feedback({"rating": "up", "comment": session})
            manager.close()
        assert get_global_factory() is factory
        assert [one["comment"] for one in factory.create_session_manager("one").get_feedbacks()] == ["one"]
        assert factory.harken.summary().total == 2

    def test_tenants_share_the_storage(self, factory: MongoDBSessionManagerFactory) -> None:
        """Nothing is opened for another application, and each sees only its own feedback."""
        for tenant in ("shop", "bank"):
            manager = factory.create_session_manager("one", application_name=tenant)
            manager.add_feedback({"rating": "up", "comment": tenant})
            assert [one["comment"] for one in manager.get_feedbacks()] == [tenant]
            assert manager.harken is factory.harken
            assert factory.harken.summary(application=tenant).total == 1
        assert factory.create_session_manager("one").get_feedbacks() == []

    def test_another_database_is_refused(self, factory: MongoDBSessionManagerFactory) -> None:
        """Only MongoDB has several: the tenants would share their sessions. Applications separate them."""
        for one in (factory, MongoDBSessionManagerFactory(harken=factory.harken)):
            with pytest.raises(harken.ConfigurationError, match=r"'tenant_1' would not separate.* application_name="):
                one.create_session_manager("s", database_name="tenant_1")
        factory.create_session_manager("s", database_name="feedback_api").add_feedback({"rating": "up"})
        assert factory.create_session_manager("s", application_name="tenant_1").get_feedbacks() == []

    def test_hooks_are_given_for_each_session_manager(self, factory: MongoDBSessionManagerFactory) -> None:
        """Both spellings are accepted, for feedback and for metadata."""

        def skip(*_: Any, **__: Any) -> None:
            """Store nothing."""

        managers = [
            factory.create_session_manager("one", feedback_hook=skip, metadata_hook=skip),
            factory.create_session_manager("one", feedback_hook=skip, metadata_hook=skip),
        ]
        for manager in managers:
            assert manager.add_feedback({"rating": "up"}) is None
            manager.update_metadata({"tier": "basic"})
        plain = factory.create_session_manager("one")
        assert (plain.get_feedbacks(), plain.get_metadata()) == ([], {"_id": "one", "metadata": {}})

    def test_without_a_factory_the_error_names_the_function_to_call(self) -> None:
        """This also holds after the factory was closed, which may be repeated."""
        initialize_global_factory("memory://")
        close_global_factory()
        close_global_factory()
        with pytest.raises(RuntimeError, match="initialize_global_factory"):
            get_global_factory()

    def test_another_factory_replaces_the_first(self, factory: MongoDBSessionManagerFactory) -> None:
        """The previous one is closed, unless the new one cannot be opened."""
        with pytest.raises(harken.ConfigurationError):
            initialize_global_factory("nowhere://")
        assert get_global_factory() is factory
        assert initialize_global_factory("memory://", application_name="web") is get_global_factory()
        assert get_global_factory().create_session_manager("one").get_application_name() == "web"
        with pytest.raises(harken.StorageClosed):
            factory.harken.submit("one", "up")

    def test_threads_may_share_it(self, factory: MongoDBSessionManagerFactory) -> None:
        """The feedback of every thread is stored."""

        def add(number: int) -> None:
            manager = get_global_factory().create_session_manager(f"session-{number % 4}")
            manager.add_feedback({"rating": "up", "comment": str(number)})

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(add, range(64)))
        assert factory.harken.summary().positive == 64

    def test_a_harken_that_is_passed_stays_open(self, hk: Harken) -> None:
        """The caller closes it."""
        initialize_global_factory(harken=hk)
        close_global_factory()
        assert hk.submit("session-1", "up").feedback


@pytest.mark.slow
def test_on_a_mongodb_server(mongodb_url: str) -> None:
    """The parameters of the guide select the database, and stored feedback is read again."""
    name = mongodb_url.rpartition("/")[2].partition("?")[0]
    given = {"rating": "down", "comment": "Too slow", "_validated_at": "10:00", "ip": {"v4": "192.0.2.1"}}
    for _ in range(2):
        manager = MongoDBSessionManager("session-1", connection_string=mongodb_url, database_name=name)
        manager.add_feedback(given)
        manager.update_metadata({"tier": "premium"})
        manager.close()
    manager = MongoDBSessionManager("session-1", connection_string=mongodb_url)
    assert [{key: one[key] for key in given} for one in manager.get_feedbacks()] == [given, given]
    assert manager.get_metadata()["metadata"] == {"tier": "premium"}
    manager.close()


def _fails(opener: Callable[[str], object], url: str) -> None:
    with suppress(harken.StorageUnavailable):
        opener(url)


@pytest.fixture
def place(mongodb_url: str) -> Iterator[tuple[str, str]]:
    """The URL of a server, without a database, and the name of a database."""
    server, _, database = mongodb_url.rpartition("/")
    name, _, options = database.partition("?")
    yield f"{server}/?{options}", name
    MongoDBConnectionPool.close()


@pytest.mark.slow
class TestConnections:
    """Connections to a MongoDB server."""

    def test_the_database(self, place: tuple[str, str]) -> None:
        """The argument wins over the URL, in which a name may have escapes; options of the URL stay."""
        url, name = place
        server, _, options = url.rpartition("/?")
        for database, stored in ((None, f"{name}-1"), (f"{name}2", f"{name}2")):
            manager = MongoDBSessionManager("s", f"{server}/{name}%2D1?{options}&retryWrites=true", database)
            manager.add_feedback({"rating": "up"})
            manager.close()
            with MongoClient[Any](url) as client:
                assert client[stored]["harken_feedback"].count_documents({}) == 1
                client.drop_database(stored)

    def test_driver_options(self, place: tuple[str, str]) -> None:
        """They reach the client, and win over the URL. Those of durability are ignored, also in the URL."""
        url, name = place
        factory = MongoDBSessionManagerFactory(
            f"{url}&w=1&j=false&maxPoolSize=3", name, maxPoolSize=7, minPoolSize=2, w="majority", compressors=["zlib"]
        )
        stats = factory.get_connection_stats()
        assert stats == {
            "status": "connected",
            "server_version": stats["server_version"],
            "pool_config": {"maxPoolSize": 7, "minPoolSize": 2},
        }
        factory.create_session_manager("s").add_feedback({"rating": "up"})
        factory.close()
        MongoDBSessionManager("s", url, name, appname="shop", directConnection=True, timeoutMS=5_000).close()
        for wrong in ({"maxpool": 7}, {"feedback_hok": print}, {"timeoutMS": 0}):
            for opener in (partial(MongoDBSessionManager, "s"), MongoDBSessionManagerFactory):
                with pytest.raises(ValueError, match=next(iter(wrong))):
                    opener(url, **wrong)

    def test_driver_options_of_other_storages(self) -> None:
        """They are ignored, except for unknown ones, which are probably misspelt arguments."""
        for opener in (
            partial(MongoDBSessionManager, "s"),
            MongoDBSessionManagerFactory,
            MongoDBConnectionPool.initialize,
        ):
            opener("memory://", maxPoolSize=7, W=1).close()
            with pytest.raises(ValueError, match="'maxpool' is neither an argument nor an option"):
                opener("memory://", maxpool=7)
        MongoDBConnectionPool.close()

    def test_a_client_serves_many_session_managers(self, place: tuple[str, str]) -> None:
        """Session managers for each request open nothing again, and close nothing."""
        url, name = place
        client = MongoDBConnectionPool.initialize(url)
        first = MongoDBSessionManager("first", client=client, database_name=name)
        with ThreadPoolExecutor(8) as threads:

            def add(number: int) -> Harken:
                manager = MongoDBSessionManager(f"s{number}", client=client, database_name=name)
                manager.add_feedback({"rating": "up"})
                manager.close()
                return manager.harken

            opened = set(map(id, threads.map(add, range(32))))
        assert opened == {id(first.harken)}
        assert first.harken.summary().total == 32
        factory = MongoDBSessionManagerFactory(client=client, database_name=name)
        assert factory.get_connection_stats()["status"] == "external_client"
        factory.close()
        assert first.harken.summary().total == 32

    def test_a_closed_harken_is_opened_again(self, place: tuple[str, str]) -> None:
        """Closing what a session manager opened on a client does not harm later ones."""
        url, name = place
        client = MongoDBConnectionPool.initialize(url)
        MongoDBSessionManager("s", client=client, database_name=name).harken.close()
        MongoDBSessionManager("s", client=client, database_name=name).add_feedback({"rating": "up"})
        assert len(MongoDBSessionManager("s", client=client, database_name=name).get_feedbacks()) == 1

    def test_a_server_that_does_not_respond_stops_nobody_else(self, place: tuple[str, str]) -> None:
        """While a session manager and the pool wait for a server, others are opened."""

        class Pool(MongoDBConnectionPool):
            """A pool of its own, as other tests should not wait for it."""

            _lock = ForkSafeLock()

        url, name = place
        client = Pool.initialize(url)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            nowhere = f"mongodb://127.0.0.1:{silent.getsockname()[1]}/?timeoutMS=60000"
            openers = partial(MongoDBSessionManager, "s"), partial(Pool.initialize, serverSelectionTimeoutMS=60_000)
            waiting = [Thread(target=_fails, args=(opener, nowhere), daemon=True) for opener in openers]
            for one in waiting:
                one.start()
            with silent.accept()[0], silent.accept()[0]:
                MongoDBSessionManager("s", "memory://").close()
                MongoDBSessionManager("s", client=client, database_name=name).add_feedback({"rating": "up"})
                assert Pool.initialize(url) is client
                assert all(one.is_alive() for one in waiting)
        close_client(client)

    def test_databases_of_a_factory(self, place: tuple[str, str]) -> None:
        """A session manager may use another database than its factory; each has its own feedback."""
        url, name = place
        factory = MongoDBSessionManagerFactory(url, name, "sessions", application_name="web")
        assert (factory.database_name, factory.collection_name, factory.application_name) == (name, "sessions", "web")
        other = factory.create_session_manager("s", database_name=f"{name}_other", collection_name="sessions")
        other.add_feedback({"rating": "up"})
        assert factory.create_session_manager("s").get_feedbacks() == []
        assert len(factory.create_session_manager("s", database_name=f"{name}_other").get_feedbacks()) == 1
        factory.close()
        with MongoClient[Any](url) as client:
            client.drop_database(f"{name}_other")


@pytest.mark.slow
class TestPool:
    """The client of the process."""

    def test_one_client(self, place: tuple[str, str]) -> None:
        """Equal arguments return it; others replace and close it."""
        url, _ = place
        assert MongoDBConnectionPool.get_client() is None
        with ThreadPoolExecutor(8) as threads:
            clients = set(map(id, threads.map(lambda _: MongoDBConnectionPool.initialize(url), range(10))))
        client = MongoDBConnectionPool.get_client()
        assert clients == {id(client)}
        manager = MongoDBSessionManager("s", client=client, database_name=place[1])
        replaced = MongoDBConnectionPool.initialize(url, maxPoolSize=5)
        assert replaced is MongoDBConnectionPool.get_client() is not client
        with pytest.raises(harken.StorageClosed):
            manager.add_feedback({"rating": "up"})
        with pytest.raises(InvalidOperation):
            client.server_info()  # type: ignore[union-attr] # it is a MongoClient

    def test_statistics(self, place: tuple[str, str]) -> None:
        """They say whether the server responds, and never contain the URL."""
        url, _ = place
        assert MongoDBConnectionPool.get_pool_stats() == {"status": "not_initialized"}
        MongoDBConnectionPool.initialize(url, maxPoolSize=5)
        stats = MongoDBConnectionPool.get_pool_stats()
        assert (stats["status"], stats["pool_config"]) == ("connected", {"maxPoolSize": 5, "minPoolSize": 5})
        assert "mongodb://" not in str(stats)
        MongoDBConnectionPool.close()
        MongoDBConnectionPool.close()
        assert MongoDBConnectionPool.get_pool_stats() == {"status": "not_initialized"}

    def test_a_server_that_does_not_respond(self, place: tuple[str, str]) -> None:
        """The error says so, and the previous client stays."""
        url, _ = place
        client = MongoDBConnectionPool.initialize(url)
        with pytest.raises(harken.StorageUnavailable):
            MongoDBConnectionPool.initialize("mongodb://127.0.0.1:1", serverSelectionTimeoutMS=100)
        with pytest.raises(harken.ConfigurationError, match="connection_string must be given"):
            MongoDBConnectionPool.initialize(None)
        assert MongoDBConnectionPool.get_client() is client

    def test_other_storages(self) -> None:
        """The client is a Harken, which session managers accept."""
        client = MongoDBConnectionPool.initialize("memory://")
        for session in ("one", "two"):
            manager = MongoDBSessionManager(session, client=client)
            manager.add_feedback({"rating": "up"})
            manager.close()
        assert isinstance(client, Harken)
        assert client.summary().total == 2
        assert MongoDBConnectionPool.get_pool_stats() == {"status": "connected"}
        MongoDBConnectionPool.close()
        with pytest.raises(harken.StorageClosed):
            client.submit("s", "up")


def test_the_pool_is_read_while_factories_are_created(hk: Harken) -> None:
    """Other threads may create and close factories at any point."""
    clients = [copy(hk) for _ in range(50)]

    def create_and_close() -> None:
        for client in clients * 2_000:
            remove_factory_client(client)
            add_factory_client(client)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(create_and_close)
            while not running.done():
                MongoDBConnectionPool.get_client()
            running.result()
    finally:
        sys.setswitchinterval(interval)
    assert MongoDBConnectionPool.get_client() is clients[-1]
