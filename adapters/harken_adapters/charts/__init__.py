"""Charts: pure functions from statistics to SVG, HTML tables and text for terminals.

The pictures use the classes of Harken's style sheet. In notebooks they include their own style.
"""

from harken_adapters.charts.buckets import trend_points
from harken_adapters.charts.chart import Chart
from harken_adapters.charts.comparison import Group, comparison_chart
from harken_adapters.charts.heat_cells import DateCell, heat_cells
from harken_adapters.charts.heat_map import heat_map_chart
from harken_adapters.charts.rating_split import rating_split
from harken_adapters.charts.themes import ThemeRow, theme_bar, themes_chart
from harken_adapters.charts.trend import Previous, trend_chart

__all__ = [
    "Chart",
    "DateCell",
    "Group",
    "Previous",
    "ThemeRow",
    "comparison_chart",
    "heat_cells",
    "heat_map_chart",
    "rating_split",
    "theme_bar",
    "themes_chart",
    "trend_chart",
    "trend_points",
]
