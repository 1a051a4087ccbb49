import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.windows import windows
from autonama_dagster.analytics.scan import correlation
from autonama_dagster.analytics.scan.channel import ChannelParams, fit_channels
from autonama_dagster.analytics.scan.indicators.indicators import INDICATORS, compute
from autonama_dagster.analytics.scan.signals import decide
from autonama_dagster.analytics.scan.summary import alerts, analysis_summary, asset_analytics
from autonama_dagster.schemas.registry import TABLES

DAY = 19_720
DATE = pd.Timestamp(DAY, unit="D").as_unit("s")  # 2023-12-29
NAMES = [indicator.name for indicator in INDICATORS]
PARAMS = ChannelParams(degree=3, kstd=1.5, price_scale="linear", lookback=400)
PROVENANCE = {"input_hash", "params_hash", "code_version", "result_hash", "run_id", "computed_at"}
STAMPS = PROVENANCE | {"created_at", "updated_at"}
NAN = math.nan
CHANCE = {
    "expected_buy_signals": 0.4,
    "expected_sell_signals": 0.5,
    "expected_high_correlations": None,
    "expected_linked_pairs": 0.25,
    "chance_analysis": {"n_members": 6},
}


def signal(symbol="BTCUSDT", **values) -> dict:
    row = {
        "symbol": symbol,
        "date": DATE,
        "signal": "BUY",
        "status": "OK",
        "close": 70.0,
        "fitted_price": 100.0,
        "upper_band": 120.0,
        "lower_band": 80.0,
        "z_score": -3.0,
        "potential_return_pct": 50.0,
        "band_width_pct": 50.5,
        "target_return_pct": 71.5,
        "risk_level": "HIGH",
        "volatility_level": "LOW",
        "trend": "BEARISH",
        "confirmations": ["RSI_OVERSOLD", "HIGH_VOLUME"],
        "signal_strength": 70.0,
        "is_member": True,
        "universe_rank": 1,
    }
    return row | values


def hold(symbol: str, **values) -> dict:
    quiet = {"signal": "HOLD", "potential_return_pct": 0.0, "target_return_pct": NAN}
    return signal(symbol, **quiet, risk_level=None, signal_strength=0.0, **values)


def unjudged(symbol: str, status: str) -> dict:
    numbers = ("close", "fitted_price", "upper_band", "lower_band", "z_score", "band_width_pct")
    row = hold(symbol, status=status, **dict.fromkeys(numbers, NAN))
    return row | {"potential_return_pct": NAN, "confirmations": [], "trend": None}


def signals(*rows: dict) -> pd.DataFrame:
    texts = dict.fromkeys(
        ("symbol", "signal", "status", "risk_level", "volatility_level", "trend"), "str"
    )
    frame = pd.DataFrame([*rows], columns=list(signal()))
    return frame.astype(
        texts | {"is_member": "boolean", "universe_rank": "Int64", "date": "datetime64[s]"}
    )


def indicators(*symbols: str, **values) -> pd.DataFrame:
    frame = pd.DataFrame([{"symbol": s, "date": DATE} for s in symbols])
    provenance = {"input_hash": "0" * 64, "run_id": "r"}
    return frame.assign(**(dict.fromkeys(NAMES, NAN) | values | provenance))


def bands(*symbols: str, **values) -> pd.DataFrame:
    fit = {
        "status": "OK",
        "close": 70.0,
        "fitted_price": 100.0,
        "upper_band": 120.0,
        "lower_band": 80.0,
        "resid_std": 0.1,
        "z_score": -3.0,
        "slope_pct_per_day": 1e-7,
        "n_obs": 399,
        "r_squared": 0.75,
        "window_start": pd.Timestamp("2022-11-25").as_unit("s"),
    }
    return pd.DataFrame([{"symbol": s, "date": DATE} | fit | values for s in symbols])


def levels(*symbols: str) -> pd.DataFrame:
    known = {"date": DATE, "support_level": 60.0, "resistance_level": NAN}
    return pd.DataFrame([{"symbol": s} | known for s in symbols])


