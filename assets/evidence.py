"""What is known of the candles of a run beside the candles: read for the quality ledger."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.parameters import quality_limits
from autonama_dagster.analytics.aggregation import aggregate
from autonama_dagster.analytics.candles import Candles
from autonama_dagster.analytics.intervals import DAILY, INTERVALS
from autonama_dagster.analytics.quality import Evidence, judge
from autonama_dagster.analytics.quality_rules import (
    conflicting,
    forming,
    kept_out,
    missing_hours,
)
from autonama_dagster.analytics.run_windows import RunWindows, known_days
from autonama_dagster.schemas.market import SOURCES
from autonama_dagster.settings import Settings
from resources.candle_faults import candle_faults, other_versions
from resources.statements import Scope
from resources.warehouse import Warehouse


def judged(warehouse: Warehouse, settings: Settings, scope: Scope, run: RunWindows) -> pd.DataFrame:
    """Rows of `data_quality` of the scope's symbols and days, from their windows."""
    assert scope.first is not None and scope.last is not None  # noqa: S101, PT018
    first = scope.first - timedelta(days=settings.lookback - 1)
    beside = read_evidence(warehouse, scope.symbols or (), first, scope.last)
    limits = quality_limits(settings)
    return judge(run.candles, run.windows, run.known, beside, limits, settings.lookback)


def read_evidence(
    warehouse: Warehouse, symbols: Sequence[str], first: date, last: date
) -> dict[str, Evidence]:
    """Evidence of the symbols' days from `first` to `last`, from the tables."""
    hours = _hours(warehouse, symbols, first, last)
    return evidence(
        candle_faults(warehouse, symbols, first, last),
        _days_of_hours(hours),
        _others(warehouse, symbols, first, last),
        _counts(hours),
    )


def evidence(
    faults: pd.DataFrame,
    hours: Mapping[str, Candles] = MappingProxyType({}),
    others: Mapping[str, Mapping[str, Candles]] = MappingProxyType({}),
    hour_counts: Mapping[str, Mapping[int, int]] = MappingProxyType({}),
) -> dict[str, Evidence]:
    """Evidence by symbol.

    Parameters
    ----------
    faults
        Rows as `candle_faults` gives them.
    hours
        Daily candles made of hours, by symbol.
    others
        Other sources' candles, by source and symbol.
    hour_counts
        Hourly candles of each day whose hours are known, by symbol and day.
    """
    by_symbol = {str(s): rows for s, rows in faults.groupby("symbol")}
    found = {}
    for symbol in sorted({*by_symbol, *hours, *(s for of in others.values() for s in of)}):
        rows = by_symbol.get(symbol, faults.iloc[:0])
        by_kind = dict(iter(rows.groupby("kind")))
        none = rows.iloc[:0]
        findings = (
            *kept_out(by_kind.get("kept_out", none)),
            *forming(_by_day(by_kind.get("forming", none))),
            *conflicting(_by_day(by_kind.get("conflicting", none))),
            *missing_hours(hour_counts.get(symbol, {})),
        )
        versions = {source: of[symbol] for source, of in others.items() if symbol in of}
        found[symbol] = Evidence(findings, hours.get(symbol), versions)
    return found


def _by_day(rows: pd.DataFrame) -> dict[int, str]:
    return dict(zip(_numbers(rows).tolist(), rows["said"], strict=True))


def _hours(
    warehouse: Warehouse, symbols: Sequence[str], first: date, last: date
) -> dict[str, pd.DataFrame]:
    """Stored hours by symbol, of the days for which the exchange has answered.

    Where hours are missing then, the exchange has none: its daily candle is made of the others.
    """
    answered = warehouse.fetched_ranges("1h", symbols)
    if not answered:
        return {}
    frame = warehouse.read("ohlcv_1h", Scope(tuple(answered), first, last))
    by_symbol = {str(symbol): of for symbol, of in frame.groupby("symbol")}
    return {s: of[known_days(answered[s], _numbers(of), 1)] for s, of in by_symbol.items()}


def _days_of_hours(hours: Mapping[str, pd.DataFrame]) -> dict[str, Candles]:
    if not hours:
        return {}
    frame = pd.concat(hours.values(), ignore_index=True)
    return Candles.by_symbol(aggregate(frame, INTERVALS["1h"], DAILY, SOURCES))


def _counts(hours: Mapping[str, pd.DataFrame]) -> dict[str, dict[int, int]]:
    """How many hours each day has."""
    counted = {s: np.unique(_numbers(of), return_counts=True) for s, of in hours.items()}
    return {s: dict(zip(d.tolist(), n.tolist(), strict=True)) for s, (d, n) in counted.items()}


def _numbers(rows: pd.DataFrame) -> NDArray[np.int64]:
    return rows["date"].to_numpy().astype("datetime64[D]").astype(np.int64)


def _others(
    warehouse: Warehouse, symbols: Sequence[str], first: date, last: date
) -> dict[str, dict[str, Candles]]:
    """Candles of sources that were replaced by another's."""
    frame = other_versions(warehouse, symbols, first, last)
    return {str(source): Candles.by_symbol(of) for source, of in frame.groupby("source")}
