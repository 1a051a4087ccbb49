"""The rules of data quality: each looks at one symbol's candles and yields what it finds.

A rule is a small function with its reason beside it; thresholds that a user may choose are in
`QualityLimits`. docs/quality.md explains the rules to readers of the table.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.candles import AMOUNTS, NUMBERS, PRICES, Candles
from autonama_dagster.analytics.candles.intervals import MAX_MISSING_DAYS
from autonama_dagster.analytics.candles.windows import breaks, foreign

OK, INFO, WARNING, ERROR = range(4)
SEVERITIES: Final = ("OK", "INFO", "WARNING", "ERROR")

# In the order in which a row lists them.
RULES: Final = {
    "gap": "A day without a candle while the pair trades, the first candle after such days, "
    "or a day "
    "with missing hours.",
    "duplicate": "A candle identical to one of an earlier day, or two different candles for one "
    "day.",
    "copied": "Two pairs have the same candle: one of them belongs to the other pair.",
    "ohlc_order": "Open or close lies outside low to high.",
    "non_positive": "A price or volume that is impossible.",
    "forming": "The candle was fetched before its day closed.",
    "zero_volume": "No trades on the day.",
    "price_jump": "A price differs from its neighbours by more than a plausible daily move.",
    "break": "The series starts over: another coin, a redenomination, or a long absence.",
    "foreign": "The candle before belongs to something else: prices of the candles on both sides "
    "of it join, and its own are far from them.",
    "stale": "Prices have not moved for several days.",
    "rest_vs_archive": "Another source has a different candle for the same day.",
    "daily_vs_hourly": "The day's hourly candles do not add up to it.",
    "quote_volume": "The day's average trade price (quote volume / volume) lies outside low "
    "to high.",
    "amounts": "Volumes and number of trades contradict each other.",
}

# No trades explain an average price this far outside low to high: the quote volume is in another
# currency or unit, or another candle's.
WRONG_UNIT: Final = 2.0
# Recorded candles may lack trades and taker volumes, which the replay serves as 0, and so may those
# of an unknown source.
_INCOMPLETE: Final = (b"replay-recorded", b"replay-estimated", b"")
# Open gaps of 10 % that the next day undoes: of 450,070 recorded candles none stands so far out.
FOREIGN_PCT: Final = 10.0
# An open far less continuous than the opens of this many days before does not continue them. 3
# times the largest gap of 30 days, but 0.5 % at least: 0.13 of 1,000 clean days, and 83 % of the
# seams where days were shifted by one, of which a fixed 3 % finds 47 %.
CONTINUOUS_DAYS: Final = 30
CONTINUOUS_TIMES: Final = 3.0
CONTINUOUS_PCT: Final = 0.5


@dataclass(frozen=True)
class QualityLimits:
    """From where on something counts as a fault.

    Attributes
    ----------
    jump_ratio
        Most a close may be of the close before (or it of the close), and a wick of the body.
    open_gap_pct
        Most an open may differ from the close of the day before, however rough trading is; where
        it was continuous for 30 days, less is a fault.
    stale_days
        Days in a row with the same four prices.
    volume_pct
        Most two versions of a candle may differ in volume before it is more than a remark.
    vwap_pct
        Most the average price may lie outside low to high.
    """

    jump_ratio: float = 2.0
    open_gap_pct: float = 3.0
    stale_days: int = 3
    volume_pct: float = 5.0
    vwap_pct: float = 1.0


class Finding(NamedTuple):
    """One fault on one day.

    `since` is the earliest day the rule looked at: a window that begins later does not know the
    fault. `seen` is what was seen, as JSON can hold it.
    """

    day: int
    rule: str
    severity: int
    since: int
    seen: dict[str, Any]


def of_candles(candles: Candles, limits: QualityLimits) -> Iterator[Finding]:
    """Findings that the candles show by themselves, but for missing days, see `gaps`."""
    repeats, anew = _repeats(candles), breaks(candles)
    alone = foreign(candles, anew)
    yield from duplicates(candles)
    yield from faults(candles)
    yield from zero_volume(candles)
    yield from price_jumps(candles, anew, limits)
    yield from uneven_opens(candles, limits)
    yield from restarts(candles, np.setdiff1d(anew, alone + 1) if alone.size else anew)
    yield from foreign_candles(candles, alone)
    yield from stale(candles, repeats, limits)
    yield from quote_volume(candles, limits)
    yield from amounts(candles)


def gaps(candles: Candles, last: int, accounted: NDArray[np.int64]) -> Iterator[Finding]:
    """Days without a candle, up to day `last`, and the first candle after them.

    Every such day up to the 30th is one: afterwards a pair counts as delisted. `accounted` are days
    whose candle came and was kept out: they have a finding of their own.
    """
    if not len(candles):
        return
    until = np.append(candles.day[1:], max(last, int(candles.day[-1])) + 1)
    for i in np.flatnonzero(until - candles.day > 1).tolist():
        before, after = int(candles.day[i]), int(until[i])
        missing = np.setdiff1d(np.arange(before + 1, after), accounted)
        for day in missing[missing <= before + MAX_MISSING_DAYS].tolist():
            yield Finding(day, "gap", WARNING, before, {"last_candle": _iso(before)})
        if len(missing) and i + 1 < len(candles):
            seen = {"last_candle": _iso(before), "missing_days": len(missing)}
            yield Finding(after, "gap", WARNING, before, seen)


def duplicates(candles: Candles) -> Iterator[Finding]:
    """A candle with the four prices and the volume of an earlier day, the latest one if of several.

    Prices repeat on quiet days, a volume to the last digit does not: a row came under two dates.
    """
    ordered = np.sort(candles.volume)
    more_than_once = ordered[1:][(ordered[1:] == ordered[:-1]) & (ordered[1:] > 0)]
    if not more_than_once.size:
        return
    again = np.flatnonzero(np.isin(candles.volume, more_than_once))
    earlier: dict[tuple[float, ...], int] = {}
    for i in again.tolist():
        numbers = tuple(getattr(candles, name)[i].item() for name in (*PRICES, "volume"))
        day = int(candles.day[i])
        if numbers in earlier:
            seen = {"volume": numbers[-1], "same_as": _iso(earlier[numbers])}
            yield Finding(day, "duplicate", ERROR, earlier[numbers], seen)
        earlier[numbers] = day


def faults(candles: Candles) -> Iterator[Finding]:
    """Stored candles that `klines.parse` would have kept out: somebody changed the table."""
    top, bottom = np.maximum(candles.open, candles.close), np.minimum(candles.open, candles.close)
    is_unordered = (top > candles.high) | (bottom < candles.low)
    # NaN is no price. A quote volume that no source gave is NULL, and NaN here.
    lowest = np.minimum(np.minimum(bottom, candles.low), candles.high)
    highest = np.maximum(np.maximum(top, candles.high), candles.low)
    is_wrong = ~((lowest > 0) & (highest < np.inf))
    for amount in (getattr(candles, name) for name in AMOUNTS):
        is_wrong |= (amount < 0) | (amount == np.inf)
    is_wrong |= candles.trades < 0
    for mask, rule in ((is_wrong, "non_positive"), (is_unordered & ~is_wrong, "ohlc_order")):
        for i in np.flatnonzero(mask).tolist():
            numbers = {name: getattr(candles, name)[i].item() for name in (*NUMBERS, "trades")}
            seen = {name: n if np.isfinite(n) else None for name, n in numbers.items()}
            yield on_candle(candles, i, rule, ERROR, seen)


def zero_volume(candles: Candles) -> Iterator[Finding]:
    """Prices of a day without a trade are those of another day."""
    for i in np.flatnonzero(candles.volume == 0).tolist():
        yield on_candle(candles, i, "zero_volume", WARNING, {"close": candles.close[i].item()})


def price_jumps(
    candles: Candles, anew: NDArray[np.int64], limits: QualityLimits
) -> Iterator[Finding]:
    """A close, a wick or an open far from the prices beside it.

    A fixed ratio and no robust z-score: after calm months a z-score calls an ordinary crash a
    fault, and after wild ones it forgives a misprint. Continuous trading opens where it closed
    whatever happened, so an open needs far less.
    """
    ratio = _pairs(candles, candles.close)
    open_gap = _pairs(candles, candles.open)
    is_next = np.diff(candles.day, prepend=-1) == 1
    top, bottom = np.maximum(candles.open, candles.close), np.minimum(candles.open, candles.close)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {
            "close_ratio": (ratio, _is_beyond(ratio, limits.jump_ratio)),
            "open_gap_pct": (
                (open_gap - 1) * 100,
                is_next & (np.abs(open_gap - 1) * 100 > limits.open_gap_pct),
            ),
            "upper_wick_ratio": (candles.high / top, candles.high / top > limits.jump_ratio),
            "lower_wick_ratio": (bottom / candles.low, bottom / candles.low > limits.jump_ratio),
        }
    for name in ("close_ratio", "open_gap_pct"):
        values[name][1][anew] = False
    is_hit = reduce(or_, (mask for _, mask in values.values()))
    for i in np.flatnonzero(is_hit).tolist():
        seen = {n: round(v[i].item(), 6) for n, (v, mask) in values.items() if mask[i]}
        is_pair = bool({"close_ratio", "open_gap_pct"} & set(seen))
        since = int(candles.day[i - 1 if is_pair else i])
        yield Finding(int(candles.day[i]), "price_jump", WARNING, since, seen)


def uneven_opens(candles: Candles, limits: QualityLimits) -> Iterator[Finding]:
    """An open within the limit, but further from the close before than a month of opens was.

    Most pairs open within 0.1 % of the close. Where days were shifted by one, the first of them
    begins where the day after it should, and few daily moves are as small as that.
    """
    gap_pct = np.abs(_pairs(candles, candles.open) - 1) * 100
    needed = CONTINUOUS_DAYS + 1
    is_whole = np.zeros(len(candles), dtype=bool)
    is_whole[needed:] = candles.day[needed:] - candles.day[:-needed] == needed
    is_some = (gap_pct > CONTINUOUS_PCT) & (gap_pct <= limits.open_gap_pct)
    for i in np.flatnonzero(is_whole & is_some).tolist():
        largest = float(gap_pct[i - CONTINUOUS_DAYS : i].max())
        if gap_pct[i] > CONTINUOUS_TIMES * largest:
            seen = {
                "open_gap_pct": round(gap_pct[i].item(), 6),
                "largest_of_30_days_pct": round(largest, 6),
            }
            since = int(candles.day[i - needed])
            yield Finding(int(candles.day[i]), "price_jump", WARNING, since, seen)


def restarts(candles: Candles, anew: NDArray[np.int64]) -> Iterator[Finding]:
    """Breaks, see `windows.breaks`. The window begins there: what lies before is not used."""
    for i in anew.tolist():
        before = int(candles.day[i - 1])
        seen = {
            "open_ratio": float(f"{candles.open[i] / candles.close[i - 1]:.6g}"),
            "missing_days": int(candles.day[i]) - before - 1,
        }
        yield Finding(int(candles.day[i]), "break", WARNING, before, seen)


def foreign_candles(candles: Candles, alone: NDArray[np.int64]) -> Iterator[Finding]:
    """A candle far from both its neighbours, which join: said on the day after it, which shows it.

    `alone` are those between two breaks, see `windows.foreign`. Others lie between two open gaps of
    more than 10 %, of which half or less is left without them.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.abs(np.log(candles.open[1:] / candles.close[:-1]))
        joined = np.abs(np.log(candles.open[2:] / candles.close[:-2]))
    nearest = np.minimum(steps[:-1], steps[1:])
    is_next = candles.day[2:] - candles.day[:-2] == 2  # noqa: PLR2004  # three days in a row
    is_far = is_next & (nearest > np.log1p(FOREIGN_PCT / 100)) & (joined <= nearest / 2)
    for i in sorted({*(np.flatnonzero(is_far) + 1).tolist(), *alone.tolist()}):
        before, day, after = candles.day[i - 1 : i + 2].tolist()
        ratios = (candles.open[at] / candles.close[at - 1] for at in (i, i + 1))
        seen = {"candle_of": _iso(day), "open_ratios": [float(f"{r:.6g}") for r in ratios]}
        yield Finding(after, "foreign", ERROR, before, seen)


