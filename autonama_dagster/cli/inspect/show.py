"""`autonama show`: what the tables hold."""

import json
import math
from collections.abc import Sequence
from contextlib import closing
from datetime import date
from difflib import get_close_matches
from typing import Any

import click
import pandas as pd

from autonama_dagster.cli.inspect.show_tables import Shown, print_shown
from autonama_dagster.cli.shared.render import SYNTHETIC_NOTE
from autonama_dagster.cli.shared.screen import screen
from autonama_dagster.cli.shared.symbols import chosen_symbols
from autonama_dagster.days import parse_day, parse_moment
from autonama_dagster.errors import InputError
from autonama_dagster.schemas.base import Table
from autonama_dagster.schemas.registry import TABLES
from autonama_dagster.schemas.tables.intraday import INTRADAY
from autonama_dagster.schemas.tables.revisions import REVISIONS
from autonama_dagster.services.scan.results import csv_value, plain_records, plain_summary
from autonama_dagster.settings import load_settings
from autonama_dagster.text.escaping import csv_text
from autonama_dagster.text.labels import counted
from resources.postgres.migrate import ready_url
from resources.warehouse.candle_queries import source_label
from resources.warehouse.frames import of_symbols
from resources.warehouse.ledger import latest_day
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse

ALIASES = {"summary": "analysis_summary", "correlation": "correlation_matrix"}
NAMES = tuple(dict.fromkeys(("signals", "alerts", *ALIASES, *TABLES)))
# Tables that a scan of a day leaves without a row where all is well.
_MAY_BE_EMPTY = {t.name for t in TABLES.values() if t.partitions is None or t in INTRADAY}
# First and last day of a row, where that is not the column `date`.
_SPANS = {"fetch_log": ("from_date", "to_date"), "verifications": ("first_date", "last_date")}
EXAMPLES = """\b
Examples:
  autonama show signals --signal BUY
  autonama show alerts --date 2023-12-29 --min-return 20
  autonama show indicators --symbols BTCUSDT,ETHUSDT --from 2023-12-01 --format csv
  autonama show summary --format json
  autonama show correlation
  autonama show ohlcv_1d --date 2023-12-29 --as-of 2023-12-30T00:10:00Z

\b
Tables:
  """ + "\n  ".join(", ".join(NAMES[i : i + 4]) for i in range(0, len(NAMES), 4))


