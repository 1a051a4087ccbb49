import dataclasses

import numpy as np
import pandas as pd
import pytest
from candle_support import of_frame
from matplotlib.collections import LineCollection, PolyCollection

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.klines import parse, raw_kline
from autonama_dagster.reports.charts import style
from autonama_dagster.reports.charts.symbol import symbol_chart

LAST = 19_700  # 2023-12-09
EMPTY_CHANNEL = pd.DataFrame(
    {
        "date": pd.Series(dtype="datetime64[s]"),
        **{n: pd.Series(dtype=float) for n in ("fitted_price", "upper_band", "lower_band")},
    }
)
EMPTY_FIT = EMPTY_CHANNEL.set_axis(["date", "fitted", "upper", "lower"], axis=1)
EMPTY_INDICATORS = pd.DataFrame(
    {
        "date": pd.Series(dtype="datetime64[s]"),
        **{n: pd.Series(dtype=float) for n in ("rsi_14", "macd", "macd_signal", "macd_hist")},
    }
)


def curve(figure, colour, at=0):
    """Heights of the price panel's n-th line of a colour."""
    return [line for line in figure.axes[0].lines if line.get_color() == colour][at].get_ydata()


def bodies(figure):
    """Corners of the candles, shape (n, 4 or 5, 2)."""
    found = [c for c in figure.axes[0].collections if isinstance(c, PolyCollection)]
    (drawn,) = (c for c in found if len(c.get_edgecolor()) and c.get_zorder() == 2.5)
    return [path.vertices for path in drawn.get_paths()]


def test_it_carries_symbol_date_signal_units_and_utc(drawn, make_candles, chart_inputs):
    inputs = chart_inputs(make_candles(last_move=0.8))
    inputs["signal"]["confirmations"] = ["RSI_OVERBOUGHT", "HIGH_VOLUME"]
    inputs["signal"]["target_return_pct"] = 41.25
    symbol_chart(**inputs)
    words = drawn.words()
    score = style.signed(inputs["signal"]["z_score"])
    for expected in (
        "ABCUSDT", "2023-12-09 UTC, daily candles", "▼ SELL", "64", "OK", score, "+41.2 %",
        "RSI_OVERBOUGHT, HIGH_VOLUME", "Price (USDT, log scale)", "Volume\n(ABC)",
        "RSI 14\n(0 to 100)", "MACD 12 26 9\n(USDT)", "Day (UTC)", "Strength is not a probability",
    ):  # fmt: skip
        assert expected in words


@pytest.mark.parametrize(("move", "signal", "marker"), [(0.8, "SELL", "v"), (-0.8, "BUY", "^")])
def test_a_signal_is_marked_on_its_day(drawn, make_candles, chart_inputs, move, signal, marker):
    symbol_chart(**chart_inputs(make_candles(last_move=move)))
    (mark,) = (line for line in drawn.figure.axes[0].lines if line.get_marker() == marker)
    assert mark.get_xdata()[0] == LAST
    assert mark.get_color() == style.SIGNAL_COLOURS[signal]
    assert f"{signal} on the day" in drawn.words()


def test_hold_has_no_marker(drawn, make_candles, chart_inputs):
    symbol_chart(**chart_inputs(make_candles()))
    assert "on the day" not in drawn.words()
    assert "HOLD" in drawn.words().split("\n")


def test_the_band_is_each_days_own_channel_and_todays_fit_is_dashed(
    drawn, make_candles, chart_inputs
):
    inputs = chart_inputs(make_candles())
    symbol_chart(**inputs)
    own, fit = inputs["own_channel"], inputs["todays_fit"].iloc[-180:]
    np.testing.assert_allclose(curve(drawn.figure, style.BUY), np.log(own["fitted_price"]))
    np.testing.assert_allclose(curve(drawn.figure, style.FIT), np.log(fit["upper"]))
    np.testing.assert_allclose(curve(drawn.figure, style.FIT, at=2), np.log(fit["lower"]))
    dashed = [line.get_color() for line in drawn.figure.axes[0].lines if line.is_dashed()]
    assert dashed == [style.FIT] * 3
    assert not np.allclose(own["fitted_price"], fit["fitted"], rtol=1e-3)
    assert "Today's fit (repaints)" in drawn.words()
    assert "Own channel of each day" in drawn.words()


def test_180_candles_are_drawn_and_none_after_the_day(drawn, make_candles, chart_inputs):
    inputs = chart_inputs(make_candles(), day=LAST - 10)
    symbol_chart(**inputs)
    days = np.array([corners[:4, 0].mean() for corners in bodies(drawn.figure)])
    np.testing.assert_allclose(days, np.arange(LAST - 189, LAST - 9))


