"""The schema of the project's database: its migrations, and what makes it ready for use."""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from autonama_dagster.errors import AutonamaError, DatabaseError, InputError
from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.settings import Settings
from resources.postgres.connections import connect, engine
from resources.postgres.database import project_url
from resources.postgres.diagnosis import explained, read_only_cause
from resources.postgres.errors import reason_of
from resources.postgres.urls import redacted
from resources.postgres.watching import transaction

if TYPE_CHECKING:
    import sqlalchemy as sa

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
_LOCK: Final = 0x4155544F  # any constant: two processes must not migrate at once
_LOCK_TIMEOUT_S = 5  # for a look at a table


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


def migrate(url: str, *, anyway: bool = False) -> None:
    """Bring schema `trading` to the newest migration; cheap when it is there already.

    With `anyway` its views and comments are made again even then.

    Raises
    ------
    DatabaseError
        The database cannot be reached, or refuses a migration.
    """
    try:
        with connect(url) as connection:
            connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT_S}s'")
            is_newest = not anyway and revisions(connection) == [newest_revision()]
    except psycopg.errors.InsufficientPrivilege:  # the upgrade says which right is missing
        is_newest = False
    except psycopg.Error as error:
        raise explained(url, error) from None
    if not is_newest:
        _upgrade(url)


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


def _upgrade(url: str) -> None:
    """Make schema `trading` and apply what is missing of its migrations.

    Raises
    ------
    DatabaseError
        The database cannot be reached, or refuses a migration, or holds what is not ours.
    """
    # Here alone: the two take half a second to load.
    import sqlalchemy as sa  # noqa: PLC0415
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util.exc import CommandError  # noqa: PLC0415

    made = engine(url)
    try:
        with transaction(made, url) as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            _check_owner(connection, url)
            connection.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except sa.exc.DBAPIError as error:
        told: AutonamaError = explained(url, error)
        raise DatabaseError(f"cannot bring schema {SCHEMA} up to date: {told}") from None
    except CommandError as error:
        raise DatabaseError(
            f"cannot bring schema {SCHEMA} of {redacted(url)} up to date: {reason_of(error)}"
        ) from None
    finally:
        made.dispose()


def _check_owner(connection: "sa.Connection", url: str) -> None:
    """Refuse a schema that another program made, or a newer version of this one."""
    import sqlalchemy as sa  # noqa: PLC0415

    from autonama_dagster.schemas.registry import TABLES, VIEWS  # noqa: PLC0415  (pandera)

    found = sa.inspect(connection)
    if SCHEMA not in found.get_schema_names():
        return
    where = f"schema {SCHEMA} of {redacted(url)}"
    elsewhere = f"use another database, or rename it: ALTER SCHEMA {SCHEMA} RENAME TO {SCHEMA}_old"
    tables = found.get_table_names(SCHEMA)
    if "alembic_version" not in tables:
        if taken := sorted({*tables, *found.get_view_names(SCHEMA)} & {*TABLES, *VIEWS}):
            raise DatabaseError(
                f"{where} has {', '.join(taken)} from another program, such as the scripts that "
                f"Autonama replaces: {elsewhere}"
            )
        return
    versions = sa.table("alembic_version", sa.column("version_num"), schema=SCHEMA)
    names = [c["name"] for c in found.get_columns("alembic_version", SCHEMA)]
    rows = list(connection.scalars(sa.select(versions))) if "version_num" in names else []
    known = {file.stem.split("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*_*.py")}
    if len(rows) == 1 and rows[0] in known:
        return
    if len(rows) == 1 and rows[0].isdecimal() and rows[0] > newest_revision():
        raise DatabaseError(
            f"{where} is at migration {rows[0]} but this version of Autonama only knows up to "
            f"{newest_revision()}: use the newer version that created it"
        )
    raise DatabaseError(
        f"{where} is at migration {', '.join(map(str, rows)) or 'none'}, which is not Autonama's: "
        f"{elsewhere}"
    )
