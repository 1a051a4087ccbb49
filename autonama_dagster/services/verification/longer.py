"""Verification of candles that are made from shorter ones: those of four hours and of a week."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Final

import pandas as pd

from autonama_dagster.analytics.candles.comparison import differences
from autonama_dagster.analytics.candles.intervals import MADE_FROM
from autonama_dagster.days import DAY, days_of
from autonama_dagster.schemas.base import Table
from autonama_dagster.schemas.registry import table
from autonama_dagster.services.inputs.longer_candles import candles_made
from autonama_dagster.services.verification.kinds import among, first_of
from autonama_dagster.services.verification.verify import Verified
from resources.warehouse.candle_queries import candle_spans
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse

MADE: Final = {f"ohlcv_{interval}": interval for interval in MADE_FROM}
"""Tables of candles that are made from others, and their interval."""
LATER_DAYS: Final = 14  # read after the last day, to see whether it matters
_NOT_SAID: Final = ("run_id", "fetched_at")  # by the parts, of the candle


def verify_longer(
    warehouse: Warehouse,
    symbols: Sequence[str],
    first: date,
    last: date,
    in_database: Collection[date] | None = None,
) -> list[Verified]:
    """Make the candles of `MADE` again, of the tables that have any of these symbols and days.

    Once at once, from all there is, and for the days `in_database` (None: all of them) from a
    database cut at the day. A candle must exist where its parts give it, from the symbol's first
    stored candle of the interval to its last.
    """
    days = [day for day in days_of(first, last) if in_database is None or day in in_database]
    found = []
    for name in MADE:
        spans = candle_spans(warehouse, name, symbols)
        spans = spans[(spans["first"].dt.date <= last) & (spans["last"].dt.date >= first)]
        if len(spans):
            found.append(_verified(warehouse, table(name), spans, first, last, days))
    return found


def _verified(
    warehouse: Warehouse,
    of: Table,
    spans: pd.DataFrame,
    first: date,
    last: date,
    days: Sequence[date],
) -> Verified:
    interval, names = MADE[of.name], spans["symbol"].tolist()
    compared = [name for name in of.columns if name not in _NOT_SAID]

    def due(made: pd.DataFrame) -> pd.DataFrame:
        made = made.merge(spans, on="symbol")
        return made.loc[made["date"].between(made["first"], made["last"]), compared]

    later = due(candles_made(interval, names, first, last + LATER_DAYS * DAY, warehouse))
    later = later[later["date"] <= pd.Timestamp(last)]
    cut = [due(candles_made(interval, names, d, d, warehouse.until(d))) for d in days]
    is_cut = later["date"].isin([pd.Timestamp(day) for day in days])
    now = pd.concat([later[~is_cut], *cut], ignore_index=True)
    stored = warehouse.read(of.name, Scope(tuple(names), first, last), compared)
    key = [*of.key]
    against_later = differences(now, later, key)
    found = pd.concat([differences(stored, now, key), against_later], ignore_index=True)
    kinds = _kinds(found, key, against_later)
    rows = sum(map(len, cut))
    return Verified(of.name, len(now), rows, found.assign(kind=kinds).drop(columns="is_close"))


def _kinds(found: pd.DataFrame, key: list[str], ahead: pd.DataFrame) -> pd.Series:
    """The kind of each difference, that of its row; see `verify.KINDS`."""
    if found.empty:
        return pd.Series(dtype="str")
    is_whole = found["column"] == "row"
    of_row = found.assign(of_parts=found["column"] == "row_hash").groupby(key)
    return first_of({
        "look_ahead": among(found, ahead, key),
        "missing": is_whole & (found["stored"] == "absent"),
        "extra": is_whole,
        "data": of_row["of_parts"].transform("any"),
        "platform": of_row["is_close"].transform("all"),
    })  # fmt: skip
