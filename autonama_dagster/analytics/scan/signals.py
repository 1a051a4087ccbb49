"""Signals: what a day's close says against the day's channel, and what confirms it.

Column arithmetic only: a row depends on nothing but its own inputs.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.scan.channel import NO_DATA, OK
from autonama_dagster.errors import SchemaError

QUARANTINED = "QUARANTINED"
OVERSOLD_RSI = 30.0
OVERBOUGHT_RSI = 70.0
HIGH_VOLUME_RATIO = 1.5

# LOW is below the first bound, HIGH above the second; both bounds themselves are MEDIUM.
RISK_BOUNDS_PCT = (10.0, 20.0)
VOLATILITY_BOUNDS_PCT = (60.0, 120.0)

DEPTH_POINTS = 60.0
CONFIRMATION_POINTS = 20.0
MAX_CONFIRMATIONS = 2

# Confirmations in the order in which a row lists them, each with the signal it agrees with.
CONFIRMATIONS = {
    "RSI_OVERSOLD": ("BUY",),
    "RSI_OVERBOUGHT": ("SELL",),
    "MACD_POSITIVE": ("BUY",),
    "MACD_NEGATIVE": ("SELL",),
    "HIGH_VOLUME": ("BUY", "SELL"),
    "TREND_BULLISH": ("BUY",),
    "TREND_BEARISH": ("SELL",),
}

_KEY = ["symbol", "date"]
_INDICATORS = ["rsi_14", "macd_hist", "volume_ratio_20", "ema_21", "ema_50", "volatility_30d_pct"]

_OF_CHANNEL = ("fitted_price", "upper_band", "lower_band", "z_score")

_SIDES = ("BUY", "SELL")

_Floats = NDArray[np.float64]
_Flags = NDArray[np.bool_]


def decide(
    bands: pd.DataFrame,
    indicators: pd.DataFrame,
    universe: pd.DataFrame,
    quality: pd.DataFrame,
    *,
    kstd: float,
) -> pd.DataFrame:
    """Decide every (symbol, day): BUY below the channel, SELL above, HOLD within or on its edge.

    With U, L the upper and lower band, both of D, and every condition on NaN false:

    - signal: BUY where close < L, SELL where close > U, else HOLD
    - potential_return_pct: BUY 100 (U-L)/L, SELL 100 (U-L)/U, HOLD 0
    - band_width_pct: 100 (U-L)/L
    - target_return_pct: BUY 100 (U-close)/close, SELL 100 (close-L)/close, HOLD NaN
    - risk_level, for BUY and SELL, from potential_return_pct: LOW < 10, MEDIUM 10 to 20, HIGH > 20
    - volatility_level from volatility_30d_pct: LOW < 60, MEDIUM 60 to 120, HIGH > 120
    - trend: BULLISH where ema_21 > ema_50 and close > ema_50, BEARISH where both are below, else
      NEUTRAL; NaN before ema_50
    - confirmations, in this order: RSI_OVERSOLD (rsi_14 < 30), RSI_OVERBOUGHT (> 70),
      MACD_POSITIVE (macd_hist > 0), MACD_NEGATIVE (< 0), HIGH_VOLUME (volume_ratio_20 >= 1.5),
      TREND_BULLISH, TREND_BEARISH. They describe the day, HOLD days included
    - signal_strength, 0 to 100: 60 x min(1, (|z_score| - kstd) / kstd) + 20 x min(2, agreeing
      confirmations); HOLD 0. `CONFIRMATIONS` says what agrees with what. Not a probability

    Parameters
    ----------
    bands
        One row per (symbol, date): symbol, date, status, close, fitted_price, upper_band,
        lower_band, z_score. With open_time, as of other bars than days: one row per bar.
    indicators
        symbol, date, rsi_14, macd_hist, volume_ratio_20, ema_21, ema_50, volatility_30d_pct; a row
        may be absent and counts as NaNs.
    universe
        date, symbol, rank, is_member.
    quality
        symbol, date, window_severity; a row may be absent.
    kstd
        Half width of the channel in residual standard deviations, the one of `bands`.

    Returns
    -------
    pandas.DataFrame
        One row per row of `bands`, in its order: symbol, date (and open_time), signal, status,
        quality (window_severity), close, fitted_price, upper_band, lower_band, z_score,
        potential_return_pct, band_width_pct, target_return_pct, risk_level, volatility_level,
        trend, confirmations (lists of str), signal_strength, is_member (boolean; NA where
        `universe` has no row for the date, False where it has some but none for the symbol),
        universe_rank (Int64).

    Notes
    -----
    A status other than OK means HOLD with strength 0, NaN returns and risk, no confirmations.
    Where window_severity is ERROR, the status is QUARANTINED, unless there is no candle (NO_DATA),
    and the channel's columns are NaN too: they were made from numbers that cannot be trusted.
    A lower band at or below zero, which only the linear scale knows, is no price: nothing can close
    below it, and band_width_pct and target_return_pct are NaN. Likewise a SELL's
    potential_return_pct where the upper band is at or below zero.

    Raises
    ------
    SchemaError
        If `indicators`, `universe` or `quality` holds a (symbol, date) twice.
    """
    bands = _quarantined(bands.reset_index(drop=True), quality)
    is_ok = (bands["status"] == OK).to_numpy()
    beside = match_rows(bands, indicators, _INDICATORS)
    column = {name: beside[name].to_numpy(dtype=np.float64) for name in _INDICATORS}
    close, upper, lower = (
        bands[name].to_numpy(dtype=np.float64) for name in ("close", "upper_band", "lower_band")
    )
    is_buy, is_sell = is_ok & (close < lower), is_ok & (close > upper)
    potential, width, target = _returns(is_ok, is_buy, is_sell, close, upper, lower)
    trend = _trend(close, column["ema_21"], column["ema_50"])
    flags = _confirmations(column, trend) & is_ok[:, None]
    z_score = bands["z_score"].to_numpy(dtype=np.float64)
    decided: dict[str, Any] = {
        **{name: bands[name] for name in _key_of(bands)},
        "signal": _text([is_buy, is_sell], ["BUY", "SELL"], default="HOLD"),
        "status": bands["status"],
        "quality": bands["quality"],
        "close": close,
        "fitted_price": bands["fitted_price"],
        "upper_band": upper,
        "lower_band": lower,
        "z_score": z_score,
        "potential_return_pct": potential,
        "band_width_pct": width,
        "target_return_pct": target,
        "risk_level": _level(np.where(is_buy | is_sell, potential, np.nan), RISK_BOUNDS_PCT),
        "volatility_level": _level(column["volatility_30d_pct"], VOLATILITY_BOUNDS_PCT),
        "trend": trend,
        "confirmations": _names(flags),
        "signal_strength": _strength(is_buy, is_sell, z_score, flags, kstd),
    }
    return pd.DataFrame(decided | _membership(bands, universe))


def _quarantined(bands: pd.DataFrame, quality: pd.DataFrame) -> pd.DataFrame:
    """The bands with the quality of each window, and without the numbers of those at fault."""
    found = match_rows(bands, quality, ["window_severity"])["window_severity"].astype("str")
    is_bad = (found == "ERROR") & (bands["status"] != NO_DATA)
    return bands.assign(
        quality=found,
        status=bands["status"].mask(is_bad, QUARANTINED),
        **{name: bands[name].mask(is_bad) for name in _OF_CHANNEL},
    )


def match_rows(left: pd.DataFrame, right: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Columns of `right` in the rows of `left`.

    Parameters
    ----------
    left, right
        Frames with symbol, date and, of bars other than days, open_time: together unique in
        `right`. Where only one of both has open_time, rows are matched by day.
    columns
        Columns of `right` to take.

    Returns
    -------
    pandas.DataFrame
        The columns, with the index of `left`; missing values where `right` has no such row.

    Raises
    ------
    SchemaError
        If `right` holds a key twice.
    """
    names = [name for name in _key_of(left) if name in right.columns]
    position = {key: at for at, key in enumerate(_keys(right, names))}
    if len(position) < len(right):
        symbol, date = right.loc[right.duplicated(names), _KEY].iloc[0]
        raise SchemaError(
            f"{symbol} on {date:%Y-%m-%d} appears twice in the rows to match: pass one row per day"
        )
    # A dict and no MultiIndex, which takes 20 times as long on the 100 rows of a day.
    taken = [position.get(key, -1) for key in _keys(left, names)]
    return right[columns].reset_index(drop=True).reindex(taken).set_axis(left.index)


