import hashlib
import os
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pandas as pd
import pytest
from candle_support import (
    FIRST_DAY,
    days,
    of_closes,
    part,
    real,
    scaled,
    walk,
    without,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from places import HELPERS, ROOT

from autonama_dagster.analytics.candles.windows import windows
from autonama_dagster.analytics.scan.channel import ChannelParams, channel_curve, fit_channels

COLUMNS = [
    *("symbol", "date", "status", "close", "fitted_price", "upper_band", "lower_band"),
    *("resid_std", "z_score", "slope_pct_per_day", "n_obs", "r_squared", "window_start"),
]
FITTED = [
    *("fitted_price", "upper_band", "lower_band", "resid_std"),
    *("z_score", "slope_pct_per_day", "r_squared"),
]
FAST = ChannelParams(lookback=150)


def table(candles, asked=None, params=FAST):
    asked = candles.day if asked is None else np.asarray(asked)
    return fit_channels([candles], [windows(candles, asked, params.lookback)], params)


def bits(frame):
    """Every bit of a frame's values."""
    floats = frame.select_dtypes("float64").to_numpy().tobytes()
    return floats + frame.select_dtypes(exclude="float64").to_csv(index=False).encode()


def awkward(seed, n=400):
    """A walk with gaps, breaks and stretches at one price."""
    rng = np.random.default_rng(seed)
    moves = rng.normal(0, 0.04, n) * (rng.random(n) < rng.choice([0.1, 1.0]))
    day = FIRST_DAY + np.cumsum(rng.choice([1, 2, 9, 40], n, p=[0.98, 0.01, 0.005, 0.005]))
    return of_closes(np.exp(rng.uniform(-9, 9) + np.cumsum(moves)), day)


awkward_candles = st.builds(awkward, st.integers(0, 2**32 - 1))


# Numbers


def oracle(day, close, params):
    """The columns of `FITTED` in 50-digit arithmetic, by normal equations."""
    with mpmath.workdps(50):
        y = [mpmath.mpf(float(c)) for c in close]
        if params.price_scale == "log":
            y = [mpmath.log(c) for c in y]
        first, span = int(day[0]), int(day[-1] - day[0])
        t = [2 * mpmath.mpf(int(d) - first) / span - 1 for d in day]
        k = params.degree + 1
        powers = [[ti**j for ti in t] for j in range(2 * k - 1)]
        moments = [mpmath.fsum(p) for p in powers]
        normal = mpmath.matrix(k, k)
        for i in range(k):
            for j in range(k):
                normal[i, j] = moments[i + j]
        right = mpmath.matrix([mpmath.fdot(p, y) for p in powers[:k]])
        coef = list(mpmath.lu_solve(normal, right))
        rows = zip(*powers[:k], strict=True)
        residuals = [yi - mpmath.fdot(coef, row) for yi, row in zip(y, rows, strict=True)]
        rss = mpmath.fdot(residuals, residuals)
        mean = mpmath.fsum(y) / len(y)
        sst = mpmath.fsum((yi - mean) ** 2 for yi in y)
        s = mpmath.sqrt(rss / (len(y) - k))
        m = mpmath.fsum(coef)
        slope = 100 * mpmath.fsum(j * c for j, c in enumerate(coef)) * 2 / span
        lines = [m, m + params.kstd * s, m - params.kstd * s]
        if params.price_scale == "log":
            lines = [mpmath.exp(line) for line in lines]
        else:
            slope /= y[-1]
        values = [*lines, s, (y[-1] - m) / s, slope, 1 - rss / sst]
        return dict(zip(FITTED, values, strict=True))


def assert_exact(row, exact, params):
    """Within 1e-9 residual standard deviations of the oracle, in the unit of each column."""
    s, close = float(exact["resid_std"]), row["close"]
    log = params.price_scale == "log"
    price = s * float(exact["upper_band"]) if log else s
    slope = 100 * s / (1.0 if log else close)
    units = dict.fromkeys(FITTED[:3], price) | {
        "resid_std": s,
        "z_score": 1.0,
        "slope_pct_per_day": slope,
        "r_squared": 1.0,
    }
    for name in FITTED:
        assert abs(float(exact[name] - row[name])) <= 1e-9 * units[name], name


@pytest.mark.parametrize("price_scale", ["log", "linear"])
@pytest.mark.parametrize(
    ("symbol", "day"),
    [
        ("BTCUSDT", "2023-12-29"),
        ("ETHUSDT", "2021-05-19"),
        ("APTUSDT", "2023-12-29"),  # young
        ("TUSDUSDT", "2022-08-01"),  # hardly any noise
        ("SHIBUSDT", "2023-06-10"),  # prices below 0.00001
        ("EURUSDT", "2023-12-29"),
    ],
)
def test_agrees_with_50_digits_at_degree_10(market_data, symbol, day, price_scale):
    candles = real(market_data, symbol)
    params = ChannelParams(degree=10, kstd=2.5, price_scale=price_scale)
    asked = days(day, day)
    window = windows(candles, asked)
    row = fit_channels([candles], [window], params).iloc[0]
    span = slice(window.start[0], window.stop[0])
    assert row["status"] == "OK"
    assert_exact(row, oracle(candles.day[span], candles.close[span], params), params)


@pytest.mark.parametrize("degree", [2, 4, 10])
@pytest.mark.parametrize("noise", [1e-2, 1e-4, 1e-6])
def test_agrees_with_50_digits_far_above_the_noise(noise, degree):
    rng = np.random.default_rng(7)
    candles = of_closes(np.exp(10 + np.linspace(0, 1, 720) + rng.normal(0, noise, 720)))
    params = ChannelParams(degree=degree)
    row = table(candles, candles.day[-1:], params).iloc[0]
    assert_exact(row, oracle(candles.day, candles.close, params), params)


@pytest.mark.parametrize("degree", [4, 10])
def test_missing_days_stay_missing(degree):
    gaps = [0, 1, 2, *range(100, 128), 300, 302, 304, 717, 718]
    candles = without(walk(5, 720), *gaps)
    params = ChannelParams(degree=degree)
    row = table(candles, candles.day[-1:], params).iloc[0]
    assert row["n_obs"] == 720 - len(gaps)
    assert_exact(row, oracle(candles.day, candles.close, params), params)


@pytest.mark.parametrize("symbol", ["BTCUSDT", "DOGEUSDT", "TUSDUSDT"])
def test_agrees_with_polyfit_of_the_log_closes(market_data, symbol):
    candles = real(market_data, symbol)
    asked = days("2023-11-01", "2023-12-29")
    params = ChannelParams()
    frame = table(candles, asked, params).set_index("date")
    for d in asked[::9]:
        row = frame.loc[pd.Timestamp(np.datetime64(int(d), "D"))]
        window = windows(candles, np.array([d]))
        log_close = np.log(candles.close[window.start[0] : window.stop[0]])
        index = np.arange(len(log_close))
        coef = np.polyfit(index, log_close, 4)
        residuals = log_close - np.polyval(coef, index)
        s = np.sqrt(residuals @ residuals / (len(log_close) - 5))
        m = np.polyval(coef, index[-1])
        near = {"rel": 0, "abs": 1e-9 * s}
        assert np.log(row["fitted_price"]) == pytest.approx(m, **near)
        assert np.log(row["upper_band"]) == pytest.approx(m + 2 * s, **near)
        assert np.log(row["lower_band"]) == pytest.approx(m - 2 * s, **near)
        assert row["resid_std"] == pytest.approx(s, **near)
        assert row["z_score"] == pytest.approx((log_close[-1] - m) / s, rel=1e-9, abs=1e-9)
        slope = 100 * np.polyval(np.polyder(coef), index[-1])
        assert row["slope_pct_per_day"] == pytest.approx(slope, rel=1e-9, abs=1e-9 * s)


def test_after_a_break_only_the_new_coin_counts(market_data):
    candles = real(market_data, "LUNAUSDT")
    restart = days("2022-05-31", "2022-05-31")[0]
    after = part(candles, candles.day >= restart)
    asked = np.arange(restart - 5, restart + 200)
    params = ChannelParams()
    frame = table(candles, asked, params)
    assert bits(frame[5:].reset_index(drop=True)) == bits(table(after, asked[5:], params))
    assert frame["status"].tolist()[:5] == ["NO_DATA"] * 5
    assert frame["n_obs"].tolist()[5:8] == [1, 2, 3]
    assert (frame["window_start"][5:] == pd.Timestamp("2022-05-31")).all()
    assert frame["status"].tolist()[5 + 118 : 5 + 121] == ["INSUFFICIENT_DATA", "OK", "OK"]


# Shape of the result


def test_columns_and_types():
    frame = table(walk(0, 160))
    assert frame.columns.tolist() == COLUMNS
    assert frame.dtypes.astype(str).tolist() == [
        *("str", "datetime64[s]", "str"),
        *["float64"] * 7,
        *("int64", "float64", "datetime64[s]"),
    ]


def test_nothing_in_gives_the_same_columns_out():
    empty = fit_channels([], [], FAST)
    assert empty.columns.tolist() == COLUMNS
    assert empty.dtypes.equals(table(walk(0, 160)).dtypes)
    assert len(empty) == 0


def test_one_row_per_symbol_and_day_in_the_order_given():
    first, second = walk(0, 200), walk(1, 200)
    asked = FIRST_DAY + np.array([180, 150, 199])
    frame = fit_channels([second, first], [windows(c, asked, 150) for c in (second, first)], FAST)
    assert frame["date"].to_numpy().astype("datetime64[D]").astype(int).tolist() == [*asked, *asked]
    assert frame["close"].tolist() == [c.close[i] for c in (second, first) for i in (180, 150, 199)]


def test_statuses_and_what_is_known_with_each():
    candles = without(walk(0, 300), 250)
    asked = FIRST_DAY + np.array([-1, 100, 118, 119, 250, 299])
    frame = table(candles, asked)
    assert frame["status"].tolist() == [
        *("NO_DATA", "INSUFFICIENT_DATA", "INSUFFICIENT_DATA", "OK", "NO_DATA", "OK")
    ]
    assert frame["n_obs"].tolist() == [0, 101, 119, 120, 149, 149]
    assert frame["close"].isna().tolist() == [True, False, False, False, True, False]
    assert frame["window_start"].isna().tolist() == [True, *[False] * 5]
    assert frame["window_start"][5] == pd.Timestamp(np.datetime64(FIRST_DAY + 150, "D"))
    is_ok = frame["status"] == "OK"
    assert frame.loc[is_ok, FITTED].notna().all(axis=None)
    assert frame.loc[~is_ok, FITTED].isna().all(axis=None)


@pytest.mark.parametrize(
    ("degree", "lookback", "least"),
    [(4, 720, 120), (2, 100, 80), (2, 146, 117), (6, 720, 147), (10, 720, 363), (4, 93, 75)],
)
def test_fewest_candles_of_a_fit(degree, lookback, least):
    params = ChannelParams(degree=degree, lookback=lookback)
    assert params.min_candles == least
    frame = table(walk(0, 400), None, params)
    assert frame["status"].tolist().index("OK") == least - 1


@pytest.mark.parametrize(
    ("given_params", "message"),
    [
        ({"degree": 1}, "degree is 1: choose 2 to 10"),
        ({"degree": 11}, "degree is 11: choose 2 to 10"),
        ({"kstd": 0.9}, "kstd is 0.9: choose 1 to 3"),
        ({"kstd": 3.5}, "kstd is 3.5: choose 1 to 3"),
        ({"kstd": float("nan")}, "kstd is nan: choose 1 to 3"),
        ({"price_scale": "sqrt"}, "price_scale is 'sqrt': choose 'log' or 'linear'"),
        ({"lookback": 74}, "lookback is 74 days: degree 4 needs 75 or more"),
    ],
)
def test_params_out_of_range(given_params, message):
    with pytest.raises(ValueError, match=message):
        ChannelParams(**given_params)


def test_symbols_and_windows_must_pair_up():
    with pytest.raises(ValueError, match="zip"):
        fit_channels([walk(0, 10)], [], FAST)


# Degenerate prices


@pytest.mark.parametrize("price_scale", ["log", "linear"])
@pytest.mark.parametrize("price", [1.0, 0.1, 3e-8, 67_525.83])
def test_constant_price(price, price_scale):
    params = ChannelParams(lookback=150, price_scale=price_scale)
    row = table(of_closes(np.full(200, price)), None, params).iloc[-1]
    assert row[["fitted_price", "upper_band", "lower_band"]].tolist() == [price] * 3
    assert row[["resid_std", "z_score", "slope_pct_per_day"]].tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(row["r_squared"])


@pytest.mark.parametrize("price_scale", ["log", "linear"])
@pytest.mark.parametrize(
    "close",
    [
        np.exp(np.linspace(0, 3, 200)),
        np.linspace(1, 2, 200),
        np.where(np.arange(200) == 150, 1e-12, 1e6),
        np.where(np.arange(200) == 199, 1e-9, 1e-8),
        np.full(200, 5e-324),
    ],
    ids=["exponential", "straight", "flash crash", "last day", "smallest double"],
)
def test_nothing_is_ever_infinite(close, price_scale):
    frame = table(of_closes(close), None, ChannelParams(lookback=150, price_scale=price_scale))
    values = frame.loc[frame["status"] == "OK", FITTED]
    assert not np.isinf(values.to_numpy()).any()
    assert values.drop(columns="r_squared").notna().all(axis=None)


# Laws


@settings(max_examples=40, deadline=None)
@given(awkward_candles)
def test_bands_are_ordered(candles):
    frame = table(candles)
    ok = frame[frame["status"] == "OK"]
    assert (ok["lower_band"] <= ok["fitted_price"]).all()
    assert (ok["fitted_price"] <= ok["upper_band"]).all()
    assert (ok["resid_std"] >= 0).all()
    assert ok["r_squared"].dropna().between(0, 1).all()


@settings(max_examples=40, deadline=None)
@given(awkward_candles, st.integers(1, 399), st.sampled_from(["log", "linear"]))
def test_later_candles_change_no_earlier_row(candles, known, price_scale):
    params = ChannelParams(degree=3, lookback=150, price_scale=price_scale)
    past = part(candles, slice(0, known))
    assert bits(table(past, None, params)) == bits(table(candles, past.day, params))


@settings(max_examples=40, deadline=None)
@given(awkward_candles, st.integers(120, 399), st.integers(2, 5))
def test_a_row_alone_is_the_row_in_a_range(candles, at, degree):
    params = ChannelParams(degree=degree, lookback=150)
    others = [walk(1, 300), candles, awkward(2)]
    crowd = fit_channels(others, [windows(c, c.day, params.lookback) for c in others], params)
    row = crowd.iloc[[300 + at]].reset_index(drop=True)
    assert bits(row) == bits(table(candles, candles.day[at : at + 1], params))
    window = windows(candles, candles.day[at : at + 1], params.lookback)
    seen = part(candles, slice(window.start[0], window.stop[0]))
    assert bits(row) == bits(table(seen, candles.day[at : at + 1], params))


@pytest.mark.parametrize(("degree", "lookback"), [(4, 720), (10, 720), (10, 1500)])
def test_every_row_alone_is_the_row_in_a_range_at_full_size(degree, lookback):
    params = ChannelParams(degree=degree, lookback=lookback)
    candles = [
        walk(0, lookback + 90),
        without(walk(1, lookback + 90), lookback - 200),
        walk(2, 500),
        of_closes(np.exp(5 + np.random.default_rng(3).normal(0, 1e-4, lookback + 90))),
    ]
    asked = [c.day[-80:] for c in candles]
    range_ = fit_channels(
        candles, [windows(c, d, lookback) for c, d in zip(candles, asked, strict=True)], params
    )
    alone = [table(c, [d], params) for c, ds in zip(candles, asked, strict=True) for d in ds]
    assert (range_["status"] == "OK").all()
    assert bits(range_) == bits(pd.concat(alone, ignore_index=True))
    backwards = [windows(c, d[::-1], lookback) for c, d in zip(candles, asked, strict=True)]
    turned = fit_channels(candles[::-1], backwards[::-1], params)
    assert bits(turned[::-1].reset_index(drop=True)) == bits(range_)


@settings(max_examples=40, deadline=None)
@given(awkward_candles, st.integers(0, 2**32 - 1), st.integers(2, 60))
def test_days_in_any_order_have_the_same_rows(candles, seed, count):
    at = np.random.default_rng(seed).permutation(np.arange(300, 360))[:count]
    in_order = table(candles).iloc[at].reset_index(drop=True)
    assert bits(table(candles, candles.day[at])) == bits(in_order)


def test_days_that_only_look_like_a_run():
    candles = walk(0, 300)
    at = [200, 250, 202]
    assert bits(table(candles, candles.day[at])) == bits(
        table(candles).iloc[at].reset_index(drop=True)
    )


def test_calm_and_moving_prices_with_gaps_side_by_side():
    calm = np.exp(np.random.default_rng(3).normal(5, 1e-4, 300))
    candles = [without(walk(0, 300), 250), without(of_closes(calm), 270)]
    asked = [windows(c, FIRST_DAY + np.arange(280, 300), 150) for c in candles]
    alone = [table(c, [day]) for c in candles for day in FIRST_DAY + np.arange(280, 300)]
    frame = fit_channels(candles, asked, FAST)
    assert frame["resid_std"][20:].max() < 1e-3 < frame["resid_std"][:20].min()
    assert bits(frame) == bits(pd.concat(alone, ignore_index=True))


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(1e-6, 1e6),
    st.sampled_from(["log", "linear"]),
)
def test_scaling_prices_scales_the_channel_only(seed, factor, price_scale):
    params = ChannelParams(lookback=150, price_scale=price_scale)
    candles = walk(seed, 300)
    before, after = table(candles, None, params), table(scaled(candles, factor), None, params)
    for name in ("fitted_price", "upper_band", "lower_band"):
        np.testing.assert_allclose(after[name], before[name] * factor, rtol=1e-10)
    unit = 1.0 if price_scale == "log" else factor
    np.testing.assert_allclose(after["resid_std"], before["resid_std"] * unit, rtol=1e-9)
    np.testing.assert_allclose(after["z_score"], before["z_score"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        after["slope_pct_per_day"], before["slope_pct_per_day"], rtol=1e-9, atol=1e-9
    )


def test_wider_kstd_moves_the_bands_only():
    candles = walk(0, 200)
    narrow, wide = (table(candles, None, ChannelParams(lookback=150, kstd=k)) for k in (1.0, 3.0))
    same = [name for name in COLUMNS if name not in ("upper_band", "lower_band")]
    assert bits(narrow[same]) == bits(wide[same])
    ratio = np.log(wide["upper_band"] / wide["fitted_price"]) / np.log(
        narrow["upper_band"] / narrow["fitted_price"]
    )
    np.testing.assert_allclose(ratio.dropna(), 3.0, rtol=1e-9)


# Threads


def digest_of_a_market():
    """SHA-256 of channels of every kind of window, at sizes where BLAS would start threads."""
    parts = []
    for degree, lookback in ((4, 720), (10, 720), (10, 1500)):
        params = ChannelParams(degree=degree, lookback=lookback)
        candles = [
            *(walk(i, lookback + 300) for i in range(3)),
            without(walk(3, lookback + 300), 700, 710),
            of_closes(np.exp(np.random.default_rng(4).normal(0, 1e-4, 800))),
        ]
        asked = np.arange(FIRST_DAY + 100, FIRST_DAY + lookback + 300, 3)
        parts.append(
            bits(fit_channels(candles, [windows(c, asked, lookback) for c in candles], params))
        )
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_the_number_of_blas_threads_changes_no_bit():
    here = Path(__file__).resolve()
    script = (
        "import runpy; "
        f"print(runpy.run_path({str(here)!r}, run_name='threads')['digest_of_a_market']())"
    )
    digests = []
    for threads in ("1", "2"):
        path = os.pathsep.join([str(ROOT), str(HELPERS)])
        variables = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
        env = os.environ | {"PYTHONPATH": path} | dict.fromkeys(variables, threads)
        done = subprocess.run(
            [sys.executable, "-c", script], env=env, check=True, capture_output=True, text=True
        )
        digests.append(done.stdout.strip())
    assert len(digests[0]) == 64
    assert digests == [digest_of_a_market()] * 2


# The curve of one day


@pytest.mark.parametrize("price_scale", ["log", "linear"])
def test_curve_ends_in_the_row_of_its_day(price_scale):
    params = ChannelParams(lookback=150, price_scale=price_scale)
    candles = without(walk(0, 300), 290)
    for at in (119, 200, 298):  # a young symbol, a full window, a gap
        window = windows(candles, candles.day[at : at + 1], 150)
        row = fit_channels([candles], [window], params).iloc[0]
        curve = channel_curve(candles, window, params)
        assert curve.columns.tolist() == ["date", "fitted", "upper", "lower"]
        assert len(curve) == row["n_obs"]
        assert curve["date"].iloc[0] == row["window_start"]
        last = curve.iloc[-1]
        assert last["date"] == row["date"]
        assert last[["fitted", "upper", "lower"]].tolist() == [
            *(row["fitted_price"], row["upper_band"], row["lower_band"])
        ]


def test_curve_is_the_least_squares_polynomial():
    candles = walk(0, 150)
    curve = channel_curve(candles, windows(candles, candles.day[-1:], 150), FAST)
    index = np.arange(150)
    expected = np.polyval(np.polyfit(index, np.log(candles.close), 4), index)
    np.testing.assert_allclose(np.log(curve["fitted"]), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("day", [FIRST_DAY + 50, FIRST_DAY + 305, FIRST_DAY + 500])
def test_no_channel_no_curve(day):
    candles = walk(0, 300)
    curve = channel_curve(candles, windows(candles, np.array([day]), 150), FAST)
    assert curve.columns.tolist() == ["date", "fitted", "upper", "lower"]
    assert len(curve) == 0


def test_curve_of_several_days_is_refused():
    candles = walk(0, 300)
    with pytest.raises(ValueError, match="the window of BTCUSDT has 2 days: pass one day"):
        channel_curve(candles, windows(candles, candles.day[-2:], 150), FAST)
