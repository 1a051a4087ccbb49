"""What is known of the candles of a run beside the candles: read for the quality ledger."""

from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd

from assets.windows import known_days
from autonama_dagster.analytics.aggregation import aggregate
from autonama_dagster.analytics.candles import Candles
from autonama_dagster.analytics.intervals import DAILY, INTERVALS
from autonama_dagster.analytics.quality import Evidence
from autonama_dagster.analytics.quality_rules import conflicting, forming, kept_out
from autonama_dagster.schemas.market import SOURCES
from resources.candle_faults import candle_faults
from resources.statements import Scope
from resources.warehouse import Warehouse


def read_evidence(
    warehouse: Warehouse, symbols: Sequence[str], first: date, last: date
) -> dict[str, Evidence]:
    """Evidence of the symbols' days from `first` to `last`, from the tables."""
    faults = candle_faults(warehouse, symbols, first, last)
    return evidence(faults, _hours(warehouse, symbols, first, last))


def evidence(faults: pd.DataFrame, hours: dict[str, Candles]) -> dict[str, Evidence]:
    """Evidence by symbol, from rows as `candle_faults` gives them and daily candles of hours."""
    by_symbol = {str(s): rows for s, rows in faults.groupby("symbol")}
    found = {}
    for symbol in {*by_symbol, *hours}:
        rows = by_symbol.get(symbol, faults.iloc[:0])
        by_kind = dict(iter(rows.groupby("kind")))
        none = rows.iloc[:0]
        findings = (
            *kept_out(by_kind.get("kept_out", none)),
            *forming(_by_day(by_kind.get("forming", none))),
            *conflicting(_by_day(by_kind.get("conflicting", none))),
        )
        found[symbol] = Evidence(findings, hours.get(symbol))
    return found


def _by_day(rows: pd.DataFrame) -> dict[int, str]:
    days = rows["date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    return dict(zip(days.tolist(), rows["said"], strict=True))


def _hours(
    warehouse: Warehouse, symbols: Sequence[str], first: date, last: date
) -> dict[str, Candles]:
    """Daily candles of the stored hours, of the days for which the exchange has answered.

    Where hours are missing then, the exchange has none: its daily candle is made of the others.
    """
    answered = warehouse.fetched_ranges("1h", symbols)
    if not answered:
        return {}
    frame = warehouse.read("ohlcv_1h", Scope(tuple(answered), first, last))
    made = Candles.by_symbol(aggregate(frame, INTERVALS["1h"], DAILY, SOURCES))
    return {s: c.part(known_days(answered[s], c.day, 1)) for s, c in made.items()}
