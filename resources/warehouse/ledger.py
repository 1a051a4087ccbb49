"""The ledger: which days and symbols the tables hold, as the planner asks it.

Where versions are given, a row counts when it was made with these parameters by this version of the
code.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date

import pandas as pd
import pyarrow as pa

from autonama_dagster.analytics.candles.hashing import Versions
from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.schemas.registry import table
from autonama_dagster.text.sources import SCAN_EXCHANGE
from resources.warehouse.candle_queries import RANKING
from resources.warehouse.frames import to_frame
from resources.warehouse.statements import Scope, condition, ordered, qualified, select_list
from resources.warehouse.warehouse import Warehouse

ANALYTIC = ("data_quality", "indicators", "regression_bands", "signals")  # what others follow from


def latest_day(warehouse: Warehouse, name: str, symbol: str | None = None) -> date | None:
    """The latest day in a table, of one symbol or of any; None where there is none."""
    of = table(name)
    where, values = condition(of, Scope(None if symbol is None else (symbol,)))
    arrow = warehouse.query(f"SELECT max(date) AS day FROM {qualified(of)}{where}", values)
    found: date | None = arrow.column("day")[0].as_py()
    return found


def estimated_rows(warehouse: Warehouse, name: str) -> int:
    """Rows of a table as the planner of Postgres estimates them; cheap at any size."""
    arrow = warehouse.query(
        "SELECT greatest(reltuples, 0)::bigint AS n FROM pg_class WHERE oid = $1::regclass",
        (f"{SCHEMA}.{table(name).name}",),
    )
    return int(arrow.column("n")[0].as_py())


def members(warehouse: Warehouse, first: date, last: date, made: Versions) -> dict[date, list[str]]:
    """Members of each ranked day by rank; a day without a ranking of these versions is absent."""
    arrow = warehouse.query(
        f"SELECT date, symbol FROM {SCHEMA}.universe WHERE date BETWEEN $1 AND $2 AND is_member "
        "AND params_hash = $3 AND code_version = $4 ORDER BY date, rank",
        (first, last, made.params_hash, made.code_version),
    )
    return {day: list(names) for day, names in _grouped(arrow).items()}


def badly_ranked_days(warehouse: Warehouse, first: date, last: date) -> frozenset[date]:
    """Days whose ranking lacks a candidate that the exchange has not answered for since."""
    arrow = warehouse.query(
        f"""
        SELECT DISTINCT d::date AS date
        FROM {SCHEMA}.fetch_log AS f,
             generate_series(greatest(f.from_date, $1), least(f.to_date, $2), '1 day') AS d
        WHERE f.outcome = 'failed' AND f.exchange = $4 AND f.interval = $3
          AND NOT EXISTS (
              SELECT 1 FROM {SCHEMA}.fetch_log AS g
              WHERE (g.exchange, g.symbol, g.interval) = (f.exchange, f.symbol, f.interval)
                AND g.outcome <> 'failed' AND d::date BETWEEN g.from_date AND g.to_date
          )
        """,
        (first, last, RANKING, SCAN_EXCHANGE),
    )
    return frozenset(arrow.column("date").to_pylist())


def first_refusal(warehouse: Warehouse, day: date) -> str:
    """What the exchange last said of a symbol that it did not answer for; empty without any."""
    arrow = warehouse.query(
        f"SELECT message FROM {SCHEMA}.fetch_log "
        "WHERE outcome = 'failed' AND exchange = $3 AND interval IN ('1d', $2) "
        "AND $1 BETWEEN from_date AND to_date ORDER BY asked_at DESC, symbol LIMIT 1",
        (day, RANKING, SCAN_EXCHANGE),
    )
    return str(arrow.column("message")[0].as_py()) if arrow.num_rows else ""


def decided(
    warehouse: Warehouse, first: date, last: date, made: Versions
) -> dict[date, frozenset[str]]:
    """Symbols of each day whose signal is of these versions and knows the day's candle.

    It must also know the day's ranking as it is stored now, and the tables made from it must be of
    the same inputs: a run that was killed half-way leaves older ones there.
    """
    arrow = warehouse.query(
        f"""
        SELECT s.date, s.symbol
        FROM {SCHEMA}.signals AS s
        LEFT JOIN {SCHEMA}.ohlcv_1d AS c ON c.symbol = s.symbol AND c.date = s.date
        LEFT JOIN {SCHEMA}.universe AS u ON u.symbol = s.symbol AND u.date = s.date
        JOIN {SCHEMA}.asset_analytics AS n ON n.symbol = s.symbol AND n.date = s.date
        JOIN {SCHEMA}.alerts AS a ON a.symbol = s.symbol AND a.date = s.date
        WHERE s.date BETWEEN $1 AND $2 AND s.params_hash = $3 AND s.code_version = $4
          AND (s.status = 'NO_DATA') = (c.symbol IS NULL)
          AND s.is_member IS NOT DISTINCT FROM coalesce(u.is_member, false)
          AND s.universe_rank IS NOT DISTINCT FROM u.rank
          AND (n.input_hash, n.params_hash, n.code_version)
            = (s.input_hash, s.params_hash, s.code_version)
          AND (a.input_hash, a.params_hash, a.code_version)
            = (s.input_hash, s.params_hash, s.code_version)
        """,
        (first, last, made.params_hash, made.code_version),
    )
    return {day: frozenset(names) for day, names in _grouped(arrow).items()}


def summarised_days(
    warehouse: Warehouse, first: date, last: date, made: Versions
) -> frozenset[date]:
    """Days whose summary is of these versions and not older than their signals."""
    arrow = warehouse.query(
        f"""
        SELECT a.date
        FROM {SCHEMA}.analysis_summary AS a
        WHERE a.date BETWEEN $1 AND $2 AND a.params_hash = $3 AND a.code_version = $4
          AND a.computed_at >= (
              SELECT max(s.computed_at) FROM {SCHEMA}.signals AS s WHERE s.date = a.date
          )
        """,
        (first, last, made.params_hash, made.code_version),
    )
    return frozenset(arrow.column("date").to_pylist())


def settled_days(warehouse: Warehouse, first: date, last: date, made: Versions) -> frozenset[date]:
    """Days whose summary is of these versions and older than neither its signals nor its pairs."""
    arrow = warehouse.query(
        f"""
        SELECT a.date
        FROM {SCHEMA}.analysis_summary AS a
        WHERE a.date BETWEEN $1 AND $2 AND a.params_hash = $3 AND a.code_version = $4
          AND a.computed_at >= (
              SELECT max(s.computed_at) FROM {SCHEMA}.signals AS s WHERE s.date = a.date
          )
          AND a.computed_at >= (  -- the pairs of a day are all written at once
              SELECT p.computed_at FROM {SCHEMA}.correlation_matrix AS p
              WHERE p.date = a.date LIMIT 1
          )
        """,
        (first, last, made.params_hash, made.code_version),
    )
    return frozenset(arrow.column("date").to_pylist())


def input_hashes(
    warehouse: Warehouse, name: str, scope: Scope, made: Versions
) -> tuple[pd.DataFrame, int]:
    """Keys and `input_hash` of a table's rows of these versions, and how many others there are."""
    of = table(name)
    where, values = condition(of, scope)
    n = len(values)
    chosen = (*of.key, "input_hash")
    current = f"(params_hash = ${n + 1} AND code_version = ${n + 2})"
    values += [made.params_hash, made.code_version]
    also = "AND" if where else "WHERE"
    order = ", ".join(ordered(of, k) for k in of.key)
    rows = warehouse.query(
        f"SELECT {select_list(of, chosen)} FROM {qualified(of)}{where} {also} {current} "
        f"ORDER BY {order}",
        values,
    )
    others = warehouse.query(
        f"SELECT count(*) AS n FROM {qualified(of)}{where} {also} NOT {current}", values
    )
    return to_frame(of, rows), int(others.column("n")[0].as_py())


