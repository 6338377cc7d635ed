"""A replacement for the session manager of ``mongodb_session_manager``: only the import changes.

>>> from harken_adapters.hosts.session_manager import MongoDBSessionManager
>>> session_manager = MongoDBSessionManager(session_id="session-1", connection_string="memory://")
>>> receipt = session_manager.add_feedback({"rating": "up", "comment": "Great job!"})
>>> [feedback["comment"] for feedback in session_manager.get_feedbacks()]
['Great job!']
>>> session_manager.close()
"""

from harken.configuration.extras import requires

with requires("The session manager", "strands"):
    from harken_adapters.hosts.session_manager.aws import (
        FeedbackSNSHook,
        MetadataSQSHook,
        MetadataWebSocketHook,
        create_feedback_sns_hook,
        create_metadata_sqs_hook,
        create_metadata_websocket_hook,
        is_feedback_sns_hook_available,
        is_metadata_sqs_hook_available,
        is_metadata_websocket_hook_available,
    )
    from harken_adapters.hosts.session_manager.factory import (
        MongoDBSessionManagerFactory,
        close_global_factory,
        get_global_factory,
        initialize_global_factory,
    )
    from harken_adapters.hosts.session_manager.hooks import FeedbackHook, MetadataHook
    from harken_adapters.hosts.session_manager.manager import MongoDBSessionManager, create_mongodb_session_manager
    from harken_adapters.hosts.session_manager.message_details import GUARDRAIL_ACTION_BLOCKED, GUARDRAIL_STOP_REASONS
    from harken_adapters.hosts.session_manager.opening import SessionsNotMigrated
    from harken_adapters.hosts.session_manager.pool import MongoDBConnectionPool
    from harken_adapters.hosts.session_manager.repository import MongoDBSessionRepository

__all__ = [
    "GUARDRAIL_ACTION_BLOCKED",
    "GUARDRAIL_STOP_REASONS",
    "FeedbackHook",
    "FeedbackSNSHook",
    "MetadataHook",
    "MetadataSQSHook",
    "MetadataWebSocketHook",
    "MongoDBConnectionPool",
    "MongoDBSessionManager",
    "MongoDBSessionManagerFactory",
    "MongoDBSessionRepository",
    "SessionsNotMigrated",
    "close_global_factory",
    "create_feedback_sns_hook",
    "create_metadata_sqs_hook",
    "create_metadata_websocket_hook",
    "create_mongodb_session_manager",
    "get_global_factory",
    "initialize_global_factory",
    "is_feedback_sns_hook_available",
    "is_metadata_sqs_hook_available",
    "is_metadata_websocket_hook_available",
]
