"""`autonama revisions`: candles that changed, and the rows that makes stale."""

import json
import math
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import click

from autonama_dagster.cli.shared.symbols import chosen_symbols
from autonama_dagster.days import parse_moment
from autonama_dagster.settings import load_settings
from autonama_dagster.text.escaping import csv_text
from autonama_dagster.text.labels import counted

if TYPE_CHECKING:
    from autonama_dagster.services.lineage.staleness import Stale
    from resources.warehouse.revisions import Change

EXAMPLES = """\b
Examples:
  autonama revisions --since 2026-01-01
  autonama revisions --since 2026-01-31T00:05:00Z --symbols BTCUSDT,ETHUSDT
  autonama revisions --since 2026-01-01 --format csv
"""
CSV_HEAD = (
    "table", "symbol", "date", "open_time", "changed_at", "old_source", "new_source", "column",
    "old", "new",
)  # fmt: skip


@click.command(epilog=EXAMPLES)
@click.option(
    "--since",
    required=True,
    metavar="DATE|TIME",
    help="Changes since this time, by the exchange's clock.",
)
@click.option("--symbols", metavar="A,B", help="Only these pairs (default: all).")
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table")
def revisions(since: str, symbols: str | None, form: str) -> None:
    """List the candles that the exchange has changed, and the rows computed from them.

    A stored row is stale if its input hash no longer matches the current candles. Rows of the
    changed symbols from the first changed day on are checked, with the rankings, correlations and
    summaries they are part of, and the longer candles aggregated from them. The last lines are the
    commands that recompute them.

    The csv format has the changes only, one line per changed column.
    """
    from autonama_dagster.services.lineage.changes import document  # noqa: PLC0415
    from autonama_dagster.services.lineage.staleness import Stale, stale_after  # noqa: PLC0415
    from resources.postgres.migrate import ready_url  # noqa: PLC0415
    from resources.warehouse.revisions import changes  # noqa: PLC0415
    from resources.warehouse.warehouse import Warehouse  # noqa: PLC0415

    moment = parse_moment("--since", since)
    chosen = chosen_symbols(symbols)
    settings = load_settings()
    with closing(Warehouse(lambda: ready_url(settings, reads=True), reads=True)) as warehouse:
        found = changes(warehouse, moment, chosen)
        stale = Stale() if form == "csv" else stale_after(warehouse, settings, found)
    if form == "csv":
        _write_csv(found)
    elif form == "json":
        click.echo(json.dumps(document(found, stale), indent=2))
    else:
        for line in (*_changes_text(found, since), *_stale_text(stale)):
            click.echo(line)


def _changes_text(found: Sequence["Change"], since: str) -> list[str]:
    if not found:
        return [f"no candles changed since {since}"]
    lines = [f"{counted(len(found), 'candle')} changed since {since}:"]
    for c in found:
        opens = f"{c.open_time:%Y-%m-%d %H:%M}" if c.open_time else f"{c.date}"
        values = ", ".join(f"{name} {_text(o)} -> {_text(n)}" for name, (o, n) in c.columns.items())
        lines.append(
            f"  {c.symbol} {c.table.removeprefix('ohlcv_')} {opens}, "
            f"at {c.changed_at:%Y-%m-%d %H:%M:%S} UTC, {' -> '.join(c.sources)}: "
            f"{values or 'same numbers, formatted differently'}"
        )
    return lines


def _stale_text(stale: "Stale") -> list[str]:
    from autonama_dagster.services.lineage.changes import LONGER, commands  # noqa: PLC0415

    lines = []
    if stale.n_unanswered:
        lines.append(
            f"{counted(stale.n_unanswered, 'row of universe was', 'rows of universe were')} not "
            "compared: some candles of the 30 days before are not stored"
        )
    if stale.n_outdated:
        lines.append(
            f"{counted(stale.n_outdated, 'row was', 'rows were')} computed with other parameters "
            "or by another version and not compared: run `autonama backfill` to recompute"
        )
    if not stale.rows:
        return [*lines, "no rows are stale"]
    lines.append("stale rows:")
    for name, keys in stale.rows.items():
        days = keys["date"].dt.date
        names = stale.symbols(name)
        whose = f", {counted(len(names), 'symbol')}" if names else ""
        lines.append(
            f"  {name}: {counted(len(keys), 'row')}, {counted(days.nunique(), 'day')} from "
            f"{min(days)} to {max(days)}{whose}"
        )
    made = [f"in the UI, intraday_job: {name}" for name in stale.rows if name in LONGER]
    return [*lines, "to recompute them:", *(f"  {line}" for line in (*made, *commands(stale)))]


def _write_csv(found: Sequence["Change"]) -> None:
    from autonama_dagster.services.lineage.changes import plain  # noqa: PLC0415

    rows = []
    for c in found:
        opens = c.open_time.isoformat() if c.open_time else ""
        head = (c.table, c.symbol, c.date, opens, c.changed_at.isoformat(), *c.sources)
        for name, (old, new) in c.columns.items() or [("", (None, None))]:
            rows.append((*head, name, plain(old), plain(new)))
    click.echo(csv_text(CSV_HEAD, rows), nl=False)


def _text(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.12g}"
