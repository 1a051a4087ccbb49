"""Whether the tables are as the registry says: a column that was changed by hand is found here."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from psycopg import Connection

from autonama_dagster.errors import SchemaError
from autonama_dagster.schemas.base import SCHEMA, Table
from autonama_dagster.schemas.registry import INDEXES, TABLES, VIEWS, index_name
from resources.postgres.connections import connect

Row = tuple[Any, ...]

_DECLARED: Final = {
    "text[]": "text[]",
    "jsonb": "jsonb",
    "money": "numeric(38,18)",
    "date": "date",
    "timestamptz": "timestamp with time zone",
    "packed": "bytea",
}
# Cheap: 400 rows in a millisecond, and no table is locked or read.
_COLUMNS: Final = """
    SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
           a.atthasdef OR a.attidentity <> '', a.attgenerated <> ''
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind IN ('r', 'p')
    ORDER BY c.relname, a.attnum
"""
_INDEXES: Final = """
    SELECT c.relname::text, i.indisprimary, array_agg(a.attname::text ORDER BY k.position)
    FROM pg_class AS c
    JOIN pg_index AS i ON i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
    CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (number, position)
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.number
    WHERE c.relnamespace = to_regnamespace(%s)
    GROUP BY c.relname, i.indexrelid, i.indisprimary
"""
_VIEWS: Final = """
    SELECT relname::text FROM pg_class
    WHERE relnamespace = to_regnamespace(%s) AND relkind = 'v'
"""
# Ours have none of these: keys and NOT NULL are looked at elsewhere.
_CONSTRAINTS: Final = """
    SELECT c.relname::text, quote_ident(k.conname), pg_get_constraintdef(k.oid)
    FROM pg_constraint AS k
    JOIN pg_class AS c ON c.oid = k.conrelid
    WHERE c.relnamespace = to_regnamespace(%s) AND k.contype IN ('c', 'f', 'u', 'x')
    ORDER BY c.relname, k.conname
