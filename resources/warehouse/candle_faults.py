"""What the database knows of a candle beside the candle itself: for the quality ledger."""

from collections.abc import Sequence
from datetime import date

import pandas as pd
import pyarrow as pa

from autonama_dagster.analytics.candles.candles import FACTS
from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.schemas.tables.market import CONFLICTING
from autonama_dagster.text.sources import SCAN_EXCHANGE
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse


def candle_faults(
    warehouse: Warehouse, symbols: Sequence[str], first: date, last: date
) -> pd.DataFrame:
    """Faults of daily candles that the table of candles does not show.

    Returns
    -------
    pandas.DataFrame
        symbol, date (datetime64[s]), kind and said (str): "kept_out", with the reason; "forming",
        with the time of the fetch; "conflicting", with the failed fetch's message, until the day is
        answered; "copied", with the pairs that have the same candle, in any order.
    """
    arrow = warehouse.query(
        f"""
        SELECT symbol, date, 'kept_out' AS kind, reason AS said
        FROM {SCHEMA}.quarantine
        WHERE table_name = 'ohlcv_1d' AND exchange = $4 AND symbol = ANY($1)
          AND date BETWEEN $2 AND $3
        UNION ALL
        SELECT symbol, date, 'forming',
               to_char(fetched_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        FROM {SCHEMA}.ohlcv_1d
        WHERE symbol = ANY($1) AND date BETWEEN $2 AND $3
          AND fetched_at < (date + 1)::timestamp AT TIME ZONE 'UTC'
        UNION ALL
        SELECT DISTINCT f.symbol, f.fault_date, f.fault, f.message
        FROM {SCHEMA}.fetch_log AS f
        WHERE f.exchange = $4 AND f.interval = '1d' AND f.symbol = ANY($1)
          AND f.fault = $5 AND f.fault_date BETWEEN $2 AND $3
          AND NOT EXISTS (
              SELECT FROM {SCHEMA}.fetch_log AS g
              WHERE (g.exchange, g.symbol, g.interval) = (f.exchange, f.symbol, f.interval)
                AND g.outcome <> 'failed' AND f.fault_date BETWEEN g.from_date AND g.to_date
          )
        UNION ALL
        SELECT d.symbol, d.date, 'copied', d.symbols
        FROM (
            SELECT symbol, date, string_agg(symbol, ' ') OVER (PARTITION BY row_hash) AS symbols
            FROM {SCHEMA}.ohlcv_1d
            WHERE date BETWEEN $2 AND $3 AND row_hash IN (
                SELECT row_hash FROM {SCHEMA}.ohlcv_1d
                WHERE date BETWEEN $2 AND $3 AND volume > 0
                GROUP BY row_hash HAVING count(*) > 1
            )
        ) AS d
        WHERE d.symbol = ANY($1)
        ORDER BY 1, 2, 3, 4
        """,
        (list(symbols), first, last, SCAN_EXCHANGE, CONFLICTING),
    )
    return _dated(arrow)


def other_versions(
    warehouse: Warehouse, symbols: Sequence[str], first: date, last: date
) -> pd.DataFrame:
    """Closed daily candles that were replaced by another source's: each source's last version.

    Returns
    -------
    pandas.DataFrame
        symbol, date (datetime64[s]) and the candle's facts.
    """
    facts = ", ".join(f'r."{name}"' for name in FACTS)
    arrow = warehouse.query(
        f"""
        SELECT DISTINCT ON (r.symbol, r.date, r.source)
               r.symbol, r.date, {facts}
        FROM {SCHEMA}.ohlcv_1d_revisions AS r
        JOIN {SCHEMA}.ohlcv_1d AS c USING (symbol, date)
        WHERE r.symbol = ANY($1) AND r.date BETWEEN $2 AND $3 AND r.source <> c.source
          AND r.fetched_at >= (r.date + 1)::timestamp AT TIME ZONE 'UTC'
        ORDER BY r.symbol, r.date, r.source, r.revision DESC
        """,
        (list(symbols), first, last),
    )
    return _dated(arrow)


def _dated(arrow: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = arrow.to_pandas()
    return frame.assign(date=pd.to_datetime(frame["date"]).astype("datetime64[s]"))


def recent_findings(warehouse: Warehouse, days: int, run: Scope) -> pd.DataFrame:
    """Findings of the quality ledger on its latest days, and on those of a run.

    Returns
    -------
    pandas.DataFrame
        rule, severity, symbol and date of each, the latest first.
    """
    arrow = warehouse.query(
        f"""
        SELECT f.rule, q.details -> f.rule ->> 'severity' AS severity, q.symbol, q.date
        FROM {SCHEMA}.data_quality AS q, unnest(q.findings) AS f (rule)
        WHERE {_judged("data_quality")}
        ORDER BY q.date DESC, q.symbol
        """,
        (days, run.first, run.last),
    )
    frame: pd.DataFrame = arrow.to_pandas()
    return frame


def recent_members(warehouse: Warehouse, days: int, run: Scope) -> dict[date, frozenset[str]]:
    """Members of the latest days of the universe and of those of a run, in the order of days."""
    arrow = warehouse.query(
        f"""
        SELECT date, array_agg(symbol) AS symbols
        FROM {SCHEMA}.universe
        WHERE is_member AND {_judged("universe")}
        GROUP BY date ORDER BY date
        """,
        (days, run.first, run.last),
    )
    found = arrow.to_pydict()
    return {d: frozenset(s) for d, s in zip(found["date"], found["symbols"], strict=True)}


def recent_coverage(warehouse: Warehouse, days: int, run: Scope) -> pd.DataFrame:
    """Members of the latest days of `signals` and of those of a run, and how many have data.

    Returns
    -------
    pandas.DataFrame
        date, members, judged (status other than NO_DATA), absent (their names), in order of days.
    """
    arrow = warehouse.query(
        f"""
        SELECT date, count(*) AS members, count(*) FILTER (WHERE status <> 'NO_DATA') AS judged,
               coalesce(string_agg(symbol, ', ' ORDER BY symbol)
                        FILTER (WHERE status = 'NO_DATA'), '') AS absent
        FROM {SCHEMA}.signals
        WHERE is_member AND {_judged("signals")}
        GROUP BY date ORDER BY date
        """,
        (days, run.first, run.last),
    )
    frame: pd.DataFrame = arrow.to_pandas()
    return frame


def _judged(name: str) -> str:
    """The condition of a table's latest `$1` days, and of those of a run, `$2` to `$3`, if any."""
    return (
        f"(date > (SELECT max(date) FROM {SCHEMA}.{name}) - $1::integer "
        "OR date BETWEEN $2::date AND $3::date)"
    )