def test_alert_of_a_signal():
    frame = alerts(signals(signal()), indicators("BTCUSDT", rsi_14=25.5), bands("BTCUSDT"), PARAMS)
    row = frame.iloc[0].to_dict()
    assert json.loads(row.pop("technical_indicators")) == dict.fromkeys(NAMES) | {"rsi_14": 25.5}
    assert json.loads(row.pop("polynomial_regression")) == {
        "degree": 3,
        "kstd": 1.5,
        "price_scale": "linear",
        "lookback_days": 400,
        "fitted_price": 100.0,
        "resid_std": 0.1,
        "z_score": -3.0,
        "slope_pct_per_day": 1e-7,
        "r_squared": 0.75,
        "n_obs": 399,
        "window_start": "2022-11-25",
    }
    assert row == {
        "symbol": "BTCUSDT",
        "date": DATE,
        "interval": "1d",
        "signal": "BUY",
        "status": "OK",
        "current_price": 70.0,
        "upper_band": 120.0,
        "lower_band": 80.0,
        "potential_return": 50.0,
        "signal_strength": 70.0,
        "risk_level": "HIGH",
        "confirmations": ["RSI_OVERSOLD", "HIGH_VOLUME"],
        "analysis_date": pd.Timestamp("2023-12-30", tz="UTC"),
    }


def test_asset_analytics_of_a_signal():
    values = {"return_1d_pct": 1.25, "volatility_30d_pct": 55.0, "volume_ratio_20": 1.75}
    symbol = "BTCUSDT"
    frame = asset_analytics(
        signals(signal()), indicators(symbol, **values), bands(symbol), levels(symbol), PARAMS
    )
    row = frame.iloc[0].to_dict()
    assert json.loads(row.pop("technical_indicators")) == dict.fromkeys(NAMES) | values
    assert json.loads(row.pop("polynomial_regression"))["n_obs"] == 399
    assert json.loads(row.pop("signal_analysis")) == {
        "signal": "BUY",
        "status": "OK",
        "signal_strength": 70.0,
        "confirmations": ["RSI_OVERSOLD", "HIGH_VOLUME"],
        "potential_return_pct": 50.0,
        "target_return_pct": 71.5,
        "band_width_pct": 50.5,
        "risk_level": "HIGH",
        "volatility_level": "LOW",
        "z_score": -3.0,
    }
    assert math.isnan(row.pop("resistance_level"))
    assert row == {
        "symbol": symbol,
        "date": DATE,
        "analysis_date": pd.Timestamp("2023-12-30", tz="UTC"),
        "status": "OK",
        "current_price": 70.0,
        "price_change_24h": 1.25,
        "volatility": 55.0,
        "trend": "BEARISH",
        "support_level": 60.0,
        "volume_ratio": 1.75,
        "data_points": 399,
        "analysis_period_days": 400,
    }


def test_a_row_without_data_says_null():
    gone = signals(unjudged("GONE", "NO_DATA"))
    fit = dict.fromkeys(
        ("fitted_price", "resid_std", "z_score", "slope_pct_per_day", "r_squared"), NAN
    )
    empty = bands("GONE", **fit, n_obs=0, window_start=pd.NaT)
    empty["window_start"] = empty["window_start"].astype("datetime64[s]")
    others = indicators("BTCUSDT", rsi_14=1.0)
    row = asset_analytics(gone, others, empty, levels("BTCUSDT"), PARAMS).iloc[0]
    assert json.loads(row["technical_indicators"]) == dict.fromkeys(NAMES)
    fitted = json.loads(row["polynomial_regression"])
    assert fitted["window_start"] is None
    assert {fitted[name] for name in fit} == {None}
    found = json.loads(row["signal_analysis"])
    assert (found["status"], found["confirmations"], found["signal_strength"]) == ("NO_DATA", [], 0)
    assert [k for k, v in found.items() if v is None] == [
        *("potential_return_pct", "target_return_pct", "band_width_pct", "risk_level", "z_score"),
    ]
    assert row["data_points"] == 0
    missing = ["current_price", "support_level", "price_change_24h", "volatility", "trend"]
    assert row[missing].isna().all()


def test_rows_follow_the_signals_and_meet_their_own_inputs():
    rows = signals(signal("B1"), hold("A1")).set_axis([9, 4])
    rsi = indicators("A1", "B1").assign(rsi_14=[1.0, 2.0])
    fits = bands("A1", "B1").assign(n_obs=[10, 20])
    near = levels("A1", "B1").assign(support_level=[5.0, 6.0])
    alert = alerts(rows, rsi, fits, PARAMS)
    analytics = asset_analytics(rows, rsi, fits, near, PARAMS)
    for frame in (alert, analytics):
        assert list(frame["symbol"]) == ["B1", "A1"]
        assert [json.loads(t)["rsi_14"] for t in frame["technical_indicators"]] == [2.0, 1.0]
        assert [json.loads(t)["n_obs"] for t in frame["polynomial_regression"]] == [20, 10]
    assert list(analytics["data_points"]) == [20, 10]
    assert list(analytics["support_level"]) == [6.0, 5.0]
    assert [json.loads(t)["signal"] for t in analytics["signal_analysis"]] == ["BUY", "HOLD"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(), min_size=1, max_size=60))
