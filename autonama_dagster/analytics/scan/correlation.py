"""Correlations between the members of a day, over their daily log returns of 90 days.

Always on returns, never on price levels. Sums run over each symbol's own days in a fixed order and
without BLAS, so neither the machine's threads nor the other pairs change a bit of a number.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.hashing import combine, window_hashes
from autonama_dagster.analytics.candles.rows import interval_of, times
from autonama_dagster.analytics.candles.windows import is_jump, windows

RETURN_DAYS = 90
MIN_COMMON_DAYS = 60
HIGH_PEARSON = 0.7
LINKED_RESIDUAL_PEARSON = 0.5
TOP = 10

# A series is constant but for rounding where its deviations hold no more of its squares than this.
_CONSTANT = 1e-24

_MEASURES = ("pearson", "spearman", "residual_pearson")

_Floats = NDArray[np.float64]


def pairs(
    members: Sequence[str], candles: Mapping[str, Candles], day: int, *, lookback: int
) -> pd.DataFrame:
    """Correlations of every pair of members on one day D.

    A return belongs to a day t of D-89 .. D when t and t-1 both have a candle in W(symbol, D); it
    is ln(close of t / close of t-1). A pair is correlated over the days on which both have one.

    Parameters
    ----------
    members
        Symbols of the members of D, in any order.
    candles
        Candles by symbol; those before D-90 and after D change nothing. A member may be absent.
    day
        D in days since 1970-01-01 (UTC).
    lookback
        Length of W in calendar days.

    Returns
    -------
    pandas.DataFrame
        One row per pair, sorted by symbol_a, symbol_b, symbol_a < symbol_b:

        - date (datetime64[s]), symbol_a, symbol_b (str)
        - pearson: of the returns
        - spearman: Pearson correlation of their ranks among the common days, ties averaged
        - residual_pearson: Pearson correlation of the residuals of each symbol's least-squares
          regression, with intercept, over all its returns, on the mean return of the members that
          have one that day
        - n_obs (int64): common days
        - is_high: |pearson| >= 0.7; is_linked: |residual_pearson| >= 0.5 (bool, False on NaN)
        - input_hash (str): over both symbols' row hashes of D-90 .. D inside W, then over those of
          all members, from whose mean return the residuals follow.

    Notes
    -----
    All three are NaN under 60 common days, and where a series does not vary. Of few members
    residuals correlate negatively by construction: about -1/(n-1), exactly -1 for two.
    """
    names = sorted(set(members))
    returns, digests = daily_returns(names, candles, day, lookback=lookback)
    first, second = np.triu_indices(len(names), k=1)
    columns = correlate(returns)
    symbols = pd.array(names, dtype="str")
    frame = pd.DataFrame(
        {
            **times(interval_of(candles.values()), np.full(len(first), int(day))),
            "symbol_a": symbols.take(first),
            "symbol_b": symbols.take(second),
            **{name: matrix[first, second] for name, matrix in columns.items()},
        }
    )
    market = combine(*digests)
    hashes = [combine(digests[a], digests[b], market) for a, b in zip(first, second, strict=True)]
    return frame.assign(
        is_high=frame["pearson"].abs() >= HIGH_PEARSON,
        is_linked=frame["residual_pearson"].abs() >= LINKED_RESIDUAL_PEARSON,
        input_hash=pd.Series(hashes, dtype="str"),
    )


def order_by_clustering(matrix: NDArray[np.float64]) -> NDArray[np.intp]:
    """Order of a correlation matrix that puts alike symbols side by side, for a heatmap.

    Average linkage over the distance sqrt((1 - rho) / 2) with optimal leaf order; deterministic.

    Parameters
    ----------
    matrix
        Symmetric, shape (n, n); NaN counts as no correlation, the diagonal is not read.

    Returns
    -------
    numpy.ndarray
        A permutation of 0 .. n-1: `matrix[order][:, order]` is the heatmap.
    """
    if len(matrix) < 3:  # noqa: PLR2004  # nothing to cluster
        return np.arange(len(matrix))
    # Here alone: it takes 0.3 s to load.
    from scipy.cluster.hierarchy import leaves_list, linkage  # noqa: PLC0415
    from scipy.spatial.distance import squareform  # noqa: PLC0415

    distance = np.sqrt((1 - np.clip(np.nan_to_num(matrix), -1, 1)) / 2)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), method="average", optimal_ordering=True)
    return np.asarray(leaves_list(tree), dtype=np.intp)


def summary(pairs: pd.DataFrame) -> dict[str, Any]:
    """The day's correlations in short, ready for JSON.

    Parameters
    ----------
    pairs
        What `pairs` returned for one day.

    Returns
    -------
    dict
        n_pairs, n_high, n_linked (int); mean_pearson, median_pearson (float, None where no pair has
        one); top_correlated (10 of symbol_a, symbol_b, pearson by |pearson|) and top_linked (the
        same by |residual_pearson|), both descending, ties by symbols.
    """
    known = pairs["pearson"].dropna()
    return {
        "n_pairs": len(pairs),
        "n_high": int(pairs["is_high"].sum()),
        "n_linked": int(pairs["is_linked"].sum()),
        "mean_pearson": float(known.mean()) if len(known) else None,
        "median_pearson": float(known.median()) if len(known) else None,
        "top_correlated": _top(pairs, "pearson"),
        "top_linked": _top(pairs, "residual_pearson"),
    }


def _top(pairs: pd.DataFrame, by: str) -> list[dict[str, Any]]:
    sizes = np.abs(pairs[by].to_numpy())
    known = np.flatnonzero(~np.isnan(sizes))
    if len(known) > TOP:
        # Only those that can be among the first are sorted, with all that tie with the last.
        known = known[sizes[known] >= np.partition(sizes[known], -TOP)[-TOP]]
    names = ["symbol_a", "symbol_b", by]
    rows = zip(*(pairs[name].array.take(known).tolist() for name in names), strict=True)
    ranked = sorted(rows, key=lambda row: (-abs(row[2]), row[0], row[1]))
    return [dict(zip(names, row, strict=True)) for row in ranked[:TOP]]


def window_days(lookback: int) -> int:
    """Days to D whose candles the returns of D are made from, at most the `lookback`."""
    return min(lookback, RETURN_DAYS + 1)


def daily_returns(
    members: Sequence[str], candles: Mapping[str, Candles], day: int, *, lookback: int
) -> tuple[_Floats, list[str]]:
    """Log returns of the members in the order of their names, and each member's digest.

    Parameters
    ----------
    members, candles, day, lookback
        As for `pairs`.

    Returns
    -------
    returns
        Shape (members, 90), the last column that of D; NaN where there is none.
    digests
        SHA-256 (hex) of a member's name and of its window of 91 days.
    """
    names = sorted(set(members))
    reach = window_days(lookback)
    returns = np.full((len(names), RETURN_DAYS), np.nan)
    digests = []
    for row, name in enumerate(names):
        used = ""
        if name in candles:
            series = candles[name]
            window = windows(series, np.array([day]), reach)
            later = np.arange(window.start[0] + 1, window.stop[0])
            later = later[series.day[later] - series.day[later - 1] == 1]
            later = later[~is_jump(series.open, series.close)[later - 1]]  # around a foreign candle
            ratios = series.close[later] / series.close[later - 1]
            column = series.day[later] - (day - RETURN_DAYS + 1)
            # math.log, one by one: a vectorised logarithm may round by the place in the array.
            returns[row, column] = [math.log(ratio) for ratio in ratios.tolist()]
            (used,) = window_hashes(series, window)
        digests.append(combine(name, used))
    return returns, digests


def correlate(returns: _Floats, measures: Sequence[str] = _MEASURES) -> dict[str, NDArray[Any]]:
    """Correlations between all symbols, as symmetric matrices.

    Parameters
    ----------
    returns
        Shape (n, days), NaN where there is none.
    measures
        Of pearson, spearman and residual_pearson, those wanted.

    Returns
    -------
    dict
        The measures, each of shape (n, n), NaN as in `pairs`; and n_obs (int64), the common days.

    Notes
    -----
    Symbols with a return on the same days form a group: all pairs of two groups have the same
    common days and are computed at once. On most days there is one large group.
    """
    size = len(returns)
    residuals = _residuals(returns)
    out = {name: np.full((size, size), np.nan) for name in measures}
    n_obs = np.zeros((size, size), dtype=np.int64)
    groups: dict[bytes, list[int]] = {}
    for row, known in enumerate(~np.isnan(returns)):
        groups.setdefault(known.tobytes(), []).append(row)
    alike = [np.array(rows) for rows in groups.values()]
    for a, b in combinations_with_replacement(alike, 2):
        common = np.flatnonzero(~np.isnan(returns[a[0]] + returns[b[0]]))
        block, mirrored = np.ix_(a, b), np.ix_(b, a)
        n_obs[block] = n_obs[mirrored] = len(common)
        if len(common) < MIN_COMMON_DAYS:
            continue
        for name in measures:
            values = residuals if name == "residual_pearson" else returns
            of_a, of_b = values[np.ix_(a, common)], values[np.ix_(b, common)]
            if name == "spearman":
                of_a, of_b = _ranks(of_a), _ranks(of_b)
            value = _cross(of_a, of_b)
            out[name][block], out[name][mirrored] = value, value.T
    return {**out, "n_obs": n_obs}


def _ranks(values: _Floats) -> _Floats:
    """Rank of each value in its row, ties sharing their mean rank."""
    # scipy.stats ranks the same, but its import costs more than a second.
    return pd.DataFrame(values).rank(axis=1).to_numpy()


def _residuals(returns: _Floats) -> _Floats:
    """Residuals of each row's regression on the mean return, in the shape of `returns`."""
    known = ~np.isnan(returns)
    filled = np.where(known, returns, 0.0)
    mean = filled.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    x = _centred(np.where(known, mean, 0.0), known)
    y = _centred(filled, known)
    x_squares = (x * x).sum(axis=1, keepdims=True)
    products = (x * y).sum(axis=1, keepdims=True)
    slope = np.divide(products, x_squares, out=np.zeros_like(products), where=x_squares > 0)
    residuals = y - slope * x
    is_noise = _is_constant(residuals, filled)
    return np.where(known, np.where(is_noise, 0.0, residuals), np.nan)


