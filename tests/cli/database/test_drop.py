"""`autonama db drop`: what goes, what stays, and when it is refused."""

import psycopg
import pytest

from resources.postgres.database import DAGSTER_DATABASE, DATABASE, embedded_server
from resources.postgres.migrate import migrate
from resources.postgres.upkeep import backup as backups
from resources.postgres.urls import dagster_sibling, libpq_url, with_database


@pytest.fixture
def own(home):
    """A running embedded server with both databases, and a file of the user's beside it."""
    server = embedded_server()
    server.start()
    for name in (DATABASE, DAGSTER_DATABASE):
        server.ensure_database(name)
    (home / "results").mkdir()
    return server


def test_it_asks_and_names_what_goes_and_deletes_nothing_unasked(run, own):
    ended = run("db", "drop")
    assert ended.code == 2
    lines = ended.err.splitlines()
    assert str(own.data_dir.parent) in lines[1]
    assert "candles" in lines[1]
    assert "autonama db backup FILE" in ended.err
    assert "add --yes" in lines[-1]
    assert own.pid() is not None


def test_everything_of_the_embedded_server_goes(run, own, home):
    logs = home / ".autonama" / "dagster"
    logs.mkdir(parents=True)
    (home / "anchors.jsonl").touch()
    ended = run("db", "drop", "--yes")
    assert (ended.code, ended.out) == (0, "deleted\n")
    assert f"the anchor log {home / 'anchors.jsonl'} stays: move it away" in ended.err
    assert own.pid() is None
    for path in (own.data_dir.parent, own.socket_dir, logs):
        assert not path.exists()
    assert (home / "results").exists()
    assert run("db", "drop", "--yes").out == "there is no database\n"


def test_it_is_refused_while_somebody_works(run, own):
    for name in (DATABASE, DAGSTER_DATABASE):
        with psycopg.connect(own.url(name)):
            ended = run("db", "drop", "--yes")
        assert ended.code == 2
        assert "is used by" in ended.error
        assert own.pid() is not None


def test_a_dashboard_counts_as_somebody(run, own):
    reader = own.url(DATABASE).replace("autonama@", "dashboard@")
    with psycopg.connect(own.admin_url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE ROLE dashboard LOGIN")
    with psycopg.connect(reader):
        ended = run("db", "drop", "--yes")
    assert "is used by 1 connection of another program" in ended.error
    assert own.pid() is not None


def test_where_nothing_of_dagsters_is_there_ours_goes(run, database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database)
    ended = run("db", "drop", "--yes")
    assert (ended.code, ended.out) == (0, "deleted\n")
    assert "Dagster" not in ended.err
    with psycopg.connect(libpq_url(database)) as connection:
        assert connection.execute("SELECT to_regnamespace('trading')").fetchone() == (None,)


def test_on_a_users_server_our_tables_go_and_nothing_else(run, postgres, database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database)
    base, _, query = database.partition("?")
    postgres.ensure_database(f"{base.rpartition('/')[2]}_dagster")
    dagster = f"{base}_dagster?{query}"
    with psycopg.connect(libpq_url(database), autocommit=True) as connection:
        connection.execute("CREATE TABLE public.theirs AS SELECT 1 AS a")
    with psycopg.connect(libpq_url(dagster), autocommit=True) as connection:
        connection.execute("CREATE TABLE public.runs AS SELECT 1 AS a")
        connection.execute("CREATE TABLE public.theirs AS SELECT 1 AS a")
    ended = run("db", "drop", "--yes")
    assert ended.code == 0, ended.err
    assert "schema trading of postgresql://" in ended.err
    left = "SELECT to_regnamespace('trading'), to_regclass('runs'), to_regclass('theirs')::text"
    for url in (database, dagster):
        with psycopg.connect(libpq_url(url)) as connection:
            assert connection.execute(left).fetchone() == (None, None, "theirs")
    migrate(database)  # and begins anew


@pytest.mark.parametrize("alembic", [False, True])
def test_a_schema_of_somebody_else_is_left_alone(
    run, database, monkeypatch, stored, tmp_path, postgres, alembic
):
    monkeypatch.setenv("DATABASE_URL", database)
    with psycopg.connect(libpq_url(database)) as connection:
        connection.execute("DROP SCHEMA trading CASCADE")
        connection.execute("CREATE SCHEMA trading")
        connection.execute("CREATE TABLE trading.signals AS SELECT 1 AS a")
        if alembic:
            connection.execute("CREATE TABLE trading.alembic_version AS SELECT 'a1b2c3' AS a")
    postgres.ensure_database(dagster_sibling(database))
    dagster = with_database(stored.url, dagster_sibling(stored.url))
    kept = tmp_path / "kept.backup"
    backups.backup({"project": stored.url, "dagster": libpq_url(dagster)}, kept)
    for arguments in (("drop", "--yes"), ("restore", "--force", kept)):
        ended = run("db", *arguments)
        assert ended.code == 2
        assert "was not made by Autonama" in ended.error
    with psycopg.connect(libpq_url(database)) as connection:
        assert connection.execute("SELECT a FROM trading.signals").fetchone() == (1,)


def test_the_embedded_server_goes_even_where_another_is_used(run, own, database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database)
    assert run("db", "drop", "--embedded", "--yes").code == 0
    assert own.pid() is None
    with psycopg.connect(libpq_url(database)) as connection:
        found = connection.execute("SELECT to_regnamespace('trading')::text").fetchone()
    assert found == ("trading",)
