"""The commands ``alerts list``, ``alerts show`` and ``alerts backtest``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from harken import Alert, Harken
from harken.domain.alerts.rules import AlertRule, StreakRule
from harken.domain.alerts.tables import parse_rule
from harken.domain.texts import did_you_mean
from harken_adapters.formats.notification import alert_details, alert_record
from harken_adapters.hosts.cli.feedback import Limit
from harken_adapters.hosts.cli.options import (
    Filters,
    Json,
    WrongUsage,
    cli_context,
    completes,
    text_or_none,
    with_filters,
)
from harken_adapters.hosts.cli.output import in_one_line, print_json, say, say_facts, say_indented, time_text

alerts = typer.Typer(no_args_is_help=True, help="List alerts, and backtest alert rules on stored feedback.")

#: The name of the rule that --length and --by describe.
_BACKTESTED = "backtest"


@alerts.command("list")
def list_(
    context: typer.Context,
    *,
    open_: Annotated[bool | None, typer.Option("--open/--resolved", help="Only open, or only resolved alerts.")] = None,
    rule: Annotated[str | None, typer.Option(metavar="NAME", help="Only alerts of this rule.")] = None,
    limit: Limit = 20,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Continue after this alert.")] = None,
    as_json: Json = False,
) -> None:
    """List the alerts of the application, newest first."""
    of = text_or_none("--rule", rule)
    with cli_context(context).open_existing() as hk:

        def page(limit: int, after: Alert | None) -> Sequence[Alert]:
            return hk.alerts.find(hk.application, limit=limit, after=after, open=open_, rule=of)

        found = page(limit, None if after is None else hk.alerts.get(hk.application, after))
        more = len(found) == limit and bool(page(1, found[-1]))
        records = [alert_details(one, hk.alerts.selection(one)) for one in found]
    if as_json:
        print_json({"alerts": records, "next": found[-1].id if more else None})
        return
    _print(found)
    if more:
        say(f"More results: add --after {found[-1].id}", style="dim")
    if not found:
        say("No alerts" if open_ is None else f"No {'open' if open_ else 'resolved'} alerts")


@alerts.command()
def show(
    context: typer.Context,
    alert_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the alert.")],
    as_json: Json = False,
) -> None:
    """Show one alert in full."""
    with cli_context(context).open_existing() as hk:
        alert = hk.alerts.get(hk.application, alert_id)
        record = alert_details(alert, hk.alerts.selection(alert))
    if as_json:
        print_json(record)
        return
    for name, value in _facts(alert, record):
        if value:
            say(f"{name:<12}  {in_one_line(value)}")


@with_filters
def backtest(
    context: typer.Context,
    *,
    filters: Filters,
    length: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="Backtest one rule instead of those in the settings: this many thumbs-down ratings in a row.",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="session|agent|application",
            autocompletion=completes("session", "agent", "application"),
            help="The same rule: count per session, agent or application.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the alerts that streak rules would have raised.

    This is a dry run on stored feedback: no alert is stored and no notification is sent.
    """
    with cli_context(context).open_existing() as hk:
        query, rules = filters.query(hk), _rules(hk, length, by)
        found = [alert for rule in rules for alert in hk.alerts.backtest(query, rule)]
    if as_json:
        print_json({"alerts": list(map(alert_record, found))})
        return
    _print(found)
    if not found:
        say("No alerts would have been raised")


alerts.command("backtest")(backtest)


def _rules(hk: Harken, length: int | None, by: str | None) -> list[StreakRule]:
    if by is not None and by not in StreakRule.groups:
        similar = did_you_mean(by, StreakRule.groups)
        raise WrongUsage(f"--by must be session, agent or application, got {by!r}{similar}")
    if length is not None or by is not None:
        table = {"name": _BACKTESTED, "kind": "streak", "length": length, "by": by}
        return _streaks([parse_rule({name: value for name, value in table.items() if value is not None})])
    if found := _streaks(hk.alerts.rules):
        return found
    raise WrongUsage("No streak rule is configured; define one, for example with --length 3 --by agent")


def _streaks(rules: Sequence[AlertRule]) -> list[StreakRule]:
    return [rule for rule in rules if isinstance(rule, StreakRule)]


def _print(found: Sequence[Alert]) -> None:
    """Print two lines for each alert: its id and times, and its message."""
    for alert in found:
        state = "open" if alert.resolved_at is None else f"resolved {time_text(alert.resolved_at)}"
        say_facts(f"{alert.id}  {in_one_line(alert.rule)}  raised {time_text(alert.raised_at)}  {state}")
        say_indented(in_one_line(alert.message))


def _facts(alert: Alert, record: Mapping[str, Any]) -> list[tuple[str, str]]:
    interval, selection = record["interval"], record["selection"] or {}
    certain = f"{record['satisfaction']}% ({interval['low']} - {interval['high']}, 95% confidence)" if interval else ""
    return [
        ("id", alert.id),
        ("application", alert.application),
        ("rule", alert.rule),
        ("kind", alert.kind.value),
        ("subject", str(alert.subject)),
        ("message", alert.message),
        *((name, f"{count:,}") for name, count in alert.figures.items()),
        ("satisfaction", certain),
        ("selection", " ".join(f"{name}={value}" for name, value in selection.items())),
        ("began", time_text(alert.began_at)),
        ("raised", time_text(alert.raised_at)),
        ("resolved", time_text(alert.resolved_at)),
        ("feedback", ", ".join(alert.feedback_ids)),
    ]
