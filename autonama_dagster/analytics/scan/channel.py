"""The polynomial regression channel: one least-squares fit per (symbol, day), many at once.

The fits are made in `polynomial`; what stands here is what a channel is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike, NDArray

from autonama_dagster.analytics.candles import rows
from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.windows import LOOKBACK_DAYS, Windows
from autonama_dagster.analytics.scan.polynomial import Floats, fit_curve, fit_windows

OK = "OK"
INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
NO_DATA = "NO_DATA"

_DEGREES = (2, 10)
_KSTDS = (1.0, 3.0)


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
        One row per (symbol, day) in the order given: symbol, date (and open_time of other bars, see
        `rows.times`), status, close, fitted_price, upper_band, lower_band, resid_std (log units, or
        the price's), z_score, slope_pct_per_day, n_obs, r_squared, window_start (the day of W's
        first candle).

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
    interval = rows.interval_of(candles)
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
    window_start[n_obs > 0] = rows.dates(interval, day[start[n_obs > 0]])
    close_at_d = close[stop[ok] - 1]
    fits = fit_windows(_scaled(close, params), day, start[ok], stop[ok], params.degree)
    width = params.kstd * fits.resid_std
    slope = fits.slope if params.price_scale == "log" else fits.slope / close_at_d
    return pd.DataFrame(
        {
            "symbol": symbols.take(np.repeat(np.arange(len(candles)), [len(w) for w in windows])),
            **rows.times(interval, _joined((w.day for w in windows), np.int64)),
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
    gap, resid_std = np.empty(0), 0.0
    if window.has_candle[0] and len(day) >= params.min_candles:
        gap, resid_std = fit_curve(_scaled(close, params), day, params.degree)
    width = params.kstd * resid_std
    last = close[-1:]
    return pd.DataFrame(
        {
            **rows.times(candles.interval, day[: len(gap)]),
            "fitted": _priced(last, gap, params),
            "upper": _priced(last, gap + width, params),
            "lower": _priced(last, gap - width, params),
        }
    )


def _scaled(close: Floats, params: ChannelParams) -> Floats:
    return np.log(close) if params.price_scale == "log" else close


def _priced(close: Floats, gap: Floats, params: ChannelParams) -> Floats:
    """Price that lies `gap`, in units of the scale, above the close."""
    return close * np.exp(gap) if params.price_scale == "log" else close + gap


def _joined(parts: Iterable[NDArray[Any]], dtype: DTypeLike) -> NDArray[Any]:
    return np.concatenate([np.empty(0, dtype), *parts])


def _spread(values: Floats, where: NDArray[np.bool_]) -> Floats:
    """Put the values on the rows where they are known, NaN on the others."""
    column = np.full(len(where), np.nan)
    column[where] = values
    return column