def _key_of(frame: pd.DataFrame) -> list[str]:
    """Columns that say whose row of which bar it is."""
    return [*_KEY, "open_time"] if "open_time" in frame.columns else _KEY


def _keys(frame: pd.DataFrame, names: Sequence[str]) -> Iterator[tuple[str | int, ...]]:
    """Symbol and times, in seconds since 1970, of each row."""
    times = (
        frame[name].to_numpy("datetime64[s]").astype(np.int64).tolist()
        for name in names
        if name != "symbol"
    )
    return zip(frame["symbol"].tolist(), *times, strict=True)


def _returns(
    is_ok: _Flags, is_buy: _Flags, is_sell: _Flags, close: _Floats, upper: _Floats, lower: _Floats
) -> tuple[_Floats, _Floats, _Floats]:
    """potential_return_pct, band_width_pct and target_return_pct."""
    has_lower = is_ok & (lower > 0)
    width = _percent(upper - lower, lower, has_lower)
    of_upper = _percent(upper - lower, upper, is_sell & (upper > 0))
    hold = np.where(is_ok, 0.0, np.nan)
    potential = np.select([is_buy, is_sell], [width, of_upper], default=hold)
    distance = np.where(is_buy, upper - close, close - lower)
    target = _percent(distance, close, has_lower & (is_buy | is_sell))
    return potential, width, target


