"""`autonama status`: what is fresh, what is missing, what ran, what it takes on the disk."""

import json
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autonama_dagster.errors import DatabaseError
from autonama_dagster.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from resources.health import Health

_PIPE_WIDTH = 140
_COLOURS = {"SUCCESS": "green", "FAILURE": "bold red", "CANCELED": "yellow"}
_MIB = 1024**2


@click.command()
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
def status(form: str) -> int:
    """Say what is fresh, what is missing, what ran last, and what it takes on the disk.

    It looks and changes nothing; a stopped embedded server stays stopped.

    The exit code is 0 when all is well, and 1 when something is stale or failing: the latest
    closed day is not complete an hour after midnight UTC, a day in between is missing, a symbol
    could not be fetched, the last run of a job failed within 24 hours, or the database does not
    answer. Quarantined candles, failed checks and a stopped daemon are told and change nothing.

    \b
    Examples:
      autonama status
      autonama status --format json
    """  # noqa: D301
    from resources.health import gather  # noqa: PLC0415

    settings = load_settings()
    try:
        health = gather(settings)
    except DatabaseError as error:
        if form == "table":
            raise
        click.echo(json.dumps({"is_healthy": False, "problems": [str(error)]}, indent=2))
        return DatabaseError.exit_code
    if form == "json":
        click.echo(json.dumps(document(health), indent=2, default=_plain))
    else:
        _print(health)
    return 1 if health.problems else 0


def document(health: "Health") -> dict[str, Any]:
    """The health as JSON: every fact, the verdict first."""
    facts = asdict(health)
    clock = {
        **facts.pop("clock"),
        "latest_closed": health.clock.latest_closed,
        "expected": health.clock.expected,
    }
    verdict = {"is_healthy": not health.problems, "problems": facts.pop("problems")}
    return {**verdict, "notes": facts.pop("notes"), "clock": clock, **facts}


def _plain(value: Any) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    assert isinstance(value, Path)  # noqa: S101
    return str(value)


def _print(health: "Health") -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH, highlight=False)
    _print_verdict(console, health)
    _print_tables(console, health)
    _print_runs(console, health)
    _print_rest(console, health)


def _print_verdict(console: "Console", health: "Health") -> None:
    from rich.markup import escape  # noqa: PLC0415

    for problem in health.problems:
        console.print(f"[bold red]problem[/]  {escape(problem)}", soft_wrap=True)
    if not health.problems:
        console.print("[green]healthy[/]")
    for note in health.notes:
        console.print(f"[yellow]note[/]     {escape(note)}", soft_wrap=True)
    clock, latest = health.clock, health.tables.latest_summary
    behind = "none is complete"
    if latest is not None:
        days = (clock.latest_closed - latest).days
        behind = f"complete to {latest}, {days} behind" if days else "complete"
    console.print(
        f"latest closed day {clock.latest_closed} ({clock.source}, "
        f"{clock.now:%Y-%m-%d %H:%M:%S} UTC): {behind}"
    )


def _print_tables(console: "Console", health: "Health") -> None:
    if not health.tables.tables:
        return
    closed = health.clock.latest_closed
    table = _table(
        "table", "latest day", "complete to", "days behind", "~rows", "MiB", "of it indexes"
    )
    for t in health.tables.tables:
        behind = "-" if t.complete_day is None else str((closed - t.complete_day).days)
        table.add_row(
            t.name,
            str(t.latest_day or "-"),
            str(t.complete_day or "-"),
            behind,
            f"{t.rows:,}",
            f"{t.bytes / _MIB:,.1f}",
            f"{t.index_bytes / _MIB:,.1f}",
        )
    console.print(table)


def _print_runs(console: "Console", health: "Health") -> None:
    if not health.dagster.last_runs:
        console.print("runs: none yet")
        return
    table = _table("run", "job", "partitions", "status", "started (UTC)", "seconds")
    for run in health.dagster.last_runs:
        table.add_row(
            run.run_id[:8],
            run.job,
            run.partitions or "-",
            f"[{_COLOURS.get(run.status, 'cyan')}]{run.status}[/]",
            "-" if run.started is None else f"{run.started:%Y-%m-%d %H:%M:%S}",
            "-" if run.seconds is None else f"{run.seconds:,.1f}",
        )
    console.print(table)


def _print_rest(console: "Console", health: "Health") -> None:
    from rich.markup import escape  # noqa: PLC0415

    dagster, disk = health.dagster, health.disk
    console.print(
        f"disk: project {_size(health.tables.database_bytes)}, Dagster "
        f"{_size(dagster.database_bytes)}, folder {_size(disk.folder_bytes)} in "
        f"{escape(str(disk.folder))}, free {_size(disk.free_bytes)}",
        soft_wrap=True,
    )
    heard = (
        f"last heard {dagster.heartbeat:%Y-%m-%d %H:%M:%S} UTC"
        if dagster.heartbeat
        else "never heard"
    )
    alive = "alive" if dagster.is_daemon_alive else f"not running, {heard}"
    switches = ", ".join(f"{a.name} {'on' if a.is_on else 'off'}" for a in dagster.automations)
    console.print(f"daemon: {alive}; {switches or 'no schedule or sensor was started yet'}")
    ticks = f"next tick: {health.next_tick:%Y-%m-%d %H:%M} UTC"
    schedules = [a for a in dagster.automations if a.kind == "schedule"]
    if not dagster.is_daemon_alive or not any(a.is_on for a in schedules):
        ticks += ", if `autonama up` runs then"
    console.print(ticks)


def _table(*titles: str) -> Any:
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    numbers = {"days behind", "~rows", "MiB", "of it indexes", "seconds"}
    for title in titles:
        table.add_column(title, justify="right" if title in numbers else "left", no_wrap=True)
    return table


def _size(size: int) -> str:
    is_large = size >= 1024 * _MIB
    return f"{size / 1024 / _MIB:,.1f} GiB" if is_large else f"{size / _MIB:,.1f} MiB"
