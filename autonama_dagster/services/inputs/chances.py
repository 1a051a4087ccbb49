"""What chance would bring on each day, the signals from the cache where they are known."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.analytics.candles.hashing import params_hash, window_hashes
from autonama_dagster.analytics.candles.run_windows import answered_candles
from autonama_dagster.analytics.candles.windows import day_number
from autonama_dagster.analytics.scan.chance import (
    N_SURROGATES,
    expectations,
    null_params,
    pair_chances,
    signal_chances,
)
from autonama_dagster.analytics.scan.channel import OK
from autonama_dagster.analytics.scan.correlation import RETURN_DAYS, window_days
from autonama_dagster.services.inputs.parameters import channel_params
from autonama_dagster.services.inputs.windows import read_windows
from autonama_dagster.settings import Settings
from resources.warehouse.candle_queries import fetched_ranges
from resources.warehouse.chance_cache import keep_chances, known_chances
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse


def expected_counts(
    warehouse: Warehouse, settings: Settings, members: pd.DataFrame, days: Iterable[pd.Timestamp]
) -> dict[pd.Timestamp, dict[str, Any]]:
    """What `chance.expectations` says of each day.

    Parameters
    ----------
    members
        Rows of `signals` of the days' members: symbol, date, status.
    days
        The days, with or without members.
    """
    chances = _signal_chances(warehouse, settings, members)
    pair_counts = _pair_counts(warehouse, settings, members)
    return {
        day: expectations(chances[chances["date"] == day], pair_counts.get(day)) for day in days
    }


def _signal_chances(
    warehouse: Warehouse, settings: Settings, members: pd.DataFrame
) -> pd.DataFrame:
    """symbol, date, p_buy and p_sell of the members with status OK, where there is one."""
    ok = members.loc[members["status"] == OK, ["symbol", "date"]]
    if ok.empty:
        return ok.assign(p_buy=np.nan, p_sell=np.nan)
    scope = Scope(tuple(ok["symbol"].unique()), ok["date"].min().date(), ok["date"].max().date())
    bands = warehouse.read("regression_bands", scope, ("symbol", "date", "input_hash"))
    asked = ok.merge(bands.rename(columns={"input_hash": "window_hash"}), on=["symbol", "date"])
    null = null_params(channel_params(settings))
    made_with = params_hash(null)
    known = known_chances(warehouse, asked["window_hash"].tolist(), made_with)
    missing = asked[~asked["window_hash"].isin(known["window_hash"])]
    if len(missing):
        made = _computed(warehouse, settings, missing)
        keep_chances(warehouse, made, made_with, N_SURROGATES)
        known = pd.concat([known, made], ignore_index=True)
    return asked.merge(known, on="window_hash")


def _computed(warehouse: Warehouse, settings: Settings, missing: pd.DataFrame) -> pd.DataFrame:
    """Chances of the windows of the given symbols and days, as the candles are now."""
    scope = Scope(
        tuple(missing["symbol"].unique()),
        missing["date"].min().date(),
        missing["date"].max().date(),
    )
    run = read_windows(warehouse, scope, settings.lookback)
    days = {
        str(symbol): rows["date"].to_numpy("datetime64[D]").astype(np.int64)
        for symbol, rows in missing.groupby("symbol")
    }
    wanted = [
        spans.part(np.isin(spans.day, days[series.symbol]))
        for series, spans in zip(run.candles, run.windows, strict=True)
    ]
    hashes = [h for pair in zip(run.candles, wanted, strict=True) for h in window_hashes(*pair)]
    return signal_chances(run.candles, wanted, hashes, channel_params(settings))


def _pair_counts(
    warehouse: Warehouse, settings: Settings, members: pd.DataFrame
) -> dict[pd.Timestamp, NDArray[np.int64] | None]:
    """What `chance.pair_chances` says of each day, on the candles `correlation_matrix` uses."""
    if members.empty:
        return {}
    symbols = members["symbol"].unique().tolist()
    first, last = members["date"].min().date(), members["date"].max().date()
    candles = warehouse.candles(symbols, first - timedelta(days=RETURN_DAYS), last)
    answered = fetched_ranges(warehouse, "1d", list(candles))
    reach = window_days(settings.lookback)
    counts = {}
    for day, of_day in members.groupby("date")["symbol"]:
        number = day_number(pd.Timestamp(str(day)))
        known = answered_candles(candles, answered, number, reach)
        counts[pd.Timestamp(str(day))] = pair_chances(
            of_day.tolist(), known, number, lookback=settings.lookback
        )
    return counts
