"""The databases for those who only look: no server is started, nothing made, nothing written."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import Connection

from autonama_dagster.errors import DatabaseError
from autonama_dagster.settings import Settings, project_dir
from resources.postgres.connections import connect
from resources.postgres.database import DAGSTER_DATABASE, DATABASE, embedded_server
from resources.postgres.diagnosis import explained
from resources.postgres.libpq_environment import drop_libpq_variables
from resources.postgres.urls import dagster_sibling, libpq_url, with_database

_TIMEOUT_S: Final = 3
_SETTINGS: Final = "SET lock_timeout = '3s'; SET statement_timeout = '10s'"

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Databases:
    """Libpq URLs of the project's and of Dagster's database; either may not exist."""

    project: str
    dagster: str


def find_databases(settings: Settings) -> Databases:
    """Where the databases are.

    Raises
    ------
    DatabaseError
        They are on the embedded server, and it is stopped.
    InputError
        The configured URL names no database.
    """
    drop_libpq_variables(settings)
    own = settings.dagster_database_url
    if settings.database_url is not None:
        project = libpq_url(settings.database_url.get_secret_value())
        dagster = with_database(project, dagster_sibling(project))
    else:
        server = embedded_server()
        if server.pid() is None:
            raise DatabaseError(
                f"the embedded server of {project_dir()} is not running: run `autonama db start`"
            )
        project, dagster = server.url(DATABASE), server.url(DAGSTER_DATABASE)
    return Databases(project, libpq_url(own.get_secret_value()) if own else dagster)


@contextmanager
def reading(url: str) -> Iterator[Connection[Row]]:
    """A connection that cannot write, and gives up a lock after 3 s and a query after 10 s.

    Raises
    ------
    DatabaseError
        The database is out of reach, does not exist, or was lost on the way.
    """
    try:
        with connect(url, connect_timeout=_TIMEOUT_S) as connection:
            connection.read_only = True
            connection.execute(_SETTINGS)
            yield connection
    except psycopg.Error as error:
        raise explained(url, error) from None
