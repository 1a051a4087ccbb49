"""Rows of the three summary tables: `alerts`, `asset_analytics` and `analysis_summary`.

They restate what signals, indicators and channels say under the column names of the scripts this
project replaces. Nothing is computed here but counts and means. JSON columns are text with keys in
a fixed order and null for what is NaN; numbers read back as the same float64.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from autonama_dagster.analytics.scan.channel import INSUFFICIENT_DATA, NO_DATA, OK, ChannelParams
from autonama_dagster.analytics.scan.indicators.indicators import INDICATORS
from autonama_dagster.analytics.scan.signals import QUARANTINED, match_rows

TOP = 10
INTERVAL = "1d"

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

_INDICATOR_NAMES = [indicator.name for indicator in INDICATORS]
_CHANNEL = [
    *("fitted_price", "resid_std", "z_score", "slope_pct_per_day", "r_squared", "n_obs"),
    "window_start",
]
_SIGNAL = [
    *("signal", "status", "signal_strength", "confirmations", "potential_return_pct"),
    *("target_return_pct", "band_width_pct", "risk_level", "volatility_level", "z_score"),
]
_EXPECTED = [
    *("expected_buy_signals", "expected_sell_signals"),
    *("expected_high_correlations", "expected_linked_pairs"),
]
_TOP_SIGNAL = [
    *("symbol", "close", "signal_strength", "z_score", "potential_return_pct"),
    *("target_return_pct", "risk_level", "confirmations"),
]


def alerts(
    signals: pd.DataFrame, indicators: pd.DataFrame, bands: pd.DataFrame, params: ChannelParams
) -> pd.DataFrame:
    """Rows of `alerts`: one per row of `signals`, HOLD included, in its order.

    Parameters
    ----------
    signals
        What `signals.decide` returned.
    indicators
        symbol, date and the indicators; a row may be absent and counts as NaNs.
    bands
        What `channel.fit_channels` returned, with a row for each row of `signals`.
    params
        What the channel was fitted with.

    Returns
    -------
    pandas.DataFrame
        symbol, date, interval ("1d"), signal, status, current_price, upper_band, lower_band (USDT),
        potential_return (percent), signal_strength, risk_level, confirmations (lists of str),
        technical_indicators (JSON object, a key per indicator), polynomial_regression (JSON object:
        degree, kstd, price_scale, lookback_days and the fit), analysis_date (UTC, D+1 00:00: when D
        had closed).

    Raises
    ------
    SchemaError
        If `indicators` or `bands` holds a (symbol, date) twice.
    """
    return pd.DataFrame(
        {
            "symbol": signals["symbol"],
            "date": signals["date"],
            "interval": pd.Series(INTERVAL, index=signals.index, dtype="str"),
            "signal": signals["signal"],
            "status": signals["status"],
            "current_price": signals["close"],
            "upper_band": signals["upper_band"],
            "lower_band": signals["lower_band"],
            "potential_return": signals["potential_return_pct"],
            "signal_strength": signals["signal_strength"],
            "risk_level": signals["risk_level"],
            "confirmations": signals["confirmations"],
            "technical_indicators": _technical_indicators(signals, indicators),
            "polynomial_regression": _polynomial_regression(signals, bands, params),
            "analysis_date": _closing_time(signals["date"]),
        }
    )


def asset_analytics(
    signals: pd.DataFrame,
    indicators: pd.DataFrame,
    bands: pd.DataFrame,
    levels: pd.DataFrame,
    params: ChannelParams,
) -> pd.DataFrame:
    """Rows of `asset_analytics`: one per row of `signals`, in its order.

    Parameters
    ----------
    signals, indicators, bands, params
        As for `alerts`.
    levels
        symbol, date, support_level, resistance_level; a row may be absent and counts as NaNs.

    Returns
    -------
    pandas.DataFrame
        symbol, date, analysis_date (UTC, D+1 00:00), status, current_price (USDT), price_change_24h
        (return_1d_pct), volatility (volatility_30d_pct), trend, support_level, resistance_level
        (USDT), volume_ratio (volume_ratio_20), technical_indicators, polynomial_regression (as in
        `alerts`), signal_analysis (JSON object: the signal and what it is made of), data_points
        (candles in W), analysis_period_days (lookback).

    Raises
    ------
    SchemaError
        If `indicators`, `bands` or `levels` holds a (symbol, date) twice.
    """
    names = ["return_1d_pct", "volatility_30d_pct", "volume_ratio_20"]
    indicator = match_rows(signals, indicators, names)
    level = match_rows(signals, levels, ["support_level", "resistance_level"])
    n_obs = match_rows(signals, bands, ["n_obs"])["n_obs"]
    return pd.DataFrame(
        {
            "symbol": signals["symbol"],
            "date": signals["date"],
            "analysis_date": _closing_time(signals["date"]),
            "status": signals["status"],
            "current_price": signals["close"],
            "price_change_24h": indicator["return_1d_pct"],
            "volatility": indicator["volatility_30d_pct"],
            "trend": signals["trend"],
            "support_level": level["support_level"],
            "resistance_level": level["resistance_level"],
            "volume_ratio": indicator["volume_ratio_20"],
            "technical_indicators": _technical_indicators(signals, indicators),
            "polynomial_regression": _polynomial_regression(signals, bands, params),
            "signal_analysis": _json_objects({}, signals[_SIGNAL]),
            "data_points": n_obs.astype("int64"),
            "analysis_period_days": params.lookback,
        }
    )


def members(signals: pd.DataFrame) -> pd.DataFrame:
    """Rows of the members of their day's universe; a day without a stored universe has none."""
    return signals[signals["is_member"].fillna(value=False).astype(bool)]


