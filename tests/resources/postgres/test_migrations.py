"""Databases of earlier versions: what they hold comes along."""

import datetime as dt

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from rows import insert
from support import drop_databases

from autonama_dagster.schemas.base import SCHEMA
from resources.postgres.migrate import MIGRATIONS, migrate
from resources.postgres.schema_check import faults
from resources.postgres.urls import sqlalchemy_url

DAY = dt.date(2024, 1, 3)
CANDLES = (
    "ohlcv_1d", "ohlcv_15m", "ohlcv_1h", "ohlcv_4h", "ohlcv_1w",
    "ohlcv_1d_revisions", "ohlcv_15m_revisions", "ohlcv_1h_revisions",
)  # fmt: skip
NEW = {"exchange", "fault", "fault_date"}


@pytest.fixture
def old(postgres):
    """URL of a database as the migrations up to 0006 make it."""
    postgres.ensure_database("before_0007")
    url = postgres.url("before_0007")
    engine = sa.create_engine(sqlalchemy_url(url), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(SCHEMA))
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes |= {"connection": connection, "autogenerates": True}  # no comments yet
        command.upgrade(config, "0006")
    yield url
    drop_databases(postgres, "before_0007")


def rows(connection, table):
    found = connection.execute(f"SELECT to_jsonb(t) FROM trading.{table} AS t")
    return sorted((row for (row,) in found), key=lambda row: str(sorted(without_new(row).items())))


def without_new(row):
    added = {*NEW, "raw"} if row.get("raw") is None else NEW  # of candles, empty
    return {name: value for name, value in row.items() if name not in added}


def test_rows_of_before_there_were_two_exchanges_are_binances(old):
    log = {"symbol": "AAA", "from_date": DAY, "to_date": DAY}
    said = "AAA: two different {} candles of 2024-01-03 05:00 in one answer: try again later"
    with psycopg.connect(old) as connection:
        for name in CANDLES:
            insert(connection, name, symbol="AAA", date=DAY)
        insert(connection, "fetch_log", **log, interval="1d", outcome="ok")
        for number, interval in enumerate(("1d", "1h")):
            message = said.format(interval)
            insert(connection, "fetch_log", **log, interval=interval, outcome="failed",
                   message=message, run_id=f"r{number}")  # fmt: skip
        insert(connection, "fetch_log", **log, interval="1d", outcome="failed", run_id="r2",
               message="AAA: two different answers: try again later")  # fmt: skip
        for name in ("universe", "ohlcv_1d", "signals"):
            insert(connection, "quarantine", table_name=name, symbol="AAA")
    tables = (*CANDLES, "fetch_log", "quarantine")
    with psycopg.connect(old) as connection:
        before = {name: rows(connection, name) for name in tables}
    migrate(old)
    with psycopg.connect(old) as connection:
        assert faults(connection) == []
        after = {name: rows(connection, name) for name in tables}
    assert {n: [*map(without_new, found)] for n, found in after.items()} == before
    assert {row["exchange"] for name in (*CANDLES, "fetch_log") for row in after[name]} == {
        "binance"
    }
    assert {row["table_name"]: row["exchange"] for row in after["quarantine"]} == {
        "universe": "binance", "ohlcv_1d": "binance", "signals": None,
    }  # fmt: skip
    found = {(row["run_id"], row["interval"]): (row["fault"], row["fault_date"])
              for row in after["fetch_log"]}  # fmt: skip
    conflict = ("conflicting", "2024-01-03")
    assert found == {
        ("x", "1d"): (None, None), ("r0", "1d"): conflict, ("r1", "1h"): conflict,
        ("r2", "1d"): (None, None),
    }  # fmt: skip
    with psycopg.connect(old) as connection:  # the other exchange's answer has room beside it
        insert(connection, "fetch_log", **log, interval="1d", outcome="ok", exchange="other")
