"""Migrations applied by Alembic: called by `postgres.database.migrate` where there are any."""

from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError

from autonama_dagster.errors import AutonamaError, DatabaseError
from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.schemas.registry import TABLES, VIEWS
from resources.postgres.connections import engine, transaction
from resources.postgres.database import MIGRATIONS, newest_revision
from resources.postgres.diagnosis import explained
from resources.postgres.errors import reason_of
from resources.postgres.urls import redacted

_LOCK: Final = 0x4155544F  # any constant: two processes must not migrate at once


def upgrade(url: str) -> None:
    """Make schema `trading` and apply what is missing of its migrations.

    Raises
    ------
    DatabaseError
        The database cannot be reached, or refuses a migration, or holds what is not ours.
    """
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


def _check_owner(connection: sa.Connection, url: str) -> None:
    """Refuse a schema that another program made, or a newer version of this one."""
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
