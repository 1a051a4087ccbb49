"""Results as tables on a terminal."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from autonama_dagster.results import ScanResult

_COLOURS = {"BUY": "green", "SELL": "red", "HOLD": "dim"}
SYNTHETIC_NOTE = "SYNTHETIC MARKET: these candles are made up; no number here is about a real coin"


def print_result(console: Console, result: ScanResult, *, with_correlation: bool) -> None:
    """The signals table, the counts, and what went wrong."""
    if result.source == "synthetic":
        console.print(SYNTHETIC_NOTE, style="bold yellow")
    acting = result.signals[result.signals["signal"] != "HOLD"]
    what = "stored" if result.stored else "what-if, not stored"
    title = f"Signals of {result.day} ({what}; source {result.source})"
    if acting.empty:
        console.print(f"{title}: every symbol is inside its channel")
    else:
        print_signals(console, acting, title)
    _print_counts(console, result)
    if with_correlation and result.summary:
        print_correlation(console, result.summary["correlation_analysis"])
    if result.failed:
        names = ", ".join(result.failed[:10]) + (", ..." if len(result.failed) > 10 else "")  # noqa: PLR2004
        console.print(
            f"{len(result.failed)} symbols could not be fetched: {names}; scan again to retry",
            style="yellow",
        )


def print_signals(console: Console, signals: pd.DataFrame, title: str) -> None:
    """Rows of `signals` as a table."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name in ("symbol", "signal", "strength", "z", "close", "lower", "upper"):
        table.add_column(name, justify="left" if name in {"symbol", "signal"} else "right")
    for name in ("width %", "to far edge %", "risk", "volatility", "trend", "confirmations"):
        table.add_column(name, justify="right" if "%" in name else "left")
    rows: list[dict[str, Any]] = signals.to_dict("records")
    for row in rows:
        table.add_row(
            row["symbol"],
            f"[{_COLOURS[row['signal']]}]{row['signal']}[/]",
            f"{row['signal_strength']:.0f}",
            number(row["z_score"], "{:+.2f}"),
            price(row["close"]),
            price(row["lower_band"]),
            price(row["upper_band"]),
            number(row["band_width_pct"], "{:.1f}"),
            number(row["target_return_pct"], "{:.1f}"),
            text(row["risk_level"]),
            text(row["volatility_level"]),
            text(row["trend"]),
            ", ".join(row["confirmations"]) or "-",
        )
    console.print(table)


def print_correlation(console: Console, analysis: dict[str, Any]) -> None:
    """The short form of the day's correlations."""
    console.print("Correlations of daily log returns over 90 days, between members:")
    for name, value in analysis.items():
        if not isinstance(value, list | dict):
            shown = f"{value:.3f}" if isinstance(value, float) else value
            console.print(f"  {name.replace('_', ' ')}: {shown}", highlight=False)
    for name, value in analysis.items():
        if isinstance(value, list) and value:
            print_records(console, value, name.replace("_", " "))


def print_records(console: Console, records: Sequence[dict[str, Any]], title: str) -> None:
    """Any records as a table."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name in records[0]:
        table.add_column(name.replace("_", " "))
    for record in records:
        table.add_row(*(_cell(v) for v in record.values()))
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
        f"{found['buy_signals']} BUY",
        f"{found['sell_signals']} SELL",
        f"{found['hold_signals']} HOLD",
        f"{found['insufficient_data']} with too little data",
        f"{found['no_data']} without data",
    ]
    if result.quarantined:
        parts.append(f"{result.quarantined} candles quarantined")
    console.print("; ".join(parts), highlight=False)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return price(value)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return text(value)
