"""Which databases the project uses: their URLs and the embedded server."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import psycopg
from psycopg import sql

from autonama_dagster.errors import AutonamaError, DatabaseError
from autonama_dagster.settings import Settings, load_settings, project_dir
from resources.postgres.connections import connect
from resources.postgres.diagnosis import explained
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
