"""What is known of the candles of a run beside the candles: read for the quality ledger."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from types import MappingProxyType

import numpy as np
import pandas as pd

from assets.parameters import quality_limits
from autonama_dagster.analytics.aggregation import aggregate
from autonama_dagster.analytics.candles import Candles
from autonama_dagster.analytics.intervals import DAILY, INTERVALS
from autonama_dagster.analytics.quality import Evidence, judge
from autonama_dagster.analytics.quality_rules import conflicting, forming, kept_out
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
    return evidence(
        candle_faults(warehouse, symbols, first, last),
        _hours(warehouse, symbols, first, last),
        _others(warehouse, symbols, first, last),
    )


def evidence(
    faults: pd.DataFrame,
    hours: Mapping[str, Candles] = MappingProxyType({}),
    others: Mapping[str, Mapping[str, Candles]] = MappingProxyType({}),
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
        )
        versions = {source: of[symbol] for source, of in others.items() if symbol in of}
        found[symbol] = Evidence(findings, hours.get(symbol), versions)
    return found


def _by_day(rows: pd.DataFrame) -> dict[int, str]:
    days = rows["date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    return dict(zip(days.tolist(), rows["said"], strict=True))


def _hours(
    warehouse: Warehouse, symbols: Sequence[str], first: date, last: date
) -> dict[str, Candles]:
    """Daily candles of the stored hours, of the days for which the exchange has answered.

    Where hours are missing then, the exchange has none: its daily candle is made of the others.
    """
    answered = warehouse.fetched_ranges("1h", symbols)
    if not answered:
        return {}
    frame = warehouse.read("ohlcv_1h", Scope(tuple(answered), first, last))
    made = Candles.by_symbol(aggregate(frame, INTERVALS["1h"], DAILY, SOURCES))
    return {s: c.part(known_days(answered[s], c.day, 1)) for s, c in made.items()}


def _others(
    warehouse: Warehouse, symbols: Sequence[str], first: date, last: date
) -> dict[str, dict[str, Candles]]:
    """Candles of sources that were replaced by another's."""
    frame = other_versions(warehouse, symbols, first, last)
    return {str(source): Candles.by_symbol(of) for source, of in frame.groupby("source")}
