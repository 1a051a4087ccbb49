"""Dagster's tables are there as a whole, whatever a killed program has left."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from dagster_postgres import DagsterPostgresStorage
from support import drop_databases

from resources.dagster_storage import AutonamaStorage
from resources.instance.tables import make_tables
from resources.postgres.urls import dagster_url, libpq_url

QUERY = """
SELECT 'index', tablename, indexname FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'column', table_name, column_name FROM information_schema.columns
WHERE table_schema = 'public'
UNION ALL SELECT 'migration', '', name FROM secondary_indexes
UNION ALL SELECT 'revision', '', version_num FROM alembic_version
"""


@pytest.fixture
def make(postgres):
    """URL of an empty database of this name."""
    made = []

    def call(name):
        postgres.ensure_database(name)
        made.append(name)
        return dagster_url(postgres.url(name))

    yield call
    drop_databases(postgres, *made)


def facts(postgres, name):
    with psycopg.connect(libpq_url(postgres.url(name))) as connection:
        return sorted(connection.execute(QUERY).fetchall())


def test_they_are_those_that_dagster_makes(make, postgres):
    DagsterPostgresStorage(make("tables_stock"))
    make_tables(make("tables_ours"))
    assert facts(postgres, "tables_ours") == facts(postgres, "tables_stock")


@pytest.mark.parametrize("left", [("snapshots", "runs"), ("event_logs", "asset_keys"), ("jobs",)])
def test_half_of_them_are_completed(make, postgres, left):
    name = f"tables_half_{left[-1]}"
    url = make(name)
    make_tables(make("tables_whole"))
    make_tables(url)
    with psycopg.connect(libpq_url(url)) as connection:
        names = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL(%s)",
            (list(left),),
        ).fetchall()
        for (table,) in names:
            connection.execute(f"DROP TABLE {table} CASCADE")
    AutonamaStorage(url)
    assert facts(postgres, name) == facts(postgres, "tables_whole")


def test_programs_that_start_at_once_make_them_once(make, caplog):
    url = make("tables_at_once")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: make_tables(url), range(4)))
    with psycopg.connect(libpq_url(url)) as connection:
        assert connection.execute("SELECT count(*) FROM kvs").fetchone() == (1,)
    assert not [r for r in caplog.records if "Retrying" in r.message]
