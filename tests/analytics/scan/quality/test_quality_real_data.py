"""The quality ledger on recorded candles: every listed fault is found, clean days are let alone."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from candle_support import of_frame

from autonama_dagster.analytics.candles.aggregation import aggregate
from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.intervals import DAILY, INTERVALS
from autonama_dagster.analytics.candles.klines import parse, raw_kline
from autonama_dagster.analytics.candles.windows import windows
from autonama_dagster.analytics.scan.quality.beside import kept_out, missing_hours
from autonama_dagster.analytics.scan.quality.quality import Evidence, judge
from autonama_dagster.analytics.scan.quality.rules import QualityLimits
from autonama_dagster.text.sources import SOURCES

LOOKBACK = 720
FIRST, LAST = "2021-01-01", "2023-12-29"  # of the list of core symbols
FALSE_ALARMS = 1e-3


def parsed(market_data, symbol, interval="1d"):
    """Good and bad rows of a file, an absent quote volume estimated as the replay exchange does."""
    frame = pd.read_csv(market_data / "klines" / interval / f"{symbol}.csv.gz", dtype=str)
    mean = frame[["open", "high", "low", "close"]].astype(float).mean(axis=1)
    estimated = (frame["volume"].astype(float) * mean).map("{:.8f}".format)
    frame["quote_volume"] = frame["quote_volume"].fillna(estimated)
    frame = frame.fillna("0")
    rows = [raw_kline(row) for row in frame.itertuples(index=False, name=None)]
    good, bad = parse(rows, symbol, INTERVALS[interval])
    return good.assign(source="replay-recorded"), bad


def ledger(market_data, symbol, first=None, last=None, with_hours=False):
    """Rows of the ledger from a symbol's first day, or `first`, to its last."""
    good, bad = parsed(market_data, symbol)
    candles = of_frame(good)
    begin = candles.day[0] if first is None else np.datetime64(first, "D").astype(int)
    end = candles.day[-1] if last is None else np.datetime64(last, "D").astype(int)
    days = np.arange(begin, end + 1)
    hours = hours_of(market_data, symbol) if with_hours else None
    counts = hours_by_day(market_data, symbol) if with_hours else {}
    said = (*kept_out(bad.rename(columns={"reason": "said"})), *missing_hours(counts))
    evidence = Evidence(said, hours)
    known = np.ones(len(days), dtype=bool)
    span = windows(candles, days, LOOKBACK)
    frame = judge([candles], [span], [known], {symbol: evidence}, QualityLimits(), LOOKBACK)
    return frame.set_index(frame["date"].dt.strftime("%Y-%m-%d"))


def hours_of(market_data, symbol):
    return made_of_hours(parsed(market_data, symbol, "1h")[0])


def made_of_hours(hours):
    """Daily candles of one symbol's hours."""
    asked = pd.Timestamp("2026-01-01", tz="UTC")
    made = hours.assign(exchange="binance", source="binance", fetched_at=asked)
    return of_frame(aggregate(made, INTERVALS["1h"], DAILY, SOURCES))


def details(frame, day):
    return json.loads(frame.loc[day, "details"])


def test_audusdt_2020_11_13_closes_above_its_high(market_data):
    frame = ledger(market_data, "AUDUSDT")
    assert frame.loc["2020-11-13", "findings"] == ["ohlc_order"]
    assert frame.loc["2020-11-13", "severity"] == "WARNING"  # it was kept out
    assert frame.loc["2020-11-14", "findings"] == []


