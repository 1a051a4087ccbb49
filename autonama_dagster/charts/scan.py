"""The scan of one day in one picture: every member's place in its channel, and the signals."""

import datetime as dt
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from autonama_dagster.charts.style import (
    BUY,
    DPI,
    INK,
    MARGIN,
    MUTED,
    NEUTRAL,
    PALE,
    SELL,
    SIGNAL_COLOURS,
    Page,
    bars,
    price,
    printable,
    render,
    short_name,
    signed,
)

_WIDTH, _HEIGHT = 1280, 860
_LEFT, _TOP, _PLOT_HEIGHT = 74, 128, 400
_PLOT_WIDTH = _WIDTH - _LEFT - MARGIN
_TABLE_TOP = 574
_TABLE_ROWS: Final = 8
_MOST_LABELS: Final = 130  # names of more members would overlap
_MOST_NAMES: Final = 14  # of members without a channel

# Table columns: caption, x in pixels from the table's left edge, alignment.
_COLUMNS: Final = (
    ("Symbol", 0, "left"),
    ("Strength", 150, "right"),
    ("z-score", 215, "right"),
    ("Close (USDT)", 320, "right"),
    ("To far edge", 400, "right"),
    ("Confirmations", 418, "left"),
)


def scan_summary(
    signals: pd.DataFrame, *, date: dt.date, kstd: float, source_label: str | None = None
) -> bytes:
    """z-score of every member in order, BUY and SELL coloured, with counts and strongest signals.

    Parameters
    ----------
    signals
        Rows of `signals` of one day, members only: symbol, signal, status, z_score (NaN unless
        OK), signal_strength, close, target_return_pct, confirmations. No rows gives a page that
        says so.
    date
        The UTC day.
    kstd
        Half width of the channel in residual standard deviations: where its edges are drawn.
    source_label
        See `style.render`.

    Returns
    -------
    bytes
        PNG, under 70 KB for 100 members.
    """
    fitted = signals[signals["z_score"].notna()].sort_values(["z_score", "symbol"])

    def draw(page: Page) -> None:
        page.title(
            "Regression channel scan",
            f"{date:%Y-%m-%d} UTC, {len(signals)} members, daily candles",
        )
        _draw_counts(page, signals)
        _draw_scores(page, fitted, kstd)
        _draw_table(page, MARGIN, "BUY", signals)
        _draw_table(page, MARGIN + 620, "SELL", signals)
        page.footer(
            _without_channel(signals),
            "Strength (0 to 100) is depth outside the channel plus agreeing confirmations; it is "
            "no probability. To far edge: from the close to the other edge of today's channel.",
        )

    return render(_WIDTH, _HEIGHT, draw, source_label)


def _draw_counts(page: Page, signals: pd.DataFrame) -> None:
    ok = signals["status"] == "OK"
    counts = {name: int((ok & (signals["signal"] == name)).sum()) for name in SIGNAL_COLOURS}
    counts |= {
        name: int((signals["status"] == name).sum()) for name in ("INSUFFICIENT_DATA", "NO_DATA")
    }
    left, step = 640, 120
    shown = page.figures(left, 34, step, {k: str(v) for k, v in counts.items()})
    for text, name in zip(shown, counts, strict=True):
        text.set_color(SIGNAL_COLOURS.get(name, INK))
        text.set_fontsize(16)


def _draw_scores(page: Page, fitted: pd.DataFrame, kstd: float) -> None:
    axes = page.axes(_LEFT, _TOP, _PLOT_WIDTH, _PLOT_HEIGHT)
    axes.set_ylabel("z-score: distance from the channel's centre\n(residual standard deviations)")
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    if fitted.empty:
        axes.set_ylim(-2 * kstd, 2 * kstd)
        page.say(axes, "No member has a channel on this day.")
        return
    count = len(fitted)
    score = fitted["z_score"].to_numpy(np.float64)
    # A crash of 15 deviations must not flatten the others: its bar ends at the edge of the plot.
    limit = min(max(1.35 * float(np.abs(score).max()), 1.6 * kstd), 3.2 * kstd)
    axes.set_xlim(-1, count)
    axes.set_ylim(-limit, limit)
    _draw_channel(axes, kstd, count)
    end = np.clip(score, -0.86 * limit, 0.86 * limit)
    colours = [_bar_colour(s) for s in fitted["signal"]]
    width = min(14.0, 0.6 * _PLOT_WIDTH / (count + 1)) * 72 / DPI
    bars(axes, np.arange(count, dtype=np.float64), end, colours, width)
    if count <= _MOST_LABELS:
        _label_bars(axes, fitted, end, clipped=end != score)


