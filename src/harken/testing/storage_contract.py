"""Contract tests for storage adapters.

::

    from harken.testing import StorageContract

    class TestMyStorage(StorageContract):
        def open_storage(self):
            return my_package.open_storage("mine://...")    # a context manager that opens an empty storage

Run it with pytest. The number of examples of the state machines follows from the active Hypothesis profile.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from harken.testing.alert_contract import AlertContract
from harken.testing.comparison import ComparingMachine
from harken.testing.conversation_contract import ConversationContract
from harken.testing.conversation_machine import ConversationMachine
from harken.testing.delivery_contract import DeliveryContract
from harken.testing.erasure_contract import ErasureContract
from harken.testing.feedback_contract import FeedbackContract
from harken.testing.feedback_machine import FeedbackMachine
from harken.testing.key_contract import KeyContract
from harken.testing.order_contract import OrderContract
from harken.testing.outbox_contract import OutboxContract
from harken.testing.outbox_machine import OutboxMachine
from harken.testing.session_contract import SessionContract
from harken.testing.state_contract import StateContract
from harken.testing.statistics_contract import StatisticsContract
from harken.testing.tenant_contract import TenantContract


class StorageContract(
    FeedbackContract,
    StatisticsContract,
    SessionContract,
    OutboxContract,
    DeliveryContract,
    OrderContract,
    ErasureContract,
    KeyContract,
    AlertContract,
    StateContract,
    ConversationContract,
    TenantContract,
):
    """Base class: implement :meth:`open_storage`, and run the class with pytest."""

    def test_any_sequence_of_operations_gives_what_the_reference_model_gives(self) -> None:
        """Any sequence of operations has the results, order and errors of the reference model."""
        self._run(FeedbackMachine)

    def test_any_sequence_of_deliveries_gives_what_the_reference_model_gives(self) -> None:
        """Any sequence of fan-outs, claims, lost leases and replays has the results of the reference model."""
        self._run(OutboxMachine)

    def test_any_sequence_of_conversations_gives_what_the_reference_model_gives(self) -> None:
        """Any sequence of appended, replaced and erased messages has the results of the reference model."""
        self._run(ConversationMachine, steps=15)

    def _run(self, machine: type[ComparingMachine], steps: int = 30) -> None:
        quiet = settings(deadline=None, suppress_health_check=list(HealthCheck), stateful_step_count=steps)
        ours = type(machine.__name__, (machine,), {"open_storage": staticmethod(self.open_storage)})
        run_state_machine_as_test(ours, settings=quiet)
