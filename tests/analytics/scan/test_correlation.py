import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.scan.correlation import order_by_clustering, pairs, summary
from autonama_dagster.schemas.registry import TABLES

D = 19_000
MEASURES = ["pearson", "spearman", "residual_pearson"]
STAMPED = {"params_hash", "code_version", "result_hash", "run_id", "computed_at"}


def series(symbol, close, day=None) -> Candles:
    close = np.array(close, dtype=np.float64)
    day = np.arange(D - len(close) + 1, D + 1) if day is None else np.array(day)
    hashes = np.array([f"{symbol}{d}".ljust(64, "x") for d in day], dtype="S64")
    return Candles(symbol, day, *(close,) * 4, close, close, hashes)


def from_returns(symbol, returns) -> Candles:
    return series(symbol, 100 * np.exp(np.cumsum([0.0, *returns])))


def drop(candles: Candles, keep) -> Candles:
    names = ("day", "open", "high", "low", "close", "volume", "quote_volume", "row_hash")
    return Candles(candles.symbol, *(getattr(candles, name)[keep] for name in names))


def market(seed: int, n: int, days: int = 120, missing: float = 0.0) -> dict[str, Candles]:
    """Symbols that share a common move; two of them a second one."""
    rng = np.random.default_rng(seed)
    common, linked = rng.normal(0, 0.03, (2, days))
    made = {}
    for i in range(n):
        own = rng.normal(0, 0.02, days) + common + (linked if i < 2 else 0)
        candles = from_returns(f"S{i:02d}USDT", own)
        made[candles.symbol] = drop(candles, rng.random(days + 1) >= missing)
    return made


def correlated(candles: dict[str, Candles], day=D, lookback=720) -> pd.DataFrame:
    return pairs(list(candles), candles, day, lookback=lookback)


def naive(candles: dict[str, Candles], day=D) -> pd.DataFrame:
    """The definition, spelled out with dictionaries and scipy."""
    returns: dict[str, dict[int, float]] = {}
    for symbol, c in candles.items():
        closes = dict(zip(c.day.tolist(), c.close.tolist(), strict=True))
        returns[symbol] = {
            t: math.log(closes[t] / closes[t - 1])
            for t in range(day - 89, day + 1)
            if t in closes and t - 1 in closes
        }
    every = sorted({t for r in returns.values() for t in r})
    mean = {t: np.mean([r[t] for r in returns.values() if t in r]) for t in every}
    residuals = {}
    for symbol, r in returns.items():
        if len(r) < 3:
            continue
        fit = stats.linregress([mean[t] for t in r], list(r.values()))
        residuals[symbol] = {t: v - fit.intercept - fit.slope * mean[t] for t, v in r.items()}
    rows = []
    for a, b in itertools.combinations(sorted(candles), 2):
        common = sorted(returns[a].keys() & returns[b].keys())
        row = {"symbol_a": a, "symbol_b": b, "n_obs": len(common)} | dict.fromkeys(MEASURES, np.nan)
        if len(common) >= 60:
            x, y = ([returns[s][t] for t in common] for s in (a, b))
            u, v = ([residuals[s][t] for t in common] for s in (a, b))
            row["pearson"] = stats.pearsonr(x, y).statistic
            row["spearman"] = stats.spearmanr(x, y).statistic
            row["residual_pearson"] = stats.pearsonr(u, v).statistic
        rows.append(row)
    return pd.DataFrame(rows)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(3, 7),
    missing=st.sampled_from([0.0, 0.02, 0.08, 0.2]),
)
def test_agrees_with_the_definition_spelled_out(seed, n, missing):
    candles = market(seed, n, missing=missing)
    found, expected = correlated(candles), naive(candles)
    pd.testing.assert_frame_equal(
        found[expected.columns], expected, rtol=1e-9, atol=1e-12, check_dtype=False
    )
    assert expected[expected["n_obs"] < 60][MEASURES].isna().all(axis=None)


