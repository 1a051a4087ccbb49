"""Stored candles that are asked for again: which are drawn, and what is kept of the answers."""

from datetime import datetime

import pandas as pd

from autonama_dagster.days import DAY, midnight
from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.schemas.registry import table
from autonama_dagster.text.sources import SCAN_EXCHANGE
from resources.warehouse.frames import to_frame
from resources.warehouse.statements import select_list
from resources.warehouse.warehouse import Warehouse

AGE = DAY  # what was fetched later than so long ago is not asked for again
_OLD = (
    f"FROM {SCHEMA}.ohlcv_1d WHERE exchange = $1 AND fetched_at < $2 AND symbol NOT IN "
    f"(SELECT symbol FROM {SCHEMA}.candle_checks WHERE asked_at >= $3)"
)


def left_to_ask(warehouse: Warehouse, now: datetime, daily: int) -> int:
    """How many of a day's candles are still to be asked for at `now`, by the exchange's clock."""
    arrow = warehouse.query(
        f"SELECT count(*) AS n FROM {SCHEMA}.candle_checks WHERE asked_at >= $1",
        (midnight(now.date()),),
    )
    return max(daily - int(arrow.column("n")[0].as_py()), 0)


def is_due(warehouse: Warehouse, now: datetime, daily: int) -> bool:
    """Whether there is a candle to ask for at `now`; quicker than drawing them."""
    if not left_to_ask(warehouse, now, daily):
        return False
    arrow = warehouse.query(f"SELECT EXISTS (SELECT {_OLD}) AS is_old", _values(now))
    return bool(arrow.column("is_old")[0].as_py())


def drawn_candles(warehouse: Warehouse, now: datetime, count: int) -> pd.DataFrame:
    """One stored daily candle each of so many symbols, of the scan's exchange; the day is the seed.

    Those of a symbol that was asked about on the day, and those fetched within `AGE`, are left out.

    Returns
    -------
    pandas.DataFrame
        Whole rows of `ohlcv_1d`, in the order in which they were drawn.
    """
    of = table("ohlcv_1d")
    arrow = warehouse.query(
        f"""
        SELECT {select_list(of, of.columns)}
        FROM (
            SELECT symbol AS name, hashtextextended(symbol || $4, 0) AS seed
            FROM (SELECT DISTINCT symbol {_OLD}) AS asked_about
            ORDER BY 2, 1 LIMIT $5
        ) AS drawn, LATERAL (
            SELECT * {_OLD} AND symbol = name
            ORDER BY hashint8extended((date - '1970-01-01')::bigint, seed) LIMIT 1
        ) AS candle
        ORDER BY seed, symbol
        """,
        (*_values(now), str(now.date()), count),
    )
    return to_frame(of, arrow)


def _values(now: datetime) -> tuple[str, datetime, datetime]:
    return SCAN_EXCHANGE, now - AGE, midnight(now.date())
