"""Charts as SVG that stands inside a page: no script, nothing to be fetched, colours of the page's own style."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast
from xml.etree import ElementTree as ET

import pygal
from pygal.style import Style

# The library hooks itself into every later import by a way that Python has given up, which Python then warns of.
sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]

_WIDTH: Final = 960
_ROW_HEIGHT: Final = 34
_FRAME_HEIGHT: Final = 110
_CHART_HEIGHT: Final = 300
_MICROSECONDS: Final = 1_000_000
_MILLISECOND: Final = 1000
_MOST_BARS: Final = 40
_LABELS: Final = 8
_SVG: Final = "{http://www.w3.org/2000/svg}"
_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
_FONT: Final = "system-ui, 'Noto Sans SC', 'Microsoft YaHei', sans-serif"
_STYLE: Final = Style(
    background="transparent",
    plot_background="transparent",
    foreground="#777",
    foreground_strong="#777",
    foreground_subtle="#999",
    colors=("#2f6fd6", "#c77700", "#c5221f", "#1a7f37"),
    guide_stroke_color="#ccc",
    major_guide_stroke_color="#ccc",
    guide_stroke_dasharray="1,3",
    major_guide_stroke_dasharray="1,3",
    font_family=_FONT,
    label_font_size=13,
    major_label_font_size=13,
    legend_font_size=13,
    title_font_size=15,
    value_font_size=12,
    no_data_font_size=14,
)


class Bars(NamedTuple):
    """Bars of one kind.

    Attributes:
        name: for the legend.
        values: one for each label; None leaves its place empty.
    """

    name: str
    values: Sequence[float | None]


def bars_across(labels: Sequence[str], series: Sequence[Bars], unit: str) -> str:
    """Horizontal bars, one group a label, first on top."""
    height = _FRAME_HEIGHT + _ROW_HEIGHT * max(1, len(labels))
    chart = _chart(pygal.HorizontalBar, height, unit, legend=len(series) > 1)
    chart.x_labels = list(reversed(labels))
    for one in series:
        chart.add(one.name, list(reversed(one.values)))
    return _drawn(chart)


def bars_up(labels: Sequence[str], series: Sequence[Bars], unit: str) -> str:
    """Upright bars; where there are many, only some of their labels are written."""
    chart = _chart(
        pygal.StackedBar,
        _CHART_HEIGHT,
        unit,
        legend=len(series) > 1,
        x_labels_major_count=_LABELS,
        show_minor_x_labels=False,
    )
    chart.x_labels = list(labels)
    for one in series:
        chart.add(one.name, list(one.values))
    return _drawn(chart)


def throughput(moments: Sequence[int], series_name: str, unit: str) -> str:
    """Finished cards over time, in at most 40 bars of whole seconds.

    Args:
        moments: when cards were finished, microseconds since 1970 UTC.
        series_name: for the legend.
        unit: title of the axis; ``{seconds}`` is the length of a bar.
    """
    if not moments:
        return ""
    first, last = min(moments) // _MICROSECONDS, max(moments) // _MICROSECONDS
    seconds = max(1, -(-(last - first + 1) // _MOST_BARS))
    bars = (last - first) // seconds + 1
    counts = [0] * bars
    for moment in moments:
        counts[(moment // _MICROSECONDS - first) // seconds] += 1
    labels = [f"{datetime.fromtimestamp(first + place * seconds, UTC):%H:%M:%S}" for place in range(bars)]
    return bars_up(labels, [Bars(series_name, counts)], unit.format(seconds=seconds))


def histogram(values: Sequence[int], series_name: str, unit: str) -> str:
    """How often values occur, in at most 40 ranges."""
    if not values:
        return ""
    low, high = min(values), max(values)
    width = max(1, -(-(high - low + 1) // _MOST_BARS))
    ranges = (high - low) // width + 1
    counts = [0] * ranges
    for value in values:
        counts[(value - low) // width] += 1
    starts = [low + place * width for place in range(ranges)]
    labels = [str(start) if width == 1 else f"{start}–{start + width - 1}" for start in starts]
    return bars_up(labels, [Bars(series_name, counts)], unit)


def failures(causes: Mapping[str, int], series_name: str, unit: str) -> str:
    """Cards by cause of their failure, most frequent first; empty without failures."""
    if not causes:
        return ""
    ordered = sorted(causes.items(), key=lambda item: (-item[1], item[0]))
    return bars_across([cause for cause, _ in ordered], [Bars(series_name, [count for _, count in ordered])], unit)


def milliseconds(value_us: float) -> float:
    """Microseconds as milliseconds that a chart can show."""
    return round(value_us / _MILLISECOND, 3)


def _chart(kind: Any, height: int, unit: str, *, legend: bool, **more: object) -> Any:
    return kind(
        js=[],
        style=_STYLE,
        width=_WIDTH,
        height=height,
        title=unit,
        show_legend=legend,
        legend_at_bottom=True,
        truncate_label=-1,
        truncate_legend=-1,
        disable_xml_declaration=True,
        margin=6,
        margin_left=28,  # the library measures Chinese labels too short
        **more,
    )


def _drawn(chart: Any) -> str:
    """The chart without the library's script and remarks: a page has to stand alone."""
    tree = ET.fromstring(_COMMENT.sub("", cast("str", chart.render(is_unicode=True))))  # noqa: S314 - drawn here
    for parent in list(tree.iter()):
        for script in parent.findall(f"{_SVG}script"):
            parent.remove(script)
    tree.attrib.pop("class", None)
    ET.register_namespace("", _SVG[1:-1])
    ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    return ET.tostring(tree, encoding="unicode")
