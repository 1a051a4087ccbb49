"""The SQL of reads and writes: statements made from the schema registry, values always bound.

Every function that writes takes the cursor of an open transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
from adbc_driver_postgresql import dbapi

from autonama_dagster.analytics.candles.intervals import INTERVALS, STORED
from autonama_dagster.days import DAY, midnight
from autonama_dagster.errors import InputError
from autonama_dagster.schemas.base import SCHEMA, Table
from autonama_dagster.schemas.registry import CANDLE_TABLES
from autonama_dagster.schemas.tables.market import QUARANTINE
from autonama_dagster.schemas.tables.revisions import REVISIONS
from resources.warehouse.frames import UNPACKED, split, to_arrow
from resources.warehouse.read_back import check_none, check_scope, check_staged

STAGE = "autonama_stage"
LONGEST = max(length for name in STORED for length in INTERVALS[name].lengths)
# Nothing that they say: what the strings say is in the row hash.
ABOUT_CANDLES = {"open_time", "source", "exchange", "fetched_at", "run_id", "raw"}


@dataclass(frozen=True)
class Scope:
    """The partitions a read or a write is about; None means: all."""

    symbols: tuple[str, ...] | None = None
    first: date | None = None
    last: date | None = None


EVERYTHING = Scope()


def qualified(of: Table) -> str:
    """Name of the table with its schema."""
    return f"{SCHEMA}.{of.name}"


def ordered(of: Table, column: str) -> str:
    """A column as ORDER BY wants it."""
    # Byte order everywhere: a server's own collation must not change the order of rows.
    is_text = isinstance(of.schema.columns[column].dtype.type, pd.StringDtype)
    is_text = is_text and of.sql_type(column) is None
    return f'"{column}" COLLATE "C"' if is_text else f'"{column}"'


def _columns(of: Table) -> str:
    return ", ".join(f'"{c}"' for c in of.columns)


def select_list(of: Table, columns: Sequence[str]) -> str:
    """Columns as frames can hold them: money as float, JSON and what is packed as text."""
    forms = {"money": "{}::double precision", "jsonb": "{}::text", "packed": UNPACKED}
    shown = (forms.get(of.sql_type(c) or "", "{}").format(f'"{c}"') for c in columns)
    return ", ".join(f'{form} AS "{c}"' for form, c in zip(shown, columns, strict=True))


def condition(of: Table, scope: Scope) -> tuple[str, list[Any]]:
    """WHERE clause of a scope, empty for all rows, and the values to bind."""
    parts: list[str] = []
    values: list[Any] = []
    for clause, value in (
        ("symbol = ANY({})", list(scope.symbols) if scope.symbols is not None else None),
        ("date >= {}", scope.first),
        ("date <= {}", scope.last),
        # Implied by the dates, and what the primary key can be searched by: a candle that closes on
        # a day opens at most the longest candle's time before.
        ("open_time >= {}", None if scope.first is None else midnight(scope.first) - LONGEST),
        ("open_time < {}", None if scope.last is None else midnight(scope.last) + DAY),
    ):
        if value is not None and clause.split()[0] in of.columns:
            values.append(value)
            parts.append(clause.format(f"${len(values)}"))
    return (" WHERE " + " AND ".join(parts) if parts else ""), values


def rows_of(of: Table, scope: Scope, as_of: datetime | None) -> tuple[str, list[Any]]:
    """What to select a scope's rows FROM, and the values to bind.

    With `as_of` candles as they were known at that moment of the exchange's clock.

    Raises
    ------
    InputError
        `as_of` is given for a table whose replaced rows are not kept.
    """
    where, values = condition(of, scope)
    if as_of is None:
        return f"{qualified(of)}{where}", values
    if of.name not in REVISIONS:
        raise InputError(
            f"table {of.name} does not keep earlier versions: only {', '.join(REVISIONS)} do; "
            "leave the moment out"
        )
    values.append(as_of)
    then, also = f"${len(values)}", "AND" if where else "WHERE"
    found = (
        f"(SELECT {_columns(of)} FROM {qualified(of)}{where} {also} fetched_at <= {then} "
        f"UNION ALL SELECT {_columns(of)} FROM {qualified(REVISIONS[of.name])}{where} {also} "
        f"valid_from <= {then} AND {then} < valid_to) AS known"
    )
    return found, values


def replace_rows(cursor: dbapi.Cursor, of: Table, arrow: pa.Table, scope: Scope) -> None:
    """Put the rows in the place of the scope's; see `Table.keep_absent` for candles."""
    where, values = condition(of, scope)
    if of.keep_absent:
        # Rows of a scope that holds none have nobody to meet, as writers of a table take turns.
        cursor.execute(f"SELECT EXISTS (SELECT FROM {qualified(of)}{where})", tuple(values) or None)
        if cursor.fetch_arrow_table().column(0)[0].as_py():
            merge_rows(cursor, of, arrow)
        else:
            _append(cursor, of, arrow)
            check_scope(cursor, of, arrow, where, values)
        return
    cursor.execute(f"DELETE FROM {qualified(of)}{where}", tuple(values) or None)
    _append(cursor, of, arrow)
    check_scope(cursor, of, arrow, where, values)


