"""Which runs are alive: each holds a lock in Dagster's database for as long as it executes.

A lock of a session ends with its connection. So a process that was killed holds none, on whichever
machine it ran, and nobody has to be asked about process ids. The connection's name says which
program it is, for those who wait for the run.
"""

import atexit
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final, Self

import psycopg
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord, RunsFilter

from autonama_dagster.errors import AutonamaError, DatabaseError
from resources.postgres.connections import connect
from resources.waiting import LONGEST_NAME, wait_until

# Of runs that execute in the process that asked for them, which holds the lock before the run is
# made; Dagster's daemon does not start such a run again.
OWN_PROCESS_TAGS: Final = {"autonama/own_process": "true", "dagster/max_retries": "0"}
# From the last change of a run's status to the lock, for a run that a process is started for.
PATIENCE: Final = {
    DagsterRunStatus.NOT_STARTED: timedelta(minutes=5),
    DagsterRunStatus.STARTING: timedelta(minutes=5),
    DagsterRunStatus.STARTED: timedelta(minutes=1),
    DagsterRunStatus.CANCELING: timedelta(minutes=1),
}

# The server asks after a silent connection: a machine that is gone keeps no lock for hours.
_LOST_SOON: Final = (
    "SELECT set_config('tcp_keepalives_idle', '30', false), "
    "set_config('tcp_keepalives_interval', '10', false), "
    "set_config('tcp_keepalives_count', '3', false)"
)

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


def end_lost_runs(instance: DagsterInstance) -> list[str]:
    """Mark runs as ended whose process was killed, and free what they held in pools.

    Dagster's daemon does so too where it runs; the command line works without one.
    """
    records = instance.get_run_records(RunsFilter(statuses=list(PATIENCE)))
    ended = lost(instance, records)
    for run in ended:
        _end(instance, run)
    return [run.run_id for run in ended]


def free_the_dead(instance: DagsterInstance, run_ids: Collection[str]) -> None:
    """Free what those of the runs hold in pools whose process is gone, ended or not."""
    living = alive(database_of(instance), list(run_ids))
    for run_id in set(run_ids) - living.keys():
        record = instance.get_run_record_by_id(run_id)
        if record is None or record.dagster_run.status not in PATIENCE:
            instance.event_log_storage.free_concurrency_slots_for_run(run_id)
        else:
            for run in lost(instance, [record]):
                _end(instance, run)


def _end(instance: DagsterInstance, run: DagsterRun) -> None:
    if run.status is DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, "the run's process died")
    else:
        instance.report_run_failed(run, "the run's process died")
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _is_new(record: RunRecord) -> bool:
    run = record.dagster_run
    if run.status not in PATIENCE or OWN_PROCESS_TAGS.items() <= run.tags.items():
        return False
    return datetime.now(UTC) - record.update_timestamp.astimezone(UTC) < PATIENCE[run.status]


def database_of(instance: DagsterInstance) -> str:
    """URL of the database that holds the instance's runs."""
    return str(instance.run_storage.postgres_url)  # type: ignore[attr-defined]


def alive(url: str, run_ids: Sequence[str]) -> dict[str, str]:
    """Those of the runs whose lock is held, and the names of the programs that hold them.

    Raises
    ------
    DatabaseError
        Dagster's database cannot be reached.
    """
    with _connection(url) as connection:
        rows = connection.execute(
            """
            SELECT run_id, coalesce(nullif(application_name, ''), 'server process ' || l.pid)
            FROM unnest(%s::text[]) AS run_id
            JOIN pg_locks AS l
              ON hashtextextended(run_id, 0) = (classid::bigint << 32) | objid::bigint
            LEFT JOIN pg_stat_activity AS a USING (pid)
            WHERE locktype = 'advisory' AND objsubid = 1 AND granted
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """,
            (list(run_ids),),
        ).fetchall()
    return dict(rows)


class ServiceLock:
    """Held by a service of which there may be one for a database; it ends with the process.

    Parameters
    ----------
    url
        Of the database.
    name
        Of the service, as users know it.
    place
        Where it serves, for whoever starts it a second time.

    Raises
    ------
    DatabaseError
        From `with`: the database cannot be reached.
    AutonamaError
        From `with` and `keep`: it runs already.
    """

    def __init__(self, url: str, name: str, place: str) -> None:
        self._url = url
        self._name = name
        self._title = f"{name} at {place}, process {os.getpid()}"[:LONGEST_NAME]
        self._connection: psycopg.Connection | None = None

    def __enter__(self) -> Self:
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def keep(self) -> None:
        """Take the lock again if the connection was lost, e.g. because Postgres was restarted."""
        assert self._connection is not None  # noqa: S101
        try:
            self._connection.execute("SELECT 1")
        except psycopg.OperationalError:
            # It is taken when the database is back, and has noticed that the connection is lost.
            with suppress(DatabaseError, psycopg.Error):
                if self._holder() != self._title:
                    self._take()

    def _take(self) -> None:
        with ExitStack() as stack:
            connection = stack.enter_context(closing(_connection(self._url)))
            connection.execute("SELECT set_config('application_name', %s, false)", (self._title,))
            query = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
            if connection.execute(query, (self._name,)).fetchone() != (True,):
                raise AutonamaError(
                    f"{self._holder() or 'it'} is already running on this database: use that one, "
                    "or stop it first"
                )
            self._connection = connection
            stack.pop_all()

    def _holder(self) -> str | None:
        return alive(self._url, [self._name]).get(self._name)


def _lock(connection: psycopg.Connection, run_id: str) -> None:
    query = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
    wait_until(
        lambda: connection.execute(query, (run_id,)).fetchone() == (True,),
        lambda: f"run {run_id}, executed by another process",
    )


def _connection(url: str) -> psycopg.Connection:
    connection = connect(url, autocommit=True)
    connection.execute(_LOST_SOON)
    return connection
