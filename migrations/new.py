"""Write the migration that takes the tables from the newest migration to the models.

Usage: python migrations/new.py "Say what changes"
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from autonama_dagster.schemas.base import SCHEMA
from resources.postgres.migrate import newest_revision
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.postgres.urls import sqlalchemy_url

FOLDER = Path(__file__).resolve().parent
RUFF = Path(sys.executable).with_name("ruff")


def main(message: str) -> None:
    """Migrate a scratch database, compare it with the models, write the difference."""
    with tempfile.TemporaryDirectory() as scratch:
        server = EmbeddedPostgres(Path(scratch))
        try:
            server.start()
            server.ensure_database("scratch")
            engine = sa.create_engine(sqlalchemy_url(server.url("scratch")))
            with engine.begin() as connection:
                connection.execute(sa.schema.CreateSchema(SCHEMA))
                config = Config()
                config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
                config.attributes["connection"] = connection
                config.attributes["autogenerates"] = True
                command.upgrade(config, "head")
                number = int(newest_revision()) + 1
                script = command.revision(config, message, autogenerate=True, rev_id=f"{number:04}")
                tidy(Path(script.path))  # type: ignore[union-attr]
            engine.dispose()
        finally:
            server.destroy()


def tidy(file: Path) -> None:
    """Leave out Alembic's comments, and write it as `make lint` wants it."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(li for li in lines if not li.startswith("    # ###")), encoding="utf-8")
    for how in (("check", "--fix"), ("format",)):
        subprocess.run([RUFF, *how, "--quiet", file], check=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004
        sys.exit(__doc__)
    main(sys.argv[1])
