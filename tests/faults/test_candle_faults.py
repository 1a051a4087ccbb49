"""Candles that are not what they should be: rows, values, times, days."""

from datetime import date, timedelta

import pandas as pd
import pytest
from fault_support import DAY, DAYS, SYMBOLS, small_market
from projects import project

from autonama_dagster.replay.server import ReplayServer
from resources.warehouse.candle_queries import RANKING, candle_gaps, failed_fetches
from resources.warehouse.statements import Scope

GAP = date(2023, 12, 5)


SPOILED = {
    "BTCUSDT": "duplicate-rows",
    "ETHUSDT": "shuffled-rows:seed=3",
    "SOLUSDT": "microseconds",
}


@pytest.fixture(scope="module")
def spoiled(opened):
    """A scan in which all candles of each symbol come with its fault: the requests, the tables."""
    opened.clear()
    for symbol, fault in SPOILED.items():
        opened.server.faults.add(f"{fault}{',' if ':' in fault else ':'}symbol={symbol}")
    opened.scan()
    opened.check_complete()
    return opened.server.requests, opened.project.tables()


def leaves_no_trace(spoiled, expected, symbol):
    requests, tables = spoiled
    asked = [r for r in requests if r.path.endswith("klines") and r.params["symbol"] == symbol]
    kind = SPOILED[symbol].partition(":")[0]
    assert asked
    assert all(kind in r.faults for r in asked)
    for name, frame in expected.items():
        if "symbol" in frame:
            right = frame.query("symbol == @symbol").reset_index(drop=True)
            found = tables[name].query("symbol == @symbol").reset_index(drop=True)
            pd.testing.assert_frame_equal(found, right, check_exact=True, obj=name)


def test_duplicate_rows(spoiled, opened):
    leaves_no_trace(spoiled, opened.expected, "BTCUSDT")


def test_rows_out_of_order(spoiled, opened):
    leaves_no_trace(spoiled, opened.expected, "ETHUSDT")


def test_microsecond_timestamps(spoiled, opened):
    leaves_no_trace(spoiled, opened.expected, "SOLUSDT")


def test_missing_days(stage):
    stage.server.faults.add(f"missing-days:date={GAP},days=3,symbol=ETHUSDT")
    stage.scan()
    assert stage.scan() == [], "what the exchange does not have is not asked for again"
    stored = stage.warehouse.read("ohlcv_1d")
    expected = stage.expected["ohlcv_1d"]
    lost = expected["symbol"].eq("ETHUSDT") & expected["date"].between(
        pd.Timestamp(GAP), pd.Timestamp(GAP + timedelta(days=2))
    )
    assert lost.sum() == 3
    found = stored[["symbol", "date", "row_hash"]]
    right = expected.loc[~lost, ["symbol", "date", "row_hash"]]
    pd.testing.assert_frame_equal(found, right.reset_index(drop=True))
    gaps = candle_gaps(stage.warehouse, SYMBOLS)
    assert gaps[["symbol", "days", "is_answered"]].to_numpy().tolist() == [["ETHUSDT", 3, True]]
    bands = stage.warehouse.read("regression_bands").set_index("symbol")["n_obs"]
    assert bands.to_dict() == {"BTCUSDT": 40, "ETHUSDT": 37, "SOLUSDT": 40}


BAD = {
    "nan": "close 'NaN' is not finite",
    "negative": "low '-1.00000000' is not finite and positive",
    "zero": "open '0.00000000' is not finite and positive",
    "huge": "high 1e30 is too large to be a price",
    "high-below-low": "above high",
}


