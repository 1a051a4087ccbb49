"""Rows of the three summary tables: `alerts`, `asset_analytics` and `analysis_summary`.

They restate what signals, indicators and channels say under the column names of the scripts this
project replaces. Nothing is computed here but counts and means. JSON columns are text with keys in
a fixed order and null for what is NaN; numbers read back as the same float64.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from autonama_dagster.analytics.channel import INSUFFICIENT_DATA, NO_DATA, OK, ChannelParams
from autonama_dagster.analytics.indicators import INDICATORS
from autonama_dagster.analytics.signals import QUARANTINED, match_rows

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
    analyzed = of_day[of_day["status"] == OK]
    buys, sells = (analyzed[analyzed["signal"] == side] for side in ("BUY", "SELL"))
    calls = analyzed[analyzed["signal"] != "HOLD"]
    row = pd.DataFrame({"date": np.array([date])})
    return row.assign(
        analysis_date=_closing_time(row["date"]),
        total_assets_analyzed=len(analyzed),
        buy_signals=len(buys),
        sell_signals=len(sells),
        hold_signals=len(analyzed) - len(calls),
        insufficient_data=int((of_day["status"] == INSUFFICIENT_DATA).sum()),
        quarantined=int((of_day["status"] == QUARANTINED).sum()),
        no_data=int((of_day["status"] == NO_DATA).sum()),
        avg_potential_return=float(calls["potential_return_pct"].mean()),
        high_risk_assets=int((calls["risk_level"] == "HIGH").sum()),
        **{name: np.array([chance[name]], dtype=np.float64) for name in _EXPECTED},
        chance_analysis=_encode(chance["chance_analysis"]),
        correlation_analysis=_encode(correlation),
        top_buy_signals=_strongest(buys),
        top_sell_signals=_strongest(sells),
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


def _strongest(signals: pd.DataFrame) -> str:
    if signals.empty:
        return "[]"
    ranked = signals.assign(depth=signals["z_score"].abs()).sort_values(
        ["signal_strength", "depth", "symbol"], ascending=[False, False, True]
    )
    objects = _json_objects({}, ranked.head(TOP)[_TOP_SIGNAL])
    return f"[{','.join(objects)}]"


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
