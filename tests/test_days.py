from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonama_dagster.days import days_of, due_day, last_closed_day, stretches, uncovered

START = date(2024, 3, 1)
BEFORE, DAY = date(2024, 3, 9), date(2024, 3, 10)


def test_the_last_closed_day_is_yesterday():
    assert last_closed_day(datetime(2024, 1, 4, 0, 0, 1, tzinfo=UTC)) == date(2024, 1, 3)


@pytest.mark.parametrize(
    ("now", "expected"),
    [("2024-03-11T00:04:59", BEFORE), ("2024-03-11T00:05:00", DAY), ("2024-03-11T23:59:59", DAY)],
)
def test_a_day_is_due_five_minutes_after_its_end(now, expected):
    assert due_day(datetime.fromisoformat(now).replace(tzinfo=UTC)) == expected


def test_a_range_of_days_holds_both_ends():
    assert days_of(date(2024, 2, 28), date(2024, 3, 1)) == [
        date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1),
    ]  # fmt: skip
    assert days_of(DAY, DAY) == [DAY]
    assert days_of(DAY, BEFORE) == []


@given(st.sets(st.integers(0, 40)))
def test_stretches_are_the_days_and_have_a_gap_between_them(numbers):
    days = {START + timedelta(days=n) for n in numbers}
    found = list(stretches(list(days)))
    assert {day for first, last in found for day in days_of(first, last)} == days
    assert all((b[0] - a[1]).days > 1 for a, b in pairwise(found))


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([], (1, 10)),
        ([(1, 10)], None),
        ([(0, 20)], None),
        ([(1, 4)], (5, 10)),
        ([(5, 10)], (1, 4)),
        ([(1, 3), (6, 10)], (4, 5)),
        ([(1, 3), (2, 9)], (10, 10)),
        ([(3, 4), (7, 7)], (1, 10)),
        ([(20, 30)], (1, 10)),
    ],
)
def test_uncovered(ranges, expected):
    def day(n):
        return date(2024, 1, 1) + timedelta(days=n)

    found = uncovered([(day(a), day(b)) for a, b in ranges], day(1), day(10))
    assert found == (None if expected is None else (day(expected[0]), day(expected[1])))


@given(st.lists(st.tuples(st.integers(-5, 40), st.integers(0, 15)), max_size=6))
def test_uncovered_is_the_hull_of_the_days_no_range_covers(raw):
    base = date(2024, 1, 1)
    ranges = [(base + timedelta(days=a), base + timedelta(days=a + n)) for a, n in raw]
    days = [base + timedelta(days=n) for n in range(30)]
    missing = [d for d in days if not any(a <= d <= b for a, b in ranges)]
    expected = (missing[0], missing[-1]) if missing else None
    assert uncovered(ranges, days[0], days[-1]) == expected
