"""Statements that wait for a lock: whom they wait for is said, and signals end them.

A thread looks whom a statement waits for, and cancels it when a signal has come that the statement
does not let through.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import psycopg

from autonama_dagster.errors import AutonamaError
from autonama_dagster.system import stop_signals as signals
from resources.postgres.connections import connect
from resources.waiting import EVERY, QUIET, tell

if TYPE_CHECKING:
    import sqlalchemy as sa

_BLOCKERS: Final = """
    SELECT (SELECT CASE WHEN locktype IN ('transactionid', 'tuple') THEN 'a row'
                        WHEN locktype = 'advisory' THEN 'a write lock'
                        ELSE coalesce('table ' || relation::regclass::text, locktype || ' lock') END
            FROM pg_locks WHERE pid = %(pid)s AND NOT granted LIMIT 1),
           pid, coalesce(nullif(application_name, ''), 'a program without a name'), usename,
           state, left(regexp_replace(query, '\\s+', ' ', 'g'), 80)
    FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(%(pid)s)) ORDER BY pid
"""


@contextmanager
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


@contextmanager
def transaction(engine: "sa.Engine", url: str) -> Iterator["sa.Connection"]:
    """A transaction of an engine with psycopg, which says for whom it waits and obeys signals."""
    with engine.begin() as connection:
        driver: Any = connection.connection.dbapi_connection
        with watched(url, driver.info.backend_pid):
            yield connection


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
