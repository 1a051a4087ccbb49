"""Windows of several symbols and days: which candles the rows of a run may see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.candles import Candles, day_numbers
from autonama_dagster.analytics.candles.hashing import window_hashes
from autonama_dagster.analytics.candles.intervals import DAILY, Interval
from autonama_dagster.analytics.candles.windows import Windows, day_range, windows

Answered = Mapping[str, Sequence[tuple[date, date]]]
"""Ranges of days that the exchange has answered for, both ends included, by symbol.

They may overlap and be in any order; a symbol that was never asked for is absent.
"""


@dataclass(frozen=True)
class RunWindows:
    """Candles of each symbol of a run and its window of each day, aligned lists.

    Attributes
    ----------
    candles
        Of each symbol, all that the windows need.
    windows
        Of each symbol, one for each day of the run.
    known
        Of each symbol, for each day of the run, whether the exchange has answered for all of the
        lookback; where it has not, the window is empty.
    """

    candles: Sequence[Candles]
    windows: Sequence[Windows]
    known: Sequence[NDArray[np.bool_]]

    def hashes(self) -> NDArray[np.str_]:
        """Hash of every window, symbol by symbol, day by day."""
        return self._hashes

    @cached_property
    def _hashes(self) -> NDArray[np.str_]:
        """Made once: several tables carry them."""
        pairs = zip(self.candles, self.windows, strict=True)
        return np.concatenate([np.asarray(window_hashes(c, w)) for c, w in pairs])

    def unknown(self) -> int:
        """Days whose window the exchange has not been asked for entirely, over all symbols."""
        return sum(int((~known).sum()) for known in self.known)

    def has_candle(self) -> NDArray[np.bool_]:
        """Whether the symbol has a candle on the day, aligned with `hashes`."""
        return np.concatenate([w.has_candle for w in self.windows])


def windows_of(
    found: Mapping[str, Candles],
    symbols: Sequence[str],
    first: date,
    last: date,
    lookback: int,
    answered: Answered | None = None,
) -> RunWindows:
    """Windows of every symbol and day; a symbol without candles has empty ones.

    Parameters
    ----------
    answered
        Ranges of days the exchange has answered, by symbol. Days whose window reaches beyond them
        count as days without a candle and have an empty window. None: everything is answered.
    """
    days = day_range(first, last)
    run = windows_at(found, symbols, days, lookback)
    if answered is None:
        return run
    known = [known_days(answered.get(s, ()), days, lookback) for s in symbols]
    made = [_only_known(w, k) for w, k in zip(run.windows, known, strict=True)]
    return RunWindows(run.candles, made, known)


def windows_at(
    found: Mapping[str, Candles],
    symbols: Sequence[str],
    days: NDArray[np.int64],
    lookback: int,
    interval: Interval = DAILY,
) -> RunWindows:
    """Windows of every symbol and given day, or step of the interval that the candles have."""
    candles = [found[s] if s in found else _no_candles(s, interval) for s in symbols]
    made = [windows(c, days, lookback) for c in candles]
    return RunWindows(candles, made, [np.ones(len(days), dtype=bool)] * len(made))


def answered_candles(
    candles: Mapping[str, Candles], answered: Answered, day: int, lookback: int
) -> dict[str, Candles]:
    """Candles of the symbols whose window of `lookback` days to `day` is answered entirely."""
    days = np.array([day], dtype=np.int64)
    return {s: c for s, c in candles.items() if known_days(answered.get(s, ()), days, lookback)[0]}


def known_days(
    ranges: Sequence[tuple[date, date]], days: NDArray[np.int64], lookback: int
) -> NDArray[np.bool_]:
    """Which days have a window of `lookback` days that lies within the union of the ranges."""
    known = np.zeros(len(days), dtype=bool)
    merged: list[tuple[date, date]] = []
    for begin, end in sorted(ranges):
        if merged and begin <= merged[-1][1] + timedelta(days=1):
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    for begin, end in merged:
        bounds = np.array([begin, end], dtype="datetime64[D]").astype(np.int64)
        known |= (days - (lookback - 1) >= bounds[0]) & (days <= bounds[1])
    return known


def known_rows(frame: pd.DataFrame, answered: Answered, lookback: int) -> NDArray[np.bool_]:
    """Which rows (symbol, date) of a frame have such a window, each in its symbol's ranges."""
    days = day_numbers(frame)
    known = np.zeros(len(frame), dtype=bool)
    for symbol, rows in frame.groupby("symbol").indices.items():
        known[rows] = known_days(answered.get(str(symbol), ()), days[rows], lookback)
    return known


def _only_known(of: Windows, known: NDArray[np.bool_]) -> Windows:
    return replace(of, stop=np.where(known, of.stop, of.start), has_candle=of.has_candle & known)


def _no_candles(symbol: str, interval: Interval) -> Candles:
    none = np.empty(0, dtype=np.float64)
    hashes = np.empty(0, dtype="S64")
    columns = (np.empty(0, dtype=np.int64), none, none, none, none, none, none, hashes)
    return Candles(symbol, *columns, interval=interval)
