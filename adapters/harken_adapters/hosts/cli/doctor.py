"""``doctor``: is everything as it should be?"""

from __future__ import annotations

import os
import platform
import re
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from pathlib import Path
from typing import Any, Final

import typer
from attrs import evolve

from harken import Harken, HarkenError, ModerationStatus
from harken.clock import utc_now
from harken.configuration.notifications import NotificationSettings
from harken.configuration.settings import Settings
from harken.configuration.storage_urls import ENTRY_POINTS
from harken.domain.alerts.alert import QueueRule, Subject
from harken.domain.instants import format_duration
from harken.domain.moderation import Backlog
from harken.services.notifications.channels import ChannelState
from harken_adapters.hosts.cli.channels import how_it_fares, stranded_line
from harken_adapters.hosts.cli.options import CliContext, Json, cli_context
from harken_adapters.hosts.cli.output import in_one_line, print_json, say, table
from harken_adapters.hosts.http.wire.records import channel_record

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+).*;.*extra == [\"'](?P<extra>[\w-]+)[\"']")
_PASSWORD = re.compile(r"(?<=:)[^:@/]+(?=@)")
#: How many deliveries are read at a time.
_PAGE: Final = 1_000


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check the installation, the storage, the figures and the channels; exits with 1 where something is wrong."""
    report = _report(cli_context(context))
    if as_json:
        print_json(report)
    else:
        _show(report)
    if report["problems"]:
        raise typer.Exit(1)


def _report(cli: CliContext) -> dict[str, Any]:
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "harken": version("harken"),
        "sqlite": sqlite3.sqlite_version,
        "extras": _extras(),
        "schemes": sorted(entry_points(group=ENTRY_POINTS).names),
        "storage": None,
        "counts": None,
        "moderation": None,
        "channels": None,
        "dead_letters": None,
        "stranded": None,
        "problems": [],
    }
    try:
        settings = Settings.load(os.environ, Path.cwd(), storage=cli.storage, application=cli.application)
        report["storage"] = _PASSWORD.sub("***", settings.storage)
        with cli.open() as hk:
            report["counts"] = _counts(hk)
            report["problems"] += hk.check()
            now, queues = utc_now(), _queues(hk, cli.application)
            report["moderation"] = {name: _queue_record(queue, now) for name, queue in queues.items()}
            report["problems"] += _overdue(hk, queues, now)
            states = hk.channels.states()
            report["channels"] = list(map(channel_record, states))
            report["dead_letters"] = dead = _dead_letters(hk, cli.application)
            report["stranded"] = stranded = hk.deliveries.stranded()
        troubles = (_trouble(state, cli.command) for state in states)
        report["problems"] += [*filter(None, troubles), *_lost(dead, cli.command)]
        report["problems"] += [stranded_line(*waiting, cli) for waiting in stranded.items()]
        with NotificationSettings.load(os.environ, Path.cwd()).channels.open():
            # All of them can be used as they are configured.
            pass
    except HarkenError as error:
        report["problems"].append(str(error))
    return report


def _dead_letters(hk: Harken, application: str | None) -> int:
    total = 0
    after: str | None = None
    while page := hk.deliveries.find(limit=_PAGE, after=after, application=application):
        total, after = total + len(page), page[-1].id
    return total


def _queues(hk: Harken, application: str | None) -> dict[str, Backlog]:
    """What awaits moderation, by application, the oldest first; of all applications, unless one was cli."""
    names = hk.moderation.applications() if application is None else [application]
    queues = {name: hk.moderation.backlog(name) for name in names}
    waiting = {name: queue for name, queue in queues.items() if queue.waiting}
    return dict(sorted(waiting.items(), key=lambda item: (item[1].since is None, item[1].since, item[0])))


def _queue_record(queue: Backlog, now: datetime) -> dict[str, int]:
    return {"waiting": queue.waiting, "oldest_seconds": queue.age(now) // timedelta(seconds=1)}


def _overdue(hk: Harken, queues: Mapping[str, Backlog], now: datetime) -> Iterator[str]:
    """The queues that are too long or too old by a rule of the settings: how many are too many is for people to say."""
    for name, queue in queues.items():
        for rule in hk.alerts.rules:
            if isinstance(rule, QueueRule) and rule.application in (None, name):
                finding = rule.finding(Subject("application", name), queue, now)
                if finding:
                    yield in_one_line(f"{finding.message} (alert rule {rule.name})")


def _trouble(state: ChannelState, command: str) -> str | None:
    if not state.on:
        return f"Channel {state.name} is {how_it_fares(state)}; switch it on with: {command} channels on {state.name}"
    return f"Channel {state.name} is {how_it_fares(state)}" if state.failing_since else None


def _lost(dead: int, command: str) -> list[str]:
    """What there is to say of deliveries that are dead."""
    if not dead:
        return []
    subject = "1 delivery is" if dead == 1 else f"{dead:,} deliveries are"
    return [
        f"{subject} dead; to see why: {command} deliveries list; to send all again: {command} deliveries replay --all"
    ]


def _extras() -> dict[str, bool]:
    """By extra, whether all that it needs is installed."""
    found: dict[str, bool] = {}
    for requirement in requires("harken") or ():
        # The extra that is all others together says nothing of its own.
        if (match := _REQUIREMENT.match(requirement)) and match["extra"] != "all":
            found[match["extra"]] = found.get(match["extra"], True) and _installed(match["name"])
    return found


def _installed(package: str) -> bool:
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
    extras = ", ".join(f"{name} {'installed' if there else 'missing'}" for name, there in report["extras"].items())
    counts = ", ".join(f"{total:,} {status}" for status, total in (report["counts"] or {}).items())
    moderation = ", ".join(
        f"{in_one_line(name)}: {queue['waiting']:,} waiting, the oldest for "
        f"{format_duration(timedelta(seconds=queue['oldest_seconds']))}"
        for name, queue in (report["moderation"] or {}).items()
    )
    rows = [
        ("Python", report["python"]),
        ("Harken", report["harken"]),
        ("SQLite", report["sqlite"]),
        ("extras", extras),
        ("storages", ", ".join(report["schemes"])),
        ("storage", report["storage"]),
        ("feedback", counts),
        ("moderation", moderation or "nothing waits"),
        ("channels", ", ".join(one["name"] for one in report["channels"] or ())),
        ("dead letters", report["dead_letters"]),
    ]
    table(("what", "found"), rows)
    for problem in report["problems"]:
        say(f"Problem: {problem}", style="red")
    if not report["problems"]:
        say("Everything is as it should be", style="green")
