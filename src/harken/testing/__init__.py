"""The contract kit: with it, anyone proves that a storage adapter keeps what the ports promise.

Needs the extra ``testing``. See :class:`StorageContract` for how to run it.
"""

from importlib.util import find_spec

from harken.domain.errors import MissingExtra

if find_spec("hypothesis") is None:
    raise MissingExtra("The contract kit needs the package 'hypothesis'; try pip install \"harken[testing]\"")

from harken.testing.builders import NOON, a_feedback, a_key, a_series, accepted, an_alert
from harken.testing.contract import StorageContract
from harken.testing.faults import Faults
from harken.testing.machine import StorageMachine
from harken.testing.model import reference_storage
from harken.testing.notifying import NotifierContract, a_notification
from harken.testing.talking import TalkingMachine
from harken.testing.telling import TellingMachine

__all__ = [
    "NOON",
    "Faults",
    "NotifierContract",
    "StorageContract",
    "StorageMachine",
    "TalkingMachine",
    "TellingMachine",
    "a_feedback",
    "a_key",
    "a_notification",
    "a_series",
    "accepted",
    "an_alert",
    "reference_storage",
]
