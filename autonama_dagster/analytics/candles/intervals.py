"""Candle intervals: the grid of each, and what follows from it. There is no other list of them.

On the grid of an interval time is a whole number of steps, so that every analytic written for days
since 1970-01-01 holds for hours, weeks and months as well. A step lasts until the next one opens;
a step of a month is as long as its month.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autonama_dagster.days import DAY

MAX_MISSING_DAYS: Final = 30

_MS: Final = timedelta(milliseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MONDAY: Final = timedelta(days=4)  # 1970-01-01 was a Thursday
_MONTHS_OF_A_YEAR: Final = 12
_DAYS_OF_A_YEAR: Final = 365


@dataclass(frozen=True, slots=True)
class Interval(ABC):
    """The grid on which the candles of an interval open.

    Attributes
    ----------
    name
        The exchange's name, e.g. "1h".
    """

    name: str

    @property
    @abstractmethod
    def lengths(self) -> tuple[timedelta, ...]:
        """How long a candle may be, the longest last."""

    @property
    @abstractmethod
    def steps_per_day(self) -> float:
        """Candles of a day, below 1 for those that take longer."""

    @property
    @abstractmethod
    def max_missing(self) -> int:
        """Most steps that may be missing between two candles of one series: 30 days of them."""

    @abstractmethod
    def steps(self, open_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Steps in which times lie, in milliseconds since 1970; a candle's own for its open."""

    @abstractmethod
    def open_ms(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Opens of the steps, in milliseconds since 1970."""

    @abstractmethod
    def end_ms(self, open_ms: int) -> int:
        """When a candle that opens at this time ends, on the grid or not: where the next begins."""

    @abstractmethod
    def newest_closed_ms(self, now_ms: int) -> int:
        """Latest open time, on the grid or not, of a candle that has ended at `now_ms`."""

    @property
    def divides_day(self) -> bool:
        """Whether a day is a whole number of candles."""
        return len(self.lengths) == 1 and not DAY % self.lengths[0]

    def close_ms(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Last milliseconds of the steps, since 1970: the close times that exchanges print."""
        return self.open_ms(steps + 1) - 1

    def on_grid(self, open_ms: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether a step opens at each of the times."""
        return np.asarray(self.open_ms(self.steps(open_ms)) == open_ms)

    def opens_between(self, start_ms: int, end_ms: int) -> list[int]:
        """Open times in [start_ms, end_ms), ascending."""
        first, stop = (int(self.steps(_alone(time - 1))[0]) + 1 for time in (start_ms, end_ms))
        opens: list[int] = self.open_ms(np.arange(first, stop, dtype=np.int64)).tolist()
        return opens

    def last_step(self, day: date) -> int:
        """The last step that has closed when the UTC day ends."""
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + DAY
        return int(self.steps(_alone((end - _EPOCH) // _MS))[0]) - 1

    def opens_at(self, step: int) -> datetime:
        """UTC time at which a step opens."""
        return _EPOCH + int(self.open_ms(_alone(step))[0]) * _MS

    def opens_on(self, step: int) -> date:
        """UTC day on which a step opens."""
        return self.opens_at(step).date()

    def closes_on(self, step: int) -> date:
        """UTC day on which a step ends: the partition that holds its candle."""
        return (self.opens_at(step + 1) - _MS).date()


@dataclass(frozen=True, slots=True)
class FixedInterval(Interval):
    """Steps of one length.

    Attributes
    ----------
    step
        Length of a candle.
    origin
        Distance of the grid's step 0 from 1970-01-01 00:00 UTC.
    """

    step: timedelta
    origin: timedelta = timedelta(0)

    @property
    def lengths(self) -> tuple[timedelta, ...]:
        """The step alone."""
        return (self.step,)

    @property
    def steps_per_day(self) -> float:
        """Candles of a day, below 1 for those that take longer."""
        return DAY / self.step

    @property
    def max_missing(self) -> int:
        """Most steps that may be missing between two candles of one series: 30 days of them."""
        return timedelta(days=MAX_MISSING_DAYS) // self.step

    def steps(self, open_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Steps in which times lie, in milliseconds since 1970; a candle's own for its open."""
        return (open_ms - self.origin // _MS) // (self.step // _MS)

    def open_ms(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Opens of the steps, in milliseconds since 1970."""
        return steps * (self.step // _MS) + self.origin // _MS

    def end_ms(self, open_ms: int) -> int:
        """When a candle that opens at this time ends: a step later."""
        return open_ms + self.step // _MS

    def newest_closed_ms(self, now_ms: int) -> int:
        """Latest open time of a candle that has ended at `now_ms`: a step ago."""
        return now_ms - self.step // _MS


@dataclass(frozen=True, slots=True)
class CalendarMonth(Interval):
    """Steps are the months of UTC's calendar, counted from January 1970."""

    @property
    def lengths(self) -> tuple[timedelta, ...]:
        """The four lengths of a month."""
        return tuple(timedelta(days=days) for days in (28, 29, 30, 31))

    @property
    def steps_per_day(self) -> float:
        """Months of a day, of a year without a leap day."""
        return _MONTHS_OF_A_YEAR / _DAYS_OF_A_YEAR

    @property
    def max_missing(self) -> int:
        """None: a month may be longer than the days that may be missing."""
        return 0

    def steps(self, open_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Months in which times lie, in milliseconds since 1970."""
        return open_ms.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)

    def open_ms(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Beginnings of the months, in milliseconds since 1970."""
        return steps.astype("datetime64[M]").astype("datetime64[ms]").astype(np.int64)

    def end_ms(self, open_ms: int) -> int:
        """When the month of this time ends."""
        return int(self.open_ms(self.steps(_alone(open_ms)) + 1)[0])

    def newest_closed_ms(self, now_ms: int) -> int:
        """The last millisecond before the month of `now_ms`: what opens then has ended."""
        return int(self.open_ms(self.steps(_alone(now_ms)))[0]) - 1


def _alone(value: int) -> NDArray[np.int64]:
    return np.array([value], dtype=np.int64)


INTERVALS: Final[Mapping[str, Interval]] = MappingProxyType(
    {
        i.name: i
        for i in (
            FixedInterval("1m", timedelta(minutes=1)),
            FixedInterval("5m", timedelta(minutes=5)),
            FixedInterval("15m", timedelta(minutes=15)),
            FixedInterval("30m", timedelta(minutes=30)),
            FixedInterval("1h", timedelta(hours=1)),
            FixedInterval("4h", timedelta(hours=4)),
            FixedInterval("8h", timedelta(hours=8)),
            FixedInterval("12h", timedelta(hours=12)),
            FixedInterval("1d", DAY),
            FixedInterval("1w", timedelta(weeks=1), _FIRST_MONDAY),
            CalendarMonth("1M"),
        )
    }
)
DAILY: Final = INTERVALS["1d"]

STORED: Final = ("1d", "15m", "1h", "4h", "1w")
"""Intervals whose candles have a table."""

# Intervals whose candles are made from another's, and from which.
MADE_FROM: Final[Mapping[str, str]] = MappingProxyType({"4h": "1h", "1w": "1d"})
