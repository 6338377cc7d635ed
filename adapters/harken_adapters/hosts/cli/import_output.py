"""Output of ``import`` and ``migrate``: what was understood, and what became of the rows."""

from __future__ import annotations

from textwrap import wrap
from typing import Final

from harken_adapters.charts.labels import amount
from harken_adapters.formats.importing.plan import Plan
from harken_adapters.formats.importing.profile import Profile
from harken_adapters.formats.importing.report import heading, sample_rows, understood_lines
from harken_adapters.formats.importing.tally import Tally
from harken_adapters.hosts.cli.output import out, say, table

#: The exit code if some rows were rejected, and others not.
SOME_REJECTED: Final = 3
_NARROWEST: Final = 30


def show_understood(profile: Profile, plan: Plan) -> None:
    """Print what was understood of a file, and a sample of its rows."""
    say(heading(profile), style="bold")
    lines = understood_lines(plan)
    width = max((len(name) for name, _ in lines), default=0)
    room = max(out.width - width - 4, _NARROWEST)
    if plan.is_export:
        say("  A Harken export: its entries are restored exactly")
    for name, text in lines:
        first, *rest = wrap(text, room, break_long_words=False, break_on_hyphens=False)
        say(f"  {name:<{width}}  {first}")
        for line in rest:
            say(f"  {'':<{width}}  {line}")
    for hint in plan.hints:
        say(f"  {hint}", style="yellow")
    out.print()
    if profile.sample and not plan.is_export:
        table(*sample_rows(profile, plan))


def show_remarks(tally: Tally) -> None:
    """Print why rows were rejected, and what else happened to rows."""
    show_reasons(tally)
    if tally.waived:
        rules = ", ".join(f"{rule} {count:,}" for rule, count in tally.waived.most_common())
        say(f"Rules for new feedback that were not applied: {rules}; --check-rules applies them")
    if tally.cut:
        say(f"The context of {amount(tally.cut, 'row')} was shortened to what can be stored", style="yellow")


def show_reasons(tally: Tally) -> None:
    """Print the most common reasons for rejected rows, each with an example."""
    if not (reasons := tally.common_reasons()):
        return
    most = f", the {len(reasons)} most common of {len(tally.reasons)}" if len(tally.reasons) > len(reasons) else ""
    say(f"Reasons for rejected rows{most}:")
    width = max(len(f"{one.count:,}") for one in reasons)
    for one in reasons:
        say(f"  {one.count:>{width},}  {one.example} ({one.place})", style="yellow")
