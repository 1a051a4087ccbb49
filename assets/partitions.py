"""How the tables are partitioned: by UTC day, by symbol, and by both."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import dagster as dg

SYMBOL_DIMENSION = "symbol"
DATE_DIMENSION = "date"
# Dagster's tags of a run of one partition, and of a range of them.
PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"


@dataclass(frozen=True)
class PartitionSet:
    """The three partitionings; assets of one job share one of them."""

    date: dg.DailyPartitionsDefinition
    symbol: dg.DynamicPartitionsDefinition
    date_symbol: dg.MultiPartitionsDefinition


def build_partitions(start_date: date) -> PartitionSet:
    """Partitions from `start_date` on; symbols are added as they become members."""
    daily = dg.DailyPartitionsDefinition(
        start_date=datetime.combine(start_date, datetime.min.time())
    )
    symbols = dg.DynamicPartitionsDefinition(name=SYMBOL_DIMENSION)
    both = dg.MultiPartitionsDefinition({DATE_DIMENSION: daily, SYMBOL_DIMENSION: symbols})
    return PartitionSet(daily, symbols, both)


def register(instance: dg.DagsterInstance, symbols: Sequence[str]) -> list[str]:
    """Make partitions of the symbols that are none yet; returns all in their lasting order."""
    known = set(instance.get_dynamic_partitions(SYMBOL_DIMENSION))
    if new := [s for s in symbols if s not in known]:
        instance.add_dynamic_partitions(SYMBOL_DIMENSION, new)
    return list(instance.get_dynamic_partitions(SYMBOL_DIMENSION))


def key_of(day: date, symbol: str) -> str:
    """Partition key of one symbol and day, e.g. `2023-12-29|BTCUSDT`."""
    return f"{day.isoformat()}|{symbol}"


def rectangle(keys: Iterable[str]) -> tuple[tuple[str, ...] | None, date | None, date | None]:
    """Symbols and first and last day of a run's partition keys; None for an absent dimension.

    Keys of one run form a rectangle of days and symbols, in no particular order.
    """
    days: set[str] = set()
    symbols: dict[str, None] = {}
    for key in keys:
        head, _, tail = key.rpartition("|")
        if head:
            days.add(head)
            symbols[tail] = None
        elif _is_day(tail):
            days.add(tail)
        else:
            symbols[tail] = None
    ordered = sorted(date.fromisoformat(d) for d in days)
    return (
        tuple(sorted(symbols)) or None,
        ordered[0] if ordered else None,
        ordered[-1] if ordered else None,
    )


def _is_day(key: str) -> bool:
    try:
        datetime.strptime(key, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return False
    return True
