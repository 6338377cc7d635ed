"""The command ``relay``."""

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
from harken.domain.texts import amount
from harken_adapters.formats.delivery import channel_record
from harken_adapters.hosts.cli.channels import channel_line, warn_of_stranded
from harken_adapters.hosts.cli.options import CliContext, Json, WrongUsage, cli_context
from harken_adapters.hosts.cli.output import escape, in_one_line, print_json, say, time_text
from harken_adapters.hosts.cli.routes import route_as_json, route_line

#: The loggers of the log channel, and of erasures after the retention.
_SHOWN: Final = ("harken.notifications", "harken.retention")
_A_DAY: Final = 24 * 60 * 60


def relay(
    context: typer.Context,
    concurrency: Annotated[int, typer.Option(help="Maximum number of simultaneous deliveries per channel.")] = 4,
    once: Annotated[bool, typer.Option("--once", help="Send what is due now, one by one, then exit.")] = False,
    as_json: Json = False,
) -> None:
    """Send notifications to the channels until interrupted.

    Several relays can share a storage. Failures and the log channel are written to stderr.
    """
    cli = cli_context(context)
    _check(cli)
    # What is due once is due in a storage that exists.
    opened = cli.open_existing() if once else cli.open()
    with _interrupt_on_sigterm(), _log_to_stderr(), opened as hk:
        warn_of_stranded(hk, cli)
        if once:
            _print_attempts(hk.relay.run_due(), as_json=as_json)
            return
        # An interruption is not an error. Closing waits for deliveries in progress.
        with suppress(KeyboardInterrupt):
            hk.start_relay(concurrency=concurrency)
            _print_start(hk, as_json=as_json)
            while True:
                sleep(_A_DAY)


def _check(cli: CliContext) -> None:
    settings = Settings.load(os.environ, Path.cwd(), storage=cli.storage, application=cli.application)
    if scheme_of(settings.storage) == "memory":
        raise WrongUsage("A relay cannot read the memory:// storage of another process; choose another storage")


def _print_attempts(attempted: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"attempted": attempted})
    else:
        say(f"{amount(attempted, 'delivery', 'deliveries')} attempted" if attempted else "No deliveries were due")


def _print_start(hk: Harken, *, as_json: bool) -> None:
    statuses = [status for status in hk.channels.statuses() if status.is_configured]
    routes = hk.routes.routes()
    if as_json:
        print_json(
            {
                "channels": list(map(channel_record, statuses)),
                "routes": [route_as_json(hk, route) for route in routes],
            }
        )
        return
    say("Relay started; press Ctrl-C to stop")
    for status in statuses:
        say(f"  channel  {channel_line(status.state)}")
    for route in routes:
        say(f"  route    {route_line(hk, route)}")


@contextmanager
def _interrupt_on_sigterm() -> Iterator[None]:
    """Handle SIGTERM like Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Lines(logging.Formatter):
    """One line per record, followed by the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """See :class:`logging.Formatter`."""
        moment = time_text(datetime.fromtimestamp(record.created, UTC))
        fields = getattr(record, "harken", {})
        details = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
        line = "  ".join(map(in_one_line, (moment, record.levelname.lower(), record.getMessage(), *details)))
        return f"{line}\n{escape(self.formatException(record.exc_info))}" if record.exc_info else line


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Write warnings of all loggers, notifications of the log channel and erasures by the relay to stderr."""
    root, shown, stderr = logging.getLogger(), [logging.getLogger(name) for name in _SHOWN], logging.StreamHandler()
    stderr.setFormatter(_Lines())
    before = [logger.level for logger in shown]
    root.addHandler(stderr)
    for logger in shown:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(shown, before, strict=True):
            logger.setLevel(level)
        root.removeHandler(stderr)
