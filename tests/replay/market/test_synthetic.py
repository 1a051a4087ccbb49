"""Laws of the synthetic market: deterministic, prefix-stable, consistent, and like a market."""

import datetime as dt
import math
from itertools import pairwise

import numpy as np
import pytest

from autonama_dagster.errors import InputError
from autonama_dagster.replay.market.candles import DAY_MS
from autonama_dagster.replay.market.synthetic import (
    EPOCH,
    EPOCH_MS,
    SyntheticMarket,
    generator,
    read_assets,
    reverting,
    switching,
)

FAR_FUTURE_MS = 10**14
OPEN, HIGH, LOW, CLOSE, VOLUME, QUOTE_VOLUME = 1, 2, 3, 4, 5, 7
EXCLUDED = {
    "USDCUSDT",
    "FDUSDUSDT",
    "PYUSDUSDT",
    "EURUSDT",
    "BTCUPUSDT",
    "BTCDOWNUSDT",
    "ETHUPUSDT",
    "ETHDOWNUSDT",
}


@pytest.fixture(scope="module")
def market():
    return SyntheticMarket(7)


@pytest.fixture(scope="module")
def tables():
    market = SyntheticMarket(7, last_day=dt.date(2026, 6, 30))
    return {symbol: table(market, symbol) for symbol in market.symbols()}


def table(market, symbol):
    series = market.series(symbol, "1d")
    candles = [series.candle(index, FAR_FUTURE_MS) for index in range(len(series.opens))]
    return np.array(candles, dtype=float).reshape(-1, 12)


def rows(market, symbol, count):
    series = market.series(symbol, "1d")
    return [series.row(index, FAR_FUTURE_MS).json for index in range(count)]


def ms(day):
    return EPOCH_MS + (dt.date.fromisoformat(day) - EPOCH).days * DAY_MS


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, second, other = SyntheticMarket(7), SyntheticMarket(7), SyntheticMarket(8)
    assert rows(first, "DOGEUSDT", 500) == rows(second, "DOGEUSDT", 500)
    assert rows(first, "DOGEUSDT", 500) != rows(other, "DOGEUSDT", 500)


@pytest.mark.parametrize("last_day", [dt.date(2019, 1, 1), dt.date(2021, 6, 1)])
def test_no_candle_depends_on_where_the_market_ends(market, last_day):
    shorter = SyntheticMarket(7, last_day=last_day)
    end = EPOCH_MS + (last_day - EPOCH).days * DAY_MS
    for symbol in shorter.symbols()[::4]:
        series = shorter.series(symbol, "1d")
        assert list(series.opens) == [t for t in market.series(symbol, "1d").opens if t <= end]
        count = len(series.opens)
        assert rows(shorter, symbol, count) == rows(market, symbol, count)


def test_the_order_of_asking_does_not_matter(market):
    fresh = SyntheticMarket(7)
    for symbol in reversed(fresh.symbols()[:10]):
        assert rows(fresh, symbol, 50) == rows(market, symbol, 50)


def test_candles_are_consistent(tables):
    for symbol, t in tables.items():
        assert np.isfinite(t).all(), symbol
        assert (t[:, OPEN : CLOSE + 1] > 0).all(), symbol
        assert (t[:, HIGH] >= t[:, [OPEN, CLOSE]].max(axis=1)).all(), symbol
        assert (t[:, LOW] <= t[:, [OPEN, CLOSE]].min(axis=1)).all(), symbol
        assert (t[:, VOLUME] >= 0).all(), symbol
        assert (t[:, 9] <= t[:, VOLUME]).all(), symbol
        traded = t[:, VOLUME] > 0
        mean_paid = t[traded, QUOTE_VOLUME] / t[traded, VOLUME]
        assert (mean_paid <= t[traded, HIGH] + 0.01).all(), symbol
        assert (mean_paid >= t[traded, LOW] - 0.01).all(), symbol
        assert (np.diff(t[:, 0]) >= DAY_MS).all(), symbol


def test_prices_are_on_a_grid_of_at_most_eight_digits(market):
    for symbol in ("BTCUSDT", "PEPEUSDT"):
        series = market.series(symbol, "1d")
        for index in range(0, len(series.opens), 100):
            close = series.candle(index, FAR_FUTURE_MS).close
            assert close == round(close, 2 if symbol == "BTCUSDT" else 8)


def test_a_hundred_eligible_pairs_trade_on_any_day_after_two_years(market):
    for day in ("2021-03-01", "2023-12-29", "2026-11-21", "2030-12-30"):
        traded = {s for s in market.symbols() if ms(day) in market.series(s, "1d").opens}
        assert len(traded - EXCLUDED) >= 100, day


def test_what_the_universe_leaves_out_is_there(tables):
    assert set(tables) >= EXCLUDED | {"JUPUSDT", "SYRUPUSDT", "BTCUSDT", "ETHUSDT", "SOLUSDT"}
    assert 125 <= len(tables) <= 140
    for symbol in ("USDCUSDT", "FDUSDUSDT", "PYUSDUSDT"):
        returns = np.diff(np.log(tables[symbol][:, CLOSE]))
        assert returns.std() * math.sqrt(365) < 0.05


def test_symbols_come_and_go(tables):
    assert tables["JUPUSDT"][0, 0] == ms("2024-01-31")
    assert tables["PERPUSDT"][-1, 0] == ms("2023-12-11")
    assert tables["BTCUSDT"][0, 0] == EPOCH_MS


