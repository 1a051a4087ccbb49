"""A row that the server drops or changes without a word fails the write, and the hint mends it."""

import re
from contextlib import suppress
from datetime import date

import pandas as pd
import psycopg
import pytest
from rows import FILLER, insert
from support import NOW, STAMPS, bands, candles

from autonama_dagster.errors import DatabaseError
from autonama_dagster.schemas.registry import TABLES
from resources.postgres.urls import libpq_url
from resources.warehouse.frames import to_arrow
from resources.warehouse.read_back import check_scope
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch

DAYS = ["2024-01-01", "2024-01-02"]
SCOPE = Scope(("AAA", "BBB"), date(2024, 1, 1), date(2024, 1, 2))
WHEN = "WHEN (NEW.symbol = 'BBB')"


def run(url, statement):
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        connection.execute(statement)


def meddle(url, table, does, when=WHEN, event="INSERT"):
    run(
        url,
        f"CREATE FUNCTION public.meddle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {does} END';"
        f"CREATE TRIGGER meddle BEFORE {event} ON trading.{table} FOR EACH ROW {when} "
        "EXECUTE FUNCTION public.meddle()",
    )


def mended(url, error):
    run(url, re.search(r"(ALTER TABLE .*)$", str(error))[1])


def write_bands(warehouse, close=10.0):
    return warehouse.write(
        "regression_bands", Batch(bands(["AAA", "BBB"], DAYS, close)), SCOPE, STAMPS
    )


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("RETURN NULL;", "4 rows were sent but 2 are stored"),
        ("NEW.symbol = ''CCC''; RETURN NEW;", "4 rows were sent but 2 are stored"),
        ("NEW.close = NEW.close * 1.0001; RETURN NEW;", "column close of 4 rows differs"),
        ("NEW.z_score = NULL; RETURN NEW;", "column z_score of 4 rows differs"),
        ("NEW.status = ''KO''; RETURN NEW;", "column status of 4 rows differs"),
        ("NEW.n_obs = 719; RETURN NEW;", "column n_obs of 4 rows differs"),
        ("NEW.date = NEW.date + 100; RETURN NEW;", "4 rows were sent but 2 are stored"),
        ("NEW.window_start = NEW.window_start + 1; RETURN NEW;", "column window_start of 4 rows"),
        ("NEW.computed_at = now(); RETURN NEW;", "column computed_at of 4 rows"),
        ("NEW.run_id = ''mine''; RETURN NEW;", "column run_id of 4 rows"),
    ],
)
def test_a_trigger_that_meddles_with_a_row_is_named(warehouse, database, does, says):
    write_bands(warehouse, 9.0)
    meddle(database, "regression_bands", does)
    with pytest.raises(DatabaseError) as raised:
        write_bands(warehouse)
    told = str(raised.value)
    assert told.startswith(f"trading.regression_bands does not contain what was written: {says}")
    assert told.endswith("trigger meddle is the cause: ALTER TABLE trading.regression_bands "
                         "DISABLE TRIGGER meddle")  # fmt: skip
    assert warehouse.read("regression_bands")["close"].tolist() == [9.0] * 4
    mended(database, told)
    assert write_bands(warehouse).rows == 4


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("NEW.input_hash = repeat(''f'', 64); RETURN NEW;", "column input_hash of 4,000 rows"),
        ("NEW.status = ''KO''; RETURN NEW;", "column status of 4,000 rows"),
        ("RETURN NULL;", "4,000 rows were sent but 3,999 are stored"),
    ],
)
def test_a_row_among_thousands_is_noticed(warehouse, database, does, says):
    names = [f"S{n:04}" for n in range(4000)]
    rows = bands([*names[:-1], "BBB"], DAYS[:1])
    rows["input_hash"] = pd.Series([f"{n:064x}" for n in range(4000)], dtype="str")
    scope = Scope(first=date(2024, 1, 1), last=date(2024, 1, 1))
    assert warehouse.write("regression_bands", Batch(rows), scope, STAMPS).rows == 4000
    meddle(database, "regression_bands", does)
    with pytest.raises(DatabaseError, match=says):
        warehouse.write("regression_bands", Batch(rows), scope, STAMPS)


def test_a_trigger_that_leaves_our_rows_alone_is_no_fault(warehouse, database):
    meddle(database, "regression_bands", "RETURN NULL;", "WHEN (false)")
    assert write_bands(warehouse).rows == 4


