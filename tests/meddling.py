"""Doing something in between two commands to a MongoDB, as another process may."""

from collections.abc import Callable
from typing import Any

from pymongo.monitoring import CommandListener


class Meddling(CommandListener):
    """Counts what is sent to the server, and does something in between, once, when a command has succeeded."""

    def __init__(self) -> None:
        self.sent = 0
        self._command = ""
        self._times = 0
        self._meddle: Callable[[], object] = lambda: None

    def after(self, command: str, meddle: Callable[[], object], *, times: int = 1) -> None:
        """Do that when the next such command, or the one so many later, has succeeded, before its answer is looked at.

        Any command will do if it is named ``""``.
        """
        self._command, self._meddle, self._times = command, meddle, times

    def started(self, event: Any) -> None:
        self.sent += 1

    def succeeded(self, event: Any) -> None:
        if self._times and self._command in ("", event.command_name):
            self._times -= 1
            if not self._times:
                self._meddle()

    def failed(self, event: Any) -> None:
        pass
