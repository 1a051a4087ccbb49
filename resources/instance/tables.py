"""Dagster's tables, made all or none.

Dagster makes its tables one by one and knows by the first whether they are there. A program that is
killed in between would leave a database that no program can use, nor repair.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import sqlalchemy as sa
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.runs.schema import KeyValueStoreTable, RunStorageSqlMetadata
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata
from dagster._core.storage.sql import stamp_alembic_rev
from dagster_postgres import (
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from dagster_postgres.run_storage import run_storage
from dagster_postgres.utils import (
    DagsterPostgresException,
    create_pg_connection,
    pg_alembic_config,
)

from resources.postgres.connections import guard
from resources.postgres.diagnosis import explained
from resources.postgres.errors import database_error, is_environment
from resources.postgres.watching import watched

_MARK: Final = "autonama/tables"  # in `kvs`: everything is there
_LOCK: Final = 7_314_552_208  # two programs may start at once
_METADATA: Final = (RunStorageSqlMetadata, SqlEventLogStorageMetadata, ScheduleStorageSqlMetadata)


def make_tables(url: str) -> None:
    """Make Dagster's tables where they are not complete; once they are, one query.

    Parameters
    ----------
    url
        URL of Dagster's database, for psycopg2.

    Raises
    ------
    DatabaseError
        The database cannot be reached.
    """
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    guard(engine, url)
    try:
        with reached(create_pg_connection(engine), url) as locked:
            if _is_complete(locked):
                return
            locked.execute(sa.select(sa.func.pg_advisory_lock(_LOCK)))
            locked.commit()
            if _is_complete(locked):
                return
            with engine.begin() as connection:
                for metadata in _METADATA:
                    metadata.create_all(connection)
                if not sa.inspect(connection).has_table("alembic_version"):
                    stamp_alembic_rev(pg_alembic_config(run_storage.__file__), connection)
            _migrate_data(url)
            with engine.begin() as connection:
                connection.execute(KeyValueStoreTable.insert().values(key=_MARK, value="made"))
    finally:
        engine.dispose()


def _is_complete(connection: sa.Connection) -> bool:
    marked = sa.select(KeyValueStoreTable.c.value).where(KeyValueStoreTable.c.key == _MARK)
    try:
        with connection.begin():
            return connection.execute(marked).scalar() is not None
    except sa.exc.ProgrammingError:  # there is no such table
        return False


@contextmanager
def reached(connection: AbstractContextManager[sa.Connection], url: str) -> Iterator[sa.Connection]:
    """A connection, or the one line that says why there is none; Dagster has tried six times."""
    try:
        with connection as opened:
            driver: Any = opened.connection.dbapi_connection
            with watched(url, driver.get_backend_pid()):
                yield opened
    except DagsterPostgresException as error:
        raise database_error(url, error.__cause__ or error) from None
    except sa.exc.DBAPIError as error:
        if not is_environment(error):  # Dagster handles some, e.g. a row that is there already
            raise
        raise explained(url, error) from None


def _migrate_data(url: str) -> None:
    """What Dagster does after it has made tables: each step is noted and done once."""
    runs = PostgresRunStorage(url)
    runs.migrate()
    runs.optimize()
    events = PostgresEventLogStorage(url)
    events.reindex_events()
    events.reindex_assets()
    schedules = PostgresScheduleStorage(url)
    schedules.migrate()
    schedules.optimize()