def test_a_row_that_a_trigger_adds_is_noticed(warehouse, database):
    added = "NEW.date = NEW.date + 1; INSERT INTO trading.regression_bands SELECT NEW.*;"
    meddle(database, "regression_bands", f"{added} NEW.date = NEW.date - 1; RETURN NEW;",
           f"{WHEN[:-1]} AND NEW.date < '2024-01-02')")  # fmt: skip
    rows = Batch(bands(["AAA", "BBB"], DAYS[:1]))
    with pytest.raises(DatabaseError, match="2 rows were sent but 3 are stored") as raised:
        warehouse.write("regression_bands", rows, SCOPE, STAMPS)
    mended(database, raised.value)
    assert warehouse.write("regression_bands", rows, SCOPE, STAMPS).rows == 2


def test_whole_numbers_whose_sum_has_more_than_64_bits_are_written(warehouse):
    rows = bands(["AAA", "BBB"], DAYS).assign(n_obs=2**62)
    assert warehouse.write("regression_bands", Batch(rows), SCOPE, STAMPS).rows == 4
    assert warehouse.read("regression_bands")["n_obs"].eq(2**62).all()


@pytest.mark.parametrize(
    "does",
    [
        "RETURN NULL;",
        "NEW.close = 1; RETURN NEW;",
        "NEW.taker_buy_volume = NULL; RETURN NEW;",
    ],
)
@pytest.mark.parametrize("event", ["INSERT", "UPDATE"])
def test_a_merged_candle_that_is_lost_or_changed_is_noticed(warehouse, database, does, event):
    days = DAYS[:1] if event == "INSERT" else DAYS
    says = "2 of 4 rows differ from what was sent"
    if (event, does) == ("INSERT", "RETURN NULL;"):
        says = "4 rows were sent but 3 are stored"
    warehouse.write("ohlcv_1d", Batch(candles(["AAA", "BBB"], days)), SCOPE, STAMPS)
    meddle(database, "ohlcv_1d", does, event=event)
    new = Batch(candles(["AAA", "BBB"], DAYS, 11.0))
    with pytest.raises(
        DatabaseError, match=rf"ohlcv_1d does not contain .*: {says}.* trigger meddle"
    ) as raised:
        warehouse.write("ohlcv_1d", new, SCOPE, STAMPS)
    assert warehouse.read("ohlcv_1d")["close"].eq(10.0).all()
    mended(database, raised.value)
    warehouse.write("ohlcv_1d", new, SCOPE, STAMPS)
    assert warehouse.read("ohlcv_1d")["close"].tolist() == [11.0] * 4


@pytest.mark.parametrize("does", ["RETURN NULL;", "NEW.close = 1; RETURN NEW;"])
def test_a_revision_that_is_lost_or_changed_is_noticed(warehouse, database, does):
    warehouse.write("ohlcv_1d", Batch(candles(["AAA", "BBB"], DAYS)), SCOPE, STAMPS)
    meddle(database, "ohlcv_1d_revisions", does)
    new = Batch(candles(["AAA", "BBB"], DAYS, 11.0))
    says = r"ohlcv_1d_revisions does not contain what was written: 2 replaced candles are missing"
    with pytest.raises(DatabaseError, match=says) as raised:
        warehouse.write("ohlcv_1d", new, SCOPE, STAMPS)
    assert warehouse.read("ohlcv_1d")["close"].eq(10.0).all()
    mended(database, raised.value)
    warehouse.write("ohlcv_1d", new, SCOPE, STAMPS)
    assert len(warehouse.read("ohlcv_1d_revisions")) == 4


def rejected():
    return pd.DataFrame(
        {
            "symbol": pd.Series(["BBB"], dtype="str"),
            "date": pd.to_datetime(["2024-01-02"]).astype("datetime64[s]"),
            "reason": pd.Series(["bad"], dtype="str"),
            "raw": pd.Series(["[]"], dtype="str"),
        }
    )


def fetches():
    return pd.DataFrame(
        {
            "exchange": pd.Series(["binance"], dtype="str"),
            "symbol": pd.Series(["BBB"], dtype="str"),
            "interval": pd.Series(["1d"], dtype="str"),
            "from_date": pd.to_datetime(["2024-01-01"]).astype("datetime64[s]"),
            "to_date": pd.to_datetime(["2024-01-02"]).astype("datetime64[s]"),
            "asked_at": [NOW],
            "outcome": pd.Series(["ok"], dtype="str"),
            "candles": [1],
            "message": pd.Series([None], dtype="str"),
            "fault": pd.Series([None], dtype="str"),
            "fault_date": pd.to_datetime([None]).astype("datetime64[s]"),
            "origins": pd.Series([None], dtype="str"),
        }
    )


@pytest.mark.parametrize("table", ["quarantine", "fetch_log"])
def test_what_is_written_beside_the_rows_is_read_back_too(warehouse, database, table):
    meddle(database, table, "RETURN NULL;")
    batch = Batch(candles(["AAA", "BBB"], DAYS[:1]), rejected(), fetches())
    with pytest.raises(DatabaseError, match=rf"trading.{table} does not contain") as raised:
        warehouse.write("ohlcv_1d", batch, SCOPE, STAMPS)
    assert warehouse.read("ohlcv_1d").empty
    mended(database, raised.value)
    warehouse.write("ohlcv_1d", batch, SCOPE, STAMPS)


