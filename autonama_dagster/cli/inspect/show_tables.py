"""Rows of the project's tables on a terminal: which columns, in which order."""

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

ELSEWHERE = "use --format csv"
MOST_ROWS = 1000
_TOP = 25  # pairs of a correlation matrix, which has thousands
_ALERT_COLUMNS = (
    "symbol", "signal", "signal_strength", "current_price", "confirmations", "potential_return",
    "lower_band", "upper_band", "risk_level", "status",
)  # fmt: skip
_PAIR_COLUMNS = ("symbol_a", "symbol_b", "pearson", "spearman", "residual_pearson", "n_obs")
_BEHIND = {
    "row_hash", "input_hash", "params_hash", "code_version", "run_id", "computed_at",
    "created_at", "updated_at", "analysis_date",
}  # fmt: skip


def print_rows(
    console: Screen, of: Table, frame: pd.DataFrame, what: str, days: str, *, is_range: bool
) -> None:
    """Rows of a table under a title; `days` are those that it shows, more than one in a range."""
    is_many = "date" in frame and is_range
    title = f"{what.capitalize() if what in {'signals', 'alerts'} else what} of {days}"
    if of.name == "correlation_matrix":
        frame = frame.loc[frame["pearson"].abs().sort_values(ascending=False).index]
        title = f"{len(frame):,} pairs of {days}"
        if len(frame) > _TOP:
            title += f"; the {_TOP} most correlated"
            frame = frame.head(_TOP)
    elif of.name in {"signals", "alerts"}:
        frame = _ranked(frame)
    if len(frame) > MOST_ROWS:
        title += f": the first {MOST_ROWS:,} of {len(frame):,} rows; --format csv has all"
        frame = frame.head(MOST_ROWS)
    names = _names(of)
    if is_many:
        names = [names[0], "date", *(n for n in names[1:] if n != "date")]
    else:
        names = [n for n in names if n != "date"] or names
    moments = frame[names].select_dtypes("datetimetz").columns
    shown = frame[names].assign(**{c: frame[c].dt.strftime("%Y-%m-%d %H:%M:%S") for c in moments})
    plain = pd.DataFrame(plain_records(shown), columns=names, dtype=object)
    if of.name in {"signals", "alerts"}:
        print_signals(console, plain, title, ELSEWHERE, names)
        return
    columns = [column_of(name, plain[name].tolist()) for name in names]
    print_table(console, columns, title, ELSEWHERE)


def print_summaries(console: Screen, frame: pd.DataFrame) -> None:
    """Each day's summary: its figures, then its correlations."""
    for i in range(len(frame)):
        found = plain_summary(frame.iloc[[i]])
        print_figures(console, {n: v for n, v in found.items() if n not in _BEHIND})
        print_correlation(console, found["correlation_analysis"])


def _names(of: Table) -> list[str]:
    if of.name == "signals":
        return list(SIGNAL_COLUMNS)
    if of.name == "alerts":
        return list(_ALERT_COLUMNS)
    if of.name == "correlation_matrix":
        return list(_PAIR_COLUMNS)
    return [c for c in of.columns if c not in _BEHIND and of.sql_type(c) != "jsonb"]


def _ranked(frame: pd.DataFrame) -> pd.DataFrame:
    """The strongest first, day by day."""
    if "is_member" in frame:
        frame = by_strength(frame)
    else:
        frame = frame.sort_values(["signal_strength", "symbol"], ascending=[False, True])
    return frame.sort_values("date", kind="stable").reset_index(drop=True)
