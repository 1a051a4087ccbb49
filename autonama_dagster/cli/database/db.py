"""`autonama db`: the project's database."""

import os

import click

from autonama_dagster.cli.database.admin import drop, reader, retain
from autonama_dagster.cli.database.backup import backup, restore
from autonama_dagster.cli.shared.groups import Group
from autonama_dagster.errors import InputError
from autonama_dagster.settings import load_settings, project_dir
from autonama_dagster.system.private_files import private_folder
from resources.postgres.database import embedded_server, project_url
from resources.postgres.migrate import migrate, newest_revision, ready_url, revisions
from resources.postgres.roles.clients import connection_of, program
from resources.postgres.roles.readers import reading
from resources.postgres.urls import redacted, sqlalchemy_url


@click.group(cls=Group)
def db() -> None:
    """The project's database: DATABASE_URL, or the embedded server.

    \b
    Examples:
      autonama db status
      autonama db psql -- -c "SELECT * FROM trading.analysis_summary"
      autonama db backup autonama.backup
      export URL=$(autonama db url)
    """  # noqa: D301


@db.command()
def url() -> None:
    """Print the SQLAlchemy URL of the project's database, starting the embedded server.

    \b
    Example:
      export URL=$(autonama db url)
    """  # noqa: D301
    click.echo(sqlalchemy_url(project_url(load_settings())))


@db.command()
def start() -> None:
    """Start the embedded server and bring the tables up to date.

    \b
    Example:
      autonama db start
    """  # noqa: D301
    settings = load_settings()
    if settings.database_url is None:
        private_folder(project_dir() / ".autonama")  # a new home is made
    migrate(project_url(settings), anyway=True)
    _status()


@db.command()
def stop() -> None:
    """Stop the embedded server; its data stays.

    \b
    Example:
      autonama db stop
    """  # noqa: D301
    _embedded_only("stop")
    server = embedded_server()
    running = server.pid() is not None
    server.stop()
    click.echo("stopped" if running else "was not running")


@db.command()
def status() -> None:
    """Show which database is used, whether it answers, and the state of its tables.

    \b
    Example:
      autonama db status
    """  # noqa: D301
    _status()


@db.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(arguments: tuple[str, ...]) -> None:
    """Open psql on the project's database, or run it with ARGUMENTS.

    \b
    Examples:
      autonama db psql
      autonama db psql -- -c "SELECT count(*) FROM signals"
    """  # noqa: D301
    conninfo, environment = connection_of(ready_url(load_settings(), reads=True))
    environment["PGOPTIONS"] = "-c search_path=trading,public"
    found = str(program("psql"))
    os.execve(found, [found, conninfo, *arguments], environment)  # noqa: S606


for command in (backup, restore, retain, reader, drop):
    db.add_command(command)


def _embedded_only(action: str) -> None:
    if load_settings().database_url is not None:
        raise InputError(
            f"cannot {action} the server of DATABASE_URL, only the embedded one; unset "
            "DATABASE_URL to use that"
        )


def _status() -> None:
    settings = load_settings()
    if settings.database_url is None:
        server = embedded_server()
        pid = server.pid()
        click.echo(f"embedded server: {f'running, pid {pid}' if pid else 'not running'}")
        click.echo(f"data: {server.data_dir}")
        if pid is None:
            click.echo("next: autonama db start")
            return
    address = project_url(settings)
    click.echo(f"url: {redacted(sqlalchemy_url(address))}")
    with reading(address) as connection:
        found = ", ".join(revisions(connection)) or "none"
        row = connection.execute(
            "SELECT pg_size_pretty(pg_database_size(current_database()))"
        ).fetchone()
    click.echo(f"migrations: {found} of {newest_revision()}")
    click.echo(f"size: {row[0] if row else 'unknown'}")
