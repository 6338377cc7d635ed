"""What a type checker sees of the public names: run by ``mypy --strict`` in ``make lint``, and never executed."""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, assert_type

import harken
from harken import (
    UNCHANGED,
    ApiKey,
    AsyncHarken,
    Cell,
    Change,
    Comparison,
    Cursor,
    Evaluation,
    Facets,
    Feedback,
    FeedbackQuery,
    FeedbackRejected,
    Harken,
    Headline,
    Interval,
    Issues,
    Keyword,
    Middleware,
    Missed,
    NewKey,
    News,
    Page,
    PeriodValue,
    Ranking,
    Rating,
    RatingPolicy,
    RatingValue,
    Reading,
    Receipt,
    SatisfactionChange,
    Scope,
    SpamHandling,
    SpamReading,
    Submission,
    Summary,
    Target,
    Themes,
    Trend,
    Verdict,
    Violation,
)
from harken.domain.moderation import ModerationStatus
from harken.ports.sessions import JsonValue
from harken_adapters.client import AsyncClient, Client
from harken_adapters.tokens import FeedbackLinks, SessionTokens


def submitting(hk: Harken) -> None:
    """Submitting: arguments and results."""
    assert_type(hk.submit("s", "up"), Receipt)
    assert_type(hk.submit("s", None, "Fine", tags=["a"], context={"tier": "free", "n": 1, "x": None}), Receipt)
    assert_type(hk.submit_soon("s", Rating.DOWN, "Slow", idempotency_key="k"), Future[Receipt])
    assert_type(hk.submit("s", "up").feedback, Feedback)
    assert_type(hk.submit("s", "up").reply, str | None)
    submission = Submission(target=Target("s"), rating="up", created_at=datetime.now(UTC))
    Submission(target=Target("s"), rating="sideways")  # type: ignore[arg-type]
    assert_type(hk.collection.submit_many([submission]), list[Receipt | FeedbackRejected])
    assert_type(hk.vote("s", "up", author="ann", message_id="m"), Receipt)
    assert_type(hk.votes("s", author="ann"), list[Feedback])
    assert_type(hk.withdraw_vote("s", author="ann"), Feedback | None)
    hk.vote("s", "up")  # type: ignore[call-arg]
    hk.vote("s", "sideways", author="ann")  # type: ignore[arg-type]
    hk.collection.set_vote(Target("s"), "ann", "sideways")  # type: ignore[arg-type]
    hk.submit("s", "sideways")  # type: ignore[arg-type]
    hk.submit("s")  # type: ignore[call-arg]
    hk.submit("s", 1)  # type: ignore[arg-type]
    hk.submit("s", "up", "Fine", "helper")  # type: ignore[call-arg]
    hk.submit("s", "up", agent="helper")  # type: ignore[call-arg]
    hk.submit_soon("s", "up", context={"nested": []})  # type: ignore[dict-item]


def reading(hk: Harken) -> None:
    """Filters are typed keywords."""
    page = hk.feedback(session_id="s", rating="up", limit=10)
    assert_type(page, Page)
    assert_type(hk.feedback(text="on hold"), Page)
    assert_type(page.items, tuple[Feedback, ...])
    assert_type(page.next, Cursor | None)
    assert_type(hk.export(agent_id="a"), Iterator[Feedback])
    assert_type(hk.summary(since=datetime.now(UTC), context={"tier": "free"}), Summary)
    assert_type(hk.summary().interval, Interval)
    assert_type(hk.summary().average_polarity, float | None)
    assert_type(hk.summary().to_dict(), dict[str, Any])
    assert_type(hk.trend("week").to_dict(), dict[str, Any])
    assert_type(hk.summary(agent_id=["a", "b"], rating=["up", None], tag={"x"}, has_comment=True), Summary)
    assert_type(hk.summary(context={"tier": ["free", None], "beta": True}), Summary)
    assert_type(hk.query(agent_id="a").agent_id, frozenset[str] | None)
    assert_type(hk.query(rating="up").rating, frozenset[Rating] | None)
    assert_type(FeedbackQuery(rating=Rating.UP, agent_id=["a"], tag="x").tag, frozenset[str] | None)
    assert_type(hk.groups("agent", author="ann"), Mapping[str | datetime | None, Summary])
    assert_type(hk.trend("day", "Europe/Berlin", tag="x"), Trend)
    assert_type(hk.themes(["slow"], message_id=None), tuple[Keyword, ...])
    assert_type(hk.themes(keywords="slow"), tuple[Keyword, ...])
    assert_type(hk.themes(limit=5, agent_id="a"), Themes)
    assert_type(hk.compare({"agent_id": "a"}, {"agent_id": "b"}, tag="x").verdict, Verdict)
    assert_type(hk.compare_to_previous(since=datetime.now(UTC)).needed, int | None)
    assert_type(hk.compare_groups("agent", author="ann"), Mapping[str | datetime | None, Comparison])
    assert_type(hk.estimate(agent_id="a").interval, Interval)
    assert_type(hk.heat_map("Europe/Berlin"), list[Cell])
    assert_type(hk.headline("Europe/Berlin", same_weekdays=True), Headline)
    assert_type(hk.reasons(limit=5), Issues)
    assert_type(hk.ranking("context.version"), Ranking[str | datetime | None])
    assert_type(hk.facets(agent_id="a"), Facets)
    assert_type(hk.changes(tag="x"), list[SatisfactionChange])
    assert_type(hk.sentiment.readings(page.items), Mapping[str, Reading])
    assert_type(hk.sentiment.survey(hk.query(tag="x")).average.likelihood, float | None)
    assert_type(hk.sentiment.survey(hk.query(), limit=5).contradictions, tuple[tuple[Feedback, Reading], ...])
    assert_type(hk.sentiment.evaluate("default").learned, Evaluation | None)
    assert_type(hk.spam.readings(page.items), Mapping[str, SpamReading])
    hk.compare({"agent": "a"}, {})  # type: ignore[typeddict-unknown-key]
    hk.themes(["slow"], limit=5)  # type: ignore[call-overload]
    hk.trend("3-hours")
    hk.trend("month")  # type: ignore[arg-type]
    hk.summary(rating="neutral")  # type: ignore[arg-type]
    harken.connect("memory://", spam="delete")  # type: ignore[arg-type]
    hk.feedback(sesion_id="s")  # type: ignore[call-arg]
    hk.summary(agent="a")  # type: ignore[call-arg]
    hk.summary(agent_id=7)  # type: ignore[arg-type]
    hk.summary(agent_id=[7])  # type: ignore[list-item]
    hk.summary(rating=["sideways"])  # type: ignore[list-item]
    hk.export(since="today")  # type: ignore[arg-type]
    page.items = ()  # type: ignore[misc]