class _TableName(click.Choice[str]):
    """The name of a table; the error for another suggests the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name as it is given."""
        if value in NAMES:
            return str(value)
        near = get_close_matches(value, NAMES, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "run `autonama show --help` for the list"
        raise click.BadParameter(f"'{value}' is not a table; {hint}", ctx, param)


@click.command(epilog=EXAMPLES)
@click.argument("what", type=_TableName(NAMES), metavar="TABLE")
@click.option(
    "--date", "day", metavar="YYYY-MM-DD", help="Day to show (default: the latest stored)."
)
@click.option("--from", "first", metavar="YYYY-MM-DD", help="First day of a range.")
@click.option(
    "--to", "last", metavar="YYYY-MM-DD", help="Last day of a range (default: the latest)."
)
@click.option("--symbols", metavar="A,B", help="Only these pairs (default: all).")
@click.option(
    "--signal",
    type=click.Choice(["BUY", "SELL", "HOLD"], case_sensitive=False),
    help="Only this signal.",
)
@click.option("--all", "everything", is_flag=True, help="Include HOLD in `alerts`.")
@click.option(
    "--min-return", type=float, help="Only potential returns of at least this many percent."
)
@click.option(
    "--as-of",
    metavar="TIME",
    help="Candles as known at this time, by the exchange's clock; e.g. 2023-12-30T00:10:00Z.",
)
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table")
def show(
    what: str,
    day: str | None,
    first: str | None,
    last: str | None,
    symbols: str | None,
    signal: str | None,
    everything: bool,
    min_return: float | None,
    as_of: str | None,
    form: str,
) -> None:
    """Show the rows of TABLE for the latest day, one day, or a range of days.

    The table format shows the most important columns first and leaves out hashes, runs and JSON;
    json and csv have every column. Earlier versions of candles that the exchange has since changed
    are kept: --as-of shows the candles as known at that time.
    """
    of = TABLES[ALIASES.get(what, what)]
    _check_options(what, of, signal, min_return, as_of, everything=everything)
    chosen = _symbols(what, of, symbols)
    wanted = _wanted(what, of, day, first, last)
    moment = None if as_of is None else parse_moment("--as-of", as_of)
    settings = load_settings()
    with closing(Warehouse(lambda: ready_url(settings, reads=True), reads=True)) as warehouse:
        span = _span(warehouse, of, *wanted)
        frame = _read(warehouse, of, span, chosen, moment)
        shown = span[1] or latest_day(warehouse, "signals")
        is_synthetic = shown is not None and source_label(warehouse, shown) == "synthetic"
    if of.name in {"signals", "alerts"}:
        hold = everything or signal is not None or of.name == "signals"
        frame = _filtered(frame, signal, min_return, hold=hold)
    if form == "json":
        click.echo(json.dumps(_documents(of, frame, wanted), indent=2))
        return
    if form == "csv":
        rows = [[csv_value(v) for v in row.values()] for row in plain_records(frame)]
        click.echo(csv_text(of.columns, rows), nl=False)
        return
    console = screen()
    if is_synthetic:
        console.say((SYNTHETIC_NOTE, "bold yellow"))
    if frame.empty:
        click.echo(_nothing(what, of, span, as_of, is_chosen=bool(chosen)))
    else:
        print_shown(console, Shown(of, frame, _days(span), is_range=span[0] != span[1]))


def _check_options(
    what: str,
    of: Table,
    signal: str | None,
    min_return: float | None,
    as_of: str | None,
    *,
    everything: bool,
) -> None:
    if as_of is not None and of.name not in REVISIONS:
        raise InputError(f"--as-of does not apply to {what}, only to {', '.join(REVISIONS)}")
    if of.name not in {"signals", "alerts"} and (signal or min_return is not None):
        raise InputError(f"--signal and --min-return do not apply to {what}; remove them")
    if everything and of.name != "alerts":
        raise InputError(f"--all does not apply to {what}: only alerts leave out HOLD")
    if everything and signal is not None:
        raise InputError("--all and --signal cannot be combined: use one")
    if min_return is not None and not math.isfinite(min_return):
        raise InputError(f"--min-return {min_return}: use a number of percent, e.g. 20")


def _symbols(what: str, of: Table, text: str | None) -> tuple[str, ...] | None:
    chosen = chosen_symbols(text)
    if chosen is not None and not of.symbol_columns:
        raise InputError(f"--symbols does not apply to {what}, which has no symbols")
    return chosen


def _wanted(
    what: str, of: Table, day: str | None, first: str | None, last: str | None
) -> tuple[date | None, date | None]:
    """First and last day that are asked for; None: not said."""
    if day is not None and (first is not None or last is not None):
        raise InputError("--date cannot be combined with --from and --to: use a day or a range")
    if (day or first or last) is not None and not ({"date"} & set(of.columns) or of.name in _SPANS):
        raise InputError(f"--date, --from and --to do not apply to {what}, which has no days")
    if day is not None:
        return (parse_day(day),) * 2
    begin = None if first is None else parse_day(first, "--from")
    end = None if last is None else parse_day(last, "--to")
    if begin and end and begin > end:
        raise InputError(f"--from {begin} is after --to {end}: swap them")
    return begin, end


def _span(
    warehouse: Warehouse, of: Table, first: date | None, last: date | None
) -> tuple[date | None, date | None]:
    """First and last day to show; None: no bound."""
    if of.name in _MAY_BE_EMPTY and (of.partitions is None or "date" not in of.columns):
        return first, last
    latest = latest_day(warehouse, of.name)
    if latest is None:
        if of.name in _MAY_BE_EMPTY or latest_day(warehouse, "signals") is not None:
            return first, last  # as pairs are, where a day has one member
        raise InputError(f"{of.name} is empty: run `autonama scan` first")
    if first is None and last is None:
        return latest, latest
    if warehouse.read(of.name, Scope(first=first, last=last), ("date",)).empty:
        asked = f"--date {first}" if first == last else _asked(first, last)
        raise InputError(f"{asked}: nothing stored; the latest day is {latest}")
    return first, last or latest


def _asked(first: date | None, last: date | None) -> str:
    parts = (f"--from {first}" if first else "", f"--to {last}" if last else "")
    return " ".join(filter(None, parts))


def _read(
    warehouse: Warehouse,
    of: Table,
    span: tuple[date | None, date | None],
    chosen: tuple[str, ...] | None,
    moment: Any,
) -> pd.DataFrame:
    scope = Scope(chosen, *span)
    frame = warehouse.read(of.name, scope, as_of=moment)
    if of.name in _SPANS:
        begin, end = (frame[name] for name in _SPANS[of.name])
        first, last = (None if d is None else pd.Timestamp(d) for d in span)
        kept = pd.Series(data=True, index=frame.index)
        if first is not None:
            kept &= end >= first
        if last is not None:
            kept &= begin <= last
        frame = frame[kept].reset_index(drop=True)
    if chosen is None:
        return frame
    known = {symbol for name in of.symbol_columns for symbol in frame[name]}
    frame = of_symbols(of, frame, chosen)
    if of.name not in _MAY_BE_EMPTY and moment is None:
        _check_known(warehouse, of, span, [s for s in chosen if s not in known])
    return frame


def _check_known(
    warehouse: Warehouse,
    of: Table,
    span: tuple[date | None, date | None],
    missing: Sequence[str],
) -> None:
    """Say that a pair has no row, and which one may be meant."""
    if not missing:
        return
    rows = warehouse.read(of.name, Scope(None, *span), of.symbol_columns)
    known = sorted({symbol for name in of.symbol_columns for symbol in rows[name]})
    near = get_close_matches(missing[0], known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InputError(
        f"--symbols {missing[0]}: not among the {counted(len(known), 'pair')} of {of.name} of "
        f"{_days(span)}{hint}"
    )


def _filtered(
    frame: pd.DataFrame, signal: str | None, min_return: float | None, *, hold: bool
) -> pd.DataFrame:
    if signal is not None:
        frame = frame[frame["signal"] == signal.upper()]
    if not hold:
        frame = frame[frame["signal"] != "HOLD"]
    if min_return is not None:
        name = "potential_return_pct" if "potential_return_pct" in frame else "potential_return"
        frame = frame[frame[name] >= min_return]
    return frame.reset_index(drop=True)


def _documents(of: Table, frame: pd.DataFrame, wanted: tuple[date | None, date | None]) -> Any:
    """Rows as JSON; the summary of one day alone is no list."""
    if of.name == "analysis_summary":
        found = [plain_summary(frame.iloc[[i]]) for i in range(len(frame))]
        return found[0] if wanted[0] == wanted[1] and found else found
    records = plain_records(frame)
    for name in (c for c in of.columns if of.sql_type(c) == "jsonb"):
        for record in records:
            record[name] = record[name] and json.loads(record[name])
    return records


def _days(span: tuple[date | None, date | None]) -> str:
    first, last = span
    if first == last:
        return f"{first}" if first else "all days"
    return f"{first or 'the first day'} .. {last or 'the latest day'}"


def _nothing(
    what: str,
    of: Table,
    span: tuple[date | None, date | None],
    as_of: str | None,
    *,
    is_chosen: bool,
) -> str:
    """Why nothing is shown."""
    days = _days(span)
    if as_of is not None:
        return f"no candle of {days} was known at {as_of}; use a later --as-of"
    if of.name == "alerts":
        return f"no alerts of {days} match; try --all, or drop --signal or --min-return"
    if of.name == "signals":
        return f"no signals of {days} match; try without --signal or --min-return"
    if is_chosen:
        return f"{what} has no rows for these pairs"
    return f"{what} is empty" if span == (None, None) else f"{what} has no rows for {days}"
