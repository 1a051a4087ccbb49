"""`autonama retire`: stop computing a symbol."""

import click

from autonama_dagster.errors import InputError
from autonama_dagster.schemas.partitions import SYMBOL_DIMENSION
from autonama_dagster.settings import load_settings
from resources.instance.home import open_instance
from resources.postgres.migrate import ready_url


@click.command()
@click.argument("symbol")
def retire(symbol: str) -> None:
    """Stop computing SYMBOL. Its rows stay; it returns if it becomes a member again.

    \b
    Example:
      autonama retire LUNAUSDT
    """  # noqa: D301
    settings = load_settings()
    name = symbol.upper()
    if name in settings.symbols:
        raise InputError(
            f"{name} is in AUTONAMA_SYMBOLS, and the next scan would register it again; remove it "
            "there first"
        )
    ready_url(settings)  # a database out of reach is our one-line error, not Dagster's
    with open_instance() as instance:
        registered = instance.get_dynamic_partitions(SYMBOL_DIMENSION)
        if name not in registered:
            known = f"registered: {', '.join(registered[:5])}, ... ({len(registered)} in all)"
            raise InputError(
                f"{name} is not registered; {known if registered else 'run `autonama scan` first'}"
            )
        instance.delete_dynamic_partition(SYMBOL_DIMENSION, name)
    click.echo(f"{name} is retired: its rows stay, but new days are not computed")