def test_a_rule_that_swallows_a_row_is_named(warehouse, database):
    warehouse.write("ohlcv_1d", Batch(candles(["AAA"], DAYS)), SCOPE, STAMPS)  # so that it merges
    run(database, "CREATE RULE eat AS ON INSERT TO trading.ohlcv_1d_revisions DO INSTEAD NOTHING")
    new = Batch(candles(["AAA"], DAYS, 11.0))
    with pytest.raises(DatabaseError, match="rule eat is the cause") as raised:
        warehouse.write("ohlcv_1d", new, SCOPE, STAMPS)
    mended(database, raised.value)
    warehouse.write("ohlcv_1d", new, SCOPE, STAMPS)


def test_row_security_that_hides_a_row_is_named(warehouse, database, postgres):
    run(
        database,
        "CREATE ROLE guarded LOGIN; GRANT USAGE ON SCHEMA trading TO guarded; "
        "GRANT ALL ON ALL TABLES IN SCHEMA trading TO guarded; "
        "ALTER TABLE trading.ohlcv_1d_revisions ENABLE ROW LEVEL SECURITY; "
        "CREATE POLICY put ON trading.ohlcv_1d_revisions FOR INSERT WITH CHECK (true); "
        "CREATE POLICY see ON trading.ohlcv_1d_revisions FOR SELECT USING (symbol = 'AAA')",
    )
    try:
        warehouse.write("ohlcv_1d", Batch(candles(["AAA", "BBB"], DAYS)), SCOPE, STAMPS)
        weak = type(warehouse)(lambda: database.replace("autonama@", "guarded@"))
        new = Batch(candles(["AAA", "BBB"], DAYS, 11.0))
        with pytest.raises(DatabaseError, match="row security is the cause") as raised:
            weak.write("ohlcv_1d", new, SCOPE, STAMPS)
        mended(database, raised.value)
        weak.write("ohlcv_1d", new, SCOPE, STAMPS)
        weak.close()
    finally:
        with psycopg.connect(database) as connection:
            name = connection.info.dbname
        run(postgres.admin_url(name), "DROP OWNED BY guarded; DROP ROLE guarded")


def test_every_table_is_read_back_as_it_is_written(warehouse, database):
    for name, of in TABLES.items():
        with psycopg.connect(libpq_url(database)) as connection:
            insert(connection, name, **({"symbol": "AAA"} if "symbol" in of.columns else {}))
        frame = warehouse.read(name)
        with warehouse.transaction() as cursor:
            check_scope(cursor, of, to_arrow(of, frame), "", ())
        assert len(frame) == 1


CHANGED = {
    "text": "{} || 'y'", "double precision": "{} + 1", "bigint": "{} + 1", "boolean": "NOT {}",
    "date": "{} + 1", "timestamp with time zone": "{} + interval '1 second'", "numeric": "{} + 1",
    "ARRAY": "array_append({}, NULL)", "jsonb": "NULL",
    "bytea": "{} || '\\x11'",
}  # fmt: skip


class UndoneError(Exception):
    """Ends a transaction."""


def columns_of_each_type(connection):
    """One column for each type that a table has: table, column, its type."""
    rows = connection.execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = 'trading' AND (data_type <> 'jsonb' OR is_nullable = 'YES') "
        "ORDER BY ordinal_position DESC"
    ).fetchall()
    found = {kind: (TABLES[name], column) for name, column, kind in rows if name in TABLES}
    return [(of, column, kind) for kind, (of, column) in found.items()]


def test_a_change_in_a_column_of_any_type_is_noticed(warehouse, database):
    with psycopg.connect(libpq_url(database)) as connection:
        chosen = columns_of_each_type(connection)
        assert {kind for *_, kind in chosen} == set(CHANGED)
        for of in {of.name: of for of, *_ in chosen}.values():
            mine = {column: FILLER[kind] for table, column, kind in chosen if table is of}
            insert(connection, of.name, **mine)
    for of, column, kind in chosen:
        arrow = to_arrow(of, warehouse.read(of.name))
        with suppress(UndoneError), warehouse.transaction() as cursor:
            changed = CHANGED[kind].format(f'"{column}"')
            cursor.execute(f'UPDATE trading.{of.name} SET "{column}" = {changed}')
            with pytest.raises(DatabaseError, match=f"column {column} of 1 row differs"):
                check_scope(cursor, of, arrow, "", ())
            raise UndoneError
