"""Themes of real complaints, judged by the reasons that people gave to them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from math import log
from random import Random
from statistics import mean

from attrs import frozen
from tests.measurements.table import Row

from harken import Feedback, Rating
from harken.domain.insight.terms import TermCounts, words
from harken.domain.insight.themes import Theme, discover
from harken.stop_words import stop_words

BOUNDS = ("of 8, >= 6", "of 8, >= 5", ">= .35", ">= .19", "<= .05", "<= 0")
_REASONS = 8
#: What people call a complaint that has no reason they can name.
_NO_REASON = "Can't Tell"


@frozen
class Complaint:
    """A thumbs-down comment.

    Attributes:
        id: of the feedback.
        author: who wrote it.
        words: its words in order.
        reason: the reason that a person gave to it.
    """

    id: str
    author: str | None
    words: Sequence[str]
    reason: str


@frozen
class Judgement:
    """How well themes match the commonest reasons.

    Attributes:
        matched: reasons with a theme of enough precision and recall.
        strict: those of them with an F1 of .20 or more.
        mean_f1: the mean F1 over all reasons, each with its theme.
        nmi: the normalised mutual information of first themes and reasons.
        jaccard: the mean overlap between the comments of two themes.
        bad_labels: labels with a stop word or a handle.
    """

    matched: int
    strict: int
    mean_f1: float
    nmi: float
    jaccard: float
    bad_labels: int


def rows(feedback: Sequence[Feedback], reasons: Sequence[str], seeds: Sequence[int]) -> Iterator[Row]:
    """On the whole file, which has no spread, and on a random half of it for each seed."""
    everything = list(zip(feedback, reasons, strict=True))
    halves = [Random(seed).sample(everything, len(everything) // 2) for seed in seeds]
    for name, sets in (("airline themes", [everything]), ("airline themes of halves", halves)):
        found = [_judge(some) for some in sets]
        bounds = (
            ("of 8, >= 6", "of 8, >= 5", ">= .35", ">= .19", "<= .05", "<= 0") if sets == [everything] else ("",) * 6
        )
        yield Row(f"{name}: matched", [one.matched for one in found], bounds[0])
        yield Row(f"{name}: with F1 >= .20", [one.strict for one in found], bounds[1])
        yield Row(f"{name}: mean F1", [one.mean_f1 for one in found], bounds[2])
        yield Row(f"{name}: NMI", [one.nmi for one in found], bounds[3])
        yield Row(f"{name}: mean Jaccard between themes", [one.jaccard for one in found], bounds[4])
        yield Row(f"{name}: labels with a stop word or handle", [one.bad_labels for one in found], bounds[5])


def labels(feedback: Sequence[Feedback], reasons: Sequence[str]) -> Iterator[str]:
    """A line for each theme of the whole file."""
    themes, _ = _discover(list(zip(feedback, reasons, strict=True)))
    for theme in themes:
        yield f"{theme.count:>5} {theme.share:5.1%}  {theme.label:<28} {', '.join(theme.words[:8])}"


def _discover(entries: Sequence[tuple[Feedback, str]]) -> tuple[list[Theme], list[Complaint]]:
    counts = TermCounts.fold(one for one, _ in entries)
    complaints = [
        Complaint(one.id, one.author or one.session_id, words(one.comment), reason)
        for one, reason in entries
        if one.rating is Rating.DOWN and one.comment
    ]
    return discover(counts, complaints, stop_words()), complaints


def _judge(entries: Sequence[tuple[Feedback, str]]) -> Judgement:
    themes, complaints = _discover(entries)
    by_reason = Counter(one.reason for one in complaints if one.reason != _NO_REASON)
    reasons = [reason for reason, _ in by_reason.most_common(_REASONS)]
    members = [frozenset(one.id for one in complaints if one.reason == reason) for reason in reasons]
    pairs = _assign([[_f1(reason, theme.comments) for theme in themes] for reason in members])
    good = [
        _f1(members[reason], themes[theme].comments)
        for reason, theme in pairs
        if _matches(members[reason], themes[theme].comments, len(complaints))
    ]
    overlaps = [len(a.comments & b.comments) / len(a.comments | b.comments) for a, b in combinations(themes, 2)]
    return Judgement(
        matched=len(good),
        strict=sum(f1 >= 0.2 for f1 in good),
        mean_f1=sum(_f1(members[reason], themes[theme].comments) for reason, theme in pairs) / _REASONS,
        nmi=_nmi(themes, complaints),
        jaccard=mean(overlaps),
        bad_labels=sum("@" in theme.label or not stop_words().isdisjoint(words(theme.label)) for theme in themes),
    )


def _f1(reason: frozenset[str], theme: frozenset[str]) -> float:
    return 2 * len(reason & theme) / (len(reason) + len(theme))


def _matches(reason: frozenset[str], theme: frozenset[str], total: int) -> bool:
    precision, recall = len(reason & theme) / len(theme), len(reason & theme) / len(reason)
    return (precision >= 0.5 or precision >= 3 * len(reason) / total) and recall >= 0.15


def _assign(worth: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Pairs of a row and a column, none twice, with the largest sum; by dynamic programming over sets of rows."""
    best: dict[int, tuple[float, list[tuple[int, int]]]] = {0: (0.0, [])}
    for column in range(len(worth[0])):
        for rows_taken, (total, pairs) in list(best.items()):
            for row in range(len(worth)):
                taken = rows_taken | 1 << row
                better = total + worth[row][column]
                if taken != rows_taken and better > best.get(taken, (-1.0, []))[0]:
                    best[taken] = better, [*pairs, (row, column)]
    return max(best.values(), key=lambda found: found[0])[1]


def _nmi(themes: Sequence[Theme], complaints: Sequence[Complaint]) -> float:
    """Of the first theme of each comment, or none, and its reason; over the mean of their entropies."""
    first = {one: number for number, theme in reversed(list(enumerate(themes))) for one in theme.comments}
    joint = Counter((first.get(one.id), one.reason) for one in complaints)
    by_theme = Counter(first.get(one.id) for one in complaints)
    by_reason = Counter(one.reason for one in complaints)
    n = len(complaints)
    information = sum(
        count / n * log(count * n / (by_theme[theme] * by_reason[reason])) for (theme, reason), count in joint.items()
    )
    entropies = [-sum(count / n * log(count / n) for count in some.values()) for some in (by_theme, by_reason)]
    return information / mean(entropies)
