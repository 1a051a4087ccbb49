"""What guards the data of an embedded server: the lease on it, and the end of orphans."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from autonama_dagster.errors import DatabaseError
from resources.waiting import wait_until

if sys.platform != "win32":
    import fcntl

_LEASE_TIMEOUT_S: Final = 10.0


@contextlib.contextmanager
def lease(home: Path, data_dir: Path) -> Iterator[int]:
    """Descriptor of a lock to hand to the server; it is free only when no server lives."""
    with (home / "server.lock").open("ab") as file:

        def is_ours() -> bool:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            return False

        def whom() -> str:
            return f"the server that uses {data_dir}"

        if not wait_until(is_ours, whom, patience=_LEASE_TIMEOUT_S):
            raise DatabaseError(
                f"{data_dir} is in use by a Postgres server that cannot be reached from "
                "here, perhaps in another container: stop it, or set DATABASE_URL"
            )
        yield file.fileno()


def end_orphans(cluster_name: str) -> None:
    """End what a killed main process left behind: a long query would hold the data."""
    title = f"postgres: {cluster_name}: "
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if not " ".join(process.cmdline()).startswith(title):
                continue
            parent = process.parent()
            # A parent that lives is the server of another container.
            if parent is None or parent.name() != "postgres":
                process.send_signal(signal.SIGQUIT)


def holder_of(path: Path) -> str:
    """The program that holds the lock of a file, as the kernel knows it."""
    inode = path.stat().st_ino
    with contextlib.suppress(OSError, psutil.Error):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            *_, pid, file, _start, _end = line.split()
            if file.endswith(f":{inode}") and pid.isdecimal():
                return f"{' '.join(psutil.Process(int(pid)).cmdline())[:80]} (process {pid})"
    return "another program"
