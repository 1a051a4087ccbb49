"""What an error of a database does not tell by itself: looked up on a connection of its own."""

from contextlib import suppress
from typing import Any, Final

import psycopg
from psycopg import sql

from autonama_dagster.errors import AutonamaError, DatabaseError, SchemaError
from resources.postgres.connections import connect
from resources.postgres.errors import database_error, reason_of, sqlstate

_LOCK_TIMEOUT_S: Final = 2
_WAITED: Final = ("55P03", "57014")
_READ_ONLY: Final = "25006"
# The statement and the tables do not fit: ours are made from the registry, so it is the tables.
_SHAPE: Final = ("42P01", "42703", "42804", "42883", "42P10", "3F000", "23502", "428C9", "42809")

# Who holds a lock that everybody must wait for, on a table of ours.
_HOLDERS: Final = """
    SELECT c.relname, a.pid, coalesce(a.usename, '?'), nullif(a.application_name, ''),
           coalesce(a.state, 'another role'),
           extract(epoch FROM clock_timestamp() - a.xact_start)::int
    FROM pg_locks AS l
    JOIN pg_class AS c ON c.oid = l.relation
    JOIN pg_stat_activity AS a ON a.pid = l.pid
    WHERE l.granted AND l.mode IN ('AccessExclusiveLock', 'ExclusiveLock')
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND c.relkind IN ('r', 'p') AND c.relnamespace <> 'pg_catalog'::regnamespace
      AND a.pid <> pg_backend_pid()
    ORDER BY a.xact_start, c.relname
"""


def explained(url: str, error: BaseException) -> AutonamaError:
    """The one line for a driver's error, with what another look at the database adds."""
    state = sqlstate(error)
    found = None
    with suppress(AutonamaError, psycopg.Error):  # no more is to be learnt then
        if state in _WAITED:
            found = lock_holder(url)
        elif state == _READ_ONLY:
            with _looking(url) as connection:
                found = read_only_cause(connection)
        elif state in _SHAPE:
            from resources.postgres.schema_check import hindrances_at  # noqa: PLC0415  (the registry)

            if hindrances := hindrances_at(url):
                return SchemaError(hindrances[0])
    if state.startswith(("22", "23")) and state not in {"22021", "22P05"}:
        return SchemaError(f"the database rejected the rows: {reason_of(error)}")
    told = database_error(url, error)
    if found is None:
        return told
    more = DatabaseError(f"{told}; {found}")
    more.sqlstate = state
    return more


def lock_holder(url: str) -> str | None:
    """Who holds a lock on one of the tables, and how to end that; None: nobody any more."""
    with _looking(url) as connection:
        row = connection.execute(_HOLDERS).fetchone()
    if row is None:
        return None
    table, pid, user, program, state, seconds = row
    who = f"{user}, {program}" if program else user
    return (
        f"{table} is locked by process {pid} ({who}, {state}, for {seconds} s): wait for "
        "it, or run "
        f"SELECT pg_terminate_backend({pid})"
    )


def read_only_cause(connection: psycopg.Connection[Any]) -> str | None:
    """Why sessions cannot write, and what ends that; None: they can."""
    row = connection.execute(
        "SELECT pg_is_in_recovery(), setting = 'on', source, session_user, current_database() "
        "FROM pg_settings WHERE name = 'default_transaction_read_only'"
    ).fetchone()
    if row is None:
        return None
    is_standby, is_read_only, source, user, database = row
    if is_standby:
        return "it is a standby: set DATABASE_URL to the primary"
    if not is_read_only:
        return None
    role, name = sql.Identifier(user).as_string(), sql.Identifier(database).as_string()
    whose = {
        "database": f"as its owner: BEGIN READ WRITE; ALTER DATABASE {name}",
        "user": f"as a superuser: BEGIN READ WRITE; ALTER ROLE {role}",
        "database user": f"as a superuser: BEGIN READ WRITE; ALTER ROLE {role} IN DATABASE {name}",
    }
    if source in whose:
        return f"{whose[source]} RESET default_transaction_read_only; COMMIT"
    if source == "client":
        return "remove default_transaction_read_only from DATABASE_URL"
    return (
        "as a superuser: ALTER SYSTEM SET default_transaction_read_only = off, then "
        "SELECT pg_reload_conf()"
    )


def _looking(url: str) -> psycopg.Connection[Any]:
    connection = connect(url, autocommit=True, connect_timeout=3)
    connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT_S}s'; SET statement_timeout = '5s'")
    return connection