def changing(hk: Harken) -> None:
    """Leaving a part out differs from setting it to None."""
    change = Change(rating=None, comment=UNCHANGED, tags=["slow"])
    assert_type(hk.collection.change("default", "f", change, expected_version=1), Feedback)
    assert_type(hk.change("f", change, expected_version=1), Feedback)
    assert_type(hk.withdraw("f").withdrawn_at, datetime | None)
    assert_type(hk.get("f"), Feedback)
    assert_type(hk.collection.set_vote(Target("s"), "ann", "up"), Receipt)
    assert_type(hk.moderation.undo("default", "f", expected_version=2).moderation, harken.Moderation)
    assert_type(hk.sessions.get("default", "s"), dict[str, JsonValue])
    hk.sessions.update("default", "s", {"user.plan": "pro"}, paths=True)
    assert_type(hk.sessions.delete("default", "s", "user.plan", paths=True), int)
    Change(comment=None)  # type: ignore[arg-type]
    Change(rating="sideways")  # type: ignore[arg-type]


def using_keys(hk: Harken) -> None:
    """Scopes by name or as objects."""
    assert_type(hk.keys.create("default", ["submit", Scope.READ], name="web"), NewKey)
    assert_type(hk.keys.create("default", {Scope.ADMIN}).text, str)
    assert_type(hk.keys.create("default", ["read"], agents=["helper"]).key.agents, frozenset[str] | None)
    assert_type(hk.keys.authenticate("hk_1_2"), ApiKey)
    assert_type(hk.keys.authenticate("hk_1_2").scopes, frozenset[Scope])
    hk.keys.create("default")  # type: ignore[call-arg]
    hk.keys.create("default", [7])  # type: ignore[list-item]
    hk.keys.authenticate(None)  # type: ignore[arg-type]


def audit(submission: Submission) -> Generator[Submission, Receipt, None]:
    """Middleware as the documentation shows it."""
    receipt = yield submission
    assert_type(receipt, Receipt)


def no_middleware(submission: Submission) -> Submission:
    """A plain function is not a middleware."""
    return submission


def signed(submission: Submission) -> list[Violation]:
    """A custom rule."""
    return [] if submission.author else [Violation("author", "required", "Please sign in")]


class Length:
    """A feature extractor."""

    def features(self, text: str) -> list[int]:
        return [min(len(text), 127)]


def connecting() -> None:
    """The arguments of connect."""
    middleware: list[Middleware] = [audit]
    with harken.connect("memory://", middleware=middleware, policy=RatingPolicy().with_rules(signed)) as hk:
        assert_type(hk, Harken)
    harken.connect(middleware=[no_middleware])  # type: ignore[list-item]
    harken.connect(7)  # type: ignore[arg-type]
    harken.Parts(spam="delete")  # type: ignore[arg-type]
    RatingPolicy.standard(spam="delete")  # type: ignore[arg-type]
    harken.connect("memory://", languages=["cs"], theme_namer=lambda words, comments: words[0] + comments[0])
    harken.connect("memory://", embeddings=False, feature_extractor=Length())
    harken.connect("memory://", feature_extractor=len)  # type: ignore[arg-type]
    harken.connect("memory://", theme_namer=str.strip)  # type: ignore[arg-type]
    harken.connect("memory://", sanitizer=str.strip)  # type: ignore[arg-type]