def test_numbers_in_json_read_back_as_the_same_float(values):
    symbols = [f"S{i}" for i in range(len(values))]
    rows = indicators(*symbols).assign(rsi_14=values)
    frame = alerts(signals(*map(signal, symbols)), rows, bands(*symbols), PARAMS)
    for text, value in zip(frame["technical_indicators"], values, strict=True):
        found = json.loads(text)["rsi_14"]
        assert found == value if math.isfinite(value) else found is None


def test_keys_of_json_stand_in_one_order():
    frame = alerts(signals(signal()), indicators("BTCUSDT"), bands("BTCUSDT"), PARAMS)
    assert list(json.loads(frame["technical_indicators"].iloc[0])) == NAMES
    assert list(json.loads(frame["polynomial_regression"].iloc[0]))[:4] == [
        *("degree", "kstd", "price_scale", "lookback_days"),
    ]


DAY_OF_SIGNALS = signals(
    signal("B1", potential_return_pct=30.0),
    signal("B2", potential_return_pct=8.0, risk_level="LOW"),
    signal("S1", signal="SELL", potential_return_pct=25.0, z_score=2.5),
    hold("H1"),
    hold("H2"),
    hold("H3"),
    unjudged("I1", "INSUFFICIENT_DATA"),
    unjudged("I2", "INSUFFICIENT_DATA"),
    unjudged("N1", "NO_DATA"),
    unjudged("Q1", "QUARANTINED"),
    signal("OUT", potential_return_pct=1e6, is_member=False),
    signal("UNKNOWN", potential_return_pct=1e6, is_member=None),
    signal("OTHERDAY", potential_return_pct=1e6, date=DATE - pd.Timedelta(days=1)),
)


def test_summary_counts_the_members_of_the_day():
    frame = analysis_summary(DAY_OF_SIGNALS, {"n_pairs": 3, "mean_pearson": None}, DAY, CHANCE)
    assert len(frame) == 1
    row = frame.iloc[0].to_dict()
    assert [s["symbol"] for s in json.loads(row.pop("top_buy_signals"))] == ["B1", "B2"]
    assert [s["symbol"] for s in json.loads(row.pop("top_sell_signals"))] == ["S1"]
    assert json.loads(row.pop("correlation_analysis")) == {"n_pairs": 3, "mean_pearson": None}
    assert json.loads(row.pop("chance_analysis")) == {"n_members": 6}
    assert math.isnan(row.pop("expected_high_correlations"))
    assert row == {
        "date": DATE,
        "expected_buy_signals": 0.4,
        "expected_sell_signals": 0.5,
        "expected_linked_pairs": 0.25,
        "analysis_date": pd.Timestamp("2023-12-30", tz="UTC"),
        "total_assets_analyzed": 6,
        "buy_signals": 2,
        "sell_signals": 1,
        "hold_signals": 3,
        "insufficient_data": 2,
        "quarantined": 1,
        "no_data": 1,
        "avg_potential_return": 21.0,
        "high_risk_assets": 2,
    }


def test_top_signals_go_by_strength_then_depth_then_symbol():
    rows = [
        signal("D1", signal_strength=50.0, z_score=-2.5),
        signal("C1", signal_strength=50.0, z_score=-2.5),
        signal("B1", signal_strength=50.0, z_score=-4.0),
        signal("A1", signal_strength=40.0, z_score=-9.0),
        signal("Z1", signal_strength=60.0, z_score=-2.1),
        *(signal(f"W{i}", signal_strength=1.0) for i in range(9)),
    ]
    sells = [r | {"signal": "SELL", "z_score": -r["z_score"]} for r in rows]
    expected = ["Z1", "B1", "C1", "D1", "A1", "W0", "W1", "W2", "W3", "W4"]
    for name, chosen in (("top_buy_signals", rows), ("top_sell_signals", sells)):
        row = analysis_summary(signals(*chosen), {}, DAY, CHANCE).iloc[0]
        assert [s["symbol"] for s in json.loads(row[name])] == expected
    assert json.loads(row["top_buy_signals"]) == []
    assert json.loads(row["top_sell_signals"])[0] == {
        "symbol": "Z1",
        "close": 70.0,
        "signal_strength": 60.0,
        "z_score": 2.1,
        "potential_return_pct": 50.0,
        "target_return_pct": 71.5,
        "risk_level": "HIGH",
        "confirmations": ["RSI_OVERSOLD", "HIGH_VOLUME"],
    }


