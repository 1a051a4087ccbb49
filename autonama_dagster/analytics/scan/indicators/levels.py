"""Support and resistance: the nearest clusters of confirmed pivots around a day's close.

A pivot high is a candle whose high exceeds the highs of the 5 candles on each side, a pivot low one
whose low undercuts theirs; both sides lie inside the window W(symbol, D), so a pivot is confirmed
by D and never taken back. Highs and lows are pooled: broken resistance turns into support.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from math import exp, isnan, log, nan
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.candles import rows
from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.windows import Windows
from autonama_dagster.errors import SchemaError

SIDE = 5  # candles on each side that a pivot stands out from


class Pivots(NamedTuple):
    """Pivot highs and lows of a symbol's candles, pooled, by rising price; aligned 1-D arrays."""

    position: NDArray[np.int64]
    log_price: NDArray[np.float64]


def find_pivots(candles: Candles) -> Pivots:
    """All pivots of a symbol.

    Being a pivot depends on 11 candles only, so those of any window are a subset: the ones at least
    `SIDE` candles away from both its ends.
    """
    highs, lows = _peaks(candles.high), _peaks(-candles.low)
    prices = [*candles.high[highs].tolist(), *candles.low[lows].tolist()]
    # math.log, one by one: numpy's vectorised log may round by the place in the array.
    logs = np.array([log(price) for price in prices], dtype=np.float64)
    order = np.argsort(logs, kind="stable")
    return Pivots(np.concatenate([highs, lows])[order], logs[order])


def nearest_levels(
    pivots: Pivots, start: int, stop: int, close: float, natr_14: float
) -> tuple[float, float]:
    """Nearest level below and above the last close of the window `candles[start:stop]`.

    Pivots sorted by log price form clusters: a cluster takes the next pivot while it lies within
    natr_14 / 100 of the cluster's lowest. A level is exp(mean log price) of a cluster.

    Parameters
    ----------
    pivots
        All of the symbol's, see `find_pivots`.
    start, stop
        The window; its last candle is the day's.
    close
        That candle's close.
    natr_14
        Normalised average true range of the day, in percent.

    Returns
    -------
    support, resistance
        In the quote currency, strictly below and strictly above the close; NaN where there is no
        such level or natr_14 is NaN.
    """
    if isnan(natr_14):
        return nan, nan
    confirmed = (pivots.position >= start + SIDE) & (pivots.position < stop - SIDE)
    log_close = log(close)
    support = nan
    # Clusters do not overlap, so their levels rise: the first above the close is the nearest.
    for level in _levels(pivots.log_price[confirmed].tolist(), natr_14 / 100):
        price = exp(level)
        # Compared on both scales: exp(log(p)) may miss p, and two logs may round to one price.
        if level < log_close and price < close:
            support = price
        elif level > log_close and price > close:
            return support, price
    return support, nan


def compute(
    candles: Sequence[Candles], windows: Sequence[Windows], natr_14: NDArray[np.float64]
) -> pd.DataFrame:
    """Support and resistance of every (symbol, day) that has a candle.

    Parameters
    ----------
    candles
        One per symbol.
    windows
        The windows of the days wanted, aligned with `candles`.
    natr_14
        In percent, one per row of the result: the column of `indicators.compute` for the same
        candles and windows.

    Returns
    -------
    pd.DataFrame
        Columns of `rows.keys`, support_level, resistance_level; rows in the order of
        `candles`, then of days. See `nearest_levels` for the values.

    Raises
    ------
    SchemaError
        If natr_14 has another length than the result.
    ValueError
        If `candles` and `windows` differ in length.
    """
    frame = rows.keys(candles, windows)
    if len(natr_14) != len(frame):
        raise SchemaError(
            f"natr_14 has {len(natr_14)} values, the windows hold {len(frame)} candles: "
            "pass the natr_14 column of indicators.compute for the same windows"
        )
    widths = iter(natr_14.tolist())
    levels: list[tuple[float, float]] = []
    for series, window in zip(candles, windows, strict=True):
        pivots = find_pivots(series)
        for start, stop in rows.spans(window):
            close = float(series.close[stop - 1])
            levels.append(nearest_levels(pivots, start, stop, close, next(widths)))
    values = np.array(levels, dtype=np.float64).reshape(-1, 2)
    return frame.assign(support_level=values[:, 0], resistance_level=values[:, 1])


def _peaks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions of the values strictly above the `SIDE` before and the `SIDE` after them."""
    count = len(values) - 2 * SIDE
    if count <= 0:
        return np.empty(0, dtype=np.int64)
    beside = [values[at : at + count] for at in range(2 * SIDE + 1) if at != SIDE]
    return np.flatnonzero(values[SIDE : SIDE + count] > np.max(beside, axis=0)) + SIDE


def _levels(log_prices: list[float], width: float) -> Iterator[float]:
    """Mean log price of each cluster of the sorted pivots, rising."""
    first = 0
    while first < len(log_prices):
        lowest = log_prices[first]
        stop = bisect_right(log_prices, lowest + width, first)
        # The mean offset, not the mean: pivots of one price give exactly that price.
        offsets = sum(price - lowest for price in log_prices[first:stop])
        yield lowest + offsets / (stop - first)
        first = stop
