"""Candles for tests of the analytics: real ones, random walks, and parts of both."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from autonama_dagster.analytics.candles.candles import FACTS, Candles

FIRST_DAY = 18_000
DAY_MS = 86_400_000


def of_closes(close: Iterable[float], day: Iterable[int] | None = None) -> Candles:
    """Candles that open at the close before, on consecutive days unless told otherwise."""
    close = np.array(close, dtype=np.float64)
    day = np.arange(len(close)) + FIRST_DAY if day is None else np.array(day, dtype=np.int64)
    open_ = np.concatenate([close[:1], close[:-1]])
    high, low = np.maximum(open_, close), np.minimum(open_, close)
    row_hash = np.array([f"{i:064x}" for i in range(len(close))], dtype="S64")
    return Candles("BTCUSDT", day, open_, high, low, close, close, close, row_hash)


def of_frame(frame: pd.DataFrame) -> Candles:
    """Candles of a frame that holds one symbol."""
    (candles,) = Candles.by_symbol(frame).values()
    return candles


def walk(seed: int, n: int, volatility: float = 0.04) -> Candles:
    """Random walk of n days at a price between e^-5 and e^5."""
    rng = np.random.default_rng(seed)
    return of_closes(np.exp(rng.uniform(-5, 5) + np.cumsum(rng.normal(0, volatility, n))))


def part(candles: Candles, where: slice | np.ndarray) -> Candles:
    """A copy of some candles that shares nothing, not even the alignment in memory."""
    return replace(candles, **{n: getattr(candles, n)[where].copy() for n in ("day", *FACTS)})


def without(candles: Candles, *positions: int) -> Candles:
    """The candles with some days missing."""
    return part(candles, np.setdiff1d(np.arange(len(candles)), positions))


def scaled(candles: Candles, factor: float) -> Candles:
    """The candles at `factor` times the price."""
    prices = {name: getattr(candles, name) * factor for name in ("open", "high", "low", "close")}
    return replace(candles, **prices)


def real(market_data: Path, symbol: str) -> Candles:
    """Recorded candles of a pair."""
    frame = pd.read_csv(market_data / "klines" / "1d" / f"{symbol}.csv.gz")
    prices = (frame[name].to_numpy(np.float64) for name in ("open", "high", "low", "close"))
    volume = frame["volume"].to_numpy(np.float64)
    row_hash = np.array([f"{time:064x}" for time in frame["open_time"]], dtype="S64")
    day = frame["open_time"].to_numpy() // DAY_MS
    return Candles(symbol, day, *prices, volume, volume, row_hash)


def days(first: str, last: str) -> np.ndarray:
    """Days since 1970-01-01 from `first` to `last`, both included."""
    return np.arange(np.datetime64(first, "D"), np.datetime64(last, "D") + 1).astype(np.int64)
