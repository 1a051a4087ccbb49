import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from candle_support import FIRST_DAY, days, of_closes, part, real, scaled, walk, without
from hypothesis import given, settings
from hypothesis import strategies as st
from places import HELPERS, ROOT

from autonama_dagster.analytics.candles.hashing import market_hashes, params_hash
from autonama_dagster.analytics.candles.windows import windows
from autonama_dagster.analytics.scan.chance import (
    BLOCK_CANDLES,
    N_PAIR_SURROGATES,
    N_SURROGATES,
    PAIR_BLOCK_DAYS,
    expectations,
    null_params,
    pair_chances,
    signal_chances,
    surrogate_paths,
)
from autonama_dagster.analytics.scan.channel import ChannelParams, fit_channels
from autonama_dagster.analytics.scan.correlation import RETURN_DAYS, pairs

LAST = FIRST_DAY + 719
PARAMS = ChannelParams()
SEED = "ab" * 32


def chances(candles, asked, params=PARAMS):
    """Chances of the symbols' windows on the asked days, seeded by their own hashes."""
    spans = [windows(c, np.array(asked), params.lookback) for c in candles]
    hashes = [h for c, w in zip(candles, spans, strict=True) for h in market_hashes(c, w)]
    return signal_chances(candles, spans, hashes, params)


def of_paths(paths, day, params):
    """z-scores of prices that follow the paths, by the channel itself; rows that are OK."""
    candles = [of_closes(np.exp(path), day) for path in paths]
    spans = [windows(c, day[-1:], params.lookback) for c in candles]
    return fit_channels(candles, spans, params)


# The null of a signal


@pytest.mark.parametrize(("degree", "kstd"), [(4, 2.0), (2, 1.0)])
def test_the_chance_of_a_random_walk_is_that_of_random_walks(degree, kstd):
    """What shuffled returns say of Gaussian walks is what new Gaussian walks do."""
    params = ChannelParams(degree=degree, kstd=kstd, lookback=400)
    asked, n = FIRST_DAY + 399, 1_500
    fits = fit_channels(
        walks := [walk(seed, 400) for seed in range(n)],
        [windows(c, np.array([asked]), 400) for c in walks],
        params,
    )
    share = float((fits["z_score"].abs() > kstd).mean())
    found = chances([walk(seed, 400) for seed in range(n, n + 200)], [asked], params)
    both = found["p_buy"] + found["p_sell"]
    assert len(found) == 200
    # Of n walks, and of 200 windows with a mean over their surrogates each.
    error = np.hypot(np.sqrt(share * (1 - share) / n), both.std() / np.sqrt(200))
    assert 0.02 < share < 0.6
    assert abs(both.mean() - share) < 3 * error


@pytest.mark.parametrize("price_scale", ["log", "linear"])
def test_a_chance_is_the_share_of_surrogates_beyond_the_channel(price_scale):
    params = ChannelParams(price_scale=price_scale)
    series = walk(3, 720, volatility=0.02)
    paths = surrogate_paths(series.close, series.day, seed_of(series))
    drift = np.log(series.close[-1] / series.close[0]) / 719 * np.arange(720)
    fits = of_paths([*paths, *(2 * drift - paths)], series.day, params)
    (found,) = chances([series], [LAST], params).to_dict("records")
    assert len(fits) == N_SURROGATES
    assert found["p_buy"] == (fits["close"] < fits["lower_band"]).mean()
    assert found["p_sell"] == (fits["close"] > fits["upper_band"]).mean()
    assert found["p_buy"] + found["p_sell"] > 0


def seed_of(series, day=LAST, lookback=720):
    (found,) = market_hashes(series, windows(series, np.array([day]), lookback))
    return found


def test_the_mirror_image_makes_both_sides_alike_on_the_log_scale():
    falling = of_closes(np.exp(np.cumsum(np.random.default_rng(5).normal(-0.01, 0.03, 720))))
    found = chances([falling, walk(2, 720)], [LAST])
    assert (found["p_buy"] == found["p_sell"]).all()


def test_drift_changes_no_signal_on_the_log_scale():
    still = walk(4, 720)
    rising = scaled(still, np.exp(0.01 * np.arange(720)))
    seed = seed_of(still)
    spans = [windows(c, np.array([LAST]), 720) for c in (still, rising)]
    pair = [
        signal_chances([c], [w], [seed], PARAMS)
        for c, w in zip((still, rising), spans, strict=True)
    ]
    pd.testing.assert_frame_equal(*pair)