def analysis_summary(
    signals: pd.DataFrame,
    correlation: Mapping[str, Any],
    day: int,
    chance: Mapping[str, Any],
) -> pd.DataFrame:
    """The row of `analysis_summary` for one day, over the members of its universe.

    Parameters
    ----------
    signals
        What `signals.decide` returned; rows of other days and of symbols that are not members on
        the day are left out.
    correlation
        What `correlation.summary` returned for the day.
    day
        D in days since 1970-01-01 (UTC).
    chance
        What `chance.expectations` returned for the day.

    Returns
    -------
    pandas.DataFrame
        One row: date, analysis_date (UTC, D+1 00:00), total_assets_analyzed (status OK, the sum of
        buy_signals, sell_signals and hold_signals), insufficient_data, quarantined, no_data,
        avg_potential_return (percent, over BUY and SELL, NaN without any), high_risk_assets (BUY
        and SELL with risk HIGH), expected_buy_signals, expected_sell_signals,
        expected_high_correlations and expected_linked_pairs (counts that chance would bring, NaN
        where unknown), chance_analysis and correlation_analysis (JSON objects), top_buy_signals and
        top_sell_signals (JSON arrays of 10 objects at most, by signal_strength and |z_score|, both
        descending, then symbol).
    """
    date = np.datetime64(int(day), "D").astype("datetime64[s]")
    ranked = members(signals)
    of_day = ranked[ranked["date"] == date]
    status, signal, risk = (
        of_day[name].to_numpy(object) for name in ("status", "signal", "risk_level")
    )
    is_analyzed = status == OK
    is_buy, is_sell = (is_analyzed & (signal == side) for side in ("BUY", "SELL"))
    is_call = is_buy | is_sell
    return pd.DataFrame(
        {
            "date": [date],
            "analysis_date": _closing_time(pd.Series([date])),
            "total_assets_analyzed": is_analyzed.sum(),
            "buy_signals": is_buy.sum(),
            "sell_signals": is_sell.sum(),
            "hold_signals": (is_analyzed & ~is_call).sum(),
            "insufficient_data": (status == INSUFFICIENT_DATA).sum(),
            "quarantined": (status == QUARANTINED).sum(),
            "no_data": (status == NO_DATA).sum(),
            "avg_potential_return": of_day["potential_return_pct"][is_call].mean(),
            "high_risk_assets": (is_call & (risk == "HIGH")).sum(),
            **{name: np.array([chance[name]], dtype=np.float64) for name in _EXPECTED},
            "chance_analysis": _encode(chance["chance_analysis"]),
            "correlation_analysis": _encode(correlation),
            "top_buy_signals": _strongest(of_day, is_buy),
            "top_sell_signals": _strongest(of_day, is_sell),
        }
    )


