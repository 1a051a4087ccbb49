"""`autonama db reader`: what the role for dashboards can do, and what it cannot."""

import psycopg
import pytest

from resources.postgres.database import DAGSTER_DATABASE, DATABASE, embedded_server
from resources.postgres.migrate import migrate
from resources.postgres.roles.reader_role import ensure_reader, new_password
from resources.postgres.urls import libpq_url, with_database

CHOSEN = "planted-reader-pass-7"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A project on an embedded server of its own."""
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AUTONAMA_HOME", str(folder))
        environment.delenv("DATABASE_URL", raising=False)
        server = embedded_server()
        server.start()
        server.ensure_database(DATABASE)
        migrate(server.url(DATABASE))
    yield folder, server
    server.destroy()


@pytest.fixture
def home(own, home, monkeypatch):  # noqa: ARG001  (it clears the environment)
    monkeypatch.setenv("AUTONAMA_HOME", str(own[0]))
    return own[0]


@pytest.fixture
def reader(home, run, monkeypatch):  # noqa: ARG001
    """URL of a reader with a known password."""
    monkeypatch.setenv("AUTONAMA_READER_PASSWORD", CHOSEN)
    made = run("db", "reader")
    assert made.code == 0, made.err
    assert CHOSEN not in made.out + made.err
    assert "***" in made.out
    return made.out.strip().replace("***", CHOSEN)


def refused(url, *statements):
    """The error's class name that the last statement ends with; every one is a transaction."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements[:-1]:
            connection.execute(statement)
        with pytest.raises(psycopg.Error) as error:
            connection.execute(statements[-1])
    return type(error.value).__name__


def test_it_reads_every_table_and_the_ones_to_come(reader, own):
    admin = libpq_url(own[1].url(DATABASE))
    with psycopg.connect(admin) as connection:
        connection.execute("CREATE TABLE trading.of_tomorrow AS SELECT 42 AS a")
        connection.execute("CREATE VIEW trading.view_of_tomorrow AS SELECT 43 AS a")
    try:
        with psycopg.connect(reader) as connection:
            assert connection.execute("SELECT count(*) FROM signals").fetchone() == (0,)
            assert connection.execute("SELECT a FROM of_tomorrow").fetchone() == (42,)
            assert connection.execute("SELECT a FROM view_of_tomorrow").fetchone() == (43,)
            unreadable = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'trading'::regnamespace "
                "AND relkind IN ('r', 'v') AND NOT has_table_privilege(oid, 'SELECT')"
            ).fetchall()
            assert unreadable == []
            timeout = connection.execute("SHOW statement_timeout").fetchone()
            assert timeout == ("1min",)
    finally:
        with psycopg.connect(admin) as connection:
            connection.execute("DROP VIEW trading.view_of_tomorrow")
            connection.execute("DROP TABLE trading.of_tomorrow")


WRITES = (
    "INSERT INTO trading.alembic_version VALUES ('x')",
    "UPDATE trading.signals SET status = 'OK'",
    "DELETE FROM trading.signals",
    "TRUNCATE trading.signals",
    "CREATE TABLE trading.mine (a int)",
    "CREATE TABLE public.mine (a int)",
    "CREATE TEMP TABLE mine (a int)",
    "CREATE SCHEMA mine",
    "DROP TABLE trading.signals",
    "CREATE ROLE mine",
    "CREATE DATABASE mine",
    "COPY trading.signals TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/mine'",
    "SELECT rolpassword FROM pg_catalog.pg_authid",
    "SELECT pg_read_file('PG_VERSION')",
    "ALTER ROLE autonama_reader SUPERUSER",
    "SET ROLE autonama",
)


@pytest.mark.parametrize("statement", WRITES)
def test_it_changes_nothing_even_if_it_tries(reader, statement):
    # The default is read-only; who lifts it has no right to write either.
    lifted = "SET default_transaction_read_only = off"
    found = refused(reader, lifted, statement)
    assert found in {"InsufficientPrivilege", "InvalidParameterValue"}


def test_transactions_are_read_only(reader):
    assert refused(reader, "CREATE TEMP TABLE mine (a int)") in {
        "ReadOnlySqlTransaction",
        "InsufficientPrivilege",
    }
    with psycopg.connect(reader) as connection:
        assert connection.execute("SHOW transaction_read_only").fetchone() == ("on",)


@pytest.mark.parametrize("database", [DAGSTER_DATABASE, "postgres", "template1"])
def test_no_other_database_lets_it_in(reader, database):
    with pytest.raises(psycopg.OperationalError, match=r"reject|permission denied"):
        psycopg.connect(with_database(reader, database))


