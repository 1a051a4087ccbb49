"""`autonama demo`: the whole daily scan on a synthetic market, offline and apart from real data."""

import os
import shlex
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from autonama_dagster.cli.compute.scan import run_scan
from autonama_dagster.cli.shared.render import SYNTHETIC_NOTE, print_result
from autonama_dagster.cli.shared.screen import screen
from autonama_dagster.replay.market.synthetic import SyntheticMarket
from autonama_dagster.replay.server import ReplayServer
from autonama_dagster.services.scan.results import export
from autonama_dagster.settings import load_settings, project_dir
from autonama_dagster.system.private_files import private_folder, write_private
from autonama_dagster.text.labels import counted

DEMO_DAYS = 365
DEMO_SEED = 7


@click.command()
@click.option(
    "--seed", type=int, default=DEMO_SEED, show_default=True, help="Seed of the synthetic market."
)
def demo(seed: int) -> None:
    """Scan a synthetic market: the top 100 pairs over 720 days, with charts.

    Everything is stored in .autonama/demo, which has its own database: synthetic and real candles
    never mix.

    \b
    Examples:
      autonama demo
      autonama --home .autonama/demo show signals
    """  # noqa: D301
    home = project_dir() / ".autonama" / ("demo" if seed == DEMO_SEED else f"demo-{seed}")
    _prepare(home)
    console = screen(stderr=True)
    console.say((SYNTHETIC_NOTE, "bold yellow"))
    console.say(f"everything is stored in {home}")
    with ReplayServer(SyntheticMarket(seed)) as server:
        os.environ["AUTONAMA_EXCHANGE_URL"] = server.url
        settings = load_settings()
        result = run_scan(settings, settings, None, None, console, with_charts=True)
    document, table = export(result, settings.results_path)
    out = screen()
    print_result(out, result, with_correlation=False)
    command = f"{_program()} --home {_quoted(home)}"
    for label, value in (
        ("signals", table),
        ("JSON", document),
        *_pictures(result.charts),
        ("total", f"{sum(result.seconds.values()):.1f} s"),
        ("next", f"{command} show alerts --signal BUY"),
        ("", f"{command} up"),
        ("server", f"the demo's database server keeps running; stop it with: {command} db stop"),
        ("remove", f"{command} db drop, then rm -r {_quoted(home)}"),
    ):
        out.say(f"{label:8} {value}")


def _pictures(charts: tuple[Path, ...]) -> list[tuple[str, str]]:
    """Where the picture of the day is, and the charts of its symbols."""
    from autonama_dagster.services.scan.symbol_charts import SCAN_PICTURE  # noqa: PLC0415

    of_day = [path for path in charts if path.name == SCAN_PICTURE]
    lines = [("picture", str(path)) for path in of_day]
    if charts:
        lines.append(
            ("charts", f"{counted(len(charts) - len(of_day), 'symbol')} in {charts[0].parent}")
        )
    return lines


def _prepare(home: Path) -> None:
    """A project folder of its own, with settings that no environment overrides."""
    private_folder(home.parent)
    private_folder(home)
    start = datetime.now(UTC).date() - timedelta(days=DEMO_DAYS)
    file = home / ".env"
    if not file.exists():
        write_private(file, f"AUTONAMA_START_DATE={start}\n")
    for name in list(os.environ):
        if name.startswith("AUTONAMA_") or name == "DATABASE_URL":
            del os.environ[name]
    os.environ["AUTONAMA_HOME"] = str(home)


def _program() -> str:
    path = Path(sys.argv[0])
    return _quoted(path) if path.name == "autonama" else "autonama"


def _quoted(path: Path) -> str:
    try:
        return shlex.quote(str(path.relative_to(Path.cwd())))
    except ValueError:
        return shlex.quote(str(path))
