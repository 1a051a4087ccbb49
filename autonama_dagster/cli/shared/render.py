"""Results as tables on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd

from autonama_dagster.analytics.scan.signals import CONFIRMATIONS
from autonama_dagster.cli.shared.screen import Screen
from autonama_dagster.cli.shared.tables import Column, print_table
from autonama_dagster.services.scan.results import ScanResult
from autonama_dagster.text.labels import CONFIRMATION_WORDS, counted, label

MOST_WITH_HOLD: Final = 20  # of so many symbols all are shown, of more only BUY and SELL
_COLOURS = {"BUY": "green", "SELL": "red", "HOLD": "dim"}
SYNTHETIC_NOTE = "SYNTHETIC MARKET: these candles are made up; no number here describes a real coin"
_LONGEST_LIST: Final = 10
_MARKS: Final = ("✓", "✗")  # a confirmation agrees with the signal, or speaks against it

# The columns of a signal, those that matter most first.
SIGNAL_COLUMNS = (
    "symbol", "signal", "signal_strength", "z_score", "close", "confirmations", "lower_band",
    "upper_band", "band_width_pct", "target_return_pct", "risk_level", "volatility_level", "trend",
)  # fmt: skip
_FORMS = {
    "signal_strength": "{:.0f}",
    "z_score": "{:+.2f}",
    "pearson": "{:+.3f}",
    "spearman": "{:+.3f}",
    "residual_pearson": "{:+.3f}",
    "mean_pearson": "{:+.3f}",
    "median_pearson": "{:+.3f}",
    **dict.fromkeys(
        (
            "expected_buy_signals",
            "expected_sell_signals",
            "expected_high_correlations",
            "expected_linked_pairs",
        ),
        "{:.1f}",
    ),
}


def print_result(console: Screen, result: ScanResult, *, with_correlation: bool) -> None:
    """The signals table, the counts, and what went wrong."""
    if result.source == "synthetic":
        console.print(SYNTHETIC_NOTE, style="bold yellow")
    signals = result.signals
    shown = signals if len(signals) <= MOST_WITH_HOLD else signals[signals["signal"] != "HOLD"]
    what = "stored" if result.stored else "what-if, not stored"
    title = f"Signals of {_moment(result)} ({what}; source {result.source})"
    if shown.empty:
        console.say(f"{title}: no BUY or SELL")
    else:
        print_signals(console, shown, title, "see the CSV file")
    _print_counts(console, result)
    if with_correlation and result.summary:
        print_correlation(console, result.summary["correlation_analysis"], result.interval)
        _print_expected_pairs(console, result.summary)
    if result.failed:
        more = ", ..." if len(result.failed) > _LONGEST_LIST else ""
        names = ", ".join(result.failed[:_LONGEST_LIST]) + more
        text = f"{counted(len(result.failed), 'symbol')} could not be fetched: {names}; "
        text += f"scan again to retry; first error: {result.refusal}"
        console.say((text, "yellow"))


def _moment(result: ScanResult) -> str:
    """What was scanned: a day, or the candle of another interval that closed last by its end."""
    if result.candle_opens is None:
        return f"{result.day}"
    return f"{result.day}, {result.interval} candle of {result.candle_opens:%Y-%m-%d %H:%M} UTC"


def print_signals(
    console: Screen,
    signals: pd.DataFrame,
    title: str,
    elsewhere: str,
    names: Sequence[str] = SIGNAL_COLUMNS,
) -> None:
    """Rows of `signals` or `alerts` as a table, and what the marks of confirmations mean."""
    rows = signals.to_dict("records")
    columns = [_signal_column(console, name, rows) for name in names]
    shown = print_table(console, columns, title, elsewhere)
    is_marked = any(row["confirmations"] and row["signal"] != "HOLD" for row in rows)
    if is_marked and "confirmations" in shown and console.can_show("".join(_MARKS)):
        legend = "confirmations: {} agree with the signal, {} oppose it".format(*_MARKS)
        console.print(legend, style="dim")


def _signal_column(console: Screen, name: str, rows: Sequence[Mapping[Any, Any]]) -> Column:
    if name == "confirmations":
        cells = [_confirmations(console, row) for row in rows]
        return Column(label(name), cells, is_long=True)
    found = column_of(name, [row[name] for row in rows])
    if name != "signal":
        return found
    return Column(found.title, found.cells, [_COLOURS.get(c, "") for c in found.cells])


def _confirmations(console: Screen, row: Mapping[Any, Any]) -> str:
    """What agrees with a signal, apart from what speaks against it; of HOLD all that was found."""
    found, signal = list(row["confirmations"]), row["signal"]
    if signal == "HOLD":
        return ", ".join(found) or "-"
    agreeing = [name for name in found if signal in CONFIRMATIONS.get(name, ())]
    marks = _MARKS if console.can_show("".join(_MARKS)) else ("for:", "against:")
    sides = zip(marks, (agreeing, [n for n in found if n not in agreeing]), strict=True)
    lines = [f"{mark} {', '.join(map(_word, names))}" for mark, names in sides if names]
    return "  ".join(lines) or "-"


def _word(confirmation: str) -> str:
    return CONFIRMATION_WORDS.get(confirmation, confirmation)


def print_correlation(console: Screen, analysis: dict[str, Any], interval: str = "1d") -> None:
    """The short form of the day's correlations."""
    what = "daily log returns over 90 days" if interval == "1d" else f"90 {interval} log returns"
    console.say(f"Correlations of {what}, between members:")
    print_figures(console, analysis, "  ")
    for name, value in analysis.items():
        if isinstance(value, list) and value:
            print_records(console, value, label(name))