def test_audusdt_2020_11_13_in_the_table_is_an_error(market_data):
    raw = pd.read_csv(market_data / "klines" / "1d" / "AUDUSDT.csv.gz")
    floats = [raw[c].to_numpy(float) for c in ("open", "high", "low", "close", "volume")]
    hashes = np.full(len(raw), b"", dtype="S64")
    day = (raw["open_time"] // 86_400_000).to_numpy()
    candles = Candles("AUDUSDT", day, *floats, np.full(len(raw), np.nan), hashes)
    days = np.datetime64("2020-11-13", "D").astype(int) + np.arange(2)
    known = np.ones(2, dtype=bool)
    span = windows(candles, days, LOOKBACK)
    frame = judge([candles], [span], [known], {}, QualityLimits(), LOOKBACK)
    assert frame["findings"].tolist() == [["ohlc_order"], []]
    assert frame["severity"].tolist() == ["ERROR", "OK"]
    assert frame["window_severity"].tolist() == ["ERROR", "ERROR"]


def test_lunausdt_misses_17_days_and_is_another_coin_afterwards(market_data):
    frame = ledger(market_data, "LUNAUSDT", last="2022-06-30")
    assert frame.loc["2022-05-14":"2022-05-30", "findings"].map(lambda f: f == ["gap"]).sum() == 17
    assert {"gap", "break"} <= set(frame.loc["2022-05-31", "findings"])
    assert details(frame, "2022-05-31")["break"]["open_ratio"] > 10_000
    crash = frame.loc["2022-05-09":"2022-05-13", "findings"]
    assert crash.map(lambda f: "price_jump" in f).sum() >= 4


@pytest.mark.parametrize(
    ("symbol", "missing"),
    [("FTTUSDT", 312), ("USDCUSDT", 166), ("TUSDUSDT", 166), ("USDPUSDT", 166)],
)
def test_a_pair_that_was_away_for_months_has_a_gap_and_a_break(market_data, symbol, missing):
    frame = ledger(market_data, symbol)
    longest = max(
        (json.loads(d) for d in frame["details"].dropna()),
        key=lambda d: d.get("gap", {}).get("missing_days", 0),
    )
    assert abs(longest["gap"]["missing_days"] - missing) <= 3
    assert "break" in longest


def test_the_window_that_begins_at_a_break_is_not_tainted_by_it(market_data):
    frame = ledger(market_data, "FTTUSDT", last="2023-09-30")
    assert frame.loc["2023-09-23", ["severity", "window_severity"]].tolist() == ["WARNING"] * 2
    assert frame.loc["2023-09-24", "window_severity"] == "OK"


@pytest.mark.parametrize("base", ["COCOS", "BTCST", "DREP", "SUN", "VIDT", "BNX", "QUICK"])
def test_a_redenomination_is_a_break_after_a_gap(market_data, base):
    frame = ledger(market_data, f"{base}USDT")
    anew = frame[frame["findings"].map(lambda f: "break" in f)]
    assert len(anew) == 1
    assert "gap" in anew["findings"].iloc[0]
    found = json.loads(anew["details"].iloc[0])
    ratio = found["break"]["open_ratio"]
    assert ratio > 9 or ratio < 1 / 9
    assert 3 <= found["gap"]["missing_days"] <= 10


@pytest.mark.parametrize("symbol", ["ADADOWNUSDT", "BNBDOWNUSDT", "ETHDOWNUSDT", "LINKDOWNUSDT"])
def test_a_leveraged_tokens_split_without_a_gap_is_a_break(market_data, symbol):
    found = ledger(market_data, symbol)["findings"]
    assert found.map(lambda f: "break" in f and "gap" not in f).any()


def test_all_leveraged_tokens_that_jump_are_found(market_data):
    for path in sorted((market_data / "klines" / "1d").glob("*DOWNUSDT.csv.gz")):
        good, _ = parsed(market_data, path.name.removesuffix(".csv.gz"))
        ratio = (good["open"].to_numpy()[1:] / good["close"].to_numpy()[:-1]).max(initial=1.0)
        if ratio > 3:
            found = ledger(market_data, path.name.removesuffix(".csv.gz"))["findings"]
            assert found.map(lambda f: "break" in f).any(), path.name


@pytest.mark.parametrize("base", ["BTT", "BZRX", "GXS", "NANO", "PAX", "SUSD"])
def test_the_sources_gap_of_49_days_from_2021_02_15(market_data, base):
    frame = ledger(market_data, f"{base}USDT", last="2021-05-01")
    assert "gap" in frame.loc["2021-02-15", "findings"]
    assert details(frame, "2021-04-05")["gap"]["missing_days"] == 49
    assert "break" in frame.loc["2021-04-05", "findings"]


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "BNBUSDT"])
def test_an_outage_of_hours_is_named_and_is_no_fault_of_the_day(market_data, symbol):
    frame = ledger(market_data, symbol, "2018-02-01", "2019-01-01", with_hours=True)
    assert frame.loc["2018-06-26", "findings"] == ["gap"]
    assert frame.loc["2018-06-26", "severity"] == "INFO"
    assert details(frame, "2018-06-26")["gap"]["missing_hours"] == 10
    assert "gap" in frame.loc["2018-02-08", "findings"]
    assert not frame["findings"].map(lambda f: "daily_vs_hourly" in f).any()


