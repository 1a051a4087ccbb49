"""Which candles a row (symbol, D) may see: the window W(symbol, D).

Every analytic of the project is a function of W, so this module is where point in time is decided.
"""

from dataclasses import dataclass
from datetime import date
from typing import Self

import numpy as np
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.intervals import DAILY

LOOKBACK_DAYS = 720
MAX_OVERNIGHT_RATIO = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """W of one symbol on each of n days: `candles[start:stop]`; aligned 1-D arrays of length n.

    Attributes
    ----------
    day
        The days D asked for, in days since 1970-01-01 (UTC), in the order asked.
    start, stop
        Half-open range of candle positions; `start == stop` where W is empty. A window is at most
        `lookback` days long and its last candle is never later than D.
    has_candle
        Whether the last candle of W is that of D itself.
    """

    day: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    has_candle: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.day)

    def part(self, where: NDArray[np.bool_] | slice) -> Self:
        """The windows of some of the days."""
        return type(self)(
            self.day[where], self.start[where], self.stop[where], self.has_candle[where]
        )


def day_number(day: date) -> int:
    """The day as candles and windows count it: days since 1970-01-01 (UTC)."""
    return int(np.datetime64(day, "D").astype(np.int64))


def day_range(first: date, last: date) -> NDArray[np.int64]:
    """Every day from `first` to `last`, both included, counted in the same way."""
    return np.arange(day_number(first), day_number(last) + 1)


def breaks(candles: Candles) -> NDArray[np.int64]:
    """Positions of the first candle after each break, ascending.

    A break lies between two consecutive candles when open / previous close is outside [1/3, 3] or
    when more than 30 days are missing between them: a redenomination, a relisting, another coin
    under the old ticker. A crash inside a day is none, since the next open continues it. The 30
    days are calendar days on every interval: 720 hours, 4 weeks.
    """
    missing = np.diff(candles.day) - 1
    is_gap = missing > candles.interval.max_missing
    return np.flatnonzero(is_jump(candles.open, candles.close) | is_gap) + 1


def is_jump(opens: NDArray[np.float64], closes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether open / previous close is outside [1/3, 3], of each candle but the first."""
    return _is_far(opens[1:] / closes[:-1])


def foreign(candles: Candles, broken: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of daily candles between two breaks across which prices join again, ascending.

    The open after such a candle continues the close before it: the series did not start over, one
    candle of it belongs to something else. No break of more than 30 missing days counts. Candles of
    other intervals are not looked at: only of days the quality ledger says that one is wrong.

    Parameters
    ----------
    candles
        One symbol's.
    broken
        Their `breaks`.
    """
    if len(broken) < 2 or candles.interval != DAILY:  # noqa: PLR2004
        return broken[:0]
    at = broken[:-1][np.diff(broken) == 1]
    missing = np.diff(candles.day) - 1
    is_near = np.maximum(missing[at - 1], missing[at]) <= candles.interval.max_missing
    is_joined = ~_is_far(candles.open[at + 1] / candles.close[at - 1])
    return np.asarray(at[is_near & is_joined])


def restarts(candles: Candles, first: int, stop: int) -> NDArray[np.int64]:
    """Positions at which a window starts over that may hold `candles[first:stop]`, ascending.

    These are its breaks, without the two around a `foreign` candle. On the day of that candle
    nobody can know that it is one, so the window of that day does begin at it.
    """
    broken = breaks(candles)
    alone = foreign(candles, broken)
    alone = alone[(alone > first) & (alone + 1 < stop)]
    inside = broken[(broken > first) & (broken < stop)]
    return np.setdiff1d(inside, np.concatenate([alone, alone + 1]))


def _is_far(ratio: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((ratio < 1.0 / MAX_OVERNIGHT_RATIO) | (ratio > MAX_OVERNIGHT_RATIO))


def windows(candles: Candles, days: NDArray[np.int64], lookback: int = LOOKBACK_DAYS) -> Windows:
    """W(symbol, D) for each D: the candles of D-lookback+1 .. D from the last restart on.

    Where it starts over is what `restarts` says of those candles.

    Parameters
    ----------
    candles
        One symbol's candles; those after D change nothing on D's window.
    days
        Days since 1970-01-01 (UTC), length n, in any order, repeated or not.
    lookback
        Length of the window in calendar days, at least 1.

    Returns
    -------
    Windows
        Of length n; empty windows where no candle qualifies.

    Raises
    ------
    ValueError
        If `lookback` is below 1.
    """
    if lookback < 1:
        raise ValueError(f"lookback is {lookback} days: choose 1 or more")
    asked = np.asarray(days, dtype=np.int64)
    stop = np.searchsorted(candles.day, asked, side="right")
    oldest = np.searchsorted(candles.day, asked - (lookback - 1), side="left")
    broken = breaks(candles)
    alone = foreign(candles, broken)
    # There is hardly ever one, and sets would take as long as all the rest.
    undone = np.union1d(alone, alone + 1) if alone.size else alone
    first = np.append(0, np.setdiff1d(broken, undone) if alone.size else broken)
    # A break counts from the day its first candle is known: first[i] < stop, or the first, 0.
    latest_break = np.maximum(np.searchsorted(first, stop, side="left") - 1, 0)
    start = np.maximum(oldest, first[latest_break])
    # What undoes a break is known once the candles on both sides of the foreign one are.
    for at in undone.tolist():
        is_undone = (at in alone) & (stop > at + 1)
        is_undone |= (at - 1 in alone) & (oldest < at - 1)
        stands = (at < stop) & ~is_undone
        start[stands] = np.maximum(start[stands], at)
    has_candle = oldest < stop
    has_candle[has_candle] = candles.day[stop[has_candle] - 1] == asked[has_candle]
    return Windows(asked, start, stop, has_candle)
