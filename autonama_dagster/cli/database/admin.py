"""`autonama db retain`, `autonama db reader` and `autonama db drop`."""

import os
import sys

import click

from autonama_dagster.errors import InputError
from autonama_dagster.settings import load_settings
from autonama_dagster.text.labels import counted

PASSWORD_VARIABLE = "AUTONAMA_READER_PASSWORD"  # noqa: S105
_SHORTEST = 12
_LOGIN = ("user", "password", "passfile", "sslcert", "sslkey", "sslpassword")  # its owner's


@click.command()
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
def retain(dry_run: bool) -> None:
    """Delete alerts, summaries and Dagster events older than the retention settings.

    Candles and the other tables are always kept, as is each partition's latest Dagster event. Set
    AUTONAMA_RETENTION_ALERTS_DAYS, AUTONAMA_RETENTION_SUMMARIES_DAYS or
    AUTONAMA_RETENTION_EVENTS_DAYS; what is unset is kept for ever.

    \b
    Examples:
      AUTONAMA_RETENTION_EVENTS_DAYS=30 autonama db retain --dry-run
      autonama db retain
    """  # noqa: D301
    from resources.instance.home import open_instance  # noqa: PLC0415
    from resources.postgres.database import dagster_database_url  # noqa: PLC0415
    from resources.postgres.migrate import ready_url  # noqa: PLC0415
    from resources.postgres.upkeep import retention  # noqa: PLC0415

    settings = load_settings()
    if not retention.is_on(settings):
        click.echo("no retention is set: nothing to delete")
        return
    url = ready_url(settings)
    with open_instance():  # makes Dagster's tables where nothing has run yet
        pass
    for removed in retention.retain(settings, url, dagster_database_url, dry_run=dry_run):
        verb = "would delete" if dry_run else "deleted"
        click.echo(
            f"{removed.table}: {verb} {counted(removed.rows, 'row')} before {removed.before}"
        )


@click.command()
@click.option("--name", default="autonama_reader", show_default=True, help="Name of the role.")
def reader(name: str) -> None:
    """Create a role for dashboards that can only read the project's tables.

    Prints its URL with a new password, once; run again for another password. If the environment
    variable AUTONAMA_READER_PASSWORD is set, it is the password and is not printed.

    \b
    Examples:
      autonama db reader
      autonama db reader --name grafana
    """  # noqa: D301
    import sqlalchemy as sa  # noqa: PLC0415

    from resources.postgres.database import dagster_database_url, embedded_server  # noqa: PLC0415
    from resources.postgres.migrate import ready_url  # noqa: PLC0415
    from resources.postgres.roles.reader_role import ensure_reader, new_password  # noqa: PLC0415
    from resources.postgres.urls import libpq_url  # noqa: PLC0415

    chosen = os.environ.get(PASSWORD_VARIABLE)
    if chosen is not None and len(chosen) < _SHORTEST:
        raise InputError(
            f"{PASSWORD_VARIABLE} has {len(chosen)} characters: use {_SHORTEST} or more, or unset "
            "it for a random one"
        )
    settings = load_settings()
    url = ready_url(settings)
    project, dagster = (sa.make_url(libpq_url(u)) for u in (url, dagster_database_url()))
    is_elsewhere = (project.host, project.port) != (dagster.host, dagster.port)
    is_shared = project.database == dagster.database
    password = chosen or new_password()
    ensure_reader(
        url,
        name,
        password,
        dagster_database=None if is_elsewhere or is_shared else dagster.database,
        server=embedded_server() if settings.database_url is None else None,
    )
    shown = project.set(username=name, password=password).difference_update_query(_LOGIN)
    click.echo(shown.render_as_string(hide_password=chosen is not None))


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--embedded", is_flag=True, help="The embedded server, even if DATABASE_URL is set.")
def drop(yes: bool, embedded: bool) -> None:
    """Permanently delete the project's database: candles, all tables, Dagster's runs and events.

    Of the embedded server everything goes: it is stopped, and its data, log and socket are deleted.
    On the server of DATABASE_URL the schema trading and Dagster's tables go; the databases
    themselves, and what else is in them, stay. Refused while other programs use the database.
    Results, settings, backups and the anchor log stay.

    \b
    Examples:
      autonama db backup autonama.backup
      autonama db drop
    """  # noqa: D301
    from resources.postgres.server.removal import planned, remove  # noqa: PLC0415

    settings = load_settings()
    removal = planned(settings, embedded=embedded)
    if not removal.lines:
        click.echo("there is no database")
        return
    click.echo("This permanently deletes:", err=True)
    for line in removal.lines:
        click.echo(f"  {line}", err=True)
    if not yes:
        click.echo("Back up first: autonama db backup FILE", err=True)
        if not sys.stdin.isatty():
            raise InputError("nothing was deleted: add --yes to delete without asking")
        click.confirm("Delete it?", abort=True, err=True)
    remove(removal)
    click.echo("deleted")
    log = settings.anchor_path
    if log is not None and log.exists():
        click.echo(f"the anchor log {log} stays: move it away before the next scan", err=True)
