"""What happened at Skylark: the agents, their releases, and an outage."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import field, frozen

from harken.domain.instants import EPOCH

#: After an outage, people complain about it for this long.
_COMPLAINTS: Final = timedelta(hours=6)
_WEDNESDAY, _THURSDAY, _MONDAY = 2, 3, 0


@frozen
class Agent:
    """An agent of Skylark.

    Attributes:
        id: its id.
        share: its part of all conversations.
    """

    id: str
    share: float


@frozen
class Release:
    """A version of an agent, from a time on.

    Attributes:
        agent: the id of the agent.
        version: the version.
        at: when it replaced the version before.
        satisfaction: the part of thumbs that are up.
        incident: what is wrong with it, see :meth:`harken_adapters.demo.writer.Writer.comment`.
    """

    agent: str
    version: str
    at: datetime
    satisfaction: float
    incident: str | None = None


AGENTS: Final = (
    Agent("travel-desk", 0.38),
    Agent("search-helper", 0.26),
    Agent("billing-helper", 0.2),
    Agent("trip-planner", 0.16),
)
_FIRST: Final = (
    Release("travel-desk", "5.2.4", EPOCH, 0.86),
    Release("search-helper", "3.4.0", EPOCH, 0.79),
    Release("billing-helper", "2.9.1", EPOCH, 0.83),
)
_PLANNER: Final = "trip-planner"


@frozen
class Outage:
    """A time without answers, and so without feedback."""

    began: datetime
    ended: datetime


@frozen
class Story:
    """What happens to the agents. By default nothing does, and all of them exist.

    Attributes:
        releases: the versions of all agents, the earliest first.
        outage: when no agent answered.
    """

    releases: Sequence[Release] = field(default=(*_FIRST, Release(_PLANNER, "0.9.0", EPOCH, 0.7)))
    outage: Outage | None = None

    @classmethod
    def until(cls, now: datetime) -> Story:
        """The story of the last four weeks.

        A Wednesday's release of the travel desk shows wrong departure times, until the Monday after. On the Thursday
        before it, nothing works for some hours. The trip planner is new, and not as good as the others yet.
        """
        bad = _last(_WEDNESDAY, now - timedelta(days=9), hour=14, minute=10)
        fixed = bad + timedelta(days=4, hours=21, minutes=30)
        launch = _last(_MONDAY, bad - timedelta(days=7), hour=8)
        better = _last(_MONDAY, now - timedelta(days=24), hour=9, minute=30)
        outage = _last(_THURSDAY, bad - timedelta(days=5), hour=7, minute=20)
        return cls(
            (
                *_FIRST,
                Release("search-helper", "3.5.0", better, 0.83),
                Release(_PLANNER, "0.9.0", launch, 0.66),
                Release("travel-desk", "5.3.0", bad, 0.4, "release"),
                Release("travel-desk", "5.3.1", fixed, 0.86),
            ),
            Outage(outage, outage + timedelta(hours=6, minutes=30)),
        )

    def release(self, agent: str, at: datetime) -> Release | None:
        """The version of an agent at that time; ``None`` if it does not exist yet."""
        return next((one for one in reversed(self.releases) if one.agent == agent and one.at <= at), None)

    def is_down(self, at: datetime) -> bool:
        """Whether no agent answers."""
        return self.outage is not None and self.outage.began <= at < self.outage.ended

    def after_outage(self, at: datetime) -> bool:
        """Whether people complain about an outage."""
        return self.outage is not None and self.outage.ended <= at < self.outage.ended + _COMPLAINTS


def _last(weekday: int, before: datetime, *, hour: int, minute: int = 0) -> datetime:
    """The last such weekday at that hour."""
    day = before.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return day - timedelta(days=(day.weekday() - weekday) % 7)
