import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from autonama_dagster.reports.charts.timeline import aligned, draw_calendar

LAST = 19_700  # 2023-12-09


@pytest.mark.parametrize("count", [30, 62, 63, 180, 366, 720, 1500, 4000])
def test_the_calendar_names_few_days_at_equal_steps(count):
    axes = Figure().subplots()
    days = np.arange(LAST - count + 1, LAST + 1)
    draw_calendar([axes], days)
    ticks = axes.get_xticks().astype(int)
    labels = [t.get_text() for t in axes.get_xticklabels()]
    assert labels == [str(d) for d in ticks.astype("datetime64[D]")]
    assert 2 <= len(labels) <= 14
    assert ticks[0] >= days[0]
    months = ticks.astype("datetime64[D]").astype("datetime64[M]").astype(int)
    steps = np.diff(ticks) if count <= 62 else np.diff(months)
    assert len({*steps.tolist()}) == 1


def test_rows_stand_on_their_days_and_those_outside_are_left_out():
    frame = pd.DataFrame(
        {"date": pd.to_datetime([8, 9, 10, 12, 14], unit="D"), "x": [1.0, 2.0, 3.0, 4.0, 5.0]}
    )
    found = aligned(frame, np.arange(9, 13), 10, ["x"])["x"]
    np.testing.assert_array_equal(found, [np.nan, 3.0, np.nan, 4.0])


def test_rows_before_the_first_day_are_left_out():
    frame = pd.DataFrame({"date": pd.to_datetime([8, 9], unit="D"), "x": [1.0, 2.0]})
    np.testing.assert_array_equal(aligned(frame, np.arange(9, 11), 7, ["x"])["x"], [2.0, np.nan])
