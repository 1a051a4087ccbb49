"""The only doors to a database: one for each driver, all with the same session and one check.

What a server, a database or a role may be set to (DateStyle, TimeZone, ...) changes how values are
read and written: every session has ours. What no session can change is checked at a process' first
connection to a database, at the cost of one round trip.
"""

from itertools import chain
from typing import TYPE_CHECKING, Any, Final, LiteralString

import psycopg

from autonama_dagster.errors import DatabaseError
from resources.postgres.errors import database_error
from resources.postgres.urls import libpq_url, redacted, sqlalchemy_url
from resources.waiting import own_name

if TYPE_CHECKING:
    import sqlalchemy as sa
    from adbc_driver_postgresql import dbapi

OLDEST_SERVER: Final = 14  # range_agg

# psycopg cannot read other date styles; days and Dagster's times without a zone are in UTC.
SESSION: Final = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "standard_conforming_strings": "on",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "default_transaction_isolation": "read committed",
    "search_path": "public",
}
_PIN: Final[LiteralString] = "SELECT " + ", ".join(
    f"set_config('{name}', '{value}', false)" for name, value in SESSION.items()
)
_LOOK: Final = (
    "SELECT pg_backend_pid(), pg_encoding_to_char(encoding)::text, "
    "current_setting('server_version_num')::int / 10000 "
    "FROM pg_database WHERE datname = current_database()"
)
_checked: set[str] = set()  # URLs whose database was looked at by this process


def connect(url: str, *, autocommit: bool = False, **parameters: Any) -> psycopg.Connection[Any]:
    """Connect by psycopg; `parameters` are libpq's.

    Raises
    ------
    DatabaseError
        The database is out of reach, or cannot be used.
    """
    try:
        connection = psycopg.connect(
            libpq_url(url),
            autocommit=True,
            client_encoding="utf8",
            application_name=own_name(),
            **parameters,
        )
    except psycopg.Error as error:
        raise database_error(url, error) from None
    try:
        prepare(connection, url)
        connection.autocommit = autocommit
    except BaseException:
        connection.close()
        raise
    return connection


def engine(url: str) -> "sa.Engine":
    """SQLAlchemy's engine with psycopg, each connection a new one; raises as `connect` does."""
    import sqlalchemy as sa  # noqa: PLC0415  (0.3 s)

    made = sa.create_engine(sqlalchemy_url(url), poolclass=sa.NullPool)
    guard(made, url)
    return made


def guard(engine: "sa.Engine", url: str) -> None:
    """Prepare every connection that an engine of psycopg or psycopg2 makes."""
    from sqlalchemy import event  # noqa: PLC0415

    @event.listens_for(engine, "do_connect")
    def _in_utf8(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        parameters["client_encoding"] = "utf8"  # psycopg2 asks the server once, at the beginning
        parameters["application_name"] = own_name()

    @event.listens_for(engine, "connect", insert=True)  # before the dialect asks for anything
    def _prepared(connection: Any, _record: Any) -> None:
        before, connection.autocommit = connection.autocommit, True
        prepare(connection, url)
        connection.autocommit = before


def bulk(url: str, settings: dict[str, str] | None = None) -> "dbapi.Connection":
    """Connect by ADBC, with further `settings` of the session.

    Raises
    ------
    DatabaseError
        The database is out of reach, or cannot be used.
    """
    from adbc_driver_manager import Error  # noqa: PLC0415
    from adbc_driver_postgresql import dbapi  # noqa: PLC0415

    check(url)
    own = {"application_name": own_name(), **(settings or {})}
    more = "".join(f", set_config(${2 * n + 1}, ${2 * n + 2}, false)" for n in range(len(own)))
    try:
        connection = dbapi.connect(libpq_url(url))
        with connection.cursor() as cursor:
            cursor.execute(_PIN + more, tuple(chain.from_iterable(own.items())))
            cursor.fetchall()
        connection.commit()
    except Error as error:
        raise database_error(url, error) from None
    return connection


def check(url: str) -> None:
    """Look whether the database can be used, unless this process has.

    Raises
    ------
    DatabaseError
        It is out of reach, or cannot be used.
    """
    if libpq_url(url) not in _checked:
        connect(url).close()


def prepare(connection: Any, url: str) -> None:
    """Give a new connection of psycopg or psycopg2 our session; the first one is looked at.

    In autocommit: what a transaction sets is gone when it is rolled back.

    Raises
    ------
    DatabaseError
        The database cannot be used.
    """
    cursor = connection.cursor()
    if libpq_url(url) not in _checked:
        cursor.execute(_LOOK)
        pid, encoding, version = cursor.fetchone()
        _check(url, encoding, version)
        if pid != connection.info.backend_pid:  # a pooler answers in the server's place
            _check_pooler(connection, url, pid)
        _checked.add(libpq_url(url))
    cursor.execute(_PIN)
    cursor.close()


def _check(url: str, encoding: str, version: int) -> None:
    if encoding != "UTF8":
        raise DatabaseError(
            f"database {redacted(libpq_url(url))} has encoding {encoding}, which cannot "
            "store every "
            "name: use a database created with CREATE DATABASE name ENCODING 'UTF8' "
            "TEMPLATE template0"
        )
    if version < OLDEST_SERVER:
        raise DatabaseError(
            f"the server of {redacted(libpq_url(url))} is PostgreSQL {version}: use "
            f"{OLDEST_SERVER} or newer"
        )


def _check_pooler(connection: Any, url: str, pid: int) -> None:
    """Refuse a pooler that gives a session's server to others between two transactions.

    A second session that is in a transaction either got the first one's server, or the first one
    gets another when it asks again.
    """
    cursor = connection.cursor()
    other = psycopg.connect(libpq_url(url), client_encoding="utf8")
    try:
        row = other.execute("SELECT pg_backend_pid()").fetchone()
        is_shared = row is None or row[0] == pid
        if not is_shared:
            cursor.execute("SELECT pg_backend_pid()")
            is_shared = cursor.fetchone()[0] != pid
    except psycopg.Error:  # a pooler of statements knows no transaction
        is_shared = True
    finally:
        other.close()
    if is_shared:
        raise DatabaseError(
            f"{redacted(libpq_url(url))} is a pooler in transaction mode, "
            "where a run cannot hold its lock: set DATABASE_URL to the server itself, or set "
            "pool_mode=session for this database"
        )