def test_uses_ninety_returns_of_consecutive_days():
    candles = market(1, 4)
    assert set(correlated(candles)["n_obs"]) == {90}
    first = candles["S00USDT"]
    candles["S00USDT"] = drop(first, first.day != D - 40)  # two returns less: no jump over the gap
    frame = correlated(candles).set_index(["symbol_a", "symbol_b"])
    assert frame.loc[("S00USDT", "S01USDT"), "n_obs"] == 88
    assert frame.loc[("S01USDT", "S02USDT"), "n_obs"] == 90


@pytest.mark.parametrize(("days", "known"), [(61, True), (60, False)])
def test_sixty_common_days_are_needed(days, known):
    candles = market(2, 3)
    candles["S00USDT"] = drop(candles["S00USDT"], slice(-days, None))
    row = correlated(candles).iloc[0]
    assert row["n_obs"] == days - 1
    assert row[MEASURES].notna().tolist() == [known] * 3
    assert not (row["is_high"] and not known)


def test_nothing_before_a_break_counts():
    candles = market(3, 3)
    close = candles["S00USDT"].close.copy()
    close[:-70] *= 1000
    candles["S00USDT"] = series("S00USDT", close)
    frame = correlated(candles)
    assert frame["n_obs"].tolist() == [69, 69, 90]
    pd.testing.assert_frame_equal(
        frame[MEASURES],
        naive({**candles, "S00USDT": drop(candles["S00USDT"], slice(-70, None))})[MEASURES],
    )


def test_the_returns_around_a_foreign_candle_do_not_count():
    candles = market(3, 3)
    lacking = drop(candles["S00USDT"], np.arange(121) != 70)
    close = candles["S00USDT"].close.copy()
    close[70] *= 1000
    found = correlated({**candles, "S00USDT": series("S00USDT", close)})
    expected = correlated({**candles, "S00USDT": lacking})
    assert found["n_obs"].tolist() == [88, 88, 90]
    pd.testing.assert_frame_equal(found[MEASURES], expected[MEASURES])


def test_the_lookback_bounds_the_returns():
    assert set(correlated(market(4, 3), lookback=71)["n_obs"]) == {70}


def test_high_and_linked_have_their_bounds():
    rng = np.random.default_rng(5)
    x, noise = stats.zscore(rng.normal(size=(2, 90)), axis=1)
    noise = stats.zscore(noise - x * (x @ noise) / 90)  # orthogonal: the correlation is exact

    def high(rho: float) -> bool:
        y = rho * x + math.sqrt(1 - rho**2) * noise
        frame = correlated({s: from_returns(s, r / 50) for s, r in (("A", x), ("B", y))})
        assert frame["pearson"].iloc[0] == pytest.approx(rho)
        return bool(frame["is_high"].iloc[0])

    assert [high(r) for r in (0.71, 0.69, 0.0, -0.69, -0.71)] == [True, False, False, False, True]


def test_linked_is_beyond_the_common_move():
    frame = correlated(market(6, 12)).set_index(["symbol_a", "symbol_b"])
    linked = frame[frame["is_linked"]]
    assert linked.index.tolist() == [("S00USDT", "S01USDT")]
    assert (frame["is_linked"] == (frame["residual_pearson"].abs() >= 0.5)).all()


def test_two_members_have_opposite_residuals():
    row = correlated(market(7, 2)).iloc[0]
    assert row["residual_pearson"] == pytest.approx(-1)
    assert row["residual_pearson"] >= -1


def test_a_price_that_stands_still_correlates_with_nothing():
    candles = market(8, 3) | {
        "FLAT": series("FLAT", np.full(121, 7.0)),
        "RISE": series("RISE", np.exp(0.01 * np.arange(121))),  # constant but for rounding
    }
    frame = correlated(candles)
    still = frame["symbol_a"].isin(["FLAT", "RISE"]) | frame["symbol_b"].isin(["FLAT", "RISE"])
    assert frame.loc[still, ["pearson"]].isna().all(axis=None)
    assert frame.loc[~still, MEASURES].notna().all(axis=None)
    assert not frame.loc[still, "is_high"].any()


