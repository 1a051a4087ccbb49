"""Dagster's own storage in Postgres: pooled connections, and partition events written in bulk.

dagster-postgres opens a connection for every call and stores the planned events of a range one by
one: about 40 ms per partition and asset. Here a process keeps a small pool, and a batch of events
goes to the server by COPY: 0.5 ms. What Dagster reports afterwards is the same.

`dagster.yaml` names the class and configures nothing, because a URL there would show in the
arguments of every process that Dagster starts::

    storage:
      custom:
        module: resources.dagster_storage
        class: AutonamaStorage  # or StockStorage: dagster-postgres as it comes
        config: {}

This module knows nothing of the project's own tables, nor of where the server comes from.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from functools import cache
from io import StringIO
from typing import Any, NamedTuple, Self

from dagster import DagsterEventType
from dagster._config.config_schema import UserConfigSchema
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._serdes import ConfigurableClassData
from dagster._utils.concurrency import ConcurrencyClaimStatus
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from dagster_postgres.utils import (
    create_pg_engine,
    set_pg_statement_timeout,
)
from sqlalchemy import Connection, Engine, Table, event, text
from sqlalchemy.exc import InternalError

from resources.instance.tables import make_tables, reached
from resources.postgres.connections import guard
from resources.waiting import wait_until

BATCH_SIZE_VARIABLE = "DAGSTER_EVENT_BATCH_SIZE"
BATCH_SIZE = 1000

BULK_EVENTS = frozenset(
    {
        DagsterEventType.ASSET_MATERIALIZATION,
        DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        DagsterEventType.ASSET_OBSERVATION,
        DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
    }
)


class _Entry(NamedTuple):
    """An event on its way to `event_logs`."""

    event_id: int
    event: EventLogEntry
    row: dict[str, Any]


def _pooled_engine(url: str, **pool: Any) -> Engine:
    """Engine that tests a pooled connection before each use: a restarted server goes unnoticed."""
    engine = create_pg_engine(url, isolation_level="AUTOCOMMIT", pool_pre_ping=True, **pool)
    guard(engine, url)
    return engine


@cache
def _process_engine(url: str) -> Engine:
    """One engine per database and process: Dagster makes many storages for one database.

    Two connections stay open. Further ones are opened on demand and nobody queues for one, because
    Dagster asks for a second connection while it holds the first.
    """
    return _pooled_engine(url, pool_size=2, max_overflow=-1, pool_recycle=600)


class _Pooled:
    """Mixin: a dagster-postgres storage on pooled connections in place of one per call."""

    _engine: Engine
    postgres_url: str

    def __init__(self, postgres_url: str) -> None:
        super().__init__(postgres_url)  # type: ignore[call-arg]
        self._engine = _process_engine(postgres_url)

    def optimize_for_webserver(
        self, statement_timeout: int, pool_recycle: int, max_overflow: int
    ) -> None:
        """Take the webserver's own pool: bounded, statements limited to `statement_timeout` ms."""
        self._engine = _pooled_engine(
            self.postgres_url, pool_size=1, pool_recycle=pool_recycle, max_overflow=max_overflow
        )
        event.listen(
            self._engine,
            "connect",
            lambda connection, _: set_pg_statement_timeout(connection, statement_timeout),
        )

    def dispose(self) -> None:
        """Close the idle connections; one in use closes when it is given back."""
        super().dispose()  # type: ignore[misc]
        self._engine.dispose()


class PooledPostgresRunStorage(_Pooled, PostgresRunStorage):
    """dagster-postgres' run storage on pooled connections."""

    def connect(self) -> AbstractContextManager[Connection]:
        """A connection of the pool."""
        return reached(super().connect(), self.postgres_url)


class PooledPostgresScheduleStorage(_Pooled, PostgresScheduleStorage):
    """dagster-postgres' schedule storage on pooled connections."""

    def connect(self, run_id: str | None = None) -> AbstractContextManager[Connection]:
        """A connection of the pool."""
        return reached(super().connect(run_id), self.postgres_url)


