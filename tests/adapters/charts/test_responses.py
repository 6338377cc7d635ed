"""The chart of the number of responses."""

from datetime import UTC, datetime, timedelta
from xml.etree.ElementTree import fromstring

from harken import Summary
from harken.domain.trend import TrendPoint
from harken_adapters.charts import Previous, responses_chart

SVG = "{http://www.w3.org/2000/svg}"
START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)


def days(*downs: int, start: datetime = START) -> list[TrendPoint]:
    """Days with thumbs-down feedback only."""
    return [
        TrendPoint(start + place * DAY, start + (place + 1) * DAY, Summary(negative=count))
        for place, count in enumerate(downs)
    ]


def test_numbers_are_bars() -> None:
    """The highest has the full height; the description names it, and the legend only ratings that there are."""
    chart = responses_chart(days(2, 0, 4))
    bars = [
        float(bar.get("height", "")) for bar in fromstring(chart.svg).iter(f"{SVG}rect") if bar.get("class") == "fd"
    ]
    assert bars == [87.5, 175.5]
    assert chart.description == ("Responses by day, Mon 2 Mar to Wed 4 Mar 2026, UTC: 6 in all, at most 4 (Wed 4 Mar).")
    assert "Down" in chart.legend
    assert "Up" not in chart.legend
    assert "%" not in chart.table


def test_the_period_before_is_on_the_same_scale() -> None:
    """It is a dotted line, and a column of the table."""
    previous = Previous(days(8, 4, start=START - 7 * DAY), 7 * DAY, "23 to 24 Feb")
    chart = responses_chart(days(4, 0), previous=previous)
    (line,) = fromstring(chart.svg).iter(f"{SVG}path")
    assert line.get("d") == "M250 8L750 96"
    assert "23 to 24 Feb" in chart.legend
    cells = [cell.text for cell in fromstring(chart.table).findall("tbody/tr[1]/td")]
    assert cells[1:] == ["4", "8", "0", "0", "4"]


def test_what_is_not_over_is_pale() -> None:
    """Its bar, and in words."""
    points = days(4, 4)
    chart = responses_chart(points, now=points[-1].start + timedelta(hours=5))
    assert [bar.get("class") for bar in fromstring(chart.svg).iter(f"{SVG}rect") if bar.get("rx") is None][:2] == [
        "fd",
        "fd partbar",
    ]
    assert chart.caption == "by day · UTC · today so far"
    assert "so far" in chart.table


def test_nothing_is_a_sentence() -> None:
    """There are no empty axes."""
    assert responses_chart(days(0, 0)).is_empty
