"""Which database the project uses, and its schema: the URL, the embedded server, the migrations."""

from functools import lru_cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError

from autonama_dagster.errors import DatabaseError
from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.settings import Settings, load_settings, project_dir
from resources.database_urls import (
    dagster_sibling,
    dagster_url,
    libpq_url,
    redacted,
    sqlalchemy_url,
    with_database,
)
from resources.embedded_postgres import EmbeddedPostgres

DATABASE = "autonama"
DAGSTER_DATABASE = "autonama_dagster"
_MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
_FULL = ("too many clients", "remaining connection slots", "too many connections")
_MIGRATION_LOCK = 0x4155544F  # any constant: two processes must not migrate at once


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


def ready_url(settings: Settings) -> str:
    """`project_url` with all migrations applied."""
    url = project_url(settings)
    migrate(url)
    return url


def migrate(url: str) -> None:
    """Bring schema `trading` to the newest migration; cheap when it is there already."""
    engine = sa.create_engine(sqlalchemy_url(url), poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            if _revision(connection) == newest_revision():
                return
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            connection.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
            config = Config()
            config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except sa.exc.OperationalError as error:
        raise unreachable(url, error) from None
    except (sa.exc.DBAPIError, CommandError) as error:
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        raise DatabaseError(
            f"cannot bring schema {SCHEMA} of {redacted(url)} up to date: {reason}; grant CREATE "
            "to its user, or use the version of Autonama that made it"
        ) from None
    finally:
        engine.dispose()


@lru_cache
def newest_revision() -> str:
    """Revision of the newest migration: its file's number."""
    files = (_MIGRATIONS / "versions").glob("[0-9]*_*.py")
    return max((f.stem.split("_")[0] for f in files), default="0000")


def unreachable(url: str, error: Exception) -> DatabaseError:
    """The one-line error for a database that does not answer."""
    lines = [line for line in str(getattr(error, "orig", error)).splitlines() if line.strip()]
    reason = lines[0].strip() if lines else type(error).__name__
    hint = "start it, or correct DATABASE_URL (unset: the embedded server)"
    if any(words in reason for words in _FULL):
        hint = "end programs that hold connections, or raise max_connections of the server"
    return DatabaseError(f"database {redacted(libpq_url(url))} is out of reach: {reason}; {hint}")


def _revision(connection: sa.Connection) -> str | None:
    version = sa.table("alembic_version", sa.column("version_num"), schema=SCHEMA)
    if not sa.inspect(connection).has_table("alembic_version", schema=SCHEMA):
        return None
    found: str | None = connection.execute(sa.select(version.c.version_num)).scalar()
    return found


def _ensure_database(url: str, name: str) -> None:
    engine = sa.create_engine(
        sqlalchemy_url(url), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT"
    )
    catalog = sa.table("pg_database", sa.column("datname"))
    try:
        with engine.connect() as connection:
            query = sa.select(catalog.c.datname).where(catalog.c.datname == name)
            if connection.execute(query).scalar() is None:
                quoted = connection.dialect.identifier_preparer.quote(name)
                connection.execute(sa.text(f"CREATE DATABASE {quoted}"))
    except sa.exc.OperationalError as error:
        raise unreachable(url, error) from None
    except sa.exc.ProgrammingError as error:
        if "already exists" in str(error):  # another process was faster
            return
        raise DatabaseError(
            f"cannot create database {name} for Dagster's tables on {redacted(url)}: create it, "
            "or set AUTONAMA_DAGSTER_DATABASE_URL"
        ) from None
    finally:
        engine.dispose()
