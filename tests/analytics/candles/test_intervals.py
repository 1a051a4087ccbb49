import calendar
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from candle_support import of_closes
from hypothesis import given
from hypothesis import strategies as st

from autonama_dagster.analytics.candles.intervals import INTERVALS, MADE_FROM, STORED
from autonama_dagster.analytics.candles.windows import breaks
from autonama_dagster.errors import SchemaError
from autonama_dagster.schemas.registry import CANDLE_TABLES


@pytest.mark.parametrize(
    ("name", "opens", "closes"),
    [
        ("15m", datetime(2023, 12, 29, 23, 45, tzinfo=UTC), date(2023, 12, 29)),
        ("1h", datetime(2023, 12, 29, 23, tzinfo=UTC), date(2023, 12, 29)),
        ("4h", datetime(2023, 12, 29, 20, tzinfo=UTC), date(2023, 12, 29)),
        ("1d", datetime(2023, 12, 29, tzinfo=UTC), date(2023, 12, 29)),
        ("1m", datetime(2023, 12, 29, 23, 59, tzinfo=UTC), date(2023, 12, 29)),
        ("12h", datetime(2023, 12, 29, 12, tzinfo=UTC), date(2023, 12, 29)),
        ("1w", datetime(2023, 12, 18, tzinfo=UTC), date(2023, 12, 24)),
        ("1M", datetime(2023, 11, 1, tzinfo=UTC), date(2023, 11, 30)),
    ],
)
def test_the_last_step_of_a_day_has_closed_and_the_next_has_not(name, opens, closes):
    interval = INTERVALS[name]
    step = interval.last_step(date(2023, 12, 29))
    assert interval.opens_at(step) == opens
    assert interval.opens_on(step) == opens.date()
    assert interval.closes_on(step) == closes
    assert interval.opens_at(step + 2) > datetime(2023, 12, 30, tzinfo=UTC)


def test_a_week_that_ends_on_the_day_is_over():
    week = INTERVALS["1w"]
    assert week.opens_on(week.last_step(date(2023, 12, 31))) == date(2023, 12, 25)
    assert week.opens_on(week.last_step(date(2023, 12, 30))) == date(2023, 12, 18)


def test_a_month_that_ends_on_the_day_is_over():
    month = INTERVALS["1M"]
    assert month.opens_on(month.last_step(date(2024, 2, 29))) == date(2024, 2, 1)
    assert month.opens_on(month.last_step(date(2024, 2, 28))) == date(2024, 1, 1)
    assert month.opens_on(month.last_step(date(2023, 2, 28))) == date(2023, 2, 1)
    assert month.closes_on(month.last_step(date(2024, 3, 1))) == date(2024, 2, 29)


@given(st.dates(date(1960, 1, 1), date(2200, 1, 1)))
def test_months_are_the_calendars(day):
    month = INTERVALS["1M"]
    noon = np.array(
        [int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()) * 1000]
    )
    (step,) = month.steps(noon).tolist()
    assert step == 12 * (day.year - 1970) + day.month - 1
    assert month.opens_at(step) == datetime(day.year, day.month, 1, tzinfo=UTC)
    last = date(day.year, day.month, calendar.monthrange(day.year, day.month)[1])
    assert month.closes_on(step) == last
    opened, end = int(month.open_ms(np.array([step]))[0]), month.end_ms(int(noon[0]))
    assert timedelta(milliseconds=end - opened) == timedelta(days=last.day)
    assert timedelta(days=last.day) in month.lengths


@pytest.mark.parametrize("step", range(12 * 53, 12 * 57))  # 2023 to 2026
def test_a_month_has_closed_from_its_end_on_whatever_its_length(step):
    month = INTERVALS["1M"]
    opened, end = month.open_ms(np.array([step, step + 1])).tolist()
    assert month.newest_closed_ms(end) >= opened
    assert month.newest_closed_ms(end - 1) < opened


@given(st.sampled_from(list(INTERVALS)), st.dates(date(1971, 1, 1), date(2200, 1, 1)))
def test_a_step_opens_where_it_lies_and_is_the_days_last(name, day):
    interval = INTERVALS[name]
    step = interval.last_step(day)
    opened = interval.open_ms(np.array([step]))
    assert interval.on_grid(opened).all()
    assert not interval.on_grid(opened + 1).any()
    assert interval.steps(opened).tolist() == [step]
    assert interval.steps(interval.close_ms(np.array([step]))).tolist() == [step]
    assert interval.end_ms(int(opened[0])) == int(interval.open_ms(np.array([step + 1]))[0])
    assert interval.closes_on(step) <= day < interval.closes_on(step + 1)


@given(
    st.sampled_from(list(INTERVALS)),
    st.integers(0, 2_000_000_000_000),
    st.integers(-100, 100),
    st.integers(-1, 1),
)
def test_opens_of_a_range_and_what_has_closed(name, time, steps, ms):
    interval = INTERVALS[name]
    first = int(interval.steps(np.array([time]))[0])
    opens = interval.open_ms(np.arange(first - 1, first + 130)).tolist()
    end = opens[max(steps, 0) + 5] + ms
    assert interval.opens_between(time, end) == [o for o in opens if time <= o < end]
    assert interval.opens_between(end, time) == []
    newest = interval.newest_closed_ms(time)
    closed = [o for o in opens if interval.end_ms(o) <= time]
    assert [o for o in opens if o <= newest] == closed == opens[:1]


def test_thirty_days_may_be_missing_whatever_the_interval():
    assert {n: i.max_missing for n, i in INTERVALS.items()} == {
        "1m": 43_200, "5m": 8640, "15m": 2880, "30m": 1440, "1h": 720, "4h": 180, "8h": 90,
        "12h": 60, "1d": 30, "1w": 4, "1M": 0,
    }  # fmt: skip


def test_those_that_divide_a_day_lie_in_it_whole():
    assert [n for n, i in INTERVALS.items() if not i.divides_day] == ["1w", "1M"]
    for name, of in MADE_FROM.items():
        assert not INTERVALS[name].lengths[0] % INTERVALS[of].lengths[0]


def test_every_stored_interval_has_its_table():
    assert {f"ohlcv_{name}" for name in STORED} == {of.name for of in CANDLE_TABLES}


@pytest.mark.parametrize(("missing", "expected"), [(720, []), (721, [1])])
def test_hours_break_after_thirty_days_of_silence(missing, expected):
    hours = replace(of_closes([10.0, 10.5], [0, missing + 1]), interval=INTERVALS["1h"])
    assert breaks(hours).tolist() == expected


def test_a_candle_given_twice_is_named_by_its_time():
    quarter = replace(of_closes([10.0, 10.5], [1, 2]), interval=INTERVALS["15m"])
    with pytest.raises(SchemaError, match="1970-01-01T00:15 is not later than the row before"):
        replace(quarter, day=np.array([1, 1]))
