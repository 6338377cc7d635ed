"""Charts: pure functions from statistics to SVG with HTML tables, and to text for terminals.

The pictures use the classes of Harken's style sheet. In notebooks and as documents they include their own style.
"""

from harken_adapters.charts.buckets import merge_points
from harken_adapters.charts.chart import Chart
from harken_adapters.charts.comparison import change_chart, comparison_chart
from harken_adapters.charts.heat_map import heat_map_chart
from harken_adapters.charts.rating_split import rating_split
from harken_adapters.charts.themes import themes_chart
from harken_adapters.charts.trend import Previous, trend_chart

__all__ = [
    "Chart",
    "Previous",
    "change_chart",
    "comparison_chart",
    "heat_map_chart",
    "merge_points",
    "rating_split",
    "themes_chart",
    "trend_chart",
]
