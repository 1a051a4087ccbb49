"""Databases that go away, fill up or refuse: each on a server of its own."""

import os
import subprocess
from contextlib import ExitStack, contextmanager, suppress

import psycopg
import pytest
from fault_support import NOW, SETTINGS, Stage
from projects import project
from servers import SharedServer
from support import as_users_own

from autonama_dagster.errors import AutonamaError, DatabaseError
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.warehouse import warehouse as writes

pytestmark = pytest.mark.long

TMPFS_MB = 200


@pytest.fixture(scope="module")
def own_server(tmp_path_factory):
    """A server that tests stop, restart and limit."""
    own = SharedServer(tmp_path_factory.mktemp("own"))
    yield own
    own.destroy()


@pytest.fixture
def small_server(tmp_path_factory):
    own = EmbeddedPostgres(tmp_path_factory.mktemp("small"))
    yield own
    own.destroy()


@contextmanager
def opened_on(own, server, opened, folder):
    """A project on that server, compared with the undisturbed one."""
    server.faults.replace()
    server.set_now(NOW)
    with project(folder, own, server.url, **SETTINGS) as found:
        yield Stage(found, server, opened.expected)


def test_postgres_restarted_mid_write(own_server, server, opened, tmp_path, monkeypatch):
    own_server.start()
    with opened_on(own_server, server, opened, tmp_path) as stage:
        replace = writes.replace_rows

        def replace_and_restart(cursor, of, arrow, scope):
            replace(cursor, of, arrow, scope)
            if of.name == "signals":
                monkeypatch.setattr(writes, "replace_rows", replace)
                own_server.stop()
                own_server.start()

        monkeypatch.setattr(writes, "replace_rows", replace_and_restart)
        stage.fails(
            r"candles to alerts.*: database .* cannot be reached: .*start it", DatabaseError
        )
        assert stage.warehouse.read("signals").empty
        stage.scan()
        stage.check_complete("fetch_log")


def test_postgres_down_at_start(own_server, server, opened, tmp_path):
    own_server.start()
    own_server.ensure_database(f"project_{tmp_path.name}".replace("-", "_"))
    own_server.stop()
    own = EmbeddedPostgres(own_server.project_dir)
    own.ensure_database = lambda _: None  # the project meets the server as it is
    with (
        pytest.raises(DatabaseError, match=r"cannot be reached: .*start it, or fix") as raised,
        opened_on(own, server, opened, tmp_path),
    ):
        pass
    assert "\n" not in str(raised.value)
    own_server.start()
    with opened_on(own_server, server, opened, tmp_path) as stage:
        stage.scan()
        stage.check_complete()


@pytest.fixture
def small_disk(small_server):
    """A file system for the server's data that can be filled; the path of its ballast."""
    home = small_server.data_dir.parent
    home.mkdir(parents=True, exist_ok=True)
    options = f"size={TMPFS_MB}m"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(home)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        home.rmdir()
        pytest.skip("mounting a small file system needs root and the capability to mount")
    yield home / "ballast"
    small_server.stop()
    subprocess.run(["umount", str(home)], check=True)
    home.rmdir()


def fill(ballast):
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    os.write(file.fileno(), b"x" * size)
            except OSError:  # full
                continue


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_disk_full(server, opened, small_server, small_disk, tmp_path):
    small_server.start()
    as_users_own(small_server)
    with opened_on(small_server, server, opened, tmp_path) as stage:
        fill(small_disk)
        stage.fails("No space left on device|cannot be reached|the database failed", AutonamaError)
        small_disk.unlink()
        small_server.start()
        assert stage.holds_nothing()
        stage.scan()
        stage.check_complete("fetch_log")


def test_connections_exhausted(own_server, server, opened, tmp_path):
    own_server.start()
    with (own_server.data_dir / "postgresql.conf").open("a") as settings:
        settings.write("max_connections = 12\n")
    own_server.stop()
    own_server.start()
    with opened_on(own_server, server, opened, tmp_path) as stage, ExitStack() as held:
        with suppress(psycopg.OperationalError):  # too many clients already
            while True:
                held.enter_context(psycopg.connect(own_server.url("postgres")))
        stage.fails(
            "(too many clients|connection slots).*raise the server's max_connections", DatabaseError
        )
        held.close()
        assert stage.holds_nothing()
        stage.scan()
        stage.check_complete()
