"""Candles: from an exchange's raw rows to checked columns and per-symbol arrays.

Pure functions: no I/O, no clock. How rows are fetched is the business of `resources.exchange`.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Self, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.digests import digests
from autonama_dagster.analytics.candles.intervals import DAILY, Interval
from autonama_dagster.errors import SchemaError

PRICES: Final = ("open", "high", "low", "close")
CANDLE_FLOATS: Final = (*PRICES, "volume", "quote_volume")
AMOUNTS: Final = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
PRICE_LIMIT: Final = 1e12
"""USDT from which on a price is nonsense: ten million times the highest there was."""
DAY_MS: Final = 86_400_000

_KLINE_FIELDS: Final = 12  # Binance's eleven and one "can be ignored"
_LONGEST: Final = 64  # characters of a field that are kept of a bad row
_DECIMALS: Final = str.maketrans("", "", "0123456789.+-eE")
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_FIRST_MS, _FIRST_US, _TOO_LATE = 10**11, 10**14, 10**17  # 13 digits are ms, 16 are us


class RawKline(NamedTuple):
    """One candle in the exchange's own strings; only the times are normalised.

    `open_time` and `close_time` are UTC milliseconds since 1970, whatever unit the source used.
    """

    open_time: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    close_time: int
    quote_volume: str
    trades: str
    taker_buy_volume: str
    taker_buy_quote_volume: str


_TEXT_FIELDS: Final = tuple(
    name for name in RawKline._fields if name not in {"open_time", "close_time"}
)


def raw_kline(fields: Sequence[object]) -> RawKline:
    """One row of an answer, JSON or CSV, as a `RawKline`; values are judged later, by `parse`.

    Parameters
    ----------
    fields
        Binance's twelve: open time, open, high, low, close, volume, close time, quote volume,
        number of trades, taker buy volume, taker buy quote volume, and one that is ignored.
        Times are integers or digits in milliseconds or microseconds, the others strings
        (the number of trades may be an integer).

    Raises
    ------
    ValueError
        If the row has not that shape: the answer is garbage, not a candle.
    """
    if len(fields) != _KLINE_FIELDS:
        raise ValueError(f"expected a row of {_KLINE_FIELDS} fields, got {fields!r:.80}")
    open_time, close_time = _milliseconds(fields[0]), _milliseconds(fields[6])
    if close_time < open_time:
        raise ValueError(f"close time {close_time} is before open time {open_time}")
    trades = fields[8]
    if isinstance(trades, int) and not isinstance(trades, bool):
        trades = str(trades)
    texts = dict(zip(_TEXT_FIELDS, (*fields[1:6], fields[7], trades, *fields[9:11]), strict=True))
    for name, text in texts.items():
        if not isinstance(text, str):
            raise ValueError(f"{name} should be a string, is {text!r:.40}")  # noqa: TRY004
    return RawKline(open_time=open_time, close_time=close_time, **cast("dict[str, str]", texts))


def _milliseconds(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"expected a time in whole milliseconds, got {value!r:.40}")  # noqa: TRY004
    time = int(value)
    if not _FIRST_MS <= time < _TOO_LATE:
        raise ValueError(f"{time} is not a time in milliseconds or microseconds")
    return time if time < _FIRST_US else time // 1000


def row_hash(row: RawKline) -> str:
    """SHA-256 (64 hex digits) over the exchange's own strings.

    The eleven fields in the order of `RawKline` joined by ",", times in milliseconds, so that
    the same candle has the same hash whether it came by REST or from the bulk archive.
    """
    return hashlib.sha256(",".join(map(str, row)).encode()).hexdigest()


def parse(
    rows: Sequence[RawKline], symbol: str, interval: Interval = DAILY
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Candles split into those that can be computed with and those that cannot.

    A candle is bad when a price is not finite and positive or beyond `PRICE_LIMIT`, a volume is
    negative or not finite, the number of trades is not a whole number, high and low do not contain
    open and close, it does not open on the interval's grid (its day would be a guess), or it does
    not end where the next one opens: it was cut short, as by an outage, or is another interval's.
    Numbers are plain decimals in ASCII, with an exponent or without.

    Parameters
    ----------
    rows
        n closed candles of one symbol, in any order.
    symbol
        The pair; it fills the column `symbol`.
    interval
        Theirs: a day or less.

    Returns
    -------
    good
        symbol, date (datetime64[s], naive, the UTC day), open, high, low, close, volume,
        quote_volume, taker_buy_volume, taker_buy_quote_volume (float64, finite), trades (int64)
        and row_hash, in the order of `rows`; but for daily candles open_time (UTC) after date.
    bad
        symbol, date, reason (one line) and raw (the row as a JSON array).
    """
    by_field = zip(*rows, strict=True) if rows else ((),) * len(RawKline._fields)
    texts = dict(zip(RawKline._fields, by_field, strict=True))
    numbers = {name: _floats(texts[name]) for name in (*PRICES, *AMOUNTS, "trades")}
    open_time = np.array(texts["open_time"], dtype=np.int64)
    date = (open_time // DAY_MS).astype("datetime64[D]").astype("datetime64[s]")
    is_bad = np.zeros(len(rows), dtype=bool)
    reasons = np.full(len(rows), "", dtype=object)
    for mask, reason in _faults(texts, numbers, open_time, interval):
        for i in np.flatnonzero(mask & ~is_bad).tolist():
            reasons[i] = reason(i)
        is_bad |= mask
    good, bad = np.flatnonzero(~is_bad), np.flatnonzero(is_bad)
    columns: dict[str, object] = {"symbol": symbol, "date": date[good]}
    if interval != DAILY:
        columns["open_time"] = as_instants(open_time[good])
    columns |= {name: numbers[name][good] for name in (*PRICES, "volume", "quote_volume")}
    columns["trades"] = numbers["trades"][good].astype(np.int64)
    columns |= {name: numbers[name][good] for name in AMOUNTS[2:]}
    columns["row_hash"] = pd.Series([row_hash(rows[i]) for i in good.tolist()], dtype="str")
    quarantined: dict[str, object] = {
        "symbol": symbol,
        "date": date[bad],
        "reason": pd.Series(reasons[bad], dtype="str"),
        "raw": pd.Series([_raw(rows[i]) for i in bad.tolist()], dtype="str"),
    }
    return _frame(columns), _frame(quarantined)


def as_instants(milliseconds: NDArray[np.int64]) -> pd.Series:
    """Times in milliseconds since 1970 as the aware UTC timestamps of a frame."""
    return pd.Series((milliseconds * 1000).view("datetime64[us]")).dt.tz_localize("UTC")


def _frame(columns: dict[str, object]) -> pd.DataFrame:
    """A frame whose column `symbol` is a string column even without rows."""
    return pd.DataFrame(columns).astype({"symbol": "str"})


def _raw(row: RawKline) -> str:
    """The row as a JSON array; what is too long for any number is cut."""
    fields = [f if isinstance(f, int) or len(f) <= _LONGEST else f"{f[:_LONGEST]}..." for f in row]
    return json.dumps(fields)


def _floats(texts: Sequence[str]) -> NDArray[np.float64]:
    """Correctly rounded numbers, which pandas' parser does not promise; NaN where none is."""
    if "".join(texts).translate(_DECIMALS) == "":
        try:
            return np.fromiter(map(float, texts), np.float64, len(texts))
        except ValueError:
            pass
    return np.fromiter(map(_float, texts), np.float64, len(texts))


def _float(text: str) -> float:
    """The number, NaN where `float` reads what no exchange prints: "1_0", " 1", other digits."""
    return float(text) if _NUMBER.fullmatch(text) else math.nan


def _faults(
    texts: Mapping[str, Sequence[str]],
    numbers: Mapping[str, NDArray[np.float64]],
    open_time: NDArray[np.int64],
    interval: Interval,
) -> Iterator[tuple[NDArray[np.bool_], Callable[[int], str]]]:
    """Masks of bad rows, the most telling fault first, each with the sentence for row i."""
    yield (
        (open_time - interval.origin_ms) % interval.step_ms != 0,
        lambda i: (
            f"open time {open_time[i]} is not "
            + ("00:00 UTC" if interval == DAILY else f"on the {interval.name} grid")
        ),
    )
    close_time = np.array(texts["close_time"], dtype=np.int64)
    yield (
        close_time - open_time != interval.step_ms - 1,
        lambda i: f"close time {close_time[i]} is not {interval.name} after the open time",
    )
    for name in PRICES:
        value = numbers[name]
        yield (
            ~(np.isfinite(value) & (value > 0)),
            lambda i, name=name: f"{name} {texts[name][i]!r:.66} is not finite and positive",  # type: ignore[misc]
        )
        yield (
            value >= PRICE_LIMIT,
            lambda i, name=name: f"{name} {texts[name][i]:.66} is too large to be a price",  # type: ignore[misc]
        )
    for name in AMOUNTS:
        value = numbers[name]
        yield (
            ~(np.isfinite(value) & (value >= 0)),
            lambda i, name=name: f"{name} {texts[name][i]!r:.66} is negative or not finite",  # type: ignore[misc]
        )
    trades = numbers["trades"]
    yield (
        ~(np.isfinite(trades) & (trades >= 0) & (trades < 2**53) & (trades == np.floor(trades))),
        lambda i: f"trades {texts['trades'][i]!r:.66} is not a whole number",
    )
    for name in ("close", "open"):
        yield (
            numbers[name] > numbers["high"],
            lambda i, name=name: f"{name} {texts[name][i]:.66} above high {texts['high'][i]:.66}",  # type: ignore[misc]
        )
        yield (
            numbers[name] < numbers["low"],
            lambda i, name=name: f"{name} {texts[name][i]:.66} below low {texts['low'][i]:.66}",  # type: ignore[misc]
        )


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
        SHA-256 (hex, dtype "S64") of the exchange's own strings, see `row_hash`.
    interval
        The grid the candles open on.
    digest
        SHA-256 of each candle as it is computed with, shape (n, 32), see `digests.digests`.

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
    interval: Interval = DAILY
    digest: NDArray[np.uint8] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in (*CANDLE_FLOATS, "row_hash"):
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
        floats = [getattr(self, name) for name in CANDLE_FLOATS]
        object.__setattr__(self, "digest", digests(self.row_hash, floats))

    def __len__(self) -> int:
        return len(self.day)

    def part(self, where: NDArray[np.bool_]) -> Self:
        """The candles where a mask of length n holds."""
        columns = ("day", *CANDLE_FLOATS, "row_hash")
        return replace(self, **{name: getattr(self, name)[where] for name in columns})

    def until(self, day: int) -> Self:
        """The candles up to a day, the day included, as views of these arrays."""
        stop = int(np.searchsorted(self.day, day, side="right"))
        found = object.__new__(type(self))
        for name in ("day", *CANDLE_FLOATS, "row_hash", "digest"):
            object.__setattr__(found, name, getattr(self, name)[:stop])
        object.__setattr__(found, "symbol", self.symbol)
        object.__setattr__(found, "interval", self.interval)
        return found

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Self:
        """Arrays of a frame that holds one symbol, in any row order.

        Parameters
        ----------
        frame
            Columns symbol, date (datetime64 or `datetime.date`), the six floats and row_hash.

        Raises
        ------
        SchemaError
            If the frame is empty, holds several symbols, or a day twice.
        """
        symbols = frame["symbol"].unique()
        if len(symbols) != 1:
            raise SchemaError(
                f"candles of one symbol expected, the frame has {len(symbols)}: "
                "use Candles.by_symbol for several or none"
            )
        return next(cls._split(frame, DAILY))

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
        floats = {name: frame[name].to_numpy(np.float64)[order] for name in CANDLE_FLOATS}
        hashes = frame["row_hash"].to_numpy(dtype=object).astype("S64")[order]
        edges = np.searchsorted(codes, np.arange(len(names) + 1))
        for name, start, stop in zip(names, edges[:-1], edges[1:], strict=True):
            part = slice(int(start), int(stop))
            yield cls(
                symbol=str(name),
                day=day[part],
                row_hash=hashes[part],
                interval=interval,
                **{key: column[part] for key, column in floats.items()},
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
