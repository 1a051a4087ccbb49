"""Every door gives the same session, and refuses the databases that no session makes usable."""

import ast
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from places import ROOT
from support import drop_databases, free_port

from autonama_dagster.errors import DatabaseError
from resources.postgres import connections
from resources.postgres.connections import SESSION, bulk, connect, engine, guard
from resources.postgres.urls import dagster_url, libpq_url

ODD = {
    "datestyle": "German, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Kathmandu",
    "client_encoding": "LATIN1",
    "bytea_output": "escape",
    "extra_float_digits": "-10",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable",
    "search_path": "nowhere",
}


@contextmanager
def database_of(postgres, name, *, encoding="UTF8"):
    """URL of a new database of an encoding."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    yield postgres.url(name)
    drop_databases(postgres, name)


@pytest.fixture(scope="module")
def odd(postgres):
    with database_of(postgres, "odd") as url:
        with psycopg.connect(url, autocommit=True) as admin:
            for name, value in ODD.items():
                admin.execute(f"ALTER DATABASE odd SET {name} = '{value}'")
        yield url


@contextmanager
def by_psycopg(url):
    with connect(url) as connection:
        yield lambda query: connection.execute(query).fetchone()[0]


@contextmanager
def by_engine(url):
    made = engine(url)
    with made.connect() as connection:
        yield lambda query: connection.scalar(sa.text(query))
    made.dispose()


@contextmanager
def by_psycopg2(url):
    made = sa.create_engine(dagster_url(url), poolclass=sa.NullPool)
    guard(made, url)
    with made.connect() as connection:
        yield lambda query: connection.scalar(sa.text(query))
    made.dispose()


@contextmanager
def by_adbc(url):
    with bulk(url) as connection, connection.cursor() as cursor:

        def ask(query):
            cursor.execute(query)
            return cursor.fetchone()[0]

        yield ask


DOORS = (by_psycopg, by_engine, by_psycopg2, by_adbc)


@pytest.fixture(autouse=True)
def nothing_checked(monkeypatch):
    monkeypatch.setattr(connections, "_checked", set())


def test_the_odd_settings_are_the_databases(odd):
    with psycopg.connect(odd, client_encoding="utf8") as connection:
        for name, value in ODD.items():
            if name != "client_encoding":
                assert connection.execute(f"SHOW {name}").fetchone()[0] == value
    assert set(ODD) == set(SESSION)


@pytest.mark.parametrize("door", DOORS)
def test_every_driver_has_the_same_session(odd, door):
    with door(odd) as ask:
        for name, value in SESSION.items():
            assert ask(f"SELECT current_setting('{name}')") == value
        assert ask("SELECT 'Tür 币安'") == "Tür 币安"
        moment = ask("SELECT timestamptz '2024-01-02 00:00 UTC'")
        assert moment.isoformat() == "2024-01-02T00:00:00+00:00"


def test_the_session_outlives_what_is_rolled_back(odd):
    with connect(odd) as connection:
        connection.rollback()
        assert connection.execute("SHOW timezone").fetchone()[0] == "UTC"
    with bulk(odd) as connection:
        connection.rollback()
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('timezone')")
            assert cursor.fetchone()[0] == "UTC"


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_another_encoding_is_refused_and_the_hint_makes_one_that_is_not(postgres, door, encoding):
    says = f"has encoding {encoding}.*CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0"
    with (
        database_of(postgres, "other", encoding=encoding) as url,
        pytest.raises(DatabaseError, match=says),
        door(url),
    ):
        pass


def test_an_old_server_is_refused(database, monkeypatch):
    monkeypatch.setattr(connections, "OLDEST_SERVER", 99)
    with pytest.raises(DatabaseError, match=r"is PostgreSQL \d+: use 99 or newer"):
        connect(database)


def test_a_database_is_looked_at_once(database, monkeypatch):
    looks = []
    monkeypatch.setattr(connections, "_check", lambda *found: looks.append(found))
    for door in (*DOORS, *DOORS):
        with door(database):
            pass
    assert len(looks) == 1


@contextmanager
def pooler(postgres, folder, mode, size):
    """URL of a PgBouncer before the server's database `postgres`."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not Path(program).exists():
        pytest.skip("pgbouncer is not installed")
    port, owner = free_port(), postgres.socket_dir.stat()
    folder.mkdir()
    (folder / "users.txt").write_text('"autonama" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host={postgres.socket_dir} port=5432 user=autonama\n[pgbouncer]\n"
        f"listen_addr=127.0.0.1\nlisten_port={port}\nauth_type=trust\n"
        f"auth_file={folder}/users.txt\npool_mode={mode}\ndefault_pool_size={size}\n"
        "unix_socket_dir=\nquery_wait_timeout=5\n"
    )
    for path in (folder, *folder.parents):
        if path.stat().st_uid == os.geteuid() and path.is_relative_to("/tmp"):
            path.chmod(path.stat().st_mode | 0o055)
    is_root = os.geteuid() == 0
    process = subprocess.Popen(
        [program, "-q", str(folder / "pgbouncer.ini")],
        user=owner.st_uid if is_root else None,
        group=owner.st_gid if is_root else None,
        extra_groups=[] if is_root else None,
        stderr=subprocess.DEVNULL,
    )
    url = f"postgresql://autonama@127.0.0.1:{port}/postgres"
    try:
        for _ in range(500):
            try:
                psycopg.connect(url).close()
                break
            except psycopg.OperationalError:
                assert process.poll() is None
                time.sleep(0.02)
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize(
    ("mode", "size"), [("transaction", 3), ("transaction", 1), ("statement", 3)]
)
def test_a_pooler_of_transactions_is_refused(postgres, tmp_path, mode, size):
    with pooler(postgres, tmp_path / "pool", mode, size) as url:
        for door in (by_psycopg, by_psycopg2):
            with pytest.raises(DatabaseError, match=r"pooler .* set pool_mode=session"), door(url):
                pass


def test_a_pooler_of_sessions_works(postgres, tmp_path):
    with pooler(postgres, tmp_path / "pool", "session", 3) as url:
        for door in DOORS:
            with door(url) as ask:
                assert ask("SELECT current_setting('timezone')") == "UTC"


def test_nobody_connects_in_another_way():
    elsewhere = {
        "resources/postgres/connections.py",
        "resources/postgres/roles/roles.py",  # makes roles and databases of the embedded server
        "resources/dagster_storage.py",  # Dagster's engines, guarded
        "resources/instance/tables.py",
        "migrations/new.py",  # on a scratch server
    }
    found = set()
    for folder in ("assets", "autonama_dagster", "migrations", "resources"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Call):
                    called = ast.unparse(node.func)
                    if called.endswith(("psycopg.connect", "dbapi.connect", "_engine")) and (
                        "create" in called or "connect" in called
                    ):
                        found.add(str(file.relative_to(ROOT)))
    assert found == elsewhere
    assert libpq_url("postgresql://h/d")
