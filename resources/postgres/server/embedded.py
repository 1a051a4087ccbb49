"""The embedded Postgres server: one per project directory, for when no `DATABASE_URL` is set.

The programs come from a PyPI wheel and are driven here directly: the wheels' own Python layer
changes the mode of every parent directory when it runs as root, and fails on paths with a space.
This module knows how to make, start, find and stop a server, and nothing of what is stored in it.

Three things guard the data. A file lock lets one starter work at a time. A second lock, the lease,
is inherited by all server processes and so is held exactly as long as one of them lives, seen even
from another container. And the cluster's name, a hash of the project's path, stands in the command
line of its processes, so that a reused process id is never taken for our server.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import psutil
import psycopg
from filelock import FileLock, Timeout

from autonama_dagster.errors import DatabaseError
from autonama_dagster.system.private_files import private_folder
from resources.instance.waiting import wait_until
from resources.postgres.roles import roles as postgres_roles
from resources.postgres.server.guard import end_orphans, holder_of, lease
from resources.postgres.server.programs import (
    PROGRAMS_VARIABLE,
    SERVER_ENVIRONMENT,
    copy_programs,
    find_programs,
    last_meaningful_line,
    one_line,
    server_version,
)

if sys.platform != "win32":
    import pwd

_ROOT_STATE: Final = Path("/var/lib/autonama")
_ROOT_ACCOUNTS: Final = ("postgres", "nobody")
_PORT: Final = 5432  # in the name of the socket only; said in URLs because of PGPORT

# sun_path of a Unix socket: 108 bytes with the final NUL. The longest name beside it is the lock's.
_MAX_SOCKET_PATH_BYTES: Final = 107
# Commas, quotes, "@" and "%" mean something to libpq, SQLAlchemy or Alembic: such paths are hashed.
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9/._-]+")

_START_TIMEOUT_S: Final = 300.0  # crash recovery replays up to max_wal_size
_STOP_TIMEOUT_S: Final = 60.0

# Written into postgresql.conf once, so that a user can change them there.
_INITIAL_SETTINGS: Final = (
    "shared_buffers=256MB",
    "work_mem=32MB",
    "maintenance_work_mem=256MB",
    "max_wal_size=2GB",
    "checkpoint_timeout=15min",
    "wal_compression=on",
    "wal_level=minimal",
    "max_wal_senders=0",
    "jit=off",
)


class _Postmaster(NamedTuple):
    """The server's main process, as its own pid file describes it."""

    pid: int
    status: str  # starting, ready or stopping


