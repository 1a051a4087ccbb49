"""Databases that are not ours, read-only or changed by hand; every hint is followed."""

import re

import psycopg
import pytest
import sqlalchemy as sa

from autonama_dagster.errors import DatabaseError, SchemaError
from autonama_dagster.schemas.ddl import metadata
from autonama_dagster.schemas.registry import INDEXES, TABLES, index_name
from autonama_dagster.settings import load_settings
from resources.postgres.connections import engine
from resources.postgres.diagnosis import read_only_cause
from resources.postgres.migrate import check_writable, migrate, newest_revision, ready_url
from resources.postgres.schema_check import faults
from resources.postgres.urls import libpq_url


def run(url, *statements):
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def follow(url, text, pattern=r"((?:ALTER|BEGIN) .*)$"):
    """Run the SQL that a message ends with, as a user would paste it."""
    run(url, re.search(pattern, str(text))[1])


def faults_at(url):
    with psycopg.connect(libpq_url(url)) as connection:
        return faults(connection)


@pytest.fixture
def bare(database):
    """URL of a database without our schema."""
    run(database, "DROP SCHEMA trading CASCADE")
    return database


@pytest.fixture(autouse=True)
def nothing_checked():
    check_writable.cache_clear()


OLD = "CREATE SCHEMA trading; CREATE TABLE trading.{} (id serial PRIMARY KEY, symbol varchar(20))"


@pytest.mark.parametrize("name", ["alerts", "analysis_summary", "ohlc_data"])
def test_the_tables_of_the_old_scripts_are_named_and_can_be_renamed(bare, name):
    run(bare, OLD.format(name), f"INSERT INTO trading.{name} (symbol) VALUES ('BTCUSDT')")
    with pytest.raises(DatabaseError, match=rf"has {name} from another program, such as") as raised:
        migrate(bare)
    assert "\n" not in str(raised.value)
    follow(bare, raised.value)
    migrate(bare)
    assert faults_at(bare) == []
    with psycopg.connect(bare) as connection:
        kept = connection.execute(f"SELECT symbol FROM trading_old.{name}").fetchall()
    assert kept == [("BTCUSDT",)]


def test_tables_of_other_names_are_nobodys_business(bare):
    run(bare, "CREATE SCHEMA trading; CREATE TABLE trading.my_notes (note text NOT NULL)")
    migrate(bare)
    assert faults_at(bare) == []


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("(version_num text); INSERT INTO {} VALUES ('a1b2c3')", "migration a1b2c3, which is not"),
        ("(version_num text)", "migration none, which is not"),
        ("(number int); INSERT INTO {} VALUES (7)", "migration none, which is not"),
        ("(version_num text); INSERT INTO {} VALUES ('0001'), ('x')", "migration 0001, x, which"),
    ],
)
def test_a_foreign_alembic_version_is_told_and_can_be_renamed(bare, table, says):
    name = "trading.alembic_version"
    run(bare, f"CREATE SCHEMA trading; CREATE TABLE {name} {table.format(name)}")
    with pytest.raises(DatabaseError, match=says) as raised:
        migrate(bare)
    follow(bare, raised.value)
    migrate(bare)


def test_a_newer_schema_asks_for_the_newer_version(database):
    run(database, "UPDATE trading.alembic_version SET version_num = '0999'")
    says = rf"is at migration 0999 .* only knows up to {newest_revision()}: use the newer version"
    with pytest.raises(DatabaseError, match=says):
        migrate(database)


SETTING = "default_transaction_read_only"


@pytest.mark.parametrize(
    "whose", ["DATABASE {d}", "ROLE autonama", "ROLE autonama IN DATABASE {d}"]
)
@pytest.mark.parametrize("is_new", [False, True])
def test_a_read_only_database_is_told_with_what_ends_that(database, whose, is_new):
    if is_new:
        run(database, "DROP SCHEMA trading CASCADE")
    with psycopg.connect(database) as connection:
        name = connection.info.dbname
    whose = whose.format(d=name)
    run(database, f"ALTER {whose} SET {SETTING} = on")
    settings = load_settings(DATABASE_URL=database)
    try:
        with pytest.raises(DatabaseError, match=r"is read-only[:;] ") as raised:
            ready_url(settings)
        assert "\n" not in str(raised.value)
        if not is_new:
            ready_url(settings, reads=True)
        follow(database, raised.value)
        ready_url(settings)
    finally:
        run(
            database,
            f"BEGIN READ WRITE; ALTER {whose} RESET {SETTING}; COMMIT",
        )


def test_a_read_only_server_is_told_with_what_ends_that(database, postgres):
    admin, reload = postgres.admin_url("postgres"), "SELECT pg_reload_conf()"
    run(admin, f"ALTER SYSTEM SET {SETTING} = on", reload)
    while not read_only(database):
        pass  # until the server has read its configuration
    try:
        with pytest.raises(DatabaseError, match="read-only; as a superuser") as raised:
            check_writable(database)
        told = re.search(r"(ALTER SYSTEM .*), then (SELECT .*)$", str(raised.value))
        run(admin, *told.groups())
        while read_only(database):
            pass
        check_writable(database)
    finally:
        run(admin, f"ALTER SYSTEM RESET {SETTING}", reload)


