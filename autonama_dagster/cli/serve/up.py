"""`autonama up`: the Dagster UI and daemon, the schedule and the sensor, the metrics."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from http import HTTPStatus
from pathlib import Path

import click
import requests

from autonama_dagster.cli.serve.supervisor import WATCH, Child, StopSignals, supervise
from autonama_dagster.cli.shared.bind import check_host
from autonama_dagster.cli.shared.notices import notice
from autonama_dagster.errors import InputError
from autonama_dagster.settings import Settings, env_name, load_settings
from resources.http.session import HttpSession, Limits
from resources.instance.home import dagster_home
from resources.instance.locks import ServiceLock
from resources.postgres.database import dagster_database_url, embedded_server
from resources.postgres.migrate import ready_url
from resources.waiting import told_to

EXAMPLES = """\b
Examples:
  autonama up
  autonama up --port 3001 --metrics-port 9465
  autonama up --no-automation      the UI only, without scheduled scans
"""
LONGEST_ANSWER = 64 << 10  # bytes of the web server that is asked whether it is there


@click.command(epilog=EXAMPLES)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True)
@click.option("--metrics-port", type=click.IntRange(1, 65535), default=9464, show_default=True)
@click.option("--allow-remote", is_flag=True, help="Allow access from other machines.")
@click.option(
    "--automation/--no-automation",
    default=True,
    help="Scan every day automatically (default: yes).",
)
def up(host: str, port: int, metrics_port: int, allow_remote: bool, automation: bool) -> None:
    """Run the Dagster UI and its daemon: scan every day at 00:05 UTC, catch up on missed days.

    Ctrl-C or SIGTERM stops everything. Only one `up` can run per database.
    """
    check_host(host, allow_remote=allow_remote)
    if port == metrics_port:
        raise InputError(f"--metrics-port {metrics_port}: --port is the same; choose another")
    dagster_home()  # a new home is made
    settings = load_settings()
    ready_url(settings)
    url = address(host, port)
    with ServiceLock(dagster_database_url(), "autonama up", url) as lock:
        check_port(host, port, "--port")
        check_port(host, metrics_port, "--metrics-port")
        serve(settings, host, port, metrics_port, lock, automation=automation)


def serve(
    settings: Settings, host: str, port: int, metrics_port: int, lock: ServiceLock, *,
    automation: bool,
) -> None:  # fmt: skip
    """Serve metrics and pictures from here and Dagster from its processes, until a signal comes."""
    from autonama_dagster.web.server import start_web_server  # noqa: PLC0415

    url = address(host, port)
    say = partial(notice, settings.log_format)
    links = {"ui_url": url, "pictures_url": address(host, metrics_port)}
    environment = {
        **{env_name(f): v for f, v in links.items() if f not in settings.model_fields_set},
        "AUTONAMA_AUTOMATION": str(automation).lower(),
    }
    children = [
        Child(
            "Dagster",
            partial(start_dagster, settings, host, port, environment),
            is_needed=True,
            stop_signal=signal.SIGINT,
            is_ready=partial(answers, host, port),
            on_ready=partial(say, f"Dagster UI: {url}  (Ctrl-C stops it)", url=url),
            family="Dagster and its runs",
        ),
    ]
    keep_server = server_keeper(settings, say)

    def keep() -> None:
        keep_server()
        lock.keep()

    def tell(whom: str | None) -> None:
        if whom is not None:
            say(f"waiting for {whom}", whom=whom)

    with (
        StopSignals() as signals,
        closing(start_web_server(settings, host, metrics_port)) as web,
        told_to(tell),
    ):
        say(f"metrics: {web.metrics_url}", url=web.metrics_url)
        say("starting Dagster; the UI will be ready in a moment")
        supervise(children, signals, keep=keep, say=say)


def address(host: str, port: int) -> str:
    """URL by which a browser reaches a server that listens on the host."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104  (all addresses of this machine)
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def answers(host: str, port: int) -> bool:
    """Whether Dagster's UI answers."""
    nearest = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    try:
        with HttpSession(timeout=WATCH, limits=Limits(LONGEST_ANSWER, WATCH)) as session:
            answer = session.get(f"{address(nearest, port)}/server_info")
    except requests.RequestException:
        return False
    return answer.status_code == HTTPStatus.OK


def start_dagster(
    settings: Settings, host: str, port: int, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Start `dagster dev` in a session of its own: signals reach it through us alone."""
    workspace = Path(__file__).resolve().parents[3] / "workspace.yaml"
    return subprocess.Popen(
        [
            sys.executable, "-m", "autonama_dagster.cli.serve.dagster_dev", str(os.getpid()),
            "-w", str(workspace), "-h", host, "-p", str(port),
            "--log-format", "json" if settings.log_format == "json" else "colored",
        ],
        env={
            **os.environ,
            **environment,
            "DAGSTER_HOME": str(dagster_home()),
            "PYTHONWARNINGS": "ignore",  # Dagster's own notes on what it will change
        },
        cwd=dagster_home(),  # Dagster warns of a dagster.yaml in another folder
        start_new_session=True,
    )  # fmt: skip


def server_keeper(settings: Settings, say: Callable[..., None]) -> Callable[[], None]:
    """What starts the embedded server again, should it have ended; nothing where none is used."""
    if settings.database_url is not None:
        return lambda: None
    server = embedded_server()

    def keep() -> None:
        if server.pid() is None:
            server.start()
            say("the embedded database stopped; restarting it", level="warning")

    return keep


def check_port(host: str, port: int, option: str) -> None:
    """Raise InputError if another program listens on the port: Dagster would say so in a page."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"{option} {port}: cannot listen on {host} ({error.strerror}); "
                f"stop the program that uses it or choose another {option}"
            ) from None
