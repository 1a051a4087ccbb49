from dataclasses import replace

import numpy as np
import pytest
from candle_support import FIRST_DAY, days, of_closes, part, real, walk, without
from hypothesis import given, settings
from hypothesis import strategies as st

from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.analytics.candles.windows import breaks, foreign, restarts, windows


def days_of(candles, day, lookback=720):
    window = windows(candles, np.array([day]), lookback)
    return candles.day[window.start[0] : window.stop[0]].tolist()


def jumping(ratio):
    """Three days at 1, then an open at `ratio`."""
    candles = of_closes([1.0, 1.0, 1.0, ratio, ratio])
    return replace(candles, open=np.array([1.0, 1.0, 1.0, ratio, ratio]))


def test_window_is_the_lookback_up_to_the_day():
    candles = of_closes(np.ones(10))
    assert days_of(candles, FIRST_DAY + 6, lookback=4) == [FIRST_DAY + i for i in (3, 4, 5, 6)]
    assert days_of(candles, FIRST_DAY + 2, lookback=4) == [FIRST_DAY + i for i in (0, 1, 2)]


def test_lookback_counts_calendar_days_and_not_candles():
    candles = without(of_closes(np.ones(10)), 4)
    assert days_of(candles, FIRST_DAY + 6, lookback=4) == [FIRST_DAY + i for i in (3, 5, 6)]


def test_default_lookback_is_720_days():
    candles = of_closes(np.ones(1000))
    assert len(days_of(candles, FIRST_DAY + 900)) == 720


def test_days_without_a_candle():
    candles = without(of_closes(np.ones(10)), 4)
    asked = FIRST_DAY + np.array([-1, 3, 4, 9, 10, 500])
    window = windows(candles, asked, lookback=4)
    assert window.day.tolist() == asked.tolist()
    assert window.has_candle.tolist() == [False, True, False, True, False, False]
    assert (window.stop - window.start).tolist() == [0, 4, 3, 4, 3, 0]
    assert len(window) == 6


def test_no_candles_at_all():
    window = windows(part(of_closes([1.0]), slice(0, 0)), np.array([FIRST_DAY]))
    assert (window.start.tolist(), window.stop.tolist()) == ([0], [0])
    assert not window.has_candle[0]


def test_days_in_any_order_and_twice():
    candles = walk(0, 50)
    shuffled = FIRST_DAY + np.array([30, 2, 30, 49])
    window = windows(candles, shuffled, lookback=10)
    assert window.stop.tolist() == [31, 3, 31, 50]
    assert window.start.tolist() == [21, 0, 21, 40]


@pytest.mark.parametrize("ratio", [3.1, 20_000.0, 0.3, 1e-6])
def test_a_jump_between_close_and_open_is_a_break(ratio):
    candles = jumping(ratio)
    assert breaks(candles).tolist() == [3]
    assert days_of(candles, FIRST_DAY + 2) == [FIRST_DAY + i for i in (0, 1, 2)]
    assert days_of(candles, FIRST_DAY + 3) == [FIRST_DAY + 3]
    assert days_of(candles, FIRST_DAY + 4) == [FIRST_DAY + 3, FIRST_DAY + 4]


@pytest.mark.parametrize("ratio", [3.0, 1 / 3, 1.5])
def test_a_smaller_jump_is_no_break(ratio):
    assert breaks(jumping(ratio)).size == 0


def test_a_crash_within_the_day_is_no_break():
    assert breaks(of_closes([100.0, 100.0, 0.001, 0.002])).size == 0


@pytest.mark.parametrize(("missing", "expected"), [(30, []), (31, [2])])
def test_more_than_30_missing_days_are_a_break(missing, expected):
    candles = of_closes(np.ones(4), day=[10, 11, 12 + missing, 13 + missing])
    assert breaks(candles).tolist() == expected


def test_the_last_of_several_breaks_counts():
    candles = of_closes(np.ones(6), day=[0, 40, 41, 90, 91, 130])
    assert breaks(candles).tolist() == [1, 3, 5]
    assert days_of(candles, 41) == [40, 41]
    assert days_of(candles, 91) == [90, 91]
    assert days_of(candles, 89) == [40, 41]


def one_foreign(at=3, n=8, day=None, ratio=1000.0):
    """Days at 1, one of them at `ratio`."""
    prices = np.ones(n)
    prices[at] = ratio
    candles = of_closes(np.ones(n), day)
    return replace(candles, **dict.fromkeys(("open", "high", "low", "close"), prices))


@pytest.mark.parametrize("ratio", [1000.0, 1e-3, 3.1])
def test_a_break_undone_by_the_next_candle_restarts_the_window_of_its_own_day_alone(ratio):
    candles = one_foreign(ratio=ratio)
    assert breaks(candles).tolist() == [3, 4]
    assert foreign(candles, breaks(candles)).tolist() == [3]
    starts = windows(candles, candles.day).start.tolist()
    assert starts == [0, 0, 0, 3, 0, 0, 0, 0]
    assert restarts(candles, 0, 4).tolist() == [3]
    assert restarts(candles, 0, 5).tolist() == []


def test_days_missing_after_a_foreign_candle_still_begin_at_it():
    candles = one_foreign(day=FIRST_DAY + np.array([0, 1, 2, 3, 6, 7, 8, 9]))
    starts = windows(candles, FIRST_DAY + np.arange(2, 8)).start.tolist()
    assert starts == [0, 3, 3, 3, 0, 0]