def test_equal_series_correlate_with_one_and_leave_no_residual():
    twin = market(9, 1)["S00USDT"]
    row = correlated({"A": replace(twin, symbol="A"), "B": replace(twin, symbol="B")}).iloc[0]
    assert row["pearson"] == pytest.approx(1)
    assert row["pearson"] <= 1
    assert math.isnan(row["residual_pearson"])
    assert not row["is_linked"]


def test_members_without_candles_keep_their_rows():
    candles = market(10, 2)
    frame = pairs(["S01USDT", "GONE", "S00USDT"], candles, D, lookback=720)
    assert frame[["symbol_a", "symbol_b"]].to_numpy().tolist() == [
        ["GONE", "S00USDT"],
        ["GONE", "S01USDT"],
        ["S00USDT", "S01USDT"],
    ]
    assert frame["n_obs"].tolist() == [0, 0, 90]


@pytest.mark.parametrize("members", [[], ["S00USDT"]])
def test_fewer_than_two_members_make_no_pair(members):
    full, empty = correlated(market(11, 3)), pairs(members, market(11, 3), D, lookback=720)
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()


def test_columns_are_those_of_the_table():
    frame = correlated(market(12, 3))
    assert set(frame) == set(TABLES["correlation_matrix"].columns) - STAMPED
    assert frame["date"].tolist() == [pd.Timestamp(D, unit="D")] * 3


def test_input_hash_covers_all_members_candles_of_ninety_one_days():
    candles = market(13, 3)
    plain = correlated(candles)
    assert plain["input_hash"].nunique() == 3
    first = candles["S00USDT"]
    for day, is_used in ((D - 91, False), (D - 90, True), (D, True)):
        hashes = np.where(first.day == day, b"changed".ljust(64, b"x"), first.row_hash)
        close = np.where(first.day == day, first.close * 1.01, first.close)
        other = correlated(candles | {"S00USDT": replace(first, close=close, row_hash=hashes)})
        # The residuals of the pair without it too: they follow from the mean of all.
        assert other["residual_pearson"].ne(plain["residual_pearson"]).tolist() == [is_used] * 3
        assert other["input_hash"].ne(plain["input_hash"]).tolist() == [is_used] * 3


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), missing=st.sampled_from([0.0, 0.05]))
def test_only_the_window_matters(seed, missing):
    """Neither what came before D-90 nor what comes after D nor the members' order."""
    candles = market(seed, 5, days=200, missing=missing)
    day = D - 40
    cut = {s: drop(c, (c.day >= day - 90) & (c.day <= day)) for s, c in candles.items()}
    expected = correlated(cut, day)
    shuffled = dict(reversed(candles.items()))
    pd.testing.assert_frame_equal(correlated(shuffled, day), expected, check_exact=True)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-6, 1e6))
def test_the_unit_of_price_changes_nothing(seed, scale):
    candles = market(seed, 4)
    scaled = {s: series(s, c.close * scale, c.day) for s, c in candles.items()}
    np.testing.assert_allclose(
        correlated(scaled)[MEASURES], correlated(candles)[MEASURES], atol=1e-9
    )


def test_a_pair_has_the_same_bits_beside_any_others():
    """A sum that BLAS orders by the size of the matrix would not."""
    candles = market(14, 40, missing=0.01)
    names = ["pearson", "spearman", "n_obs"]
    every = correlated(candles).set_index(["symbol_a", "symbol_b"])[names]
    for few in (2, 3, 7):
        chosen = list(candles)[5 : 5 + few]
        alone = pairs(chosen, candles, D, lookback=720).set_index(["symbol_a", "symbol_b"])[names]
        pd.testing.assert_frame_equal(every.loc[alone.index], alone, check_exact=True)


