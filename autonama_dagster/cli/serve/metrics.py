"""`autonama metrics`: the Prometheus endpoint, and the pictures of signals."""

import click

from autonama_dagster.cli.shared.bind import check_host
from autonama_dagster.cli.shared.notices import notice
from autonama_dagster.settings import load_settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=9464, show_default=True)
@click.option("--allow-remote", is_flag=True, help="Allow access from other machines.")
def metrics(host: str, port: int, allow_remote: bool) -> None:
    """Serve Prometheus metrics until Ctrl-C: the age of the scan, rows, failures, durations.

    They are computed on each scrape. `autonama up` serves them too. If the database cannot be
    reached, `autonama_up` is 0.

    The picture of a signal is at /explain/BTCUSDT/2023-12-29.png, drawn on request.

    \b
    Examples:
      autonama metrics
      autonama metrics --port 9465
      autonama metrics --host 0.0.0.0 --allow-remote
    """  # noqa: D301
    check_host(host, allow_remote=allow_remote)
    from autonama_dagster.web.server import start_web_server  # noqa: PLC0415

    settings = load_settings()
    server = start_web_server(settings, host, port)
    url = server.metrics_url
    notice(settings.log_format, f"metrics: {url}  (Ctrl-C stops it)", url=url)
    try:
        server.wait()
    finally:
        server.close()