def test_a_window_that_does_not_hold_the_candle_before_knows_of_no_foreign_one():
    candles = one_foreign()
    assert days_of(candles, FIRST_DAY + 5, lookback=3) == [FIRST_DAY + 4, FIRST_DAY + 5]
    assert days_of(candles, FIRST_DAY + 5, lookback=4) == [FIRST_DAY + i for i in (2, 3, 4, 5)]


@pytest.mark.parametrize("gap", [(2, 3), (3, 4)])
def test_more_than_30_missing_days_are_undone_by_nothing(gap):
    candles = one_foreign()
    day = candles.day + np.where(np.arange(8) < gap[1], 0, 31)
    moved = replace(candles, day=day)
    assert foreign(moved, breaks(moved)).size == 0
    assert windows(moved, day).start.tolist()[4:] == [4, 4, 4, 4]
    nearer = replace(candles, day=day - np.where(np.arange(8) < gap[1], 0, 1))
    assert foreign(nearer, breaks(nearer)).tolist() == [3]


def test_prices_that_do_not_join_again_are_two_breaks():
    candles = one_foreign()
    elsewhere = candles.open * np.where(np.arange(8) < 4, 1.0, 5.0)
    moved = replace(candles, open=elsewhere, high=elsewhere, low=elsewhere, close=elsewhere)
    assert foreign(moved, breaks(moved)).size == 0
    assert windows(moved, moved.day).start.tolist() == [0, 0, 0, 3, 4, 4, 4, 4]


def test_hours_have_no_foreign_candle_because_no_ledger_names_it():
    hours = replace(one_foreign(), interval=INTERVALS["1h"])
    assert breaks(hours).tolist() == [3, 4]
    assert windows(hours, hours.day).start.tolist() == [0, 0, 0, 3, 4, 4, 4, 4]


def test_lookback_below_one_is_refused():
    with pytest.raises(ValueError, match="lookback is 0 days: choose 1 or more"):
        windows(of_closes([1.0]), np.array([FIRST_DAY]), lookback=0)


@pytest.mark.parametrize(
    ("symbol", "first_day_after_the_break"),
    [
        ("LUNAUSDT", "2022-05-31"),  # another coin under the old name, at 20,000 times the price
        ("FTTUSDT", "2023-09-23"),  # 312 days missing
        ("COCOSUSDT", "2021-01-23"),  # redenominated by 1,000
    ],
)
def test_breaks_of_real_pairs(market_data, symbol, first_day_after_the_break):
    candles = real(market_data, symbol)
    restart = days(first_day_after_the_break, first_day_after_the_break)[0]
    assert candles.day[breaks(candles)].tolist() == [restart]
    assert days_of(candles, restart + 5)[0] == restart
    assert days_of(candles, restart - 1)[-1] < restart - 1


def test_the_crash_of_a_real_pair_is_no_break(market_data):
    assert breaks(real(market_data, "BTCUSDT")).size == 0


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), known=st.integers(1, 79))
def test_later_candles_change_no_earlier_window(seed, known):
    rng = np.random.default_rng(seed)
    day = np.cumsum(rng.choice([1, 2, 40], 80, p=[0.8, 0.1, 0.1]))
    level = rng.choice([1.0, 100.0], 80, p=[0.8, 0.2])
    close = np.exp(rng.choice([0.0, 0.1, 2.0], 80, p=[0.5, 0.4, 0.1]) * rng.normal(size=80))
    whole = replace(of_closes(close * level, day), open=level)
    past = part(whole, slice(0, known))
    asked = np.arange(day[known - 1] + 1)
    early, late = windows(past, asked, 20), windows(whole, asked, 20)
    for name in ("day", "start", "stop", "has_candle"):
        assert getattr(early, name).tolist() == getattr(late, name).tolist()


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), lookback=st.integers(1, 40))
def test_each_window_is_what_its_definition_says(seed, lookback):
    rng = np.random.default_rng(seed)
    day = np.cumsum(rng.choice([1, 2, 31, 32], 60, p=[0.8, 0.1, 0.05, 0.05]))
    level = rng.choice([1.0, 3.5, 0.2], 60, p=[0.8, 0.1, 0.1])
    candles = replace(of_closes(level, day), open=level * rng.choice([1.0, 2.0], 60))
    asked = np.arange(day[0] - 3, day[-1] + 50)
    window = windows(candles, asked, lookback)
    for i, d in enumerate(asked):
        inside = np.flatnonzero((day > d - lookback) & (day <= d))
        begins = 0
        for n in range(1, len(inside)):
            before, at, after = (inside[m] if m < len(inside) else None for m in (n - 1, n, n + 1))
            is_undone = (
                after is not None
                and joins(candles, before, after)
                and (
                    near(candles, before, at)
                    and near(candles, at, after)
                    and not joins(candles, at, after)
                )
            )
            came_back = (
                n > 1
                and joins(candles, inside[n - 2], at)
                and (
                    near(candles, inside[n - 2], before)
                    and near(candles, before, at)
                    and not joins(candles, inside[n - 2], before)
                )
            )
            broken = not joins(candles, before, at) or not near(candles, before, at)
            if broken and not is_undone and not came_back:
                begins = n
        assert list(range(window.start[i], window.stop[i])) == inside[begins:].tolist()
        assert restarts(candles, *bounds(inside)).max(initial=0) == (begins and inside[begins])
        assert window.has_candle[i] == (d in day)


def joins(candles, before, at):
    return 1 / 3 <= candles.open[at] / candles.close[before] <= 3


def near(candles, before, at):
    return candles.day[at] - candles.day[before] - 1 <= 30


def bounds(inside):
    return (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0)
