"""Scans of other intervals on recorded candles: stored nowhere, and blind to what comes later."""

from contextlib import closing
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
from interval_support import recorded
from support import STAMPS

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.hashing import combine, window_hashes
from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.analytics.candles.windows import breaks, windows
from autonama_dagster.analytics.scan import tables
from autonama_dagster.analytics.scan.channel import ChannelParams, fit_channels
from autonama_dagster.errors import InputError
from autonama_dagster.replay.market.recorded import RecordedMarket
from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.schemas.registry import TABLES
from autonama_dagster.services.inputs.longer_candles import candles_made
from autonama_dagster.services.scan.what_if_interval import what_if_interval
from autonama_dagster.settings import Settings
from resources.exchange.binance.spot import BinanceExchange
from resources.exchange.calls.retry import RetryPolicy
from resources.exchange.feed import fetch_candles
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch

DAY = date(2021, 6, 16)
PAIRS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
SETTINGS = Settings()


@pytest.fixture(scope="module")
def server(market_data):
    with ReplayServer(RecordedMarket(market_data / "klines"), now="2021-06-17T00:05Z") as found:
        yield found


@pytest.fixture
def ask(server, warehouse):
    server.clock.set("2021-06-17T00:05:00Z")
    with closing(BinanceExchange(server.url, retry=RetryPolicy(attempts=1))) as exchange:

        def run(interval, day=DAY, symbols=PAIRS, **changes):
            server.clear_requests()
            settings = SETTINGS.model_copy(update=changes)
            return what_if_interval(
                settings, interval, day, symbols, exchange=exchange, warehouse=warehouse
            )

        run.exchange = exchange
        yield run


def klines(server):
    return [r for r in server.requests if r.path.endswith("/klines")]


@pytest.mark.parametrize(
    ("interval", "opens"),
    [
        ("15m", datetime(2021, 6, 16, 23, 45, tzinfo=UTC)),
        ("1h", datetime(2021, 6, 16, 23, tzinfo=UTC)),
        ("4h", datetime(2021, 6, 16, 20, tzinfo=UTC)),
        ("1w", datetime(2021, 6, 7, tzinfo=UTC)),
    ],
)
def test_the_last_closed_candle_is_scanned_and_nothing_is_stored(ask, warehouse, interval, opens):
    symbols = ("AVAXUSDT", "SOLUSDT") if interval == "15m" else ("BTCUSDT", "ETHUSDT")
    result = ask(interval, symbols=symbols)
    assert (result.interval, result.candle_opens, result.stored) == (interval, opens, False)
    assert result.parameters["lookback_steps"] == 720
    assert set(result.signals["symbol"]) == set(symbols)
    assert result.signals["status"].eq("OK").all()
    assert result.signals["date"].eq(pd.Timestamp(DAY)).all()
    assert result.summary["total_assets_analyzed"] == 2
    assert all(warehouse.read(name).empty for name in TABLES)


def test_a_row_is_what_its_own_window_of_recorded_hours_gives(ask, market_data):
    hours = INTERVALS["1h"]
    candles = Candles.by_symbol(recorded(market_data, "BTCUSDT", "1h"), hours)["BTCUSDT"]
    step = hours.last_step(DAY)
    window = windows(candles, np.array([step]), 720)
    assert int(window.stop[0] - window.start[0]) == 720
    bands = fit_channels([candles], [window], ChannelParams()).iloc[0]
    row = ask("1h", symbols=("BTCUSDT",)).signals.iloc[0]
    for name in ("close", "fitted_price", "upper_band", "lower_band", "z_score"):
        assert row[name] == pytest.approx(bands[name], rel=1e-12), name
    # By another way: numpy's own fit in hours.
    part = slice(int(window.start[0]), int(window.stop[0]))
    x = np.arange(-719.0, 1.0) / 719
    fit = np.polynomial.Polynomial.fit(x, np.log(candles.close[part]), 4)
    assert row["fitted_price"] == pytest.approx(float(np.exp(fit(0.0))), rel=1e-9)


