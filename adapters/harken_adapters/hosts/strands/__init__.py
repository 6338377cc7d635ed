"""Harken in Strands agents: sessions that persist on any storage, and feedback on their answers."""

from harken import MissingExtra

try:
    import strands as _strands  # noqa: F401 - checks that it is installed
except ModuleNotFoundError as error:
    raise MissingExtra(f'Strands agents need the package {error.name!r}; try pip install "harken[strands]"') from error

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
