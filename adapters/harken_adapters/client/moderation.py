"""Moderation over HTTP: the requests, and the objects ``moderation`` of both clients."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar, Unpack

from attrs import evolve

from harken import Cursor, ModerationStatus, Page
from harken.domain.instants import stamp
from harken.domain.moderation import Decision, Waiting
from harken.domain.query import Order
from harken.facade import Filters
from harken.services.feedback.moderation import DecisionResult, Decisions
from harken.services.feedback.reviewing import Preview, Review
from harken.services.feedback.rule_counts import RuleCount
from harken_adapters.client.calls import Call, Calls, Pairs, Parse
from harken_adapters.formats.moderation import (
    decisions_from,
    preview_from,
    results_from,
    review_from,
    rule_counts_from,
    waiting_from,
)
from harken_adapters.formats.record import page_from

T = TypeVar("T")


class Send(Protocol):
    """Sends calls."""

    def __call__(self, call: Call[T], /) -> T:
        """Send a call, and return its value."""
        ...


class SendSoon(Protocol):
    """Sends calls asynchronously."""

    def __call__(self, call: Call[T], /) -> Awaitable[T]:
        """Send a call, and return its value when it is awaited."""
        ...


class ModerationCalls(Calls):
    """Builds the calls."""

    def queue(
        self, limit: int, after: Cursor | str | None, order: Order, rule: str | None, filters: Filters
    ) -> Call[Page]:
        """List what waits."""
        parameters = (("limit", str(limit)), ("order", order), *_given("after", after), *_given("held_by", rule))
        return self._read("/api/moderation/queue", filters, page_from, *parameters)

    def waiting(self, rule: str | None, filters: Filters) -> Call[Waiting]:
        """Count what waits."""
        return self._get("waiting", filters, waiting_from, *_given("held_by", rule))

    def decisions(
        self, since: datetime | None, status: str | None, limit: int, after: Cursor | str | None, filters: Filters
    ) -> Call[Decisions]:
        """List decisions."""
        parameters = (
            ("limit", str(limit)),
            *_given("decided_since", since and stamp(since)),
            *_given("decision", status),
            *_given("after", after),
        )
        return self._read("/api/moderation/decisions", filters, decisions_from, *parameters)

    def decide(
        self, decisions: Sequence[Decision], moderator: str | None, application: str | None
    ) -> Call[list[DecisionResult]]:
        """Decide on several entries."""
        entries = [
            {
                "feedback_id": one.feedback_id,
                "version": one.version,
                "status": one.status.value,
                "reason": one.reason,
            }
            for one in decisions
        ]
        body = {"decisions": entries, "moderator": moderator}
        return self._post("decisions", {"application": application}, body, results_from, is_write=True)

    def undo(
        self, versions: Mapping[str, int], moderator: str | None, application: str | None
    ) -> Call[list[DecisionResult]]:
        """Undo the last decisions on several entries."""
        body = {"decisions": _entries(versions), "moderator": moderator}
        return self._post("decisions/undo", {"application": application}, body, results_from, is_write=True)

    def preview(self, versions: Mapping[str, int], status: ModerationStatus | str, filters: Filters) -> Call[Preview]:
        """Preview decisions."""
        body = {"entries": _entries(versions), "status": getattr(status, "value", status)}
        return self._post("preview", filters, body, lambda document, _: preview_from(document), is_write=False)

    def review(self, feedback_id: str, filters: Filters) -> Call[Review]:
        """Review feedback."""
        path = f"{self.get(feedback_id, self._application(filters)).path}/moderation"
        return evolve(self._read(path, filters, review_from), feedback_id=feedback_id)

    def rule_counts(self, days: int, application: str | None) -> Call[list[RuleCount]]:
        """Count what rules refused and held."""
        return self._get("rules", {"application": application}, rule_counts_from, ("days", str(days)))

    def _get(self, name: str, filters: Filters, parse: Callable[[Any], T], *parameters: tuple[str, str]) -> Call[T]:
        return self._read(f"/api/moderation/{name}", filters, lambda document, _: parse(document), *parameters)

    def _post(self, name: str, filters: Filters, body: object, parse: Parse[T], *, is_write: bool) -> Call[T]:
        # It can be sent again: a decision that was made already is not a conflict.
        content = json.dumps(body, separators=(",", ":")).encode()
        call = self._read(f"/api/moderation/{name}", filters, parse)
        return evolve(call, method="POST", body=content, is_write=is_write)


class Moderation:
    """Moderation, with the values of :class:`harken.services.feedback.moderation.ModerationService`."""

    def __init__(self, calls: ModerationCalls, send: Send) -> None:
        self._calls = calls
        self._send = send

    def queue(
        self,
        *,
        limit: int = 100,
        after: Cursor | str | None = None,
        order: Order = "oldest",
        rule: str | None = None,
        **filters: Unpack[Filters],
    ) -> Page:
        """A page of the pending feedback; see :meth:`ModerationService.queue`."""
        return self._send(self._calls.queue(limit, after, order, rule, filters))

    def waiting(self, *, rule: str | None = None, **filters: Unpack[Filters]) -> Waiting:
        """How much feedback waits, since when and why; see :meth:`ModerationService.waiting`."""
        return self._send(self._calls.waiting(rule, filters))

    def decisions(
        self,
        *,
        decided_since: datetime | None = None,
        status: str | None = None,
        limit: int = 100,
        after: Cursor | str | None = None,
        **filters: Unpack[Filters],
    ) -> Decisions:
        """What moderators decided, by default in the last 24 hours; see :meth:`ModerationService.decisions`.

        ``status`` is ``"approved"`` or ``"rejected"``; by default both.
        """
        return self._send(self._calls.decisions(decided_since, status, limit, after, filters))

    def decide_many(
        self, decisions: Sequence[Decision], *, moderator: str | None = None, application: str | None = None
    ) -> list[DecisionResult]:
        """Decide on several entries, or on one; see :meth:`ModerationService.decide_many`."""
        return self._send(self._calls.decide(decisions, moderator, application))

    def undo_many(
        self, versions: Mapping[str, int], *, moderator: str | None = None, application: str | None = None
    ) -> list[DecisionResult]:
        """Undo the last decisions on several entries, or on one; see :meth:`ModerationService.undo_many`."""
        return self._send(self._calls.undo(versions, moderator, application))

    def review(self, feedback_id: str, **filters: Unpack[Filters]) -> Review:
        """What a moderator needs to know about feedback; see :meth:`ModerationService.review`."""
        return self._send(self._calls.review(feedback_id, filters))

    def preview(
        self, versions: Mapping[str, int], status: ModerationStatus | str, **filters: Unpack[Filters]
    ) -> Preview:
        """What decisions on several entries would do; see :meth:`ModerationService.preview`."""
        return self._send(self._calls.preview(versions, status, filters))

    def rule_counts(self, *, days: int = 7, application: str | None = None) -> list[RuleCount]:
        """How often each rule refused and held feedback; see :meth:`ModerationService.rule_counts`."""
        return self._send(self._calls.rule_counts(days, application))


class AsyncModeration:
    """The methods of :class:`Moderation` as coroutines."""

    def __init__(self, calls: ModerationCalls, send: SendSoon) -> None:
        self._calls = calls
        self._send = send

    async def queue(
        self,
        *,
        limit: int = 100,
        after: Cursor | str | None = None,
        order: Order = "oldest",
        rule: str | None = None,
        **filters: Unpack[Filters],
    ) -> Page:
        """A page of the pending feedback; see :meth:`ModerationService.queue`."""
        return await self._send(self._calls.queue(limit, after, order, rule, filters))

    async def waiting(self, *, rule: str | None = None, **filters: Unpack[Filters]) -> Waiting:
        """How much feedback waits, since when and why; see :meth:`ModerationService.waiting`."""
        return await self._send(self._calls.waiting(rule, filters))

    async def decisions(
        self,
        *,
        decided_since: datetime | None = None,
        status: str | None = None,
        limit: int = 100,
        after: Cursor | str | None = None,
        **filters: Unpack[Filters],
    ) -> Decisions:
        """What moderators decided; see :meth:`Moderation.decisions`."""
        return await self._send(self._calls.decisions(decided_since, status, limit, after, filters))

    async def decide_many(
        self, decisions: Sequence[Decision], *, moderator: str | None = None, application: str | None = None
    ) -> list[DecisionResult]:
        """Decide on several entries, or on one; see :meth:`ModerationService.decide_many`."""
        return await self._send(self._calls.decide(decisions, moderator, application))

    async def undo_many(
        self, versions: Mapping[str, int], *, moderator: str | None = None, application: str | None = None
    ) -> list[DecisionResult]:
        """Undo the last decisions on several entries, or on one; see :meth:`ModerationService.undo_many`."""
        return await self._send(self._calls.undo(versions, moderator, application))

    async def review(self, feedback_id: str, **filters: Unpack[Filters]) -> Review:
        """What a moderator needs to know about feedback; see :meth:`ModerationService.review`."""
        return await self._send(self._calls.review(feedback_id, filters))

    async def preview(
        self, versions: Mapping[str, int], status: ModerationStatus | str, **filters: Unpack[Filters]
    ) -> Preview:
        """What decisions on several entries would do; see :meth:`ModerationService.preview`."""
        return await self._send(self._calls.preview(versions, status, filters))

    async def rule_counts(self, *, days: int = 7, application: str | None = None) -> list[RuleCount]:
        """How often each rule refused and held feedback; see :meth:`ModerationService.rule_counts`."""
        return await self._send(self._calls.rule_counts(days, application))


def _given(name: str, value: object) -> Pairs:
    return () if value is None else ((name, str(value)),)


def _entries(versions: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"feedback_id": feedback_id, "version": version} for feedback_id, version in versions.items()]
