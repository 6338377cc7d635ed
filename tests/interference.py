"""Actions of another process between two commands to MongoDB."""

from collections.abc import Callable
from typing import Any

from pymongo.monitoring import CommandListener


class Interference(CommandListener):
    """Counts the commands sent to the server, and runs an action once after a command succeeded."""

    def __init__(self) -> None:
        self.sent = 0
        self._command = ""
        self._times = 0
        self._action: Callable[[], object] = lambda: None

    def after(self, command: str, action: Callable[[], object], *, times: int = 1) -> None:
        """Run ``action`` after the given number of these commands succeeded, before the last response is processed.

        An empty name matches any command.
        """
        self._command, self._action, self._times = command, action, times

    def started(self, event: Any) -> None:
        self.sent += 1

    def succeeded(self, event: Any) -> None:
        if self._times and self._command in ("", event.command_name):
            self._times -= 1
            if not self._times:
                self._action()

    def failed(self, event: Any) -> None:
        pass
