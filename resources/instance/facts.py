"""What Dagster's own tables say about runs, daemons, schedules and checks, read by SQL.

Importing Dagster costs seconds, and a look at its tables must not. The columns read here are the
stable, indexed ones of Dagster 1.13; of the serialised bodies only names are taken. A test reads
the tables of a real instance.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from psycopg import Connection

LAST_RUNS: Final = 10
RECENT: Final = timedelta(hours=24)
FAILED: Final = "FAILURE"
SUCCEEDED: Final = "SUCCESS"
_ENDED: Final = (SUCCEEDED, FAILED, "CANCELED")
_LOST_AFTER: Final = timedelta(minutes=5)  # a process that starts a run may take so long
_SILENT: Final = timedelta(hours=1)
_BEATS_EVERY: Final = timedelta(seconds=30)
_ALIVE: Final = 4 * _BEATS_EVERY

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Run:
    """A run of a job.

    Attributes
    ----------
    run_id, job, status
        As Dagster names them.
    partitions
        Its partition, or first and last of its range; empty: none.
    started
        When it started; None: not yet, or it failed before.
    seconds
        How long it took, or has taken so far; None: not started.
    """

    run_id: str
    job: str
    status: str
    partitions: str
    started: datetime | None
    seconds: float | None

    @property
    def ended(self) -> datetime | None:
        """When it ended; None: it has not, or has never begun."""
        if self.status not in _ENDED or self.started is None or self.seconds is None:
            return None
        return self.started + timedelta(seconds=self.seconds)


@dataclass(frozen=True)
class Automation:
    """A schedule or sensor that Dagster has seen; `is_on` holds while its daemon lives."""

    name: str
    kind: str
    is_on: bool


@dataclass(frozen=True)
class Stalled:
    """A run under way that does not go on.

    Attributes
    ----------
    run_id, job
        As Dagster names them.
    is_lost
        Whether no process holds its lock; otherwise one does, and is silent.
    heard
        Its last event.
    """

    run_id: str
    job: str
    is_lost: bool
    heard: datetime


@dataclass(frozen=True)
class DagsterFacts:
    """What Dagster's database says.

    Attributes
    ----------
    database_bytes
        Size of the whole database.
    last_runs
        The latest runs: failed ones first, then by age.
    last_by_job
        Each job's run that ended last.
    recent
        Runs by (job, status) that ended in the last 24 hours, or are under way.
    heartbeat
        When a daemon gave its last sign of life.
    is_daemon_alive
        Whether that was just now.
    automations
        Schedules and sensors; empty until a daemon has seen them.
    registered
        Registered symbols in their order.
    failed_checks
        Checks whose latest evaluation failed, as `asset: check`.
    stalled
        Runs under way that nobody executes any more, or that have said nothing for an hour.
    n_left_out, left_out
        Pairs that the exchange listed for the latest ranking under names that are none: how many,
        and what is wrong with the first.
    unreadable
        Why the database could not be read, which leaves all others empty; None: it could.
    """

    database_bytes: int = 0
    last_runs: tuple[Run, ...] = ()
    last_by_job: tuple[Run, ...] = ()
    recent: tuple[tuple[str, str, int], ...] = ()
    heartbeat: datetime | None = None
    is_daemon_alive: bool = False
    automations: tuple[Automation, ...] = ()
    registered: tuple[str, ...] = ()
    failed_checks: tuple[str, ...] = ()
    stalled: tuple[Stalled, ...] = ()
    n_left_out: int = 0
    left_out: str = ""
    unreadable: str | None = None


def read_dagster(connection: Connection[Row], now: datetime) -> DagsterFacts:
    """Gather the facts; all empty where Dagster has not made its tables yet.

    Parameters
    ----------
    connection
        To Dagster's database.
    now
        This machine's clock, which Dagster goes by.
    """
    made = _all(
        connection,
        "SELECT pg_database_size(current_database()), to_regclass('runs') IS NOT NULL "
        "AND to_regclass('event_logs') IS NOT NULL AND to_regclass('instigators') IS NOT NULL",
    )
    size, is_made = made[0]
    if not is_made:
        return DagsterFacts(database_bytes=size)
    heartbeat = _heartbeat(connection)
    n_left_out, left_out = _left_out(connection)
    return DagsterFacts(
        database_bytes=size,
        last_runs=_last_runs(connection, now),
        last_by_job=_last_by_job(connection, now),
        recent=_recent(connection, now),
        heartbeat=heartbeat,
        is_daemon_alive=heartbeat is not None and now - heartbeat < _ALIVE,
        automations=_automations(connection),
        registered=read_registered(connection),
        failed_checks=_failed_checks(connection),
        stalled=_stalled(connection, now),
        n_left_out=n_left_out,
        left_out=left_out,
    )


def read_registered(connection: Connection[Row]) -> tuple[str, ...]:
    """Registered symbols in their order."""
    rows = _all(
        connection,
        "SELECT partition FROM dynamic_partitions WHERE partitions_def_name = 'symbol' ORDER BY id",
    )
    return tuple(row[0] for row in rows)


def read_runs(connection: Connection[Row], run_ids: Sequence[str], now: datetime) -> list[Run]:
    """The named runs by their start; those that Dagster does not know are left out."""
    rows = _all(
        connection,
        """
        SELECT r.run_id, r.pipeline_name, r.status, r.partition, r.start_time, r.end_time,
               a.value, b.value
        FROM runs AS r
        LEFT JOIN run_tags AS a
               ON a.run_id = r.run_id AND a.key = 'dagster/asset_partition_range_start'
        LEFT JOIN run_tags AS b
               ON b.run_id = r.run_id AND b.key = 'dagster/asset_partition_range_end'
        WHERE r.run_id = ANY(%s)
        ORDER BY r.start_time, r.id
        """,
        (list(run_ids),),
    )
    return [_run(row, now) for row in rows]


def _last_runs(connection: Connection[Row], now: datetime) -> tuple[Run, ...]:
    rows = _all(
        connection,
        """
        SELECT r.run_id, r.pipeline_name, r.status, r.partition, r.start_time, r.end_time,
               a.value, b.value
        FROM (SELECT * FROM runs ORDER BY id DESC LIMIT %s) AS r
        LEFT JOIN run_tags AS a
               ON a.run_id = r.run_id AND a.key = 'dagster/asset_partition_range_start'
        LEFT JOIN run_tags AS b
               ON b.run_id = r.run_id AND b.key = 'dagster/asset_partition_range_end'
        ORDER BY r.status = %s DESC, r.id DESC
        """,
        (LAST_RUNS, FAILED),
    )
    return tuple(_run(row, now) for row in rows)


def _last_by_job(connection: Connection[Row], now: datetime) -> tuple[Run, ...]:
    rows = _all(
        connection,
        """
        SELECT DISTINCT ON (pipeline_name)
               run_id, pipeline_name, status, partition, start_time, end_time, NULL, NULL
        FROM runs
        WHERE status = ANY(%s)
        ORDER BY pipeline_name, coalesce(end_time, 0) DESC, id DESC
        """,
        (list(_ENDED),),
    )
    return tuple(_run(row, now) for row in rows)


def _recent(connection: Connection[Row], now: datetime) -> tuple[tuple[str, str, int], ...]:
    rows = _all(
        connection,
        """
        SELECT pipeline_name, status, count(*)
        FROM runs
        WHERE status <> ALL(%s) OR end_time >= %s
        GROUP BY pipeline_name, status
        ORDER BY pipeline_name, status
        """,
        (list(_ENDED), (now - RECENT).timestamp()),
    )
    return tuple((str(job), str(status), int(n)) for job, status, n in rows)


def _run(row: Row, now: datetime) -> Run:
    run_id, job, status, partition, start, end, first, last = row
    until = end if end is not None else None if status in _ENDED else now.timestamp()
    # A run that failed before its first step has an end and no start.
    begin = start if start is not None else end
    partitions = partition or ""
    if first is not None:
        partitions = first if first == last else f"{first} .. {last}"
    return Run(
        run_id=run_id,
        job=job,
        status=status,
        partitions=partitions,
        started=None if begin is None else datetime.fromtimestamp(begin, UTC),
        seconds=None if begin is None or until is None else max(until - begin, 0.0),
    )


def _heartbeat(connection: Connection[Row]) -> datetime | None:
    # What the column without a zone holds depends on the server's zone: the body says it in UTC.
    rows = _all(connection, "SELECT body FROM daemon_heartbeats WHERE body IS NOT NULL")
    beats = [float(json.loads(body)["timestamp"]) for (body,) in rows]
    return datetime.fromtimestamp(max(beats), UTC) if beats else None


def _automations(connection: Connection[Row]) -> tuple[Automation, ...]:
    rows = _all(
        connection,
        "SELECT instigator_body, lower(instigator_type), status FROM instigators "
        "WHERE instigator_type IN ('SCHEDULE', 'SENSOR')",
    )
    found = [
        Automation(_instigator_name(body), kind, is_on=status != "STOPPED")
        for body, kind, status in rows
    ]
    return tuple(sorted(found, key=lambda a: (a.kind, a.name)))


def _instigator_name(body: str) -> str:
    """Name of a schedule or sensor in Dagster's serialised state."""
    origin = json.loads(body).get("origin") or {}
    names = (origin.get(k) for k in ("job_name", "instigator_name"))
    return next((str(n) for n in names if n), "?")


