"""Least-squares polynomials over many overlapping windows of a series.

A fit is a function of its window alone, bit for bit: the same alone, in a range, beside other
series and with any number of BLAS threads. `_fit_block` says how.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import prod
from typing import TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Days = NDArray[np.int64]
_T = TypeVar("_T", np.float64, np.int64)

# Where the residuals hold less than this share of the sum of squares, that sum minus the explained
# part would keep fewer than ten digits, and the residuals are summed themselves.
_CANCELLATION = 1e-5

# So many windows are copied out of their series at a time, which keeps them in the L2 cache.
_GATHERED = 32

_LINE = 8  # doubles on a cache line


@dataclass(frozen=True, slots=True, eq=False)
class _Basis:
    """Orthonormal polynomials on the days of one window, or of b windows of equal n_obs.

    `vectors[j, i]` is the polynomial of degree j on the n days of window i, `slopes[j, i]` its
    derivative per day at the last of them; shapes (k, b, n) and (k, b). Axis b has length 1 where
    all windows of a run share the basis.
    """

    vectors: Floats
    slopes: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _BlockFit:
    """Fits of b windows: y - y(D) is `offset` + the sum of `coefficients[j]` x polynomial j.

    Shapes: coefficients (k, b); offset, rss (sum of squared residuals) and explained (SST - RSS)
    (b,).
    """

    coefficients: Floats
    offset: Floats
    rss: Floats
    explained: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Fits:
    """One fit per row, with m the polynomial on the last day of the window; shapes (rows,).

    Attributes
    ----------
    gap
        m less the last y. Bands are taken from it and not from m, so that those of a constant price
        lie at the price itself, not a rounding error beside it.
    slope
        dm/dx, per day.
    resid_std
        Residual standard deviation, ddof = degree + 1.
    r_squared
        1 - RSS / SST; NaN where SST is 0.
    """

    gap: Floats
    slope: Floats
    resid_std: Floats
    r_squared: Floats

    @property
    def z_score(self) -> Floats:
        """Last y less m, in residual standard deviations; 0 where there is no residual."""
        return _z_scores(self.gap, self.resid_std)


def _z_scores(gap: Floats, resid_std: Floats) -> Floats:
    return np.divide(-gap, resid_std, out=np.zeros_like(gap), where=resid_std > 0)


def fit_windows(y: Floats, day: Days, start: Days, stop: Days, degree: int) -> Fits:
    """Fit a polynomial of `degree` to each of the windows y[start:stop] over day[start:stop].

    Parameters
    ----------
    y
        The series, several one after another if need be; length n.
    day
        Its days, strictly increasing within each window; length n.
    start, stop
        Half-open ranges of positions, of shape (rows,), each longer than degree + 1.

    Returns
    -------
    Fits
        Of shape (rows,).
    """
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
    return Fits(
        gap=gap,
        slope=slope,
        resid_std=np.sqrt(rss / (n_obs - degree - 1)),
        r_squared=np.divide(explained, total, out=np.full_like(total, np.nan), where=total > 0),
    )


def last_z_scores(y: Floats, day: Days, degree: int) -> Floats:
    """`Fits.z_score` of b series over the days of one window, each as if it were alone there.

    Parameters
    ----------
    y
        Shape (b, n).
    day
        Strictly increasing, length n, longer than degree + 1.

    Returns
    -------
    numpy.ndarray
        Shape (b,).
    """
    basis = _basis_on(day, degree)
    fit = _fit_block(y, basis)
    gap = fit.offset + _weighted(fit.coefficients, basis.vectors[:, :, -1])
    return _z_scores(gap, np.sqrt(fit.rss / (len(day) - degree - 1)))


def fit_curve(y: Floats, day: Days, degree: int) -> tuple[Floats, float]:
    """Fit one window, length n, and draw it through its days.

    Returns
    -------
    curve
        The polynomial on each day less the last y, length n; its last value is `Fits.gap`.
    resid_std
        As in `Fits`.
    """
    basis = _basis_on(day, degree)
    fit = _fit_block(y[None], basis)
    curve = fit.offset + _weighted(fit.coefficients, basis.vectors[:, 0])
    return curve, float(np.sqrt(fit.rss[0] / (len(day) - degree - 1)))


def _basis_on(day: Days, degree: int) -> _Basis:
    """The basis of one window, from its days, length n; its axis b has length 1."""
    n = len(day)
    gapped = day[-1] - day[0] >= n
    return _basis(day[None], degree) if gapped else _gapless_basis(n, degree)


def _fit_block(y: Floats, basis: _Basis) -> _BlockFit:
    """Fit b windows of n candles each, y of shape (b, n).

    Bit for bit a function of each window. A matrix product is not: BLAS chooses its kernel, and so
    the order of summation, by shape, place and number of threads. So every sum over days is a
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


