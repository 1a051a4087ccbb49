"""Input hashes of the tables that are made from other tables and not from candles alone."""

import pandas as pd

from autonama_dagster.analytics.hashing import combine


def signal_hashes(frame: pd.DataFrame, bands: pd.DataFrame, universe: pd.DataFrame) -> list[str]:
    """Hash of the window (bands and indicators share it) and of the symbol's universe row.

    Parameters
    ----------
    frame
        symbol and date of the wanted rows.
    bands, universe
        symbol, date and input_hash; every wanted row is among the bands.
    """
    ranked = universe.set_index(["symbol", "date"])["input_hash"]
    keys = pd.MultiIndex.from_frame(frame[["symbol", "date"]])
    windows = bands.set_index(["symbol", "date"])["input_hash"].reindex(keys)
    return [
        combine(window, *(() if pd.isna(row) else (row,)))
        for window, row in zip(windows, ranked.reindex(keys), strict=True)
    ]


def summary_hash(signals: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """Hash of a day's summary, of the input_hash of its members' signals and of its pairs.

    Both in the order of their keys.
    """
    return combine(*signals["input_hash"], *pairs["input_hash"])
