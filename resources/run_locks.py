"""Which runs are alive: each holds a lock in Dagster's database for as long as it executes.

A lock of a session ends with its connection. So a process that was killed holds none, on whichever
machine it ran, and nobody has to be asked about process ids.
"""

import atexit
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord

from resources.connections import connect

# Of runs that execute in the process that asked for them, which holds the lock before the run is
# made; Dagster's daemon does not start such a run again.
OWN_PROCESS_TAGS: Final = {"autonama/own_process": "true", "dagster/max_retries": "0"}
# From the last change of a run's status to the lock, for a run that a process is started for.
PATIENCE: Final = {
    DagsterRunStatus.NOT_STARTED: timedelta(minutes=5),
    DagsterRunStatus.STARTING: timedelta(minutes=5),
    DagsterRunStatus.STARTED: timedelta(minutes=1),
}

_kept: list[psycopg.Connection] = []  # with the lock of the run this process exists for


@contextmanager
def held(url: str, run_id: str) -> Iterator[None]:
    """Hold the run's lock in Dagster's database.

    Raises
    ------
    DatabaseError
        The database cannot be reached.
    """
    with _connection(url) as connection:
        _lock(connection, run_id)
        yield


def hold_to_the_end(url: str, run_id: str) -> None:
    """Hold the run's lock until the process ends, or executes its next run.

    A run writes its last event after its last step: until then it must not look lost.

    Raises
    ------
    DatabaseError
        The database cannot be reached.
    """
    _release()
    _kept.append(_connection(url))
    _lock(_kept[-1], run_id)


@atexit.register
def _release() -> None:
    while _kept:
        _kept.pop().close()


def lost(instance: DagsterInstance, records: Sequence[RunRecord]) -> list[DagsterRun]:
    """Those of the runs that are under way and whose process is gone.

    Raises
    ------
    DatabaseError
        Dagster's database cannot be reached.
    """
    if not records:
        return []
    living = alive(database_of(instance), [r.dagster_run.run_id for r in records])
    silent = [r for r in records if r.dagster_run.run_id not in living and not _is_new(r)]
    # One may have ended by itself between the two looks.
    again = [instance.get_run_by_id(r.dagster_run.run_id) for r in silent]
    return [run for run in again if run is not None and run.status in PATIENCE]


def _is_new(record: RunRecord) -> bool:
    run = record.dagster_run
    if run.status not in PATIENCE or OWN_PROCESS_TAGS.items() <= run.tags.items():
        return False
    return datetime.now(UTC) - record.update_timestamp.astimezone(UTC) < PATIENCE[run.status]


def database_of(instance: DagsterInstance) -> str:
    """URL of the database that holds the instance's runs."""
    return str(instance.run_storage.postgres_url)  # type: ignore[attr-defined]


def alive(url: str, run_ids: Sequence[str]) -> frozenset[str]:
    """Those of the runs whose lock is held.

    Raises
    ------
    DatabaseError
        Dagster's database cannot be reached.
    """
    with _connection(url) as connection:
        rows = connection.execute(
            """
            SELECT run_id
            FROM unnest(%s::text[]) AS run_id
            WHERE hashtextextended(run_id, 0) IN (
                SELECT (classid::bigint << 32) | objid::bigint
                FROM pg_locks
                WHERE locktype = 'advisory' AND objsubid = 1 AND granted
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            )
            """,
            (list(run_ids),),
        ).fetchall()
    return frozenset(row[0] for row in rows)


def _lock(connection: psycopg.Connection, run_id: str) -> None:
    connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (run_id,))


def _connection(url: str) -> psycopg.Connection:
    return connect(url, autocommit=True)
