"""A Strands session manager on any storage: persists messages, state and metrics, and links feedback to answers."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from strands import Agent
from strands.hooks import HookRegistry
from strands.session.repository_session_manager import RepositorySessionManager
from strands.telemetry.metrics import EventLoopMetrics
from strands.types.agent import LocalAgent

from harken import Harken
from harken.services.conversations import MAX_SIZE
from harken_adapters.hosts.strands.answers import AgentFeedback
from harken_adapters.hosts.strands.repository import HarkenSessionRepository


class HarkenSessionManager(RepositorySessionManager):
    """Persists an agent's messages and state: ``Agent(session_manager=HarkenSessionManager(hk, "session-1"))``.

    Attributes:
        feedback: links feedback to the latest answer, see :class:`AgentFeedback`.
    """

    def __init__(
        self,
        harken: Harken,
        session_id: str,
        *,
        application: str | None = None,
        max_record_bytes: int = MAX_SIZE,
        repository: HarkenSessionRepository | None = None,
    ) -> None:
        """Open a session.

        Args:
            harken: an open Harken.
            session_id: the id of the session.
            application: the application of the session, by default that of ``harken``.
            max_record_bytes: the maximum size of a message or an agent's state as JSON, see
                :class:`HarkenSessionRepository`.
            repository: the repository of the sessions of ``harken``; by default, it is created.

        Raises:
            ConfigurationError: ``max_record_bytes`` is out of range.
        """
        self.harken = harken
        self.feedback = AgentFeedback(harken, session_id, application=application)
        self._repository = repository or HarkenSessionRepository(
            harken.conversations, self.feedback.application, max_record_bytes=max_record_bytes
        )
        super().__init__(session_id, self._repository)

    @property
    def application(self) -> str:
        """The application of the session."""
        return self.feedback.application

    def register_hooks(self, registry: HookRegistry, **kwargs: Any) -> None:
        """Register the hooks that persist messages, and then those of :attr:`feedback`."""
        super().register_hooks(registry, **kwargs)
        self.feedback.register_hooks(registry, **kwargs)

    def initialize(self, agent: LocalAgent, **kwargs: Any) -> None:
        """Restore an agent with its metrics, or store a new one."""
        self._repository.set_details(self.session_id, agent.agent_id, _details(agent))
        if isinstance(agent, Agent):
            state = agent.conversation_manager.get_state()
            self._repository.set_initial_state(self.session_id, agent.agent_id, state)
        super().initialize(agent, **kwargs)
        _restore_metrics(agent, self._repository.written(self.session_id, agent.agent_id, "metrics") or {})

    def sync_agent(self, agent: LocalAgent, **kwargs: Any) -> None:
        """Store the state and metrics of an agent, if they changed."""
        self._repository.set_details(self.session_id, agent.agent_id, _details(agent))
        super().sync_agent(agent, **kwargs)
        self._repository.flush(self.session_id, agent.agent_id)


def _details(agent: LocalAgent) -> dict[str, Any]:
    """The values that are stored in addition to those of Strands: configuration and metrics.

    A restored agent may have no system prompt: then the one that is stored stays.
    """
    configuration = {"model": _model_id(agent), "system_prompt": getattr(agent, "system_prompt", None)}
    details: dict[str, Any] = {name: value for name, value in configuration.items() if value}
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


def _restore_metrics(agent: LocalAgent, stored: dict[str, Any]) -> None:
    metrics = getattr(agent, "event_loop_metrics", None)
    if not isinstance(metrics, EventLoopMetrics):
        return
    metrics.cycle_count = stored.get("cycle_count", 0)
    metrics.accumulated_usage.update(deepcopy(stored.get("usage", {})))
    metrics.accumulated_metrics.update(deepcopy(stored.get("latency", {})))