def _centred(values: _Floats, known: NDArray[np.bool_]) -> _Floats:
    """Rows less the mean of their known values, 0 elsewhere, as `values` must be."""
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    return np.where(known, values - values.sum(axis=1, keepdims=True) / count, 0.0)


def _is_constant(deviation: _Floats, values: _Floats) -> NDArray[np.bool_]:
    """Rows whose deviation is rounding only, shape (rows, 1)."""
    squares = (deviation**2).sum(axis=1, keepdims=True)
    is_constant: NDArray[np.bool_] = squares <= _CONSTANT * (values**2).sum(axis=1, keepdims=True)
    return is_constant


def _cross(a: _Floats, b: _Floats) -> _Floats:
    """Pearson correlation of each row of `a` with each of `b`, NaN where one is constant."""
    # einsum without `optimize` adds in a fixed order; a matrix product would ask BLAS.
    products: _Floats = np.einsum("it,jt->ij", _unit(a), _unit(b))
    return np.clip(products, -1.0, 1.0)


def _unit(values: _Floats) -> _Floats:
    """Rows less their mean, divided by their length; NaN where constant."""
    deviation = values - values.mean(axis=1, keepdims=True)
    length = np.sqrt((deviation**2).sum(axis=1, keepdims=True))
    out = np.full(values.shape, np.nan)
    np.divide(deviation, length, out=out, where=~_is_constant(deviation, values))
    return out
