"""`autonama status`: what is fresh, what is missing, what ran, what it takes on the disk."""

import json
from datetime import date
from typing import TYPE_CHECKING

import click

from autonama_dagster.errors import DatabaseError
from autonama_dagster.settings import load_settings
from autonama_dagster.text.labels import counted

if TYPE_CHECKING:
    from autonama_dagster.cli.shared.screen import Screen
    from autonama_dagster.services.monitoring.health import Anchor, Health
    from resources.warehouse.check_facts import CheckFacts

_COLOURS = {"SUCCESS": "green", "FAILURE": "bold red", "CANCELED": "yellow"}
_MIB = 1024**2


@click.command()
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
def status(form: str) -> int:
    """Show what is up to date, what is missing, the latest runs, and the disk usage.

    Changes nothing; a stopped embedded server stays stopped.

    The exit code is 0 if all is well, and 1 if there is a problem: the latest closed day is not
    complete an hour after midnight UTC, an earlier day is missing, a symbol could not be fetched, a
    row that must exist is missing, tables were changed by hand or are locked, a run stalls, the
    last run of a job failed within 24 hours, the disk is nearly full, or the database does not
    answer. Quarantined candles, failed checks and a stopped daemon are reported but are no problem.

    \b
    Examples:
      autonama status
      autonama status --format json
    """  # noqa: D301
    from autonama_dagster.services.monitoring.health import document, gather  # noqa: PLC0415

    settings = load_settings()
    try:
        health = gather(settings)
    except DatabaseError as error:
        if form == "table":
            raise
        click.echo(json.dumps({"is_healthy": False, "problems": [str(error)]}, indent=2))
        return DatabaseError.exit_code
    if form == "json":
        click.echo(json.dumps(document(health), indent=2))
    else:
        _print(health)
    return 1 if health.problems else 0


def _print(health: "Health") -> None:
    from autonama_dagster.cli.shared.screen import screen  # noqa: PLC0415

    console = screen()
    _print_verdict(console, health)
    _print_tables(console, health)
    _print_runs(console, health)
    _print_rest(console, health)


def _print_verdict(console: "Screen", health: "Health") -> None:
    for problem in health.problems:
        console.say(("problem", "bold red"), f"  {problem}")
    if not health.problems:
        console.say(("healthy", "green"))
    for note in health.notes:
        console.say(("note", "yellow"), f"     {note}")
    clock, latest = health.clock, health.tables.latest_summary
    behind = "no day is complete"
    if latest is not None:
        days = (clock.latest_closed - latest).days
        behind = f"complete to {latest}, {days} behind" if days else "complete"
    console.print(
        f"latest closed day {clock.latest_closed} ({clock.source}, "
        f"{clock.now:%Y-%m-%d %H:%M:%S} UTC): {behind}"
    )


def _print_tables(console: "Screen", health: "Health") -> None:
    from autonama_dagster.cli.shared.tables import Column, print_table  # noqa: PLC0415

    closed = health.clock.latest_closed
    full = [t for t in health.tables.tables if t.rows or t.latest_day is not None]
    if full:
        columns = (
            Column("table", [t.name for t in full]),
            Column("latest day", [str(t.latest_day or "-") for t in full]),
            Column("complete to", [str(t.complete_day or "-") for t in full]),
            Column("days behind", [_behind(t.complete_day, closed) for t in full], is_number=True),
            Column("~rows", [f"{t.rows:,}" for t in full], is_number=True),
            Column("MiB", [f"{t.bytes / _MIB:,.1f}" for t in full], is_number=True),
            Column("indexes", [f"{t.index_bytes / _MIB:,.1f}" for t in full], is_number=True),
        )
        print_table(console, columns, None, "use --format json")
    if empty := [t.name for t in health.tables.tables if t not in full]:
        console.print(f"empty: {', '.join(empty)}")


def _behind(complete: date | None, closed: date) -> str:
    return "-" if complete is None else str((closed - complete).days)


def _print_runs(console: "Screen", health: "Health") -> None:
    from autonama_dagster.cli.shared.tables import Column, print_table  # noqa: PLC0415

    runs = health.dagster.last_runs
    if not runs:
        console.print("runs: none yet")
        return
    started = ["-" if r.started is None else f"{r.started:%m-%d %H:%M:%S}" for r in runs]
    seconds = ["-" if r.seconds is None else f"{r.seconds:,.1f}" for r in runs]
    columns = (
        Column("run", [r.run_id[:8] for r in runs]),
        Column("job", [r.job for r in runs]),
        Column("status", [r.status for r in runs], [_COLOURS.get(r.status, "cyan") for r in runs]),
        Column("started (UTC)", started),
        Column("seconds", seconds, is_number=True),
        Column("partitions", [r.partitions or "-" for r in runs], is_long=True),
    )
    print_table(console, columns, None, "use --format json")


def _print_rest(console: "Screen", health: "Health") -> None:
    dagster, disk = health.dagster, health.disk
    _print_checks(console, health.tables.candle_checks)
    console.print(
        f"disk: project {_size(health.tables.database_bytes)}, Dagster "
        f"{_size(dagster.database_bytes)}, folder {_size(disk.folder_bytes)} in "
        f"{disk.folder}, free {_size(disk.free_bytes)}"
    )
    if health.anchor is not None:
        console.print(f"anchor: {_anchored(health.anchor)}")
    heard = (
        f"last seen {dagster.heartbeat:%Y-%m-%d %H:%M:%S} UTC"
        if dagster.heartbeat
        else "never seen"
    )
    alive = "alive" if dagster.is_daemon_alive else f"not running, {heard}"
    switches = ", ".join(f"{a.name} {'on' if a.is_on else 'off'}" for a in dagster.automations)
    console.print(f"daemon: {alive}; {switches or 'no schedule or sensor has been started'}")
    ticks = f"next tick: {health.next_tick:%Y-%m-%d %H:%M} UTC"
    schedules = [a for a in dagster.automations if a.kind == "schedule"]
    if not dagster.is_daemon_alive or not any(a.is_on for a in schedules):
        ticks += ", if `autonama up` is running"
    console.print(ticks)


def _anchored(anchor: "Anchor") -> str:
    if anchor.unreadable is not None:
        return anchor.unreadable
    return (
        f"{counted(anchor.lines, 'line')} in {anchor.file}, the last about {anchor.day}, "
        f"{anchor.made_at:%Y-%m-%d %H:%M} UTC, root {anchor.root}"
    )


def _print_checks(console: "Screen", checks: "CheckFacts") -> None:
    if checks.since is None:
        return
    if not checks.asked:
        console.print(f"requested again since {checks.since}: no stored candle")
        return
    interval = ""
    if checks.confirmed_share is not None:
        share, low, high = (
            f"{100 * float(end or 0):.1f}"
            for end in (checks.confirmed_share, checks.confirmed_low, checks.confirmed_high)
        )
        interval = f" ({share} % of those answered, 95 % interval {low} to {high} %)"
    console.print(
        f"requested again since {checks.since}: {counted(checks.asked, 'stored candle')}, "
        f"{checks.confirmed} confirmed{interval}, {checks.revised} revised, "
        f"{checks.missing} missing, {checks.failed} failed"
    )


def _size(size: int) -> str:
    is_large = size >= 1024 * _MIB
    return f"{size / 1024 / _MIB:,.1f} GiB" if is_large else f"{size / _MIB:,.1f} MiB"
