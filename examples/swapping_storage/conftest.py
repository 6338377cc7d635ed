"""A desk for each test, on the storage that ``HARKEN_STORAGE`` names."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from support_desk import Desk, open_desk

from harken import Notification, Notifier


class Inbox(Notifier):
    """Collects the team's notifications, of its own application only: others may use the same storage."""

    def __init__(self, application: str) -> None:
        self.application = application
        self.comments: list[str] = []

    def deliver(self, notification: Notification) -> None:
        """Store the customer's comment."""
        if notification.application == self.application and notification.feedback is not None:
            self.comments.append(notification.feedback.comment)


@pytest.fixture
def inbox() -> Inbox:
    """The inbox of an application that no other test uses, so that tests do not see each other's data."""
    return Inbox(f"test-{uuid4().hex}")


@pytest.fixture
def desk(inbox: Inbox, harken_clock) -> Iterator[Desk]:
    """An empty desk; ``harken_clock`` is its clock."""
    with open_desk(application=inbox.application, clock=harken_clock, channels={"team": inbox}) as opened:
        yield opened
