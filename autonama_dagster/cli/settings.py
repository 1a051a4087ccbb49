"""`autonama settings`: every setting, its value and where to change it."""

import re
from typing import Any

import click
from pydantic import SecretStr

from autonama_dagster.settings import Settings, env_name, load_settings, project_dir


@click.command()
def settings() -> None:
    """Show every setting with its value; secrets are only said to be set.

    Change one in the environment or in `.env`.

    \b
    Examples:
      autonama settings
      AUTONAMA_KSTD=2.5 autonama settings
    """  # noqa: D301
    values = load_settings()
    click.echo(f"# from the environment, {project_dir() / '.env'} and AUTONAMA_SETTINGS_FILE")
    for name, field in Settings.model_fields.items():
        value = getattr(values, name)
        click.echo(f"{env_name(name)}={_shown(value)}")
        click.echo(f"    {field.description}")


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "(set)"
    if isinstance(value, tuple):
        return ",".join(value)
    # A proxy's URL may hold a login.
    return "" if value is None else re.sub(r"(?<=://)[^/@]*@", "***@", str(value))