class BulkPostgresEventLogStorage(_Pooled, PostgresEventLogStorage):
    """dagster-postgres' event log storage on pooled connections, its batches written by COPY.

    Parameters
    ----------
    postgres_url
        URL of Dagster's database, for psycopg2. Its tables are made if absent.
    """

    def __init__(self, postgres_url: str) -> None:
        self._present: set[str] = set()
        super().__init__(postgres_url)

    def _connect(self) -> AbstractContextManager[Connection]:
        return reached(super()._connect(), self.postgres_url)

    def initialize_concurrency_limit_to_default(self, concurrency_key: str) -> bool:
        """Make a pool at its first use, as Dagster does; another process may be making it too.

        The second of two goes on in a transaction that Postgres has ended. The pool is there then.
        """
        try:
            return super().initialize_concurrency_limit_to_default(concurrency_key)
        except InternalError:
            if concurrency_key in self.get_concurrency_keys():
                return True
            raise

    def claim_concurrency_slot(
        self, concurrency_key: str, run_id: str, step_key: str, priority: int | None = None
    ) -> ConcurrencyClaimStatus:
        """Claim a slot of a pool, and wait until there is one.

        Dagster itself waits in a loop that never sleeps, hears no signal, and leaves it to a
        daemon, which a command line may not have, to free what a killed process held.
        """
        # Here, because it brings the settings.
        from resources.instance.locks import alive, free_the_dead  # noqa: PLC0415

        status: ConcurrencyClaimStatus | None = None

        def has_slot() -> bool:
            nonlocal status
            status = super(BulkPostgresEventLogStorage, self).claim_concurrency_slot(
                concurrency_key, run_id, step_key, priority
            )
            if not status.is_claimed:
                free_the_dead(self._instance, self._claimants(concurrency_key) - {run_id})
            return bool(status.is_claimed)

        def holders() -> str:
            runs = alive(self.postgres_url, list(self._claimants(concurrency_key) - {run_id}))
            names = [f"run {run} ({program})" for run, program in runs.items()]
            text = f"the pool {concurrency_key}, held by {' and '.join(names) or 'another run'}"
            run = self._instance.get_run_by_id(run_id)
            self._instance.report_engine_event(f"waiting for {text}", run, step_key=step_key)
            return text

        wait_until(has_slot, holders)
        assert status is not None  # noqa: S101
        return status

    def _claimants(self, pool: str) -> set[str]:
        """Runs that hold a slot of the pool, or are to have the next."""
        info = self.get_concurrency_info(pool)
        return info.active_run_ids | info.assigned_run_ids

    def has_table(self, table_name: str) -> bool:
        """Whether the table exists. Only a yes is remembered: a migration may add it."""
        if table_name not in self._present and super().has_table(table_name):
            self._present.add(table_name)
        return table_name in self._present

    def has_asset_key_col(self, column_name: str) -> bool:
        """Whether `asset_keys` has the column. Only a yes is remembered."""
        name = f"asset_keys.{column_name}"
        if name not in self._present and super().has_asset_key_col(column_name):
            self._present.add(name)
        return name in self._present

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store the events of one batch, in their order, all or none.

        None, because Dagster repeats a failed batch event by event. The rows of `asset_keys`, the
        only ones that runs share, are written last and in the order of their keys, so concurrent
        batches lock them briefly and cannot deadlock.
        """
        if not {stored.get_dagster_event().event_type for stored in events} <= BULK_EVENTS:
            super().store_event_batch(events)
            return
        rows = [self._event_to_row(stored) for stored in events]
        with self.index_transaction() as conn:
            ids = _next_event_ids(conn, len(rows))
            entries = list(map(_Entry, ids, events, rows))
            _copy(conn, SqlEventLogStorageTable, ({"id": e.event_id, **e.row} for e in entries))
            _copy(conn, AssetEventTagsTable, self._tag_rows(entries))
            if checks := [row for entry in entries for row in _planned_check_rows(entry)]:
                conn.execute(AssetCheckExecutionsTable.insert(), checks)
            for entry in _latest_by_asset(entries):
                self._store_asset_event(conn, entry.event, entry.event_id)

    def _tag_rows(self, entries: Iterable[_Entry]) -> Iterator[dict[str, Any]]:
        """Rows of the tags by which Dagster looks events up: data version, date and symbol."""
        for entry in entries:
            for key, value in self._tags_for_asset_event(entry.event).items():
                yield {
                    "event_id": entry.event_id,
                    "asset_key": entry.row["asset_key"],
                    "key": key,
                    "value": value,
                    "event_timestamp": entry.row["timestamp"],
                }


class StockStorage(DagsterPostgresStorage):
    """dagster-postgres as it comes, on the project's server: to compare with, or to fall back to.

    Parameters
    ----------
    postgres_url
        URL of Dagster's database, for psycopg2.
    inst_data
        What `dagster.yaml` said, from which Dagster makes the storage anew in each subprocess.
    """

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        make_tables(postgres_url)
        super().__init__(postgres_url, inst_data=inst_data)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            guard(storage._engine, postgres_url)  # noqa: SLF001

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """No options."""
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        """Find or start the project's server."""
        del config_value
        # Here, because it brings Alembic and the settings, which an explicit URL does not need.
        from resources.postgres.database import dagster_database_url  # noqa: PLC0415

        return cls(dagster_database_url(), inst_data)


