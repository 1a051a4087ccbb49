"""Which runs are alive: each holds a lock in Dagster's database for as long as it executes.

A lock of a session ends with its connection. So a process that was killed holds none, on whichever
machine it ran, and nobody has to be asked about process ids.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg

from resources.database import dagster_database_url, unreachable
from resources.database_urls import libpq_url


@contextmanager
def held(run_id: str) -> Iterator[None]:
    """Hold the run's lock.

    Raises
    ------
    DatabaseError
        Dagster's database cannot be reached.
    """
    with _connection() as connection:
        connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (run_id,))
        yield


def alive(run_ids: Sequence[str]) -> frozenset[str]:
    """Those of the runs whose lock is held.

    Raises
    ------
    DatabaseError
        Dagster's database cannot be reached.
    """
    with _connection() as connection:
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


def _connection() -> psycopg.Connection:
    url = libpq_url(dagster_database_url())
    try:
        return psycopg.connect(url, autocommit=True)
    except psycopg.OperationalError as error:
        raise unreachable(url, error) from None
