"""Findings from beside the candles: other sources, other pairs, requests, and what was kept out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from autonama_dagster.analytics.candles.candles import PRICES, Candles
from autonama_dagster.analytics.scan.quality.rules import (
    ERROR,
    INFO,
    WARNING,
    Finding,
    QualityLimits,
    on_candle,
)

# Sources print the same decimals, so prices are equal or wrong; sums of 24 hours differ by 1e-12.
ROUNDING: Final = 1e-6
HOURS_OF_A_DAY: Final = 24
COPIES_NAMED: Final = 4


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
        yield on_candle(candles, int(mine[i]), rule, severity, seen)


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