def breaks(t):
    ratio = t[1:, OPEN] / t[:-1, CLOSE]
    gap = np.diff(t[:, 0]) / DAY_MS - 1
    return [int(t[i + 1, 0]) for i in np.flatnonzero((ratio < 1 / 3) | (ratio > 3) | (gap > 30))]


def test_breaks_are_where_they_are_meant_to_be_and_nowhere_else(tables):
    found = {symbol: breaks(t) for symbol, t in tables.items() if breaks(t)}
    assert found == {
        "DREPUSDT": [ms("2023-08-21")],
        "LUNAUSDT": [ms("2022-05-31")],
        "BALUSDT": [ms("2025-11-17")],
        "HIGHUSDT": [ms("2023-06-12")],
    }


def test_days_are_missing_and_days_are_idle_but_few(tables):
    missing = {s: int((np.diff(t[:, 0]) > DAY_MS).sum()) for s, t in tables.items()}
    idle = {s: int((t[:, VOLUME] == 0).sum()) for s, t in tables.items()}
    assert 20 < sum(missing.values()) < 500
    assert 100 < sum(idle.values()) < 2000
    assert idle["BTCUSDT"] == 0
    for t in tables.values():
        flat = t[t[:, VOLUME] == 0]
        assert (flat[:, OPEN : CLOSE + 1] == flat[:, [OPEN]]).all()


def returns_by_day(tables, symbols):
    columns = []
    for symbol in symbols:
        closes = dict(zip(tables[symbol][:, 0], tables[symbol][:, CLOSE], strict=True))
        days = range(ms("2022-01-01"), ms("2026-06-30"), DAY_MS)
        columns.append([closes.get(day, math.nan) for day in days])
    returns = np.diff(np.log(np.array(columns)), axis=1)
    return returns[:, np.isfinite(returns).all(axis=0)]


def test_coins_move_together_and_on_their_own(tables):
    names = ("BTC", "ETH", "SOL", "XRP", "ADA", "LINK", "LTC", "UNI")
    correlations = np.corrcoef(returns_by_day(tables, [f"{name}USDT" for name in names]))
    pairs = correlations[np.triu_indices(len(names), 1)]
    assert 0.3 < np.median(pairs) < 0.8
    assert pairs.max() < 0.95


def test_leveraged_tokens_follow_their_base(tables):
    correlations = np.corrcoef(returns_by_day(tables, ["BTCUSDT", "BTCUPUSDT", "BTCDOWNUSDT"]))
    assert correlations[0, 1] > 0.99
    assert correlations[0, 2] < -0.99


def test_tails_are_fat_volatility_clusters_and_volume_follows_it(tables):
    for symbol in ("BTCUSDT", "ETHUSDT", "LINKUSDT"):
        t = tables[symbol]
        returns = np.diff(np.log(t[:, CLOSE]))
        z = (returns - returns.mean()) / returns.std()
        assert (z**4).mean() > 4.5, symbol
        size = np.abs(returns)
        assert np.corrcoef(size[1:], size[:-1])[0, 1] > 0.05, symbol
        assert np.corrcoef(size, np.log(t[1:, QUOTE_VOLUME]))[0, 1] > 0.2, symbol


def test_prices_leave_their_channel_plausibly_often(tables):
    """Beyond two residual deviations of a quartic over 720 days: 2 to 30 of 100 on most days."""
    counts = []
    for month in range(0, 54, 3):
        end = ms("2022-01-01") + month * 30 * DAY_MS
        outside = []
        for symbol in set(tables) - EXCLUDED:
            t = tables[symbol]
            window = t[(t[:, 0] > end - 720 * DAY_MS) & (t[:, 0] <= end)]
            if len(window) < 600 or window[-1, 0] != end:
                continue
            x, y = (window[:, 0] - end) / (360 * DAY_MS) + 1, np.log(window[:, CLOSE])
            residuals = y - np.polynomial.Polynomial.fit(x, y, 4)(x)
            outside.append(abs(residuals[-1]) > 2 * math.sqrt((residuals**2).sum() / (len(x) - 5)))
        counts.append(100 * np.mean(outside))
    assert 2 < np.median(counts) < 30


def test_a_switch_has_the_mean_stays_asked_for():
    states = switching(generator(1, "x", "y"), 100_000, (40, 10))
    assert not states[0]
    assert states.mean() == pytest.approx(0.2, abs=0.02)


def test_a_reverting_level_forgets():
    level = reverting(np.array([1.0, 0.0, 0.0, 2.0]), 10)
    decay = math.exp(-0.1)
    assert level.tolist() == pytest.approx([1, decay, decay**2, decay**3 + 2])


def test_assets_are_all_different():
    assets = read_assets(7)
    assert len({asset.name for asset in assets}) == len(assets)
    assert all(a.quote_volume > b.quote_volume for a, b in pairwise(assets[:100]))


def test_an_unusable_seed_or_end_is_named():
    with pytest.raises(InputError, match="seed is -1: use 0 or more"):
        SyntheticMarket(-1)
    with pytest.raises(InputError, match="starts on 2019-01-01, after 2018-12-31"):
        SyntheticMarket(1, last_day=dt.date(2018, 12, 31))
