"""How the project waits for others: it says for whom, sleeps between looks, and obeys signals.

`wait_until` is for what can be asked for: a slot of a pool, a file lock, a server that starts.
`watched` is for what only Postgres can wait for, the locks of a statement: a thread looks whom a
statement waits for, and cancels it when a signal has come that the statement does not let through.
"""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from autonama_dagster.errors import AutonamaError
from autonama_dagster.system import stop_signals as signals

EVERY: Final = 1.0  # seconds between two looks of a long wait
FIRST: Final = 0.02  # and between the first two: most waits are short
QUIET: Final = 1.0  # seconds of waiting that nobody needs to be told of

LONGEST_NAME: Final = 63  # that Postgres keeps of a connection's

Listener = Callable[[str | None], None]  # for whom we wait; None: no longer

_BLOCKERS: Final = """
    SELECT (SELECT CASE WHEN locktype IN ('transactionid', 'tuple') THEN 'a row'
                        WHEN locktype = 'advisory' THEN 'a write lock'
                        ELSE coalesce('table ' || relation::regclass::text, locktype || ' lock') END
            FROM pg_locks WHERE pid = %(pid)s AND NOT granted LIMIT 1),
           pid, coalesce(nullif(application_name, ''), 'a program without a name'), usename,
           state, left(regexp_replace(query, '\\s+', ' ', 'g'), 80)
    FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(%(pid)s)) ORDER BY pid
"""
_names: list[str] = []
_log = logging.getLogger(__name__)


def _to_log(text: str | None) -> None:
    if text is not None:
        _log.warning("waiting for %s", text)


_listeners: list[Listener] = [_to_log]


@dataclass(frozen=True)
class Wait:
    """What a worker process tells the one that it works for."""

    whom: str | None


@contextlib.contextmanager
def told_to(listener: Listener) -> Iterator[None]:
    """Tell the listener, in place of the log, for whom this process waits inside the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def tell(text: str | None) -> None:
    """Say for whom this process, or one that works for it, waits; None: no longer."""
    _listeners[-1](text)


def introduce(command: str) -> None:
    """Give this process's connections a name by which others know for whom they wait."""
    name = f"autonama {command}, process {os.getpid()} on {socket.gethostname()}"
    _names[:] = [name.replace("'", "")[:LONGEST_NAME]]


def own_name() -> str:
    """The name of this process's connections."""
    if not _names:
        introduce("run")  # which Dagster has started
    return _names[0]


def wait_until(
    look: Callable[[], bool],
    whom: Callable[[], str],
    *,
    patience: float | None = None,
    every: float = EVERY,
) -> bool:
    """Look again and again until it is so; False when the patience is at its end.

    Parameters
    ----------
    look
        Whether the wait is over. It also does what ends a wait for somebody who is dead.
    whom
        For whom we wait, to be shown: asked for once, when the wait is more than a moment.
    patience
        Seconds; None: for ever.
    every
        Seconds between two looks of a long wait.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C or SIGTERM, also where Dagster holds signals back.
    """
    began = time.monotonic()
    pause = min(FIRST, every)
    is_told = False
    try:
        while not look():
            waited = time.monotonic() - began
            if patience is not None and waited >= patience:
                return False
            if not is_told and waited >= QUIET:
                is_told = True
                tell(whom())
            time.sleep(pause)
            pause = min(2 * pause, every)
            signals.obey()
    finally:
        if is_told:
            tell(None)
    return True


@contextlib.contextmanager
def watched(url: str, pid: int) -> Iterator[None]:
    """Say whom the statements of a connection wait for, and let signals end them.

    Parameters
    ----------
    url
        Of the database.
    pid
        Of the connection's server process.
    """
    entry = _Watch(url, pid)
    _watcher.add(entry)
    try:
        yield
    finally:
        _watcher.remove(entry)


@dataclass(eq=False)
class _Watch:
    url: str
    pid: int
    began: float = field(default_factory=time.monotonic)
    looks: int = 0
    is_told: bool = False

    def is_due(self) -> bool:
        """Whether to look again: after 1, 2, 4, ... seconds, and at once when a signal has come."""
        waited = time.monotonic() - self.began
        return waited >= QUIET and (waited >= 2**self.looks or signals.heard() is not None)


class _Watcher:
    """A thread that looks at statements that take long; it starts with the first of them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a listener may write to the database
        self._entries: dict[_Watch, None] = {}
        self._thread: threading.Thread | None = None

    def add(self, entry: _Watch) -> None:
        with self._lock:
            self._entries[entry] = None
            if self._thread is None or not self._thread.is_alive():  # it does not survive a fork
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()

    def remove(self, entry: _Watch) -> None:
        with self._lock:
            del self._entries[entry]
            if entry.is_told:
                tell(None)

    def _run(self) -> None:
        while True:
            time.sleep(EVERY)
            with self._lock:
                entries = list(self._entries)
            for entry in filter(_Watch.is_due, entries):
                entry.looks += 1
                self._look(entry)

    def _look(self, entry: _Watch) -> None:
        import psycopg  # noqa: PLC0415  (0.1 s)

        from resources.postgres.connections import connect  # noqa: PLC0415

        if entry.is_told and not signals.heard():
            return
        try:
            with connect(entry.url, autocommit=True) as connection:
                if signals.heard():
                    connection.execute("SELECT pg_cancel_backend(%s)", (entry.pid,))
                    return
                found = connection.execute(_BLOCKERS, {"pid": entry.pid}).fetchall()
        except (AutonamaError, psycopg.Error):  # the statement meets it too
            return
        with self._lock:
            if not found or entry not in self._entries:
                return
            entry.is_told = True
            tell(_sentence(found))  # here, so that it comes before the end of the wait


def _sentence(found: list[tuple[str, int, str, str, str | None, str | None]]) -> str:
    """For whom a statement waits, from the rows of `_BLOCKERS`."""
    names = []
    for _, pid, program, user, state, query in found:
        doing = f", {state}" if state else ""
        doing += f": {query}" if query else ""
        names.append(f"{program} (server process {pid}, user {user}{doing})")
    return f"{found[0][0] or 'a lock'}, held by {' and '.join(names)}"


_watcher: Final = _Watcher()
