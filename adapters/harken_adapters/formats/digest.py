"""Digests as JSON."""

from __future__ import annotations

from harken.domain.digest import Digest
from harken.domain.insight.issues import Issue
from harken.domain.trend import TrendPoint
from harken_adapters.formats.record import Record
from harken_adapters.formats.statistics import headline_record


def digest_record(digest: Digest) -> Record:
    """A digest in notifications and for the command line."""
    return {
        "name": digest.name,
        "application": digest.application,
        "zone": digest.zone,
        "headline": headline_record(digest.headline),
        "days": [_day(one) for one in digest.days],
        "issues": [_issue(one) for one in digest.issues.issues],
        "downs": digest.issues.downs,
        "is_complete": digest.issues.is_complete,
        "link": digest.link,
    }


def _day(point: TrendPoint) -> Record:
    summary = point.summary
    return {
        "start": point.start.isoformat(),
        "total": summary.total,
        "positive": summary.positive,
        "negative": summary.negative,
        "neutral": summary.neutral,
        "satisfaction": round(summary.satisfaction, 1) if summary.decided else None,
    }


def _issue(issue: Issue) -> Record:
    example = issue.example
    return {
        "name": issue.name,
        "count": issue.share.count,
        "percent": round(issue.share.percent, 1),
        "direction": issue.direction,
        "comment": "" if example is None else example.comment,
        "feedback_id": None if example is None else example.id,
    }
