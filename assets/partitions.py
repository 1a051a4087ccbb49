"""How the tables are partitioned: by UTC day, by symbol, and by both."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import dagster as dg

from autonama_dagster.schemas.partitions import DATE_DIMENSION, SYMBOL_DIMENSION


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
