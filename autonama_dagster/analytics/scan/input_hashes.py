"""Input hashes of the tables that are made from other tables and not from candles alone."""

import pandas as pd

from autonama_dagster.analytics.candles.hashing import combine
from autonama_dagster.analytics.scan.signals import match_rows


def signal_hashes(
    frame: pd.DataFrame, bands: pd.DataFrame, universe: pd.DataFrame, quality: pd.DataFrame
) -> list[str]:
    """Hash of the window (bands and indicators share it), of the symbol's ranking and its quality.

    Parameters
    ----------
    frame
        symbol and date of the wanted rows.
    bands, universe, quality
        symbol, date and input_hash; every wanted row is among the bands, of the others one that is
        absent is left out.
    """
    columns = [
        match_rows(frame, of, ["input_hash"])["input_hash"] for of in (bands, universe, quality)
    ]
    return [combine(*(h for h in row if pd.notna(h))) for row in zip(*columns, strict=True)]


def summary_hash(signals: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """Hash of a day's summary, of the input_hash of its members' signals and of its pairs.

    Both in the order of their keys.
    """
    return combine(*signals["input_hash"], *pairs["input_hash"])
