from dataclasses import replace
from math import exp, isnan, log, nan

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.windows import windows
from autonama_dagster.analytics.scan.indicators.levels import compute, find_pivots, nearest_levels
from autonama_dagster.errors import SchemaError


def series(high, low, close, day=None) -> Candles:
    high, low, close = (np.array(side, dtype=np.float64) for side in (high, low, close))
    day = np.arange(len(close)) + 19_000 if day is None else np.array(day)
    volume, hashes = np.ones(len(close)), np.full(len(close), b"", dtype="S64")
    return Candles("BTCUSDT", day, close, high, low, close, volume, volume, hashes)


def peaks(*prices: float, close: float) -> Candles:
    """Flat at 50 to 60 but for one pivot at each price, 6 candles apart; `close` is the last."""
    high, low = np.full((2, 6 * len(prices) + 6), [[60.0], [50.0]])
    for i, price in enumerate(prices):
        side = high if price > 60 else low
        side[6 * i + 5] = price
    closes = np.full(len(high), 55.0)
    closes[-1] = close
    return series(high, low, closes)


def levels_at_end(candles: Candles, natr_14: float) -> tuple[float, float]:
    return levels_of(candles, 0, len(candles), natr_14)


def levels_of(candles: Candles, start: int, stop: int, natr_14: float) -> tuple[float, float]:
    close = float(candles.close[stop - 1])
    return nearest_levels(find_pivots(candles), start, stop, close, natr_14)


def reference(candles: Candles, start: int, stop: int, natr_14: float) -> tuple[float, float]:
    """The definition, word by word."""
    pivots = []
    for i in range(start + 5, stop - 5):
        around = [j for j in range(i - 5, i + 6) if j != i]
        if all(candles.high[i] > candles.high[j] for j in around):
            pivots.append(float(candles.high[i]))
        if all(candles.low[i] < candles.low[j] for j in around):
            pivots.append(float(candles.low[i]))
    clusters: list[list[float]] = []
    for price in sorted(pivots):
        if clusters and log(price) - log(clusters[-1][0]) <= natr_14 / 100:
            clusters[-1].append(price)
        else:
            clusters.append([price])
    levels = [
        exp(sum(map(log, c)) / len(c)) if len(set(c)) > 1 else c[0]
        for c in clusters
        if not isnan(natr_14)
    ]
    close = candles.close[stop - 1]
    below, above = [v for v in levels if v < close], [v for v in levels if v > close]
    return max(below, default=nan), min(above, default=nan)


def walk(seed: int, n: int, tick: float) -> Candles:
    """A random walk on a grid of prices: equal highs and lows, gaps and breaks."""
    rng = np.random.default_rng(seed)
    close = 10 + np.abs(np.cumsum(rng.normal(0, 0.3, n)))
    high = close + rng.exponential(0.3, n)
    low = close - rng.exponential(0.3, n)
    high, low, close = (np.round(side / tick) * tick for side in (high, low, close))
    day = 19_000 + np.cumsum(rng.choice([1, 3, 40], n, p=[0.9, 0.09, 0.01]))
    return series(high, np.maximum(low, tick), close, day)


walks = st.builds(
    walk, st.integers(0, 2**32 - 1), st.integers(1, 200), st.sampled_from([1e-9, 0.1, 0.5])
)
natrs = st.one_of(st.just(nan), st.just(0.0), st.floats(0.0, 20.0))


def table(candles: Candles, natr_14: float, lookback: int = 100_000) -> pd.DataFrame:
    return compute(
        [candles], [windows(candles, candles.day, lookback)], np.full(len(candles), natr_14)
    )


def test_cluster_is_measured_from_its_lowest_pivot():
    # 104 lies within 5 % of 100; 108 within 5 % of 104 but not of 100.
    candles = peaks(108, 100, 104, close=110)
    support, resistance = levels_at_end(candles, 5.0)
    assert support == pytest.approx(108)
    assert isnan(resistance)
    candles.close[-1] = 106
    support, resistance = levels_at_end(candles, 5.0)
    assert support == pytest.approx((100 * 104) ** 0.5)
    assert resistance == pytest.approx(108)
    # At 8 % all three are one level.
    support, resistance = levels_at_end(candles, 8.0)
    assert support == pytest.approx((100 * 104 * 108) ** (1 / 3))
    assert isnan(resistance)


def test_highs_and_lows_are_pooled_and_the_nearest_is_taken():
    candles = peaks(30, 80, 40, 70, close=55)
    assert levels_at_end(candles, 1.0) == pytest.approx((40, 70))
    candles.close[-1] = 75  # the pivot high that was resistance now supports
    assert levels_at_end(candles, 1.0) == pytest.approx((70, 80))


