"""The price panel of a symbol's charts: candles, both channels, the day's marker and prices."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from autonama_dagster.reports.charts.style import (
    BUY,
    DPI,
    FIT,
    INK,
    NEUTRAL,
    SELL,
    SIGNAL_COLOURS,
    number,
    price,
    say,
    tags,
)

_CANDLE_WIDTH: Final = 0.64  # days
_CHANNEL: Final = "#9CC3DD"
_UP, _DOWN = "#FFFFFF", "#3E4C59"
_DECADE: Final = 10.0
_MOST_TICKS: Final = 9
_MOST_CANDLES: Final = 240  # days; more would be narrower than their wicks

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """Prices to heights on the price panel: their natural logs, or themselves."""

    kind: Literal["log", "linear"]

    def __call__(self, prices: _Floats) -> _Floats:
        """Heights; NaN where a log scale has none."""
        if self.kind == "linear":
            return prices
        return np.log(np.where(prices > 0, prices, np.nan))

    def ticks(self, low: float, high: float) -> tuple[_Floats, list[str]]:
        """Round prices between two heights, and their labels."""
        if self.kind == "log":
            low, high = math.exp(low), math.exp(high)
            if high / low > _DECADE:
                ticks = _ticks_over_decades(low, high)
                return ticks, [price(float(t)).removesuffix(".00") for t in ticks]
        ticks = np.array(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        finest = f"{float(ticks[1] - ticks[0]):.1e}"
        mantissa, _, exponent = finest.partition("e")
        decimals = max(0, (not mantissa.endswith(".0")) - int(exponent))
        return ticks, [f"{t:,.{decimals}f}" for t in ticks]


def _ticks_over_decades(low: float, high: float) -> _Floats:
    """1, 2 and 5 times powers of ten where they find room, else the powers alone or some."""
    powers = np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    decades = np.power(10.0, powers.astype(np.float64))
    every = math.ceil(len(decades) / _MOST_TICKS)
    dense, sparse = np.outer(decades, [1.0, 2.0, 5.0]).ravel(), decades[::every]
    inside = [ticks[(ticks >= low) & (ticks <= high)] for ticks in (dense, sparse)]
    return inside[0] if len(inside[0]) <= _MOST_TICKS else inside[1]


def draw_price(
    axes: Axes,
    scale: Scale,
    days: NDArray[np.int64],
    candles: Mapping[str, _Floats],
    curves: Mapping[str, _Floats],
    signal: Mapping[str, Any],
) -> list[Artist]:
    """Draw the panel, its x limits being set already: candles, or closes where days are many.

    Parameters
    ----------
    axes
        The panel.
    scale
        Heights of prices.
    days
        The n consecutive days shown, since 1970-01-01 (UTC); the last is the signal's.
    candles
        day, open, high, low, close of the candles shown, aligned.
    curves
        Prices on `days`, NaN where there are none: fitted_price, upper_band, lower_band of each
        day's own channel; fitted, upper, lower of today's fit.
    signal
        The day's row of `signals`.

    Returns
    -------
    list
        Handles for a legend of what was drawn.
    """
    axes.set_ylabel("Price (USDT, log scale)" if scale.kind == "log" else "Price (USDT)")
    if not len(candles["day"]):
        axes.set_yticks([])
        say(axes, f"{signal['status']}: no candles in the 180 days up to this day.")
        return []
    heights = {name: scale(candles[name]) for name in ("open", "high", "low", "close")}
    lines = {name: scale(prices) for name, prices in curves.items()}
    low, high = _limits(scale, heights, lines)
    axes.set_ylim(low, high)
    ticks, labels = scale.ticks(low, high)
    axes.set_yticks(scale(ticks), labels)
    channels = [*_draw_own_channel(axes, days, lines), *_draw_todays_fit(axes, days, lines)]
    draw_candles = _draw_candles if len(days) <= _MOST_CANDLES else _draw_closes
    handles = [*draw_candles(axes, candles["day"], heights), *channels]
    handles += _draw_marker(axes, int(days[-1]), heights, signal["signal"])
    _draw_tags(axes, scale, signal)
    return handles


def _limits(
    scale: Scale, heights: dict[str, _Floats], curves: dict[str, _Floats]
) -> tuple[float, float]:
    """Bottom and top of the panel: all candles, and as much channel as leaves them room."""
    low, high = float(heights["low"].min()), float(heights["high"].max())
    reach = max(high - low, 0.01 * (1.0 if scale.kind == "log" else high))  # 1 % for a flat price
    channel = np.concatenate([*curves.values()])
    channel = channel[np.isfinite(channel)]
    if channel.size:
        low = max(min(low, float(channel.min())), low - 0.6 * reach)
        high = min(max(high, float(channel.max())), high + 0.6 * reach)
    return low - 0.07 * reach, high + 0.07 * reach


def _draw_own_channel(
    axes: Axes, days: NDArray[np.int64], curves: dict[str, _Floats]
) -> list[Artist]:
    upper, lower = curves["upper_band"], curves["lower_band"]
    if np.isnan(upper).all():
        return []
    axes.fill_between(days, lower, upper, color=_CHANNEL, alpha=0.32, linewidth=0)
    for edge in (upper, lower):
        axes.plot(days, edge, color=_CHANNEL, linewidth=1.2)
    axes.plot(days, curves["fitted_price"], color=BUY, linewidth=1, alpha=0.55)
    return [
        Patch(facecolor=_CHANNEL, alpha=0.6, label="Own channel of each day"),
        Line2D([], [], color=BUY, alpha=0.55, linewidth=1, label="Fitted price"),
    ]


def _draw_todays_fit(
    axes: Axes, days: NDArray[np.int64], curves: dict[str, _Floats]
) -> list[Artist]:
    if np.isnan(curves["fitted"]).all():
        return []
    dashes = (0, (5, 3))
    for name, width in (("upper", 1.1), ("fitted", 0.8), ("lower", 1.1)):
        axes.plot(days, curves[name], color=FIT, linewidth=width, linestyle=dashes)
    label = "Today's fit (repaints)"
    return [Line2D([], [], color=FIT, linewidth=1.1, linestyle=dashes, label=label)]


def _draw_candles(axes: Axes, day: _Floats, heights: dict[str, _Floats]) -> list[Artist]:
    up = heights["close"] >= heights["open"]
    bottom = np.minimum(heights["open"], heights["close"])
    top = np.maximum(heights["open"], heights["close"])
    # Wicks end at the body: a line through a hollow one would fill it.
    wicks = np.concatenate(
        [
            np.stack([np.c_[day, heights["low"]], np.c_[day, bottom]], axis=1),
            np.stack([np.c_[day, top], np.c_[day, heights["high"]]], axis=1),
        ]
    )
    axes.add_collection(LineCollection(list(wicks), colors=_DOWN, linewidths=0.8), autolim=False)
    left, right = day - _CANDLE_WIDTH / 2, day + _CANDLE_WIDTH / 2
    corners = [np.c_[left, bottom], np.c_[left, top], np.c_[right, top], np.c_[right, bottom]]
    bodies = PolyCollection(
        list(np.stack(corners, axis=1)),
        facecolors=np.where(up, _UP, _DOWN).tolist(),
        edgecolors=_DOWN,
        linewidths=0.7,
        zorder=2.5,
    )
    axes.add_collection(bodies, autolim=False)
    return [
        Patch(facecolor=_UP, edgecolor=_DOWN, label="Close above open"),
        Patch(facecolor=_DOWN, edgecolor=_DOWN, label="Close below open"),
    ]


def _draw_closes(axes: Axes, day: _Floats, heights: dict[str, _Floats]) -> list[Artist]:
    """A line through the closes, interrupted by missing days, over each day's low to high."""
    ranges = np.stack([np.c_[day, heights["low"]], np.c_[day, heights["high"]]], axis=1)
    axes.add_collection(LineCollection(list(ranges), colors=NEUTRAL, linewidths=1), autolim=False)
    after_gap = np.flatnonzero(np.diff(day) > 1) + 1
    axes.plot(
        np.insert(day, after_gap, np.nan),
        np.insert(heights["close"], after_gap, np.nan),
        color=INK, linewidth=1,
    )  # fmt: skip
    return [
        Line2D([], [], color=INK, linewidth=1, label="Close"),
        Patch(facecolor=NEUTRAL, label="Low to high"),
    ]