def _stalled(connection: Connection[Row], now: datetime) -> tuple[Stalled, ...]:
    """See `resources.instance.locks`: a run that is executed holds a lock."""
    rows = _all(
        connection,
        """
        SELECT r.run_id, r.pipeline_name, NOT EXISTS (
                   SELECT FROM pg_locks AS l
                   WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
                     AND l.database = (
                         SELECT oid FROM pg_database WHERE datname = current_database()
                     )
                     AND ((l.classid::bigint << 32) | l.objid::bigint)
                       = hashtextextended(r.run_id, 0)
               ),
               (SELECT e.timestamp FROM event_logs AS e
                WHERE e.run_id = r.run_id ORDER BY e.id DESC LIMIT 1)
        FROM runs AS r
        WHERE r.status IN ('STARTING', 'STARTED', 'CANCELING')
        ORDER BY r.id
        """,
    )
    found = (
        Stalled(run_id, job, is_lost, heard.replace(tzinfo=UTC))
        for run_id, job, is_lost, heard in rows
        if heard is not None
    )
    return tuple(r for r in found if now - r.heard > (_LOST_AFTER if r.is_lost else _SILENT))


def _failed_checks(connection: Connection[Row]) -> tuple[str, ...]:
    rows = _all(
        connection,
        """
        SELECT asset_key, check_name FROM (
            SELECT DISTINCT ON (asset_key, check_name) asset_key, check_name, execution_status
            FROM asset_check_executions
            WHERE execution_status IN ('SUCCEEDED', 'FAILED')
            ORDER BY asset_key, check_name, id DESC
        ) AS latest
        WHERE execution_status = 'FAILED'
        ORDER BY asset_key, check_name
        """,
    )
    return tuple(f"{'/'.join(json.loads(asset))}: {check}" for asset, check in rows)


def _left_out(connection: Connection[Row]) -> tuple[int, str]:
    """What stage `universe` said of the list of pairs when it ran last."""
    rows = _all(
        connection,
        "SELECT last_materialization FROM asset_keys "
        "WHERE asset_key = %s AND last_materialization IS NOT NULL",
        (json.dumps(["universe"]),),
    )
    for (event,) in rows:
        record = json.loads(event)
        body = (record.get("event_log_entry") or {}).get("dagster_event") or {}
        made = (body.get("event_specific_data") or {}).get("materialization") or {}
        metadata = {
            entry.get("label"): (entry.get("entry_data") or {})
            for entry in made.get("metadata_entries") or ()
        }
        if "left_out_pairs" in metadata:
            first = metadata.get("left_out", {}).get("text")
            return int(metadata["left_out_pairs"]["value"]), str(first)
    return 0, ""


def _all(connection: Connection[Row], query: Any, values: Sequence[Any] = ()) -> list[Row]:
    return connection.execute(query, values).fetchall()
