import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.windows import windows
from autonama_dagster.analytics.scan.channel import ChannelParams, fit_channels
from autonama_dagster.analytics.scan.signals import CONFIRMATIONS, decide, match_rows
from autonama_dagster.errors import SchemaError
from autonama_dagster.schemas.registry import TABLES

DATE = pd.Timestamp("2023-12-29").as_unit("s")
PROVENANCE = {"input_hash", "params_hash", "code_version", "result_hash", "run_id", "computed_at"}
QUIET = {
    "rsi_14": 50.0,
    "macd_hist": 0.0,
    "volume_ratio_20": 1.0,
    "ema_21": 100.0,
    "ema_50": 100.0,
    "volatility_30d_pct": 80.0,
}
NO_UNIVERSE = pd.DataFrame(
    {
        "date": pd.Series(dtype="datetime64[s]"),
        "symbol": pd.Series(dtype="str"),
        "rank": pd.Series(dtype="Int64"),
        "is_member": pd.Series(dtype="bool"),
    }
)

NO_QUALITY = pd.DataFrame(
    {
        "date": pd.Series(dtype="datetime64[s]"),
        "symbol": pd.Series(dtype="str"),
        "window_severity": pd.Series(dtype="str"),
    }
)


def band(symbol="BTCUSDT", date=DATE, **values) -> dict:
    row = {
        "symbol": symbol,
        "date": date,
        "status": "OK",
        "close": 100.0,
        "fitted_price": 100.0,
        "upper_band": 120.0,
        "lower_band": 80.0,
        "z_score": 0.0,
    }
    return row | values


def empty_band(status: str, close: float = math.nan) -> dict:
    gone = dict.fromkeys(("fitted_price", "upper_band", "lower_band", "z_score"), math.nan)
    return band(status=status, close=close, **gone)


def decided(
    *bands, universe=NO_UNIVERSE, quality=NO_QUALITY, kstd=2.0, **indicators
) -> pd.DataFrame:
    frame = pd.DataFrame([*bands])
    rows = frame[["symbol", "date"]].assign(**(QUIET | indicators))
    return decide(frame, rows, universe, quality, kstd=kstd)


def of_severity(severity, symbol="BTCUSDT"):
    return pd.DataFrame({"symbol": [symbol], "date": [DATE], "window_severity": [severity]})


def one(*, universe=NO_UNIVERSE, kstd=2.0, indicators=None, **values) -> pd.Series:
    return decided(band(**values), universe=universe, kstd=kstd, **(indicators or {})).iloc[0]


BUY = {"close": 70.0, "z_score": -3.0}
SELL = {"close": 150.0, "z_score": 3.0}


@pytest.mark.parametrize(
    ("close", "signal"),
    [
        (79.99, "BUY"),
        (80.0, "HOLD"),
        (80.01, "HOLD"),
        (119.99, "HOLD"),
        (120.0, "HOLD"),
        (120.01, "SELL"),
    ],
)
def test_a_close_on_a_band_is_inside(close, signal):
    assert one(close=close)["signal"] == signal


def test_returns_of_a_buy():
    row = one(**BUY)
    assert row["potential_return_pct"] == 50.0  # (120 - 80) / 80
    assert row["band_width_pct"] == 50.0
    assert row["target_return_pct"] == pytest.approx(100 * (120 - 70) / 70)


def test_returns_of_a_sell():
    row = one(**SELL)
    assert row["potential_return_pct"] == pytest.approx(100 * 40 / 120)
    assert row["band_width_pct"] == 50.0
    assert row["target_return_pct"] == pytest.approx(100 * (150 - 80) / 150)


def test_returns_of_a_hold():
    row = one()
    assert row["potential_return_pct"] == 0.0
    assert row["band_width_pct"] == 50.0
    assert math.isnan(row["target_return_pct"])
    assert pd.isna(row["risk_level"])
    assert row["signal_strength"] == 0.0


@pytest.mark.parametrize("lower", [0.0, -5.0])
def test_a_lower_band_that_is_no_price(lower):
    cheap = one(close=1e-9, lower_band=lower)
    assert cheap["signal"] == "HOLD"
    assert math.isnan(cheap["band_width_pct"])
    assert cheap["potential_return_pct"] == 0.0
    sell = one(**SELL, lower_band=lower)
    assert sell["signal"] == "SELL"
    assert math.isnan(sell["band_width_pct"])
    assert math.isnan(sell["target_return_pct"])
    assert sell["potential_return_pct"] == pytest.approx(100 * (120 - lower) / 120)
    assert sell["risk_level"] == "HIGH"


@pytest.mark.parametrize("upper", [0.0, -1.0])
def test_an_upper_band_that_is_no_price(upper):
    row = one(close=1.0, upper_band=upper, lower_band=-9.0)
    assert row["signal"] == "SELL"
    assert math.isnan(row["potential_return_pct"])
    assert pd.isna(row["risk_level"])


