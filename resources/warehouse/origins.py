"""Where stored candles came from: the call or the file that gave each."""

from datetime import date

import pandas as pd

from autonama_dagster.schemas.base import SCHEMA
from resources.warehouse.warehouse import Warehouse


def origins(warehouse: Warehouse, symbol: str, first: date, last: date) -> pd.DataFrame:
    """Origins of a symbol's daily candles from `first` to `last`, both included.

    The call or file is that of the latest answer of the run that stored the candle.

    Returns
    -------
    pandas.DataFrame
        One row per stored candle, by day: symbol, date (datetime64[s]) and origin, a JSON object
        as text, NaN where the log does not say (candles stored by older versions).
    """
    arrow = warehouse.query(
        f"""
        SELECT c.symbol, c.date, o.origin::text AS origin
        FROM {SCHEMA}.ohlcv_1d AS c
        LEFT JOIN LATERAL (
            SELECT e.origin
            FROM {SCHEMA}.fetch_log AS f, jsonb_array_elements(f.origins) AS e(origin)
            WHERE f.exchange = c.exchange AND f.symbol = c.symbol AND f.interval = '1d'
              AND f.run_id = c.run_id
              AND c.date BETWEEN f.from_date AND f.to_date
              AND c.date BETWEEN (e.origin ->> 'first')::date AND (e.origin ->> 'last')::date
            ORDER BY f.asked_at DESC, e.origin ->> 'first' DESC
            LIMIT 1
        ) AS o ON true
        WHERE c.symbol = $1 AND c.date BETWEEN $2 AND $3
        ORDER BY c.date
        """,
        (symbol, first, last),
    )
    frame: pd.DataFrame = arrow.to_pandas()
    return frame.assign(
        date=pd.to_datetime(frame["date"]).astype("datetime64[s]"),
        **{name: frame[name].astype("str") for name in ("symbol", "origin")},
    )
