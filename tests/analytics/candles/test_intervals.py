from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
from candle_support import of_closes
from hypothesis import given
from hypothesis import strategies as st

from autonama_dagster.analytics.candles.intervals import INTERVALS, MADE_FROM
from autonama_dagster.analytics.candles.windows import breaks
from autonama_dagster.errors import SchemaError
from resources.exchange import base


@pytest.mark.parametrize(
    ("name", "opens", "closes"),
    [
        ("15m", datetime(2023, 12, 29, 23, 45, tzinfo=UTC), date(2023, 12, 29)),
        ("1h", datetime(2023, 12, 29, 23, tzinfo=UTC), date(2023, 12, 29)),
        ("4h", datetime(2023, 12, 29, 20, tzinfo=UTC), date(2023, 12, 29)),
        ("1d", datetime(2023, 12, 29, tzinfo=UTC), date(2023, 12, 29)),
        ("1w", datetime(2023, 12, 18, tzinfo=UTC), date(2023, 12, 24)),
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


@given(st.sampled_from(list(INTERVALS)), st.dates(date(1971, 1, 1), date(2200, 1, 1)))
def test_a_step_opens_where_it_lies_and_is_the_days_last(name, day):
    interval = INTERVALS[name]
    step = interval.last_step(day)
    opened = interval.open_ms(np.array([step]))
    assert interval.steps(opened).tolist() == [step]
    assert interval.steps(opened + interval.step_ms - 1).tolist() == [step]
    assert interval.closes_on(step) <= day < interval.closes_on(step + 1)


def test_thirty_days_may_be_missing_whatever_the_interval():
    assert {n: i.max_missing for n, i in INTERVALS.items()} == {
        "15m": 2880, "1h": 720, "4h": 180, "1d": 30, "1w": 4,
    }  # fmt: skip


def test_steps_are_the_exchanges_and_longer_ones_hold_shorter_ones():
    for name, interval in INTERVALS.items():
        assert interval.step == base.INTERVALS[name]
    for name, of in MADE_FROM.items():
        assert INTERVALS[name].step_ms % INTERVALS[of].step_ms == 0


@pytest.mark.parametrize(("missing", "expected"), [(720, []), (721, [1])])
def test_hours_break_after_thirty_days_of_silence(missing, expected):
    hours = replace(of_closes([10.0, 10.5], [0, missing + 1]), interval=INTERVALS["1h"])
    assert breaks(hours).tolist() == expected


def test_a_candle_given_twice_is_named_by_its_time():
    quarter = replace(of_closes([10.0, 10.5], [1, 2]), interval=INTERVALS["15m"])
    with pytest.raises(SchemaError, match="1970-01-01T00:15 is not later than the row before"):
        replace(quarter, day=np.array([1, 1]))