def test_all_missing_hours_of_bitcoin_are_found(market_data):
    frame = ledger(market_data, "BTCUSDT", with_hours=True)
    found = frame[frame["findings"].map(lambda f: "gap" in f)]
    missing = [details(frame, day)["gap"].get("missing_hours", 24) for day in found.index]
    assert sum(missing) == 127


def test_a_day_made_of_other_hours_is_found(market_data):
    good, _ = parsed(market_data, "BTCUSDT", "1h")
    good = good[good["open_time"] != pd.Timestamp("2021-05-19 13:00", tz="UTC")]  # the day's low
    hours = made_of_hours(good)
    candles = of_frame(parsed(market_data, "BTCUSDT")[0])
    days = np.datetime64("2021-05-18", "D").astype(int) + np.arange(3)
    span, known = windows(candles, days, LOOKBACK), np.ones(3, dtype=bool)
    beside = {"BTCUSDT": Evidence(hours=hours)}
    frame = judge([candles], [span], [known], beside, QualityLimits(), LOOKBACK)
    assert frame["findings"].tolist() == [[], ["daily_vs_hourly"], []]
    assert frame["severity"].tolist() == ["OK", "ERROR", "OK"]


def hours_by_day(market_data, symbol):
    """Hours of each day, but for those of the first and the last, which begin and end anywhere."""
    with gzip.open(market_data / "klines" / "1h" / f"{symbol}.csv.gz", "rt") as file:
        days = pd.read_csv(file, usecols=["open_time"])["open_time"] // 86_400_000
    return days.value_counts().sort_index().iloc[1:-1].to_dict()


@pytest.mark.parametrize("day", ["2021-01-11", "2021-01-21", "2021-12-24", "2021-12-27"])
def test_the_days_on_which_sources_disagree_on_volume(market_data, day):
    frame = ledger(market_data, "MATICUSDT", "2021-01-01", "2021-12-31", with_hours=True)
    assert frame.loc[day, "findings"] == ["daily_vs_hourly"]
    assert frame.loc[day, "severity"] == "INFO"  # 0.04 to 2.4 %
    assert set(details(frame, day)["daily_vs_hourly"]) == {"severity", "source", "volume"}


def test_false_alarms_on_clean_days_are_rarer_than_one_in_a_thousand(market_data):
    names = (market_data / f"CORE_SYMBOLS_{FIRST}_{LAST}_no_gap.txt").read_text().split()
    assert len(names) > 150
    frames = [ledger(market_data, symbol, FIRST, LAST) for symbol in names]
    severity = pd.concat([f["severity"] for f in frames])
    assert len(severity) == len(names) * 1093
    rate = severity.isin(["WARNING", "ERROR"]).mean()
    assert 0 < rate <= FALSE_ALARMS, "a crash that closes at half its price must not vanish"
    assert not severity.eq("ERROR").any()