def minting() -> None:
    """Tokens and links."""
    links = FeedbackLinks(["secret"])
    assert_type(links.mint("https://shop.example", session_id="s", rating="down", context={"tier": 1}), str)
    assert_type(links.read("eyJ").rating, Literal["up", "down"] | None)
    links.mint("https://shop.example", session_id="s", rating="neutral")  # type: ignore[arg-type]
    links.mint("https://shop.example")  # type: ignore[call-arg]
    assert_type(SessionTokens(["secret"]).mint(session_id="s", lifetime=timedelta(minutes=5)), str)
    SessionTokens(["secret"]).mint(session_id="s", lifetime=5)  # type: ignore[arg-type]


async def awaiting(hk: AsyncHarken) -> None:
    """The facade for asyncio has the arguments and results of the facade."""
    assert_type(await hk.submit("s", "up", tags=["a"], context={"n": 1}), Receipt)
    assert_type(await hk.vote("s", None, author="ann"), Receipt)
    assert_type(await hk.votes("s", author="ann"), list[Feedback])
    assert_type(await hk.withdraw_vote("s", author="ann"), Feedback | None)
    assert_type(await hk.change("f", Change(comment="Better"), expected_version=1), Feedback)
    assert_type(await hk.get("f"), Feedback)
    assert_type(await hk.feedback(session_id="s", limit=10), Page)
    assert_type(hk.export(agent_id="a"), AsyncGenerator[Feedback, None])
    assert_type([one async for one in hk.export()], list[Feedback])
    assert_type([one async for one in hk.events(application="shop")], list[News | Missed])
    assert_type(await hk.summary(since=datetime.now(UTC)), Summary)
    assert_type(await hk.trend("day", "Europe/Berlin"), Trend)
    assert_type(await hk.themes(limit=5), Themes)
    assert_type(await hk.themes(["slow"]), tuple[Keyword, ...])
    assert_type(await hk.compare_groups("agent"), Mapping[str | datetime | None, Comparison])
    assert_type(await hk.run_sync(hk.sync.moderation.decide, "default", "f", ModerationStatus.APPROVED), Feedback)
    assert_type(await hk.run_sync(hk.sync.sessions.get, "default", "s"), dict[str, JsonValue])
    assert_type([one async for one in hk.iterate_sync(hk.sync.collection.stream, hk.sync.query())], list[Feedback])
    assert_type(hk.sync, Harken)
    await hk.submit("s", "sideways")  # type: ignore[arg-type]
    await hk.submit("s", "up", agent="helper")  # type: ignore[call-arg]
    await hk.vote("s", "up")  # type: ignore[call-arg]
    await hk.trend("month")  # type: ignore[arg-type]
    await hk.summary(agent="a")  # type: ignore[call-arg]
    await hk.themes(["slow"], limit=5)  # type: ignore[call-overload]
    await hk.run_sync(hk.sync.sessions.get, "default")  # type: ignore[call-arg]
    hk.events(7)  # type: ignore[arg-type]
    hk.iterate_sync(hk.sync.collection.get, "default", "f")  # type: ignore[arg-type]


async def connecting_in_asyncio() -> None:
    """Both forms, with the arguments of connect."""
    assert_type(await harken.connect_async("memory://", spam="hold"), AsyncHarken)
    async with harken.connect_async(application="shop") as hk:
        assert_type(hk, AsyncHarken)
    harken.connect_async("memory://", spam="delete")  # type: ignore[arg-type]
    harken.connect_async(7)  # type: ignore[arg-type]
    AsyncHarken("memory://")  # type: ignore[arg-type]


def wrapping(hk: Harken, rating: RatingValue | None, period: PeriodValue, spam: SpamHandling) -> None:
    """A host's own function takes these types and passes them on."""
    hk.submit("s", rating)
    hk.vote("s", rating, author="ann")
    hk.summary(rating=rating)
    hk.trend(period)
    harken.connect("memory://", spam=spam)


def calling_over_http(client: Client) -> None:
    """A client has the types of the facade."""
    assert_type(client.submit("s", "up", tags=["a"]), Receipt)
    assert_type(client.vote("s", "up", author="ann"), Receipt)
    assert_type(client.withdraw_vote("s", author="ann"), Feedback | None)
    assert_type(client.feedback(agent_id="a"), Page)
    assert_type(client.export(rating="down"), Iterator[Feedback])
    assert_type(client.summary(), Summary)
    assert_type(client.themes(), Themes)
    assert_type(client.themes("slow"), tuple[Keyword, ...])
    assert_type(next(client.events()), News | Missed)
    client.submit("s", "sideways")  # type: ignore[arg-type]
    client.summary(agent="a")  # type: ignore[call-arg]


async def calling_in_an_event_loop(client: AsyncClient) -> None:
    """Its methods are coroutines, except those that return iterators."""
    assert_type(await client.submit("s", "up"), Receipt)
    assert_type(await client.themes(), Themes)
    assert_type(await client.compare({"agent_id": "a"}, {"agent_id": "b"}), Comparison)
    assert_type(client.export(), AsyncIterator[Feedback])
    async for event in client.events():
        assert_type(event, News | Missed)


def listening(hk: Harken) -> None:
    """The events in process have the same type."""
    for event in hk.events():
        assert_type(event, News | Missed)
