"""`autonama settings`: every setting, its value, where that comes from, and what it means."""

import re
import textwrap
from typing import Any

import click
from pydantic import SecretStr

from autonama_dagster.settings import Settings, env_name, load_settings, origins, project_dir

WIDTH = 80


@click.command()
def settings() -> None:
    """Show every setting with its value; secrets are shown as "(set)".

    A star marks values that differ from the default. Change them in the environment or in `.env`.

    \b
    Examples:
      autonama settings
      AUTONAMA_KSTD=2.5 autonama settings
    """  # noqa: D301
    values, found = load_settings(), origins()
    click.echo("# The environment takes precedence, then this file, then AUTONAMA_SETTINGS_FILE:")
    click.echo(f"# {project_dir() / '.env'}")
    click.echo("# * differs from the default")
    for name, field in Settings.model_fields.items():
        value = getattr(values, name)
        is_default = value == field.default
        click.echo(f"{' ' if is_default else '*'} {env_name(name)}={_shown(value)}")
        where = f"from {found[name]}" if name in found else "default"
        if not is_default:
            where += f", default {_shown(field.default) or 'none'}"
        click.echo(_paragraph(f"{where}. {field.description}"))


def _paragraph(text: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent="    ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return "(set)"
    if isinstance(value, tuple):
        return ",".join(value)
    # A proxy's URL may hold a login.
    return "" if value is None else re.sub(r"(?<=://)[^/@]*@", "***@", str(value))
