"""The rows that per-day analytics are made of: one for every (symbol, day) that has a candle."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from autonama_dagster.analytics.candles.candles import Candles
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
        Columns symbol (str) and date (datetime64[s]), with a RangeIndex.

    Raises
    ------
    ValueError
        If `candles` and `windows`, which belong together, differ in length.
    """
    symbols: list[str] = []
    days = [np.empty(0, np.int64)]
    for series, window in zip(candles, windows, strict=True):
        days.append(window.day[window.has_candle])
        symbols += [series.symbol] * len(days[-1])
    dates = np.concatenate(days).astype("datetime64[D]").astype("datetime64[s]")
    return pd.DataFrame({"symbol": pd.Series(symbols, dtype="str"), "date": dates})
