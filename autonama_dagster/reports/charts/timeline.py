"""What a symbol's charts share along their days: where panels lie, rows on days, the calendar."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.candles import day_numbers

LEFT: Final = 124
"""Pixels from the page's edge to the panels."""
PLOT_WIDTH: Final = 1028
"""Width of the panels in pixels."""
FEWEST_DAYS: Final = 30
"""Days of the shortest calendar: a symbol listed yesterday still gets one."""

_MANY_DAYS: Final = 62  # a longer calendar names months, a shorter one every seventh day
_MOST_NAMES: Final = 14
_MONTH_STEPS: Final = (1, 3, 6, 12, 24)


def aligned(
    frame: pd.DataFrame, days: NDArray[np.int64], since: int, names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Columns of a frame on consecutive days, NaN where it has no row and before `since`."""
    day = day_numbers(frame)
    inside = (day >= max(since, int(days[0]))) & (day <= days[-1])
    columns = {}
    for name in names:
        columns[name] = np.full(len(days), np.nan)
        columns[name][day[inside] - days[0]] = frame[name].to_numpy(np.float64)[inside]
    return columns


def draw_calendar(panels: Sequence[Axes], days: NDArray[np.int64]) -> None:
    """The same days on all panels, named below the last: months, or weeks where there are few."""
    dates = days.astype("datetime64[D]")
    chosen = _month_starts(dates) if len(days) > _MANY_DAYS else (days[-1] - days) % 7 == 0
    labels = [str(d) for d in dates[chosen]]
    for panel in panels:
        panel.set_xlim(days[0] - 1, days[-1] + 1)
        panel.set_xticks(days[chosen], labels if panel is panels[-1] else [""] * len(labels))
        panel.yaxis.set_label_coords(-90 / PLOT_WIDTH, 0.5)
    panels[-1].set_xlabel("Day (UTC)")


def _month_starts(dates: NDArray[np.datetime64]) -> NDArray[np.bool_]:
    """First days of months: all of them, or of quarters, half years or years to fit the axis."""
    months = dates.astype("datetime64[M]")
    is_first = dates == months
    number = months.astype(np.int64)
    every = (is_first & (number % step == 0) for step in _MONTH_STEPS)
    return next((chosen for chosen in every if chosen.sum() <= _MOST_NAMES), is_first & False)
