"""Single rows of any table, for tests that look at what is there and not at its numbers."""

from typing import Any

import psycopg
from psycopg import sql

from autonama_dagster.text.sources import SCAN_EXCHANGE

FILLER = {
    "text": "x", "double precision": 1.0, "bigint": 1, "boolean": True, "date": "2024-01-01",
    "timestamp with time zone": "2024-01-02T00:05:00Z", "jsonb": "{}", "ARRAY": [], "numeric": 1,
}  # fmt: skip
_NAMED = {"exchange": SCAN_EXCHANGE}


def insert(connection: psycopg.Connection, table: str, **values: Any) -> None:
    """Insert one row; columns that must not be NULL and are not given get something that fits."""
    found = connection.execute(
        "SELECT column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = 'trading' AND table_name = %s AND is_nullable = 'NO'",
        (table,),
    )
    row = {**{name: _NAMED.get(name, FILLER[kind]) for name, kind in found}, **values}
    columns = sql.SQL(", ").join(map(sql.Identifier, row))
    places = sql.SQL(", ").join(sql.Placeholder() for _ in row)
    into = sql.SQL("INSERT INTO {} ({}) VALUES ({})")
    connection.execute(
        into.format(sql.Identifier("trading", table), columns, places), tuple(row.values())
    )
