"""The scan of one day in one picture: every member's place in its channel, and the signals."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from autonama_dagster.analytics.scan.signals import CONFIRMATIONS
from autonama_dagster.reports.charts.names import printable, short_names, shortened
from autonama_dagster.reports.charts.style import (
    DPI,
    INK,
    MARGIN,
    MUTED,
    NEUTRAL,
    PALE,
    SIGNAL_COLOURS,
    Page,
    bars,
    draw_edges,
    percent,
    price,
    render,
    say,
    signed,
)
from autonama_dagster.text.labels import CONFIRMATION_WORDS, counted

_WIDTH, _HEIGHT = 1280, 820
_LEFT, _TOP = 84, 92
_PLOT_WIDTH, _PLOT_HEIGHT = 1106, 410
_TABLE_TOP = 540
_TABLE_ROWS: Final = 8
_NAME_WIDTH, _NAME_SIZE = 108, 8.5  # pixels and points of a symbol in a table
_LONGEST_NAME: Final = 20
_MOST_LABELS: Final = 130  # names of more members would overlap
_MOST_NAMES: Final = 14  # of members without a channel

# Table columns beside the symbol: caption, x in pixels from the table's left edge, alignment.
_COLUMNS: Final = (
    ("Strength", 150, "right"),
    ("z-score", 215, "right"),
    ("Close (USDT)", 310, "right"),
    ("Target return", 410, "right"),
    ("Agreeing confirmations", 432, "left"),
)


def scan_summary(
    signals: pd.DataFrame,
    *,
    date: dt.date,
    kstd: float,
    expected: Mapping[str, Any],
    source_label: str | None = None,
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
    expected
        What `chance.expectations` returned for the day: expected_buy_signals and
        expected_sell_signals stand under the counts; None is left out.
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
            f"{date:%Y-%m-%d} UTC, {counted(len(signals), 'member')}, daily candles",
        )
        _draw_counts(page, signals, expected)
        _draw_scores(page, fitted, kstd)
        _draw_table(page, MARGIN, "BUY", signals)
        _draw_table(page, MARGIN + 620, "SELL", signals)
        page.footer(
            _without_channel(signals),
            "Strength (0 to 100) is depth outside the channel plus agreeing confirmations, "
            "not a probability. Target return: from the close to the far edge of today's channel.",
            "By chance: signals expected if each member's own daily returns came in random order.",
        )

    return render(_WIDTH, _HEIGHT, draw, source_label, names=signals["symbol"])


def _draw_counts(page: Page, signals: pd.DataFrame, expected: Mapping[str, Any]) -> None:
    ok = signals["status"] == "OK"
    counts = {name: int((ok & (signals["signal"] == name)).sum()) for name in SIGNAL_COLOURS}
    rare = ["QUARANTINED"] if (signals["status"] == "QUARANTINED").any() else []
    counts |= {
        name: int((signals["status"] == name).sum())
        for name in ("INSUFFICIENT_DATA", "NO_DATA", *rare)
    }
    for i, (name, count) in enumerate(counts.items()):
        colour = SIGNAL_COLOURS.get(name, INK)
        x = 640 - 120 * len(rare) + 120 * i
        page.figure_of(x, 34, name, str(count), color=colour, fontsize=16)
        by_chance = expected.get(f"expected_{name.lower()}_signals")
        if by_chance is not None:
            page.text(x, 71, f"{by_chance:.1f} by chance", fontsize=7.5, color=MUTED)


def _draw_scores(page: Page, fitted: pd.DataFrame, kstd: float) -> None:
    axes = page.axes(_LEFT, _TOP, _PLOT_WIDTH, _PLOT_HEIGHT)
    axes.set_ylabel("z-score: distance from the channel's centre\n(residual standard deviations)")
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    if fitted.empty:
        axes.set_ylim(-2 * kstd, 2 * kstd)
        say(axes, "No members with a channel on this day.")
        return
    count = len(fitted)
    score = fitted["z_score"].to_numpy(np.float64)
    # A crash of 15 deviations must not flatten the others: its bar ends at the edge of the plot.
    limit = min(max(1.35 * float(np.abs(score).max()), 1.6 * kstd), 3.2 * kstd)
    axes.set_xlim(-1, count)
    axes.set_ylim(-limit, limit)
    draw_edges(axes, kstd)
    end = np.clip(score, -0.86 * limit, 0.86 * limit)
    colours = [_bar_colour(s) for s in fitted["signal"]]
    width = min(14.0, 0.6 * _PLOT_WIDTH / (count + 1)) * 72 / DPI
    bars(axes, np.arange(count, dtype=np.float64), end, colours, width)
    if count <= _MOST_LABELS:
        _label_bars(axes, fitted, end)


def _bar_colour(signal: str) -> str:
    return NEUTRAL if signal == "HOLD" else SIGNAL_COLOURS[signal]


def _label_bars(axes: Axes, fitted: pd.DataFrame, end: NDArray[np.float64]) -> None:
    """Names on the other side of the zero line, where no bar and no edge is in their way.

    A bar that ends before its score has the score at its end.
    """
    names = short_names(fitted["symbol"].tolist())
    rows = zip(names.values(), fitted["signal"], fitted["z_score"], end, strict=True)
    for i, (name, signal, score, tip) in enumerate(rows):
        colour = MUTED if signal == "HOLD" else SIGNAL_COLOURS[signal]
        labels = [(name, 0.0, score < 0)]
        if tip != score:
            labels.append((signed(score, 1), tip, score > 0))
        for text, at, is_above in labels:
            axes.annotate(
                text, (i, at), xytext=(0, 3 if is_above else -3), textcoords="offset points",
                rotation=90, ha="center", va="bottom" if is_above else "top", fontsize=6.5,
                color=colour, fontweight="normal" if signal == "HOLD" else "bold",
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
        page.text(left, _TABLE_TOP + 26, f"No {signal} signals on this day.", color=MUTED)
        return
    page.text(left, _TABLE_TOP + 24, "Symbol", fontsize=7.5, color=MUTED)
    for caption, x, align in _COLUMNS:
        page.text(left + x, _TABLE_TOP + 24, caption, ha=align, fontsize=7.5, color=MUTED)
    top = ranked.head(_TABLE_ROWS)
    names = shortened({s: printable(s) for s in top["symbol"]}, _LONGEST_NAME)
    for i, row in enumerate(top.to_dict("records")):
        y = _TABLE_TOP + 44 + 21 * i
        page.rectangle(left, y - 14, 580, 0.8, PALE)
        page.name(left, y, names[row["symbol"]], _NAME_WIDTH, _NAME_SIZE)
        cells = (
            f"{row['signal_strength']:.0f}",
            signed(row["z_score"]),
            price(row["close"]),
            percent(row["target_return_pct"]),
            _agreeing(row["confirmations"], signal),
        )
        for (_, x, align), cell in zip(_COLUMNS, cells, strict=True):
            page.text(left + x, y, cell, ha=align)


def _agreeing(confirmations: Iterable[str], signal: str) -> str:
    """What agrees with the signal, in one word each."""
    words = [
        CONFIRMATION_WORDS[name] for name in confirmations if signal in CONFIRMATIONS.get(name, ())
    ]
    return ", ".join(words) or "none"


def _without_channel(signals: pd.DataFrame) -> str:
    symbols = sorted(signals.loc[signals["status"] != "OK", "symbol"])
    names = list(short_names(symbols).values())
    if not names:
        return "Every member has a channel." if len(signals) else "No members on this day."
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"Without a channel: {', '.join(names[:_MOST_NAMES])}{more}."
