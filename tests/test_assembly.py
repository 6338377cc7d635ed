"""Assembling a Harken from its parts, and how little an import of ``harken`` loads."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict, evolve, fields
from dependency_injector.providers import Object

import harken
from harken import (
    ConfigurationError,
    Container,
    FeedbackQuery,
    FeedbackRejected,
    NoSuchChannel,
    Parts,
    Services,
    Submission,
    Summary,
    assemble,
    connect,
    create_container,
    open_harken,
)
from harken.configuration.settings import Settings
from harken.container import build_parts, build_storage
from harken.domain.errors import MissingExtra
from harken.ports.storage import Storage
from harken.services.analytics import AnalyticsService
from harken.services.notifications.routes import RouteService
from harken_adapters.storage.memory import open_storage
from support import NOON, ManualClock

ROOT = Path(__file__).parents[1]
#: Nothing that only says what Harken is, or does its work without a storage, may load these.
HEAVY = ("dependency_injector", "fastapi", "starlette", "pydantic", "flask", "django", "werkzeug", "pymongo", "sqlite3")


class AllSpam:
    """A spam filter that takes everything for spam."""

    def is_spam(self, submission: Submission) -> bool:
        """Always."""
        return True


class OnlyThumbs(AnalyticsService):
    """Leaves neutral ratings out."""

    def summary(self, query: FeedbackQuery) -> Summary:
        return evolve(super().summary(query), neutral=0)


class TestAssembling:
    def test_the_defaults_are_those_of_the_settings(self) -> None:
        """Without any part, a Harken works as one that is connected without any setting."""
        defaults = Settings()
        parts = Parts()
        assert (parts.application, parts.max_queue, parts.max_batch, parts.spam, parts.languages) == (
            defaults.application,
            defaults.max_queue,
            defaults.max_batch,
            defaults.spam,
            defaults.languages,
        )
        with open_storage() as storage, assemble(storage, parts) as hk:
            assert hk.submit("s", "up").feedback.application == "default"
            with pytest.raises(FeedbackRejected, match="comment"):
                hk.submit("s", "down")

    @pytest.mark.parametrize(
        ("invalid", "message"),
        [
            ({"spam": "hodl"}, "spam must be 'refuse', 'hold' or 'allow', got 'hodl'"),
            ({"max_queue": 0}, "max_queue must be at least 1, got 0"),
            ({"max_batch": True}, "max_batch must be of type int, got True"),
            ({"application": ""}, "application"),
        ],
    )
    def test_invalid_parts(self, invalid: dict[str, Any], message: str) -> None:
        """The parts that are settings are checked like the settings."""
        for kind in (Parts, Settings):
            with pytest.raises(ConfigurationError, match=message):
                kind(**invalid)

    def test_parts_replace_the_defaults(self) -> None:
        """The clock, the ids and the application are those of the parts."""
        parts = Parts(application="shop", clock=ManualClock(), new_id=lambda: "mine")
        with open_storage() as storage, assemble(storage, parts) as hk:
            feedback = hk.submit("s", "up").feedback
        assert (feedback.application, feedback.id, feedback.created_at) == ("shop", "mine", NOON)

    @pytest.mark.parametrize(("spam", "status"), [("hold", "pending"), ("allow", "approved")])
    def test_a_spam_filter(self, spam: str, status: str) -> None:
        """Spam that a filter recognises is treated as the parts say."""
        with open_storage() as storage, assemble(storage, Parts(spam=spam, spam_filter=AllSpam())) as hk:
            assert hk.submit("s", "up").feedback.moderation.status.value == status
        with (
            open_storage() as storage,
            assemble(storage, Parts(spam_filter=AllSpam())) as hk,
            pytest.raises(FeedbackRejected, match="Spam detected"),
        ):
            hk.submit("s", "up")

    def test_a_service_is_replaced_by_a_subclass(self) -> None:
        """A subclass takes the place of a service, in every way to build a Harken."""
        container = create_container(Settings(storage="memory://"))
        container.services.override(Object(Services(analytics=OnlyThumbs)))
        with open_storage() as storage:
            for built in (assemble(storage, Parts(services=Services(analytics=OnlyThumbs))), open_harken(container)):
                with built as hk:
                    hk.submit("s", "up")
                    hk.submit("s", None)
                    assert hk.summary().total == 1

    def test_a_repository_is_replaced(self) -> None:
        """A repository that is overridden is used in place of the storage's own."""
        with open_storage() as storage, open_storage() as other:
            container = create_container(Settings())
            container.storage.override(Object(storage))
            container.feedback_repository.override(Object(other.feedback))
            with open_harken(container) as hk:
                hk.submit("s", "up")
            assert [_totals(one) for one in (storage, other)] == [0, 1]

    def test_closing_leaves_the_storage_open(self) -> None:
        """The caller who opened the storage closes it."""
        with open_storage() as storage:
            assemble(storage, Parts()).close()
            assert _totals(storage) == 0

    def test_no_channel_is_configured(self) -> None:
        """The default parts have neither channels nor routes."""
        with open_storage() as storage, assemble(storage, Parts()) as hk:
            assert (hk.channels.names, hk.routes.routes()) == ((), [])
            with pytest.raises(NoSuchChannel):
                hk.channels.switch_on("log")

    def test_the_renderer_is_opened_once_and_when_it_is_needed(self) -> None:
        """Templates may need an extra that is not installed, so no one opens a renderer without a template."""
        opened = []

        def open_renderer() -> None:
            opened.append(1)
            raise MissingExtra

        with open_storage() as storage:
            with assemble(storage, Parts(renderer=open_renderer)):
                assert not opened
            routes = RouteService(
                storage.state,
                feedback=storage.feedback,
                alerts=storage.alerts,
                configured=(),
                channels=(),
                renderer=lambda: opened.append(2),
                clock=ManualClock(),
            )
            assert routes._renderer() is routes._renderer()
        assert opened == [2]


