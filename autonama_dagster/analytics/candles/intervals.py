"""Candle intervals: the grid of each, and what follows from its step.

On the grid of an interval time is a whole number of steps, so that every analytic written for days
since 1970-01-01 holds for hours and weeks as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_MISSING_DAYS: Final = 30

_MS: Final = timedelta(milliseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MONDAY: Final = timedelta(days=4)  # 1970-01-01 was a Thursday


@dataclass(frozen=True, slots=True)
class Interval:
    """The grid on which the candles of an interval open.

    Attributes
    ----------
    name
        The exchange's name, e.g. "1h".
    step
        Length of a candle.
    origin
        Distance of the grid's step 0 from 1970-01-01 00:00 UTC.
    """

    name: str
    step: timedelta
    origin: timedelta = timedelta(0)

    @property
    def step_ms(self) -> int:
        """Length of a candle in milliseconds."""
        return self.step // _MS

    @property
    def origin_ms(self) -> int:
        """Distance of step 0 from 1970 in milliseconds."""
        return self.origin // _MS

    @property
    def steps_per_day(self) -> float:
        """Candles of a day, below 1 for those that take longer."""
        return timedelta(days=1) / self.step

    @property
    def max_missing(self) -> int:
        """Most steps that may be missing between two candles of one series: 30 days of them."""
        return timedelta(days=MAX_MISSING_DAYS) // self.step

    def steps(self, open_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """Steps in which times lie, in milliseconds since 1970; a candle's own for its open."""
        return (open_ms - self.origin_ms) // self.step_ms

    def open_ms(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Opens of the steps, in milliseconds since 1970."""
        return steps * self.step_ms + self.origin_ms

    def last_step(self, day: date) -> int:
        """The last step that has closed when the UTC day ends."""
        return (day - _EPOCH.date() + timedelta(days=1) - self.origin) // self.step - 1

    def opens_at(self, step: int) -> datetime:
        """UTC time at which a step opens."""
        return _EPOCH + self.origin + step * self.step

    def opens_on(self, step: int) -> date:
        """UTC day on which a step opens."""
        return self.opens_at(step).date()

    def closes_on(self, step: int) -> date:
        """UTC day on which a step ends: the partition that holds its candle."""
        return (self.opens_at(step + 1) - _MS).date()


INTERVALS: Final[Mapping[str, Interval]] = MappingProxyType(
    {
        i.name: i
        for i in (
            Interval("15m", timedelta(minutes=15)),
            Interval("1h", timedelta(hours=1)),
            Interval("4h", timedelta(hours=4)),
            Interval("1d", timedelta(days=1)),
            Interval("1w", timedelta(weeks=1), _FIRST_MONDAY),
        )
    }
)
DAILY: Final = INTERVALS["1d"]

# Intervals whose candles are made from another's, and from which.
MADE_FROM: Final[Mapping[str, str]] = MappingProxyType({"4h": "1h", "1w": "1d"})
