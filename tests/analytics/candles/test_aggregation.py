"""Longer candles from shorter ones, made up and recorded."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from interval_support import assert_fits, complete, frame_of, recorded

from autonama_dagster.analytics.candles.aggregation import aggregate
from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.text.sources import SOURCES

HOUR, FOUR, DAY, WEEK = (INTERVALS[name] for name in ("1h", "4h", "1d", "1w"))
CLOSES = [10.0, 12.0, 9.0, 11.0, 20.0, 21.0, 19.0, 22.0]


def four_hours(frame):
    return aggregate(frame, HOUR, FOUR, SOURCES)


def hash_of(parts, interval):
    (candles,) = Candles.by_symbol(parts, interval).values()
    return hashlib.sha256(b"".join(map(bytes, candles.digest))).hexdigest()


def test_open_is_the_first_close_the_last_and_the_rest_what_lies_between():
    hours = frame_of("AAA", "1h", "2024-01-01", CLOSES)
    made = four_hours(hours.sample(frac=1, random_state=1))
    assert_fits("ohlcv_4h", made)
    assert made["open_time"].dt.hour.tolist() == [0, 4]
    assert made["date"].dt.day.tolist() == [1, 1]
    assert made["open"].tolist() == [10.0, 11.0]
    assert made["high"].tolist() == [13.0, 23.0]
    assert made["low"].tolist() == [4.5, 5.5]
    assert made["close"].tolist() == [11.0, 22.0]
    assert made["volume"].tolist() == [8.0, 8.0]
    assert made["quote_volume"].tolist() == [12.0, 12.0]
    assert made["trades"].tolist() == [10, 26]
    assert made["taker_buy_volume"].tolist() == [4.0, 4.0]
    assert made["row_hash"][0] == hash_of(hours[:4], HOUR)


@pytest.mark.parametrize("change", [{"high": 13.5}, {"trades": 9}, {"source": "archive"}])
def test_a_changed_part_changes_the_hash_of_its_candle_and_of_no_other(change):
    hours = frame_of("AAA", "1h", "2024-01-01", CLOSES)
    other = hours.copy()
    other.loc[5, [*change]] = [*change.values()]
    before, after = (four_hours(of)["row_hash"] for of in (hours, other))
    assert (before == after).tolist() == [True, False]


def test_hours_that_are_missing_are_no_part_and_none_makes_no_candle():
    hours = frame_of("AAA", "1h", "2024-01-01", [*CLOSES, 30.0, 31.0])
    made = four_hours(hours.drop(index=[0, 3, 4, 5, 6, 7]))
    assert made["open_time"].dt.hour.tolist() == [0, 8]
    assert made["open"].tolist() == [10.0, 22.0]
    assert made["close"].tolist() == [9.0, 31.0]
    assert made["volume"].tolist() == [4.0, 4.0]


def test_symbols_do_not_meet_and_an_unknown_amount_stays_unknown():
    first = frame_of("AAA", "1h", "2024-01-01", CLOSES[:2])
    second = frame_of("BBB", "1h", "2024-01-01", CLOSES[:3])
    second.loc[1, "quote_volume"] = np.nan
    made = four_hours(pd.concat([second, first], ignore_index=True))
    assert made["symbol"].tolist() == ["AAA", "BBB"]
    assert made["close"].tolist() == [12.0, 9.0]
    assert made["quote_volume"].isna().tolist() == [False, True]


def test_the_source_is_the_farthest_from_the_market_and_the_time_the_latest():
    hours = frame_of("AAA", "1h", "2024-01-01", CLOSES[:2])
    hours.loc[1, "source"] = "archive"
    later = hours["fetched_at"][0] + pd.Timedelta(hours=1)
    hours.loc[0, "fetched_at"] = later
    made = four_hours(hours)
    assert made["source"].tolist() == ["archive"]
    assert made["fetched_at"].tolist() == [later]


def test_a_candle_begins_after_a_break_inside_it():
    days = frame_of("AAA", "1d", "2024-01-01", [100.0, 101.0, 102.0, 103.0])
    new = frame_of("AAA", "1d", "2024-01-05", [0.5, 0.6, 0.7])
    made = aggregate(pd.concat([days, new], ignore_index=True), DAY, WEEK, SOURCES)
    assert_fits("ohlcv_1w", made)
    assert (made["open"][0], made["high"][0], made["close"][0]) == (0.5, 1.7, 0.7)
    assert made["trades"].tolist() == [6]
    assert made["row_hash"][0] == hash_of(new, DAY)


def test_a_week_is_monday_to_sunday_and_dated_with_its_sunday():
    days = frame_of("AAA", "1d", "2023-12-31", [float(n) for n in range(10, 19)])
    made = aggregate(days, DAY, WEEK, SOURCES)
    opened = made["open_time"].dt.strftime("%Y-%m-%d").tolist()
    assert opened == ["2023-12-25", "2024-01-01", "2024-01-08"]
    assert made["date"].dt.strftime("%Y-%m-%d").tolist() == [
        "2023-12-31", "2024-01-07", "2024-01-14",
    ]  # fmt: skip
    assert made["close"].tolist() == [10.0, 17.0, 18.0]


def test_a_month_is_the_calendars_and_dated_with_its_last_day():
    days = frame_of("AAA", "1d", "2024-01-30", [float(n) for n in range(10, 43)])
    made = aggregate(days, DAY, INTERVALS["1M"], SOURCES)
    assert made["open_time"].dt.strftime("%Y-%m-%d").tolist() == [
        "2024-01-01", "2024-02-01", "2024-03-01",
    ]  # fmt: skip
    assert made["date"].dt.strftime("%Y-%m-%d").tolist() == [
        "2024-01-31", "2024-02-29", "2024-03-31",
    ]  # fmt: skip
    assert made["close"].tolist() == [11.0, 40.0, 42.0]


def test_no_candles_make_none():
    made = four_hours(frame_of("AAA", "1h", "2024-01-01", []))
    assert made.empty
    assert_fits("ohlcv_4h", made)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "SOLUSDT"])
def test_a_recorded_day_is_its_hours(market_data, symbol):
    hours = recorded(market_data, symbol, "1h")
    made = aggregate(hours, HOUR, DAY, SOURCES)
    both = made.merge(recorded(market_data, symbol, "1d"), on="date", suffixes=("", "_1d"))
    present = hours.groupby("date").size().reindex(both["date"])
    assert (present == 24).sum() > 1000
    assert (present < 24).sum() > 10  # outages
    for name in ("open", "high", "low", "close"):
        assert (both[name] == both[f"{name}_1d"]).all(), name
    assert (both["volume"] / both["volume_1d"]).between(1 - 1e-9, 1 + 1e-9).all()


def test_the_hours_of_a_recorded_outage_are_missing(market_data):
    hours = recorded(market_data, "BTCUSDT", "1h")
    outage = hours[hours["date"].between("2018-02-08", "2018-02-09")]
    assert outage["open_time"].dt.strftime("%d %H").tolist()[0] == "08 00"
    assert len(outage) == 48 - 33
    made = four_hours(outage)
    assert len(made) == 5
    assert complete(made)["volume"].sum() == pytest.approx(outage["volume"].sum(), rel=1e-12)