"""


@dataclass(frozen=True)
class _Column:
    type: str
    is_required: bool
    has_default: bool = False
    is_generated: bool = False


def hindrances_at(url: str) -> list[str]:
    """`hindrances`, on a connection of its own."""
    with connect(url, connect_timeout=3) as connection:
        return hindrances(connection)


def check_schema(connection: Connection[Row]) -> None:
    """Refuse tables that were changed by hand.

    Raises
    ------
    SchemaError
        The first fault that hinders a run.
    """
    for fault in hindrances(connection):
        raise SchemaError(fault)


def faults(connection: Connection[Row]) -> list[str]:
    """What is not as the registry says, one line each with what mends it; none: all is well."""
    return [*hindrances(connection), *_lesser_faults(connection)]


def hindrances(connection: Connection[Row]) -> list[str]:
    """The faults with which rows cannot be read or written."""
    found: dict[str, dict[str, _Column]] = {}
    for table, column, *rest in connection.execute(_COLUMNS, (SCHEMA,)):
        found.setdefault(table, {})[column] = _Column(*rest)
    if not found:  # no schema of ours, as in Dagster's database
        return []
    keys = {t: tuple(names) for t, is_key, names in _indexes(connection) if is_key}
    return [
        f"{SCHEMA}.{of.name} was changed by hand: {fault}"
        for of in TABLES.values()
        for fault in _faults(of, found.get(of.name), keys.get(of.name, ()))
    ]


def _indexes(connection: Connection[Row]) -> Iterator[tuple[str, bool, tuple[str, ...]]]:
    """Of each index its table, whether it is the primary key, and its columns."""
    for table, is_key, names in connection.execute(_INDEXES, (SCHEMA,)):
        yield table, is_key, tuple(names)


def _lesser_faults(connection: Connection[Row]) -> Iterator[str]:
    """What makes queries slow, is missed by dashboards, or may refuse rows some day."""
    if not (tables := {table for table, *_ in connection.execute(_COLUMNS, (SCHEMA,))}):
        return
    views = {name for (name,) in connection.execute(_VIEWS, (SCHEMA,))}
    for name in VIEWS:
        if name not in views:
            yield f"view {SCHEMA}.{name} is missing: run `autonama db start`, which makes it again"
    found = list(_indexes(connection))
    for table, wanted in INDEXES.items():
        for columns in wanted if table in tables else ():
            if not any(t == table and names[: len(columns)] == columns for t, _, names in found):
                on = ", ".join(columns)
                yield (
                    f"{SCHEMA}.{table} has no index on {on}; CREATE INDEX "
                    f"{index_name(table, columns)} ON {SCHEMA}.{table} ({on})"
                )
    for table, name, text in connection.execute(_CONSTRAINTS, (SCHEMA,)):
        if table in TABLES:
            yield (
                f"{SCHEMA}.{table} was changed by hand: constraint {name} may refuse rows "
                f"({' '.join(text.split())}); ALTER TABLE {SCHEMA}.{table} DROP CONSTRAINT {name}"
            )


def _faults(of: Table, found: dict[str, _Column] | None, key: tuple[str, ...]) -> Iterator[str]:
    if found is None:
        yield "the table is missing; restore a backup: autonama db restore FILE --force"
        return
    alter = f"ALTER TABLE {SCHEMA}.{of.name}"
    expected = {name: _expected(of, name) for name in of.columns}
    strangers = {n: c for n, c in found.items() if n not in expected}
    for name, column in expected.items():
        if name in found:
            if fault := _difference(name, column, found[name]):
                yield f"column {fault[0]}; {alter} ALTER COLUMN {fault[1]}"
            continue
        same = [n for n, c in strangers.items() if c.type == column.type]
        mend = f"restore a backup, or add it: {alter} ADD COLUMN {name} {column.type}"
        if len(same) == 1:
            del strangers[same[0]]
            mend = f'{alter} RENAME COLUMN "{same[0]}" TO {name}'
        yield f"it has no column {name}; {mend}"
    for name, column in strangers.items():
        if column.is_required and not (column.has_default or column.is_generated):
            yield f'column "{name}" is unknown and needs a value; {alter} DROP COLUMN "{name}"'
    if of.key and key != of.key:
        drop = f"{alter} DROP CONSTRAINT {of.name}_pkey; " if key else ""
        yield (
            f"its primary key is {', '.join(key) or 'missing'}; {drop}{alter} ADD PRIMARY KEY "
            f"({', '.join(of.key)})"
        )


def _difference(name: str, expected: _Column, found: _Column) -> tuple[str, str] | None:
    """How a column differs, and what of ALTER COLUMN mends it."""
    if found.type != expected.type:
        return (
            f"{name} is {found.type} and should be {expected.type}",
            f'{name} TYPE {expected.type} USING "{name}"::{expected.type}',
        )
    if found.is_generated:
        return f"{name} is generated", f"{name} DROP EXPRESSION"
    if found.is_required and not expected.is_required:
        return f"{name} does not allow NULL", f"{name} DROP NOT NULL"
    if expected.is_required and not found.is_required:
        return f"{name} allows NULL", f"{name} SET NOT NULL"
    return None


def _expected(of: Table, name: str) -> _Column:
    column = of.schema.columns[name]
    return _Column(_type(of, name), not column.nullable or name in of.key)


def _type(of: Table, name: str) -> str:
    if declared := of.sql_type(name):
        return _DECLARED[declared]
    dtype = of.schema.columns[name].dtype.type
    if isinstance(dtype, pd.StringDtype):
        return "text"
    if isinstance(dtype, pd.BooleanDtype) or dtype == np.dtype(bool):
        return "boolean"
    if isinstance(dtype, pd.Int64Dtype) or dtype == np.dtype(np.int64):
        return "bigint"
    return "double precision"
