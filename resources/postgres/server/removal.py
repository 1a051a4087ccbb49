"""Removing the database for good: the embedded server with all it holds, or our tables."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from autonama_dagster.errors import InputError
from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.settings import Settings, project_dir
from autonama_dagster.text.labels import counted
from resources.postgres.connections import connect
from resources.postgres.database import DAGSTER_DATABASE, DATABASE, embedded_server
from resources.postgres.diagnosis import explained
from resources.postgres.migrate import check_ours
from resources.postgres.roles.readers import find_databases
from resources.postgres.roles.roles import administrator
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.postgres.urls import redacted
from resources.waiting import own_name

Connection = psycopg.Connection[Any]

# Of another user's sessions only a superuser sees the kind; those of the server have no user.
_OTHERS: Final = (
    "SELECT count(*) FROM pg_catalog.pg_stat_activity "
    "WHERE datname = ANY(%s) AND usesysid IS NOT NULL AND pid <> pg_backend_pid() "
    "AND application_name <> %s AND coalesce(backend_type, 'client backend') = 'client backend'"
)
_EXISTS: Final = "SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = %s)"


@dataclass(frozen=True)
class Removal:
    """What goes, in words, and where it is."""

    lines: tuple[str, ...]
    server: EmbeddedPostgres | None
    urls: tuple[str, ...] = ()


def planned(settings: Settings, *, embedded: bool) -> Removal:
    """What would be removed; nothing is, and no server is started.

    Parameters
    ----------
    settings
        Of the project.
    embedded
        The embedded server, even where the project uses another.

    Raises
    ------
    InputError
        Programs still use the databases, or the schema is not one of ours.
    DatabaseError
        A server is out of reach.
    """
    if embedded or settings.database_url is None:
        return _of_server(embedded_server())
    found = find_databases(settings)
    urls = [found.project]
    lines = [f"schema {SCHEMA} of {redacted(found.project)}: candles and all tables"]
    with connect(found.project) as connection:
        check_ours(connection, found.project)
        name = conninfo_to_dict(found.dagster).get("dbname")
        is_there = connection.execute(_EXISTS, (name,)).fetchone() == (True,)
    if is_there or settings.dagster_database_url is not None:  # which may be on another server
        urls.append(found.dagster)
        lines.append(f"Dagster's tables in {redacted(found.dagster)}: runs and events")
    for url in urls:
        with connect(url) as connection:
            _refuse_users(connection, [connection.info.dbname])
    return Removal(tuple(lines), None, tuple(urls))


def remove(removal: Removal) -> None:
    """Remove what was planned.

    Raises
    ------
    DatabaseError
        A server refuses.
    """
    if removal.server is not None:
        removal.server.destroy()
        shutil.rmtree(_dagster_logs(), ignore_errors=True)
        return
    from resources.postgres.upkeep.backup import removing  # noqa: PLC0415  (Dagster, slow)
    from resources.postgres.upkeep.backup_file import DAGSTER, PROJECT  # noqa: PLC0415

    for name, url in zip((PROJECT, DAGSTER), removal.urls, strict=False):
        try:
            with connect(url) as connection:
                connection.execute(removing(name))
        except psycopg.Error as error:
            raise explained(url, error) from None


def _of_server(server: EmbeddedPostgres) -> Removal:
    if server.pid() is not None:
        with _superuser(server) as connection:
            _refuse_users(connection, [DATABASE, DAGSTER_DATABASE])
    folder = server.data_dir.parent
    if not folder.exists():
        return Removal((), server)
    return Removal(
        (
            f"the embedded server and its data in {folder}, {_size(folder)}: candles, all tables",
            f"Dagster's runs and events, and its logs in {_dagster_logs()}",
        ),
        server,
    )


def _superuser(server: EmbeddedPostgres) -> Connection:
    """Connected as who sees all sessions."""
    try:
        return administrator(server.admin_url("postgres"))
    except psycopg.OperationalError:  # of an earlier version: its only role is one
        return administrator(server.url("postgres"))


def _refuse_users(connection: Connection, names: list[str]) -> None:
    """Refuse while other programs are connected to one of the databases."""
    row = connection.execute(_OTHERS, (names, own_name())).fetchone()
    if row is not None and row[0]:
        users = counted(row[0], "connection of another program", "connections of other programs")
        raise InputError(
            f"database {' or '.join(names)} is used by {users}: end `autonama up`, scans and psql "
            "first"
        )


def _dagster_logs() -> Path:
    return project_dir() / ".autonama" / "dagster"


def _size(folder: Path) -> str:
    total = sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file())
    return f"{total / 1e6:,.0f} MB"
