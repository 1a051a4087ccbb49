"""Single rows of any table, for tests that look at what is there and not at its numbers."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

import psycopg
from psycopg import sql

from autonama_dagster.text.sources import SCAN_EXCHANGE
from resources.warehouse.table_facts import BY_MEMBER

FILLER = {
    "text": "x", "double precision": 1.0, "bigint": 1, "boolean": True, "date": "2024-01-01",
    "timestamp with time zone": "2024-01-02T00:05:00Z", "jsonb": "{}", "ARRAY": [], "numeric": 1,
    "bytea": b"\x12",
}  # fmt: skip
MEMBERS = ("AAA", "BBB")
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


def add_day(
    connection: psycopg.Connection,
    day: date,
    *,
    without: Collection[str] = (),
    symbols: Sequence[str] = MEMBERS,
) -> None:
    """One complete day, but for the tables in `without`."""
    for symbol in symbols:
        insert(connection, "universe", date=day, symbol=symbol, is_member=True)
        insert(connection, "fetch_log", symbol=symbol, interval="1d", from_date=day, to_date=day,
               outcome="ok")  # fmt: skip
        for name in set(BY_MEMBER) - set(without):
            insert(connection, name, date=day, symbol=symbol)
    insert(connection, "correlation_matrix", date=day, symbol_a="AAA", symbol_b="BBB")
    if "analysis_summary" not in without:
        insert(connection, "analysis_summary", date=day)
