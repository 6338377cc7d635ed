"""The contract that every storage adapter is held to.

::

    from harken.testing import StorageContract

    class TestMyStorage(StorageContract):
        def open_storage(self):
            return my_package.open_storage("mine://...")    # a context manager that gives a fresh, empty storage

Run it with pytest. The state machines use the Hypothesis profile that is loaded: a thorough profile tests thoroughly.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from harken.testing.alert_contract import AlertContract
from harken.testing.comparison import ComparingMachine
from harken.testing.conversation_contract import ConversationContract
from harken.testing.conversation_machine import TalkingMachine
from harken.testing.erasure_contract import ErasureContract
from harken.testing.feedback_contract import KeepingContract
from harken.testing.feedback_machine import StorageMachine
from harken.testing.key_contract import KeyContract
from harken.testing.order_contract import OrderContract
from harken.testing.outbox_contract import OutboxContract
from harken.testing.outbox_machine import TellingMachine
from harken.testing.session_contract import SessionContract
from harken.testing.state_contract import DocumentContract
from harken.testing.statistics_contract import CountingContract
from harken.testing.tenant_contract import TenantContract


class StorageContract(
    KeepingContract,
    CountingContract,
    SessionContract,
    OutboxContract,
    OrderContract,
    ErasureContract,
    KeyContract,
    AlertContract,
    DocumentContract,
    ConversationContract,
    TenantContract,
):
    """Subclass it, say how to open a fresh storage, and let pytest run it."""

    def test_any_sequence_of_operations_gives_what_the_reference_model_gives(self) -> None:
        """Whatever is done in whatever order, answers, order and errors are those of the contract."""
        self._run(StorageMachine)

    def test_any_sequence_of_telling_gives_what_the_reference_model_gives(self) -> None:
        """However events are told, claims lost and deliveries replayed, answers are those of the contract."""
        self._run(TellingMachine)

    def test_any_sequence_of_talking_gives_what_the_reference_model_gives(self) -> None:
        """Whatever is said, replaced and forgotten, answers are those of the contract."""
        self._run(TalkingMachine, steps=15)

    def _run(self, machine: type[ComparingMachine], steps: int = 30) -> None:
        quiet = settings(deadline=None, suppress_health_check=list(HealthCheck), stateful_step_count=steps)
        ours = type(machine.__name__, (machine,), {"open_storage": staticmethod(self.open_storage)})
        run_state_machine_as_test(ours, settings=quiet)