class EmbeddedPostgres:
    """The Postgres server of one project directory.

    An ordinary user's data lies in `<project_dir>/.autonama/postgres`. Postgres refuses to run as
    root, so root's lies in `/var/lib/autonama/<hash of the path>` and belongs to `postgres`, or to
    `nobody`. Where data, socket and log are follows from path and user alone, so that all
    processes of a project find the same server. Clients connect without a password, as the roles
    of `postgres_roles`, through a socket in a directory that only the server's account may enter;
    no port is open.

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
        self._project_dir = project_dir.resolve()
        path_hash = hashlib.sha256(os.fsencode(self._project_dir)).hexdigest()[:16]
        self._cluster_name = f"autonama-{path_hash}"
        if os.geteuid() == 0:
            self._home = _ROOT_STATE / path_hash
        else:
            self._home = self._project_dir / ".autonama" / "postgres"
        beside_data = self._home / "socket"
        if _fits_socket(beside_data):
            self._socket_dir = beside_data
        else:
            self._socket_dir = Path("/tmp") / f"autonama-{os.geteuid()}-{path_hash}"  # noqa: S108 - its owner is checked

    @property
    def data_dir(self) -> Path:
        """The cluster's data directory."""
        return self._home / "data"

    @property
    def socket_dir(self) -> Path:
        """Directory of the Unix socket, beside the data or, for awkward paths, under `/tmp`."""
        return self._socket_dir

    @property
    def log_file(self) -> Path:
        """What the server, and `initdb` before it, had to say."""
        return self._home / "server.log"

    def start(self) -> None:
        """Make the server answer: at once if it runs, after making its data if there are none.

        Safe to call from many processes at a time. Takes over what a killed starter or a killed
        server has left behind.
        """
        with self._errors_in_one_line("start"):
            if self._is_ready():
                return
            self._make_home()
            with self._starter_lock():
                self._wait_while("starting", "stopping")
                if self._is_ready():
                    return
                self._stop()  # it runs, but something removed its socket
                self._launch()

    def stop(self) -> None:
        """End the server after its open transactions are rolled back; does nothing if none runs."""
        with self._errors_in_one_line("stop"):
            if self._home.exists():
                with self._starter_lock():
                    self._stop()

    def destroy(self) -> None:
        """Stop the server and delete its data for good."""
        with self._errors_in_one_line("delete"):
            if self._home.exists():
                with self._starter_lock():
                    self._stop()
                    shutil.rmtree(self._home)
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self._socket_dir)

    def pid(self) -> int | None:
        """Process id of the server's main process, or None if the server is not running."""
        postmaster = self._postmaster()
        return None if postmaster is None else postmaster.pid

    def url(self, database: str) -> str:
        """URL of `database` for the everyday role, as libpq reads it."""
        return self._url(postgres_roles.EVERYDAY, database)

    def admin_url(self, database: str) -> str:
        """URL of `database` for the superuser: for what the everyday role may not do."""
        return self._url(postgres_roles.ADMIN, database)

    def _url(self, role: str, database: str) -> str:
        socket_dir = quote(str(self._socket_dir), safe="/")
        name = quote(database, safe="")
        return f"postgresql://{role}@/{name}?host={socket_dir}&port={_PORT}"

    def psql_command(self, database: str) -> list[str]:
        """Program and arguments of a `psql` that is connected to `database`."""
        return [str(find_programs() / "psql"), self.url(database)]

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

    # What is there

    def _postmaster(self) -> _Postmaster | None:
        """The running main process of this cluster; None for a stale pid file."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
            pid = int(lines[0])
            arguments = psutil.Process(pid).cmdline()
        except (OSError, ValueError, IndexError, psutil.Error):
            return None
        if f"cluster_name={self._cluster_name}" not in arguments:
            return None  # a dead server's number, now another program's
        status_line = 7  # the last line, once the server has written it
        status = lines[status_line].strip() if len(lines) > status_line else "starting"
        return _Postmaster(pid, status)

    def _is_ready(self) -> bool:
        postmaster = self._postmaster()
        if postmaster is None or postmaster.status != "ready" or not self._socket().exists():
            return False
        self._check_socket_dir()
        return True

    def _socket(self) -> Path:
        return self._socket_dir / f".s.PGSQL.{_PORT}"

    def _server_account(self) -> tuple[int, int]:
        """User and group id that the server runs as."""
        if os.geteuid() != 0:
            return os.geteuid(), os.getegid()
        if self.data_dir.exists():  # an account added later changes nothing
            owner = self.data_dir.stat()
            return owner.st_uid, owner.st_gid
        return _unprivileged_account()

    def _check_socket_dir(self) -> None:
        """Refuse a directory in which somebody else could listen in the server's place."""
        found = self._socket_dir.lstat()
        uid, _ = self._server_account()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
            raise DatabaseError(
                f"{self._socket_dir} should be a directory of user {uid} with mode 700, but "
                "belongs to "
                f"user {found.st_uid} with mode {stat.filemode(found.st_mode)}: "
                "remove it, then start again"
            )

    # Making and starting

    def _make_home(self) -> None:
        """Make the directory of data, log and locks; root keeps it, so no link can be planted."""
        if not self._project_dir.is_dir():
            raise DatabaseError(f"the project folder does not exist: {self._project_dir}")
        if os.geteuid() == 0:
            # Modes are set whatever the umask: the server's account has to pass through.
            if not _ROOT_STATE.exists():
                _ROOT_STATE.mkdir(exist_ok=True)
                _ROOT_STATE.chmod(0o755)
            self._home.mkdir(mode=0o700, exist_ok=True)
            _, gid = self._server_account()
            os.chown(self._home, 0, gid)
            self._home.chmod(0o710)
            return
        private_folder(self._home.parent)
        self._home.mkdir(mode=0o700, exist_ok=True)
        owner = self._home.stat().st_uid
        if owner != os.geteuid():
            raise DatabaseError(
                f"{self._home} belongs to user {owner} and you are {os.geteuid()}: "
                "use a checkout of your own, or set DATABASE_URL"
            )

    def _launch(self) -> None:
        """Start the server, with its data and its socket's directory made first if missing."""
        programs, version = self._programs()
        if not (self.data_dir / "PG_VERSION").exists():
            self._create_cluster(programs)
        major = (self.data_dir / "PG_VERSION").read_text().strip()
        if major != version.partition(".")[0]:
            raise DatabaseError(
                f"{self.data_dir} was made by PostgreSQL {major} but the installed server is "
                f"{version}: move it away to start empty, or set {PROGRAMS_VARIABLE} to the "
                f"programs of PostgreSQL {major}"
            )
        self._make_server_dir(self._socket_dir)
        self._check_socket_dir()
        end_orphans(self._cluster_name)
        with lease(self._home, self.data_dir) as held:
            # Postgres would trust a leftover whose process id some other program has now.
            (self.data_dir / "postmaster.pid").unlink(missing_ok=True)
            self._socket().unlink(missing_ok=True)
            self._socket().with_name(f"{self._socket().name}.lock").unlink(missing_ok=True)
            settings = (
                f"-c cluster_name={self._cluster_name} -c listen_addresses= -c port={_PORT} "
                f"-c unix_socket_directories={self._socket_dir} -c synchronous_commit=on"
            )
            # Relative: pg_ctl hands the path to a shell. In a session of its own (pg_ctl's doing)
            # the server outlives this process and never sees the Ctrl-C of its terminal.
            arguments = ["start", "-D", self.data_dir.name, "-o", settings]
            wait = ["-w", "-t", f"{_START_TIMEOUT_S:.0f}"]
            self._run(programs / "pg_ctl", [*arguments, *wait], inherited_lock=held)

    def _create_cluster(self, programs: Path) -> None:
        """Make an empty cluster elsewhere and rename it: a half-made one is never seen."""
        for leftover in self._home.glob("init-*"):
            shutil.rmtree(leftover, ignore_errors=True)  # its initdb may still be at work
        new = self._home / f"init-{secrets.token_hex(4)}"
        self._make_server_dir(new)
        access = ["--username", postgres_roles.ADMIN, "--auth-local=trust", "--auth-host=reject"]
        storage = ["--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions"]
        settings = [option for setting in _INITIAL_SETTINGS for option in ("-c", setting)]
        self._run(programs / "initdb", ["-D", new.name, *access, *storage, *settings])
        new.rename(self.data_dir)

    def _make_server_dir(self, directory: Path) -> None:
        """Make a directory for the server's account alone."""
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(directory, *self._server_account())

    def _run(
        self, program: Path, arguments: list[str], *, inherited_lock: int | None = None
    ) -> None:
        """Run a Postgres program in the cluster's home as the server's account, into the log."""
        uid, gid = self._server_account()
        is_root = os.geteuid() == 0
        with self.log_file.open("ab") as log:
            start_of_run = log.tell()
            # Files, no pipes: the server keeps them open. No secrets of ours in its environment.
            done = subprocess.run(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._home,
                env=SERVER_ENVIRONMENT,
                user=uid if is_root else None,
                group=gid if is_root else None,
                extra_groups=[] if is_root else None,
                umask=0o077,
                pass_fds=() if inherited_lock is None else (inherited_lock,),
                check=False,
            )
        if done.returncode != 0:
            said = self.log_file.read_bytes()[start_of_run:].decode(errors="replace")
            raise DatabaseError(
                f"the embedded Postgres server does not start: {program.name} failed: "
                f"{last_meaningful_line(said)}; its log is {self.log_file}"
            )

    def _programs(self) -> tuple[Path, str]:
        """Programs that the server's account can run, and their version, for example 18.6."""
        programs = find_programs()
        uid, gid = self._server_account()
        if os.geteuid() != 0:
            return programs, server_version(programs)
        try:
            return programs, server_version(programs, user=uid, group=gid)
        except PermissionError as error:
            if error.errno == errno.EPERM:  # not the program: the change of user
                raise DatabaseError(
                    f"Postgres does not run as root, and root may not become user {uid} here: "
                    "use an ordinary user, or set DATABASE_URL"
                ) from error
            if PROGRAMS_VARIABLE in os.environ:
                raise
        programs = copy_programs(programs, _ROOT_STATE)
        return programs, server_version(programs, user=uid, group=gid)

    # Stopping

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
            postmaster = self._postmaster()
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

    # Locks

    @contextlib.contextmanager
    def _starter_lock(self) -> Iterator[None]:
        """One starter works at a time."""
        lock = FileLock(self._home / "starter.lock", blocking=False)

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
                f"cannot {action} the embedded Postgres server in {self._home}: "
                f"{one_line(str(error))}; set DATABASE_URL to use another server"
            ) from error


def _fits_socket(directory: Path) -> bool:
    """Whether a socket can lie there, and its path pass through every URL parser unchanged."""
    longest = os.fsencode(directory / f".s.PGSQL.{_PORT}.lock")
    return len(longest) <= _MAX_SOCKET_PATH_BYTES and bool(_PLAIN_PATH.fullmatch(str(directory)))


def _unprivileged_account() -> tuple[int, int]:
    """User and group id of the account that runs root's servers."""
    for name in _ROOT_ACCOUNTS:
        with contextlib.suppress(KeyError):
            account = pwd.getpwnam(name)
            return account.pw_uid, account.pw_gid
    raise DatabaseError(
        f"Postgres does not run as root and there is no user {' or '.join(_ROOT_ACCOUNTS)}: "
        "add one, use an ordinary user, or set DATABASE_URL"
    )
