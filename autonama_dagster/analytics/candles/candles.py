"""Candles: columns of a frame as aligned arrays, one symbol at a time. `klines` checks raw rows."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.digests import digests
from autonama_dagster.analytics.candles.intervals import DAILY, Interval
from autonama_dagster.errors import SchemaError

PRICES: Final = ("open", "high", "low", "close")
CANDLE_FLOATS: Final = (*PRICES, "volume", "quote_volume")
AMOUNTS: Final = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
NUMBERS: Final = (*PRICES, *AMOUNTS)
FACTS: Final = (*NUMBERS, "trades", "row_hash", "source")
"""What a table says of a candle beside its key: its digest covers all of it."""
DAY_MS: Final = 86_400_000

_UNKNOWN: Final = {
    "taker_buy_volume": np.nan,
    "taker_buy_quote_volume": np.nan,
    "trades": 0,
    "source": b"",
}


def as_instants(milliseconds: NDArray[np.int64]) -> pd.Series:
    """Times in milliseconds since 1970 as the aware UTC timestamps of a frame."""
    return pd.Series((milliseconds * 1000).view("datetime64[us]")).dt.tz_localize("UTC")


@dataclass(frozen=True, slots=True, eq=False)
class Candles:
    """One symbol's closed candles in time order; aligned 1-D arrays of length n.

    Attributes
    ----------
    symbol
        The pair, e.g. "BTCUSDT".
    day
        Days since 1970-01-01 (UTC), strictly increasing; missing days are simply absent. Of another
        interval: steps of its grid, and what is said of days elsewhere holds for steps.
    open, high, low, close
        Prices in the quote currency, finite and positive.
    volume, quote_volume
        Traded amounts in base and in quote currency, not negative.
    row_hash
        SHA-256 (hex, dtype "S64") of the exchange's own strings, see `klines.row_hash`.
    taker_buy_volume, taker_buy_quote_volume
        What takers bought of both volumes; NaN where it is not known.
    trades
        Number of trades; 0 where it is not known.
    source
        Where each candle came from, see `text.sources` (dtype "S"); empty where it is not known.
    interval
        The grid the candles open on.
    digest
        SHA-256 of all that is known of each candle, shape (n, 32), see `digests.digests`.

    Raises
    ------
    SchemaError
        If the days do not strictly increase or an array has another length.
    """

    symbol: str
    day: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    quote_volume: NDArray[np.float64]
    row_hash: NDArray[np.bytes_]
    taker_buy_volume: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    taker_buy_quote_volume: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    trades: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    source: NDArray[np.bytes_] = field(default_factory=lambda: np.empty(0, "S1"))
    interval: Interval = DAILY
    digest: NDArray[np.uint8] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name, unknown in _UNKNOWN.items():
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.full(self.day.shape, unknown))
        for name in FACTS:
            if getattr(self, name).shape != self.day.shape:
                raise SchemaError(
                    f"candles of {self.symbol}: {name} has shape {getattr(self, name).shape}, "
                    f"the days have {self.day.shape}: pass arrays of one length"
                )
        stalled = np.flatnonzero(np.diff(self.day) <= 0)
        if stalled.size:
            opened = self.interval.open_ms(self.day[stalled[:1] + 1]).view("datetime64[ms]")[0]
            text = np.datetime_as_string(opened, unit="D" if self.interval == DAILY else "m")
            raise SchemaError(
                f"candles of {self.symbol}: {text} is not later than the row before it: "
                "pass one candle a day or step, in time order"
            )
        digest = digests(
            f"{self.symbol}\n{self.interval.name}\n",
            self.day,
            self.row_hash,
            [getattr(self, name) for name in NUMBERS],
            self.trades,
            self.source,
        )
        object.__setattr__(self, "digest", digest)

    def __len__(self) -> int:
        return len(self.day)

    def part(self, where: NDArray[np.bool_] | slice) -> Self:
        """The candles of a slice, or where a mask of length n holds."""
        return replace(self, **{name: getattr(self, name)[where] for name in ("day", *FACTS)})

    def until(self, day: int) -> Self:
        """The candles up to a day, the day included, as views of these arrays."""
        stop = int(np.searchsorted(self.day, day, side="right"))
        # Not by __init__, which would check and hash again what is checked and hashed: 4 us, not
        # 0.5 ms at 800 candles, and a verification cuts every series once a day.
        found = object.__new__(type(self))
        for name in ("day", *FACTS, "digest"):
            object.__setattr__(found, name, getattr(self, name)[:stop])
        object.__setattr__(found, "symbol", self.symbol)
        object.__setattr__(found, "interval", self.interval)
        return found

    @classmethod
    def by_symbol(cls, frame: pd.DataFrame, interval: Interval = DAILY) -> dict[str, Self]:
        """Candles of each symbol of a frame, in any row order; an empty frame gives {}.

        Daily candles are placed by the column date, others by open_time.

        Raises
        ------
        SchemaError
            If a symbol has a day twice.
        """
        return {candles.symbol: candles for candles in cls._split(frame, interval)}

    @classmethod
    def _split(cls, frame: pd.DataFrame, interval: Interval) -> Iterator[Self]:
        codes, names = pd.factorize(frame["symbol"], sort=True)
        day = interval.steps(opens(frame, interval))
        order = np.lexsort((day, codes))
        codes, day = codes[order], day[order]
        facts: dict[str, Any] = {n: frame[n].to_numpy(np.float64)[order] for n in NUMBERS}
        facts["trades"] = frame["trades"].to_numpy(np.int64)[order]
        facts["row_hash"] = frame["row_hash"].to_numpy(dtype=object).astype("S64")[order]
        of, sources = pd.factorize(frame["source"])
        facts["source"] = np.array([*sources, ""], dtype="S")[of[order]]
        edges = np.searchsorted(codes, np.arange(len(names) + 1))
        for name, start, stop in zip(names, edges[:-1], edges[1:], strict=True):
            part = slice(int(start), int(stop))
            yield cls(
                symbol=str(name),
                day=day[part],
                interval=interval,
                **{name: column[part] for name, column in facts.items()},
            )


def opens(frame: pd.DataFrame, interval: Interval) -> NDArray[np.int64]:
    """Open times of a frame's candles in milliseconds since 1970; daily ones have a date alone."""
    if interval == DAILY:
        return day_numbers(frame) * DAY_MS
    times = frame["open_time"].dt.tz_localize(None).to_numpy()
    return np.asarray(times.astype("datetime64[ms]").astype(np.int64))


def day_numbers(frame: pd.DataFrame) -> NDArray[np.int64]:
    """Days of a frame's rows since 1970-01-01 (UTC), from the column `date`."""
    return np.asarray(frame["date"].to_numpy("datetime64[D]").astype(np.int64))
