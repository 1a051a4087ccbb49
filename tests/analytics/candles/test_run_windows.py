from datetime import date, timedelta

import numpy as np
import pytest
from candle_support import FIRST_DAY, walk

from autonama_dagster.analytics.candles.run_windows import answered_candles, known_days, windows_of

BASE = date(1970, 1, 1)


def day(n):
    return BASE + timedelta(days=n)


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([], []),
        ([(0, 30)], [9, 10, 20, 30]),
        ([(0, 15), (16, 30)], [9, 10, 20, 30]),
        ([(0, 15), (17, 30)], [9, 10, 30]),
        ([(1, 9)], []),
        ([(1, 10)], [10]),
    ],
)
def test_a_day_is_known_when_its_whole_window_was_answered(ranges, expected):
    days = np.array([9, 10, 20, 30])
    known = known_days([(day(a), day(b)) for a, b in ranges], days, 10)
    assert days[known].tolist() == expected


def at(n):
    return day(FIRST_DAY + n)


def test_a_window_that_was_not_fetched_entirely_counts_as_no_data():
    candles = {"BTCUSDT": walk(1, 60)}
    answered = {"BTCUSDT": [(at(10), at(59))]}
    run = windows_of(candles, ["BTCUSDT"], at(25), at(35), 20, answered)
    window = run.windows[0]
    known = [at(n) for n in range(29, 36)]
    assert [day(int(d)) for d in window.day[window.has_candle]] == known
    assert (window.stop - window.start).tolist() == [0] * 4 + [20] * 7
    assert run.unknown() == 4


def test_without_ranges_every_window_counts():
    run = windows_of({"BTCUSDT": walk(1, 60)}, ["BTCUSDT", "NONE"], at(25), at(35), 20)
    assert run.windows[0].has_candle.all()
    assert not run.windows[1].has_candle.any()
    assert len(run.hashes()) == 22


def test_correlations_leave_out_symbols_that_were_not_fetched():
    candles = {"AAA": walk(1, 60), "BBB": walk(2, 60)}
    answered = {"AAA": [(at(0), at(59))], "BBB": [(at(20), at(59))]}
    assert list(answered_candles(candles, answered, FIRST_DAY + 30, 20)) == ["AAA"]