def stale(candles: Candles, repeats: NDArray[np.bool_], limits: QualityLimits) -> Iterator[Finding]:
    """The same open, high, low and close on `stale_days` days in a row, from the last of them on.

    Pegged pairs and coins of few ticks repeat two days now and then.
    """
    needed = limits.stale_days
    is_same = np.append(False, repeats) if len(candles) else np.empty(0, bool)
    is_stale = is_same.copy()
    for back in range(1, needed - 1):
        is_stale[back:] &= is_same[:-back]
        is_stale[:back] = False
    for i in np.flatnonzero(is_stale).tolist():
        since = int(candles.day[i - needed + 1])
        seen = {"close": candles.close[i].item(), "days": needed}
        yield Finding(int(candles.day[i]), "stale", WARNING, since, seen)


def quote_volume(candles: Candles, limits: QualityLimits) -> Iterator[Finding]:
    """Quote volume / volume is the average price of the trades, which lies in low to high.

    So it does of the trades in which takers bought.
    """
    pairs = {
        "average_price": (candles.quote_volume, candles.volume),
        "average_taker_price": (candles.taker_buy_quote_volume, candles.taker_buy_volume),
    }
    for name, (quote, base) in pairs.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            average = quote / base
            outside = np.maximum(candles.low / average, average / candles.high)
        is_traded = np.isfinite(quote) & (base > 0)
        for i in np.flatnonzero(is_traded & (outside > 1 + limits.vwap_pct / 100)).tolist():
            seen = {
                name: float(f"{average[i]:.6g}"),
                "low": candles.low[i].item(),
                "high": candles.high[i].item(),
            }
            severity = ERROR if outside[i] > WRONG_UNIT else WARNING
            yield on_candle(candles, i, "quote_volume", severity, seen)