@pytest.mark.parametrize(
    ("upper", "risk"),
    [(109.0, "LOW"), (110.0, "MEDIUM"), (115.0, "MEDIUM"), (120.0, "MEDIUM"), (121.0, "HIGH")],
)
def test_risk_level_of_a_buy(upper, risk):
    row = one(close=90.0, lower_band=100.0, upper_band=upper)  # potential: upper - 100 percent
    assert (row["signal"], row["risk_level"]) == ("BUY", risk)


@pytest.mark.parametrize(
    ("lower", "risk"), [(91.0, "LOW"), (90.0, "MEDIUM"), (80.0, "MEDIUM"), (79.0, "HIGH")]
)
def test_risk_level_of_a_sell(lower, risk):
    row = one(close=101.0, lower_band=lower, upper_band=100.0)  # potential: 100 - lower percent
    assert (row["signal"], row["risk_level"]) == ("SELL", risk)


@pytest.mark.parametrize(
    ("volatility", "level"),
    [(59.9, "LOW"), (60.0, "MEDIUM"), (120.0, "MEDIUM"), (120.1, "HIGH"), (math.nan, None)],
)
@pytest.mark.parametrize("row", [band(), band(**BUY), empty_band("INSUFFICIENT_DATA", 100.0)])
def test_volatility_level_of_every_row(volatility, level, row):
    found = decided(row, volatility_30d_pct=volatility)["volatility_level"].iloc[0]
    assert found == level or (level is None and pd.isna(found))


@pytest.mark.parametrize(
    ("close", "ema_21", "ema_50", "trend"),
    [
        (101, 100.5, 100, "BULLISH"),
        (100, 100.5, 100, "NEUTRAL"),
        (101, 100, 100, "NEUTRAL"),
        (99, 101, 100, "NEUTRAL"),
        (99, 99.5, 100, "BEARISH"),
        (100, 99.5, 100, "NEUTRAL"),
        (99, 100, 100, "NEUTRAL"),
        (101, 99, 100, "NEUTRAL"),
        (101, 99, math.nan, None),
    ],
)
def test_trend(close, ema_21, ema_50, trend):
    row = one(close=close, indicators={"ema_21": ema_21, "ema_50": ema_50})
    assert row["trend"] == trend or (trend is None and pd.isna(row["trend"]))
    assert ("TREND_BULLISH" in row["confirmations"]) == (trend == "BULLISH")
    assert ("TREND_BEARISH" in row["confirmations"]) == (trend == "BEARISH")


@pytest.mark.parametrize(
    ("name", "value", "confirmation"),
    [
        ("rsi_14", 29.9, "RSI_OVERSOLD"),
        ("rsi_14", 30.0, None),
        ("rsi_14", 70.0, None),
        ("rsi_14", 70.1, "RSI_OVERBOUGHT"),
        ("macd_hist", 1e-12, "MACD_POSITIVE"),
        ("macd_hist", -1e-12, "MACD_NEGATIVE"),
        ("macd_hist", 0.0, None),
        ("volume_ratio_20", 1.5, "HIGH_VOLUME"),
        ("volume_ratio_20", 1.49, None),
    ],
)
@pytest.mark.parametrize("values", [{}, BUY, SELL])
def test_confirmations_describe_the_day(name, value, confirmation, values):
    row = one(**values, indicators={name: value})
    assert row["confirmations"] == ([confirmation] if confirmation else [])


def test_confirmations_stand_in_one_order():
    bulls = {"rsi_14": 20, "macd_hist": 1, "volume_ratio_20": 2, "ema_50": 90, "ema_21": 95}
    bears = {"rsi_14": 80, "macd_hist": -1, "volume_ratio_20": 2, "ema_50": 110, "ema_21": 105}
    up, down = (one(indicators=side)["confirmations"] for side in (bulls, bears))
    assert up == ["RSI_OVERSOLD", "MACD_POSITIVE", "HIGH_VOLUME", "TREND_BULLISH"]
    assert down == ["RSI_OVERBOUGHT", "MACD_NEGATIVE", "HIGH_VOLUME", "TREND_BEARISH"]
    assert sorted({*up, *down}) == sorted(CONFIRMATIONS)


def test_each_row_has_a_list_of_its_own():
    frame = decided(band("A1"), band("B1"), rsi_14=20.0)
    frame["confirmations"].iloc[0].append("MINE")
    assert frame["confirmations"].iloc[1] == ["RSI_OVERSOLD"]


