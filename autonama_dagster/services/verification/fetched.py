"""Verification of fetched candles: the strings that the exchange sent give the stored row."""

from collections.abc import Sequence
from datetime import date
from typing import Final

import pandas as pd

from autonama_dagster.analytics.candles.candles import AMOUNTS, PRICES
from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.analytics.candles.klines import contradicts
from autonama_dagster.schemas.registry import table
from autonama_dagster.schemas.tables.revisions import FETCHED as TABLES
from autonama_dagster.schemas.tables.revisions import REVISIONS
from autonama_dagster.services.verification.verify import Verified
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse

FETCHED: Final = {
    name: of.name.removeprefix("ohlcv_")
    for of in TABLES
    for name in (of.name, REVISIONS[of.name].name)
}
"""Tables of fetched candles and their earlier versions, and their interval."""
_NUMBERS: Final = (*PRICES, *AMOUNTS, "trades")


def verify_fetched(
    warehouse: Warehouse, symbols: Sequence[str], first: date | None, last: date
) -> list[Verified]:
    """Compare candles with their own strings, in the tables that have any; None: from the first.

    A candle whose numbers or row hash are not what the strings say was changed: its kind is "row".
    Candles that were fetched by versions that kept no strings are left out.
    """
    found = []
    for name, interval in FETCHED.items():
        key = [*table(name).key]
        columns = list(dict.fromkeys((*key, "date", *_NUMBERS, "row_hash", "raw")))
        frame = warehouse.read(name, Scope(tuple(symbols), first, last), columns)
        frame = frame[frame["raw"].notna()].reset_index(drop=True)
        if len(frame):
            bad = frame[contradicts(frame, INTERVALS[interval])]
            stored = bad[[*_NUMBERS]].astype(str).agg(",".join, axis=1) if len(bad) else ""
            told = bad[key].assign(
                column="raw", stored=stored, expected=bad["raw"], kind=pd.Series("row", bad.index)
            )
            found.append(Verified(name, len(frame), len(frame), told))
    return found
