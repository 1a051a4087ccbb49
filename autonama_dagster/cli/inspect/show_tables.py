"""Rows of the project's tables on a terminal: which columns, in which order."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import pandas as pd

from autonama_dagster.cli.shared.render import (
    SIGNAL_COLUMNS,
    column_of,
    print_correlation,
    print_figures,
    print_signals,
)
from autonama_dagster.cli.shared.screen import Screen
from autonama_dagster.cli.shared.tables import print_table
from autonama_dagster.schemas.base import Table
from autonama_dagster.services.scan.results import by_strength, plain_records, plain_summary
from autonama_dagster.text.labels import counted

ELSEWHERE = "use --format csv"
MOST_ROWS = 1000
_TOP = 25  # pairs of a correlation matrix, which has thousands
_ALERT_COLUMNS = (
    "symbol", "signal", "signal_strength", "current_price", "confirmations", "potential_return",
    "lower_band", "upper_band", "risk_level", "status",
)  # fmt: skip
_PAIR_COLUMNS = ("symbol_a", "symbol_b", "pearson", "spearman", "residual_pearson", "n_obs")
_BEHIND = {
    "row_hash", "raw", "input_hash", "params_hash", "code_version", "result_hash", "run_id",
    "computed_at", "created_at", "updated_at", "analysis_date",
}  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """Rows of a table that are to be shown.

    Attributes
    ----------
    of
        The table.
    frame
        Its rows, one or more.
    days
        The days that they are of, in words.
    is_range
        Whether these are several days.
    """

    of: Table
    frame: pd.DataFrame
    days: str
    is_range: bool


def print_shown(console: Screen, shown: Shown) -> None:
    """Rows of any table, in the form that suits it."""
    _PRINTERS.get(shown.of.name, _print_rows)(console, shown)


def _print_rows(console: Screen, shown: Shown) -> None:
    names = [c for c in shown.of.columns if c not in _BEHIND and shown.of.sql_type(c) != "jsonb"]
    title = f"{shown.of.name} of {shown.days}"
    _print_columns(console, *_fitting(shown, shown.frame, names, title))


def _print_signals(console: Screen, shown: Shown) -> None:
    names = list(SIGNAL_COLUMNS if shown.of.name == "signals" else _ALERT_COLUMNS)
    title = f"{shown.of.name.capitalize()} of {shown.days}"
    plain, title = _fitting(shown, _ranked(shown.frame), names, title)
    print_signals(console, plain, title, ELSEWHERE, list(plain.columns))


def _print_pairs(console: Screen, shown: Shown) -> None:
    frame = shown.frame
    frame = frame.loc[frame["pearson"].abs().sort_values(ascending=False).index]
    title = f"{counted(len(frame), 'pair')} of {shown.days}"
    if len(frame) > _TOP:
        title += f"; the {_TOP} most correlated"
        frame = frame.head(_TOP)
    _print_columns(console, *_fitting(shown, frame, list(_PAIR_COLUMNS), title))


def _print_summaries(console: Screen, shown: Shown) -> None:
    """Each day's summary: its figures, then its correlations."""
    for i in range(len(shown.frame)):
        found = plain_summary(shown.frame.iloc[[i]])
        print_figures(console, {n: v for n, v in found.items() if n not in _BEHIND})
        print_correlation(console, found["correlation_analysis"])


_PRINTERS: Final[Mapping[str, Callable[[Screen, Shown], None]]] = {
    "signals": _print_signals,
    "alerts": _print_signals,
    "correlation_matrix": _print_pairs,
    "analysis_summary": _print_summaries,
}


def _fitting(
    shown: Shown, frame: pd.DataFrame, names: list[str], title: str
) -> tuple[pd.DataFrame, str]:
    """As many rows as fit, plain values of these columns, and the title, which says if some do not.

    The day stands second if there are several, and nowhere if there is one.
    """
    if len(frame) > MOST_ROWS:
        title += f": the first {MOST_ROWS:,} of {len(frame):,} rows; --format csv has all"
        frame = frame.head(MOST_ROWS)
    if "date" in frame and shown.is_range:
        names = [names[0], "date", *(n for n in names[1:] if n != "date")]
    else:
        names = [n for n in names if n != "date"] or names
    moments = frame[names].select_dtypes("datetimetz").columns
    texts = frame[names].assign(**{c: frame[c].dt.strftime("%Y-%m-%d %H:%M:%S") for c in moments})
    return pd.DataFrame(plain_records(texts), columns=names, dtype=object), title


def _print_columns(console: Screen, plain: pd.DataFrame, title: str) -> None:
    columns = [column_of(name, plain[name].tolist()) for name in plain.columns]
    print_table(console, columns, title, ELSEWHERE)


def _ranked(frame: pd.DataFrame) -> pd.DataFrame:
    """The strongest first, day by day."""
    if "is_member" in frame:
        frame = by_strength(frame)
    else:
        frame = frame.sort_values(["signal_strength", "symbol"], ascending=[False, True])
    return frame.sort_values("date", kind="stable").reset_index(drop=True)
