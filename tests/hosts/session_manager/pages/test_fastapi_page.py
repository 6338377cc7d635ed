"""FastAPI applications: a factory for the process, and a session manager for each request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from threading import Barrier
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Header, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from pydantic import BaseModel
from strands import Agent

from harken_adapters.hosts.session_manager import (
    MongoDBConnectionPool,
    MongoDBSessionManager,
    close_global_factory,
    get_global_factory,
    initialize_global_factory,
)
from local_model import LocalModel, Said
from support import PATIENCE

FEEDBACK = "/api/sessions/session-1/feedback"


class Prompt(BaseModel):
    """What the user says."""

    prompt: str


class Answer(BaseModel):
    """What the agent says, and what it cost."""

    response: str
    session_id: str
    metrics: dict[str, Any] = {}


class Feedback(BaseModel):
    """Feedback of the user."""

    rating: str | None = None
    comment: str = ""


class Recorded(BaseModel):
    """The feedback was stored."""

    status: str
    feedback_id: str | None = None


class Entries(BaseModel):
    """The feedback of a session."""

    session_id: str
    total: int
    entries: list[dict[str, Any]]


def needs_a_comment(original_func: Callable[..., Any], action: str, session_id: str, **kwargs: Any) -> Any:
    """A hook that validates feedback."""
    feedback = kwargs["feedback"]
    if feedback["rating"] == "down" and not feedback["comment"]:
        raise ValueError(f"Cannot {action} feedback to {session_id} without a comment")
    feedback["_validated_at"] = "10:00"
    return original_func(feedback)


router = APIRouter()


def agent_of(request: Request, manager: MongoDBSessionManager) -> Agent:
    """An agent with a local model."""
    model = LocalModel(request.app.state.answers)
    return Agent(agent_id="helper", model=model, session_manager=manager, callback_handler=None)


@router.post("/chat", response_model=Answer)
async def chat(request: Request, said: Prompt, session_id: str = Header(...)) -> Answer:
    """Answer, in a thread, as agents and storages block."""

    def run_agent() -> Answer:
        manager = request.app.state.session_factory.create_session_manager(session_id)
        try:
            agent = agent_of(request, manager)
            response = str(agent(said.prompt)).strip()
            tokens = agent.event_loop_metrics.get_summary()["accumulated_usage"]["totalTokens"]
            metrics = {"total_tokens": tokens, "total_messages": len(agent.messages)}
            return Answer(response=response, session_id=session_id, metrics=metrics)
        finally:
            manager.close()

    try:
        return await run_in_threadpool(run_agent)
    except Exception as error:
        raise HTTPException(500, str(error)) from error


@router.post("/chat/stream")
async def chat_stream(request: Request, said: Prompt, session_id: str = Header(...)) -> StreamingResponse:
    """Answer word by word."""
    manager = get_global_factory().create_session_manager(session_id)
    agent = agent_of(request, manager)

    async def generate() -> AsyncIterator[str]:
        async for event in agent.stream_async(said.prompt):
            if "data" in event:
                yield event["data"]
        manager.sync_agent(agent)

    return StreamingResponse(generate(), media_type="text/plain")


@router.post("/api/sessions/{session_id}/feedback", response_model=Recorded)
async def add_feedback(session_id: str, given: Feedback) -> Recorded:
    """Store feedback."""
    manager = get_global_factory().create_session_manager(session_id, feedback_hook=needs_a_comment)
    try:
        manager.add_feedback({"rating": given.rating, "comment": given.comment})
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
    return Recorded(status="success")


@router.get("/api/sessions/{session_id}/feedback", response_model=Entries)
async def get_feedback(session_id: str) -> Entries:
    """List feedback."""
    entries = get_global_factory().create_session_manager(session_id).get_feedbacks()
    return Entries(session_id=session_id, total=len(entries), entries=entries)


@router.get("/api/sessions/{session_id}/feedback/all")
async def get_all(session_id: str) -> list[dict[str, Any]]:
    """List feedback, without a model."""
    return get_global_factory().create_session_manager(session_id).get_feedbacks()


@router.get("/api/sessions/{session_id}/feedback/stats")
async def get_stats(session_id: str) -> dict[str, Any]:
    """Count feedback."""
    entries = get_global_factory().create_session_manager(session_id).get_feedbacks()
    up, down = (sum(one["rating"] == rating for one in entries) for rating in ("up", "down"))
    score = round(up / (up + down) * 100, 1) if up + down else 0
    return {"positive": up, "negative": down, "neutral": len(entries) - up - down, "satisfaction_score": score}


@router.get("/health")
async def health() -> dict[str, Any]:
    """Whether the storage responds."""
    stats = MongoDBConnectionPool.get_pool_stats()
    return {"status": "healthy" if stats["status"] == "connected" else "unhealthy", "connection_pool": stats}


@router.get("/metrics")
async def metrics(request: Request) -> dict[str, Any]:
    """The state of the connection."""
    factory = request.app.state.session_factory
    return {
        "connection_pool": factory.get_connection_stats(),
        "factory": {"database": factory.database_name, "collection": factory.collection_name},
    }


def application(storage_url: str, answers: list[Said]) -> FastAPI:
    """An application as in the documentation, whose model has these answers."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.session_factory = initialize_global_factory(
            connection_string=storage_url,
            collection_name="sessions",
            maxPoolSize=20,
            minPoolSize=2,
            maxIdleTimeMS=30_000,
        )
        yield
        close_global_factory()

    app = FastAPI(lifespan=lifespan)
    app.state.answers = answers
    app.include_router(router)
    return app