@settings(deadline=None, max_examples=15)
@given(st.sampled_from([2.0**-40, 0.5, 8.0, 2.0**20]), st.sampled_from(["log", "linear"]))
def test_the_unit_of_the_price_is_no_matter(factor, price_scale):
    params = ChannelParams(price_scale=price_scale)
    series = walk(6, 720)
    seed = [seed_of(series)]
    asked = windows(series, np.array([LAST]), 720)
    expected = signal_chances([series], [asked], seed, params)
    found = signal_chances([scaled(series, factor)], [asked], seed, params)
    pd.testing.assert_frame_equal(found, expected)


def test_surrogates_are_stretches_of_the_windows_own_returns():
    series = walk(7, 720)
    returns = np.diff(np.log(series.close))
    paths = surrogate_paths(series.close, series.day, SEED)
    assert paths.shape == (N_SURROGATES // 2, 720)
    circle = np.concatenate([returns, returns[:BLOCK_CANDLES]])
    starts = set()
    for steps in np.diff(paths, axis=1):
        # The first return only moves the level, so that the first block shows one return less.
        for at in range(BLOCK_CANDLES - 1, 700, BLOCK_CANDLES):
            block = steps[at : at + BLOCK_CANDLES]
            start = int(np.abs(circle[: len(returns)] - block[0]).argmin())
            np.testing.assert_allclose(block, circle[start : start + BLOCK_CANDLES], atol=1e-12)
            starts.add(start)
    # 32 x 35 blocks from a circle of 719 leave few places out, and not those at its ends.
    assert len(starts) > 500
    assert max(starts) > len(returns) - BLOCK_CANDLES


def test_surrogates_of_a_window_with_gaps_lie_on_its_days():
    whole = walk(8, 720)
    gaps = [50, 51, 52, 300, 600]
    series = without(whole, *gaps)
    paths = surrogate_paths(series.close, series.day, SEED)
    assert paths.shape == (N_SURROGATES // 2, 715)
    # No return across a gap is drawn, and a path spends a daily return on each missing day.
    is_daily = np.diff(series.day) == 1
    own = np.sort(np.diff(np.log(series.close))[is_daily])
    steps = np.diff(paths, axis=1)
    nearest = np.abs(own[:, None] - steps[:4, is_daily].ravel()).min(axis=0)
    assert nearest.max() < 1e-12
    spread = steps.std(axis=0)
    assert spread[49] == pytest.approx(2 * spread[is_daily].mean(), rel=0.5)  # 4 days: twice


def test_a_window_with_gaps_has_about_the_chance_of_one_without():
    walks = [walk(seed, 720) for seed in range(60)]
    rng = np.random.default_rng(1)
    holes = [without(c, *rng.choice(np.arange(1, 719), 60, replace=False)) for c in walks]
    whole, gapped = (chances(c, [LAST])["p_buy"] for c in (walks, holes))
    error = np.hypot(whole.std(), gapped.std()) / np.sqrt(60)
    assert len(gapped) == 60
    assert abs(whole.mean() - gapped.mean()) < 3 * error


def test_a_price_that_never_moves_has_no_chance_of_a_signal():
    found = chances([of_closes(np.full(720, 7.5))], [LAST])
    assert found[["p_buy", "p_sell"]].to_numpy().tolist() == [[0.0, 0.0]]


# Which windows have one


def test_windows_without_a_channel_have_no_chance():
    young, absent = walk(1, 119), without(walk(2, 720), 719)
    assert chances([young], [FIRST_DAY + 118]).empty
    assert chances([absent], [LAST]).empty
    assert len(chances([walk(1, 120)], [FIRST_DAY + 119])) == 1


def test_a_window_with_hardly_two_days_in_a_row_has_no_chance():
    every_other = part(walk(3, 720), np.arange(1, 720, 2))
    assert fit_status(every_other) == "OK"
    assert chances([every_other], [LAST]).empty


def fit_status(series):
    return fit_channels([series], [windows(series, np.array([LAST]), 720)], PARAMS)["status"][0]


def test_lengths_must_agree():
    series = walk(1, 720)
    spans = windows(series, np.array([LAST]), 720)
    for seeds, message in (([], "fewer seeds"), ([SEED, SEED], "more seeds")):
        with pytest.raises(ValueError, match=message):
            signal_chances([series], [spans], seeds, PARAMS)


# The same window gives the same numbers


def test_a_window_alone_is_that_of_a_range_and_of_a_batch():
    candles = [walk(seed, 800) for seed in range(3)] + [without(walk(9, 800), 700, 701)]
    candles = [replace(c, symbol=f"S{i}USDT") for i, c in enumerate(candles)]
    asked = np.arange(FIRST_DAY + 700, FIRST_DAY + 800, 9)
    batch = chances(candles, asked).set_index("seed")
    for series in reversed(candles):
        for day in asked:
            alone = chances([series], [day])
            copied = chances([part(series, slice(0, int(day - FIRST_DAY) + 1))], [day])
            pd.testing.assert_frame_equal(alone, copied)
            for row in alone.to_dict("records"):
                assert batch.loc[row["seed"]].tolist() == [row["p_buy"], row["p_sell"]]
    shuffled = chances(candles[::-1], asked[::-1]).set_index("seed")
    pd.testing.assert_frame_equal(shuffled.sort_index(), batch.sort_index())


def test_another_window_has_other_draws():
    series = walk(1, 721)
    found = [chances([series], [day])["seed"][0] for day in (LAST, LAST + 1)]
    paths = [surrogate_paths(series.close, series.day, seed) for seed in found]
    assert not np.allclose(*paths)


def digest_of_chances():
    """SHA-256 of the paths and counts at sizes where BLAS could start threads."""
    series = [walk(1, 720), without(walk(2, 1600), 800, 801)]
    digest = hashlib.sha256()
    for c in series:
        digest.update(np.ascontiguousarray(surrogate_paths(c.close, c.day, SEED)).tobytes())
    params = ChannelParams(degree=10, lookback=1500)
    found = chances(series, np.arange(FIRST_DAY + 400, FIRST_DAY + 1600, 100), params)
    digest.update(found.to_csv().encode())
    digest.update(pair_chances(*market_of(30), LAST, lookback=720).tobytes())
    return digest.hexdigest()


def test_the_number_of_blas_threads_changes_no_number():
    here = Path(__file__).resolve()
    script = (
        "import runpy; "
        f"print(runpy.run_path({str(here)!r}, run_name='threads')['digest_of_chances']())"
    )
    path = os.pathsep.join([str(ROOT), str(HELPERS)])
    variables = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
    digests = []
    for threads in ("1", "2"):
        env = os.environ | {"PYTHONPATH": path} | dict.fromkeys(variables, threads)
        done = subprocess.run(
            [sys.executable, "-c", script], env=env, check=True, capture_output=True, text=True
        )
        digests.append(done.stdout.strip())
    assert digests == [digest_of_chances()] * 2


def test_params_of_the_null_are_those_that_change_it():
    seen = {
        params_hash(null_params(p))
        for p in (
            PARAMS,
            ChannelParams(degree=3),
            ChannelParams(kstd=1.5),
            ChannelParams(price_scale="linear"),
        )
    }
    assert len(seen) == 4
    # The window's hash says how long it is.
    assert null_params(ChannelParams(lookback=500)) == null_params(PARAMS)


# The null of a correlation


def market_of(n, common=0.0, length=720):
    """n walks that share a part of each day's return."""
    rng = np.random.default_rng(11)
    shared = rng.normal(0, 0.04, length)
    names = [f"S{i:03}USDT" for i in range(n)]
    own = rng.normal(0, 0.04, (n, length))
    logs = np.cumsum(common * shared + (1 - common) * own, axis=1)
    return names, {
        name: replace(of_closes(np.exp(y)), symbol=name)
        for name, y in zip(names, logs, strict=True)
    }


def test_what_members_have_in_common_is_gone():
    members, candles = market_of(30, common=0.9)
    frame = pairs(members, candles, LAST, lookback=720)
    counts = pair_chances(members, candles, LAST, lookback=720)
    assert frame["is_high"].all()
    assert counts.shape == (N_PAIR_SURROGATES, 2)
    assert counts.sum() == 0


def test_crashes_that_meet_by_chance_are_counted():
    """One day of each member outweighs all its others: where two meet, they correlate."""
    members, candles = market_of(40)
    rng = np.random.default_rng(3)
    struck = {}
    for name, series in candles.items():
        close = series.close.copy()
        close[-1 - int(rng.integers(0, RETURN_DAYS)) :] *= np.exp(3.0)
        struck[name] = replace(of_closes(close), symbol=name)
    counts = pair_chances(members, struck, LAST, lookback=720)
    n_pairs = 40 * 39 / 2
    # Laid at random, 780 pairs of single crashes would meet on the same of 90 days 8.7 times; some
    # drawings hold a crash not at all, and others twice.
    assert 0.5 < counts[:, 0].mean() < n_pairs / RETURN_DAYS
    assert counts[:, 1].mean() > 0.5


def test_members_in_any_order_have_the_same_counts():
    members, candles = market_of(12)
    expected = pair_chances(members, candles, LAST, lookback=720)
    found = pair_chances(members[::-1], dict(reversed(candles.items())), LAST, lookback=720)
    np.testing.assert_array_equal(found, expected)


def test_missing_days_stay_missing():
    """A member with 59 returns has no pair, one with 60 has."""
    members, candles = market_of(2)
    for n, is_known in ((59, False), (60, True)):
        young = {**candles, members[1]: part(candles[members[1]], slice(720 - n - 1, 720))}
        counts = pair_chances(members, young, LAST, lookback=720)
        assert (counts is not None) == is_known
    assert pair_chances(members, {}, LAST, lookback=720) is None
    assert pair_chances(members[:1], candles, LAST, lookback=720) is None
    assert pair_chances([], {}, LAST, lookback=720) is None


# The day


def test_expected_counts_are_sums_with_the_error_of_the_drawing():
    rows = pd.DataFrame({"p_buy": [0.125, 0.25], "p_sell": [0.0, 0.5]})
    found = expectations(rows, np.array([[1, 0], [3, 0], [1, 0], [3, 4]]))
    chance = found.pop("chance_analysis")
    assert found == {
        "expected_buy_signals": 0.375,
        "expected_sell_signals": 0.5,
        "expected_high_correlations": 2.0,
        "expected_linked_pairs": 1.0,
    }
    assert chance["n_members"] == 2
    assert (chance["n_surrogates"], chance["block_candles"]) == (N_SURROGATES, BLOCK_CANDLES)
    assert chance["pair_block_days"] == PAIR_BLOCK_DAYS
    assert chance["expected_buy_signals_standard_error"] == pytest.approx(
        np.sqrt((0.125 * 0.875 + 0.25 * 0.75) / 64)
    )
    assert chance["expected_high_correlations_standard_error"] == pytest.approx(
        np.std([1, 3, 1, 3], ddof=1) / 2
    )


def test_drawings_that_all_agree_have_no_error():
    rows = pd.DataFrame({"p_buy": [0.0, 1.0], "p_sell": [0.0, 0.0]})
    found = expectations(rows, np.array([[0, 7], [0, 7], [0, 7], [0, 7]]))
    errors = {k: v for k, v in found["chance_analysis"].items() if k.endswith("standard_error")}
    assert len(errors) == 4
    assert set(errors.values()) == {None}
    assert found["expected_linked_pairs"] == 7.0


def test_a_day_without_members_expects_nothing():
    found = expectations(pd.DataFrame({"p_buy": [], "p_sell": []}), None)
    sizes = found.pop("chance_analysis")
    assert set(found.values()) == {None}
    assert sizes["n_members"] == 0
    assert sizes["expected_buy_signals_standard_error"] is None


def test_the_error_is_how_far_other_drawings_lie():
    series = walk(1, 720)
    spans = windows(series, np.array([LAST]), 720)
    seeds = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(200)]
    found = pd.concat([signal_chances([series], [spans], [seed], PARAMS) for seed in seeds])
    said = expectations(found.iloc[:1], None)["chance_analysis"]
    error = said["expected_buy_signals_standard_error"]
    # An upper bound: a mirrored pair strays less than two drawings of their own.
    assert 0.6 * found["p_buy"].std() < error < 2.0 * found["p_buy"].std()


def test_real_coins_leave_their_channel_less_often_than_shuffled_ones(market_data):
    asked = days("2022-01-01", "2023-12-29")[::10]
    candles = [real(market_data, f"{base}USDT") for base in ("BTC", "ETH", "BNB", "XRP", "LTC")]
    spans = [windows(c, asked, 720) for c in candles]
    fits = fit_channels(candles, spans, PARAMS)
    found = chances(candles, asked)
    assert len(found) == len(fits) == 5 * len(asked)
    observed = (fits["z_score"].abs() > PARAMS.kstd).mean()
    expected = (found["p_buy"] + found["p_sell"]).mean()
    assert 0.13 < expected < 0.16
    assert 0.02 < observed < expected


def test_pairs_are_drawn_alike_whichever_way_the_candles_came():
    members, candles = market_of(3)  # whose residuals are often linked
    archived = {s: replace(c, source=np.full(len(c), b"archive")) for s, c in candles.items()}
    found = [pair_chances(members, of, LAST, lookback=720) for of in (candles, archived)]
    assert (found[0] == found[1]).all()
