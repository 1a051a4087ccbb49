"""Which database the project uses, and its schema: the URL, the embedded server, the migrations."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
from psycopg import sql

from autonama_dagster.errors import AutonamaError, DatabaseError
from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.settings import Settings, load_settings, project_dir
from resources.database_urls import (
    dagster_sibling,
    dagster_url,
    libpq_url,
    redacted,
    with_database,
)
from resources.embedded_postgres import EmbeddedPostgres

DATABASE = "autonama"
DAGSTER_DATABASE = "autonama_dagster"
MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
_FULL = ("too many clients", "remaining connection slots", "too many connections")


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
    if settings.database_url is not None:
        return libpq_url(settings.database_url.get_secret_value())
    server = embedded_server()
    server.start()
    server.ensure_database(DATABASE)
    return libpq_url(server.url(DATABASE))


def dagster_database_url() -> str:
    """psycopg2 URL of Dagster's own database, which exists afterwards."""
    settings = load_settings()
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

    thread = Thread(target=start)
    if settings.database_url is None:
        thread.start()
    try:
        yield
    finally:
        if thread.ident is not None:
            thread.join()


def ready_url(settings: Settings) -> str:
    """`project_url` with all migrations applied."""
    url = project_url(settings)
    migrate(url)
    return url


def migrate(url: str) -> None:
    """Bring schema `trading` to the newest migration; cheap when it is there already.

    Raises
    ------
    DatabaseError
        The database cannot be reached, or refuses a migration.
    """
    try:
        with psycopg.connect(libpq_url(url)) as connection:
            is_newest = _revision(connection) == newest_revision()
    except psycopg.OperationalError as error:
        raise unreachable(url, error) from None
    except psycopg.Error:  # no right to look: the upgrade says which one is missing
        is_newest = False
    if not is_newest:
        from resources.upgrade import upgrade  # noqa: PLC0415  (Alembic, 0.3 s)

        upgrade(url)


@lru_cache
def newest_revision() -> str:
    """Revision of the newest migration: its file's number."""
    files = (MIGRATIONS / "versions").glob("[0-9]*_*.py")
    return max((f.stem.split("_")[0] for f in files), default="0000")


def unreachable(url: str, error: Exception) -> DatabaseError:
    """The one-line error for a database that does not answer."""
    lines = [line for line in str(getattr(error, "orig", error)).splitlines() if line.strip()]
    reason = lines[0].strip() if lines else type(error).__name__
    hint = "start it, or correct DATABASE_URL (unset: the embedded server)"
    if any(words in reason for words in _FULL):
        hint = "end programs that hold connections, or raise max_connections of the server"
    return DatabaseError(f"database {redacted(libpq_url(url))} is out of reach: {reason}; {hint}")


def _revision(connection: psycopg.Connection[tuple[Any, ...]]) -> str | None:
    table = f"{SCHEMA}.alembic_version"
    if connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() == (None,):
        return None
    query = sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(SCHEMA, "alembic_version"))
    found = connection.execute(query).fetchone()
    return None if found is None else str(found[0])


def _ensure_database(url: str, name: str) -> None:
    try:
        with psycopg.connect(libpq_url(url), autocommit=True) as connection:
            query = "SELECT 1 FROM pg_database WHERE datname = %s"
            if connection.execute(query, (name,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.OperationalError as error:
        raise unreachable(url, error) from None
    except psycopg.errors.DuplicateDatabase:  # another process was faster
        return
    except psycopg.ProgrammingError:
        raise DatabaseError(
            f"cannot create database {name} for Dagster's tables on {redacted(url)}: create it, "
            "or set AUTONAMA_DAGSTER_DATABASE_URL"
        ) from None
