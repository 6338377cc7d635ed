"""The command ``doctor``: checks the installation, the storage and the channels."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Final

import typer
from attrs import evolve

from harken import Harken, HarkenError, MissingExtra, ModerationStatus
from harken.clock import utc_now
from harken.configuration.settings import Settings
from harken.configuration.storage_urls import scheme_of, supported_schemes
from harken.domain.alerts.patterns import Subject
from harken.domain.alerts.rules import QueueRule
from harken.domain.instants import format_duration
from harken.domain.moderation import Backlog
from harken.domain.texts import amount, without_password
from harken.services.notifications.channels import ChannelState
from harken_adapters.formats.delivery import channel_record
from harken_adapters.hosts.cli.channels import channels_problem, status_text, stranded_line
from harken_adapters.hosts.cli.exit_codes import FAILED
from harken_adapters.hosts.cli.options import CliContext, Json, cli_context
from harken_adapters.hosts.cli.output import in_one_line, print_json, say, table
from harken_adapters.hosts.cli.serve import check_server_settings

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+).*;.*extra == [\"'](?P<extra>[\w-]+)[\"']")
#: The number of deliveries that are read at a time.
_PAGE: Final = 1_000


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check the installation, storage, statistics and channels.

    Exits with code 1 if there are problems.
    """
    report = _report(cli_context(context))
    if as_json:
        print_json(report)
    else:
        _show(report)
    if report["problems"]:
        raise typer.Exit(FAILED)


def _report(cli: CliContext) -> dict[str, Any]:
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "harken": version("harken"),
        "sqlite": sqlite3.sqlite_version,
        "extras": (extras := _extras()),
        "schemes": [name for name in supported_schemes() if extras.get(name.partition("+")[0], True)],
        "storage": None,
        "counts": None,
        "moderation": None,
        "channels": None,
        "dead_letters": None,
        "stranded": None,
        "retention": None,
        "server": "not checked",
        "problems": [],
    }
    try:
        settings = Settings.load(os.environ, Path.cwd(), storage=cli.storage, application=cli.application)
        report["storage"] = _shown_url(settings.storage)
        with cli.open_existing() as hk:
            report["counts"] = _counts(hk)
            report["problems"] += hk.check()
            now, queues = utc_now(), _queues(hk, cli.application)
            report["moderation"] = {name: _queue_record(queue, now) for name, queue in queues.items()}
            report["problems"] += _overdue(hk, queues, now)
            report["retention"] = str(hk.retention.settings)
            report["problems"] += _overdue_erasures(hk, cli)
            statuses = hk.channels.statuses(cli.application)
            report["channels"] = list(map(channel_record, statuses))
            report["dead_letters"] = dead = sum(status.dead for status in statuses)
            report["stranded"] = stranded = hk.deliveries.stranded()
        problems = (_channel_problem(status.state, cli.command) for status in statuses)
        report["problems"] += [*filter(None, problems), *_dead_letter_problems(dead, cli.command)]
        report["problems"] += [stranded_line(*waiting, cli) for waiting in stranded.items()]
    except HarkenError as error:
        report["problems"].append(str(error))
    # Checked even without a storage. Connecting may have reported the same problem.
    found = [channels_problem()]
    # Without the packages of a server, its settings cannot be checked.
    with suppress(MissingExtra):
        found.append(problem := check_server_settings())
        report["server"] = "invalid" if problem else "valid"
    report["problems"] += [problem for problem in found if problem and problem not in report["problems"]]
    return report


def _shown_url(url: str) -> str:
    """The URL without its password. That of a file has none, but its path may contain ``@``."""
    return url if scheme_of(url) == "sqlite" else without_password(url)


def _queues(hk: Harken, application: str | None) -> dict[str, Backlog]:
    """The moderation queues that are not empty, by application, oldest first. ``None`` means all applications."""
    names = hk.moderation.applications() if application is None else [application]
    queues = {name: hk.moderation.backlog(name) for name in names}
    waiting = {name: queue for name, queue in queues.items() if queue.waiting}
    return dict(sorted(waiting.items(), key=lambda item: (item[1].since is None, item[1].since, item[0])))