def test_what_comes_after_the_day_changes_nothing(make_candles, chart_inputs):
    candles = make_candles()
    inputs = chart_inputs(candles, day=LAST - 10)
    fields = {f.name: getattr(candles, f.name) for f in dataclasses.fields(candles) if f.init}
    cut = Candles(**{k: v[:-10] if isinstance(v, np.ndarray) else v for k, v in fields.items()})
    assert symbol_chart(**inputs) == symbol_chart(**inputs | {"candles": cut})


def test_bodies_span_open_and_close_hollow_when_rising(drawn, make_candles, chart_inputs):
    candles = make_candles()
    symbol_chart(**chart_inputs(candles))
    corners = np.array([c[:4, 1] for c in bodies(drawn.figure)])
    ends = np.log([candles.open[-180:], candles.close[-180:]])
    np.testing.assert_allclose(corners.min(axis=1), ends.min(axis=0))
    np.testing.assert_allclose(corners.max(axis=1), ends.max(axis=0))
    (drawing,) = (c for c in drawn.figure.axes[0].collections if c.get_zorder() == 2.5)
    hollow = np.asarray(drawing.get_facecolor())[:, :3].min(axis=1) == 1.0
    np.testing.assert_array_equal(hollow, candles.close[-180:] >= candles.open[-180:])


def test_missing_days_stay_empty(drawn, make_candles, chart_inputs):
    missing = range(20, 27)
    symbol_chart(**chart_inputs(make_candles(missing=missing)))
    assert len(bodies(drawn.figure)) == 180 - 7
    unknown = np.flatnonzero(np.isnan(curve(drawn.figure, style.BUY)))
    assert unknown.tolist() == [179 - m for m in reversed(missing)]
    (volume,) = (c for c in drawn.figure.axes[1].collections if isinstance(c, LineCollection))
    assert len(volume.get_segments()) == 180 - 7


def test_a_young_symbol_has_candles_and_a_reason_but_no_channel(drawn, make_candles, chart_inputs):
    symbol_chart(**chart_inputs(make_candles(25)))
    words = drawn.words()
    assert "INSUFFICIENT_DATA: too few candles for a channel" in words
    assert "Too few candles for the MACD." in words
    assert "channel of each day" not in words
    assert "repaints)" not in words
    assert len(bodies(drawn.figure)) == 25
    assert drawn.figure.axes[0].get_xlim() == (LAST - 30, LAST + 1)


def test_no_candle_on_the_day_is_said(drawn, make_candles, chart_inputs):
    symbol_chart(**chart_inputs(make_candles(missing=(0, 1))))
    assert "NO_DATA: no candle on 2023-12-09" in drawn.words()
    assert len(bodies(drawn.figure)) == 178
    assert drawn.figure.axes[0].get_xlim()[1] == LAST + 1


def test_a_quarantined_day_is_said(drawn, make_candles, chart_inputs):
    inputs = chart_inputs(make_candles())
    inputs["signal"]["status"] = "QUARANTINED"
    symbol_chart(**inputs)
    assert "QUARANTINED: the window contains bad data, see data_quality" in drawn.words()


def test_no_candle_at_all_gives_a_page_that_says_so(drawn, signal_row):
    row = signal_row(
        status="NO_DATA", close=None, z_score=None, fitted_price=None, upper_band=None,
        lower_band=None,
    )  # fmt: skip
    symbol_chart("ABCUSDT", None, EMPTY_CHANNEL, EMPTY_FIT, EMPTY_INDICATORS, row)
    assert "NO_DATA: no candles in the 180 days up to this day." in drawn.words()
    assert drawn.overlapping() == []


def test_candles_before_a_break_are_not_drawn(drawn, make_candles, chart_inputs):
    candles = make_candles()
    scale = np.where(candles.day < LAST - 49, 1000.0, 1.0)
    fields = {n: getattr(candles, n) * scale for n in ("open", "high", "low", "close")}
    symbol_chart(**chart_inputs(dataclasses.replace(candles, **fields)))
    assert len(bodies(drawn.figure)) == 50
    assert np.exp(drawn.figure.axes[0].get_ylim()[1]) < 10 * candles.high[-50:].max()
    assert "Starts on 2023-10-21, after a break in the market." in drawn.words()


def test_rows_before_a_break_are_not_drawn_in_a_short_calendar(drawn, make_candles, chart_inputs):
    candles = make_candles()
    scale = np.where(candles.day < LAST - 9, 1000.0, 1.0)
    fields = {n: getattr(candles, n) * scale for n in ("open", "high", "low", "close")}
    inputs = chart_inputs(dataclasses.replace(candles, **fields))
    assert inputs["indicators"]["rsi_14"].iloc[-25] > 0
    symbol_chart(**inputs)
    assert "Own channel of each day" not in drawn.words()
    assert np.isnan(drawn.figure.axes[2].lines[-1].get_ydata()).all()