def made_symbols(
    warehouse: Warehouse, name: str, first: date, last: date, made: Versions
) -> dict[date, frozenset[str]]:
    """Symbols of each day that a table by date and symbol has a row of these versions for."""
    arrow = warehouse.query(
        f"SELECT date, symbol FROM {qualified(table(name))} WHERE date BETWEEN $1 AND $2 "
        "AND params_hash = $3 AND code_version = $4",
        (first, last, made.params_hash, made.code_version),
    )
    return {day: frozenset(names) for day, names in _grouped(arrow).items()}


def kept_out(warehouse: Warehouse, scope: Scope) -> set[tuple[str, date]]:
    """Symbols and days of which an analytic row did not fit its table and is in the quarantine."""
    arrow = warehouse.query(
        f"SELECT DISTINCT symbol, date FROM {SCHEMA}.quarantine "
        "WHERE table_name = ANY($1) AND symbol = ANY($2) AND date BETWEEN $3 AND $4",
        (list(ANALYTIC), list(scope.symbols or ()), scope.first, scope.last),
    )
    return set(zip(*arrow.to_pydict().values(), strict=True))


def traded(warehouse: Warehouse, first: date, last: date) -> dict[date, frozenset[str]]:
    """Symbols of each day that have a candle."""
    arrow = warehouse.query(
        f"SELECT date, symbol FROM {SCHEMA}.ohlcv_1d WHERE date BETWEEN $1 AND $2", (first, last)
    )
    return {day: frozenset(names) for day, names in _grouped(arrow).items()}


def made_days(
    warehouse: Warehouse, name: str, first: date, last: date, made: Versions
) -> frozenset[date]:
    """Days that a table by date has rows of these versions for."""
    arrow = warehouse.query(
        f"SELECT DISTINCT date FROM {qualified(table(name))} WHERE date BETWEEN $1 AND $2 "
        "AND params_hash = $3 AND code_version = $4",
        (first, last, made.params_hash, made.code_version),
    )
    return frozenset(arrow.column("date").to_pylist())


def _grouped(arrow: pa.Table) -> dict[date, Sequence[str]]:
    """Symbols by day, in the order of the rows."""
    found: defaultdict[date, list[str]] = defaultdict(list)
    for day, symbol in zip(*arrow.to_pydict().values(), strict=True):
        found[day].append(symbol)
    return dict(found)
