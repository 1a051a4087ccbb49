"""Which database the project uses, and its schema: the URL, the embedded server, the migrations."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
from psycopg import sql

from autonama_dagster.errors import AutonamaError, DatabaseError, InputError
from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.settings import Settings, load_settings, project_dir
from resources.postgres.connections import connect
from resources.postgres.diagnosis import explained, read_only_cause
from resources.postgres.libpq_environment import drop_libpq_variables
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.postgres.urls import (
    dagster_sibling,
    dagster_url,
    libpq_url,
    redacted,
    with_database,
)

DATABASE = "autonama"
DAGSTER_DATABASE = "autonama_dagster"
_LOCK_TIMEOUT_S = 5  # for a look at a table
MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


def embedded_server() -> EmbeddedPostgres:
    """The embedded server of this project; not started."""
    return EmbeddedPostgres(project_dir())


def project_url(settings: Settings) -> str:
    """Libpq URL of the project's database, which exists afterwards; starts the embedded server.

    Raises
    ------
    DatabaseError
        The database cannot be reached or started.
    """
    drop_libpq_variables(settings)
    if settings.database_url is not None:
        return libpq_url(settings.database_url.get_secret_value())
    server = embedded_server()
    server.start()
    server.ensure_database(DATABASE)
    return libpq_url(server.url(DATABASE))


def dagster_database_url() -> str:
    """psycopg2 URL of Dagster's own database, which exists afterwards."""
    settings = load_settings()
    drop_libpq_variables(settings)
    if settings.dagster_database_url is not None:
        return dagster_url(settings.dagster_database_url.get_secret_value())
    if settings.database_url is None:
        server = embedded_server()
        server.start()
        server.ensure_database(DAGSTER_DATABASE)
        return dagster_url(server.url(DAGSTER_DATABASE))
    project = settings.database_url.get_secret_value()
    name = dagster_sibling(project)
    _ensure_database(project, name)
    return dagster_url(with_database(project, name))


@contextmanager
def started_ahead(settings: Settings) -> Iterator[None]:
    """Let the embedded server start while the caller loads its libraries, which takes as long.

    What goes wrong is said by the first call that needs the server.
    """

    def start() -> None:
        with suppress(AutonamaError):
            project_url(settings)
            dagster_database_url()

    drop_libpq_variables(settings)  # here: other threads may read the environment later
    thread = Thread(target=start, daemon=True)  # it keeps no interrupted program
    if settings.database_url is None:
        thread.start()
    yield  # whoever is interrupted here waits for no server
    if thread.ident is not None:
        thread.join()


def ready_url(settings: Settings, *, reads: bool = False) -> str:
    """`project_url` with all migrations applied.

    Parameters
    ----------
    settings
        Of the project.
    reads
        The caller only looks: a database that is read-only, and tables that were changed by hand,
        are no hindrance before it meets them.

    Raises
    ------
    DatabaseError
        The database cannot be reached, or refuses a migration or to be written.
    SchemaError
        Tables were changed by hand.
    """
    url = project_url(settings)
    migrate(url)
    if not reads:
        check_writable(url)
    return url


@cache
def check_writable(url: str) -> None:
    """Refuse a database that cannot be written, once per process; see `ready_url`."""
    from resources.postgres.schema_check import check_schema  # noqa: PLC0415  (the registry)

    with connect(url) as connection:
        if (cause := read_only_cause(connection)) is not None:
            raise DatabaseError(f"database {redacted(url)} is read-only; {cause}")
        check_schema(connection)


def migrate(url: str) -> None:
    """Bring schema `trading` to the newest migration; cheap when it is there already.

    Raises
    ------
    DatabaseError
        The database cannot be reached, or refuses a migration.
    """
    try:
        with connect(url) as connection:
            connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT_S}s'")
            is_newest = revisions(connection) == [newest_revision()]
    except psycopg.errors.InsufficientPrivilege:  # the upgrade says which right is missing
        is_newest = False
    except psycopg.Error as error:
        raise explained(url, error) from None
    if not is_newest:
        from resources.postgres.upgrade import upgrade  # noqa: PLC0415  (Alembic, 0.3 s)

        upgrade(url)


@cache
def newest_revision() -> str:
    """Revision of the newest migration: its file's number."""
    files = (MIGRATIONS / "versions").glob("[0-9]*_*.py")
    return max((f.stem.split("_")[0] for f in files), default="0000")


def revisions(connection: psycopg.Connection[Any]) -> list[str]:
    """Revision of the schema as Alembic noted it; empty before the first migration."""
    table = f"{SCHEMA}.alembic_version"
    if connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() == (None,):
        return []
    query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(SCHEMA, "alembic_version"))
    return [str(row[0]) for row in connection.execute(query)]


def check_ours(connection: psycopg.Connection[Any], url: str) -> None:
    """Refuse to remove a schema `trading` that our migrations have not made.

    Raises
    ------
    InputError
        It holds something, and not our note of its migration.
    """
    found = revisions(connection)
    if found and all(re.fullmatch(r"\d{4}", revision) for revision in found):
        return
    query = "SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace(%s))"
    if found or connection.execute(query, (SCHEMA,)).fetchone() == (True,):
        raise InputError(
            f"schema {SCHEMA} of {redacted(url)} was not made by Autonama: rename it, as in ALTER "
            f"SCHEMA {SCHEMA} RENAME TO {SCHEMA}_old, or drop it yourself"
        )


def _ensure_database(url: str, name: str) -> None:
    try:
        with connect(url, autocommit=True) as connection:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(query, (name,)).fetchone() is None:
                statement = "CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0"
                connection.execute(sql.SQL(statement).format(sql.Identifier(name)))
    except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
        return  # another process was faster
    except psycopg.errors.InsufficientPrivilege:
        raise DatabaseError(
            f"cannot create database {name} for Dagster's tables on {redacted(url)}: create it, "
            "or set AUTONAMA_DAGSTER_DATABASE_URL"
        ) from None
    except psycopg.Error as error:
        raise explained(url, error) from None