def read_only(url):
    with psycopg.connect(url) as connection:
        return read_only_cause(connection)


def test_a_standby_is_told():
    class Standby:
        def execute(self, _):
            return self

        def fetchone(self):
            return (True, False, "default", "me", "d")

    assert read_only_cause(Standby()) == "it is a standby: set DATABASE_URL to the primary"


def test_the_migrations_make_what_the_registry_says(database):
    assert faults_at(database) == []
    made = engine(database)
    with made.connect() as connection:
        found = {t: len(sa.inspect(connection).get_columns(t, "trading")) for t in TABLES}
    assert found == {t.name: len(t.columns) for t in metadata().tables.values()}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("RENAME COLUMN potential_return TO zz", "it has no column potential_return"),
        ("DROP COLUMN potential_return", "it has no column potential_return"),
        ("ALTER COLUMN potential_return TYPE numeric", "column potential_return is numeric and"),
        ("ALTER COLUMN symbol TYPE varchar(4)", r"column symbol is character varying\(4\) and"),
        ("ALTER COLUMN potential_return SET NOT NULL", "column potential_return does not allow"),
        ("ALTER COLUMN status DROP NOT NULL", "column status allows NULL"),
        ("ADD COLUMN mine int NOT NULL", 'column "mine" is unknown and needs a value'),
        ("DROP CONSTRAINT alerts_pkey", "its primary key is missing"),
        ("DROP CONSTRAINT alerts_pkey, ADD PRIMARY KEY (symbol)", "its primary key is symbol; "),
        ("DROP COLUMN risk_level, ADD COLUMN risk_level text GENERATED ALWAYS AS ('LOW') STORED",
         "column risk_level is generated"),
    ],
)  # fmt: skip
def test_a_table_changed_by_hand_is_refused_and_the_hint_mends_it(database, change, says):
    run(database, f"ALTER TABLE trading.alerts {change}")
    with pytest.raises(
        SchemaError, match=rf"^trading.alerts was changed by hand: {says}"
    ) as raised:
        check_writable(database)
    assert "\n" not in str(raised.value)
    follow(database, raised.value)
    while left := faults_at(database):  # a key whose column may be NULL again
        follow(database, left[0])
    check_writable(database)


def test_a_table_that_is_gone_is_named(database):
    run(database, "DROP TABLE trading.signals CASCADE")
    with psycopg.connect(database) as connection:
        fault, view = faults(connection)
    assert view.startswith("view trading.signal_lineage is missing: ")
    assert fault.startswith("trading.signals was changed by hand: the table is missing; restore a")


@pytest.mark.parametrize(
    "change", ["ADD COLUMN note text", "ADD COLUMN n int NOT NULL DEFAULT 0", "SET (fillfactor=90)"]
)
def test_what_hinders_nobody_is_no_fault(database, change):
    run(database, f"ALTER TABLE trading.signals {change}")
    assert faults_at(database) == []


def test_a_dropped_view_is_told_hinders_no_run_and_is_made_again(database):
    run(database, "DROP VIEW trading.asset_metadata")
    (fault,) = faults_at(database)
    assert fault.startswith("view trading.asset_metadata is missing: run `autonama db start`")
    check_writable(database)
    migrate(database)
    assert faults_at(database) == [fault]  # what is at the newest migration is not looked at
    migrate(database, anyway=True)
    assert faults_at(database) == []


@pytest.mark.parametrize("table", ["alerts", "quarantine"])
def test_a_dropped_index_is_told_hinders_no_run_and_the_hint_makes_it(database, table):
    (columns,) = INDEXES[table]
    run(database, f"DROP INDEX trading.{index_name(table, columns)}")
    (fault,) = faults_at(database)
    assert fault.startswith(f"trading.{table} has no index on {', '.join(columns)}; ")
    check_writable(database)
    follow(database, fault, r"(CREATE INDEX .*)$")
    assert faults_at(database) == []


@pytest.mark.parametrize(
    "added",
    [
        'ADD CONSTRAINT "Mine" CHECK (signal_strength < 90)',
        "ADD UNIQUE (symbol)",
        "ADD FOREIGN KEY (symbol, date) REFERENCES trading.ohlcv_1d (symbol, date)",
    ],
)
def test_a_constraint_that_may_refuse_rows_is_told_and_the_hint_drops_it(database, added):
    run(database, f"ALTER TABLE trading.alerts {added}")
    (fault,) = faults_at(database)
    assert "trading.alerts was changed by hand: constraint " in fault
    check_writable(database)
    follow(database, fault)
    assert faults_at(database) == []
