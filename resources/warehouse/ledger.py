"""The ledger: which days and symbols the tables hold, as the planner asks it.

Where versions are given, a row counts when it was made with these parameters by this version of the
code.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

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

LIKE_SIGNALS = ("asset_analytics", "alerts")  # carry the hash of the signal that they are made of


def latest_day(warehouse: Warehouse, name: str, symbol: str | None = None) -> date | None:
    """The latest day in a table, of one symbol or of any; None where there is none."""
    of = table(name)
    where, values = condition(of, Scope(None if symbol is None else (symbol,)))
    arrow = warehouse.query(f"SELECT max(date) AS day FROM {qualified(of)}{where}", values)
    found: date | None = arrow.column("day")[0].as_py()
    return found


def stored_days(warehouse: Warehouse, name: str) -> list[date]:
    """Days that a table has rows of, in order."""
    arrow = warehouse.query(f"SELECT DISTINCT date FROM {qualified(table(name))} ORDER BY date")
    return arrow.column("date").to_pylist()  # type: ignore[no-any-return]


@dataclass(frozen=True)
class SummedDay:
    """A day with a summary: the summary's result hash, and how many signals it has, made when."""

    date: date
    result_hash: str
    signals: int
    newest: datetime


def summed_days(warehouse: Warehouse, last: date) -> list[SummedDay]:
    """Days up to `last` with a summary and signals, in order; summaries without a hash left out."""
    arrow = warehouse.query(
        f"""
        SELECT a.date, a.result_hash, s.n AS signals, s.newest
        FROM {SCHEMA}.analysis_summary AS a JOIN (
            SELECT date, count(*) AS n, max(computed_at) AS newest
            FROM {SCHEMA}.signals WHERE date <= $1 GROUP BY date
        ) AS s USING (date)
        WHERE a.date <= $1 AND a.result_hash IS NOT NULL
        ORDER BY a.date
        """,
        (last,),
    )
    return [SummedDay(*row) for row in zip(*arrow.to_pydict().values(), strict=True)]


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


@dataclass(frozen=True)
class KnownSignals:
    """Signals of the given versions that know the candle of their day, or that there is none.

    Attributes
    ----------
    known
        Their symbols by day.
    without_candle
        Of these, where there is none.
    made
        By table and day the symbols with a current row: a signal that knows the day's ranking as it
        is stored now, and rows of `LIKE_SIGNALS` made of the signal as it is.
    """

    known: dict[date, frozenset[str]]
    without_candle: dict[date, frozenset[str]]
    made: dict[str, dict[date, frozenset[str]]]


def known_signals(warehouse: Warehouse, first: date, last: date, made: Versions) -> KnownSignals:
    """Which signals of the days are current, and which rows that are made of them alone."""
    joins = "".join(
        f"LEFT JOIN {SCHEMA}.{name} AS {name} ON {name}.symbol = s.symbol AND {name}.date = s.date "
        f"AND ({name}.input_hash, {name}.params_hash, {name}.code_version) "
        "= (s.input_hash, s.params_hash, s.code_version) "
        for name in LIKE_SIGNALS
    )
    arrow = warehouse.query(
        f"""
        SELECT s.date, s.symbol, c.symbol IS NULL AS without_candle,
               s.is_member IS NOT DISTINCT FROM coalesce(u.is_member, false)
                 AND s.universe_rank IS NOT DISTINCT FROM u.rank AS signals,
               {", ".join(f"{name}.symbol IS NOT NULL AS {name}" for name in LIKE_SIGNALS)}
        FROM {SCHEMA}.signals AS s
        LEFT JOIN {SCHEMA}.ohlcv_1d AS c ON c.symbol = s.symbol AND c.date = s.date
        LEFT JOIN {SCHEMA}.universe AS u ON u.symbol = s.symbol AND u.date = s.date
        {joins}
        WHERE s.date BETWEEN $1 AND $2 AND s.params_hash = $3 AND s.code_version = $4
          AND (s.status = 'NO_DATA') = (c.symbol IS NULL)
        """,
        (first, last, made.params_hash, made.code_version),
    )
    keys = arrow.select(["date", "symbol"])

    def where(column: str) -> dict[date, frozenset[str]]:
        return _sets(keys.filter(arrow.column(column)))

    return KnownSignals(
        known=_sets(keys),
        without_candle=where("without_candle"),
        made={name: where(name) for name in ("signals", *LIKE_SIGNALS)},
    )


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
    warehouse: Warehouse,
    name: str,
    first: date,
    last: date,
    made: Versions,
    after: Sequence[str] = (),
) -> dict[date, frozenset[str]]:
    """Symbols of each day with a row of these versions, not older than those of the tables after.

    Tables `after` that are by date and symbol count, and of them the same symbol's row.
    """
    newer = [
        f"AND NOT EXISTS (SELECT FROM {qualified(table(other))} AS o WHERE o.symbol = r.symbol "
        "AND o.date = r.date AND o.computed_at > r.computed_at)"
        for other in after
        if table(other).partitions == "date_symbol"
    ]
    arrow = warehouse.query(
        f"SELECT date, symbol FROM {qualified(table(name))} AS r WHERE date BETWEEN $1 AND $2 "
        f"AND params_hash = $3 AND code_version = $4 {' '.join(newer)}",
        (first, last, made.params_hash, made.code_version),
    )
    return _sets(arrow)


