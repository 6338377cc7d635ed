"""Make trend.svg, an example of a chart: ``python docs/images/make_chart.py``."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from harken import SatisfactionChange, Summary, TrendPoint
from harken_adapters.charts import Previous, trend_chart

PICTURE = Path(__file__).with_name("trend.svg")
DAY = timedelta(days=1)
START = datetime(2026, 3, 2, tzinfo=UTC)
#: The day on which satisfaction falls, the days without feedback, and a day with little of it.
FALL, SILENT, QUIET = 17, (8, 9), 7


def days(start: datetime, count: int, *, fall: int) -> list[TrendPoint]:
    """Made-up statistics of days."""
    random = Random(f"{start}")  # noqa: S311 - made-up statistics
    return [
        TrendPoint(start + day * DAY, start + (day + 1) * DAY, summary(random, day, 0.82 if day < fall else 0.58))
        for day in range(count)
    ]


def summary(random: Random, day: int, share: float) -> Summary:
    """The ratings of a day; fewer at weekends."""
    total = 0 if day in SILENT else 7 if day == QUIET else random.randrange(50, 70) if day % 7 > 4 else 120
    ups = sum(random.random() < share for _ in range(total))
    return Summary(positive=ups, neutral=total // 9, negative=total - ups)


def picture() -> str:
    """Four weeks, the last day of which has not ended, with the four weeks before."""
    points = days(START, 28, fall=FALL)
    before, after = (sum((point.summary for point in part), Summary()) for part in (points[:FALL], points[FALL:]))
    chart = trend_chart(
        points,
        previous=Previous(days(START - 28 * DAY, 28, fall=28), 28 * DAY, "2 Feb to 1 Mar"),
        changes=[SatisfactionChange(points[FALL].start, before, after)],
        now=points[-1].start + DAY / 2,
    )
    return chart.document


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
