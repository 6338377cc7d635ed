"""The contract kit: test suites that check that a storage or notifier adapter fulfils the contracts of the ports.

Needs the extra ``testing``. See :class:`StorageContract` for how to run it.
"""

from importlib.util import find_spec

from harken.domain.errors import MissingExtra

if find_spec("hypothesis") is None:
    raise MissingExtra("The contract kit needs the package 'hypothesis'; try pip install \"harken[testing]\"")

from harken.testing.builders import (
    NOON,
    a_digest,
    a_feedback,
    a_key,
    a_series,
    a_session_change,
    accepted,
    an_alert,
    with_content,
)
from harken.testing.conversation_machine import ConversationMachine
from harken.testing.faults import Faults
from harken.testing.feedback_machine import FeedbackMachine
from harken.testing.model import reference_storage
from harken.testing.notifier_contract import NotifierContract, a_notification
from harken.testing.outbox_machine import OutboxMachine
from harken.testing.storage_contract import StorageContract

__all__ = [
    "NOON",
    "ConversationMachine",
    "Faults",
    "FeedbackMachine",
    "NotifierContract",
    "OutboxMachine",
    "StorageContract",
    "a_digest",
    "a_feedback",
    "a_key",
    "a_notification",
    "a_series",
    "a_session_change",
    "accepted",
    "an_alert",
    "reference_storage",
    "with_content",
]
