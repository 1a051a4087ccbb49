"""`autonama up`: the Dagster UI and daemon."""

import os
import signal
import socket
import sys
from pathlib import Path

import click

from autonama_dagster.errors import InputError
from autonama_dagster.settings import load_settings
from resources.database import dagster_database_url, ready_url
from resources.instance import dagster_home


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True)
def up(port: int) -> None:
    """Open the Dagster UI on 127.0.0.1 with the daemon; stop it with Ctrl-C.

    \b
    Examples:
      autonama up
      autonama up --port 3001
    """  # noqa: D301
    check_port(port)
    ready_url(load_settings())
    dagster_database_url()
    os.environ["DAGSTER_HOME"] = str(dagster_home())
    # A shell starts background jobs with SIGINT ignored, and Dagster would inherit that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    workspace = Path(__file__).resolve().parents[2] / "workspace.yaml"
    os.chdir(dagster_home())  # Dagster warns of a dagster.yaml in another folder
    click.echo(f"Dagster UI: http://127.0.0.1:{port}  (Ctrl-C stops it)", err=True)
    arguments = ["dev", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(port)]
    os.execv(sys.executable, [sys.executable, "-m", "dagster", *arguments])  # noqa: S606


def check_port(port: int) -> None:
    """Raise InputError if another program listens on the port: Dagster would say so in a page."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(
                f"--port {port}: cannot listen on 127.0.0.1 ({error.strerror}); "
                "stop the program that uses it or choose another --port"
            ) from None