def _bar_colour(signal: str) -> str:
    return NEUTRAL if signal == "HOLD" else SIGNAL_COLOURS[signal]


def _draw_channel(axes: Axes, kstd: float, count: int) -> None:
    axes.axhspan(-kstd, kstd, color=PALE, zorder=0)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    for edge, colour, words in ((kstd, SELL, "SELL above"), (-kstd, BUY, "BUY below")):
        axes.axhline(edge, color=colour, linewidth=1, linestyle=(0, (5, 3)))
        upper = edge > 0
        axes.text(
            -0.6 if upper else count - 0.4, edge, f"{words} {signed(edge, 1)}",
            ha="left" if upper else "right", va="bottom" if upper else "top", color=colour,
            fontsize=8.5, fontweight="bold",
        )  # fmt: skip


def _label_bars(axes: Axes, fitted: pd.DataFrame, end: np.ndarray, clipped: np.ndarray) -> None:
    rows = zip(fitted["symbol"], fitted["signal"], fitted["z_score"], end, clipped, strict=True)
    for i, (symbol, signal, score, tip, is_clipped) in enumerate(rows):
        name = short_name(symbol, 12)
        axes.annotate(
            f"{name} {signed(score, 1)}" if is_clipped else name,
            (i, tip), xytext=(0, 3 if tip >= 0 else -3), textcoords="offset points",
            rotation=90, ha="center", va="bottom" if tip >= 0 else "top",
            fontsize=6.5, color=MUTED if signal == "HOLD" else SIGNAL_COLOURS[signal],
            fontweight="normal" if signal == "HOLD" else "bold",
        )  # fmt: skip


def _draw_table(page: Page, left: float, signal: str, signals: pd.DataFrame) -> None:
    chosen = signals[signals["signal"] == signal]
    ranked = chosen.assign(depth=chosen["z_score"].abs()).sort_values(
        ["signal_strength", "depth", "symbol"], ascending=[False, False, True]
    )
    shown = min(len(ranked), _TABLE_ROWS)
    heading = f"Strongest {signal} signals ({shown} of {len(ranked)})"
    page.text(
        left, _TABLE_TOP, heading, fontsize=10.5, fontweight="bold", color=SIGNAL_COLOURS[signal]
    )
    if ranked.empty:
        page.text(left, _TABLE_TOP + 26, f"No {signal} signal on this day.", color=MUTED)
        return
    for caption, x, align in _COLUMNS:
        page.text(left + x, _TABLE_TOP + 24, caption, ha=align, fontsize=7.5, color=MUTED)
    for i, row in enumerate(ranked.head(_TABLE_ROWS).to_dict("records")):
        y = _TABLE_TOP + 44 + 21 * i
        page.rectangle(left, y - 14, 580, 0.8, PALE)
        cells = (
            printable(row["symbol"])[:16],
            f"{row['signal_strength']:.0f}",
            signed(row["z_score"]),
            price(row["close"]),
            signed(row["target_return_pct"], 1, " %"),
            _agreement(row["confirmations"]),
        )
        for (_, x, align), cell in zip(_COLUMNS, cells, strict=True):
            small = align == "left" and x > 0
            page.text(left + x, y, cell, ha=align, fontsize=6.5 if small else 8.5)


def _agreement(confirmations: object) -> str:
    """Confirmations in few words: RSI_OVERSOLD as "RSI oversold"."""
    names = [] if confirmations is None else list(confirmations)  # type: ignore[call-overload]
    words = (n.replace("_", " ").lower() for n in names)
    return ", ".join(w.replace("rsi", "RSI").replace("macd", "MACD") for w in words)


def _without_channel(signals: pd.DataFrame) -> str:
    names = [short_name(s) for s in sorted(signals.loc[signals["status"] != "OK", "symbol"])]
    if not names:
        return "Every member has a channel." if len(signals) else "No member on this day."
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"Without a channel: {', '.join(names[:_MOST_NAMES])}{more}."
