"""The windows a run needs, read from the warehouse: what every analytic stage starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from autonama_dagster.analytics.candles import Candles
from autonama_dagster.analytics.hashing import window_hashes
from autonama_dagster.analytics.windows import Windows, windows
from resources.warehouse import Scope, Warehouse


@dataclass(frozen=True)
class RunWindows:
    """Candles of each symbol of a run and its window of each day, aligned lists."""

    candles: Sequence[Candles]
    windows: Sequence[Windows]

    def hashes(self) -> NDArray[np.str_]:
        """Hash of every window, symbol by symbol, day by day."""
        pairs = zip(self.candles, self.windows, strict=True)
        return np.concatenate([np.asarray(window_hashes(c, w)) for c, w in pairs])

    def has_candle(self) -> NDArray[np.bool_]:
        """Whether the symbol has a candle on the day, aligned with `hashes`."""
        return np.concatenate([w.has_candle for w in self.windows])


def read_windows(warehouse: Warehouse, scope: Scope, lookback: int) -> RunWindows:
    """Windows of the scope's symbols and days, from the stored candles."""
    assert scope.first is not None and scope.last is not None  # noqa: S101, PT018
    symbols = scope.symbols or ()
    found = warehouse.candles(symbols, scope.first - timedelta(days=lookback - 1), scope.last)
    return windows_of(found, symbols, scope.first, scope.last, lookback)


def windows_of(
    found: Mapping[str, Candles], symbols: Sequence[str], first: date, last: date, lookback: int
) -> RunWindows:
    """Windows of every symbol and day; a symbol without candles has empty ones."""
    candles = [found[s] if s in found else _no_candles(s) for s in symbols]
    days = np.arange(np.datetime64(first), np.datetime64(last) + 1).astype(np.int64)
    return RunWindows(candles, [windows(c, days, lookback) for c in candles])


def _no_candles(symbol: str) -> Candles:
    none = np.empty(0, dtype=np.float64)
    hashes = np.empty(0, dtype="S64")
    return Candles(symbol, np.empty(0, dtype=np.int64), none, none, none, none, none, none, hashes)
