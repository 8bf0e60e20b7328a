"""Plots of what was measured, as SVG."""

from collections.abc import Mapping, Sequence
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


def plot_lines(path: Path, title: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """Draw a line through the points of each name."""
    chart = pygal.XY(style=CleanStyle, height=360, legend_at_bottom=True, legend_at_bottom_columns=4, js=())
    chart.title = title
    for name, points in lines.items():
        chart.add(name, list(points))
    chart.render_to_file(str(path))


def plot_steps(path: Path, title: str, steps: Sequence[str], lines: Mapping[str, Sequence[float]]) -> None:
    """Draw a line for each name with one value for each step, however far apart these are."""
    chart = pygal.Line(style=CleanStyle, height=420, legend_at_bottom=True, legend_at_bottom_columns=4, js=())
    chart.title = title
    chart.x_labels = list(steps)
    for name, values in lines.items():
        chart.add(name, list(values))
    chart.render_to_file(str(path))
