"""Panels of the explain chart that share its days: the window's marks, z-scores and quality."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.window_facts import WindowFacts
from autonama_dagster.analytics.candles.windows import day_number
from autonama_dagster.reports.charts.style import (
    BUY,
    INK,
    MUTED,
    PALE,
    SELL,
    draw_edges,
    number,
    say,
    signed,
)

NO_CANDLE: Final = "No candle"
NOT_JUDGED: Final = "Not evaluated"

# Colour and height of a day's cell: the height tells severities apart without colours.
_CELLS: Final = {
    NOT_JUDGED: (PALE, 0.4),
    "OK": ("#9CC3DD", 0.4),
    "INFO": (BUY, 0.6),
    "WARNING": ("#E8C517", 0.8),
    "ERROR": (SELL, 1.0),
    NO_CANDLE: (INK, 1.0),
}
QUALITY_COLOURS: Final = tuple(colour for colour, _ in _CELLS.values())
_PLAIN: Final = (NOT_JUDGED, "OK")
_NARROWEST: Final = 1 / 400  # of the axis: a single bad day among thousands is still seen
_WIDEST_VIEW: Final = 4  # half channels: a crash of 15 deviations must not flatten the others

_Floats = NDArray[np.float64]
_Days = NDArray[np.int64]


def draw_window(
    panels: Sequence[Axes], days: _Days, candle_days: _Floats, window: WindowFacts, lookback: int
) -> None:
    """Mark the window's start, gaps and breaks, and the day, on the price panel and others."""
    first, last = int(candle_days[0]), int(days[-1])
    missing = days[(days >= first) & ~np.isin(days, candle_days)]
    starts = np.array([day_number(b.date) for b in window.breaks], dtype=np.int64)
    for panel in panels:
        low, high = panel.get_ylim()
        _draw_cells(panel, missing, low, high, PALE, zorder=0.5)
        panel.set_ylim(low, high)
        panel.axvline(first, color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
        panel.axvline(last, color=MUTED, linewidth=1, linestyle=(0, (1, 2)))
        for start in starts[(starts > first) & (starts <= last)]:
            panel.axvline(start, color=SELL, linewidth=1, linestyle=(0, (1, 2)))
    if first in starts:
        reason = "after a break in the market"
    elif first == last - lookback + 1:
        reason = f"{lookback} days"
    else:
        reason = "its first candle"
    axes = panels[0]
    is_left = first < sum(axes.get_xlim()) / 2
    text = f"Window starts {np.datetime64(first, 'D')}: {reason}"
    place: dict[str, Any] = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points"}
    axes.annotate(
        text, (first, 0), xytext=(0, -3), va="top", ha="left" if is_left else "right",
        fontsize=7.5, color=MUTED, **place,
    )  # fmt: skip
    axes.annotate(
        f"{np.datetime64(last, 'D')}", (last, 1), xytext=(0, 4), ha="right", fontsize=8,
        fontweight="bold", **place,
    )  # fmt: skip


def draw_scores(
    axes: Axes, days: _Days, own: Mapping[str, _Floats], signal: Mapping[Any, Any], kstd: float
) -> list[Artist]:
    """z-score of each day's own fit, its BUY and SELL days marked.

    Parameters
    ----------
    axes
        The panel, its x limits set.
    days
        The days shown.
    own
        close, upper_band, lower_band, z_score on `days`, NaN where there is no channel.
    signal
        The day's row of `signals`.
    kstd
        Half width of the channel in residual standard deviations.

    Returns
    -------
    list
        Handles for a legend.
    """
    axes.set_ylabel("z-score\n(sigma)")
    score = own["z_score"]
    known = np.abs(score[np.isfinite(score)])
    limit = min(max(1.2 * float(known.max(initial=0.0)), 1.5 * kstd), _WIDEST_VIEW * kstd)
    axes.set_ylim(-limit, limit)
    axes.set_yticks([-kstd, 0, kstd], [signed(-kstd, 1), "0", signed(kstd, 1)])
    today = number(signal, "z_score")
    draw_edges(axes, kstd, [(float(np.clip(today, -limit, limit)), f"z {signed(today)}", INK)])
    if not known.size:
        say(axes, "No channel on any day shown.")
        return []
    axes.plot(days, score, color=INK, linewidth=1)
    handles: list[Artist] = [
        Line2D([], [], color=INK, linewidth=1, label="z-score of each day's own fit")
    ]
    marked = (
        ("BUY", BUY, "^", own["close"] < own["lower_band"]),
        ("SELL", SELL, "v", own["close"] > own["upper_band"]),
    )
    for name, colour, marker, is_beyond in marked:
        is_beyond[-1] = signal["signal"] == name  # the row knows more than its channel
        style: dict[str, Any] = {
            "color": colour, "marker": marker, "markersize": 4, "linestyle": "none",
            "label": f"{name} days ({is_beyond.sum()})",
        }  # fmt: skip
        at = np.clip(score[is_beyond], -0.94 * limit, 0.94 * limit)
        axes.plot(days[is_beyond], at, zorder=3, **style)
        handles.append(Line2D([], [], **style))
    return handles


def draw_quality(
    axes: Axes, days: _Days, candle_days: _Floats, since: int, quality: Sequence[str | None]
) -> Counter[str]:
    """One cell a day from `since` on: its severity, or that it has no candle.

    Returns
    -------
    Counter
        Days of each kind of cell.

    Raises
    ------
    ValueError
        If a severity is not known.
    """
    axes.set_ylabel("Data\nquality", rotation=0, ha="center", va="center")
    axes.set_ylim(0, 1.05)
    axes.set_yticks([])
    axes.grid(visible=False)
    has_candle = np.isin(days, candle_days)
    kinds = np.array([NOT_JUDGED if severity is None else severity for severity in quality])
    if unknown := sorted({*kinds.tolist()} - {*_CELLS}):
        raise ValueError(f"{unknown[0]!r} is not a severity: choose OK, INFO, WARNING or ERROR")
    kinds = np.where(has_candle, kinds, NO_CANDLE)[days >= since]
    for kind, (colour, height) in _CELLS.items():
        chosen = days[days >= since][kinds == kind]
        narrowest = 0.0 if kind in _PLAIN else _NARROWEST * len(days)
        _draw_cells(axes, chosen, 0.0, height, colour, narrowest=narrowest)
    return Counter(kinds.tolist())


def legend_of_quality(counts: Counter[str]) -> list[Artist]:
    """Handles with the days of each kind, in the order of severity."""
    return [
        Patch(facecolor=colour, label=f"{kind} ({counts[kind]:,})")
        for kind, (colour, _) in _CELLS.items()
        if counts[kind]
    ]


def _draw_cells(
    axes: Axes,
    days: _Days,
    low: float,
    high: float,
    colour: str,
    *,
    narrowest: float = 0.0,
    zorder: float = 2,
) -> None:
    """Rectangles of a day's width, `narrowest` at least, drawn as one artist."""
    reach = max(0.5, narrowest / 2)
    edges = (days - reach, days + reach)
    bottom, top = np.full(len(days), low), np.full(len(days), high)
    ends = zip((*edges, *edges[::-1]), (bottom, bottom, top, top), strict=True)
    corners = [np.c_[x, y] for x, y in ends]
    cells = PolyCollection(
        list(np.stack(corners, axis=1)), facecolors=colour, linewidths=0, antialiaseds=False,
        zorder=zorder,
    )  # fmt: skip
    axes.add_collection(cells, autolim=False)