def test_the_embedded_server_asks_it_for_the_password(reader):
    psycopg.connect(reader).close()
    for wrong in (reader.replace(CHOSEN, "wrong"), reader.replace(f":{CHOSEN}", "")):
        with pytest.raises(psycopg.OperationalError, match=r"password"):
            psycopg.connect(wrong)


@pytest.mark.usefixtures("reader")
def test_its_owner_is_let_in_as_before(own):
    for database in (DATABASE, DAGSTER_DATABASE, "postgres"):
        psycopg.connect(libpq_url(own[1].url(database))).close()


def test_a_password_is_made_and_printed_once_and_the_old_one_ends(run, reader):
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("AUTONAMA_READER_PASSWORD")
        made = [run("db", "reader"), run("db", "reader")]
    first, second = (m.out.strip() for m in made)
    assert first != second
    assert made[0].err == made[1].err == ""
    psycopg.connect(second).close()
    for old in (first, reader):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(old)


def test_rules_of_the_server_do_not_pile_up(reader, run, own):
    hba = own[1].data_dir / "pg_hba.conf"
    before, mode = hba.read_text(), hba.stat()
    assert run("db", "reader").code == 0
    assert hba.read_text() == before
    assert run("db", "reader", "--name", "other_reader").code == 0
    assert run("db", "reader").code == 0
    assert hba.read_text().count('"autonama_reader"') == 2
    assert (hba.stat().st_uid, hba.stat().st_mode) == (mode.st_uid, mode.st_mode)
    assert psycopg.connect(reader).close() is None


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    "name", ["autonama", "Robert'); DROP SCHEMA trading; --", "pg_monitor", "", 'a"b', "a" * 64]
)
def test_a_name_that_is_taken_or_strange_is_refused(run, name):
    ended = run("db", "reader", "--name", name)
    assert ended.code == 2
    assert "--name" in ended.error


@pytest.mark.usefixtures("own")
def test_a_short_password_is_refused(run, monkeypatch):
    monkeypatch.setenv("AUTONAMA_READER_PASSWORD", "short")
    ended = run("db", "reader")
    assert ended.code == 2
    assert "5 characters" in ended.error


def test_the_server_never_sees_the_password(own):
    """Not even with every statement logged: it is sent as a verifier."""
    server = own[1]
    url, admin = libpq_url(server.url(DATABASE)), libpq_url(server.admin_url(DATABASE))
    start = server.log_file.stat().st_size
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("ALTER ROLE autonama_admin SET log_statement = 'all'")
    try:
        ensure_reader(url, "logged_reader", CHOSEN, dagster_database=None, server=server)
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute("ALTER ROLE autonama_admin RESET log_statement")
    logged = server.log_file.read_bytes()[start:].decode()
    assert "logged_reader" in logged
    assert CHOSEN not in logged


def test_its_rights_reach_no_further_on_a_server_of_the_user(database, postgres):
    """With DATABASE_URL: other databases of the server keep their own rules."""
    name = f"reader_{database.split('/')[3].split('?')[0]}"
    password = new_password()
    postgres.ensure_database(f"{name}_dagster")
    ensure_reader(libpq_url(database), name, password, dagster_database=f"{name}_dagster")
    with psycopg.connect(libpq_url(database)) as connection:
        rights = connection.execute(
            "SELECT has_table_privilege(%(r)s, 'trading.signals', 'SELECT'), "
            "has_table_privilege(%(r)s, 'trading.signals', 'INSERT'), "
            "has_schema_privilege(%(r)s, 'public', 'CREATE'), "
            "has_schema_privilege(%(r)s, 'trading', 'CREATE'), rolsuper, rolcreaterole, "
            "rolcreatedb, rolreplication, rolbypassrls, rolcanlogin "
            "FROM pg_roles WHERE rolname = %(r)s",
            {"r": name},
        ).fetchone()
        assert rights == (True, *[False] * 8, True)
        connects = connection.execute(
            "SELECT has_database_privilege(%(r)s, current_database(), 'CONNECT'), "
            "has_database_privilege(%(r)s, %(d)s, 'CONNECT')",
            {"r": name, "d": f"{name}_dagster"},
        ).fetchone()
        assert connects == (True, False)
    with psycopg.connect(postgres.admin_url(database.split("/")[3].split("?")[0])) as connection:
        connection.execute(f"DROP OWNED BY {name}")
        connection.execute(f"DROP ROLE {name}")
