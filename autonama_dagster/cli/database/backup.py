"""`autonama db backup` and `autonama db restore`."""

from pathlib import Path

import click

from autonama_dagster.settings import load_settings
from autonama_dagster.text.labels import counted

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", type=_FILE)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def backup(file: Path, force: bool) -> None:
    """Write the project's and Dagster's tables to FILE.

    Scans may keep running. FILE appears once it is complete, and only you can read it.

    \b
    Examples:
      autonama db backup autonama.backup
      autonama db backup --force /mnt/backups/autonama.backup
    """  # noqa: D301
    from resources.instance.home import open_instance  # noqa: PLC0415
    from resources.postgres.database import dagster_database_url  # noqa: PLC0415
    from resources.postgres.migrate import ready_url  # noqa: PLC0415
    from resources.postgres.upkeep.backup import backup as write  # noqa: PLC0415
    from resources.postgres.upkeep.backup_file import DAGSTER, PROJECT  # noqa: PLC0415

    urls = {PROJECT: ready_url(load_settings()), DAGSTER: dagster_database_url()}
    with open_instance():  # makes Dagster's tables where nothing has run yet
        pass
    manifest = write(urls, file, overwrite=force, on_progress=_say)
    click.echo(f"{file}: {_rows(manifest.rows)}, migration {manifest.revision}")


@click.command()
@click.argument("file", type=_FILE)
@click.option("--force", is_flag=True, help="Replace tables that have rows.")
@click.option(
    "--trusted",
    is_flag=True,
    help="Allow restoring as a superuser: nobody else could have changed FILE.",
)
def restore(file: Path, force: bool, trusted: bool) -> None:
    """Replace the project's and Dagster's tables with those of FILE.

    Stop `autonama up` and scans first. Each database is restored in one transaction: a restore
    that fails or is killed changes nothing. A backup contains SQL, which runs as the database's
    user; that user must not be a superuser.

    \b
    Examples:
      autonama --home other/ db restore autonama.backup
      autonama db restore --force autonama.backup
    """  # noqa: D301
    from resources.postgres.database import dagster_database_url, project_url  # noqa: PLC0415
    from resources.postgres.upkeep.backup import restore as read  # noqa: PLC0415
    from resources.postgres.upkeep.backup_file import DAGSTER, PROJECT  # noqa: PLC0415

    urls = {PROJECT: project_url(load_settings()), DAGSTER: dagster_database_url()}
    manifest = read(urls, file, overwrite=force, trusted=trusted, on_progress=_say)
    click.echo(f"restored {_rows(manifest.rows)} of {manifest.made_at}")


def _say(text: str) -> None:
    click.echo(text, err=True)


def _rows(counts: dict[str, dict[str, int]]) -> str:
    return counted(sum(sum(tables.values()) for tables in counts.values()), "row")