def amounts(candles: Candles) -> Iterator[Finding]:
    """Takers trade no more than everyone; volume is traded, in both currencies or in none.

    None of 188,442 recorded candles that have all these numbers breaks one of the rules.
    """
    volume, quote, trades = candles.volume, candles.quote_volume, candles.trades
    taker, taker_quote = candles.taker_buy_volume, candles.taker_buy_quote_volume
    is_wrong = (taker > volume) | (taker_quote > quote)
    is_wrong |= ((taker == 0) & (taker_quote > 0)) | ((taker > 0) & (taker_quote == 0))
    is_wrong |= (volume == 0) & ((quote > 0) | (trades > 0))
    lacks_trades = (volume > 0) & (trades == 0)
    if lacks_trades.any():
        is_told = (taker > 0) | (taker_quote > 0) | ~np.isin(candles.source, _INCOMPLETE)
        is_wrong |= lacks_trades & is_told
    names = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume", "trades")
    for i in np.flatnonzero(is_wrong).tolist():
        numbers = {name: getattr(candles, name)[i].item() for name in names}
        yield on_candle(candles, i, "amounts", ERROR, numbers)


def on_candle(candles: Candles, i: int, rule: str, severity: int, seen: dict[str, Any]) -> Finding:
    """A finding about one candle alone."""
    day = int(candles.day[i])
    return Finding(day, rule, severity, day, seen)


def _repeats(candles: Candles) -> NDArray[np.bool_]:
    """Whether each candle but the first is of the next day and has the four prices of the last."""
    is_same: NDArray[np.bool_] = np.diff(candles.day) == 1
    for column in (getattr(candles, name) for name in PRICES):
        is_same &= column[1:] == column[:-1]
    return is_same


def _pairs(candles: Candles, value: NDArray[np.float64]) -> NDArray[np.float64]:
    """`value` / the close before; 1 for the first candle."""
    ratio = np.ones(len(candles))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio[1:] = value[1:] / candles.close[:-1]
    return ratio


def _is_beyond(ratio: NDArray[np.float64], most: float) -> NDArray[np.bool_]:
    return np.asarray((ratio > most) | (ratio < 1 / most))


def _iso(day: int) -> str:
    return str(np.datetime64(day, "D"))