def kept_out(
    warehouse: Warehouse, names: Collection[str], first: date, last: date
) -> dict[str, dict[date, frozenset[str]]]:
    """By table and day the symbols whose row did not fit the table and is in the quarantine."""
    arrow = warehouse.query(
        f"SELECT table_name, date, symbol FROM {SCHEMA}.quarantine "
        "WHERE table_name = ANY($1) AND date BETWEEN $2 AND $3",
        (list(names), first, last),
    )
    found: defaultdict[str, defaultdict[date, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, day, symbol in zip(*arrow.to_pydict().values(), strict=True):
        found[name][day].add(symbol)
    return {name: {d: frozenset(s) for d, s in days.items()} for name, days in found.items()}


def traded(warehouse: Warehouse, first: date, last: date) -> dict[date, frozenset[str]]:
    """Symbols of each day that have a candle."""
    arrow = warehouse.query(
        f"SELECT date, symbol FROM {SCHEMA}.ohlcv_1d WHERE date BETWEEN $1 AND $2", (first, last)
    )
    return _sets(arrow)


def made_days(
    warehouse: Warehouse,
    name: str,
    first: date,
    last: date,
    made: Versions,
    after: Sequence[str] = (),
) -> frozenset[date]:
    """Days with rows of these versions in a table by date, not older than those of tables after.

    A table of pairs has none, and needs none, where a day has fewer than two members.
    """
    arrow = warehouse.query(
        "SELECT d.date "
        "FROM (SELECT generate_series($1::date, $2::date, '1 day')::date AS date) AS d "
        f"WHERE EXISTS (SELECT FROM {qualified(table(name))} AS r WHERE r.date = d.date "
        f"AND params_hash = $3 AND code_version = $4 {_not_older(after, 'o.date = r.date')})",
        (first, last, made.params_hash, made.code_version),
    )
    days = frozenset(arrow.column("date").to_pylist())
    return days | _without_pairs(warehouse, first, last) if "symbol_b" in table(name).key else days


def is_made(
    warehouse: Warehouse,
    name: str,
    first: date,
    last: date,
    made: Versions,
    after: Sequence[str] = (),
) -> bool:
    """Whether a table without partitions has rows of these versions.

    They must not be older than the rows of these days that the tables after have.
    """
    arrow = warehouse.query(
        f"SELECT 1 AS n FROM {qualified(table(name))} AS r "
        "WHERE params_hash = $3 AND code_version = $4 "
        f"{_not_older(after, 'o.date BETWEEN $1 AND $2')} LIMIT 1",
        (first, last, made.params_hash, made.code_version),
    )
    return bool(arrow.num_rows)


def _not_older(after: Sequence[str], which: str) -> str:
    """The condition that a row r is not older than any row o of the tables."""
    return " ".join(
        f"AND NOT EXISTS (SELECT FROM {qualified(table(other))} AS o "
        f"WHERE {which} AND o.computed_at > r.computed_at)"
        for other in after
    )


def _without_pairs(warehouse: Warehouse, first: date, last: date) -> frozenset[date]:
    """Ranked days with fewer than two members."""
    arrow = warehouse.query(
        f"SELECT date FROM {SCHEMA}.universe WHERE date BETWEEN $1 AND $2 "
        "GROUP BY date HAVING count(*) FILTER (WHERE is_member) < 2",
        (first, last),
    )
    return frozenset(arrow.column("date").to_pylist())


def _sets(arrow: pa.Table) -> dict[date, frozenset[str]]:
    """Symbols by day."""
    return {day: frozenset(names) for day, names in _grouped(arrow).items()}


def _grouped(arrow: pa.Table) -> dict[date, Sequence[str]]:
    """Symbols by day, in the order of the rows."""
    found: defaultdict[date, list[str]] = defaultdict(list)
    for day, symbol in zip(*arrow.to_pydict().values(), strict=True):
        found[day].append(symbol)
    return dict(found)
