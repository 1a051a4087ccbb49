"""The databases for those who only look: no server is started, nothing made, nothing written."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import Connection

from autonama_dagster.errors import DatabaseError
from autonama_dagster.settings import Settings, project_dir
from resources.database import DAGSTER_DATABASE, DATABASE, embedded_server, unreachable
from resources.database_urls import dagster_sibling, libpq_url, with_database

_TIMEOUT_S: Final = 3
_STATEMENT_TIMEOUT_MS: Final = 10_000

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
    own = settings.dagster_database_url
    if settings.database_url is not None:
        project = libpq_url(settings.database_url.get_secret_value())
        dagster = with_database(project, dagster_sibling(project))
    else:
        server = embedded_server()
        if server.pid() is None:
            raise DatabaseError(
                f"the embedded server of {project_dir()} is not running; "
                "start it: autonama db start"
            )
        project, dagster = server.url(DATABASE), server.url(DAGSTER_DATABASE)
    return Databases(project, libpq_url(own.get_secret_value()) if own else dagster)


@contextmanager
def reading(url: str) -> Iterator[Connection[Row]]:
    """A connection that cannot write and gives up a query after ten seconds.

    Raises
    ------
    DatabaseError
        The database is out of reach, does not exist, or was lost on the way.
    """
    try:
        with psycopg.connect(url, connect_timeout=_TIMEOUT_S) as connection:
            connection.read_only = True
            connection.execute(
                "SELECT set_config('statement_timeout', %s, false)", (str(_STATEMENT_TIMEOUT_MS),)
            )
            yield connection
    except psycopg.Error as error:
        raise unreachable(url, error) from None