def test_level_at_the_close_is_neither_support_nor_resistance():
    # A plain mean of the three equal logs would be another price, just beside the close.
    candles = peaks(65, 487.42, 900, 487.42, 487.42, close=487.42)
    assert levels_at_end(candles, 0.0) == pytest.approx((65, 900))


@pytest.mark.parametrize("lower", [0.64, 0.72])
def test_level_that_rounds_to_the_close_is_neither(lower):
    # The mean of log(lower) and log(1 / lower) is not 0 but too small for exp to tell.
    candles = peaks(100 * lower, 100 / lower, close=100)
    prices = {name: getattr(candles, name) / 100 for name in ("open", "high", "low", "close")}
    candles = replace(candles, **prices)
    candles.high[5], candles.high[11] = lower, 1 / lower
    assert all(map(isnan, levels_at_end(candles, 100.0)))


def test_pivot_stands_strictly_out():
    candles = peaks(80, close=55)
    assert levels_at_end(candles, 1.0)[1] == pytest.approx(80)
    for neighbour in (0, 4, 6, 10):
        equal = replace(candles, high=candles.high.copy())
        equal.high[neighbour] = 80
        assert isnan(levels_at_end(equal, 1.0)[1])


def test_pivot_needs_five_candles_on_each_side_inside_the_window():
    candles = peaks(80, close=55)
    assert len(candles) == 12
    assert levels_of(candles, 0, 11, 1.0)[1] == pytest.approx(80)
    assert isnan(levels_of(candles, 0, 10, 1.0)[1])
    assert isnan(levels_of(candles, 1, 12, 1.0)[1])


def test_no_level_without_natr_or_pivots():
    assert all(map(isnan, levels_at_end(peaks(40, 80, close=55), nan)))
    assert all(map(isnan, levels_at_end(series([2], [1], [1.5]), 1.0)))


def test_row_per_day_with_a_candle():
    candles = peaks(80, close=55)
    days = np.array([*candles.day[-2:], candles.day[-1] + 1])
    result = compute([candles], [windows(candles, days)], np.array([nan, 1.0]))
    assert result.columns.tolist() == ["symbol", "date", "support_level", "resistance_level"]
    assert result["symbol"].tolist() == ["BTCUSDT"] * 2
    assert result["date"].dtype == "datetime64[s]"
    assert result["date"].to_numpy().astype("datetime64[D]").astype(int).tolist() == list(days[:2])
    assert result["resistance_level"].tolist() == pytest.approx([nan, 80], nan_ok=True)
    assert compute([], [], np.empty(0)).dtypes.to_dict() == result.dtypes.to_dict()


def test_natr_of_other_rows_is_refused():
    candles = peaks(80, close=55)
    with pytest.raises(SchemaError, match="natr_14 has 3 values, the windows hold 12 candles"):
        compute([candles], [windows(candles, candles.day)], np.ones(3))


@settings(deadline=None, max_examples=100)
@given(walks, natrs, st.integers(1, 250), st.data())
def test_follows_the_definition(candles, natr_14, lookback, data):
    result = table(candles, natr_14, lookback)
    i = data.draw(st.integers(0, len(candles) - 1))
    window = windows(candles, candles.day[i : i + 1], lookback)
    expected = reference(candles, int(window.start[0]), int(window.stop[0]), natr_14)
    found = tuple(result.iloc[i][["support_level", "resistance_level"]])
    assert found == pytest.approx(expected, rel=1e-12, nan_ok=True)


@settings(deadline=None, max_examples=100)
@given(walks, natrs, st.integers(1, 250), st.data())
def test_row_alone_is_bitwise_the_row_in_a_range(candles, natr_14, lookback, data):
    together = table(candles, natr_14, lookback)[["support_level", "resistance_level"]]
    i = data.draw(st.integers(0, len(candles) - 1))
    window = windows(candles, candles.day[i : i + 1], lookback)
    seen = slice(int(window.start[0]), int(window.stop[0]))
    alone = series(candles.high[seen], candles.low[seen], candles.close[seen])
    row = np.array(levels_at_end(alone, natr_14))
    assert row.tobytes() == together.iloc[i].to_numpy().tobytes()


@settings(deadline=None, max_examples=100)
@given(walks, natrs)
def test_close_lies_strictly_between_the_levels(candles, natr_14):
    result = table(candles, natr_14)
    assert not (result["support_level"] >= candles.close).any()
    assert not (result["resistance_level"] <= candles.close).any()