@pytest.fixture
def open_client(storage_url: str) -> Iterator[Callable[..., TestClient]]:
    """Starts the application, whose model has these answers, and returns a client."""
    started: list[TestClient] = []

    def start(*answers: Said) -> TestClient:
        started.append(TestClient(application(storage_url, list(answers or ["Hello"]))).__enter__())
        return started[-1]

    yield start
    for client in started:
        client.__exit__(None, None, None)


class TestLifespan:
    """The start and the end of the application."""

    def test_the_factory_lives_as_long(self, open_client: Callable[..., TestClient], storage_url: str) -> None:
        """Before and after, there is none; the application may be started again."""
        for _ in range(2):
            with pytest.raises(RuntimeError):
                get_global_factory()
            with TestClient(application(storage_url, ["Hello"])) as client:
                assert client.app.state.session_factory is get_global_factory()  # type: ignore[attr-defined]
                assert client.post(FEEDBACK, json={"rating": "up"}).status_code == 200
        with pytest.raises(RuntimeError):
            get_global_factory()
        if storage_url != "memory://":
            assert open_client().get(FEEDBACK).json()["total"] == 2

    def test_health_and_metrics(self, open_client: Callable[..., TestClient], storage_url: str) -> None:
        """The pool and the factory report the same connection, and the names that were given."""
        client = open_client()
        health = client.get("/health").json()
        assert health["status"] == "healthy"
        assert client.get("/metrics").json() == {
            "connection_pool": health["connection_pool"],
            "factory": {"database": None, "collection": "sessions"},
        }
        if storage_url.startswith("mongodb"):
            assert health["connection_pool"]["pool_config"] == {"maxPoolSize": 20, "minPoolSize": 2}
        client.app.state.session_factory.close()  # type: ignore[attr-defined]
        assert client.get("/health").json()["status"] == "unhealthy"


