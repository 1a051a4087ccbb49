"""What is known of the candles of a run beside the candles: read for the quality ledger."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from types import MappingProxyType

import pandas as pd

from autonama_dagster.analytics.candles.aggregation import aggregate
from autonama_dagster.analytics.candles.candles import Candles, day_numbers
from autonama_dagster.analytics.candles.intervals import DAILY, INTERVALS
from autonama_dagster.analytics.candles.run_windows import known_rows
from autonama_dagster.analytics.scan.quality.beside import (
    conflicting,
    copied,
    forming,
    kept_out,
    missing_hours,
)
from autonama_dagster.analytics.scan.quality.quality import Evidence
from autonama_dagster.services.inputs.longer_candles import read_parts
from autonama_dagster.text.sources import SOURCES
from resources.warehouse.candle_faults import candle_faults, other_versions
from resources.warehouse.candle_queries import fetched_ranges
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse


def read_evidence(
    warehouse: Warehouse, symbols: Sequence[str], first: date, last: date
) -> dict[str, Evidence]:
    """Evidence of the symbols' days from `first` to `last`, from the tables."""
    hours, counts = _hours(warehouse, symbols, first, last)
    return evidence(
        candle_faults(warehouse, symbols, first, last),
        hours,
        _others(warehouse, symbols, first, last),
        counts,
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
            *copied(
                {d: sorted(t.split()) for d, t in _by_day(by_kind.get("copied", none)).items()}
            ),
            *missing_hours(hour_counts.get(symbol, {})),
        )
        versions = {source: of[symbol] for source, of in others.items() if symbol in of}
        found[symbol] = Evidence(findings, hours.get(symbol), versions)
    return found


def with_copies(
    known: Mapping[str, Evidence], copies: Mapping[str, Mapping[int, Sequence[str]]]
) -> dict[str, Evidence]:
    """Evidence, with the candles that pairs have in common where it does not know of them yet."""
    found = dict(known)
    for symbol, days in copies.items():
        of = found.get(symbol, Evidence())
        told = {f.day for f in of.findings if f.rule == "copied"}
        new = copied({day: names for day, names in days.items() if day not in told})
        found[symbol] = replace(of, findings=(*of.findings, *new))
    return found


def _by_day(rows: pd.DataFrame) -> dict[int, str]:
    return dict(zip(day_numbers(rows).tolist(), rows["said"], strict=True))


def _hours(
    warehouse: Warehouse, symbols: Sequence[str], first: date, last: date
) -> tuple[dict[str, Candles], dict[str, Counter[int]]]:
    """Daily candles of the stored hours and how many they are made of, where there was an answer.

    Where hours are missing then, the exchange has none: its daily candle is made of the others.
    """
    answered = fetched_ranges(warehouse, "1h", symbols)
    if not answered:
        return {}, {}
    frame = read_parts(warehouse, "1h", Scope(tuple(answered), first, last))
    hours = frame[known_rows(frame, answered, 1)]
    made = Candles.by_symbol(aggregate(hours, INTERVALS["1h"], DAILY, SOURCES))
    counts = {str(s): Counter(day_numbers(of).tolist()) for s, of in hours.groupby("symbol")}
    return made, counts


def _others(
    warehouse: Warehouse, symbols: Sequence[str], first: date, last: date
) -> dict[str, dict[str, Candles]]:
    """Candles of sources that were replaced by another's."""
    frame = other_versions(warehouse, symbols, first, last)
    return {str(source): Candles.by_symbol(of) for source, of in frame.groupby("source")}