def test_volatility_is_annualised_by_the_interval(ask, market_data, monkeypatch):
    closes = recorded(market_data, "BTCUSDT", "1h").set_index("open_time")["close"]
    last = np.log(closes[: pd.Timestamp(DAY, tz="UTC") + pd.Timedelta(hours=23)][-31:])
    expected = last.diff().std() * np.sqrt(365 * 24) * 100
    seen = {}

    def spy(bands, indicators, universe, quality, *, kstd):
        seen["volatility"] = indicators["volatility_30d_pct"].iloc[0]
        return decide(bands, indicators, universe, quality, kstd=kstd)

    decide = tables.decide
    monkeypatch.setattr(tables, "decide", spy)
    row = ask("1h", symbols=("BTCUSDT",)).signals.iloc[0]
    assert seen["volatility"] == pytest.approx(expected, rel=1e-9)
    assert row["volatility_level"] == ("LOW" if expected < 60 else "MEDIUM")


@pytest.mark.parametrize("interval", ["1h", "4h", "1w"])
def test_later_candles_change_nothing(ask, server, interval):
    before = ask(interval)
    server.clock.set("2023-12-30T00:05:00Z")
    after = ask(interval)
    pd.testing.assert_frame_equal(after.signals, before.signals)
    assert after.summary == before.summary
    assert after.candle_opens == before.candle_opens
    other = ask(interval, day=date(2021, 6, 27))
    assert other.signals["close"].tolist() != before.signals["close"].tolist()


@pytest.mark.parametrize("interval", ["1h", "4h", "1w"])
def test_stored_candles_give_the_same_row_without_a_call(ask, server, warehouse, interval):
    fetched = ask(interval, lookback=100, degree=2)
    base = {"1h": "1h", "4h": "1h", "1w": "1d"}[interval]
    first = date(2019, 1, 1) if base == "1d" else date(2021, 5, 1)
    candles = fetch_candles(ask.exchange, PAIRS[:2], base, first, DAY)
    stored = Batch(candles.frame, fetches=candles.log)
    warehouse.write(f"ohlcv_{base}", stored, Scope(PAIRS[:2], first, DAY), STAMPS)
    again = ask(interval, lookback=100, degree=2)
    assert {r.params["symbol"] for r in klines(server)} == {"SOLUSDT"}
    pd.testing.assert_frame_equal(again.signals, fetched.signals)
    if interval != base:
        made = candles_made(interval, PAIRS[:2], first, DAY, warehouse)
        grid = INTERVALS[interval]
        (one,) = Candles.by_symbol(made[made["symbol"] == "BTCUSDT"], grid).values()
        window = windows(one, np.array([grid.last_step(DAY)]), 100)
        row = again.signals.set_index("symbol").loc["BTCUSDT"]
        assert row["input_hash"] == combine(*window_hashes(one, window))


def test_an_outage_is_no_break_and_its_last_hour_no_data(ask, server, market_data):
    hours = Candles.by_symbol(recorded(market_data, "BTCUSDT", "1h"), INTERVALS["1h"])["BTCUSDT"]
    assert (np.diff(hours.day) > 30).any()
    assert breaks(hours).size == 0
    server.clock.set("2018-07-30T00:05:00Z")
    after = ask("1h", day=date(2018, 2, 20), symbols=("BTCUSDT",)).signals.iloc[0]
    assert after["status"] == "OK"
    during = ask("1h", day=date(2018, 2, 8), symbols=("BTCUSDT",)).signals.iloc[0]
    assert (during["status"], during["signal"]) == ("NO_DATA", "HOLD")


def test_intervals_differ_in_their_parameters_hash(ask):
    hashes = {i: ask(i, symbols=("BTCUSDT",)).signals["params_hash"].iloc[0] for i in ("1h", "4h")}
    assert len(set(hashes.values())) == 2


def test_an_unknown_pair_costs_no_candles(ask, server):
    with pytest.raises(InputError, match="NOPE: not a USDT spot pair"):
        ask("1h", symbols=("BTCUSDT", "NOPE"))
    assert klines(server) == []


def test_bad_hours_are_kept_out_and_counted_and_a_lost_symbol_is_named(ask, server):
    server.faults.add("bad-values:symbol=BTCUSDT,value=negative,date=2021-06-10")
    server.faults.add("garbage:symbol=SOLUSDT")
    result = ask("1h")
    server.faults.replace()
    assert result.quarantined > 0
    assert result.failed == ("SOLUSDT",)
    status = result.signals.set_index("symbol")["status"]
    assert status.to_dict() == {"BTCUSDT": "OK", "ETHUSDT": "OK", "SOLUSDT": "NO_DATA"}