def _closing_time(date: pd.Series) -> pd.Series:
    """Midnight after each day, as aware UTC timestamps."""
    return (date + pd.Timedelta(days=1)).astype("datetime64[us]").dt.tz_localize("UTC")


def _technical_indicators(signals: pd.DataFrame, indicators: pd.DataFrame) -> pd.Series:
    return _json_objects({}, match_rows(signals, indicators, _INDICATOR_NAMES))


def _polynomial_regression(
    signals: pd.DataFrame, bands: pd.DataFrame, params: ChannelParams
) -> pd.Series:
    constants = {
        "degree": params.degree,
        "kstd": params.kstd,
        "price_scale": params.price_scale,
        "lookback_days": params.lookback,
    }
    return _json_objects(constants, match_rows(signals, bands, _CHANNEL))


def _strongest(signals: pd.DataFrame, is_wanted: NDArray[np.bool_]) -> str:
    """The strongest of the wanted rows as a JSON array of objects."""
    at = np.flatnonzero(is_wanted)
    strength, z_score = (signals[name].to_numpy()[at] for name in ("signal_strength", "z_score"))
    symbol = signals["symbol"].to_numpy(str)[at]
    at = at[np.lexsort((symbol, -np.abs(z_score), -strength))[:TOP]]
    values = (map(_null_if_nan, signals[name].array.take(at).tolist()) for name in _TOP_SIGNAL)
    objects = [dict(zip(_TOP_SIGNAL, row, strict=True)) for row in zip(*values, strict=True)]
    return _encode(objects)


def _null_if_nan(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _json_objects(constants: Mapping[str, Any], columns: pd.DataFrame) -> pd.Series:
    """A JSON object for each row: the constants, then a key per column; index of `columns`.

    Built column by column in Arrow, which is several times faster than encoding row by row.
    """
    floats = _json_floats(columns.loc[:, [dtype.kind == "f" for dtype in columns.dtypes]])
    prefix = _encode(constants)[:-1]
    parts: list[Any] = []
    for name in columns:
        separator = "" if prefix.endswith("{") else ","
        value = floats[name] if name in floats else _json_values(columns[name])
        parts += [_scalar(f"{prefix}{separator}{_encode(name)}:"), value]
        prefix = ""
    joined = pc.binary_join_element_wise(*parts, _scalar("}"), _scalar(""))
    return pd.Series(pd.array(joined, dtype="str"), index=columns.index)


def _json_floats(columns: pd.DataFrame) -> dict[str, Any]:
    """Each value of float columns as JSON text: an Arrow string array by column."""
    values = columns.to_numpy(np.float64).ravel(order="F")
    # Arrow prints the shortest text that reads back as the same float64.
    finite = pa.array(values, mask=~np.isfinite(values))
    texts = pc.fill_null(finite.cast(pa.large_string()), "null")
    count = len(columns)
    return {str(name): texts.slice(at * count, count) for at, name in enumerate(columns)}


def _json_values(column: pd.Series) -> Any:
    """Each value of a column as JSON text, an Arrow string array."""
    if column.dtype.kind == "M":
        column = column.dt.strftime("%Y-%m-%d")
    missing_as_none = column.astype(object).where(column.notna(), None)
    return pa.array([_encode(value) for value in missing_as_none], pa.large_string())


def _scalar(text: str) -> Any:
    return pa.scalar(text, pa.large_string())
