"""The rows that analytics are made of: one for each symbol and day, or other bar, with a candle."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.candles import Candles, as_instants
from autonama_dagster.analytics.candles.intervals import DAILY, Interval
from autonama_dagster.analytics.candles.windows import Windows


def spans(window: Windows) -> Iterator[tuple[int, int]]:
    """(start, stop) of W for each day with a candle, in order of days."""
    present = window.has_candle
    return zip(window.start[present].tolist(), window.stop[present].tolist(), strict=True)


def keys(candles: Sequence[Candles], windows: Sequence[Windows]) -> pd.DataFrame:
    """Key columns of the rows, in the order of `candles`, then of `spans`.

    Returns
    -------
    pd.DataFrame
        Column symbol (str) and those of `times`, with a RangeIndex.

    Raises
    ------
    ValueError
        If `candles` and `windows`, which belong together, differ in length, or the candles are of
        several intervals.
    """
    symbols: list[str] = []
    steps = [np.empty(0, np.int64)]
    for series, window in zip(candles, windows, strict=True):
        steps.append(window.day[window.has_candle])
        symbols += [series.symbol] * len(steps[-1])
    when = times(interval_of(candles), np.concatenate(steps))
    return pd.DataFrame({"symbol": pd.Series(symbols, dtype="str"), **when})


def times(interval: Interval, steps: NDArray[np.int64]) -> dict[str, Any]:
    """Columns that say which bar a row is about, as the tables of candles have them.

    date is the UTC day on which the bar closes (datetime64[s]), and its own for a daily one. Bars
    of other intervals have open_time (UTC) beside it.
    """
    found: dict[str, Any] = {"date": dates(interval, steps)}
    if interval != DAILY:
        found["open_time"] = as_instants(interval.open_ms(steps))
    return found


def dates(interval: Interval, steps: NDArray[np.int64]) -> NDArray[np.datetime64]:
    """UTC days on which steps close, as datetime64[s]."""
    closes = interval.close_ms(steps).astype("datetime64[ms]")
    return closes.astype("datetime64[D]").astype("datetime64[s]")


def interval_of(candles: Iterable[Candles]) -> Interval:
    """The interval that candles have in common; a day where there are none.

    Raises
    ------
    ValueError
        They have several.
    """
    found = {series.interval for series in candles}
    if len(found) > 1:
        names = " and ".join(sorted(interval.name for interval in found))
        raise ValueError(f"candles of {names} in one run: pass those of one interval")
    return found.pop() if found else DAILY
