"""The cluster of an embedded server: where its files are, whose they are, and how it is made."""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from autonama_dagster.errors import DatabaseError
from autonama_dagster.system.private_files import private_folder
from resources.postgres.roles import roles as postgres_roles
from resources.postgres.server.programs import (
    PROGRAMS_VARIABLE,
    SERVER_ENVIRONMENT,
    copy_programs,
    find_programs,
    last_meaningful_line,
    server_version,
)

if sys.platform != "win32":
    import pwd

_ROOT_STATE: Final = Path("/var/lib/autonama")
_ROOT_ACCOUNTS: Final = ("postgres", "nobody")
PORT: Final = 5432  # in the name of the socket only; said in URLs because of PGPORT

# sun_path of a Unix socket: 108 bytes with the final NUL. The longest name beside it is the lock's.
_MAX_SOCKET_PATH_BYTES: Final = 107
# Commas, quotes, "@" and "%" mean something to libpq, SQLAlchemy or Alembic: such paths are hashed.
_PLAIN_PATH: Final = re.compile(r"[A-Za-z0-9/._-]+")

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


class Postmaster(NamedTuple):
    """The server's main process, as its own pid file describes it."""

    pid: int
    status: str  # starting, ready or stopping


class Cluster:
    """The files of one project's server.

    An ordinary user's lie in `<project_dir>/.autonama/postgres`. Postgres refuses to run as root,
    so root's lie in `/var/lib/autonama/<hash of the path>` and belong to `postgres`, or to
    `nobody`. Where data, socket and log are follows from path and user alone, so that all
    processes of a project find the same server.

    Attributes
    ----------
    project_dir
        The project, links resolved.
    name
        A hash of that path, which stands in the command line of the server's processes.
    home
        Folder of data, log and locks.
    socket_dir
        Directory of the Unix socket, beside the data or, for awkward paths, under `/tmp`.
    """

    def __init__(self, project_dir: Path) -> None:
        self.project_dir = project_dir.resolve()
        path_hash = hashlib.sha256(os.fsencode(self.project_dir)).hexdigest()[:16]
        self.name = f"autonama-{path_hash}"
        if os.geteuid() == 0:
            self.home = _ROOT_STATE / path_hash
        else:
            self.home = self.project_dir / ".autonama" / "postgres"
        beside_data = self.home / "socket"
        if _fits_socket(beside_data):
            self.socket_dir = beside_data
        else:
            self.socket_dir = Path("/tmp") / f"autonama-{os.geteuid()}-{path_hash}"  # noqa: S108 - its owner is checked

    @property
    def data_dir(self) -> Path:
        """The data directory."""
        return self.home / "data"

    @property
    def log_file(self) -> Path:
        """What the server, and `initdb` before it, had to say."""
        return self.home / "server.log"

    @property
    def socket(self) -> Path:
        """The server's socket."""
        return self.socket_dir / f".s.PGSQL.{PORT}"

    @property
    def major(self) -> str | None:
        """Major version of Postgres that made the data; None: there are none yet."""
        try:
            return (self.data_dir / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return None

    def postmaster(self) -> Postmaster | None:
        """The running main process of this cluster; None for a stale pid file."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
            pid = int(lines[0])
            arguments = psutil.Process(pid).cmdline()
        except (OSError, ValueError, IndexError, psutil.Error):
            return None
        if f"cluster_name={self.name}" not in arguments:
            return None  # a dead server's number, now another program's
        status_line = 7  # the last line, once the server has written it
        status = lines[status_line].strip() if len(lines) > status_line else "starting"
        return Postmaster(pid, status)

    def check_socket_dir(self) -> None:
        """Refuse a directory in which somebody else could listen in the server's place."""
        found = self.socket_dir.lstat()
        uid, _ = self._account()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
            raise DatabaseError(
                f"{self.socket_dir} should be a directory of user {uid} with mode 700, but "
                "belongs to "
                f"user {found.st_uid} with mode {stat.filemode(found.st_mode)}: "
                "remove it, then start again"
            )

    def make_home(self) -> None:
        """Make the directory of data, log and locks; root keeps it, so no link can be planted."""
        if not self.project_dir.is_dir():
            raise DatabaseError(f"the project folder does not exist: {self.project_dir}")
        if os.geteuid() == 0:
            # Modes are set whatever the umask: the server's account has to pass through.
            if not _ROOT_STATE.exists():
                _ROOT_STATE.mkdir(exist_ok=True)
                _ROOT_STATE.chmod(0o755)
            self.home.mkdir(mode=0o700, exist_ok=True)
            _, gid = self._account()
            os.chown(self.home, 0, gid)
            self.home.chmod(0o710)
            return
        private_folder(self.home.parent)
        self.home.mkdir(mode=0o700, exist_ok=True)
        owner = self.home.stat().st_uid
        if owner != os.geteuid():
            raise DatabaseError(
                f"{self.home} belongs to user {owner} and you are {os.geteuid()}: "
                "use a checkout of your own, or set DATABASE_URL"
            )

    def make_dir(self, directory: Path) -> None:
        """Make a directory for the server's account alone."""
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(directory, *self._account())

    def create(self, programs: Path) -> None:
        """Make an empty cluster elsewhere and rename it: a half-made one is never seen."""
        for leftover in self.home.glob("init-*"):
            shutil.rmtree(leftover, ignore_errors=True)  # its initdb may still be at work
        new = self.home / f"init-{secrets.token_hex(4)}"
        self.make_dir(new)
        access = ["--username", postgres_roles.ADMIN, "--auth-local=trust", "--auth-host=reject"]
        storage = ["--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions"]
        settings = [option for setting in _INITIAL_SETTINGS for option in ("-c", setting)]
        self.run(programs / "initdb", ["-D", new.name, *access, *storage, *settings])
        new.rename(self.data_dir)

    def run(
        self, program: Path, arguments: list[str], *, inherited_lock: int | None = None
    ) -> None:
        """Run a Postgres program in the cluster's home as the server's account, into the log."""
        uid, gid = self._account()
        is_root = os.geteuid() == 0
        with self.log_file.open("ab") as log:
            start_of_run = log.tell()
            # Files, no pipes: the server keeps them open. No secrets of ours in its environment.
            done = subprocess.run(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                env=SERVER_ENVIRONMENT,
                user=uid if is_root else None,
                group=gid if is_root else None,
                extra_groups=[] if is_root else None,
                umask=0o077,
                pass_fds=() if inherited_lock is None else (inherited_lock,),
                check=False,
            )
        if done.returncode != 0:
            output = self.log_file.read_bytes()[start_of_run:].decode(errors="replace")
            raise DatabaseError(
                f"the embedded Postgres server does not start: {program.name} failed: "
                f"{last_meaningful_line(output)}; its log is {self.log_file}"
            )

    def programs(self) -> tuple[Path, str]:
        """Programs that the server's account can run, and their version, for example 18.6."""
        programs = find_programs()
        uid, gid = self._account()
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

    def _account(self) -> tuple[int, int]:
        """User and group id that the server runs as."""
        if os.geteuid() != 0:
            return os.geteuid(), os.getegid()
        if self.data_dir.exists():  # an account added later changes nothing
            owner = self.data_dir.stat()
            return owner.st_uid, owner.st_gid
        return _unprivileged_account()


def _fits_socket(directory: Path) -> bool:
    """Whether a socket can lie there, and its path pass through every URL parser unchanged."""
    longest = os.fsencode(directory / f".s.PGSQL.{PORT}.lock")
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
