"""Results as tables on a terminal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from autonama_dagster.results import ScanResult

PIPE_WIDTH = 200
FEW = 20  # so many symbols are all shown, HOLD included
_COLOURS = {"BUY": "green", "SELL": "red", "HOLD": "dim"}
SYNTHETIC_NOTE = "SYNTHETIC MARKET: these candles are made up; no number here is about a real coin"


@dataclass(frozen=True)
class _Column:
    """A column of the signals table, and the least width of a console that shows it."""

    title: str
    needs_width: int
    cell: Callable[[Mapping[Any, Any]], str]
    is_number: bool = True


_COLUMNS = (
    _Column("symbol", 0, lambda r: str(r["symbol"]), is_number=False),
    _Column("signal", 0, lambda r: f"[{_COLOURS[r['signal']]}]{r['signal']}[/]", is_number=False),
    _Column("strength", 0, lambda r: f"{r['signal_strength']:.0f}"),
    _Column("z", 0, lambda r: number(r["z_score"], "{:+.2f}")),
    _Column("close", 0, lambda r: price(r["close"])),
    _Column("lower", 80, lambda r: price(r["lower_band"])),
    _Column("upper", 80, lambda r: price(r["upper_band"])),
    _Column("width %", 110, lambda r: number(r["band_width_pct"], "{:.1f}")),
    _Column("to far edge %", 110, lambda r: number(r["target_return_pct"], "{:.1f}")),
    _Column("risk", 110, lambda r: text(r["risk_level"]), is_number=False),
    _Column("volatility", 150, lambda r: text(r["volatility_level"]), is_number=False),
    _Column("trend", 150, lambda r: text(r["trend"]), is_number=False),
    _Column("confirmations", 150, lambda r: ", ".join(r["confirmations"]) or "-", is_number=False),
)


def stdout_console() -> Console:
    """Standard output; a pipe has no width, so that tables keep all their columns there."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def print_result(console: Console, result: ScanResult, *, with_correlation: bool) -> None:
    """The signals table, the counts, and what went wrong."""
    if result.source == "synthetic":
        console.print(SYNTHETIC_NOTE, style="bold yellow")
    signals = result.signals
    shown = signals if len(signals) <= FEW else signals[signals["signal"] != "HOLD"]
    what = "stored" if result.stored else "what-if, not stored"
    title = f"Signals of {_moment(result)} ({what}; source {result.source})"
    if shown.empty:
        console.print(f"{title}: no BUY and no SELL", highlight=False)
    else:
        print_signals(console, shown, title)
    _print_counts(console, result)
    if with_correlation and result.summary:
        print_correlation(console, result.summary["correlation_analysis"], result.interval)
        _print_expected_pairs(console, result.summary)
    if result.failed:
        names = ", ".join(result.failed[:10]) + (", ..." if len(result.failed) > 10 else "")  # noqa: PLR2004
        console.print(
            f"{len(result.failed)} symbols could not be fetched: {names}; scan again to retry",
            style="yellow",
        )


def _moment(result: ScanResult) -> str:
    """What was scanned: a day, or the candle of another interval that closed last by its end."""
    if result.candle_opens is None:
        return f"{result.day}"
    return f"{result.day}, {result.interval} candle of {result.candle_opens:%Y-%m-%d %H:%M} UTC"


def print_signals(console: Console, signals: pd.DataFrame, title: str) -> None:
    """Rows of `signals` as a table; a narrow console shows the columns that matter most."""
    chosen = [c for c in _COLUMNS if console.width >= c.needs_width]
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in chosen:
        table.add_column(
            column.title,
            justify="right" if column.is_number else "left",
            no_wrap=column.title != "confirmations",
        )
    for row in signals.to_dict("records"):
        table.add_row(*(column.cell(row) for column in chosen))
    console.print(table)


def print_correlation(console: Console, analysis: dict[str, Any], interval: str = "1d") -> None:
    """The short form of the day's correlations."""
    what = "daily log returns over 90 days" if interval == "1d" else f"90 {interval} log returns"
    console.print(f"Correlations of {what}, between members:", highlight=False)
    for name, value in analysis.items():
        if not isinstance(value, list | dict):
            shown = f"{value:.3f}" if isinstance(value, float) else value
            console.print(f"  {name.replace('_', ' ')}: {shown}", highlight=False)
    for name, value in analysis.items():
        if isinstance(value, list) and value:
            print_records(console, value, name.replace("_", " "))


def print_records(console: Console, records: Sequence[dict[str, Any]], title: str) -> None:
    """Any records as a table."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    # Names first: JSON from the database has its keys in an order of its own.
    names = sorted(records[0], key=lambda name: not name.startswith("symbol"))
    for name in names:
        is_number = isinstance(records[0][name], int | float)
        table.add_column(name.replace("_", " "), justify="right" if is_number else "left")
    for record in records:
        table.add_row(*(_cell(record[name]) for name in names))
    console.print(table)


def price(value: Any) -> str:
    """A price with as many digits as it needs."""
    if value is None or pd.isna(value):
        return "-"
    return f"{value:,.2f}" if abs(value) >= 1000 else f"{value:.5g}"  # noqa: PLR2004


def number(value: Any, form: str) -> str:
    """A number in the given form, or a dash."""
    return "-" if value is None or pd.isna(value) else form.format(value)


def text(value: Any) -> str:
    """A word, or a dash."""
    return "-" if value is None or pd.isna(value) else str(value)


def _print_counts(console: Console, result: ScanResult) -> None:
    found = result.summary
    if not found:
        return
    parts = [
        f"{found['total_assets_analyzed']} analysed",
        f"{found['buy_signals']} BUY{_expected(found['expected_buy_signals'])}",
        f"{found['sell_signals']} SELL{_expected(found['expected_sell_signals'])}",
        f"{found['hold_signals']} HOLD",
        f"{found['insufficient_data']} with too little data",
        f"{found['no_data']} without data",
    ]
    if found["quarantined"]:
        parts.append(f"{found['quarantined']} quarantined")
    if result.quarantined:
        parts.append(f"{result.quarantined} candles quarantined")
    console.print("; ".join(parts), highlight=False)


def _print_expected_pairs(console: Console, found: Mapping[str, Any]) -> None:
    high, linked = found["expected_high_correlations"], found["expected_linked_pairs"]
    if high is not None:
        console.print(
            f"If members had nothing in common, chance would bring {high:.1f} high correlations "
            f"and {linked:.1f} linked pairs",
            highlight=False,
        )


def _expected(count: float | None) -> str:
    """What chance would bring beside what there is; nothing where it is unknown."""
    return "" if count is None else f" ({count:.1f} expected by chance)"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return price(value)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return text(value)