def test_a_day_without_signals_has_no_average():
    for rows in (signals(hold("H1")), signals()):
        row = analysis_summary(rows, {}, DAY, CHANCE).iloc[0]
        assert math.isnan(row["avg_potential_return"])
        assert row["top_buy_signals"] == row["top_sell_signals"] == "[]"
        assert row["total_assets_analyzed"] == row["hold_signals"] == len(rows)


def test_an_unknown_return_is_left_out_of_the_average():
    linear = signal("L1", potential_return_pct=NAN, risk_level=None)
    row = analysis_summary(signals(signal(), linear), {}, DAY, CHANCE).iloc[0]
    assert row["avg_potential_return"] == 50.0
    assert json.loads(row["top_buy_signals"])[1]["potential_return_pct"] is None


def test_columns_are_those_of_the_tables():
    rows, symbol = signals(signal()), "BTCUSDT"
    given_ = (rows, indicators(symbol), bands(symbol))
    made = {
        "alerts": alerts(*given_, PARAMS),
        "asset_analytics": asset_analytics(*given_, levels(symbol), PARAMS),
        "analysis_summary": analysis_summary(rows, {}, DAY, CHANCE),
    }
    for name, frame in made.items():
        assert set(frame) == set(TABLES[name].columns) - STAMPS
        assert str(frame["analysis_date"].dtype) == "datetime64[us, UTC]"
        assert str(frame["date"].dtype) == "datetime64[s]"


def test_real_chain_of_2023_12_29(market_data):
    candles = []
    for base in ("BNB", "BTC", "ETH", "LUNC", "XRP"):
        raw = pd.read_csv(market_data / "klines" / "1d" / f"{base}USDT.csv.gz")
        day = (raw["open_time"] // 86_400_000).to_numpy()
        floats = (raw[c].to_numpy() for c in ("open", "high", "low", "close", "volume"))
        hashes = np.full(len(day), b"", dtype="S64")
        candles.append(Candles(f"{base}USDT", day, *floats, raw["volume"].to_numpy(), hashes))
    spans = [windows(c, np.array([DAY])) for c in candles]
    rows, fits = compute(candles, spans), fit_channels(candles, spans, ChannelParams())
    members = [c.symbol for c in candles]
    universe = pd.DataFrame({"date": DATE, "symbol": members, "rank": range(1, 6)})
    unjudged_windows = universe[["symbol", "date"]].iloc[:0].assign(window_severity="")
    members_of = universe.assign(is_member=True)
    found = decide(fits, rows, members_of, unjudged_windows, kstd=2.0)
    by_symbol = found.set_index("symbol")
    assert by_symbol["signal"].to_dict() == {
        "BNBUSDT": "SELL",
        "BTCUSDT": "HOLD",
        "ETHUSDT": "HOLD",
        "LUNCUSDT": "BUY",
        "XRPUSDT": "HOLD",
    }
    assert by_symbol.loc["BNBUSDT", "close"] == 313.7
    near = rows[["symbol", "date"]].assign(support_level=NAN, resistance_level=NAN)
    alert = alerts(found, rows, fits, ChannelParams())
    analytics = asset_analytics(found, rows, fits, near, ChannelParams())
    for i, text in enumerate(alert["technical_indicators"]):
        assert json.loads(text) == rows[NAMES].iloc[i].to_dict()  # warm: no NaN
        assert analytics["technical_indicators"].iloc[i] == text
    pairs = correlation.pairs(members, {c.symbol: c for c in candles}, DAY, lookback=720)
    row = analysis_summary(found, correlation.summary(pairs), DAY, CHANCE).iloc[0]
    assert (row["buy_signals"], row["sell_signals"], row["hold_signals"]) == (1, 1, 3)
    assert json.loads(row["correlation_analysis"])["n_pairs"] == 10
    assert row["avg_potential_return"] == pytest.approx(
        by_symbol.loc[["BNBUSDT", "LUNCUSDT"], "potential_return_pct"].mean()
    )
