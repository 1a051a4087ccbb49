"""What a window is made of, for people: its ends, its gaps, and the break it begins after."""

from dataclasses import dataclass
from datetime import date

import numpy as np

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.windows import Windows, is_jump, restarts


@dataclass(frozen=True)
class Gap:
    """Days without a candle between two candles, both ends included."""

    first: date
    last: date
    days: int


@dataclass(frozen=True)
class Break:
    """Why a window begins later than its lookback allows.

    Attributes
    ----------
    date
        Day of the first candle after it.
    missing_days
        Days without a candle before that day.
    ratio
        Its open / the previous close.
    is_jump
        The ratio is outside [1/3, 3]; else it is a break because of the missing days.
    """

    date: date
    missing_days: int
    ratio: float
    is_jump: bool


@dataclass(frozen=True)
class WindowFacts:
    """W(symbol, D) in short.

    Attributes
    ----------
    first, last
        Days of its first and last candle; None: it is empty.
    candles
        How many.
    missing_days
        Days between first and last without a candle.
    gaps
        Where they are missing, in time order.
    breaks
        Breaks inside the lookback after which it starts over, in time order; the window begins
        after the last.
    """

    first: date | None
    last: date | None
    candles: int
    missing_days: int
    gaps: tuple[Gap, ...]
    breaks: tuple[Break, ...]


def window_facts(candles: Candles, window: Windows, lookback: int) -> WindowFacts:
    """Facts of the window of one day.

    Parameters
    ----------
    candles
        The symbol's candles, from before the lookback if there are any.
    window
        Of the one day, made with `lookback`.
    lookback
        Calendar days of the window.

    Raises
    ------
    ValueError
        If `window` is not of one day.
    """
    if len(window) != 1:
        raise ValueError(f"the window of {candles.symbol} has {len(window)} days: pass one day")
    start, stop = int(window.start[0]), int(window.stop[0])
    if start == stop:
        return WindowFacts(None, None, 0, 0, (), ())
    days = candles.day[start:stop]
    after = np.flatnonzero(np.diff(days) > 1)
    gaps = tuple(
        Gap(_date(days[at] + 1), _date(days[at + 1] - 1), int(days[at + 1] - days[at] - 1))
        for at in after
    )
    oldest = np.searchsorted(candles.day, window.day[0] - (lookback - 1))
    jumps = is_jump(candles.open, candles.close)
    found = tuple(
        Break(
            date=_date(candles.day[at]),
            missing_days=int(candles.day[at] - candles.day[at - 1] - 1),
            ratio=float(candles.open[at] / candles.close[at - 1]),
            is_jump=bool(jumps[at - 1]),
        )
        for at in restarts(candles, int(oldest), stop).tolist()
    )
    missing = sum(gap.days for gap in gaps)
    return WindowFacts(_date(days[0]), _date(days[-1]), len(days), missing, gaps, found)


def _date(day: np.int64) -> date:
    found: date = np.datetime64(int(day), "D").item()
    return found
