"""Removing the database for good: the embedded server with all it holds, or our tables."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from autonama_dagster.errors import DatabaseError, InputError
from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.settings import Settings, project_dir
from resources.connections import connect
from resources.database import DAGSTER_DATABASE, DATABASE, embedded_server
from resources.database_urls import libpq_url, redacted
from resources.diagnosis import explained
from resources.embedded_postgres import EmbeddedPostgres
from resources.readers import find_databases

Connection = psycopg.Connection[Any]

_IS_OURS: Final = (
    "SELECT to_regnamespace(%(schema)s) IS NULL "
    "OR to_regclass(%(schema)s || '.alembic_version') IS NOT NULL"
)
_OTHERS: Final = (
    "SELECT count(*) FROM pg_catalog.pg_stat_activity "
    "WHERE datname = ANY(%s) AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)


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
    urls = (found.project, found.dagster)
    with connect(found.project) as connection:
        _check_ours(connection, found.project)
    _refuse_users([found.project, found.dagster])
    return Removal(
        (
            f"schema {SCHEMA} of {redacted(libpq_url(found.project))}: candles and all tables",
            f"Dagster's tables in {redacted(libpq_url(found.dagster))}: runs and events",
        ),
        None,
        urls,
    )


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
    from resources.backup import removing  # noqa: PLC0415  (Dagster, slow)
    from resources.backup_file import DAGSTER, PROJECT  # noqa: PLC0415

    for name, url in zip((PROJECT, DAGSTER), removal.urls, strict=True):
        try:
            with connect(url) as connection:
                connection.execute(removing(name))
        except psycopg.Error as error:
            raise explained(url, error) from None


def _of_server(server: EmbeddedPostgres) -> Removal:
    if server.pid() is not None:
        _refuse_users([server.url(DATABASE), server.url(DAGSTER_DATABASE)])
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


def _check_ours(connection: Connection, url: str) -> None:
    row = connection.execute(_IS_OURS, {"schema": SCHEMA}).fetchone()
    if row is None or not row[0]:
        raise InputError(
            f"schema {SCHEMA} of {redacted(libpq_url(url))} was not made by Autonama: drop it "
            "yourself if you no longer need it"
        )


def _refuse_users(urls: list[str]) -> None:
    """Refuse while other programs are connected to one of the databases."""
    for url in urls:
        try:
            with connect(url) as connection:
                row = connection.execute(_OTHERS, ([connection.info.dbname],)).fetchone()
        except DatabaseError:  # there is no such database yet: nobody uses it
            continue
        if row is not None and row[0]:
            raise InputError(
                f"{row[0]} connections of other programs use {redacted(libpq_url(url))}: end "
                "`autonama up`, scans and psql first"
            )


def _dagster_logs() -> Path:
    return project_dir() / ".autonama" / "dagster"


def _size(folder: Path) -> str:
    total = sum(p.lstat().st_size for p in folder.rglob("*") if p.is_file())
    return f"{total / 1e6:,.0f} MB"