def _totals(storage: Storage) -> int:
    return sum(summary.total for summary in storage.feedback.summarize(FeedbackQuery()).values())


class TestProviders:
    def test_every_part_has_a_provider(self) -> None:
        """What ``assemble`` takes can be overridden in the container, except the settings, which are in its config."""
        assert {one.name for one in fields(Parts)} - set(Container.providers) == {
            "application",
            "max_queue",
            "max_batch",
            "spam",
            "languages",
        }

    def test_every_part_is_passed_on(self) -> None:
        """An override of any part, and a value of any setting, arrives in the parts of the container."""
        settings: dict[str, Any] = {
            "application": "shop",
            "max_queue": 7,
            "max_batch": 3,
            "spam": "hold",
            "languages": ("de",),
        }
        container = create_container(Settings(**settings))
        expected: dict[str, object] = {}
        for part in fields(Parts):
            expected[part.name] = settings.get(part.name, object())
            if part.name not in settings:
                container.providers[part.name].override(Object(expected[part.name]))
        parts = build_parts(container)
        passed = {part.name: getattr(parts, part.name) for part in fields(Parts)}
        assert {**passed, "renderer": parts.renderer()} == expected

    def test_every_repository_is_passed_on(self) -> None:
        """An override of any repository arrives in the storage of the container."""
        container = create_container(Settings())
        names = {
            "feedback": "feedback_repository",
            "sessions": "session_repository",
            "outbox": "outbox",
            "keys": "key_repository",
            "alerts": "alert_repository",
            "state": "state_repository",
            "conversations": "conversation_repository",
        }
        expected = {attribute: object() for attribute in names}
        with open_storage() as storage:
            container.storage.override(Object(storage))
            for attribute, name in names.items():
                container.providers[name].override(Object(expected[attribute]))
            built = build_storage(container)
        assert {attribute: getattr(built, attribute) for attribute in names} == expected

    def test_a_storage_of_another_type_is_used_unchanged(self) -> None:
        """A subclass of ``Storage`` with its own arguments can be passed to ``connect``."""

        class Renamed(Storage):
            def __init__(self, inner: Storage) -> None:
                super().__init__(**asdict(inner, recurse=False))

        with open_storage() as storage, connect(Renamed(storage)) as hk:
            hk.submit("session-1", "up")
            assert hk.summary().positive == 1

    def test_the_documentation_lists_every_provider(self) -> None:
        """The list of providers on the page about embedding is that of the container."""
        page = (ROOT / "docs/embedding.md").read_text(encoding="utf-8")
        listed = re.search(r"The providers are (.*?)\.\s", page, re.DOTALL)
        assert listed is not None
        assert sorted(re.findall(r"`(\w+)`", listed[1])) == sorted(Container.providers)


