"""Lines that a long-running command writes about itself, on standard error."""

from typing import Any

import click

from autonama_dagster.configuration.service import LogFormat
from resources.instance.json_logs import json_line


def notice(form: LogFormat, text: str, *, level: str = "info", **fields: Any) -> None:
    """Write the text, or an object with it and its fields.

    Parameters
    ----------
    form
        "json" writes one object a line, the others the text alone.
    text
        What happened, with all that a reader needs.
    level
        Of the object.
    fields
        Values in the text that a program may want on their own.
    """
    click.echo(json_line(level, text, **fields) if form == "json" else text, err=True)