def test_bad_values(stage):
    days = [GAP + timedelta(days=2 * n) for n in range(len(BAD))]
    for value, day in zip(BAD, days, strict=True):
        stage.server.faults.add(f"bad-values:value={value},date={day},symbol=ETHUSDT")
    stage.scan()
    assert stage.scan() == []
    stored = stage.warehouse.read("ohlcv_1d")
    assert len(stored) == len(stage.expected["ohlcv_1d"]) - len(BAD)
    assert stored[["open", "high", "low", "close"]].lt(1e3).all(axis=None)
    bad = stage.warehouse.read("quarantine")
    assert set(bad["symbol"]) == {"ETHUSDT"}
    assert set(bad["date"].dt.date) == set(days)
    for says, day in zip(BAD.values(), days, strict=True):
        reasons = bad.loc[bad["date"].dt.date == day, "reason"]
        assert reasons.str.contains(says, regex=False).all(), day
    bands = stage.warehouse.read("regression_bands").set_index("symbol")["n_obs"]
    assert bands.to_dict() == {"BTCUSDT": 40, "ETHUSDT": 40 - len(BAD), "SOLUSDT": 40}
    others = stage.expected["signals"].query("symbol != 'ETHUSDT'")
    found = stage.project.tables()["signals"].query("symbol != 'ETHUSDT'")
    pd.testing.assert_frame_equal(found, others, check_exact=True)


def test_a_late_candle(stage):
    stage.server.faults.add("late-candle:minutes=10,symbol=ETHUSDT")
    stage.scan()
    assert stage.status() == {"BTCUSDT": "OK", "SOLUSDT": "OK"}
    assert failed_fetches(stage.warehouse, DAY, RANKING) == ["ETHUSDT"]
    stage.server.set_now("2023-12-30T00:10:00Z")
    stage.scan()
    assert failed_fetches(stage.warehouse, DAY, RANKING) == []
    stage.check_complete("fetch_log", "ohlcv_1d")  # which say when they were asked
    found, expected = stage.project.tables()["ohlcv_1d"], stage.expected["ohlcv_1d"]
    pd.testing.assert_series_equal(found["row_hash"], expected["row_hash"])


def test_a_late_candle_of_a_member_is_asked_for_until_it_is_final(stage):
    scanner = stage.project.scanner()
    scanner._run_all(scanner._plan(DAY, scanner._state(DAY), 0))  # ranked while all were there
    stage.server.faults.add(f"missing-days:date={DAY},symbol=ETHUSDT")
    stage.scan()
    assert stage.status() == {"BTCUSDT": "OK", "ETHUSDT": "NO_DATA", "SOLUSDT": "OK"}
    assert failed_fetches(stage.warehouse, DAY) == ["ETHUSDT"]
    assert [r.step.job for r in stage.scan()] == ["symbols_job", "summary_job"]
    stage.server.set_now("2023-12-30T02:00:00Z")
    stage.scan()
    assert failed_fetches(stage.warehouse, DAY) == []
    assert stage.scan() == []
    stage.clear()


def test_symbol_delisted_mid_range(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("delisted")
    market = small_market(folder, BTCUSDT=DAYS - 3)  # the last is of the 27th
    settings = {"start_date": "2023-12-26", "universe_size": "3", "lookback": "40", "degree": "2"}
    with (
        ReplayServer(market, now="2023-12-30T00:05:00Z") as server,
        project(folder, postgres, server.url, **settings) as opened,
    ):
        opened.scanner().scan(date(2023, 12, 27))
        opened.scanner().scan(DAY)
        signals = opened.warehouse.read("signals").set_index(["date", "symbol"])["status"].unstack()  # noqa: PD010
        assert signals["BTCUSDT"].tolist() == ["OK", "NO_DATA"]
        assert (signals[["ETHUSDT", "SOLUSDT"]] == "OK").all(axis=None)
        universe = opened.warehouse.read("universe", Scope(first=DAY)).set_index("symbol")
        assert universe.loc["BTCUSDT", "exclusion_reason"] == "no_candle"
        candles = opened.warehouse.read("ohlcv_1d").query("symbol == 'BTCUSDT'")
        assert candles["date"].max() == pd.Timestamp("2023-12-27")
        assert failed_fetches(opened.warehouse, DAY) == []
        assert opened.scanner().scan(DAY) == []