def _percent(part: _Floats, whole: _Floats, where: _Flags) -> _Floats:
    """100 part / whole, NaN outside `where`."""
    out = np.full(len(part), np.nan)
    np.divide(part * 100, whole, out=out, where=where)
    return out


def _level(values: _Floats, bounds: tuple[float, float]) -> pd.Series:
    """LOW below the bounds, MEDIUM from one to the other, HIGH above, missing where NaN."""
    low, high = bounds
    conditions = [values < low, values > high, ~np.isnan(values)]
    return _text(conditions, ["LOW", "HIGH", "MEDIUM"])


def _trend(close: _Floats, ema_21: _Floats, ema_50: _Floats) -> pd.Series:
    bullish = (ema_21 > ema_50) & (close > ema_50)
    bearish = (ema_21 < ema_50) & (close < ema_50)
    return _text([bullish, bearish, ~np.isnan(ema_50)], ["BULLISH", "BEARISH", "NEUTRAL"])


def _text(
    conditions: Sequence[_Flags], choices: Sequence[str], default: str | None = None
) -> pd.Series:
    """The choice of the first condition that holds, as strings."""
    position = np.select(conditions, [*range(len(choices))], default=len(choices))
    words = pd.array([*choices, default], dtype="str")
    return pd.Series(words.take(position))


def _confirmations(column: dict[str, _Floats], trend: pd.Series) -> _Flags:
    """Which confirmations hold: shape (rows, confirmations), columns as in `CONFIRMATIONS`."""
    holds = {
        "RSI_OVERSOLD": column["rsi_14"] < OVERSOLD_RSI,
        "RSI_OVERBOUGHT": column["rsi_14"] > OVERBOUGHT_RSI,
        "MACD_POSITIVE": column["macd_hist"] > 0,
        "MACD_NEGATIVE": column["macd_hist"] < 0,
        "HIGH_VOLUME": column["volume_ratio_20"] >= HIGH_VOLUME_RATIO,
        "TREND_BULLISH": (trend == "BULLISH").to_numpy(),
        "TREND_BEARISH": (trend == "BEARISH").to_numpy(),
    }
    return np.column_stack([holds[name] for name in CONFIRMATIONS])


def _names(flags: _Flags) -> pd.Series:
    """A list of its own for each row."""
    names = tuple(CONFIRMATIONS)
    codes = flags @ (1 << np.arange(len(names)))
    lists = [
        [name for bit, name in enumerate(names) if code >> bit & 1]
        for code in range(1 << len(names))
    ]
    return pd.Series([[*lists[code]] for code in codes.tolist()], dtype=object)


def _strength(
    is_buy: _Flags, is_sell: _Flags, z_score: _Floats, flags: _Flags, kstd: float
) -> _Floats:
    depth = np.clip((np.abs(z_score) - kstd) / kstd, 0.0, 1.0)
    agreeing = np.select(
        [is_buy, is_sell],
        [flags[:, [s in agrees for agrees in CONFIRMATIONS.values()]].sum(axis=1) for s in _SIDES],
    )
    points = DEPTH_POINTS * depth + CONFIRMATION_POINTS * np.minimum(agreeing, MAX_CONFIRMATIONS)
    return np.where(is_buy | is_sell, points, 0.0)


def _membership(bands: pd.DataFrame, universe: pd.DataFrame) -> dict[str, pd.Series]:
    """is_member and universe_rank in the rows of `bands`."""
    kinds = {"is_member": "boolean", "rank": "Int64"}
    found = match_rows(bands, universe[[*_KEY, *kinds]].astype(kinds), [*kinds])
    is_known_day = bands["date"].isin(universe["date"])
    is_member = found["is_member"].fillna(value=False).mask(~is_known_day)
    return {"is_member": is_member, "universe_rank": found["rank"]}
