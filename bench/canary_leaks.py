"""Leaks of the future, each as a change of one function that the stages and the proof both use."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.run_windows import RunWindows
from autonama_dagster.analytics.candles.windows import Windows
from autonama_dagster.analytics.scan import tables, universe
from autonama_dagster.analytics.scan.channel import ChannelParams
from autonama_dagster.analytics.scan.indicators import levels
from autonama_dagster.services.inputs import ranking
from autonama_dagster.services.inputs.readers import WarehouseReader
from resources.warehouse.warehouse import Warehouse


def _ahead(candles: Candles, windows: Windows, days: int) -> Windows:
    """The windows, with so many later candles at their end."""
    stop = np.minimum(windows.stop + days, len(candles))
    return replace(windows, stop=np.where(windows.has_candle, stop, windows.stop))


def _all_ahead(candles: list[Candles], windows: list[Windows], days: int) -> list[Windows]:
    return [_ahead(c, w, days) for c, w in zip(candles, windows, strict=True)]


@contextmanager
def _changed(of: Any, name: str, leak: Callable[[Any], Any]) -> Iterator[None]:
    """A function of a module or class in the place of another, which it is made from."""
    with patch.object(of, name, leak(getattr(of, name))):
        yield


def centred_window(compute: Any) -> Any:
    """Indicators of windows that end two days late."""
    return lambda candles, windows: compute(candles, _all_ahead(candles, windows, 2))


def next_days_value(compute: Any) -> Any:
    """An indicator shifted by a day."""

    def leaky(candles: Any, windows: Any) -> pd.DataFrame:
        frame = compute(candles, windows)
        ahead = frame.groupby("symbol")["rsi_14"].shift(-1)
        return frame.assign(rsi_14=ahead.fillna(frame["rsi_14"]))

    return leaky


def unfinished_week(compute: Any) -> Any:
    """Indicators of weekly closes, known before the week is over."""

    def of_weeks(c: Candles) -> Candles:
        week = (c.day + 3) // 7
        close = c.close[np.searchsorted(week, week, side="right") - 1]
        return replace(c, close=close, high=np.maximum(c.high, close), low=np.minimum(c.low, close))

    return lambda candles, windows: compute([of_weeks(c) for c in candles], windows)


def full_sample_fit(fit: Any) -> Any:
    """Channels fitted to all candles there are."""

    def leaky(candles: Any, windows: Any, params: ChannelParams) -> pd.DataFrame:
        whole = [
            replace(
                w,
                start=np.where(w.has_candle, 0, w.start),
                stop=np.where(w.has_candle, len(c), w.stop),
            )
            for c, w in zip(candles, windows, strict=True)
        ]
        return fit(candles, whole, params)

    return leaky


def fitted_parameters(fit: Any) -> Any:
    """Channels as wide as would have held most of all closes there are."""

    def leaky(candles: Any, windows: Any, params: ChannelParams) -> pd.DataFrame:
        moves = [np.abs(np.diff(np.log(c.close))) for c in candles if len(c) > 1]
        spread = float(np.quantile(np.concatenate(moves), 0.99))
        return fit(candles, windows, replace(params, kstd=1 + min(2.0, 10 * spread)))

    return leaky


def tomorrows_channel(decide: Any) -> Any:
    """Signals decided by the next day's distance from the channel."""

    def leaky(bands: pd.DataFrame, *others: Any, **options: Any) -> pd.DataFrame:
        ahead = bands.groupby("symbol")["z_score"].shift(-1)
        return decide(bands.assign(z_score=ahead.fillna(bands["z_score"])), *others, **options)

    return leaky


def later_pivots(compute: Any) -> Any:
    """Support and resistance of pivots that later days confirm."""
    return lambda candles, windows, width: compute(candles, _all_ahead(candles, windows, 20), width)


def tomorrows_returns(pairs: Any) -> Any:
    """Correlations of returns up to the next day."""
    return lambda names, candles, step, **options: pairs(
        names, candles, step + 1, **options
    ).assign(date=np.datetime64(int(step), "D").astype("datetime64[s]"))


def tomorrows_signals(members: Any) -> Any:
    """A summary that counts the signals of the next day, where a run has them."""

    def leaky(signals: pd.DataFrame) -> pd.DataFrame:
        found = members(signals)
        earlier = found.assign(date=found["date"] - pd.Timedelta(days=1))
        earlier = earlier[earlier["date"].isin(found["date"])]
        rest = found[~found["date"].isin(earlier["date"])]
        return pd.concat([earlier, rest], ignore_index=True)[[*found.columns]]

    return leaky


