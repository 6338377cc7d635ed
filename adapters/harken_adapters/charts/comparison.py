"""Comparison of groups: the satisfaction and interval of each, and the result in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import comb
from typing import Final

from attrs import evolve, field, frozen

from harken.domain.insight.best_groups import ENOUGH_THUMBS, BestGroups, Pair, best_groups
from harken.domain.insight.comparison import Comparison, Estimate, Verdict
from harken.domain.insight.ranking import Ranking
from harken.domain.query import GroupKey
from harken.domain.summary import Interval, Summary
from harken.domain.texts import amount
from harken_adapters.charts.axis import scale_top
from harken_adapters.charts.chart import Chart, empty_chart
from harken_adapters.charts.labels import DASH, UNCLEAR, interval_text, isolated, satisfaction_text
from harken_adapters.charts.svg import Element, element, line, percent, title
from harken_adapters.charts.table import Column, build_table
from harken_adapters.charts.themes import shorten

_HEAD: Final = 20
_ROW: Final = 46
_MARK: Final = 20
_LETTERS: Final = 24


@frozen(kw_only=True)
class Group:
    """One of several groups: an agent, a version, a segment; or one side of a comparison.

    Attributes:
        name: its name.
        estimate: its statistics.
        others: the comparison of all other groups with this one, if known.
        change: the comparison of the previous period with this one, if known. It is shown instead of ``others``.
        link: what its name links to in the table, if anything.
    """

    name: str
    estimate: Estimate
    others: Comparison | None = None
    change: Comparison | None = None
    link: str | None = None

    @property
    def summary(self) -> Summary:
        """Its statistics."""
        return self.estimate.summary

    @property
    def interval(self) -> Interval:
        """The 95% interval of satisfaction, in percent, from effective counts."""
        return self.estimate.interval

    @property
    def has_enough(self) -> bool:
        """Whether it has enough thumbs to be compared."""
        return self.summary.decided >= ENOUGH_THUMBS


@frozen(kw_only=True)
class View:
    """What a chart of groups shows.

    Attributes:
        title: the title of the chart.
        groups: in the order of rows.
        total: the statistics of all feedback, for the dashed line; without thumbs there is no line.
        by: the kind of group.
        marks: the heading of the last column.
        sentence: the result.
        foot: the method.
        top: the upper end of the axis in percent.
    """

    title: str
    groups: Sequence[Group]
    total: Summary
    by: str
    marks: str
    sentence: str
    foot: str
    top: int = field(init=False)

    @top.default
    def _choose_top(self) -> int:
        return axis_top(self.groups, self.total)

    @property
    def has_thumbs(self) -> bool:
        """Whether there is anything to draw."""
        return any(group.summary.decided for group in self.groups)

    def x(self, value: float) -> str:
        """The horizontal position of a percentage."""
        return percent(min(value, self.top) / self.top)


def comparison_chart(
    compared: Mapping[GroupKey, Comparison],
    *,
    by: str = "group",
    changes: Mapping[GroupKey, Comparison] | None = None,
) -> Chart:
    """Dots with whiskers on a shared axis from 0, best first; groups with less than 20 thumbs are last.

    Args:
        compared: from :meth:`harken.Harken.compare_groups`.
        by: the kind of group as a noun, such as ``agent``.
        changes: the comparison of the previous period with this one, by group; shown in the last column instead of the
            comparison with the other groups.
    """
    return _build_chart(view_groups(compared, by=by, changes=changes))


def ranking_chart(
    ranking: Ranking[GroupKey], *, by: str = "group", link: Callable[[GroupKey], str | None] = lambda _: None
) -> Chart:
    """The same for a ranking, with the changes since the previous period.

    Args:
        ranking: from :meth:`harken.Harken.ranking`.
        by: the kind of group as a noun, such as ``agent``.
        link: what a group links to in the table; ``None`` for nothing.
    """
    return _build_chart(view_ranking(ranking, by=by, link=link))


def view_ranking(
    ranking: Ranking[GroupKey], *, by: str, link: Callable[[GroupKey], str | None] = lambda _: None
) -> View:
    """The view of :func:`ranking_chart`."""
    total, marks = ranking.total.summary, "Change"
    linked = zip(_ranked_groups(ranking), ranking.groups, strict=True)
    return View(
        title=f"Satisfaction by {by}",
        groups=[evolve(group, link=link(one.key)) for group, one in linked],
        total=total,
        by=by,
        marks=marks,
        sentence=ranking_sentence(ranking, by),
        foot=_describe_method(_places(ranking), total, marks),
    )


def ranking_sentence(ranking: Ranking[GroupKey], by: str) -> str:
    """Which groups differ, such as ``Delta is better than United by 12 to 24 points.``."""
    noun = by.removeprefix("context.")
    if not ranking.total.summary.decided:
        return f"No {noun} has thumbs in this period."
    return _describe_best(_ranked_groups(ranking), _places(ranking), noun)


def _ranked_groups(ranking: Ranking[GroupKey]) -> list[Group]:
    return [
        Group(name="(none)" if one.key is None else str(one.key), estimate=one.estimate, change=one.change)
        for one in ranking.groups
    ]


def _places(ranking: Ranking[GroupKey]) -> BestGroups[int]:
    """The comparison of the groups by their places in the ranking."""
    return best_groups({place: one.estimate for place, one in enumerate(ranking.groups)})


def change_chart(comparison: Comparison) -> Chart:
    """The same for two selections, the first above the second.

    Args:
        comparison: from :meth:`harken.Harken.compare` or :meth:`harken.Harken.compare_to_previous`.
    """
    return _build_chart(view_change(comparison))


def view_groups(
    compared: Mapping[GroupKey, Comparison],
    *,
    by: str,
    changes: Mapping[GroupKey, Comparison] | None = None,
) -> View:
    """The view of :func:`comparison_chart`."""
    groups = sort_groups(
        [
            Group(
                name="(none)" if key is None else str(key),
                estimate=Estimate(one.after, one.after_effect),
                others=one if changes is None else None,
                change=None if changes is None else changes.get(key),
            )
            for key, one in compared.items()
        ]
    )
    total = next((one.before + one.after for one in compared.values()), Summary())
    marks = "Others" if changes is None else "Change"
    best = best_groups({place: group.estimate for place, group in enumerate(groups)})
    return View(
        title=f"Satisfaction by {by}",
        groups=groups,
        total=total,
        by=by,
        marks=marks,
        sentence=_describe_best(groups, best, by) if total.decided else f"No {by} has thumbs in this period.",
        foot=_describe_method(best, total, marks),
    )


def view_change(comparison: Comparison) -> View:
    """The view of :func:`change_chart`."""
    before = Estimate(comparison.before, comparison.before_effect)
    after = Estimate(comparison.after, comparison.after_effect)
    return View(
        title="Satisfaction before and after",
        groups=[Group(name="before", estimate=before), Group(name="after", estimate=after, others=comparison)],
        total=Summary(),
        by="selection",
        marks="Change",
        sentence=_describe_change(comparison),
        foot="Whiskers: 95% confidence.",
    )


def _describe_change(comparison: Comparison) -> str:
    verdict, sentence = comparison.verdict, comparison.sentence
    if verdict is Verdict.UNDECIDED:
        return f"{sentence.capitalize()}."
    return f"After is {verdict.value} than before{sentence.removeprefix(verdict.value)}."


def _build_chart(view: View) -> Chart:
    if not view.has_thumbs:
        return empty_chart(view.title, view.sentence)
    return Chart(
        title=view.title,
        description=view.sentence,
        table=str(_build_table(view)),
        foot=view.foot,
        height=_HEAD + _ROW * len(view.groups),
        content=(*_label_axis(view), *(part for place in range(len(view.groups)) for part in _draw_row(view, place))),
    )


def sort_groups(groups: Sequence[Group]) -> list[Group]:
    """Groups by descending satisfaction, then those with less than 20 thumbs by descending thumbs."""
    return sorted(groups, key=_rank)


def _rank(group: Group) -> tuple[bool, float, int, str]:
    satisfaction = group.summary.satisfaction if group.has_enough else 0.0
    return not group.has_enough, -satisfaction, -group.summary.decided, group.name


def _describe_best(groups: Sequence[Group], found: BestGroups[int], by: str) -> str:
    """The comparison of the two best groups.

    If these two are too close to tell, the pair with the strongest evidence of a difference is named first, if there is
    one.
    """
    if not found.compared:
        return f"No {by} has {ENOUGH_THUMBS} thumbs yet."
    if found.best is None:
        only = isolated(groups[found.compared[0]].name)
        return f"Only {only} has {ENOUGH_THUMBS} thumbs, so there is nothing to compare it with."
    pairs = [pair for pair in (found.clearest, found.best) if pair]
    sentence = "; ".join(_describe_pair(groups, pair) for pair in pairs)
    largest = f"Of the {amount(len(found.compared), by)} with the most thumbs: " if found.left_out else ""
    return f"{largest}{sentence}."


def _describe_pair(groups: Sequence[Group], pair: Pair[int]) -> str:
    better, other = (isolated(groups[place].name) for place in (pair.better, pair.other))
    comparison = pair.comparison
    if comparison.verdict is Verdict.UNDECIDED:
        return f"{better} and {other} are {comparison.sentence}"
    verdict = comparison.verdict.value
    return f"{better} is {verdict} than {other}{comparison.sentence.removeprefix(verdict)}"


def _describe_method(found: BestGroups[int], total: Summary, marks: str) -> str:
    """The explanation of the dashed line, of the last column and of the confidence of intervals and sentence."""
    pairs = comb(len(found.compared), 2)
    corrected = f", the sentence corrected for {amount(pairs, 'comparison')}" if pairs > 1 else ""
    others = " ▲▼ each against all others together, in points." if marks == "Others" else ""
    return f"Dashed line: all, {satisfaction_text(total)}. 95% confidence{corrected}.{others}"


def mark_text(group: Group) -> str:
    """The difference in points if it is more than chance, else ``no clear change``; ``new``; or a dash."""
    comparison = group.change or group.others
    if comparison is None:
        return DASH
    if comparison.before.decided < ENOUGH_THUMBS:
        return "new" if group.change else DASH
    if comparison.verdict is Verdict.UNDECIDED:
        return UNCLEAR
    arrow = "▲" if comparison.verdict is Verdict.BETTER else "▼"
    return f"{arrow} {abs(comparison.satisfaction_change):.1f}"


def axis_top(groups: Sequence[Group], total: Summary) -> int:
    """The upper end of the axis in percent. Groups with less than 20 thumbs count only if there are no others."""
    sure = [group for group in groups if group.has_enough] or groups
    return scale_top([total.satisfaction, *(group.interval.high for group in sure if group.summary.decided)])


def _label_axis(view: View) -> Iterator[Element]:
    yield element("text", "0", x="0", y=12)
    yield element("text", f"{view.top / 2:g}", class_="only-l", x="50%", y=12, text_anchor="middle")
    yield element("text", f"{view.top}%", x="100%", y=12, text_anchor="end")


def _draw_row(view: View, place: int) -> Iterator[Element]:
    group, top = view.groups[place], _HEAD + place * _ROW
    thumbs = amount(group.summary.decided, "thumb")
    name = element("tspan", isolated(shorten(group.name, _LETTERS)), class_="name")
    yield element("text", name, f"  {thumbs}", title(_describe_group(group)), x="0", y=top + 16)
    change = list(_draw_change(group))
    value = element("tspan", satisfaction_text(group.summary), class_="val", dx=8 if change else None)
    yield element("text", *change, value, x="100%", y=top + 16, text_anchor="end")
    yield element("svg", *_draw_marks(view, group), y=top + 20, width="100%", height=_MARK, overflow="visible")


def _draw_change(group: Group) -> Iterator[Element]:
    text = mark_text(group)
    if text not in {DASH, UNCLEAR}:
        yield element("tspan", text, class_={"▲": "mkb rise", "▼": "mkb"}.get(text[0]))


def _draw_marks(view: View, group: Group) -> Iterator[Element]:
    """The dashed line, the whisker and the dot of a group, 20 pixels high."""
    middle, summary = _MARK / 2, group.summary
    if view.total.decided:
        average = view.x(view.total.satisfaction)
        yield line("avg", (average, average), (0, _MARK))
    if not summary.decided:
        return
    interval = group.interval
    whisker = "whisk a" if group.has_enough else "whisk"
    yield line(whisker, (view.x(interval.low), view.x(interval.high)), (middle, middle))
    dot = "fa" if group.has_enough else "pt few"
    yield element(
        "circle", title(_describe_group(group)), class_=dot, cx=view.x(summary.satisfaction), cy=middle, r=4.5
    )


def _describe_group(group: Group) -> str:
    interval = interval_text(group.interval, group.summary.decided)
    thumbs = amount(group.summary.decided, "thumb")
    return f"{isolated(group.name)}: {satisfaction_text(group.summary)} of {thumbs} ({interval})"


def _build_table(view: View) -> Element:
    """The table, with the marks of each group, which are hidden from screen readers."""
    columns = [
        Column(view.by.capitalize()),
        Column(_build_axis_heading(view), is_picture=True),
        Column("Satisf.", is_number=True),
        Column(view.marks, is_number=True),
    ]
    return build_table(
        view.title,
        columns,
        (_build_table_row(view, group) for group in view.groups),
        css_class="agents",
    )


def _build_axis_heading(view: View) -> Element:
    labels = element("svg", *_label_axis(view), class_="p ax", width="100%", height=16, aria_hidden="true")
    return element("div", labels, _hide_visually("Interval"))


def _build_table_row(view: View, group: Group) -> list[Element | str]:
    summary = group.summary
    marks = element(
        "svg", *_draw_marks(view, group), class_="p", width="100%", height=_MARK, overflow="visible", aria_hidden="true"
    )
    interval = interval_text(group.interval, summary.decided)
    name = element("a", group.name, href=group.link) if group.link else group.name
    return [
        element("div", name, element("div", f"{summary.decided:,}", _hide_visually(" thumbs"), class_="sub")),
        marks,
        element("div", element("b", satisfaction_text(summary)), element("div", interval, class_="sub")),
        _build_change(group),
    ]


def _build_change(group: Group) -> Element:
    text = mark_text(group)
    if text.startswith(("▲", "▼")):
        return element("span", text, class_=f"chg {'up' if text.startswith('▲') else 'down'}")
    if text == UNCLEAR:
        return element(
            "span", element("span", "≈", aria_hidden="true"), _hide_visually(text), class_="muted", title=text
        )
    if group.change is not None and text == "new":
        hint = f"{amount(group.change.before.decided, 'thumb')} before: too few to compare"
        return element("span", text, class_="muted", title=hint)
    return element("span", text, class_="muted")


def _hide_visually(text: str) -> Element:
    """Text for screen readers only."""
    return element("span", text, class_="vh")
