"""Retention: deletes old alerts, summaries and Dagster events where the settings ask for it.

Candles and what is computed from them are never deleted. Of Dagster's events these stay at any
age: the latest of each asset and partition, on which every partition's status rests, and those of
runs that have not ended. Runs stay too, without the events of their inside.

Deleted rows of an old day are computed again when somebody asks for that day.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Final

import sqlalchemy as sa
from dagster import DagsterEventType, DagsterRunStatus
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs.schema import RunsTable

from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.schemas.ddl import metadata
from autonama_dagster.settings import Settings
from resources.postgres.connections import engine as new_engine
from resources.postgres.diagnosis import explained
from resources.postgres.watching import transaction

Begin = Callable[[], AbstractContextManager[sa.Connection]]  # a transaction

BATCH: Final = 20_000  # events looked at in one transaction: well under a second
_EVENTS: Final = SqlEventLogStorageTable.name
_LATEST_KEPT: Final = tuple(
    kind.value
    for kind in (
        DagsterEventType.ASSET_MATERIALIZATION,
        DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        DagsterEventType.ASSET_OBSERVATION,
        DagsterEventType.ASSET_FAILED_TO_MATERIALIZE,
    )
)
_ENDED: Final = tuple(
    status.value
    for status in (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
)


@dataclass(frozen=True)
class Removed:
    """What is too old in one table.

    Attributes
    ----------
    table
        `alerts`, `analysis_summary`, `event_logs` or `asset_check_executions`.
    before
        The first day that stays.
    rows
        How many rows went, or would go.
    """

    table: str
    before: date
    rows: int


def is_on(settings: Settings) -> bool:
    """Whether any retention is set."""
    return bool(settings.retention_days) or settings.retention_events_days is not None


def retain(
    settings: Settings,
    project_url: str,
    dagster_url: Callable[[], str],
    *,
    dry_run: bool = False,
    now: datetime | None = None,
) -> list[Removed]:
    """Delete what is older than the settings allow, in small transactions.

    Parameters
    ----------
    settings
        A kind whose `retention_..._days` is None is left alone.
    project_url, dagster_url
        Where the tables are; Dagster's is asked for when it is needed.
    dry_run
        Only count.
    now
        For tests; default: the clock.

    Returns
    -------
    list of Removed
        One entry per table that has a limit.

    Raises
    ------
    DatabaseError
        A database is out of reach; batches done before are done.
    """
    moment = now or datetime.now(UTC)
    found = []
    with _transactions(project_url) as begin:
        for table, days in settings.retention_days.items():
            before = moment.date() - timedelta(days=days)
            found.append(Removed(table, before, _old_days(begin, table, before, dry_run)))
    if settings.retention_events_days is not None:
        before = moment.date() - timedelta(days=settings.retention_events_days)
        with _transactions(dagster_url()) as begin:
            found.append(Removed(_EVENTS, before, _old_events(begin, before, dry_run)))
            checks = _old_checks(begin, before, dry_run)
            found.append(Removed(AssetCheckExecutionsTable.name, before, checks))
    return found


def _old_days(begin: Begin, name: str, before: date, dry_run: bool) -> int:
    """Rows of days before `before`, deleted a day at a time."""
    table = metadata().tables[f"{SCHEMA}.{name}"]
    query = (
        sa.select(table.c.date, sa.func.count())
        .where(table.c.date < before)
        .group_by(table.c.date)
        .order_by(table.c.date)
    )
    with begin() as connection:
        days = connection.execute(query).all()
    if dry_run:
        return sum(rows for _, rows in days)
    deleted = 0
    for day, _ in days:
        with begin() as connection:
            deleted += connection.execute(sa.delete(table).where(table.c.date == day)).rowcount
    return deleted


def _old_events(begin: Begin, before: date, dry_run: bool) -> int:
    """Events before `before`, deleted with their tags by ranges of their ids."""
    events = SqlEventLogStorageTable
    doomed = 0
    for first, last in _id_ranges(begin, before):
        ids = sa.select(events.c.id).where(
            events.c.id.between(first, last), events.c.timestamp < before, _is_dispensable(events)
        )
        with begin() as connection:
            if dry_run:
                query = sa.select(sa.func.count()).select_from(ids.subquery())
                doomed += connection.scalar(query) or 0
                continue
            gone = sa.delete(events).where(events.c.id.in_(ids)).returning(events.c.id).cte("gone")
            tags = AssetEventTagsTable
            untag = sa.delete(tags).where(tags.c.event_id.in_(sa.select(gone.c.id))).cte("untag")
            query = sa.select(sa.func.count()).select_from(gone).add_cte(untag)
            doomed += connection.scalar(query) or 0
    return doomed


def _id_ranges(begin: Begin, before: date) -> Iterator[tuple[int, int]]:
    """Ranges of `BATCH` events from the oldest on, until one holds none before `before`."""
    events = SqlEventLogStorageTable
    last = -1
    while True:
        window = (
            sa.select(events.c.id, events.c.timestamp)
            .where(events.c.id > last)
            .order_by(events.c.id)
            .limit(BATCH)
            .subquery()
        )
        query = sa.select(
            sa.func.min(window.c.id), sa.func.max(window.c.id), sa.func.min(window.c.timestamp)
        )
        with begin() as connection:
            first, last, oldest = connection.execute(query).one()
        if first is None or oldest.date() >= before:
            return
        yield first, last


def _is_dispensable(events: sa.Table) -> sa.ColumnElement[bool]:
    """Events of ended runs that no partition's status rests on."""
    runs, later = RunsTable, events.alias("later")
    in_flight = sa.exists().where(runs.c.run_id == events.c.run_id, runs.c.status.not_in(_ENDED))
    same = (
        later.c.asset_key == events.c.asset_key,
        later.c.dagster_event_type == events.c.dagster_event_type,
        later.c.id > events.c.id,
    )
    # Two conditions, because each finds its index.
    is_superseded = sa.or_(
        sa.exists().where(*same, later.c.partition == events.c.partition),
        sa.and_(
            events.c.partition.is_(None), sa.exists().where(*same, later.c.partition.is_(None))
        ),
    )
    kind = events.c.dagster_event_type
    is_passing = sa.or_(kind.is_(None), kind.not_in(_LATEST_KEPT), events.c.asset_key.is_(None))
    return sa.and_(sa.not_(in_flight), sa.or_(is_passing, is_superseded))


def _old_checks(begin: Begin, before: date, dry_run: bool) -> int:
    """Evaluations of checks before `before`; each check keeps its latest."""
    checks = AssetCheckExecutionsTable
    later, runs = checks.alias("later"), RunsTable
    is_old = sa.and_(
        checks.c.create_timestamp < before,
        sa.exists().where(
            later.c.asset_key == checks.c.asset_key,
            later.c.check_name == checks.c.check_name,
            later.c.partition.is_not_distinct_from(checks.c.partition),
            later.c.id > checks.c.id,
        ),
        ~sa.exists().where(runs.c.run_id == checks.c.run_id, runs.c.status.not_in(_ENDED)),
    )
    with begin() as connection:
        if dry_run:
            query = sa.select(sa.func.count()).select_from(checks).where(is_old)
            return int(connection.scalar(query) or 0)
        return connection.execute(sa.delete(checks).where(is_old)).rowcount


@contextmanager
def _transactions(url: str) -> Iterator[Begin]:
    engine = new_engine(url)
    try:
        yield partial(transaction, engine, url)
    except sa.exc.DBAPIError as error:
        raise explained(url, error) from None
    finally:
        engine.dispose()