class AutonamaStorage(StockStorage):
    """Dagster's storage on pooled connections, with its partition events written in bulk.

    Sets `DAGSTER_EVENT_BATCH_SIZE` to 1000 if unset, as Dagster makes batches only on request.
    """

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        os.environ.setdefault(BATCH_SIZE_VARIABLE, str(BATCH_SIZE))
        super().__init__(postgres_url, inst_data)
        self._run_storage = PooledPostgresRunStorage(postgres_url)
        self._event_log_storage = BulkPostgresEventLogStorage(postgres_url)
        self._schedule_storage = PooledPostgresScheduleStorage(postgres_url)


def _planned_check_rows(entry: _Entry) -> Iterator[dict[str, Any]]:
    """Rows of `asset_check_executions` for a planned check; none for other events."""
    planned_event = entry.event.get_dagster_event()
    if planned_event.event_type is not DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
        return
    planned = planned_event.asset_check_planned_data
    subset = planned.partitions_subset
    for partition in subset.get_partition_keys() if subset else (None,):
        yield {
            "asset_key": planned.asset_key.to_string(),
            "check_name": planned.check_name,
            "partition": partition,
            "run_id": entry.row["run_id"],
            "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
            "evaluation_event": entry.row["event"],
            "evaluation_event_timestamp": entry.row["timestamp"],
            "evaluation_event_storage_id": entry.event_id,
        }


def _latest_by_asset(entries: Iterable[_Entry]) -> list[_Entry]:
    """Last event of each type for each asset, by asset, then in the order of the log.

    `asset_keys` holds no more than what these write to it.
    """
    latest = {
        (entry.row["asset_key"], entry.row["dagster_event_type"]): entry
        for entry in entries
        if entry.row["asset_key"] is not None
    }
    return sorted(latest.values(), key=lambda entry: (entry.row["asset_key"], entry.event_id))


def _next_event_ids(conn: Connection, count: int) -> list[int]:
    """Take `count` ids, ascending, from the sequence that the stock class inserts with."""
    statement = text(
        "SELECT nextval(pg_get_serial_sequence('event_logs', 'id')) FROM generate_series(1, :count)"
    )
    return list(conn.scalars(statement, {"count": count}))


def _copy(conn: Connection, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows, which all have the same columns, by COPY in the connection's transaction."""
    buffer = StringIO()
    columns: Iterable[str] = ()
    for row in rows:
        columns = row
        buffer.write("\t".join(map(_copy_text, row.values())) + "\n")
    if not columns:
        return
    buffer.seek(0)
    names = ", ".join(f'"{name}"' for name in columns)
    with closing(conn.connection.cursor()) as cursor:
        cursor.copy_expert(f"COPY {table.name} ({names}) FROM STDIN", buffer)


def _copy_text(value: object) -> str:
    """A value in COPY's text format."""
    if value is None:
        return r"\N"
    return (
        str(value)
        .replace("\\", r"\\")
        .replace("\n", r"\n")
        .replace("\r", r"\r")
        .replace("\t", r"\t")
    )
