"""The anchor log as commands that make results see it."""

import click

from autonama_dagster.errors import AnchorError
from autonama_dagster.settings import Settings


def warn_of_log(settings: Settings) -> None:
    """Say in one line where results that were made could not be anchored."""
    from resources.anchor_log import require_writable  # noqa: PLC0415

    if settings.anchor_path is None:
        return
    try:
        require_writable(settings.anchor_path)
    except AnchorError as error:
        click.echo(f"warning: {error}", err=True)
