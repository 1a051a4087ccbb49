"""The chance of a signal of members and days, from the cache where it is known."""

import numpy as np
import pandas as pd

from autonama_dagster.analytics.candles.hashing import (
    Versions,
    market_hashes,
    params_hash,
    window_hashes,
)
from autonama_dagster.analytics.scan.chance import N_SURROGATES, null_params, signal_chances
from autonama_dagster.analytics.scan.channel import ChannelParams
from autonama_dagster.analytics.scan.recipe import DayScope, Reader
from autonama_dagster.services.inputs.versions import code_version
from resources.warehouse.chance_cache import keep_chances, known_chances
from resources.warehouse.warehouse import Warehouse

_OF_MEMBER = ["symbol", "date"]
_NONE = pd.DataFrame({"window_hash": pd.Series(dtype="str"), "p_buy": [], "p_sell": []})


def computed_chances(reader: Reader, members: pd.DataFrame, params: ChannelParams) -> pd.DataFrame:
    """symbol, date, window_hash, p_buy and p_sell, as the candles are now."""
    if members.empty:
        return members[_OF_MEMBER].join(_NONE)
    run = reader.windows(_scope(members), params.lookback)
    days = {
        str(symbol): rows["date"].to_numpy("datetime64[D]").astype(np.int64)
        for symbol, rows in members.groupby("symbol")
    }
    wanted = [
        spans.part(np.isin(spans.day, days[series.symbol]))
        for series, spans in zip(run.candles, run.windows, strict=True)
    ]
    pairs = [*zip(run.candles, wanted, strict=True)]
    seeds = [seed for pair in pairs for seed in market_hashes(*pair)]
    of_day = np.concatenate([spans.day for spans in wanted])
    windows = pd.DataFrame(
        {
            "symbol": np.repeat([c.symbol for c in run.candles], [len(w) for w in wanted]),
            "date": of_day.astype("datetime64[D]").astype("datetime64[s]"),
            "window_hash": [h for pair in pairs for h in window_hashes(*pair)],
            "seed": seeds,
        }
    ).astype({"symbol": "str", "window_hash": "str", "seed": "str"})
    made = signal_chances(run.candles, wanted, seeds, params)
    found = members[_OF_MEMBER].merge(windows, on=_OF_MEMBER).merge(made, on="seed")
    return found.drop(columns="seed")


def cached_chances(
    warehouse: Warehouse, reader: Reader, members: pd.DataFrame, params: ChannelParams
) -> pd.DataFrame:
    """symbol, date, p_buy and p_sell of the stored windows; those computed here are kept."""
    if members.empty:
        return members[_OF_MEMBER].join(_NONE)
    bands = reader.hashes("regression_bands", _scope(members))
    windows = bands.rename(columns={"input_hash": "window_hash"})
    asked = members[_OF_MEMBER].merge(windows, on=_OF_MEMBER)
    made_with = Versions(params_hash(null_params(params)), code_version("scan"))
    known = known_chances(warehouse, asked["window_hash"].tolist(), made_with)
    missing = asked[~asked["window_hash"].isin(known["window_hash"])]
    if len(missing):
        found = computed_chances(reader, missing, params)[[*_NONE.columns]]
        made = found.drop_duplicates("window_hash")
        keep_chances(warehouse, made, made_with, N_SURROGATES)
        known = pd.concat([known, made], ignore_index=True)
    return asked.merge(known, on="window_hash")


def _scope(members: pd.DataFrame) -> DayScope:
    days = members["date"]
    return DayScope(tuple(members["symbol"].unique()), days.min().date(), days.max().date())