def print_figures(console: Screen, figures: Mapping[str, Any], before: str = "") -> None:
    """Each figure on a line of its own; lists and documents are left out."""
    for name, value in figures.items():
        if not isinstance(value, list | dict):
            console.say(f"{before}{label(name)}: {column_of(name, [value]).cells[0]}")


def print_records(
    console: Screen, records: Sequence[Mapping[str, Any]], title: str, elsewhere: str = ""
) -> None:
    """Any records as a table."""
    # Names first: JSON from the database has its keys in an order of its own.
    names = sorted(records[0], key=lambda name: not name.startswith("symbol"))
    columns = [column_of(name, [record[name] for record in records]) for name in names]
    print_table(console, columns, title, elsewhere)


def column_of(name: str, values: Sequence[Any]) -> Column:
    """A column of values as people read them."""
    known = [value for value in values if value is not None]
    is_number = bool(known) and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in known
    )
    form = _FORMS.get(name, "{:.1f}" if label(name).endswith("%") else None)
    cells = [number(v, form) if form and is_number else _cell(v) for v in values]
    is_long = any(isinstance(v, list) for v in known)
    return Column(label(name), cells, is_number=is_number, is_long=is_long)


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


def _print_counts(console: Screen, result: ScanResult) -> None:
    found = result.summary
    if not found:
        return
    parts = [
        f"{found['total_assets_analyzed']} analysed",
        f"{found['buy_signals']} BUY{_expected(found['expected_buy_signals'])}",
        f"{found['sell_signals']} SELL{_expected(found['expected_sell_signals'])}",
        f"{found['hold_signals']} HOLD",
        f"{found['insufficient_data']} with insufficient data",
        f"{found['no_data']} without data",
    ]
    if found["quarantined"]:
        parts.append(f"{found['quarantined']} quarantined")
    if result.quarantined:
        parts.append(f"{counted(result.quarantined, 'candle')} quarantined")
    console.say("; ".join(parts))


def _print_expected_pairs(console: Screen, found: Mapping[str, Any]) -> None:
    high, linked = found["expected_high_correlations"], found["expected_linked_pairs"]
    if high is not None:
        console.say(
            f"Expected by chance if members were independent: {high:.1f} high correlations, "
            f"{linked:.1f} linked pairs"
        )


def _expected(count: float | None) -> str:
    """What chance would bring beside what there is; nothing where it is unknown."""
    return "" if count is None else f" ({count:.1f} expected by chance)"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return price(value)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return text(value)