@pytest.mark.parametrize("start", [4e-8, 0.02, 1.0, 61_234.0])
def test_prices_are_written_out_and_texts_lie_apart_on_the_page(
    drawn, make_candles, chart_inputs, start
):
    symbol_chart(
        **chart_inputs(make_candles(start=start, last_move=0.5)), source_label="replay-estimated"
    )
    labels = [t.get_text() for t in drawn.figure.axes[0].get_yticklabels()]
    assert 3 <= len(labels) <= 9
    assert len(set(labels)) == len(labels)
    assert all(set(text) <= set("0123456789.,") for text in labels)
    ticks = drawn.figure.axes[0].get_yticks()
    np.testing.assert_allclose(np.exp(ticks), [float(t.replace(",", "")) for t in labels])
    assert drawn.overlapping() == []
    assert drawn.outside() == []


def test_a_tiny_macd_names_its_power_of_ten(drawn, make_candles, chart_inputs):
    inputs = chart_inputs(make_candles(start=1e-7))
    symbol_chart(**inputs)
    assert "(10⁻⁹ USDT)" in drawn.words()
    last = inputs["indicators"]["macd"].iloc[-1]
    np.testing.assert_allclose(drawn.figure.axes[3].lines[1].get_ydata()[-1], last * 1e9)


@pytest.mark.parametrize(
    ("status", "label"),
    [
        ("INSUFFICIENT_DATA", "synthetic"),
        ("NO_DATA", "replay-estimated"),
        ("QUARANTINED", "binance"),
    ],
)
def test_long_words_fit_on_the_page(drawn, make_candles, chart_inputs, status, label):
    inputs = chart_inputs(make_candles(40, start=1e-7))
    inputs["signal"]["status"] = status
    inputs["signal"]["target_return_pct"] = 88_725_079.0
    inputs["signal"]["confirmations"] = [
        "RSI_OVERSOLD", "MACD_NEGATIVE", "HIGH_VOLUME", "TREND_BEARISH",
    ]  # fmt: skip
    symbol_chart(**inputs, source_label=label)
    assert drawn.overlapping() == []
    assert drawn.outside() == []


def test_the_price_axis_may_be_linear_with_a_band_below_zero(drawn, make_candles, chart_inputs):
    inputs = chart_inputs(make_candles(), price_scale="linear")
    inputs["own_channel"] = inputs["own_channel"].assign(lower_band=-50.0)
    symbol_chart(**inputs)
    assert "Price (USDT)" in drawn.words().split("\n")
    np.testing.assert_allclose(
        curve(drawn.figure, style.BUY), inputs["own_channel"]["fitted_price"]
    )


@pytest.mark.parametrize(("price", "scale"), [(1.0, "log"), (1e-7, "log"), (30_000.0, "linear")])
def test_a_price_that_never_moves_has_an_axis(drawn, make_candles, chart_inputs, price, scale):
    candles = make_candles(200)
    flat = dict.fromkeys(("open", "high", "low", "close"), np.full(200, price))
    symbol_chart(**chart_inputs(dataclasses.replace(candles, **flat), price_scale=scale))
    assert len(drawn.figure.axes[0].get_yticks()) >= 2


def test_a_crash_over_seven_decades_has_few_ticks(drawn, make_candles, chart_inputs):
    symbol_chart(**chart_inputs(make_candles(last_move=-16.0)))
    labels = [t.get_text() for t in drawn.figure.axes[0].get_yticklabels()]
    assert 3 <= len(labels) <= 9
    assert set(labels) <= {"0.00001", "0.0001", "0.001", "0.01", "0.10", "1", "10", "100", "1,000"}
    assert drawn.overlapping() == []


def test_a_far_channel_leaves_the_candles_room(drawn, make_candles, chart_inputs):
    inputs = chart_inputs(make_candles())
    inputs["own_channel"] = inputs["own_channel"].assign(upper_band=1e9, lower_band=1e-9)
    symbol_chart(**inputs)
    low, high = drawn.figure.axes[0].get_ylim()
    candles = inputs["candles"]
    span = np.log(candles.high[-180:].max() / candles.low[-180:].min())
    assert high - low < 2.5 * span


@pytest.mark.parametrize(
    ("symbol", "day"),
    [("BTCUSDT", "2023-12-05"), ("PEPEUSDT", "2023-11-20"), ("LUNAUSDT", "2022-05-12")],
)
def test_real_symbols_have_texts_apart_on_the_page(drawn, market_data, chart_inputs, symbol, day):
    raw = pd.read_csv(
        market_data / "klines" / "1d" / f"{symbol}.csv.gz", dtype=str, na_filter=False
    )
    rows = [[f or "0" for f in r] for r in raw.to_numpy().tolist()]
    good, _ = parse([raw_kline([int(r[0]), *r[1:6], int(r[6]), *r[7:]]) for r in rows], symbol)
    at = (pd.Timestamp(day) - pd.Timestamp(0)).days
    png = symbol_chart(
        **chart_inputs(of_frame(good.assign(source="archive")), day=at), source_label="archive"
    )
    assert drawn.overlapping() == []
    assert drawn.outside() == []
    assert len(png) < 100_000
