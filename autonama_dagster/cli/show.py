"""`autonama show`: what the tables hold."""

import json
import math
from contextlib import closing
from datetime import date
from typing import Any

import click
import pandas as pd
from rich.console import Console

from autonama_dagster.cli.render import (
    SYNTHETIC_NOTE,
    print_correlation,
    print_records,
    print_signals,
    stdout_console,
)
from autonama_dagster.days import parse_day, parse_moment
from autonama_dagster.errors import InputError
from autonama_dagster.results import by_strength, plain_records, plain_summary
from autonama_dagster.schemas.revisions import REVISIONS
from autonama_dagster.settings import load_settings
from resources.database import ready_url
from resources.statements import Scope
from resources.warehouse import Warehouse

TABLES = {
    "signals": "signals",
    "alerts": "alerts",
    "summary": "analysis_summary",
    "correlation": "correlation_matrix",
    **{name: name for name in REVISIONS},
}
EXAMPLES = """\b
Examples:
  autonama show signals --signal BUY
  autonama show alerts --date 2023-12-29 --min-return 20
  autonama show summary --format json
  autonama show correlation
  autonama show ohlcv_1d --date 2023-12-29 --as-of 2023-12-30T00:10:00Z
"""
TOP = 25


@click.command(epilog=EXAMPLES)
@click.argument("what", type=click.Choice(list(TABLES)))
@click.option(
    "--date", "day", metavar="YYYY-MM-DD", help="Day to show (default: the latest stored)."
)
@click.option(
    "--signal", type=click.Choice(["BUY", "SELL", "HOLD"], case_sensitive=False), help="Only these."
)
@click.option("--min-return", type=float, help="Only potential returns of at least this percent.")
@click.option(
    "--as-of",
    metavar="TIME",
    help="Candles as they were known then, by the exchange's clock; e.g. 2023-12-30T00:10:00Z.",
)
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table")
def show(
    what: str,
    day: str | None,
    signal: str | None,
    min_return: float | None,
    as_of: str | None,
    form: str,
) -> None:
    """Show stored signals, alerts, the summary, the correlations or the candles of a day.

    What candles were before the exchange gave others is kept: --as-of shows what a moment knew.
    """
    if as_of is not None and what not in REVISIONS:
        raise InputError(f"--as-of does not apply to {what}: only {', '.join(REVISIONS)}")
    if what not in {"signals", "alerts"} and (signal or min_return is not None):
        raise InputError(f"--signal and --min-return do not apply to {what}; leave them out")
    if min_return is not None and not math.isfinite(min_return):
        raise InputError(f"--min-return {min_return}: give a number of percent, e.g. 20")
    wanted = None if day is None else parse_day(day)
    moment = None if as_of is None else parse_moment("--as-of", as_of)
    settings = load_settings()
    with closing(Warehouse(lambda: ready_url(settings, reads=True), reads=True)) as warehouse:
        target = _day(warehouse, TABLES[what], wanted)
        frame = warehouse.read(TABLES[what], Scope(first=target, last=target), as_of=moment)
        is_synthetic = warehouse.source_label(target) == "synthetic"
    if what in {"signals", "alerts"}:
        frame = _filtered(frame, signal, min_return)
    if form == "json":
        click.echo(json.dumps(_documents(what, frame), indent=2))
        return
    console = stdout_console()
    if is_synthetic:
        console.print(SYNTHETIC_NOTE, style="bold yellow")
    if frame.empty and moment is not None:
        console.print(f"no candle of {target} was known at {as_of}; give a later --as-of")
        return
    if frame.empty:
        console.print(f"no {what} of {target} fit; try without --signal or --min-return")
        return
    _print(console, what, frame, target)


def _day(warehouse: Warehouse, name: str, wanted: date | None) -> date:
    latest = warehouse.latest_day(name)
    if latest is None:
        raise InputError(f"{name} is empty: run `autonama scan` first")
    if wanted is None:
        return latest
    if warehouse.read(name, Scope(first=wanted, last=wanted), ("date",)).empty:
        raise InputError(f"--date {wanted}: nothing is stored; the latest day is {latest}")
    return wanted


def _filtered(frame: pd.DataFrame, signal: str | None, min_return: float | None) -> pd.DataFrame:
    if signal is not None:
        frame = frame[frame["signal"] == signal.upper()]
    if min_return is not None:
        name = "potential_return_pct" if "potential_return_pct" in frame else "potential_return"
        frame = frame[frame[name] >= min_return]
    return frame.reset_index(drop=True)


def _documents(what: str, frame: pd.DataFrame) -> Any:
    if what == "summary":
        return plain_summary(frame)
    records = plain_records(frame)
    for record in records:
        for name in ("technical_indicators", "polynomial_regression"):
            if record.get(name):
                record[name] = json.loads(record[name])
    return records


def _print(console: Console, what: str, frame: pd.DataFrame, day: date) -> None:
    if what == "signals":
        print_signals(console, by_strength(frame), f"Signals of {day}")
    elif what == "alerts":
        names = ["symbol", "signal", "status", "current_price", "lower_band", "upper_band",
                 "potential_return", "signal_strength", "risk_level", "confirmations"]  # fmt: skip
        ordered = frame.sort_values(["signal_strength", "symbol"], ascending=[False, True])
        print_records(console, plain_records(ordered[names]), f"Alerts of {day}")
    elif what in REVISIONS:
        names = [str(c) for c in frame if c not in {"date", "row_hash", "run_id"}]
        print_records(console, plain_records(frame[names]), f"{what} of {day}")
    elif what == "summary":
        found = plain_summary(frame)
        for name, value in found.items():
            if not isinstance(value, list | dict) and not name.endswith("_hash"):
                console.print(f"{name}: {value}", highlight=False)
        print_correlation(console, found["correlation_analysis"])
    else:
        strongest = frame.loc[frame["pearson"].abs().sort_values(ascending=False).index]
        names = ["symbol_a", "symbol_b", "pearson", "spearman", "residual_pearson", "n_obs"]
        print_records(
            console,
            plain_records(strongest[names].head(TOP)),
            f"{len(frame):,} pairs of {day}; the {min(TOP, len(frame))} most correlated",
        )
