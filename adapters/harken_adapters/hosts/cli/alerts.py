"""``alerts``: what was raised, and what a rule would have raised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from harken import Alert, Harken
from harken.domain.alerts.alert import AlertRule, StreakRule, parse_rule
from harken_adapters.hosts.cli.feedback import Limit
from harken_adapters.hosts.cli.options import Filters, Json, WrongUsage, cli_context, filtered, text_or_none
from harken_adapters.hosts.cli.output import in_one_line, print_json, say, time_text
from harken_adapters.hosts.http.wire.records import alert_record

alerts = typer.Typer(no_args_is_help=True, help="See which alerts were raised, and try rules on old feedback.")

#: What a rule is called that only its options describe.
_TRIED = "tried"


@alerts.command("list")
def list_(
    context: typer.Context,
    *,
    open_: Annotated[bool, typer.Option("--open", help="Only open alerts.")] = False,
    rule: Annotated[str | None, typer.Option(metavar="NAME", help="Of this rule.")] = None,
    limit: Limit = 20,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Go on behind this alert.")] = None,
    as_json: Json = False,
) -> None:
    """List the alerts of the application, the last raised first."""
    of = text_or_none("--rule", rule)
    with cli_context(context).open() as hk:

        def page(limit: int, after: Alert | None) -> Sequence[Alert]:
            return hk.alerts.find(hk.application, limit=limit, after=after, open=open_ or None, rule=of)

        found = page(limit, None if after is None else hk.alerts.get(hk.application, after))
        more = len(found) == limit and bool(page(1, found[-1]))
    if as_json:
        print_json({"alerts": list(map(alert_record, found)), "next": found[-1].id if more else None})
        return
    _tell(found)
    if more:
        say(f"There is more: add --after {found[-1].id}", style="dim")
    if not found:
        say("No alert is open" if open_ else "There are no alerts")


@alerts.command()
def show(
    context: typer.Context,
    alert_id: Annotated[str, typer.Argument(metavar="ID", help="The alert's id.")],
    as_json: Json = False,
) -> None:
    """Show everything about one alert."""
    with cli_context(context).open() as hk:
        alert = hk.alerts.get(hk.application, alert_id)
    if as_json:
        print_json(alert_record(alert))
        return
    for name, value in _facts(alert):
        if value:
            say(f"{name:<12}  {in_one_line(value)}")


@filtered
def backtest(
    context: typer.Context,
    *,
    filters: Filters,
    length: Annotated[
        int | None, typer.Option(help="Try this rule in the place of those of the settings: so many downs in a row.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(metavar="session|agent|application", help="Likewise: for each of these.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell which alerts the streak rules would have raised on feedback that is there; nobody is told of them."""
    with cli_context(context).open() as hk:
        query, rules = filters.query(hk), _rules(hk, length, by)
        found = [alert for rule in rules for alert in hk.alerts.backtest(query, rule)]
    if as_json:
        print_json({"alerts": list(map(alert_record, found))})
        return
    _tell(found)
    if not found:
        say("No alert would have been raised")


alerts.command("backtest")(backtest)


def _rules(hk: Harken, length: int | None, by: str | None) -> list[StreakRule]:
    if length is not None or by is not None:
        table = {"name": _TRIED, "kind": "streak", "length": length, "by": by}
        return _streaks([parse_rule({name: value for name, value in table.items() if value is not None})])
    if found := _streaks(hk.alerts.rules):
        return found
    raise WrongUsage("the settings have no streak rule; say which to try, such as --length 3 --by agent")


def _streaks(rules: Sequence[AlertRule]) -> list[StreakRule]:
    return [rule for rule in rules if isinstance(rule, StreakRule)]


def _tell(found: Sequence[Alert]) -> None:
    """Alerts for people, each with its sentence below it."""
    for alert in found:
        state = "open" if alert.resolved_at is None else f"resolved {time_text(alert.resolved_at)}"
        say(f"{alert.id}  {in_one_line(alert.rule)}  raised {time_text(alert.raised_at)}  {state}")
        say(f"    {in_one_line(alert.message)}")


def _facts(alert: Alert) -> list[tuple[str, str]]:
    return [
        ("id", alert.id),
        ("application", alert.application),
        ("rule", alert.rule),
        ("kind", alert.kind.value),
        ("subject", str(alert.subject)),
        ("message", alert.message),
        *((name, f"{count:,}") for name, count in alert.figures.items()),
        ("began", time_text(alert.began_at)),
        ("raised", time_text(alert.raised_at)),
        ("resolved", time_text(alert.resolved_at)),
        ("feedback", ", ".join(alert.feedback_ids)),
    ]