def _project(y: Floats, vectors: Floats) -> Floats:
    """Coefficients of shape (k, b) of windows (b, n) on vectors (k, b or 1, n)."""
    coefficients = np.empty((len(vectors), len(y)))
    for coefficient, vector in zip(coefficients, vectors, strict=True):
        np.vecdot(vector, y, out=coefficient)
    return coefficients


def _blocks(start: Days, n_obs: Days, gapped: NDArray[np.bool_]) -> Iterator[NDArray[np.intp]]:
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


def _slices(series: NDArray[_T], start: Days, n: int) -> NDArray[_T]:
    """Shape (b, n): series[start : start + n] of each start; a view where they are one run."""
    first, b = int(start[0]), len(start)
    if b == 1 or (start[1:] - start[:-1] == 1).all():
        item = series.itemsize
        return np.ndarray((b, n), series.dtype, series, first * item, (item, item))
    return sliding_window_view(series, n)[start]


@lru_cache(maxsize=1024)  # one length for old symbols, up to a lookback of them for young ones
def _gapless_basis(n: int, degree: int) -> _Basis:
    basis = _basis(np.arange(n)[None], degree)
    basis.vectors.flags.writeable = basis.slopes.flags.writeable = False
    return basis


def _basis(days: Days, degree: int) -> _Basis:
    """Orthonormal polynomials 0 .. degree on the days of b windows, `days` of shape (b, n).

    On days scaled to t in [-1, 1], polynomial j is t x polynomial j - 1 made orthogonal to those
    before it and normal; derivatives at t = 1 go through the same steps. This is the factor Q of a
    QR decomposition without its ill-conditioned powers of t: Brubeck, Nakatsukasa and Trefethen,
    "Vandermonde with Arnoldi" (SIAM Review 63, 2021).
    """
    b, n = days.shape
    span = (days[:, -1:] - days[:, :1]).astype(np.float64)
    t = 2.0 * (days - days[:, :1]) / span - 1.0
    vectors = _aligned((degree + 1, b, n))
    slopes = np.zeros((degree + 1, b))
    vectors[0] = 1.0 / np.sqrt(n)
    for j in range(1, degree + 1):
        vector = t * vectors[j - 1]
        slope = vectors[j - 1, :, -1] + slopes[j - 1]  # (t q)' = q + t q', at t = 1
        for i in range(j):
            share = np.vecdot(vectors[i], vector)
            vector -= share[:, None] * vectors[i]
            slope -= share * slopes[i]
        norm = np.sqrt(np.vecdot(vector, vector))
        vectors[j] = vector / norm[:, None]
        slopes[j] = slope / norm
    return _Basis(vectors, slopes * (2.0 / span[:, 0]))


def _aligned(shape: tuple[int, int, int]) -> Floats:
    """Uninitialised array whose rows begin on a cache line: `ddot` runs a fifth faster on those."""
    *outer, n = shape
    stride = -(-n // _LINE) * _LINE
    memory = np.empty(prod(outer) * stride + _LINE)
    first = -memory.ctypes.data % (_LINE * memory.itemsize) // memory.itemsize
    return memory[first : first + prod(outer) * stride].reshape(*outer, stride)[..., :n]


def _weighted(coefficients: Floats, weights: Floats) -> Floats:
    """Sum of coefficients[j] x weights[j], in the order of j.

    A loop and not a reduction: numpy adds pairwise when the other axis has length 1, and a row
    alone would differ from the same row in a range.
    """
    total: Floats = coefficients[0] * weights[0]
    for coefficient, weight in zip(coefficients[1:], weights[1:], strict=True):
        total = total + coefficient * weight
    return total
