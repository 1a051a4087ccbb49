"""Candles of the replay exchange: their wire format, their unfinished state, their aggregation.

What lies here knows neither files nor HTTP. Times are milliseconds UTC, as on Binance.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Literal, NamedTuple, Protocol

import numpy as np

from autonama_dagster.analytics.candles.intervals import INTERVALS, MADE_FROM, Interval

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SMALLEST_PRINTED = 1e-8


class Candle(NamedTuple):
    """One candle; `is_estimated` says that its quote volume is an estimate."""

    open_time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    close_time: int
    quote_volume: float
    trades: int
    taker_buy_volume: float
    taker_buy_quote_volume: float
    is_estimated: bool


class Row(NamedTuple):
    """A candle as Binance prints it: a JSON array of twelve."""

    json: bytes
    is_estimated: bool


def plain_decimal(value: float) -> str:
    """Decimal without exponent: 8 fractional digits, or all of them below 0.00000001."""
    if value and abs(value) < SMALLEST_PRINTED:
        return format(Decimal(repr(value)), "f")
    return f"{value:.8f}"


def render(candle: Candle) -> Row:
    """The candle's row in an answer to `klines`."""
    text = (
        f'[{candle.open_time},"{plain_decimal(candle.open)}","{plain_decimal(candle.high)}",'
        f'"{plain_decimal(candle.low)}","{plain_decimal(candle.close)}",'
        f'"{plain_decimal(candle.volume)}",{candle.close_time},'
        f'"{plain_decimal(candle.quote_volume)}",{candle.trades},'
        f'"{plain_decimal(candle.taker_buy_volume)}",'
        f'"{plain_decimal(candle.taker_buy_quote_volume)}","0"]'
    )
    return Row(text.encode(), candle.is_estimated)


def _fraction_digits(value: float) -> int:
    return len(plain_decimal(value).rstrip("0").partition(".")[2])


def segment(candle: Candle, start: float, end: float) -> Candle:
    """The part of a candle between two fractions of its time, 0 <= start <= end <= 1.

    Nobody recorded the path inside a candle, so one is assumed: straight lines in three equal
    parts, open - low - high - close if it rose and open - high - low - close if it fell. Volumes
    are spread evenly. So a forming candle's high, low and volume only ever widen and grow, and
    the whole candle is its own segment from 0 to 1. `open_time` and `close_time` are kept.
    """
    inner = (candle.low, candle.high)
    if candle.close < candle.open:
        inner = (candle.high, candle.low)
    knots = (candle.open, *inner, candle.close)
    digits = max(map(_fraction_digits, knots))

    def price(fraction: float) -> float:
        part = min(int(3 * fraction), 2)
        share = 3 * fraction - part
        return round(knots[part] * (1 - share) + knots[part + 1] * share, digits)

    passed = [knot for part, knot in enumerate(knots) if start < part / 3 < end]
    path = [price(start), *passed, price(end)]
    share = end - start
    return candle._replace(
        open=path[0],
        high=max(path),
        low=min(path),
        close=path[-1],
        volume=share * candle.volume,
        quote_volume=share * candle.quote_volume,
        trades=int(share * candle.trades),
        taker_buy_volume=share * candle.taker_buy_volume,
        taker_buy_quote_volume=share * candle.taker_buy_quote_volume,
    )


def merge(candles: Sequence[Candle], open_time: int, close_time: int) -> Candle:
    """One candle over consecutive candles (at least one)."""
    return Candle(
        open_time=open_time,
        open=candles[0].open,
        high=max(candle.high for candle in candles),
        low=min(candle.low for candle in candles),
        close=candles[-1].close,
        volume=sum(candle.volume for candle in candles),
        close_time=close_time,
        quote_volume=sum(candle.quote_volume for candle in candles),
        trades=sum(candle.trades for candle in candles),
        taker_buy_volume=sum(candle.taker_buy_volume for candle in candles),
        taker_buy_quote_volume=sum(candle.taker_buy_quote_volume for candle in candles),
        is_estimated=any(candle.is_estimated for candle in candles),
    )


