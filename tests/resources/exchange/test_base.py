import csv
import pickle
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.analytics.candles.klines import parse, raw_kline
from autonama_dagster.errors import ConflictingCandlesError, InputError
from resources.exchange.base import (
    Klines,
    KlinesRequest,
    Span,
    check_rows,
    closed_rows,
    from_ms,
    to_ms,
)

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
REQUEST = KlinesRequest("BTCUSDT", "1d", START, START + 20 * DAY)


def row(day, close="1.5"):
    open_ms = to_ms(START + day * DAY)
    close_ms = open_ms + 86_399_999
    return raw_kline([open_ms, "1.5", "1.6", "1.4", close, "9", close_ms, "9", 3, "4", "4", "0"])


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.integers(-5, 25)), st.integers(-5, 25))
def test_closed_rows_are_the_days_asked_for_once_in_order(days, now):
    rows = closed_rows([row(day) for day in days], REQUEST, START + now * DAY)
    assert rows == tuple(row(day) for day in sorted(set(days)) if 0 <= day < min(20, now))
    assert closed_rows(rows, REQUEST, START + now * DAY) == rows


def test_different_rows_of_one_time_are_refused():
    with pytest.raises(ConflictingCandlesError, match="2024-01-02") as raised:
        closed_rows([row(1), row(1, "1.55")], REQUEST, START + 20 * DAY)
    told = pickle.loads(pickle.dumps(raised.value))  # as it goes to another process
    assert (told.day, str(told)) == (date(2024, 1, 2), str(raised.value))


def test_the_forming_candle_may_change_within_an_answer():
    assert closed_rows([row(1), row(1, "1.55")], REQUEST, START + 1.5 * DAY) == ()


def test_months_out_of_order_of_a_real_pair(market_data):
    path = market_data / "archive_raw" / "spot_1d_unsorted_months" / "LUNAUSDT.csv"
    with path.open() as file:
        rows = [raw_kline(fields) for fields in list(csv.reader(file))[1:]]
    later, earlier = rows[300:], rows[:300]
    request = KlinesRequest("LUNAUSDT", "1d", START - 5000 * DAY, START)
    cleaned = closed_rows(later + earlier + later, request, START)
    assert cleaned == tuple(sorted(rows))


def test_a_part_of_an_answer_keeps_where_it_came_from():
    rows = tuple(row(day) for day in range(10))
    whole = Klines("BTCUSDT", "1d", START, START + 10 * DAY, rows, "archive", START + 11 * DAY)
    part = whole.within(START + 2 * DAY, START + 4 * DAY)
    assert part.rows == rows[2:4]
    assert (part.start, part.end) == (START + 2 * DAY, START + 4 * DAY)
    assert (part.source, part.asked_at) == (whole.source, whole.asked_at)


def test_an_answer_of_several_sources_is_cut_where_they_change():
    rows = tuple(row(day) for day in range(6))
    spans = tuple(
        Span(rows[day].open_time, rows[day + 1].open_time, "archive") for day in (0, 1, 4)
    )
    end = START + 6 * DAY
    whole = Klines("BTCUSDT", "1d", START, end, rows, "binance", end, spans)
    assert [(source, len(part)) for source, part in whole.by_source()] == [
        ("archive", 2), ("binance", 2), ("archive", 1), ("binance", 1),
    ]  # fmt: skip
    part = whole.within(START + DAY, START + 3 * DAY)
    assert list(part.by_source()) == [("archive", rows[1:2]), ("binance", rows[2:3])]
    assert list(whole.within(end, end + DAY).by_source()) == []


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 4_000_000_000_000))
def test_milliseconds_are_exact(milliseconds):
    assert to_ms(from_ms(milliseconds)) == milliseconds


def month_row(year, month):
    opens = to_ms(datetime(year, month, 1, tzinfo=UTC))
    following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    texts = ["1.5", "1.6", "1.4", "1.5", "9", to_ms(following) - 1, "9", 3, "4", "4", "0"]
    return raw_kline([opens, *texts])


def test_months_of_any_length_are_months_and_close_with_the_calendar():
    rows = [month_row(2024, month) for month in range(1, 5)]
    start, end = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)
    request = KlinesRequest("BTCUSDT", "1M", start, end)
    check_rows(rows, "1M", request.start_ms, request.end_ms)
    with pytest.raises(ValueError, match="1w was requested"):
        check_rows(rows, "1w", request.start_ms, request.end_ms)
    for now, closed in (
        (datetime(2024, 2, 29, 23, 59, tzinfo=UTC), 1),
        (datetime(2024, 3, 1, tzinfo=UTC), 2),
        (datetime(2024, 4, 30, 12, tzinfo=UTC), 3),
        (datetime(2024, 5, 1, tzinfo=UTC), 4),
    ):
        assert closed_rows(rows, request, now) == tuple(rows[:closed])
    good, bad = parse(rows, "BTCUSDT", INTERVALS["1M"])
    assert (len(good), len(bad)) == (4, 0)


def test_an_interval_must_be_known_and_is_not_another():
    with pytest.raises(InputError, match=r"interval '3m' is unknown: use one of 1m, 5m, .*, 1M"):
        KlinesRequest("BTCUSDT", "3m", START, START + DAY)
    with pytest.raises(ValueError, match="1d was requested"):
        check_rows([month_row(2024, 2)], "1d", 0, None)
