"""Migrations applied by Alembic: called by `resources.database.migrate` where there are any."""

from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError

from autonama_dagster.errors import DatabaseError
from autonama_dagster.schemas.base import SCHEMA
from resources.database import MIGRATIONS, unreachable
from resources.database_urls import redacted, sqlalchemy_url

_LOCK: Final = 0x4155544F  # any constant: two processes must not migrate at once


def upgrade(url: str) -> None:
    """Make schema `trading` and apply what is missing of its migrations.

    Raises
    ------
    DatabaseError
        The database cannot be reached, or refuses a migration.
    """
    engine = sa.create_engine(sqlalchemy_url(url), poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            connection.execute(sa.schema.CreateSchema(SCHEMA, if_not_exists=True))
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
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
