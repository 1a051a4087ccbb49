"""Klines: an exchange's raw rows, and the candles that can be computed with among them.

Pure functions: no I/O, no clock. How rows are fetched is the business of `resources.exchange`.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.candles import AMOUNTS, DAY_MS, PRICES, as_instants, opens
from autonama_dagster.analytics.candles.intervals import DAILY, Interval

PRICE_LIMIT: Final = 1e12
"""USDT from which on a price is nonsense: ten million times the highest there was."""

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
_texts_of: Final = itemgetter(*map(RawKline._fields.index, _TEXT_FIELDS))


def raw_kline(fields: Sequence[object]) -> RawKline:
    """One row of an answer, JSON or CSV, as a `RawKline`; `parse` checks its values.

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


def strings(row: RawKline) -> str:
    """The exchange's own strings but for the times, joined by ",": what is kept of them.

    The times follow from the candle's key: see `stored_kline`.
    """
    return ",".join(_texts_of(row))


def stored_kline(text: str, open_time: int, interval: Interval = DAILY) -> RawKline:
    """The candle of `strings`, which opens at that time (milliseconds).

    Raises
    ------
    ValueError
        They are more or fewer.
    """
    texts = dict(zip(_TEXT_FIELDS, text.split(","), strict=True))
    (close_time,) = interval.close_ms(interval.steps(np.array([open_time]))).tolist()
    return RawKline(open_time=open_time, close_time=close_time, **texts)


def contradicts(frame: pd.DataFrame, interval: Interval = DAILY) -> NDArray[np.bool_]:
    """Which candles are not what their own strings say: another row hash, or another number.

    Parameters
    ----------
    frame
        n candles of an interval's table, with the columns that `parse` gives them; `raw` may be
        NULL, and such a candle contradicts nothing.

    Returns
    -------
    numpy.ndarray
        Length n.
    """
    kept = np.flatnonzero(frame["raw"].notna())
    times = opens(frame, interval)[kept].tolist()
    found = np.zeros(len(frame), dtype=bool)
    rows: list[RawKline] = []
    readable: list[int] = []
    for place, text, time in zip(kept.tolist(), frame["raw"].iloc[kept], times, strict=True):
        try:
            rows.append(stored_kline(text, time, interval))
        except ValueError:
            found[place] = True
        else:
            readable.append(place)
    hashes = np.array([row_hash(row) for row in rows], dtype=object)
    found[readable] = hashes != frame["row_hash"].to_numpy(object)[readable]
    for name in (*PRICES, *AMOUNTS, "trades"):
        said = _floats([getattr(row, name) for row in rows])
        found[readable] |= said != frame[name].to_numpy(np.float64)[readable]
    return found


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
        quote_volume, taker_buy_volume, taker_buy_quote_volume (float64, finite), trades (int64),
        row_hash and raw (see `strings`), in the order of `rows`; but for daily candles open_time
        (UTC) after date.
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
    for fault in _faults(texts, numbers, open_time, interval):
        for i in np.flatnonzero(fault.mask & ~is_bad).tolist():
            reasons[i] = fault.sentence(i)
        is_bad |= fault.mask
    good, bad = np.flatnonzero(~is_bad), np.flatnonzero(is_bad)
    columns: dict[str, object] = {"symbol": symbol, "date": date[good]}
    if interval != DAILY:
        columns["open_time"] = as_instants(open_time[good])
    columns |= {name: numbers[name][good] for name in (*PRICES, "volume", "quote_volume")}
    columns["trades"] = numbers["trades"][good].astype(np.int64)
    columns |= {name: numbers[name][good] for name in AMOUNTS[2:]}
    columns["row_hash"] = pd.Series([row_hash(rows[i]) for i in good.tolist()], dtype="str")
    columns["raw"] = pd.Series([strings(rows[i]) for i in good.tolist()], dtype="str")
    quarantined: dict[str, object] = {
        "symbol": symbol,
        "date": date[bad],
        "reason": pd.Series(reasons[bad], dtype="str"),
        "raw": pd.Series([_raw(rows[i]) for i in bad.tolist()], dtype="str"),
    }
    return _frame(columns), _frame(quarantined)


def empty_rejected() -> pd.DataFrame:
    """No bad rows, in the columns that `parse` gives them."""
    return parse([], "")[1]


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


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """Something that may be wrong with rows of an answer.

    Attributes
    ----------
    mask
        Which of the n rows have it.
    sentence
        What is wrong with row i, as it is stored in the quarantine.
    """

    mask: NDArray[np.bool_]
    sentence: Callable[[int], str]


def _faults(
    texts: Mapping[str, Sequence[str]],
    numbers: Mapping[str, NDArray[np.float64]],
    open_time: NDArray[np.int64],
    interval: Interval,
) -> Iterator[Fault]:
    """Everything that may be wrong with n rows, the most telling fault first."""
    close_time = np.array(texts["close_time"], dtype=np.int64)
    grid = "00:00 UTC" if interval == DAILY else f"on the {interval.name} grid"
    yield Fault(
        ~interval.on_grid(open_time),
        lambda i: f"open time {open_time[i]} is not {grid}",
    )
    yield Fault(
        close_time != interval.close_ms(interval.steps(open_time)),
        lambda i: f"close time {close_time[i]} is not {interval.name} after the open time",
    )
    for name in PRICES:
        yield from _price_faults(name, texts[name], numbers[name])
    for name in AMOUNTS:
        yield _amount_fault(name, texts[name], numbers[name])
    trades = numbers["trades"]
    yield Fault(
        ~(np.isfinite(trades) & (trades >= 0) & (trades < 2**53) & (trades == np.floor(trades))),
        lambda i: f"trades {texts['trades'][i]!r:.66} is not a whole number",
    )
    for name in ("close", "open"):
        yield from _range_faults(name, texts, numbers)


def _price_faults(
    name: str, texts: Sequence[str], value: NDArray[np.float64]
) -> tuple[Fault, Fault]:
    return (
        Fault(
            ~(np.isfinite(value) & (value > 0)),
            lambda i: f"{name} {texts[i]!r:.66} is not finite and positive",
        ),
        Fault(value >= PRICE_LIMIT, lambda i: f"{name} {texts[i]:.66} is too large to be a price"),
    )


def _amount_fault(name: str, texts: Sequence[str], value: NDArray[np.float64]) -> Fault:
    return Fault(
        ~(np.isfinite(value) & (value >= 0)),
        lambda i: f"{name} {texts[i]!r:.66} is negative or not finite",
    )


def _range_faults(
    name: str, texts: Mapping[str, Sequence[str]], numbers: Mapping[str, NDArray[np.float64]]
) -> tuple[Fault, Fault]:
    """Of a price that should lie between low and high."""
    return (
        Fault(
            numbers[name] > numbers["high"],
            lambda i: f"{name} {texts[name][i]:.66} above high {texts['high'][i]:.66}",
        ),
        Fault(
            numbers[name] < numbers["low"],
            lambda i: f"{name} {texts[name][i]:.66} below low {texts['low'][i]:.66}",
        ),
    )
