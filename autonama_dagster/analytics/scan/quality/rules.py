"""The rules of data quality: each looks at one symbol's candles and yields what it finds.

A rule is a small function with its reason beside it; thresholds that a user may choose are in
`QualityLimits`. docs/quality.md explains the rules to readers of the table.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.candles import CANDLE_FLOATS, PRICES, Candles
from autonama_dagster.analytics.candles.intervals import MAX_MISSING_DAYS
from autonama_dagster.analytics.candles.windows import breaks

OK, INFO, WARNING, ERROR = range(4)
SEVERITIES: Final = ("OK", "INFO", "WARNING", "ERROR")

# In the order in which a row lists them.
RULES: Final = {
    "gap": "A day without a candle while the pair trades, the first candle after such days, "
    "or a day "
    "with missing hours.",
    "duplicate": "A candle identical to the previous day's, or two different candles for one day.",
    "copied": "Two pairs have the same candle: one of them belongs to the other pair.",
    "ohlc_order": "Open or close lies outside low to high.",
    "non_positive": "A price or volume that is impossible.",
    "forming": "The candle was fetched before its day closed.",
    "zero_volume": "No trades on the day.",
    "price_jump": "A price differs from its neighbours by more than a plausible daily move.",
    "break": "The series starts over: another coin, a redenomination, or a long absence.",
    "stale": "Prices have not moved for several days.",
    "rest_vs_archive": "Another source has a different candle for the same day.",
    "daily_vs_hourly": "The day's hourly candles do not add up to it.",
    "quote_volume": "The day's average trade price (quote volume / volume) lies outside low "
    "to high.",
}

# Sources print the same decimals, so prices are equal or wrong; sums of 24 hours differ by 1e-12.
ROUNDING: Final = 1e-6
# No trades explain an average price this far outside low to high: the quote volume is in another
# currency or unit, or another candle's.
WRONG_UNIT: Final = 2.0
HOURS_OF_A_DAY: Final = 24
COPIES_NAMED: Final = 4


@dataclass(frozen=True)
class QualityLimits:
    """From where on something counts as a fault.

    Attributes
    ----------
    jump_ratio
        Most a close may be of the close before (or it of the close), and a wick of the body.
    open_gap_pct
        Most an open may differ from the close of the day before.
    stale_days
        Days in a row with the same four prices.
    volume_pct
        Most two versions of a candle may differ in volume before it is more than a remark.
    vwap_pct
        Most the average price may lie outside low to high.
    """

    jump_ratio: float = 2.0
    open_gap_pct: float = 10.0
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
    yield from duplicates(candles, repeats)
    yield from faults(candles)
    yield from zero_volume(candles)
    yield from price_jumps(candles, anew, limits)
    yield from restarts(candles, anew)
    yield from stale(candles, repeats, limits)
    yield from quote_volume(candles, limits)


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


def duplicates(candles: Candles, repeats: NDArray[np.bool_]) -> Iterator[Finding]:
    """A candle with the four prices and the volume of the day before.

    Prices repeat on quiet days, a volume to the last digit does not: a row came under two dates.
    """
    is_same = repeats & (candles.volume[1:] == candles.volume[:-1]) & (candles.volume[1:] > 0)
    for i in (np.flatnonzero(is_same) + 1).tolist():
        seen = {"volume": candles.volume[i].item()}
        yield Finding(int(candles.day[i]), "duplicate", ERROR, int(candles.day[i - 1]), seen)


def faults(candles: Candles) -> Iterator[Finding]:
    """Stored candles that `klines.parse` would have kept out: somebody changed the table."""
    top, bottom = np.maximum(candles.open, candles.close), np.minimum(candles.open, candles.close)
    is_unordered = (top > candles.high) | (bottom < candles.low)
    # NaN is no price. A quote volume that no source gave is NULL, and NaN here.
    lowest = np.minimum(np.minimum(bottom, candles.low), candles.high)
    highest = np.maximum(np.maximum(top, candles.high), candles.low)
    is_wrong = ~((lowest > 0) & (highest < np.inf))
    for amount in (candles.volume, candles.quote_volume):
        is_wrong |= (amount < 0) | (amount == np.inf)
    for mask, rule in ((is_wrong, "non_positive"), (is_unordered & ~is_wrong, "ohlc_order")):
        for i in np.flatnonzero(mask).tolist():
            numbers = {name: getattr(candles, name)[i].item() for name in CANDLE_FLOATS}
            seen = {name: n if np.isfinite(n) else None for name, n in numbers.items()}
            yield _on(candles, i, rule, ERROR, seen)


def zero_volume(candles: Candles) -> Iterator[Finding]:
    """Prices of a day without a trade are those of another day."""
    for i in np.flatnonzero(candles.volume == 0).tolist():
        yield _on(candles, i, "zero_volume", WARNING, {"close": candles.close[i].item()})


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


def restarts(candles: Candles, anew: NDArray[np.int64]) -> Iterator[Finding]:
    """Breaks, see `windows.breaks`. The window begins there: what lies before is not used."""
    for i in anew.tolist():
        before = int(candles.day[i - 1])
        seen = {
            "open_ratio": float(f"{candles.open[i] / candles.close[i - 1]:.6g}"),
            "missing_days": int(candles.day[i]) - before - 1,
        }
        yield Finding(int(candles.day[i]), "break", WARNING, before, seen)


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
    """Quote volume / volume is the average price of the trades, which lies in low to high."""
    with np.errstate(divide="ignore", invalid="ignore"):
        average = candles.quote_volume / candles.volume
        outside = np.maximum(candles.low / average, average / candles.high)
    is_traded = np.isfinite(candles.quote_volume) & (candles.volume > 0)
    for i in np.flatnonzero(is_traded & (outside > 1 + limits.vwap_pct / 100)).tolist():
        seen = {
            "average_price": float(f"{average[i]:.6g}"),
            "low": candles.low[i].item(),
            "high": candles.high[i].item(),
        }
        severity = ERROR if outside[i] > WRONG_UNIT else WARNING
        yield _on(candles, i, "quote_volume", severity, seen)


def versus(
    candles: Candles, other: Candles, rule: str, source: str, limits: QualityLimits
) -> Iterator[Finding]:
    """Days of which `other` says otherwise: ERROR for a price, INFO or WARNING for the volume."""
    _, mine, theirs = np.intersect1d(
        candles.day, other.day, assume_unique=True, return_indices=True
    )
    names = (*PRICES, "volume")
    a = np.column_stack([getattr(candles, name)[mine] for name in names])
    b = np.column_stack([getattr(other, name)[theirs] for name in names])
    with np.errstate(divide="ignore", invalid="ignore"):
        differs_pct = np.where(a == b, 0.0, np.abs(b / a - 1) * 100)
    is_other = np.asarray(~(differs_pct <= ROUNDING * 100))  # NaN differs from everything
    for i in np.flatnonzero(is_other.any(axis=1)).tolist():
        seen: dict[str, Any] = {"source": source}
        for n in np.flatnonzero(is_other[i]).tolist():
            seen[names[n]] = [a[i, n].item(), b[i, n].item()]
        of_volume = INFO if differs_pct[i, 4] <= limits.volume_pct else WARNING
        severity = ERROR if is_other[i, :4].any() else of_volume
        yield _on(candles, int(mine[i]), rule, severity, seen)


def kept_out(rejected: pd.DataFrame) -> list[Finding]:
    """Candles that came and were not stored, each on its day: the window does without them.

    Parameters
    ----------
    rejected
        date and said (the reason) of one symbol's candles in `quarantine`.
    """
    found = {}
    for date, reason in zip(rejected["date"], rejected["said"], strict=True):
        day = (date - pd.Timestamp(0)).days
        is_order = " above high " in reason or " below low " in reason
        is_of_time = reason.startswith(("open time", "close time"))
        rule = "gap" if is_of_time else "ohlc_order" if is_order else "non_positive"
        found[day, reason] = Finding(day, rule, WARNING, day, {"kept_out": reason})
    return [found[key] for key in sorted(found)]


def missing_hours(hours: Mapping[int, int]) -> list[Finding]:
    """Days with fewer than 24 hourly candles, of days whose hours are known: outages, listings.

    The day's candle is made of the hours that are there, so nothing is wrong with it.
    """
    return [
        Finding(d, "gap", INFO, d, {"missing_hours": HOURS_OF_A_DAY - n})
        for d, n in sorted(hours.items())
        if n < HOURS_OF_A_DAY
    ]


def forming(days: Mapping[int, str]) -> list[Finding]:
    """Candles fetched before their day had closed, by day, with the time of the fetch."""
    return [Finding(d, "forming", ERROR, d, {"fetched_at": at}) for d, at in sorted(days.items())]


def conflicting(days: Mapping[int, str]) -> list[Finding]:
    """Days of which an answer held two different candles, by day, with what the log says."""
    return [Finding(d, "duplicate", ERROR, d, {"message": m}) for d, m in sorted(days.items())]


def copied(days: Mapping[int, Sequence[str]]) -> list[Finding]:
    """Days on which other pairs have the very same candle, by day, with all that have it.

    Eleven strings, the volume and the number of trades among them, are equal only where one pair's
    candles were given for another's. Nobody can say whose they are.
    """
    return [
        Finding(d, "copied", ERROR, d, {"pairs": len(names), "first": [*names[:COPIES_NAMED]]})
        for d, names in sorted(days.items())
    ]


def copies(candles: Iterable[Candles]) -> dict[str, dict[int, list[str]]]:
    """By symbol and day, the pairs that have one candle in common; see `copied`.

    A day without a trade has no candle of its own, and says nothing.
    """
    traded = [c.part(c.volume > 0) for c in candles]
    found: dict[str, dict[int, list[str]]] = {}
    if not traded:
        return found
    symbols = np.repeat([c.symbol for c in traded], [len(c) for c in traded])
    days = np.concatenate([c.day for c in traded])
    hashes = np.concatenate([c.row_hash for c in traded])
    _, group, count = np.unique(hashes, return_inverse=True, return_counts=True)
    alike: dict[int, list[tuple[str, int]]] = {}
    for i in np.flatnonzero(count[group] > 1).tolist():
        alike.setdefault(int(group[i]), []).append((str(symbols[i]), int(days[i])))
    for rows in alike.values():
        names = sorted(symbol for symbol, _ in rows)
        for symbol, day in rows:
            found.setdefault(symbol, {})[day] = names
    return found


def _on(candles: Candles, i: int, rule: str, severity: int, seen: dict[str, Any]) -> Finding:
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
