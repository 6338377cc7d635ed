"""Digests as JSON."""

from __future__ import annotations

from harken.domain.digest import Digest
from harken.domain.insight.issues import Issue
from harken.domain.summary import Summary
from harken_adapters.formats.record import Record
from harken_adapters.formats.statistics import VERDICTS_OF_DIRECTIONS


def digest_record(digest: Digest) -> Record:
    """A digest in notifications and for the command line. Its size is bounded, however many agents there are.

    The names are those of the statistics in the HTTP API. Without thumbs, there is no ``satisfaction_score``.
    """
    headline, comparison = digest.headline, digest.headline.comparison
    interval = comparison.always_valid_interval
    compared = bool(comparison.before.decided and comparison.after.decided)
    return {
        "name": digest.name,
        "application": digest.application,
        "zone": digest.zone,
        "since": headline.after[0].isoformat(),
        "until": headline.after[1].isoformat(),
        "finding": headline.finding.value,
        "statistics": _statistics(comparison.after),
        "before": _statistics(comparison.before),
        "satisfaction_change": round(comparison.satisfaction_change, 1) if compared else None,
        "always_valid_interval": {"low": round(interval.low, 1), "high": round(interval.high, 1)} if compared else None,
        "days": [{"start": one.start.isoformat()} | _statistics(one.summary) for one in digest.days],
        "issues": [_issue(one) for one in digest.issues.issues],
        "link": digest.link,
    }


def _statistics(summary: Summary) -> Record:
    return {
        "total_feedbacks": summary.total,
        "positive": summary.positive,
        "negative": summary.negative,
        "neutral": summary.neutral,
        "satisfaction_score": round(summary.satisfaction, 1) if summary.decided else None,
    }


def _issue(issue: Issue) -> Record:
    example = issue.example
    return {
        "name": issue.name,
        "count": issue.share.count,
        "share": round(issue.share.percent, 1),
        "verdict": VERDICTS_OF_DIRECTIONS[issue.direction],
        "example": None if example is None else {"id": example.id, "comment": example.comment},
    }