def test_summary_counts_and_lists():
    frame = pd.DataFrame(
        {
            "symbol_a": ["A", "A", "B", "C"],
            "symbol_b": ["B", "C", "C", "D"],
            "pearson": [0.5, -0.9, 0.9, np.nan],
            "residual_pearson": [-0.6, 0.1, np.nan, np.nan],
            "is_high": [False, True, True, False],
            "is_linked": [True, False, False, False],
        }
    )
    found = summary(frame)
    assert {k: found[k] for k in ("n_pairs", "n_high", "n_linked")} == {
        "n_pairs": 4,
        "n_high": 2,
        "n_linked": 1,
    }
    assert found["mean_pearson"] == pytest.approx(0.5 / 3)
    assert found["median_pearson"] == 0.5
    assert found["top_correlated"] == [
        {"symbol_a": "A", "symbol_b": "C", "pearson": -0.9},
        {"symbol_a": "B", "symbol_b": "C", "pearson": 0.9},
        {"symbol_a": "A", "symbol_b": "B", "pearson": 0.5},
    ]
    assert found["top_linked"] == [
        {"symbol_a": "A", "symbol_b": "B", "residual_pearson": -0.6},
        {"symbol_a": "A", "symbol_b": "C", "residual_pearson": 0.1},
    ]
    json.dumps(found, allow_nan=False)


def test_summary_of_many_and_of_no_pairs():
    found = summary(correlated(market(15, 8)))
    assert len(found["top_correlated"]) == len(found["top_linked"]) == 10
    empty = summary(pairs([], {}, D, lookback=720))
    assert empty == {
        "n_pairs": 0,
        "n_high": 0,
        "n_linked": 0,
        "mean_pearson": None,
        "median_pearson": None,
        "top_correlated": [],
        "top_linked": [],
    }


def test_clustering_puts_blocks_side_by_side():
    block = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2])
    matrix = np.where(block[:, None] == block, 0.9, 0.1)
    np.fill_diagonal(matrix, 1.0)
    matrix[0, 1] = matrix[1, 0] = np.nan
    order = order_by_clustering(matrix)
    assert sorted(order.tolist()) == [*range(9)]
    runs = [key for key, _ in itertools.groupby(block[order])]
    assert sorted(runs) == [0, 1, 2]
    assert order_by_clustering(matrix).tolist() == order.tolist()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_clustering_of_few_keeps_their_order(n):
    assert order_by_clustering(np.eye(n)).tolist() == [*range(n)]


def test_real_correlations_of_2023_12_29(market_data):
    bases = ["BTC", "ETH", "ETC", "SAND", "MANA", "LUNA", "LUNC", "SOL", "DOGE", "TRX"]
    day = np.datetime64("2023-12-29", "D").astype(np.int64)
    candles = {}
    for base in bases:
        raw = pd.read_csv(market_data / "klines" / "1d" / f"{base}USDT.csv.gz")
        days = (raw["open_time"] // 86_400_000).to_numpy()
        candles[f"{base}USDT"] = series(f"{base}USDT", raw["close"], days)
    frame = correlated(candles, day)
    assert set(frame["n_obs"]) == {90}
    recent = {s: drop(c, c.day > day - 200) for s, c in candles.items()}
    np.testing.assert_allclose(frame[MEASURES], naive(recent, day)[MEASURES], atol=1e-12)
    highest = frame.loc[frame["pearson"].idxmax()]
    assert (highest["symbol_a"], highest["symbol_b"]) == ("ETCUSDT", "ETHUSDT")
    assert highest["pearson"] == pytest.approx(0.8867, abs=1e-4)


def test_summary_of_pairs_without_a_correlation_names_none():
    found = summary(correlated(market(7, 5, days=30)))
    assert found["n_pairs"] == 10
    assert (found["mean_pearson"], found["top_correlated"], found["top_linked"]) == (None, [], [])