class Series(ABC):
    """The candles of one symbol and interval, oldest first.

    Parameters
    ----------
    opens
        Open times, strictly ascending.
    interval
        The candles' own.
    """

    def __init__(self, opens: Sequence[int], interval: Interval) -> None:
        self.opens = opens
        self.interval = interval
        self._rows: dict[int, Row] = {}

    @abstractmethod
    def candle(self, index: int, now_ms: int) -> Candle:
        """The candle as it is known at `now_ms`, not before its open time."""

    def count_at(self, now_ms: int) -> int:
        """How many candles have begun by `now_ms`; the last of them may still be forming."""
        return bisect_right(self.opens, now_ms)

    def is_closed(self, index: int, now_ms: int) -> bool:
        """Whether the candle cannot change any more."""
        return self.interval.end_ms(self.opens[index]) <= now_ms

    def row(self, index: int, now_ms: int) -> Row:
        """The candle's row; closed ones are rendered once."""
        if not self.is_closed(index, now_ms):
            return render(self.candle(index, now_ms))
        if index not in self._rows:
            self._rows[index] = render(self.candle(index, now_ms))
        return self._rows[index]

    def select(self, start: int | None, end: int | None, limit: int, now_ms: int) -> range:
        """Indices that `klines` answers with: open time in [start, end], at most `limit`.

        Binance counts from `start` where it is given and back from the end where it is not.
        """
        stop = self.count_at(now_ms)
        if end is not None:
            stop = min(stop, bisect_right(self.opens, end))
        if start is None:
            return range(max(0, stop - limit), stop)
        first = bisect_left(self.opens, start)
        return range(first, min(stop, first + limit))


class StoredSeries(Series):
    """Candles that `read` gives by index, complete; the forming one is cut at the clock."""

    def __init__(
        self, opens: Sequence[int], interval: Interval, read: Callable[[int], Candle]
    ) -> None:
        super().__init__(opens, interval)
        self._read = read

    def candle(self, index: int, now_ms: int) -> Candle:
        """The candle as it is known at `now_ms`."""
        candle = self._read(index)
        if self.is_closed(index, now_ms):
            return candle
        length_ms = self.interval.end_ms(candle.open_time) - candle.open_time
        return segment(candle, 0.0, (now_ms - candle.open_time) / length_ms)


class AggregatedSeries(Series):
    """Longer candles made of a base series; buckets without a base candle are absent."""

    def __init__(self, base: Series, interval: Interval) -> None:
        steps = interval.steps(np.array(base.opens, dtype=np.int64))
        begins = interval.open_ms(steps).tolist()
        buckets = groupby(range(len(begins)), key=begins.__getitem__)
        members = {open_time: list(indices) for open_time, indices in buckets}
        super().__init__(list(members), interval)
        self._base = base
        self._members = list(members.values())
        self._first_base_opens = [base.opens[indices[0]] for indices in self._members]

    def count_at(self, now_ms: int) -> int:
        """How many buckets have a base candle by `now_ms`: a week may begin with missing days."""
        return bisect_right(self._first_base_opens, now_ms)

    def candle(self, index: int, now_ms: int) -> Candle:
        """The bucket's candle over the base candles known at `now_ms`."""
        known = self._base.count_at(now_ms)
        parts = [self._base.candle(i, now_ms) for i in self._members[index] if i < known]
        open_time = self.opens[index]
        return merge(parts, open_time, self.interval.end_ms(open_time) - 1)


class Market(Protocol):
    """Where the replay exchange takes its candles from."""

    @property
    def label(self) -> Literal["recorded", "synthetic"]:
        """What the answers' headers say about the data."""

    @property
    def intervals(self) -> tuple[str, ...]:
        """Intervals that at least one symbol has."""

    def symbols(self) -> Sequence[str]:
        """Every symbol that has daily candles, sorted."""

    def series(self, symbol: str, interval: str) -> Series | None:
        """The symbol's candles, None where the market has none of that interval."""


class SeriesCache:
    """Loads each series once and derives the aggregated intervals.

    Parameters
    ----------
    load
        Gives the stored series of (symbol, interval), or None.
    """

    def __init__(self, load: Callable[[str, str], Series | None]) -> None:
        self._load = load
        self._series: dict[tuple[str, str], Series | None] = {}

    def get(self, symbol: str, interval: str) -> Series | None:
        """The series of one symbol and interval, or None."""
        key = (symbol, interval)
        if key not in self._series:
            self._series[key] = self._make(symbol, interval)
        return self._series[key]

    def _make(self, symbol: str, interval: str) -> Series | None:
        if interval not in MADE_FROM:
            return self._load(symbol, interval)
        base = self.get(symbol, MADE_FROM[interval])
        return None if base is None else AggregatedSeries(base, INTERVALS[interval])