def _draw_marker(axes: Axes, last: int, heights: dict[str, _Floats], signal: str) -> list[Artist]:
    if signal == "HOLD":
        return []
    below = signal == "BUY"
    at = heights["low" if below else "high"][-1]
    shift = ScaledTranslation(0, (-12 if below else 12) / DPI, axes.figure.dpi_scale_trans)
    style: dict[str, Any] = {
        "marker": "^" if below else "v", "markersize": 10, "linestyle": "none",
        "color": SIGNAL_COLOURS[signal], "markeredgecolor": "white", "markeredgewidth": 0.8,
    }  # fmt: skip
    axes.plot([last], [at], transform=axes.transData + shift, zorder=4, clip_on=False, **style)
    return [Line2D([], [], label=f"{signal} on the day", **style)]


def _draw_tags(axes: Axes, scale: Scale, signal: Mapping[str, Any]) -> None:
    """The day's prices at the right edge."""
    wanted = {
        "Upper band": ("upper_band", BUY),
        "Fitted price": ("fitted_price", BUY),
        "Lower band": ("lower_band", BUY),
        "Close": ("close", INK),
    }
    rows = []
    for caption, (name, colour) in wanted.items():
        value = number(signal, name)
        rows.append((float(scale(np.array([value]))[0]), f"{caption}\n{price(value)}", colour))
    tags(axes, rows, bold=frozenset({INK}))


def draw_reason(axes: Axes, signal: Mapping[str, Any]) -> None:
    """Say over the panel why a day whose status is not OK has no channel."""
    reasons = {
        "INSUFFICIENT_DATA": "INSUFFICIENT_DATA: too few candles for a channel",
        "QUARANTINED": "QUARANTINED: the window contains bad data, see data_quality",
        "NO_DATA": f"NO_DATA: no candle on {pd.Timestamp(signal['date']):%Y-%m-%d}",
    }
    axes.text(
        0.01, 0.97, reasons[signal["status"]], transform=axes.transAxes, va="top", fontsize=9,
        fontweight="bold", color=SELL, bbox={"facecolor": "white", "edgecolor": "none", "pad": 3},
    )  # fmt: skip
