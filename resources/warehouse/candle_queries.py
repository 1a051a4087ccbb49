"""Questions about stored candles, and about what the exchange has answered for."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Final

import pandas as pd

from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.schemas.registry import CANDLE_TABLES, table
from autonama_dagster.text.sources import SCAN_EXCHANGE, distance
from resources.warehouse.statements import qualified
from resources.warehouse.warehouse import Warehouse

RANKING: Final = "1d-ranking"  # interval in the fetch log of candles that are ranked and not stored


def fetched_ranges(
    warehouse: Warehouse, interval: str, symbols: Sequence[str], exchange: str = SCAN_EXCHANGE
) -> dict[str, list[tuple[date, date]]]:
    """Ranges of days the exchange has answered, candles or none, by symbol."""
    arrow = warehouse.query(
        f"SELECT symbol, from_date, to_date FROM {SCHEMA}.fetch_log "
        "WHERE exchange = $3 AND interval = $1 AND symbol = ANY($2) AND outcome <> 'failed' "
        "ORDER BY symbol, from_date",
        (interval, list(symbols), exchange),
    )
    ranges: dict[str, list[tuple[date, date]]] = {}
    for symbol, first, last in zip(*arrow.to_pydict().values(), strict=True):
        ranges.setdefault(symbol, []).append((first, last))
    return ranges


def failed_fetches(
    warehouse: Warehouse, day: date, interval: str = "1d", exchange: str = SCAN_EXCHANGE
) -> list[str]:
    """Symbols asked for on the day without any answer so far, e.g. for `RANKING`."""
    arrow = warehouse.query(
        f"""
        SELECT DISTINCT f.symbol
        FROM {SCHEMA}.fetch_log AS f
        WHERE f.outcome = 'failed' AND f.exchange = $3 AND f.interval = $2
          AND $1 BETWEEN f.from_date AND f.to_date
          AND NOT EXISTS (
              SELECT 1 FROM {SCHEMA}.fetch_log AS g
              WHERE (g.exchange, g.symbol, g.interval) = (f.exchange, f.symbol, f.interval)
                AND g.outcome <> 'failed' AND $1 BETWEEN g.from_date AND g.to_date
          )
        ORDER BY f.symbol
        """,
        (day, interval, exchange),
    )
    return [str(s) for s in arrow.column("symbol").to_pylist()]


def counted_days(warehouse: Warehouse, name: str, last: date) -> dict[date, tuple[int, datetime]]:
    """By day up to `last` the number of a table's candles, and when the newest was fetched."""
    arrow = warehouse.query(
        f"SELECT date, count(*) AS n, max(fetched_at) AS newest FROM {qualified(table(name))} "
        "WHERE date <= $1 GROUP BY date ORDER BY date",
        (last,),
    )
    columns = arrow.to_pydict()
    return dict(
        zip(columns["date"], zip(columns["n"], columns["newest"], strict=True), strict=True)
    )


def last_candles(warehouse: Warehouse, symbols: Sequence[str]) -> dict[str, date]:
    """Day of each symbol's last candle; symbols without candles are absent."""
    arrow = warehouse.query(
        f"SELECT symbol, max(date) AS d FROM {SCHEMA}.ohlcv_1d "
        "WHERE symbol = ANY($1) GROUP BY symbol",
        (list(symbols),),
    )
    return dict(zip(*arrow.to_pydict().values(), strict=True))


def candle_spans(warehouse: Warehouse, name: str, symbols: Sequence[str]) -> pd.DataFrame:
    """symbol, first and last: the days that the symbols' candles in a table close on."""
    arrow = warehouse.query(
        f"SELECT symbol, min(date) AS first, max(date) AS last FROM {qualified(table(name))} "
        "WHERE symbol = ANY($1) GROUP BY symbol ORDER BY symbol",
        (list(symbols),),
    )
    frame: pd.DataFrame = arrow.to_pandas()
    spans = {end: pd.to_datetime(frame[end]).astype("datetime64[s]") for end in ("first", "last")}
    return frame.assign(symbol=frame["symbol"].astype("str"), **spans)


def candle_gaps(warehouse: Warehouse, symbols: Sequence[str]) -> pd.DataFrame:
    """Days missing between two candles of a symbol.

    Columns symbol, first, last, days, and is_answered: whether the exchange was asked for every one
    of these days and has none of the candles either.
    """
    arrow = warehouse.query(
        f"""
        SELECT g.symbol, g.first, g.last, g.last - g.first + 1 AS days,
               coalesce((
                   SELECT range_agg(daterange(f.from_date, f.to_date, '[]'))
                   FROM {SCHEMA}.fetch_log AS f
                   WHERE f.exchange = g.exchange AND f.symbol = g.symbol
                     AND f.interval = '1d' AND f.outcome <> 'failed'
               ) @> daterange(g.first, g.last, '[]'), false) AS is_answered
        FROM (
            SELECT exchange, symbol, lag(date) OVER w + 1 AS first, date - 1 AS last,
                   date - lag(date) OVER w > 1 AS is_gap
            FROM {SCHEMA}.ohlcv_1d
            WHERE symbol = ANY($1)
            WINDOW w AS (PARTITION BY symbol ORDER BY date)
        ) AS g
        WHERE g.is_gap
        ORDER BY g.symbol, g.first
        """,
        (list(symbols),),
    )
    gaps: pd.DataFrame = arrow.to_pandas()
    return gaps


def quarantined_candles(
    warehouse: Warehouse,
    symbols: Sequence[str],
    day: date,
    name: str = "ohlcv_1d",
    exchange: str = SCAN_EXCHANGE,
) -> int:
    """Candles of the symbols up to the day that were kept out of the table."""
    arrow = warehouse.query(
        f"SELECT count(*) AS n FROM {SCHEMA}.quarantine "
        "WHERE table_name = $3 AND exchange = $4 AND symbol = ANY($1) AND date <= $2",
        (list(symbols), day, name, exchange),
    )
    return int(arrow.column("n")[0].as_py())


def any_source(warehouse: Warehouse) -> str | None:
    """Source of one stored candle, of any table of candles; None where there are none."""
    tables = " UNION ALL ".join(f"SELECT source FROM {qualified(of)}" for of in CANDLE_TABLES)
    arrow = warehouse.query(f"{tables} LIMIT 1")
    return str(arrow.column("source")[0].as_py()) if arrow.num_rows else None


def source_label(warehouse: Warehouse, day: date) -> str | None:
    """The source of the day's candles that is farthest from the market; None without any."""
    arrow = warehouse.query(
        f"SELECT DISTINCT source FROM {SCHEMA}.ohlcv_1d WHERE date = $1", (day,)
    )
    found = arrow.column("source").to_pylist()
    return max(found, key=distance, default=None)