def _append(cursor: dbapi.Cursor, of: Table, arrow: pa.Table) -> None:
    if not arrow.num_rows:
        return
    json_columns = [c for c in of.columns if of.sql_type(c) == "jsonb"]
    if not json_columns:
        cursor.adbc_ingest(of.name, arrow, mode="append", db_schema_name=SCHEMA)
        return
    _stage(cursor, of, arrow)
    _drain(cursor, of, "", [c for c in of.columns if c not in of.key])


def merge_rows(cursor: dbapi.Cursor, of: Table, arrow: pa.Table) -> None:
    """Insert rows; those of the same key are replaced, candles only where they say something else.

    Where the table has one for them, replaced rows are kept as revisions.
    """
    if not arrow.num_rows:
        return
    others = [c for c in of.columns if c not in of.key]
    given = {c: f'excluded."{c}"' for c in others}
    _stage(cursor, of, arrow)
    if of.name in REVISIONS:
        # Sources' clocks differ; what is known never goes back in time, so that every moment has
        # one version of a candle.
        given["fetched_at"] = 'greatest(t."fetched_at", excluded."fetched_at")'
        _keep_replaced(cursor, of, REVISIONS[of.name])
        _complete(cursor, of)
    updates = ", ".join(f'"{c}" = {value}' for c, value in given.items())
    changed = f" WHERE {_differs(of, 'excluded')}" if "row_hash" in others else ""
    conflict = f" ON CONFLICT ({', '.join(of.key)}) DO UPDATE SET {updates}{changed}"
    _drain(cursor, of, conflict, said_columns(of) if changed else others)


def _keep_replaced(cursor: dbapi.Cursor, of: Table, kept: Table) -> None:
    """Copy the rows that the staged ones will replace into the table of revisions."""
    keys = ", ".join(of.key)
    replaced = ", ".join(f't."{c}"' for c in of.columns)
    cursor.execute(
        f"""
        INSERT INTO {qualified(kept)} ({_columns(of)}, revision, valid_from, valid_to)
        SELECT {replaced}, coalesce(max(r.revision), 0) + 1,
               t.fetched_at, greatest(t.fetched_at, max(s.fetched_at))
        FROM {STAGE} AS s JOIN {qualified(of)} AS t USING ({keys})
        LEFT JOIN {qualified(kept)} AS r USING ({keys})
        WHERE {_differs(of, "s")}
        GROUP BY {replaced}
        """
    )
    said = ", ".join(f't."{c}"' for c in said_columns(of))
    check_none(
        cursor,
        kept,
        f"""
        SELECT count(*)
        FROM {STAGE} AS s JOIN {qualified(of)} AS t USING ({keys})
        WHERE {_differs(of, "s")} AND NOT EXISTS (
            SELECT FROM {qualified(kept)} AS r
            WHERE {" AND ".join(f"r.{k} = t.{k}" for k in of.key)} AND r.valid_from = t.fetched_at
              AND r.valid_to = greatest(t.fetched_at, s.fetched_at)
              AND ({said.replace("t.", "r.")}) IS NOT DISTINCT FROM ({said})
        )
        """,
        "replaced candles",
    )


