"""`autonama explain`: what a signal is made of, down to the candles, checked on the spot."""

import gc
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autonama_dagster.cli.shared.symbols import one_symbol
from autonama_dagster.days import parse_day
from autonama_dagster.errors import InputError
from autonama_dagster.settings import Settings, load_settings
from autonama_dagster.text.escaping import file_name
from autonama_dagster.text.labels import counted, label

if TYPE_CHECKING:
    from autonama_dagster.cli.shared.screen import Screen
    from autonama_dagster.services.lineage.links import Link
    from autonama_dagster.services.lineage.receipts import Receipt
    from resources.instance.facts import Run
    from resources.warehouse.warehouse import Warehouse

EXAMPLES = """\b
Examples:
  autonama explain BTCUSDT
  autonama explain BTCUSDT 2023-12-29
  autonama explain BTCUSDT 2023-12-29 --format json
  autonama explain BTCUSDT 2023-12-29 --format png --output btc.png
"""
_SHOWN_CANDLES = 3  # of each end of the window


@contextmanager
def _without_collection() -> Iterator[None]:
    """No search for cycles: it takes a quarter of the command's time.

    What is imported stays until the end, and a receipt is small.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@click.command(epilog=EXAMPLES)
@click.argument("symbol")
@click.argument("day", metavar="[DATE]", required=False)
@click.option("--format", "form", type=click.Choice(["text", "json", "png"]), default="text")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="PNG file (default: results/explain/DATE/SYMBOL.png).",
)
@_without_collection()
def explain(symbol: str, day: str | None, form: str, output: Path | None) -> int:
    """Trace the signal of SYMBOL on DATE (default: the latest day) back to its candles.

    Shows the rows it was computed from, its window, parameters, code version and runs, and where
    each candle came from. All of these rows and their hashes are recomputed from the stored data
    and compared.

    The exit code is 0 if all of them match and 1 if any differs.
    """
    from autonama_dagster.services.lineage.explanation import document, runs_of  # noqa: PLC0415
    from autonama_dagster.services.lineage.receipts import latest_signal, read_receipt  # noqa: PLC0415
    from resources.postgres.migrate import ready_url  # noqa: PLC0415
    from resources.warehouse.warehouse import Warehouse  # noqa: PLC0415

    if output is not None and form != "png":
        raise InputError("--output needs --format png; add that, or redirect standard output")
    name = one_symbol(symbol)
    wanted = None if day is None else parse_day(day, "DATE")
    settings = load_settings()
    with closing(Warehouse(lambda: ready_url(settings, reads=True), reads=True)) as warehouse:
        receipt = read_receipt(warehouse, settings, name, wanted or latest_signal(warehouse, name))
        if form == "png":
            click.echo(_draw(warehouse, settings, receipt, output))
            return 0 if receipt.is_match else 1
    runs = runs_of(receipt, settings)
    if form == "json":
        click.echo(json.dumps(document(receipt, runs, settings), indent=2))
    else:
        _print(receipt, runs, settings)
    return 0 if receipt.is_match else 1


def _draw(
    warehouse: "Warehouse", settings: Settings, receipt: "Receipt", output: Path | None
) -> Path:
    """Write the picture; its path."""
    from autonama_dagster.services.lineage.receipt_picture import draw_receipt  # noqa: PLC0415
    from autonama_dagster.services.scan.results import results_folder  # noqa: PLC0415

    folder = settings.results_path / "explain" / receipt.day.isoformat()
    path = output or results_folder(folder) / f"{file_name(receipt.symbol)}.png"
    png = draw_receipt(warehouse, settings, receipt)
    try:
        path.write_bytes(png)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}; choose another --output"
        ) from None
    return path


def _print(receipt: "Receipt", runs: dict[str, "Run"], settings: Settings) -> None:
    from autonama_dagster.cli.shared.render import SYNTHETIC_NOTE  # noqa: PLC0415
    from autonama_dagster.cli.shared.screen import screen  # noqa: PLC0415

    console = screen()
    if "synthetic" in set(receipt.candles["source"]):
        console.say((SYNTHETIC_NOTE, "bold yellow"))
    _print_signal(console, receipt)
    _print_window(console, receipt)
    _print_candles(console, receipt)
    _print_made_with(console, receipt, runs, settings)
    _print_chain(console, receipt)


def _print_signal(console: "Screen", receipt: "Receipt") -> None:
    from autonama_dagster.cli.shared.render import column_of, number, price, text  # noqa: PLC0415

    signal, universe = receipt.rows["signals"], receipt.rows.get("universe")
    console.say(
        (f"{receipt.symbol} {receipt.day}: {signal['signal']}", "bold"),
        f" ({signal['status']}), strength {signal['signal_strength']:.0f}",
    )
    console.print(
        f"  close {price(signal['close'])}, channel {price(signal['lower_band'])} .. "
        f"{price(signal['upper_band'])}, fitted price {price(signal['fitted_price'])}, "
        f"z-score {number(signal['z_score'], '{:+.3f}')}",
    )
    console.print(
        f"  confirmations: {', '.join(signal['confirmations']) or 'none'}; "
        f"trend {text(signal['trend'])}, risk level {text(signal['risk_level'])}, "
        f"volatility level {text(signal['volatility_level'])}",
    )
    ranked = "not a candidate in the day's universe"
    if universe is not None:
        rank = f"rank {universe['rank']}"
        if not universe["is_eligible"]:
            rank = f"not eligible ({universe['exclusion_reason']})"
        ranked = f"{rank}, {'member' if universe['is_member'] else 'not a member'}"
    console.print(f"  universe: {ranked}")
    figures = receipt.rows.get("indicators", {})
    values = [
        f"{label(name)} = {column_of(name, [value]).cells[0]}"
        for name, value in figures.items()
        if isinstance(value, float)
    ]
    console.print(f"  indicators: {', '.join(values) or 'no candle on the day'}")


def _print_window(console: "Screen", receipt: "Receipt") -> None:
    window = receipt.window
    if window.first is None:
        console.print("window: empty, or not fetched completely")
        return
    console.print(
        f"window: {window.first} .. {window.last}, {counted(window.candles, 'candle')}, "
        f"{counted(window.missing_days, 'missing day')} in {counted(len(window.gaps), 'gap')}, "
        f"{counted(len(window.breaks), 'break')}",
    )
    for gap in window.gaps:
        console.print(f"  gap: {gap.first} .. {gap.last} ({counted(gap.days, 'day')})")
    for found in window.breaks:
        why = f"open / previous close {found.ratio:.4g}"
        if not found.is_jump:
            why = f"{counted(found.missing_days, 'missing day')} before it"
        console.print(f"  break: {found.date}, {why}")


def _print_candles(console: "Screen", receipt: "Receipt") -> None:
    from autonama_dagster.cli.shared.render import print_records  # noqa: PLC0415

    candles = receipt.candles
    if candles.empty:
        return
    groups = candles.groupby(["source", "run_id", "fetched_at", "origin"], sort=False, dropna=False)
    records = [
        {
            "source": rows["source"].iloc[0],
            "first": f"{rows['date'].min():%Y-%m-%d}",
            "last": f"{rows['date'].max():%Y-%m-%d}",
            "candles": len(rows),
            "fetched at (UTC)": f"{rows['fetched_at'].iloc[0]:%Y-%m-%d %H:%M:%S}",
            "run": rows["run_id"].iloc[0][:8],
            "call or file": _origin(rows["origin"].iloc[0]),
        }
        for _, rows in groups
    ]
    print_records(console, records, "Source of the candles", "use --format json")
    few = candles.iloc[[*range(len(candles))][-_SHOWN_CANDLES:]]
    shown = [
        {
            "date": f"{row.date:%Y-%m-%d}",
            "open": row.open,
            "high": row.high,
            "low": row.low,
            "close": row.close,
            "volume": row.volume,
            "row hash": row.row_hash,
        }
        for row in few.itertuples()
    ]
    print_records(
        console,
        shown,
        f"The last {counted(len(shown), 'candle')} (all: --format json)",
        "use --format json",
    )


def _origin(text: object) -> str:
    """The call, or the file with its checksum."""
    if not isinstance(text, str):
        return "unknown"
    found = json.loads(text)
    return str(found["call"]) if "call" in found else f"{found['file']} sha256 {found['sha256']}"


def _print_made_with(
    console: "Screen", receipt: "Receipt", runs: dict[str, "Run"], settings: Settings
) -> None:
    from autonama_dagster.services.lineage.explanation import run_url  # noqa: PLC0415

    made = ", ".join(f"{name} {value}" for name, value in receipt.parameters.items())
    stored, present = receipt.stored, receipt.present
    differs = (
        "" if stored.params_hash == present.params_hash else "; differs from the current settings"
    )
    console.print(f"parameters: {made}{differs}")
    differs = (
        "" if stored.code_version == present.code_version else f"; current: {present.code_version}"
    )
    console.print(f"code: {stored.code_version}{differs}")
    for run_id in dict.fromkeys(receipt.run_ids.values()):
        tables = ", ".join(name for name, of in receipt.run_ids.items() if of == run_id)
        run = runs.get(run_id)
        outcome = "deleted from Dagster"
        if run is not None:
            started = f" {run.started:%Y-%m-%d %H:%M:%S} UTC" if run.started else ""
            outcome = f"{run.job} {run.status}{started}"
        console.say(f"run {run_id[:8]} ({outcome}): {tables}")
        console.say(f"  {run_url(settings, run_id)}")


def _print_chain(console: "Screen", receipt: "Receipt") -> None:
    from autonama_dagster.cli.shared.render import print_records  # noqa: PLC0415

    records = [
        {
            "row of": link.table,
            "verdict": _verdict(link),
            "stored input hash": link.stored,
            "recomputed now": link.recomputed or "-",
            "stored result hash": link.stored_result or "-",
            "of the stored row": link.recomputed_result or "-",
        }
        for link in receipt.links
    ]
    print_records(console, records, "Hash chain", "use --format json")
    if receipt.is_match:
        console.say(("all hashes and values that can be recomputed match", "green"))
        return
    _print_differences(console, receipt)
    console.say(("MISMATCH", "bold red"), f": {receipt.fault}")
    if receipt.suspects is not None:
        first, last = receipt.suspects
        days = f"{last}" if first == last else f"{first} .. {last}"
        console.print(f"  a candle was changed, added or removed on {days}")


def _print_differences(console: "Screen", receipt: "Receipt") -> None:
    from autonama_dagster.cli.shared.render import print_records  # noqa: PLC0415

    records = [
        {
            "row of": link.table,
            "column": cell.column,
            "stored": cell.stored,
            "comes out now": cell.expected,
        }
        for link in receipt.links
        for cell in link.differences or ()
        if not cell.is_close
    ]
    if records:
        title = "Values that are not what their inputs give"
        print_records(console, records, title, "use --format json")


def _verdict(link: "Link") -> str:
    faults = [
        *(["inputs"] if link.is_input_match is False else []),
        *(["values"] if not link.has_given_values else []),
        *(["result hash"] if not link.is_result_match else []),
    ]
    if faults:
        return f"DIFFERS: {', '.join(faults)}"
    if link.is_input_match is None:
        return "its candles are not stored"
    return "matches" if link.differences is not None else "matches; made by other code or settings"