@pytest.mark.parametrize(
    ("z_score", "kstd", "points"),
    [(-2.0, 2.0, 0), (-3.0, 2.0, 30), (-4.0, 2.0, 60), (-9.0, 2.0, 60), (-1.5, 1.0, 30)],
)
def test_depth_gives_up_to_sixty_points(z_score, kstd, points):
    assert one(close=70.0, z_score=z_score, kstd=kstd)["signal_strength"] == points
    assert one(close=150.0, z_score=-z_score, kstd=kstd)["signal_strength"] == points


def test_rounding_at_the_band_gives_no_negative_strength():
    row = one(close=np.nextafter(80.0, 0), z_score=np.nextafter(-2.0, 0))
    assert (row["signal"], row["signal_strength"]) == ("BUY", 0.0)


BUY_SIGNS = {"rsi_14": 20.0, "macd_hist": 1.0, "volume_ratio_20": 2.0}
SELL_SIGNS = {"rsi_14": 80.0, "macd_hist": -1.0, "volume_ratio_20": 2.0}


@pytest.mark.parametrize("count", range(4))
def test_two_agreeing_confirmations_give_forty_points(count):
    for names in itertools.combinations(BUY_SIGNS, count):
        for_buy, for_sell = ({n: side[n] for n in names} for side in (BUY_SIGNS, SELL_SIGNS))
        expected = 30 + 20 * min(2, count)
        assert one(**BUY, indicators=for_buy)["signal_strength"] == expected
        assert one(**SELL, indicators=for_sell)["signal_strength"] == expected
        against = 30 + 20 * ("volume_ratio_20" in names)
        assert one(**BUY, indicators=for_sell)["signal_strength"] == against
        assert one(**SELL, indicators=for_buy)["signal_strength"] == against


def test_the_trend_agrees_with_its_side_only():
    bullish = {"ema_50": 60.0, "ema_21": 65.0}
    bearish = {"ema_50": 160.0, "ema_21": 155.0}
    assert one(**BUY, indicators=bullish)["signal_strength"] == 50
    assert one(**BUY, indicators=bearish)["signal_strength"] == 30
    assert one(**SELL, indicators=bearish)["signal_strength"] == 50
    assert one(**SELL, indicators=bullish)["signal_strength"] == 30


@pytest.mark.parametrize("row", [empty_band("NO_DATA"), empty_band("INSUFFICIENT_DATA", 100.0)])
def test_no_judgement_is_a_hold_without_numbers(row):
    found = decided(row, **BUY_SIGNS).iloc[0]
    assert (found["signal"], found["status"]) == ("HOLD", row["status"])
    assert found["signal_strength"] == 0.0
    assert found["confirmations"] == []
    assert pd.isna(found["risk_level"])
    names = ["potential_return_pct", "band_width_pct", "target_return_pct"]
    assert found[names].isna().all()


def test_a_day_without_indicators_has_neither_trend_nor_volatility():
    none = pd.DataFrame({"symbol": [], "date": [], **{name: [] for name in QUIET}})
    row = decide(pd.DataFrame([band(**BUY)]), none, NO_UNIVERSE, NO_QUALITY, kstd=2.0).iloc[0]
    assert pd.isna(row["trend"])
    assert pd.isna(row["volatility_level"])
    assert row["confirmations"] == []
    assert row["signal_strength"] == 30


def test_membership_is_null_only_where_the_day_has_no_universe():
    later = DATE + pd.Timedelta(days=1)
    universe = pd.DataFrame(
        {
            "date": pd.Series([DATE, DATE], dtype="datetime64[s]"),
            "symbol": ["IN", "OUT"],
            "rank": pd.array([7, None], dtype="Int64"),
            "is_member": [True, False],
        }
    )
    rows = [band("IN"), band("OUT"), band("ABSENT"), band("IN", later)]
    frame = decided(*rows, universe=universe)
    expected = pd.array([True, False, False, None], dtype="boolean")
    pd.testing.assert_extension_array_equal(frame["is_member"].array, expected)
    ranks = pd.array([7, None, None, None], dtype="Int64")
    pd.testing.assert_extension_array_equal(frame["universe_rank"].array, ranks)


def test_rows_keep_the_order_of_the_bands_and_meet_their_own_inputs():
    bands = pd.DataFrame([band("B1"), band("A1", **BUY), band("C1")], index=[5, 5, 1])
    indicators = pd.DataFrame(
        [{"symbol": s, "date": DATE, **QUIET, "rsi_14": r} for s, r in (("A1", 10.0), ("B1", 90.0))]
    )
    indicators["date"] = indicators["date"].astype("datetime64[us]")
    frame = decide(bands, indicators, NO_UNIVERSE, NO_QUALITY, kstd=2.0)
    assert list(frame.index) == [0, 1, 2]
    assert list(frame["symbol"]) == ["B1", "A1", "C1"]
    assert list(frame["confirmations"]) == [["RSI_OVERBOUGHT"], ["RSI_OVERSOLD"], []]


