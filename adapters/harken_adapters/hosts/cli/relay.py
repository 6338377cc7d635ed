"""``relay``: sends notifications, until it is interrupted."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import Annotated, Final

import typer

from harken import Harken
from harken.configuration.settings import Settings
from harken.configuration.storage_urls import scheme_of
from harken_adapters.hosts.cli.channels import channel_line, warn_of_stranded
from harken_adapters.hosts.cli.options import CliContext, Json, WrongUsage, cli_context
from harken_adapters.hosts.cli.output import counted, in_one_line, print_json, say, shown, time_text
from harken_adapters.hosts.cli.routes import route_as_json, route_line
from harken_adapters.hosts.http.wire.records import channel_record

#: What the log channel logs under, also below the level of a warning.
_NOTIFICATIONS: Final = "harken.notifications"
_A_DAY: Final = 24 * 60 * 60


def relay(
    context: typer.Context,
    concurrency: Annotated[int, typer.Option(help="How many deliveries to one channel may be under way.")] = 4,
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, one after the other, and end.")] = False,
    as_json: Json = False,
) -> None:
    """Send what happens to the channels that should know, until it is interrupted.

    Any number may run on a storage. What fails, and what the log channel says, goes to stderr.
    """
    cli = cli_context(context)
    _check(cli)
    with _ended_by_signal(), _logged(), cli.open() as hk:
        warn_of_stranded(hk, cli)
        if once:
            _tell_tried(hk.relay.run_due(), as_json=as_json)
            return
        # Ending on request is not an error. Closing finishes what is being sent.
        with suppress(KeyboardInterrupt):
            hk.start_relay(concurrency=concurrency)
            _tell_beginning(hk, as_json=as_json)
            while True:
                sleep(_A_DAY)


def _check(cli: CliContext) -> None:
    settings = Settings.load(os.environ, Path.cwd(), storage=cli.storage, application=cli.application)
    if scheme_of(settings.storage) == "memory":
        raise WrongUsage("what is in memory:// only its own process can relay; choose a storage that others write to")


def _tell_tried(tried: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"tried": tried})
    else:
        say(f"{counted(tried, 'delivery', 'deliveries')} tried" if tried else "Nothing was due")


def _tell_beginning(hk: Harken, *, as_json: bool) -> None:
    states, routes = hk.channels.states(), hk.routes.routes()
    if as_json:
        print_json(
            {
                "channels": list(map(channel_record, states)),
                "routes": [route_as_json(hk, route) for route in routes],
            }
        )
        return
    say("Harken passes on what happens, until it is interrupted")
    for state in states:
        say(f"  channel  {channel_line(state)}")
    for route in routes:
        say(f"  route    {route_line(hk, route)}")


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Lines(logging.Formatter):
    """A line for people with what is known, and a traceback below it."""

    def format(self, record: logging.LogRecord) -> str:
        """See :class:`logging.Formatter`."""
        moment = time_text(datetime.fromtimestamp(record.created, UTC))
        fields = getattr(record, "harken", {})
        details = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
        line = "  ".join(map(in_one_line, (moment, record.levelname.lower(), record.getMessage(), *details)))
        return f"{line}\n{shown(self.formatException(record.exc_info))}" if record.exc_info else line


@contextmanager
def _logged() -> Iterator[None]:
    """Show warnings meanwhile, from any logger, and all that the log channel says."""
    root, notifications, stderr = logging.getLogger(), logging.getLogger(_NOTIFICATIONS), logging.StreamHandler()
    stderr.setFormatter(_Lines())
    before = notifications.level
    root.addHandler(stderr)
    notifications.setLevel(logging.INFO)
    try:
        yield
    finally:
        notifications.setLevel(before)
        root.removeHandler(stderr)
