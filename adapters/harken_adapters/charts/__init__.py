"""Charts: pure functions from statistics to SVG with HTML tables, and to text for terminals.

The pictures use the classes of Harken's style sheet. In notebooks and as documents they include their own style.
"""

from harken_adapters.charts.buckets import merge_points
from harken_adapters.charts.chart import Chart
from harken_adapters.charts.comparison import change_chart, comparison_chart, ranking_chart
from harken_adapters.charts.headline import headline_details, headline_title
from harken_adapters.charts.heat_map import heat_map_chart
from harken_adapters.charts.rating_split import rating_split
from harken_adapters.charts.responses import responses_chart
from harken_adapters.charts.themes import issues_chart, themes_chart
from harken_adapters.charts.trend import Previous, trend_chart

__all__ = [
    "Chart",
    "Previous",
    "change_chart",
    "comparison_chart",
    "headline_details",
    "headline_title",
    "heat_map_chart",
    "issues_chart",
    "merge_points",
    "ranking_chart",
    "rating_split",
    "responses_chart",
    "themes_chart",
    "trend_chart",
]
