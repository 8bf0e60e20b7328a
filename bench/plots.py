"""Plots of what was measured, as SVG."""

from collections.abc import Mapping
from pathlib import Path

import pygal
from pygal.style import CleanStyle


def plot_bars(path: Path, title: str, bars: Mapping[str, float]) -> None:
    """Draw a bar for each name, the first one on top."""
    chart = pygal.HorizontalBar(
        style=CleanStyle, show_legend=False, print_values=True, height=60 + 28 * len(bars), js=(), margin_right=60
    )
    chart.title = title
    # The first series is drawn at the bottom.
    chart.x_labels = list(reversed(bars))
    chart.add("", [bars[name] for name in reversed(bars)])
    chart.render_to_file(str(path))
