"""Rows know when their bar is, whatever the interval."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from candle_support import FIRST_DAY, walk

from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.analytics.candles.rows import keys
from autonama_dagster.analytics.candles.run_windows import windows_at
from autonama_dagster.analytics.scan.channel import ChannelParams, channel_curve, fit_channels
from autonama_dagster.analytics.scan.correlation import pairs
from autonama_dagster.analytics.scan.indicators.indicators import compute
from autonama_dagster.analytics.scan.signals import decide

STEPS = np.arange(FIRST_DAY + 150, FIRST_DAY + 180)
PARAMS = ChannelParams(lookback=150)
DAILY_WALK = walk(1, 180)


def run_of(interval, *, more=()):
    """Windows of one series of numbers, its steps on the grid of the interval."""
    series = replace(DAILY_WALK, interval=INTERVALS[interval])
    names = [series.symbol, *more]
    return windows_at({series.symbol: series}, names, STEPS, PARAMS.lookback, INTERVALS[interval])


def signals_of(run):
    bands = fit_channels(run.candles, run.windows, PARAMS)
    nothing = bands[["symbol", "date"]].iloc[:0].assign(window_severity="")
    ranked = bands[["symbol", "date"]].drop_duplicates().assign(rank=1, is_member=True)
    indicators = compute(run.candles, run.windows)
    return bands, indicators, decide(bands, indicators, ranked, nothing, kstd=PARAMS.kstd)


@pytest.mark.parametrize("interval", ["15m", "1h", "12h", "1w", "1M"])
def test_a_step_of_any_interval_gives_the_numbers_of_a_day_and_its_own_time(interval):
    grid = INTERVALS[interval]
    found, daily = signals_of(run_of(interval)), signals_of(run_of("1d"))
    for bars, days in zip(found, daily, strict=True):
        assert "open_time" not in days
        assert [t.to_pydatetime() for t in bars["open_time"]] == [*map(grid.opens_at, STEPS)]
        assert [t.date() for t in bars["date"]] == [*map(grid.closes_on, STEPS)]
        assert bars["open_time"].is_unique
        times = [c for c in ("date", "open_time", "window_start") if c in bars]
        shared = [c for c in days if c not in times]
        pd.testing.assert_frame_equal(bars[shared], days[shared], check_exact=True)
    assert len(set(days["z_score"])) == len(STEPS)


def test_a_symbol_without_any_candle_has_rows_of_the_same_bars():
    bands = fit_channels(*_parts(run_of("1h", more=("NONE",))), PARAMS)
    none = bands[bands["symbol"] == "NONE"]
    assert none["status"].eq("NO_DATA").all()
    assert none["open_time"].tolist() == bands.loc[bands["symbol"] != "NONE", "open_time"].tolist()


def test_a_curve_and_pairs_of_bars_say_when_they_are():
    run = run_of("4h", more=("NONE",))
    curve = channel_curve(run.candles[0], run.windows[0].part(slice(-1, None)), PARAMS)
    assert curve["open_time"].diff().iloc[1:].eq(pd.Timedelta(hours=4)).all()
    series = {c.symbol: c for c in run.candles}
    last = int(STEPS[-1])
    (row,) = pairs(list(series), series, last, lookback=150).to_dict("records")
    assert row["open_time"].to_pydatetime() == INTERVALS["4h"].opens_at(last)
    assert row["date"].date() == INTERVALS["4h"].closes_on(last)


def test_intervals_do_not_meet_in_one_run():
    hours, days = run_of("1h"), run_of("1d")
    with pytest.raises(ValueError, match="candles of 1d and 1h in one run"):
        keys([*hours.candles, *days.candles], [*hours.windows, *days.windows])


def _parts(run):
    return run.candles, run.windows
