"""`autonama verify`: compute stored rows again and compare."""

import json
from contextlib import closing
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import click

from autonama_dagster.cli.shared.progress import StepProgress
from autonama_dagster.cli.shared.screen import screen
from autonama_dagster.cli.shared.symbols import chosen_symbols
from autonama_dagster.days import parse_day
from autonama_dagster.errors import InputError
from autonama_dagster.settings import load_settings
from autonama_dagster.text.labels import counted
from resources.processes import load_ahead

if TYPE_CHECKING:
    from autonama_dagster.services.verification.verify import Verified

EXAMPLES = """\b
Examples:
  autonama verify
  autonama verify --date 2023-12-29 --symbols BTCUSDT,ETHUSDT
  autonama verify --sample 200
  autonama verify --all
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--date", "day", metavar="YYYY-MM-DD", help="Day to verify (default: the latest stored)."
)
@click.option("--symbols", metavar="A,B", help="Only these pairs (default: all).")
@click.option(
    "--sample", type=click.IntRange(1), metavar="N", help="N random symbol-days up to --date."
)
@click.option("--all", "everything", is_flag=True, help="Every stored day up to --date.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text")
def verify(
    day: str | None, symbols: str | None, sample: int | None, everything: bool, form: str
) -> int:
    """Recompute stored rows from the stored candles, and compare.

    Each row is recomputed twice: from data truncated at its day, and from data extended past it.
    Both must equal the stored row. For one day, a sample, and up to seven days the database itself
    is cut at each day, so that what reads and joins is verified too; for more days, in a drawn
    share of them. A difference is attributed to look-ahead, a missing or an extra row, other code,
    other parameters, changed data, another platform, or an altered row. Which rows must exist
    follows from the members, the registered symbols and the rows of other tables. Without --sample
    or --all, every row of one day is verified.

    The exit code is 0 if all rows match and 1 if any differs. Results are stored in
    `trading.verifications`.
    """
    if sample is not None and everything:
        raise InputError("--sample and --all cannot be combined: use one")
    wanted = None if day is None else parse_day(day)
    chosen = chosen_symbols(symbols) or ()
    settings = load_settings()
    progress = StepProgress(screen(stderr=True), settings.log_format)
    with progress.running():
        progress.step("load the stages")
        if sample or everything:
            load_ahead()
        from autonama_dagster.services.inputs.required import (  # noqa: PLC0415
            read_required,
            registered_symbols,
        )
        from autonama_dagster.services.verification.parts import parts_of, sample_of  # noqa: PLC0415
        from autonama_dagster.services.verification.parts import verify as run  # noqa: PLC0415
        from autonama_dagster.services.verification.verify import as_rows, document  # noqa: PLC0415
        from resources.postgres.migrate import ready_url  # noqa: PLC0415
        from resources.warehouse.ledger import latest_day  # noqa: PLC0415
        from resources.warehouse.warehouse import Warehouse  # noqa: PLC0415

        with closing(Warehouse(lambda: ready_url(settings), reads=True)) as warehouse:
            stored = [latest_day(warehouse, name) for name in ("signals", "analysis_summary")]
            last = wanted or max(filter(None, stored), default=None)
            if last is None:
                raise InputError("no signals are stored: run `autonama scan` first")
            first = settings.start_date if everything or sample else last
            registered = registered_symbols(settings)
            of = read_required(warehouse, settings, first, last, registered)
            parts = sample_of(of, chosen, sample) if sample else parts_of(of, chosen)
            progress.step("compute and compare")
            found = run(parts, settings, warehouse, progress.requests, registered)
            count = len({s for part in parts for s in part.symbols})
            begin = min(part.first for part in parts)
            rows = as_rows(found, begin, last, symbols=count, now=datetime.now(UTC))
            warehouse.keep("verifications", rows)
    if form == "json":
        click.echo(json.dumps(document(found, begin, last), indent=2))
    else:
        _print(found, begin, last)
    return 1 if any(part.rows_of() for part in found) else 0


def _print(found: list["Verified"], first: date, last: date) -> None:
    from autonama_dagster.cli.shared.render import print_records  # noqa: PLC0415
    from autonama_dagster.services.verification.verify import KINDS, LISTED  # noqa: PLC0415

    console = screen()
    records = [
        {
            "table": part.table,
            "rows": part.rows,
            "mismatches": part.rows_of(),
            **{kind: part.rows_of(kind) for kind in KINDS if part.rows_of(kind)},
        }
        for part in found
    ]
    columns = list(dict.fromkeys(name for record in records for name in record))
    days = f"{first}" if first == last else f"{first} .. {last}"
    shown = [{name: record.get(name, 0) for name in columns} for record in records]
    print_records(console, shown, f"Rows of {days}, recomputed")
    for part in found:
        for row in part.mismatches.head(LISTED).astype(str).to_dict("records"):
            console.say(f"{part.table}: {', '.join(f'{k} {v}' for k, v in row.items())}")
    total = sum(part.rows for part in found)
    wrong = sum(part.rows_of() for part in found)
    if wrong:
        console.say((f"{wrong:,} of {counted(total, 'row')} differ", "bold red"))
    else:
        cut = sum(part.in_database for part in found)
        whole = "" if cut == total else f", {cut:,} of them from a database cut at their day"
        console.say((f"all {total:,} rows match{whole}", "green"))
