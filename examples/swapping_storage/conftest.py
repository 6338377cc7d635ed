"""A desk for each test, on whatever storage ``HARKEN_STORAGE`` names."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from support_desk import Desk, open_desk

from harken.ports.notifier import Notification, Notifier


class Inbox(Notifier):
    """Where the team is told; it looks at its own application only, as others may use the same storage."""

    def __init__(self, application: str) -> None:
        self.application = application
        self.words: list[str] = []

    def deliver(self, notification: Notification) -> None:
        """Keep what the customer said."""
        if notification.application == self.application and notification.feedback is not None:
            self.words.append(notification.feedback.comment)


@pytest.fixture
def inbox() -> Inbox:
    """Of an application that no other test has: so none sees what another one left, on any storage."""
    return Inbox(f"test-{uuid4().hex}")


@pytest.fixture
def desk(inbox: Inbox, harken_clock) -> Iterator[Desk]:
    """An empty desk, whose clock the test can move."""
    with open_desk(application=inbox.application, clock=harken_clock, channels={"team": inbox}) as opened:
        yield opened