def tomorrows_volume(figures: Any) -> Any:
    """Candidates without a trade on the next day are left out today."""

    def leaky(series: Candles, days: Any) -> Any:
        found = figures(series, days)
        at = np.searchsorted(series.day, found["day"] + 1)
        there = at < len(series)
        close = series.close[np.where(there, at, 0)]
        before = series.close[np.where(there, at - 1, 0)]
        return {**found, "has_volume": found["has_volume"] & (~there | (close >= before))}

    return leaky


def ranked_by_the_month_to_come(figures: Any) -> Any:
    """Ranks by the volume of the days that follow."""

    def leaky(series: Candles, days: Any) -> Any:
        found = figures(series, days)
        at = np.minimum(np.searchsorted(series.day, found["day"] + 1), len(series) - 1)
        return {**found, "quote_volume_median_30d": series.quote_volume[at]}

    return leaky


def todays_universe(rank: Any) -> Any:
    """The latest ranking for every earlier day."""

    def leaky(symbols: Any, candles: Any, days: Any, **options: Any) -> pd.DataFrame:
        latest = rank(symbols, candles, days[-1:], **options)
        dates = days.astype("datetime64[D]").astype("datetime64[s]")
        return pd.concat([latest.assign(date=day) for day in dates], ignore_index=True)

    return leaky


def centred_filter(read: Any) -> Any:
    """Candles read with closes that are smoothed with the next day's."""

    def smooth(c: Candles) -> Candles:
        later = np.append(c.close[1:], c.close[-1:])
        return replace(c, close=(c.close + later) / 2)

    def leaky(self: Warehouse, *scope: Any, **options: Any) -> Mapping[str, Candles]:
        found = read(self, *scope, **options)
        return {symbol: smooth(c) if len(c) else c for symbol, c in found.items()}

    return leaky


def windows_to_tomorrow(windows: Any) -> Any:
    """A reader whose windows end a day late."""

    def leaky(self: WarehouseReader, scope: Any, lookback: int) -> RunWindows:
        later = replace(scope, last=scope.last + timedelta(days=1))
        run = windows(self, later, lookback)
        within = [
            _ahead(c, w.part(slice(0, len(w) - 1)), 1)
            for c, w in zip(run.candles, run.windows, strict=True)
        ]
        return RunWindows(run.candles, within, [k[:-1] for k in run.known])

    return leaky


LEAKS: dict[str, tuple[Any, str, Callable[[Any], Any], str]] = {
    "an indicator's window that ends two days late": (
        tables, "compute", centred_window, "indicators"),
    "an indicator that takes the next day's value": (
        tables, "compute", next_days_value, "indicators"),
    "a weekly close that is used before its week is over": (
        tables, "compute", unfinished_week, "indicators"),
    "a channel fitted to the full sample": (
        tables, "fit_channels", full_sample_fit, "regression_bands"),
    "parameters fitted on the future": (
        tables, "fit_channels", fitted_parameters, "regression_bands"),
    "a signal decided by the next day's channel": (
        tables, "decide", tomorrows_channel, "signals"),
    "support and resistance that later days confirm": (
        levels, "compute", later_pivots, "asset_analytics"),
    "a correlation that holds the next day's return": (
        tables, "pairs", tomorrows_returns, "correlation_matrix"),
    "a summary that counts the next day's signals": (
        tables.summary, "members", tomorrows_signals, "analysis_summary"),
    "a universe that leaves out who falls tomorrow": (
        universe, "_figures", tomorrows_volume, "universe"),
    "a universe ranked by tomorrow's volume": (
        universe, "_figures", ranked_by_the_month_to_come, "universe"),
    "today's universe used for the past": (
        ranking, "rank", todays_universe, "universe"),
    "a centred filter where candles are read": (
        Warehouse, "candles", centred_filter, "regression_bands"),
    "a reader whose windows end a day late": (
        WarehouseReader, "windows", windows_to_tomorrow, "regression_bands"),
}  # fmt: skip
"""By name: the module or class, its function, what it becomes, and a table that must show it."""


@contextmanager
def leaking(name: str) -> Iterator[None]:
    """The code with a leak of `LEAKS`."""
    of, function, leak, _ = LEAKS[name]
    with _changed(of, function, leak):
        yield
