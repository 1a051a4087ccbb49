"""Heatmap of the members' return correlations on one day."""

import datetime as dt

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from numpy.typing import NDArray

from autonama_dagster.analytics.scan.correlation import (
    HIGH_PEARSON,
    MIN_COMMON_DAYS,
    RETURN_DAYS,
    order_by_clustering,
)
from autonama_dagster.reports.charts.names import short_names
from autonama_dagster.reports.charts.style import (
    INK,
    MUTED,
    NEUTRAL,
    Page,
    render,
    say,
    true_minus,
)
from autonama_dagster.text.labels import counted

_WIDTH, _HEIGHT = 1120, 1110
_LEVELS = 40  # steps of 0.05: with the shades of the text they fit into a palette
_LEFT, _TOP, _SIDE = 104, 84, 900


def correlation_heatmap(
    pairs: pd.DataFrame,
    *,
    date: dt.date,
    expected_high: float | None = None,
    source_label: str | None = None,
) -> bytes:
    """Square heatmap of Pearson correlations, similar members side by side.

    Parameters
    ----------
    pairs
        Rows of `correlation_matrix` of one day: symbol_a, symbol_b, pearson (NaN: too few common
        days). Each pair once, in any order; no rows gives a page that says so.
    date
        The UTC day.
    expected_high
        High pairs to be expected if the members had nothing in common; None: unknown.
    source_label
        See `style.render`.

    Returns
    -------
    bytes
        PNG, under 70 KB for 100 members.
    """
    symbols, matrix = _square(pairs)
    if symbols:
        order = order_by_clustering(matrix)
        symbols, matrix = [symbols[i] for i in order], matrix[np.ix_(order, order)]

    def draw(page: Page) -> None:
        page.title(
            "Correlation of daily returns", _subtitle(date, pairs, len(symbols), expected_high)
        )
        _draw_matrix(page, symbols, matrix)
        page.footer(
            f"Pearson correlation of daily log returns over the last {RETURN_DAYS} days "
            "(UTC days), USDT pairs, ordered by hierarchical clustering.",
            f"Grey: fewer than {MIN_COMMON_DAYS} common days. By chance: expected if members were "
            "independent of each other.",
        )

    return render(_WIDTH, _HEIGHT, draw, source_label, names=symbols)


def _square(pairs: pd.DataFrame) -> tuple[list[str], NDArray[np.float64]]:
    """Symbols in alphabetical order and their symmetric matrix, 1 on the diagonal."""
    symbols = sorted({*pairs["symbol_a"], *pairs["symbol_b"]})
    index = pd.Index(symbols)
    a, b = index.get_indexer(pairs["symbol_a"]), index.get_indexer(pairs["symbol_b"])
    matrix = np.full((len(symbols), len(symbols)), np.nan)
    matrix[a, b] = matrix[b, a] = pairs["pearson"].to_numpy(np.float64)
    np.fill_diagonal(matrix, 1.0)
    return symbols, matrix


def _subtitle(date: dt.date, pairs: pd.DataFrame, members: int, expected: float | None) -> str:
    known = pairs["pearson"].dropna()
    text = f"{date:%Y-%m-%d} UTC, {counted(members, 'member')}"
    if known.empty:
        return text
    high = int((known.abs() >= HIGH_PEARSON).sum())
    by_chance = "" if expected is None else f", {expected:.1f} by chance"
    return (
        f"{text}; median {known.median():.2f}; {high:,} of {counted(len(known), 'pair')} at or "
        f"above {HIGH_PEARSON} (either sign){by_chance}"
    )


def _draw_matrix(page: Page, symbols: list[str], matrix: NDArray[np.float64]) -> None:
    axes = page.axes(_LEFT, _TOP, _SIDE, _SIDE)
    axes.grid(visible=False)
    if not symbols:
        axes.set_axis_off()
        say(axes, "No pairs of members on this day.")
        return
    colours = colormaps["RdBu"].resampled(_LEVELS).with_extremes(bad="#D5DADF")
    scale = Normalize(-1, 1)
    axes.imshow(matrix, cmap=colours, norm=scale, interpolation="nearest", aspect="auto")
    axes.spines[:].set_visible(False)
    cell_points = _SIDE / len(symbols) * 0.72
    size = min(9.0, 0.86 * cell_points)
    names = list(short_names(symbols).values())
    at = range(len(symbols))
    axes.set_xticks(at, names, rotation=90, fontsize=size, color=INK)
    axes.set_yticks(at, names, fontsize=size, color=INK)
    axes.tick_params(length=0, pad=2)
    _draw_scale(page, ScalarMappable(scale, colours))


def _draw_scale(page: Page, mapping: ScalarMappable) -> None:
    ticks = (-1.0, -HIGH_PEARSON, 0.0, HIGH_PEARSON, 1.0)
    bar = page.figure.colorbar(
        mapping, cax=page.axes(_LEFT + _SIDE + 24, _TOP, 16, 320), ticks=ticks
    )
    bar.ax.set_yticklabels([true_minus(f"{t:+g}") if t else "0" for t in ticks])
    bar.ax.tick_params(length=3, color=NEUTRAL, labelcolor=MUTED)
    bar.ax.grid(visible=False)
    bar.outline.set_visible(False)
    page.text(_LEFT + _SIDE + 24, _TOP - 8, "Pearson", fontsize=8, color=MUTED)