def _complete(cursor: dbapi.Cursor, of: Table) -> None:
    """Give candles of before the strings that were not kept then, where they are the same."""
    matches = " AND ".join(f"t.{k} = s.{k}" for k in of.key)
    cursor.execute(
        f"UPDATE {qualified(of)} AS t SET raw = s.raw FROM {STAGE} AS s "
        f"WHERE {matches} AND t.raw IS NULL AND t.row_hash = s.row_hash"
    )


def _differs(of: Table, other: str) -> str:
    """Whether the candle `t` has other numbers or another hash: a number changed by hand counts."""
    columns = (", ".join(f'{row}."{c}"' for c in said_columns(of)) for row in ("t", other))
    return "({}) IS DISTINCT FROM ({})".format(*columns)


def said_columns(of: Table) -> list[str]:
    """Columns that say something of a candle."""
    return [c for c in of.columns if c not in of.key and c not in ABOUT_CANDLES]


def _stage(cursor: dbapi.Cursor, of: Table, arrow: pa.Table) -> None:
    """COPY into a temporary table; JSON travels as text, which COPY cannot cast by itself."""
    cursor.adbc_ingest(STAGE, arrow.select(list(of.columns)), mode="create", temporary=True)


def _drain(cursor: dbapi.Cursor, of: Table, conflict: str, compared: Sequence[str]) -> None:
    casts = {"jsonb": "::jsonb"}
    chosen = ", ".join(f'"{c}"{casts.get(of.sql_type(c) or "", "")}' for c in of.columns)
    cursor.execute(
        f"INSERT INTO {qualified(of)} AS t ({_columns(of)}) SELECT {chosen} FROM {STAGE}{conflict}"
    )
    if of.key:
        check_staged(cursor, of, STAGE, compared)
    cursor.execute(f"DROP TABLE {STAGE}")


def check_exchange(cursor: dbapi.Cursor, of: Table, arrow: pa.Table) -> None:
    """Refuse candles of another exchange than the table's: its key does not tell them apart.

    Raises
    ------
    InputError
        There are two exchanges among the stored candles and these.
    """
    if of not in CANDLE_TABLES or not arrow.num_rows:
        return
    cursor.execute(f"SELECT exchange FROM {qualified(of)} LIMIT 1")
    stored = [row[0] for row in cursor.fetchall()]
    names = sorted({*stored, *arrow.column("exchange").unique().to_pylist()})
    if len(names) > 1:
        raise InputError(
            f"table {of.name}: candles of {' and '.join(names)} must not be mixed; "
            "use another AUTONAMA_HOME or DATABASE_URL"
        )


def quarantine_rows(
    cursor: dbapi.Cursor,
    of: Table,
    rejected: pd.DataFrame,
    scope: Scope,
    failed: Sequence[str],
    stamps: dict[str, Any],
    exchange: str | None,
) -> None:
    """Replace the scope's quarantined rows of the exchange, but for symbols whose fetch failed."""
    symbols = scope.symbols
    if symbols is not None and failed:
        symbols = tuple(s for s in symbols if s not in set(failed))
    where, values = condition(QUARANTINE, Scope(symbols, scope.first, scope.last))
    n = len(values)
    extra = (
        f"{' AND' if where else ' WHERE'} table_name = ${n + 1} "
        f"AND exchange IS NOT DISTINCT FROM ${n + 2}"
    )
    cursor.execute(
        f"DELETE FROM {qualified(QUARANTINE)}{where}{extra}", (*values, of.name, exchange)
    )
    if len(rejected):
        rows = rejected.assign(
            table_name=of.name,
            exchange=pd.Series([exchange] * len(rejected), dtype="str", index=rejected.index),
            run_id=stamps["run_id"],
            quarantined_at=stamps["computed_at"],
        )
        good, _ = split(QUARANTINE, rows)
        _append(cursor, QUARANTINE, to_arrow(QUARANTINE, good))
        check_none(
            cursor,
            QUARANTINE,
            f"SELECT greatest($1 - count(*), 0) FROM {qualified(QUARANTINE)} "
            "WHERE run_id = $2 AND table_name = $3",
            "quarantined rows",
            (len(good), stamps["run_id"], of.name),
        )
