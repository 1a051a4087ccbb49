"""`autonama backfill`: fill a rectangle of days and symbols, stored."""

from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from autonama_dagster.cli.shared.anchors import warn_of_log
from autonama_dagster.cli.shared.progress import StepProgress
from autonama_dagster.cli.shared.screen import screen
from autonama_dagster.cli.shared.symbols import chosen_symbols
from autonama_dagster.days import parse_day
from autonama_dagster.errors import InputError
from autonama_dagster.settings import Settings, load_settings
from autonama_dagster.text.labels import counted

if TYPE_CHECKING:
    from autonama_dagster.orchestration.jobs import Started, StepRun

EXAMPLES = """\b
Examples:
  autonama backfill --from 2025-06-01
  autonama backfill --from 2025-06-01 --to 2025-08-31 --days-per-run 30
  autonama backfill --from 2025-06-01 --symbols BTCUSDT,ETHUSDT
  autonama backfill --from 2025-06-01 --assets indicators,regression_bands --again
"""


class BackfillProgress(StepProgress):
    """Progress that also tells each run."""

    many = 4

    def started(self, begun: "Started") -> None:
        """A run begins; it is told when it has ended."""

    def ran(self, done: "StepRun") -> None:
        """Print a run that has ended well."""
        self._print(
            f"    {done.step.title}: {counted(done.rows, 'row')}, run {done.run_id}  "
            f"[{done.seconds:.1f} s]",
            "run done",
            run=done.step.title,
            run_id=done.run_id,
            rows=done.rows,
            seconds=round(done.seconds, 3),
        )


@click.command(epilog=EXAMPLES)
@click.option("--from", "first", required=True, metavar="YYYY-MM-DD", help="First day.")
@click.option("--to", "last", metavar="YYYY-MM-DD", help="Last day (default: the latest closed).")
@click.option("--symbols", metavar="A,B", help="Only these pairs (default: all registered).")
@click.option("--assets", metavar="A,B", help="Only these assets (default: all daily ones).")
@click.option(
    "--days-per-run",
    type=int,
    metavar="N",
    help="Days per run (default: as many as fit in memory).",
)
@click.option("--again", is_flag=True, help="Recompute rows that are up to date, too.")
def backfill(
    first: str,
    last: str | None,
    symbols: str | None,
    assets: str | None,
    days_per_run: int | None,
    again: bool,
) -> None:
    """Fill every table for a range of days: rankings, candles, signals, summaries.

    Rows that are up to date are not recomputed: after an interruption, run the same command to
    continue. The runs appear in the Dagster UI, where `backfill_job` does the same.

    With --symbols, correlations and summaries are left out, because they cover all members of a
    day. With --assets, the other tables are read as they are stored.
    """
    request = {
        "from": parse_day(first, "--from").isoformat(),
        "to": last if last is None else parse_day(last, "--to").isoformat(),
        "symbols": list(chosen_symbols(symbols) or ()),
        "assets": _chosen_assets(assets),
        "days_per_run": days_per_run,
        "again": again,
    }
    settings = load_settings()
    progress = BackfillProgress(screen(stderr=True), settings.log_format)
    with progress.running():
        progress.step("load Dagster")
        filled = run_backfill(request, settings, progress)
    warn_of_log(settings)
    if not filled["runs"]:
        click.echo(f"{filled['days']}: everything is up to date")
        return
    click.echo(
        f"{filled['days']}: {counted(filled['partitions'], 'partition')}, "
        f"{counted(filled['rows'], 'row')} in {counted(filled['runs'], 'run')}, "
        f"{filled['seconds']:.1f} s"
    )


def run_backfill(
    request: dict[str, Any], settings: Settings, progress: BackfillProgress
) -> dict[str, Any]:
    """Execute `backfill_job` in this process; gives what its run reports."""
    from resources.postgres.database import started_ahead  # noqa: PLC0415
    from resources.postgres.migrate import ready_url  # noqa: PLC0415
    from resources.processes import load_ahead, loading  # noqa: PLC0415

    load_ahead()
    with started_ahead(settings), loading():
        from autonama_dagster.definitions import build_defs  # noqa: PLC0415
        from autonama_dagster.orchestration.backfill.job import filled_by  # noqa: PLC0415
        from autonama_dagster.orchestration.backfill.request import (  # noqa: PLC0415
            read_request,
            run_config,
        )
        from autonama_dagster.orchestration.execution import execute, origin_tags  # noqa: PLC0415
        from resources.exchange.build import build_exchange  # noqa: PLC0415
        from resources.exchange.memo import MemoExchange  # noqa: PLC0415
        from resources.instance.home import open_instance  # noqa: PLC0415
        from resources.warehouse.warehouse import Warehouse  # noqa: PLC0415

    with closing(MemoExchange(build_exchange(settings))) as exchange:
        read_request(request, settings, exchange)  # what cannot be makes no run
        tables = Warehouse(lambda: ready_url(settings))
        with open_instance() as instance, closing(tables) as warehouse:
            defs = build_defs(settings, binance=exchange, warehouse=warehouse, progress=progress)
            job = defs.resolve_job_def("backfill_job")
            tags = origin_tags("backfill")
            run_id = execute(job, instance, "backfill", config=run_config(request), tags=tags)
            return filled_by(instance, run_id)


def _chosen_assets(text: str | None) -> list[str]:
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    if text is not None and not names:
        raise InputError("--assets is empty; write it like indicators,regression_bands")
    return names