def _queue_record(queue: Backlog, now: datetime) -> dict[str, int]:
    return {"waiting": queue.waiting, "oldest_seconds": queue.age(now) // timedelta(seconds=1)}


def _overdue(hk: Harken, queues: Mapping[str, Backlog], now: datetime) -> Iterator[str]:
    """A message for each queue that exceeds the limits of an alert rule in the settings."""
    for name, queue in queues.items():
        for rule in hk.alerts.rules:
            if isinstance(rule, QueueRule) and rule.application in (None, name):
                finding = rule.finding(Subject("application", name), queue, now)
                if finding:
                    yield in_one_line(f"{finding.message} (alert rule {rule.name})")


def _overdue_erasures(hk: Harken, cli: CliContext) -> Iterator[str]:
    """A sentence for each application with feedback that a relay should have erased."""
    for name, number in hk.retention.overdue().items():
        if cli.application in (None, name):
            entries = amount(number, "entry", "entries")
            yield (
                f"{entries} of application {in_one_line(name)} should have been erased, as feedback is kept for "
                f"{format_duration(hk.retention.settings.kept_for(name) or timedelta())}; run a relay with these "
                f"settings: {cli.command_for_all} relay"
            )


def _channel_problem(state: ChannelState, command: str) -> str | None:
    if not state.on:
        return f"Channel {state.name} is {status_text(state)}; to switch it on, run: {command} channels on {state.name}"
    return f"Channel {state.name} is {status_text(state)}" if state.failing_since else None


def _dead_letter_problems(dead: int, command: str) -> list[str]:
    if not dead:
        return []
    subject = amount(dead, "delivery is", "deliveries are")
    listing, replaying = f"{command} deliveries list", f"{command} deliveries replay --all"
    return [f"{subject} dead; to see why, run: {listing}; to send all again, run: {replaying}"]


def _extras() -> dict[str, bool]:
    """By extra, whether all its packages are installed."""
    found: dict[str, bool] = {}
    for requirement in requires("harken") or ():
        # The extra "all" only combines the others.
        if (match := _REQUIREMENT.match(requirement)) and match["extra"] != "all":
            found[match["extra"]] = found.get(match["extra"], True) and _is_installed(match["name"])
    return found


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _counts(hk: Harken) -> dict[str, int]:
    query = hk.query()
    counts = {
        status.value: hk.analytics.summary(evolve(query, statuses=frozenset({status}))).total
        for status in ModerationStatus
    }
    return counts | {"withdrawn": hk.analytics.summary(evolve(query.in_any_state(), withdrawn=True)).total}


def _show(report: Mapping[str, Any]) -> None:
    extras = [
        (f"extra {name}", "installed" if installed else f'missing: pip install "harken[{name}]"')
        for name, installed in report["extras"].items()
    ]
    counts = ", ".join(f"{total:,} {status}" for status, total in (report["counts"] or {}).items())
    moderation = ", ".join(
        f"{in_one_line(name)}: {queue['waiting']:,} waiting, oldest for "
        f"{format_duration(timedelta(seconds=queue['oldest_seconds']))}"
        for name, queue in (report["moderation"] or {}).items()
    )
    unchecked = report["server"] == "not checked"
    rows = [
        ("Python", report["python"]),
        ("Harken", report["harken"]),
        ("SQLite", report["sqlite"]),
        *extras,
        ("storages", ", ".join(report["schemes"])),
        ("storage", report["storage"]),
        ("feedback", counts),
        ("moderation", moderation if report["moderation"] != {} else "queue is empty"),
        ("retention", report["retention"]),
        ("channels", ", ".join(one["name"] for one in report["channels"] or ())),
        ("dead letters", report["dead_letters"]),
        ("[server]", report["server"] + ('; to check it: pip install "harken[server]"' if unchecked else "")),
    ]
    table(("check", "result"), rows, full=True)
    for problem in report["problems"]:
        say(f"Problem: {problem}", style="red")
    if not report["problems"]:
        say("No problems found", style="green")
