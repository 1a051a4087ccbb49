import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonama_dagster.analytics.candles.intervals import DAILY, INTERVALS
from autonama_dagster.replay.market.candles import (
    DAY_MS,
    AggregatedSeries,
    Candle,
    StoredSeries,
    merge,
    plain_decimal,
    render,
    segment,
)

MONDAY = 4 * DAY_MS
PRICES = st.floats(1e-6, 1e5)


def candle(open_=10.0, high=14.0, low=8.0, close=11.0, volume=90.0, open_time=0):
    return Candle(
        open_time=open_time,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
        close_time=open_time + DAY_MS - 1,
        quote_volume=900.0,
        trades=30,
        taker_buy_volume=45.0,
        taker_buy_quote_volume=450.0,
        is_estimated=False,
    )


def daily(*days, first=MONDAY):
    candles = [candle(open_=10.0 + day, open_time=first + day * DAY_MS) for day in days]
    return StoredSeries([c.open_time for c in candles], DAILY, candles.__getitem__)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4261.48, "4261.48000000"),
        (3.45e-06, "0.00000345"),
        (11243459.159999998, "11243459.16000000"),
        (95302311917668.0, "95302311917668.00000000"),
        (1.5e-09, "0.0000000015"),
        (0.0, "0.00000000"),
    ],
)
def test_decimals_have_eight_digits_and_never_an_exponent(value, text):
    assert plain_decimal(value) == text


def test_a_row_is_binances_array_of_twelve():
    row = render(candle())
    assert json.loads(row.json) == [
        0,
        "10.00000000",
        "14.00000000",
        "8.00000000",
        "11.00000000",
        "90.00000000",
        86399999,
        "900.00000000",
        30,
        "45.00000000",
        "450.00000000",
        "0",
    ]


def test_a_rising_candle_goes_through_its_low_first():
    assert segment(candle(), 0, 0)[1:6] == (10, 10, 10, 10, 0)
    assert segment(candle(), 0, 0.5)[1:6] == (10, 11, 8, 11, 45)
    assert segment(candle(), 0, 1) == candle()


def test_a_falling_candle_goes_through_its_high_first():
    assert segment(candle(close=9.0), 0, 0.5)[1:6] == (10, 14, 10, 11, 45)


@given(a=PRICES, b=PRICES, up=st.floats(1, 2), down=st.floats(0.5, 1), cut=st.floats(0, 1))
def test_a_forming_candle_only_widens_and_stays_inside_the_whole(a, b, up, down, cut):
    digits = 8
    open_, close = round(a, digits), round(b, digits)
    high, low = round(max(a, b) * up, digits), round(min(a, b) * down, digits)
    whole = candle(open_, high, low, close)
    parts = [segment(whole, 0, fraction) for fraction in sorted((0.0, cut / 2, cut, 1.0))]
    for part in parts:
        assert part.low <= min(part.open, part.close) <= max(part.open, part.close) <= part.high
    for earlier, later in pairwise(parts):
        assert later.high >= earlier.high
        assert later.low <= earlier.low
        assert later.volume >= earlier.volume
    assert parts[-1] == whole


def test_the_two_sides_of_a_cut_make_the_whole():
    whole = candle()
    sides = [segment(whole, 0, 0.4), segment(whole, 0.4, 1)]
    assert sides[0].close == sides[1].open
    assert merge(sides, 0, DAY_MS - 1)[:6] == whole[:6]


def test_selection_counts_from_the_start_or_back_from_the_end():
    series = daily(0, 1, 2, 3, 4)
    now = MONDAY + 10 * DAY_MS
    day = MONDAY + DAY_MS
    assert list(series.select(None, None, 2, now)) == [3, 4]
    assert list(series.select(day, None, 2, now)) == [1, 2]
    assert list(series.select(None, day, 5, now)) == [0, 1]
    assert list(series.select(day, day, 5, now)) == [1]
    assert list(series.select(day + 1, day + 2, 5, now)) == []
    assert list(series.select(day, MONDAY, 5, now)) == []
    assert list(series.select(None, None, 9, day)) == [0, 1]


def test_a_closed_row_is_kept_but_not_when_the_clock_goes_back():
    series = daily(0, 1)
    closed = series.row(1, MONDAY + 2 * DAY_MS)
    assert series.row(1, MONDAY + 2 * DAY_MS) is closed
    assert series.row(1, MONDAY + DAY_MS + 1000).json != closed.json


def test_weeks_begin_on_monday_and_hold_the_days_present():
    weeks = AggregatedSeries(daily(0, 1, 2, 6, 7, 8), INTERVALS["1w"])
    assert list(weeks.opens) == [MONDAY, MONDAY + 7 * DAY_MS]
    week = weeks.candle(0, MONDAY + 9 * DAY_MS)
    assert week.close_time == MONDAY + 7 * DAY_MS - 1
    assert (week.open, week.volume, week.trades) == (10.0, 4 * 90.0, 120)


def test_a_week_is_made_of_the_days_known_so_far():
    weeks = AggregatedSeries(daily(0, 1, 2), INTERVALS["1w"])
    forming = weeks.candle(0, MONDAY + DAY_MS + DAY_MS // 2)
    assert forming.volume == 1.5 * 90.0


def test_a_week_is_absent_until_its_first_day_is_there():
    weeks = AggregatedSeries(daily(2, 3), INTERVALS["1w"])
    assert weeks.count_at(MONDAY + DAY_MS) == 0
    assert weeks.count_at(MONDAY + 2 * DAY_MS) == 1
