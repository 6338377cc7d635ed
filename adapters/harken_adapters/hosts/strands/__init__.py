"""Harken in Strands agents: sessions that persist on any storage, and feedback on their answers."""

from harken.configuration.extras import requires

with requires("The Strands host", "strands"):
    from harken_adapters.hosts.strands.answers import AgentFeedback
    from harken_adapters.hosts.strands.repository import HarkenSessionRepository
    from harken_adapters.hosts.strands.session import HarkenSessionManager
    from harken_adapters.hosts.strands.tools import FeedbackCall, feedback_tool, metadata_tool
    from harken_adapters.hosts.strands.turns import Answer

__all__ = [
    "AgentFeedback",
    "Answer",
    "FeedbackCall",
    "HarkenSessionManager",
    "HarkenSessionRepository",
    "feedback_tool",
    "metadata_tool",
]