class TestFeedback:
    """The endpoints for feedback."""

    def test_it_is_stored_and_listed(self, open_client: Callable[..., TestClient]) -> None:
        """In order, with what the hook added; statistics count it."""
        client = open_client()
        for rating, comment in (("up", ""), ("down", "Too slow"), (None, "Hm"), ("up", "Great"), ("up", "")):
            response = client.post(FEEDBACK, json={"rating": rating, "comment": comment})
            assert response.json() == {"status": "success", "feedback_id": None}
        listed = client.get(FEEDBACK).json()
        assert (listed["session_id"], listed["total"]) == ("session-1", 5)
        assert [one["rating"] for one in listed["entries"]] == ["up", "down", None, "up", "up"]
        assert {one["_validated_at"] for one in listed["entries"]} == {"10:00"}
        stats = client.get(f"{FEEDBACK}/stats").json()
        assert stats == {"positive": 3, "negative": 1, "neutral": 1, "satisfaction_score": 75.0}
        assert client.get("/api/sessions/other/feedback").json()["entries"] == []

    def test_invalid_feedback(self, open_client: Callable[..., TestClient]) -> None:
        """What a hook or a rule refuses is a client's error, and is not stored."""
        client = open_client()
        for wrong in ({"rating": "down"}, {"rating": "great"}):
            response = client.post(FEEDBACK, json=wrong)
            assert (response.status_code, list(response.json())) == (400, ["detail"])
        assert client.get(FEEDBACK).json()["total"] == 0

    def test_other_values(self, open_client: Callable[..., TestClient]) -> None:
        """What the program stored beside rating and comment is in the response, dates as FastAPI writes them."""
        client = open_client()
        extras = {"browser": {"name": "Firefox", "versions": [1, 2.5, None]}, "logged in": True, "$v": 3}
        seen = datetime(2026, 1, 26, 10, 30, tzinfo=UTC)
        manager = get_global_factory().create_session_manager("session-1", created_at_type="datetime")
        manager.add_feedback({"rating": "up", **extras, "seen": seen, "visits": [{"at": seen}]})
        [stored] = manager.get_feedbacks()
        for path in (FEEDBACK, f"{FEEDBACK}/all"):
            listed = client.get(path).json()
            [entry] = listed if isinstance(listed, list) else listed["entries"]
            assert {name: entry[name] for name in extras} == extras
            assert [datetime.fromisoformat(one) for one in (entry["seen"], entry["visits"][0]["at"])] == [seen, seen]
            assert datetime.fromisoformat(entry["created_at"]) == stored["created_at"]


class TestChat:
    """The endpoints of an agent."""

    def test_a_conversation_continues(self, open_client: Callable[..., TestClient]) -> None:
        """Each request restores the session, and closing its session manager leaves the storage open."""
        client = open_client(lambda messages: f"You said {len(messages)} things")
        for number, expected in ((1, "You said 1 things"), (2, "You said 3 things")):
            response = client.post("/chat", json={"prompt": "Hi"}, headers={"session-id": "session-1"})
            answer = response.json()
            assert (answer["response"], answer["session_id"]) == (expected, "session-1")
            assert answer["metrics"]["total_messages"] == 2 * number
            assert answer["metrics"]["total_tokens"] > 0
        assert client.post("/chat", json={"prompt": "Hi"}).status_code == 422

    def test_a_streamed_answer_is_stored(self, open_client: Callable[..., TestClient]) -> None:
        """With its metrics; the next request continues after it."""
        client = open_client("Hello there")
        with client.stream("POST", "/chat/stream", json={"prompt": "Hi"}, headers={"session-id": "s"}) as response:
            assert "".join(response.iter_text()) == "Hello there"
        manager = get_global_factory().create_session_manager("s")
        assert list(manager.get_message_metrics("helper")) == [1]
        assert manager.get_message_count("helper") == 2
        answer = client.post("/chat", json={"prompt": "And?"}, headers={"session-id": "s"}).json()
        assert answer["metrics"]["total_messages"] == 4

    def test_requests_at_the_same_time(self, open_client: Callable[..., TestClient]) -> None:
        """Agents of different sessions answer in parallel, and do not stop other requests."""
        together = Barrier(4, timeout=PATIENCE)

        def answer(_: object) -> str:
            together.wait()
            return "Hello"

        client = open_client(answer)

        def ask(number: int) -> Any:
            return client.post("/chat", json={"prompt": str(number)}, headers={"session-id": f"s-{number}"}).json()

        with ThreadPoolExecutor(4) as threads:
            asked = [threads.submit(ask, number) for number in range(3)]
            assert client.get("/health").json()["status"] == "healthy"
            asked.append(threads.submit(ask, 3))
            assert [one.result()["response"] for one in asked] == ["Hello"] * 4
        for number in range(4):
            manager = get_global_factory().create_session_manager(f"s-{number}")
            agent = Agent(agent_id="helper", model=LocalModel([]), session_manager=manager, callback_handler=None)
            assert [block["text"] for one in agent.messages for block in one["content"]] == [str(number), "Hello"]

    def test_errors_of_the_storage(self, open_client: Callable[..., TestClient]) -> None:
        """They are ordinary exceptions, which the application turns into its response."""
        client = open_client()
        client.app.state.session_factory.close()  # type: ignore[attr-defined]
        response = client.post("/chat", json={"prompt": "Hi"}, headers={"session-id": "s"})
        assert response.status_code == 500
        assert "closed" in response.json()["detail"]
