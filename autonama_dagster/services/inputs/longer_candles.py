"""Candles of a longer interval, made from the stored ones they consist of."""

from collections.abc import Sequence
from datetime import date

import pandas as pd

from autonama_dagster.analytics.candles.aggregation import aggregate
from autonama_dagster.analytics.candles.intervals import INTERVALS, MADE_FROM
from autonama_dagster.analytics.candles.run_windows import known_rows
from autonama_dagster.schemas.registry import table
from autonama_dagster.text.sources import SOURCES
from resources.warehouse.candle_queries import fetched_ranges
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse


def candles_made(
    interval: str, symbols: Sequence[str], first: date, last: date, warehouse: Warehouse
) -> pd.DataFrame:
    """Candles that close from `first` to `last`, made from the stored ones they consist of.

    A candle is made only where the exchange has answered for every day it covers: one made of what
    happens to be stored would be another once the rest is fetched.
    """
    of, to = INTERVALS[MADE_FROM[interval]], INTERVALS[interval]
    begin = to.opens_on(to.last_step(first))
    frame = read_parts(warehouse, of.name, Scope(tuple(symbols), begin, last))
    made = aggregate(frame, of, to, SOURCES)
    made = made[made["date"].between(pd.Timestamp(first), pd.Timestamp(last))]
    ranges = fetched_ranges(warehouse, of.name, symbols)
    return made[known_rows(made, ranges, max(to.lengths[-1].days, 1))].reset_index(drop=True)


def read_parts(warehouse: Warehouse, interval: str, scope: Scope) -> pd.DataFrame:
    """Stored candles as `aggregate` takes them: without the strings, which it does not need."""
    of = table(f"ohlcv_{interval}")
    return warehouse.read(of.name, scope, [c for c in of.columns if c != "raw"])