def _loaded_by(program: str) -> set[str]:
    """The modules that a program loads in an interpreter of its own."""
    program += "\nimport sys; print(*sys.modules, file=sys.stderr)"
    # A measurement of the coverage would load its own modules.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS_")}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    return set(ended.stderr.split())


class TestLoading:
    def test_importing_harken_is_light(self) -> None:
        """With every extra installed, an import loads fewer than 260 modules, no framework and no driver."""
        loaded = _loaded_by("import harken")
        assert len(loaded) < 260
        assert sorted(loaded & {*HEAVY, "harken.container", "importlib.metadata"}) == []

    @pytest.mark.parametrize(
        "program",
        [
            "from harken_adapters.hosts.cli import main; main(['--help'])",
            "from harken_adapters.tokens import *; SessionTokens(['s' * 32]).mint(session_id='s')",
        ],
        ids=["help", "token"],
    )
    def test_the_container_is_loaded_to_connect_only(self, program: str) -> None:
        """Neither the help of the command line nor minting a token loads ``dependency_injector``."""
        assert sorted(_loaded_by(program) & {"dependency_injector", "harken.container", "fastapi", "pymongo"}) == []

    @pytest.mark.parametrize(
        "program",
        [
            "from harken_adapters.tokens import SessionTokens; SessionTokens(['s' * 32]).mint(session_id='s')",
            "from harken_adapters.tokens import *; FeedbackLinks(['s' * 32]).mint('http://x', session_id='s')",
            "from harken_adapters.hosts.cli import main; assert main(['mint-token', '--session', 's']) == 0",
            "from harken_adapters.hosts.cli import main; assert main(['mint-link', 'http://x', '--session', 's']) == 0",
        ],
        ids=["token", "link", "mint-token", "mint-link"],
    )
    def test_minting_loads_no_server(self, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Minting tokens and links needs neither a web framework nor any other part of the HTTP service."""
        monkeypatch.setenv("HARKEN_SERVER_TOKEN_SECRETS", "s" * 32)
        loaded = _loaded_by(program)
        server = {"limits", "structlog", "prometheus_client", "jinja2", "uvicorn", "harken.container"}
        # The command line loads pydantic, with Typer, and sqlite3, for other commands.
        assert sorted(loaded & {*HEAVY, *server} - {"pydantic", "sqlite3"}) == []
        assert [name for name in loaded if name.startswith("harken_adapters.hosts.http")] == []

    def test_the_container_is_found_in_the_package(self) -> None:
        """``harken.Container`` and ``harken.open_harken`` are loaded when they are first used."""
        loaded = _loaded_by("import harken\nharken.Container, harken.open_harken")
        assert "dependency_injector" in loaded

    def test_asyncio_is_loaded_when_it_is_used(self) -> None:
        """``harken.AsyncHarken`` loads asyncio when it is first used."""
        loaded = _loaded_by("import harken")
        assert not loaded & {"asyncio", "harken.asynchronous"}
        assert _loaded_by("import harken\nharken.AsyncHarken, harken.connect_async") >= {"asyncio"}
        assert {"AsyncHarken", "connect_async"} <= set(harken.__all__)

    def test_connecting_loads_the_container(self) -> None:
        """The container is what ``connect`` wires through."""
        with connect("memory://"):
            assert "harken.container" in sys.modules
