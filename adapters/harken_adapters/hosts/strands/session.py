"""A Strands session manager on any storage of Harken: conversation, state and metrics persist, feedback is tied."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from strands.hooks import HookRegistry
from strands.session.repository_session_manager import RepositorySessionManager
from strands.telemetry.metrics import EventLoopMetrics
from strands.types.agent import LocalAgent

from harken import Harken
from harken.services.conversations import MAX_SIZE
from harken_adapters.hosts.strands.answers import AgentFeedback
from harken_adapters.hosts.strands.repository import HarkenSessionRepository


class HarkenSessionManager(RepositorySessionManager):
    """``Agent(session_manager=HarkenSessionManager(hk, "session-1"))``: what is said and known outlives the process.

    Attributes:
        feedback: ties feedback to the latest answer, see :class:`AgentFeedback`.
    """

    def __init__(
        self, harken: Harken, session_id: str, *, application: str | None = None, max_record_bytes: int = MAX_SIZE
    ) -> None:
        """A session; it is there as soon as something is kept in it.

        Args:
            harken: where it is kept.
            session_id: the session.
            application: whose session it is, if not that of ``harken``.
            max_record_bytes: how many bytes of JSON a message, or the state of an agent, may have, see
                :class:`HarkenSessionRepository`.

        Raises:
            ConfigurationError: ``max_record_bytes`` is out of range.
        """
        self.harken = harken
        self.feedback = AgentFeedback(harken, session_id, application=application)
        self._repository = HarkenSessionRepository(
            harken.conversations, self.feedback.application, max_record_bytes=max_record_bytes
        )
        super().__init__(session_id, self._repository)

    @property
    def application(self) -> str:
        """Whose session it is."""
        return self.feedback.application

    def register_hooks(self, registry: HookRegistry, **kwargs: Any) -> None:
        """Persist what happens, and then look which answer is the latest."""
        super().register_hooks(registry, **kwargs)
        self.feedback.register_hooks(registry, **kwargs)

    def initialize(self, agent: LocalAgent, **kwargs: Any) -> None:
        """Restore an agent, with what it used up so far; or keep a new one."""
        self._repository.note(self.session_id, agent.agent_id, _details(agent))
        super().initialize(agent, **kwargs)
        _restore_metrics(agent, self._repository.written(self.session_id, agent.agent_id, "metrics") or {})

    def sync_agent(self, agent: LocalAgent, **kwargs: Any) -> None:
        """Keep what an agent knows and used up, if that changed."""
        self._repository.note(self.session_id, agent.agent_id, _details(agent))
        super().sync_agent(agent, **kwargs)
        self._repository.flush(self.session_id, agent.agent_id)


def _details(agent: LocalAgent) -> dict[str, Any]:
    """What is kept of an agent beside what Strands keeps: how it is set up, and what it used up."""
    details: dict[str, Any] = {"model": _model_id(agent), "system_prompt": getattr(agent, "system_prompt", None)}
    metrics = getattr(agent, "event_loop_metrics", None)
    if isinstance(metrics, EventLoopMetrics):
        details["metrics"] = {
            "cycle_count": metrics.cycle_count,
            "usage": dict(metrics.accumulated_usage),
            "latency": dict(metrics.accumulated_metrics),
        }
    return details


def _model_id(agent: LocalAgent) -> str | None:
    model: Any = getattr(agent, "model", None)
    config = model.get_config() if hasattr(model, "get_config") else None
    found = config.get("model_id") if isinstance(config, dict) else getattr(config, "model_id", None)
    return None if found is None else str(found)


def _restore_metrics(agent: LocalAgent, kept: dict[str, Any]) -> None:
    metrics = getattr(agent, "event_loop_metrics", None)
    if not isinstance(metrics, EventLoopMetrics):
        return
    metrics.cycle_count = kept.get("cycle_count", 0)
    metrics.accumulated_usage.update(deepcopy(kept.get("usage", {})))
    metrics.accumulated_metrics.update(deepcopy(kept.get("latency", {})))
