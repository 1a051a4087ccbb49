"""The embedded Postgres server: one per project directory, for when no `DATABASE_URL` is set.

The programs come from a PyPI wheel and are driven here directly: the wheels' own Python layer
changes the mode of every parent directory when it runs as root, and fails on paths with a space.
This module knows how to start, find and stop a server, and nothing of what is stored in it;
`cluster` knows its files.

Three things guard the data. A file lock lets one starter work at a time. A second lock, the lease,
is inherited by all server processes and so is held exactly as long as one of them lives, seen even
from another container. And the cluster's name, a hash of the project's path, stands in the command
line of its processes, so that a reused process id is never taken for our server.
"""

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psutil
import psycopg
from filelock import FileLock, Timeout

from autonama_dagster.errors import DatabaseError
from resources.postgres.roles import roles as postgres_roles
from resources.postgres.server.cluster import PORT, Cluster
from resources.postgres.server.guard import end_orphans, holder_of, lease
from resources.postgres.server.programs import PROGRAMS_VARIABLE, one_line
from resources.waiting import wait_until

_START_TIMEOUT_S: Final = 300.0  # crash recovery replays up to max_wal_size
_STOP_TIMEOUT_S: Final = 60.0


class EmbeddedPostgres:
    """The Postgres server of one project directory.

    Clients connect without a password, as the roles of `postgres_roles`, through a socket in a
    directory that only the server's account may enter; no port is open.

    Parameters
    ----------
    project_dir
        The project whose data the server holds. Links are resolved. Nothing is made before
        `start`.

    Raises
    ------
    DatabaseError
        From every method that works on the server, as one line. Elsewhere than on Linux, from here.
    """

    def __init__(self, project_dir: Path) -> None:
        if sys.platform != "linux":
            raise DatabaseError(
                f"the embedded Postgres server runs on Linux only, not on {sys.platform}: "
                "set DATABASE_URL to your own server"
            )
        self._cluster = Cluster(project_dir)

    @property
    def project_dir(self) -> Path:
        """The project whose data it holds."""
        return self._cluster.project_dir

    @property
    def data_dir(self) -> Path:
        """The cluster's data directory."""
        return self._cluster.data_dir

    @property
    def socket_dir(self) -> Path:
        """Directory of the Unix socket."""
        return self._cluster.socket_dir

    @property
    def log_file(self) -> Path:
        """What the server, and `initdb` before it, had to say."""
        return self._cluster.log_file

    def start(self) -> None:
        """Make the server answer: at once if it runs, after making its data if there are none.

        Safe to call from many processes at a time. Takes over what a killed starter or a killed
        server has left behind.
        """
        with self._errors_in_one_line("start"):
            if self._is_ready():
                return
            self._cluster.make_home()
            with self._starter_lock():
                self._wait_while("starting", "stopping")
                if self._is_ready():
                    return
                self._stop()  # it runs, but something removed its socket
                self._launch()

    def stop(self) -> None:
        """End the server after its open transactions are rolled back; does nothing if none runs."""
        with self._errors_in_one_line("stop"):
            if self._cluster.home.exists():
                with self._starter_lock():
                    self._stop()

    def destroy(self) -> None:
        """Stop the server and delete its data for good."""
        with self._errors_in_one_line("delete"):
            if self._cluster.home.exists():
                with self._starter_lock():
                    self._stop()
                    shutil.rmtree(self._cluster.home)
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self._cluster.socket_dir)

    def pid(self) -> int | None:
        """Process id of the server's main process, or None if the server is not running."""
        postmaster = self._cluster.postmaster()
        return None if postmaster is None else postmaster.pid

    def url(self, database: str) -> str:
        """URL of `database` for the everyday role, as libpq reads it."""
        return self._url(postgres_roles.EVERYDAY, database)

    def admin_url(self, database: str) -> str:
        """URL of `database` for the superuser: for what the everyday role may not do."""
        return self._url(postgres_roles.ADMIN, database)

    def _url(self, role: str, database: str) -> str:
        socket_dir = quote(str(self._cluster.socket_dir), safe="/")
        name = quote(database, safe="")
        return f"postgresql://{role}@/{name}?host={socket_dir}&port={PORT}"

    def ensure_database(self, name: str) -> None:
        """Make the database `name` if it is missing; it belongs to the everyday role then.

        Many callers may do so at a time. The server of an earlier version gets its roles here.

        Raises
        ------
        DatabaseError
            If the server is not running, or refuses the name.
        """
        if postgres_roles.is_prepared(self.url("postgres"), name):
            return
        try:
            with self._starter_lock():
                if not postgres_roles.is_prepared(self.url("postgres"), name):
                    postgres_roles.prepare(self._url, name)
        except (psycopg.Error, OSError) as error:
            raise DatabaseError(
                f"cannot prepare the database {name!r} on the embedded server: "
                f"{one_line(str(error))}; its log is {self.log_file}"
            ) from error

    def _is_ready(self) -> bool:
        postmaster = self._cluster.postmaster()
        if postmaster is None or postmaster.status != "ready" or not self._cluster.socket.exists():
            return False
        self._cluster.check_socket_dir()
        return True

    def _launch(self) -> None:
        """Start the server, with its data and its socket's directory made first if missing."""
        cluster = self._cluster
        programs, version = cluster.programs()
        if cluster.major is None:
            cluster.create(programs)
        if cluster.major != version.partition(".")[0]:
            raise DatabaseError(
                f"{cluster.data_dir} was made by PostgreSQL {cluster.major} but the installed "
                f"server is {version}: move it away to start empty, or set {PROGRAMS_VARIABLE} to "
                f"the programs of PostgreSQL {cluster.major}"
            )
        cluster.make_dir(cluster.socket_dir)
        cluster.check_socket_dir()
        end_orphans(cluster.name)
        with lease(cluster.home, cluster.data_dir) as held:
            # Postgres would trust a leftover whose process id some other program has now.
            (cluster.data_dir / "postmaster.pid").unlink(missing_ok=True)
            cluster.socket.unlink(missing_ok=True)
            cluster.socket.with_name(f"{cluster.socket.name}.lock").unlink(missing_ok=True)
            settings = (
                f"-c cluster_name={cluster.name} -c listen_addresses= -c port={PORT} "
                f"-c unix_socket_directories={cluster.socket_dir} -c synchronous_commit=on"
            )
            # Relative: pg_ctl hands the path to a shell. In a session of its own (pg_ctl's doing)
            # the server outlives this process and never sees the Ctrl-C of its terminal.
            arguments = ["start", "-D", cluster.data_dir.name, "-o", settings]
            wait = ["-w", "-t", f"{_START_TIMEOUT_S:.0f}"]
            cluster.run(programs / "pg_ctl", [*arguments, *wait], inherited_lock=held)

    def _stop(self) -> None:
        """Fast shutdown, and an immediate one if that takes too long; nothing if none runs."""
        for order in (signal.SIGINT, signal.SIGQUIT):
            pid = self.pid()
            if pid is None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, order)
            if wait_until(
                lambda: self.pid() is None,
                lambda: "the embedded server, which stops",
                patience=_STOP_TIMEOUT_S,
            ):
                return
        raise DatabaseError(
            f"the embedded Postgres server (process {pid}) does not stop; its log is "
            f"{self.log_file}"
        )

    def _wait_while(self, *statuses: str) -> None:
        """Let a server settle whose starter was killed before it was ready."""

        def has_settled() -> bool:
            postmaster = self._cluster.postmaster()
            return postmaster is None or postmaster.status not in statuses

        if not wait_until(
            has_settled,
            lambda: f"the embedded server, which is {' or '.join(statuses)}",
            patience=_START_TIMEOUT_S,
        ):
            raise DatabaseError(
                f"the embedded Postgres server is not ready after {_START_TIMEOUT_S:.0f} s; "
                f"its log is {self.log_file}"
            )

    @contextlib.contextmanager
    def _starter_lock(self) -> Iterator[None]:
        """One starter works at a time."""
        lock = FileLock(self._cluster.home / "starter.lock", blocking=False)

        def is_ours() -> bool:
            with contextlib.suppress(Timeout):
                lock.acquire()
            return lock.is_locked

        def holder() -> str:
            return (
                f"the embedded server, which is being started by {holder_of(Path(lock.lock_file))}"
            )

        if not wait_until(is_ours, holder, patience=2 * _START_TIMEOUT_S):
            raise DatabaseError(f"{holder()}; end it, then run the same command again")
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def _errors_in_one_line(self, action: str) -> Iterator[None]:
        """Turn what the operating system refuses into a DatabaseError."""
        try:
            yield
        except (OSError, psutil.Error) as error:
            raise DatabaseError(
                f"cannot {action} the embedded Postgres server in {self._cluster.home}: "
                f"{one_line(str(error))}; set DATABASE_URL to use another server"
            ) from error