def test_a_row_that_stands_twice_is_named():
    bands = pd.DataFrame([band()])
    with pytest.raises(SchemaError, match=r"BTCUSDT on 2023-12-29 appears twice"):
        match_rows(bands, pd.DataFrame([band(), band()]), ["close"])


def test_columns_are_those_of_the_table():
    frame = decided(band(), band("ETHUSDT", **BUY), empty_band("NO_DATA") | {"symbol": "XUSDT"})
    assert list(frame) == [n for n in TABLES["signals"].columns if n not in PROVENANCE]
    assert {str(frame[n].dtype) for n in ("signal", "risk_level", "trend")} == {"str"}
    assert str(frame["is_member"].dtype) == "boolean"
    assert str(frame["universe_rank"].dtype) == "Int64"


def walk(seed: int, scale: float) -> Candles:
    rng = np.random.default_rng(seed)
    close = np.exp(np.cumsum(rng.normal(0, 0.05, 260))) * scale
    day = np.arange(len(close)) + 19_000
    return Candles(
        "BTCUSDT", day, *(close,) * 4, close, close, np.full(len(close), b"", dtype="S64")
    )


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(1e-6, 1e6),
    price_scale=st.sampled_from(["log", "linear"]),
)
def test_the_unit_of_price_changes_no_signal(seed, scale, price_scale):
    params = ChannelParams(kstd=1.0, price_scale=price_scale)

    def scan(candles: Candles) -> pd.DataFrame:
        days = candles.day[-120:]
        bands = fit_channels([candles], [windows(candles, days)], params)
        quiet = bands[["symbol", "date"]].assign(**QUIET)
        return decide(bands, quiet, NO_UNIVERSE, NO_QUALITY, kstd=params.kstd)

    plain, scaled = scan(walk(seed, 1.0)), scan(walk(seed, scale))
    clear = (plain["z_score"].abs() - params.kstd).abs() > 1e-6
    prices = ["close", "fitted_price", "upper_band", "lower_band"]
    numbers = ["z_score", "potential_return_pct", "band_width_pct", "signal_strength"]
    assert clear.sum() > 100
    assert plain["signal"][clear].equals(scaled["signal"][clear])
    np.testing.assert_allclose(plain[prices] * scale, scaled[prices], rtol=1e-6)
    for name in numbers:
        np.testing.assert_allclose(plain[name][clear], scaled[name][clear], rtol=1e-5, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    close=st.floats(1e-8, 1e6),
    bands=st.tuples(st.floats(1e-8, 1e6), st.floats(1e-8, 1e6)),
    z_score=st.floats(-50, 50),
    kstd=st.floats(1, 3),
    rsi=st.floats(0, 100) | st.just(math.nan),
)
def test_ranges_hold_whatever_comes_in(close, bands, z_score, kstd, rsi):
    lower, upper = sorted(bands)
    row = one(close=close, lower_band=lower, upper_band=upper, z_score=z_score, kstd=kstd,
              indicators={"rsi_14": rsi})  # fmt: skip
    assert 0 <= row["signal_strength"] <= 100
    assert row["potential_return_pct"] >= 0
    assert (row["signal"] == "HOLD") == pd.isna(row["risk_level"])
    assert (row["signal"] == "HOLD") == math.isnan(row["target_return_pct"])
    if row["signal"] != "HOLD":
        assert row["target_return_pct"] >= row["potential_return_pct"] * (1 - 1e-12)


def test_a_window_at_fault_is_quarantined_and_the_other_symbols_go_on():
    quality = of_severity("ERROR")
    frame = decided(
        band(**BUY), band("ETHUSDT", **BUY), quality=quality, rsi_14=20.0, volume_ratio_20=9.0
    )
    bad, good = frame.iloc[0], frame.iloc[1]
    assert (bad["signal"], bad["status"], bad["quality"]) == ("HOLD", "QUARANTINED", "ERROR")
    assert (bad["signal_strength"], bad["confirmations"]) == (0.0, [])
    gone = ["fitted_price", "upper_band", "lower_band", "z_score", "potential_return_pct"]
    gone += ["band_width_pct", "target_return_pct", "risk_level"]
    assert bad[gone].isna().all()
    assert (good["signal"], good["status"]) == ("BUY", "OK")
    assert pd.isna(good["quality"])


@pytest.mark.parametrize("severity", ["OK", "INFO", "WARNING"])
def test_milder_findings_are_shown_and_judged_all_the_same(severity):
    row = decided(band(**BUY), quality=of_severity(severity)).iloc[0]
    assert (row["signal"], row["status"], row["quality"]) == ("BUY", "OK", severity)


def test_a_day_without_a_candle_stays_without_data():
    row = decided(empty_band("NO_DATA"), quality=of_severity("ERROR")).iloc[0]
    assert (row["status"], row["quality"]) == ("NO_DATA", "ERROR")
