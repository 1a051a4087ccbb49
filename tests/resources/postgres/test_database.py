"""A database is brought up to date, or one line says what its user may not do."""

import sys

import psycopg
import pytest
from psycopg import sql

from autonama_dagster.errors import DatabaseError
from resources.postgres.database import dagster_database_url
from resources.postgres.migrate import migrate
from resources.postgres.urls import libpq_url


@pytest.fixture
def weak(database):
    """URL of a database without tables, whose user may only connect."""
    with psycopg.connect(libpq_url(database), autocommit=True) as connection:
        connection.execute("DROP SCHEMA trading CASCADE")
        connection.execute("CREATE ROLE weak")
        connection.execute("GRANT weak TO current_user")
        yield f"{database}&options=-c%20role%3Dweak"
        connection.execute("DROP ROLE weak")


def tables(url):
    query = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'trading'"
    with psycopg.connect(libpq_url(url)) as connection:
        return connection.execute(query).fetchone()[0]


def test_who_may_not_create_is_told_so(weak):
    with pytest.raises(DatabaseError, match=r"cannot bring schema trading .*permission denied"):
        migrate(weak)
    assert tables(weak) == 0


def test_who_may_not_look_is_told_so(database, weak):
    migrate(database)
    with pytest.raises(DatabaseError, match=r"cannot bring schema trading .*permission denied"):
        migrate(weak)


def test_who_may_not_make_dagsters_database_is_told_so(weak, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", weak)
    with pytest.raises(DatabaseError, match=r"cannot create database trading_\d+_dagster for"):
        dagster_database_url()


def test_dagsters_database_is_made_once(postgres, database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database)
    (url,) = {dagster_database_url() for _ in range(2)}
    with psycopg.connect(libpq_url(url)) as connection:
        made = connection.info.dbname
    assert made.endswith("_dagster")
    with psycopg.connect(libpq_url(postgres.url("postgres")), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(made)))


def test_a_schema_that_is_up_to_date_needs_no_alembic(database, monkeypatch):
    monkeypatch.setitem(sys.modules, "alembic", None)  # an import of it fails
    migrate(database)
    with psycopg.connect(libpq_url(database), autocommit=True) as connection:
        connection.execute("UPDATE trading.alembic_version SET version_num = '0001'")
    with pytest.raises(ImportError):
        migrate(database)
