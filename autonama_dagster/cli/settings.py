"""`autonama settings`: every setting, its value and where to change it."""

import click
from pydantic import SecretStr

from autonama_dagster.settings import Settings, env_name, load_settings, project_dir


@click.command()
def settings() -> None:
    """Show every setting with its value; secrets are only said to be set.

    Change one in the environment or in `.env`, e.g. AUTONAMA_KSTD=2.5.
    """
    values = load_settings()
    click.echo(f"# from the environment, {project_dir() / '.env'} and AUTONAMA_SETTINGS_FILE")
    for name, field in Settings.model_fields.items():
        value = getattr(values, name)
        shown = "(set)" if isinstance(value, SecretStr) else "" if value is None else value
        click.echo(f"{env_name(name)}={shown}")
        click.echo(f"    {field.description}")
