"""The polynomial regression channel: one least-squares fit per (symbol, day), many at once.

A row is a function of its window alone, bit for bit: the same alone, in a range, beside other
symbols and with any number of BLAS threads. `_fit_block` says how.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike, NDArray

from autonama_dagster.analytics.candles import Candles
from autonama_dagster.analytics.windows import LOOKBACK_DAYS, Windows

OK = "OK"
INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
NO_DATA = "NO_DATA"

_DEGREES = (2, 10)
_KSTDS = (1.0, 3.0)

# Where the residuals hold less than this share of the sum of squares, that sum minus the explained
# part would keep fewer than ten digits, and the residuals are summed themselves.
_CANCELLATION = 1e-5

# So many windows are copied out of their series at a time, which keeps them in the L2 cache.
_GATHERED = 32

_Floats = NDArray[np.float64]
_Days = NDArray[np.int64]
_T = TypeVar("_T", np.float64, np.int64)


@dataclass(frozen=True, slots=True)
class ChannelParams:
    """What a channel is made of.

    Attributes
    ----------
    degree
        Degree of the polynomial, 2 to 10.
    kstd
        Half the width of the channel in residual standard deviations, 1 to 3.
    price_scale
        "log" fits the natural log of the closes, "linear" the closes themselves; a linear lower
        band can be zero or negative.
    lookback
        Length of the window in calendar days, at least `min_candles`.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    degree: int = 4
    kstd: float = 2.0
    price_scale: Literal["log", "linear"] = "log"
    lookback: int = LOOKBACK_DAYS

    def __post_init__(self) -> None:
        if not _DEGREES[0] <= self.degree <= _DEGREES[1]:
            raise ValueError(f"degree is {self.degree}: choose 2 to 10")
        if not _KSTDS[0] <= self.kstd <= _KSTDS[1]:
            raise ValueError(f"kstd is {self.kstd}: choose 1 to 3")
        if self.price_scale not in ("log", "linear"):
            raise ValueError(f"price_scale is {self.price_scale!r}: choose 'log' or 'linear'")
        if self.lookback < self.min_candles:
            raise ValueError(
                f"lookback is {self.lookback} days: degree {self.degree} needs "
                f"{self.min_candles} or more"
            )

    @property
    def min_candles(self) -> int:
        """Fewest candles of W that are fitted: max(min(120, 0.8 lookback), 3 (degree + 1)^2)."""
        most_of_lookback = -(-4 * self.lookback // 5)  # 0.8 x lookback rounded up, in integers
        return max(min(120, most_of_lookback), 3 * (self.degree + 1) ** 2)


def fit_channels(
    candles: Sequence[Candles], windows: Sequence[Windows], params: ChannelParams
) -> pd.DataFrame:
    """Each day's own channel, for every asked day of every symbol.

    With y the log closes of W (the closes on the linear scale), x the calendar day, m the
    least-squares polynomial at D and s = sqrt(sum of squared residuals / (n_obs - degree - 1)):

        fitted_price = exp(m); upper_band, lower_band = exp(m +/- kstd s); resid_std = s;
        z_score = (y at D - m) / s; slope_pct_per_day = 100 dm/dx; r_squared = 1 - RSS / SST.

    On the linear scale prices stand without exp, and the slope is divided by the close of D.

    Parameters
    ----------
    candles
        One per symbol.
    windows
        Of the same symbols in the same order, made with `params.lookback`.
    params
        Degree, width and scale.

    Returns
    -------
    pandas.DataFrame
        One row per (symbol, day) in the order given: symbol, date, status, close, fitted_price,
        upper_band, lower_band, resid_std (log units, or the price's), z_score, slope_pct_per_day,
        n_obs, r_squared, window_start (the day of W's first candle).

    Notes
    -----
    `status` is NO_DATA without a candle on D, INSUFFICIENT_DATA with fewer than
    `params.min_candles` in W, else OK. Floats are NaN unless OK, except close, which is NaN with
    NO_DATA only; window_start is NaT where W is empty. Nothing is infinite: a constant price has
    resid_std 0, all three lines at the close, z_score 0 and, having no SST, r_squared NaN.

    Raises
    ------
    ValueError
        If `candles` and `windows` differ in length.
    """
    offsets = np.cumsum([0, *(len(c) for c in candles)])[:-1]
    start = _joined((w.start + at for w, at in zip(windows, offsets, strict=True)), np.int64)
    stop = _joined((w.stop + at for w, at in zip(windows, offsets, strict=True)), np.int64)
    has_candle = _joined((w.has_candle for w in windows), np.bool_)
    day = _joined((c.day for c in candles), np.int64)
    close = _joined((c.close for c in candles), np.float64)

    n_obs = stop - start
    ok = has_candle & (n_obs >= params.min_candles)
    statuses = pd.array([OK, INSUFFICIENT_DATA, NO_DATA], dtype="str")
    symbols = pd.array([c.symbol for c in candles], dtype="str")
    window_start = np.full(len(start), np.datetime64("NaT"), dtype="datetime64[s]")
    window_start[n_obs > 0] = _dates(day[start[n_obs > 0]])
    close_at_d = close[stop[ok] - 1]
    fits = _fit(_scaled(close, params), day, start[ok], stop[ok], params.degree)
    width = params.kstd * fits.resid_std
    slope = fits.slope if params.price_scale == "log" else fits.slope / close_at_d
    return pd.DataFrame(
        {
            "symbol": symbols.take(np.repeat(np.arange(len(candles)), [len(w) for w in windows])),
            "date": _dates(_joined((w.day for w in windows), np.int64)),
            "status": statuses.take(np.where(ok, 0, np.where(has_candle, 1, 2))),
            "close": _spread(close[stop[has_candle] - 1], has_candle),
            "fitted_price": _spread(_priced(close_at_d, fits.gap, params), ok),
            "upper_band": _spread(_priced(close_at_d, fits.gap + width, params), ok),
            "lower_band": _spread(_priced(close_at_d, fits.gap - width, params), ok),
            "resid_std": _spread(fits.resid_std, ok),
            "z_score": _spread(fits.z_score, ok),
            "slope_pct_per_day": _spread(100.0 * slope, ok),
            "n_obs": n_obs,
            "r_squared": _spread(fits.r_squared, ok),
            "window_start": window_start,
        },
        copy=False,
    )


def channel_curve(candles: Candles, window: Windows, params: ChannelParams) -> pd.DataFrame:
    """One day's channel drawn through its own window, for charts.

    It repaints: tomorrow's fit draws another curve through the same days. What was known on a past
    day is that day's own row of `fit_channels`; the last point here is D's, bit for bit.

    Parameters
    ----------
    candles
        The symbol's candles.
    window
        The window of the one day.
    params
        As for `fit_channels`.

    Returns
    -------
    pandas.DataFrame
        date, fitted, upper, lower for each candle of W; no rows unless the day's status is OK.

    Raises
    ------
    ValueError
        If `window` is not of one day.
    """
    if len(window) != 1:
        raise ValueError(f"the window of {candles.symbol} has {len(window)} days: pass one day")
    part = slice(int(window.start[0]), int(window.stop[0]))
    day, close = candles.day[part], candles.close[part]
    gap = width = np.empty(0)
    if window.has_candle[0] and len(day) >= params.min_candles:
        gapped = day[-1] - day[0] >= len(day)
        basis = (_basis(day[None], params.degree) if gapped
                 else _gapless_basis(len(day), params.degree))
        fit = _fit_block(_scaled(close, params)[None], basis)
        gap = fit.offset + _weighted(fit.coefficients, basis.vectors[:, 0])
        width = params.kstd * np.sqrt(fit.rss / (len(day) - params.degree - 1))
    last = close[-1:]
    return pd.DataFrame(
        {
            "date": _dates(day[: len(gap)]),
            "fitted": _priced(last, gap, params),
            "upper": _priced(last, gap + width, params),
            "lower": _priced(last, gap - width, params),
        }
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Basis:
    """Orthonormal polynomials on the days of one window, or of b windows of equal n_obs.

    `vectors[j, i]` is the polynomial of degree j on the n days of window i, `slopes[j, i]` its
    derivative per day at the last of them; shapes (k, b, n) and (k, b). Axis b has length 1 where
    all windows of a run share the basis.
    """

    vectors: _Floats
    slopes: _Floats


@dataclass(frozen=True, slots=True, eq=False)
class _BlockFit:
    """Fits of b windows: y - y(D) is `offset` + the sum of `coefficients[j]` x polynomial j.

    Shapes: coefficients (k, b); offset, rss (sum of squared residuals) and explained (SST - RSS)
    (b,).
    """

    coefficients: _Floats
    offset: _Floats
    rss: _Floats
    explained: _Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Fits:
    """What the rows need of their fits, each of shape (rows,).

    `gap` is m - y(D); everything is taken from it and not from m, so a constant price has its bands
    at the close itself, not a rounding error beside it.
    """

    gap: _Floats
    slope: _Floats
    resid_std: _Floats
    r_squared: _Floats

    @property
    def z_score(self) -> _Floats:
        scattered = self.resid_std > 0
        return np.divide(-self.gap, self.resid_std, out=np.zeros_like(self.gap), where=scattered)


def _fit(y: _Floats, day: _Days, start: _Days, stop: _Days, degree: int) -> _Fits:
    """Fit the windows y[start:stop], whose x is day[start:stop]; all hold enough candles."""
    n_obs = stop - start
    gapped = day[stop - 1] - day[start] >= n_obs
    gap, slope, rss, explained = np.empty((4, len(start)))
    for rows in _blocks(start, n_obs, gapped):
        first, n = start[rows], int(n_obs[rows[0]])
        if gapped[rows[0]]:
            basis = _basis(_slices(day, first, n), degree)
        else:
            basis = _gapless_basis(n, degree)
        fit = _fit_block(_slices(y, first, n), basis)
        gap[rows] = fit.offset + _weighted(fit.coefficients, basis.vectors[:, :, -1])
        slope[rows] = _weighted(fit.coefficients, basis.slopes)
        rss[rows], explained[rows] = fit.rss, fit.explained
    total = explained + rss
    return _Fits(
        gap=gap,
        slope=slope,
        resid_std=np.sqrt(rss / (n_obs - degree - 1)),
        r_squared=np.divide(explained, total, out=np.full_like(total, np.nan), where=total > 0),
    )


def _fit_block(y: _Floats, basis: _Basis) -> _BlockFit:
    """Fit b windows of n candles each, y of shape (b, n).

    Bit for bit a function of each window. A matrix product is not: BLAS chooses its kernel, and with
    it the order of summation, by shape, place and number of threads. So every sum over days is a
    `vecdot`, one BLAS `ddot` per window and polynomial, which knows nothing of its neighbours, has
    no small-shape kernels and starts no threads below 10,000 days; nor does it need a copy of
    overlapping windows, a run of which stays in the L1 cache. All else is elementwise.

    RSS is the sum of squares less the explained part. Where that would cancel (a price with hardly
    any noise), the window is centred on its last value and its residuals are summed. Which of the
    two it is depends on the window alone.
    """
    coefficients = _project(y, basis.vectors)
    total = np.vecdot(y, y)
    explained = _weighted(coefficients[1:], coefficients[1:])
    rss = total - coefficients[0] * coefficients[0] - explained
    offset = -y[:, -1]
    noiseless = np.flatnonzero(rss <= _CANCELLATION * total)
    if noiseless.size:
        residual = y[noiseless] - y[noiseless, -1:]
        shared = basis.vectors.shape[1] == 1
        vectors = basis.vectors if shared else basis.vectors[:, noiseless]
        centred = _project(residual, vectors)
        for coefficient, vector in zip(centred, vectors, strict=True):
            residual -= coefficient[:, None] * vector
        coefficients[:, noiseless] = centred
        offset[noiseless] = 0.0
        rss[noiseless] = np.vecdot(residual, residual)
        explained[noiseless] = _weighted(centred[1:], centred[1:])
    return _BlockFit(coefficients, offset, rss, explained)


def _project(y: _Floats, vectors: _Floats) -> _Floats:
    coefficients = np.empty((len(vectors), len(y)))
    for coefficient, vector in zip(coefficients, vectors, strict=True):
        np.vecdot(vector, y, out=coefficient)
    return coefficients


def _blocks(start: _Days, n_obs: _Days, gapped: NDArray[np.bool_]) -> Iterator[NDArray[np.intp]]:
    """Split the rows into blocks that share n_obs, and so the basis where there is no gap.

    A long run of windows that each begin one candle later is a block of its own, since it needs no
    copy; what is left of each n_obs (young symbols, single days) is gathered. Only speed depends
    on how rows are split.
    """
    order = np.lexsort((n_obs, gapped))
    start, n_obs, gapped = start[order], n_obs[order], gapped[order]
    alike = (n_obs[1:] == n_obs[:-1]) & (gapped[1:] == gapped[:-1])
    follows = alike & (np.diff(start) == 1) & ~gapped[1:]
    run = np.cumsum(np.concatenate([[0], ~follows]))[: len(start)]
    in_long_run = (np.bincount(run) >= _GATHERED)[run]
    parted = ~alike | (~follows & (in_long_run[1:] | in_long_run[:-1]))
    edges = [0, *(np.flatnonzero(parted) + 1).tolist(), len(start)]
    for first, last in pairwise(edges):
        size = last - first if first < last and in_long_run[first] else _GATHERED
        for at in range(first, last, size):
            yield order[at : min(at + size, last)]


def _slices(series: NDArray[_T], start: _Days, n: int) -> NDArray[_T]:
    """Shape (b, n): series[start : start + n] of each start, as a view where they are one run."""
    if np.all(np.diff(start) == 1):
        return sliding_window_view(series[start[0] : start[-1] + n], n)
    return sliding_window_view(series, n)[start]


@lru_cache(maxsize=1024)  # one length for old symbols, up to a lookback of them for young ones
def _gapless_basis(n: int, degree: int) -> _Basis:
    basis = _basis(np.arange(n)[None], degree)
    basis.vectors.flags.writeable = basis.slopes.flags.writeable = False
    return basis


def _basis(days: _Days, degree: int) -> _Basis:
    """Orthonormal polynomials 0 .. degree on the days of b windows, `days` of shape (b, n).

    On days scaled to t in [-1, 1], polynomial j is t x polynomial j - 1 made orthogonal to those
    before it, twice, as once leaves rounding errors behind. Derivatives at t = 1 go through the
    same steps. The factor Q of a QR decomposition, in the stable form of Brubeck, Nakatsukasa and
    Trefethen, "Vandermonde with Arnoldi" (SIAM Review 63, 2021).
    """
    b, n = days.shape
    span = (days[:, -1:] - days[:, :1]).astype(np.float64)
    t = 2.0 * (days - days[:, :1]) / span - 1.0
    vectors = np.empty((degree + 1, b, n))
    slopes = np.zeros((degree + 1, b))
    vectors[0] = 1.0 / np.sqrt(n)
    for j in range(1, degree + 1):
        vector = t * vectors[j - 1]
        slope = vectors[j - 1, :, -1] + slopes[j - 1]  # (t q)' = q + t q', at t = 1
        for i in [*range(j), *range(j)]:
            share = np.vecdot(vectors[i], vector)
            vector -= share[:, None] * vectors[i]
            slope -= share * slopes[i]
        norm = np.sqrt(np.vecdot(vector, vector))
        vectors[j] = vector / norm[:, None]
        slopes[j] = slope / norm
    return _Basis(vectors, slopes * (2.0 / span[:, 0]))


def _weighted(coefficients: _Floats, weights: _Floats) -> _Floats:
    """Sum of coefficients[j] x weights[j], in the order of j.

    A loop and not a reduction: numpy adds pairwise when the other axis has length 1, and a row
    alone would differ from the same row in a range.
    """
    total = coefficients[0] * weights[0]
    for coefficient, weight in zip(coefficients[1:], weights[1:], strict=True):
        total = total + coefficient * weight
    return total


def _scaled(close: _Floats, params: ChannelParams) -> _Floats:
    return np.log(close) if params.price_scale == "log" else close


def _priced(close: _Floats, gap: _Floats, params: ChannelParams) -> _Floats:
    """Price that lies `gap`, in units of the scale, above the close."""
    return close * np.exp(gap) if params.price_scale == "log" else close + gap


def _dates(days: _Days) -> NDArray[np.datetime64]:
    return days.astype("datetime64[D]").astype("datetime64[s]")


def _joined(parts: Iterable[NDArray[Any]], dtype: DTypeLike) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *parts])


def _spread(values: _Floats, where: NDArray[np.bool_]) -> _Floats:
    """Put the values on the rows where they are known, NaN on the others."""
    column = np.full(len(where), np.nan)
    column[where] = values
    return column
