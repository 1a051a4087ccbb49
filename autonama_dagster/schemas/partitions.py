"""What a partition key says: a UTC day, a symbol, or both; and the tags of a run that name them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Final

SYMBOL_DIMENSION: Final = "symbol"
DATE_DIMENSION: Final = "date"
# Dagster's tags of a run of one partition, and of a range of them.
PARTITION_TAG: Final = "dagster/partition"
RANGE_START_TAG: Final = "dagster/asset_partition_range_start"
RANGE_END_TAG: Final = "dagster/asset_partition_range_end"


def key_of(day: date, symbol: str) -> str:
    """Partition key of one symbol and day, e.g. `2023-12-29|BTCUSDT`."""
    return f"{day.isoformat()}|{symbol}"


Rectangle = tuple[tuple[str, ...] | None, date | None, date | None]


def rectangle(keys: Iterable[str]) -> Rectangle:
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


def rectangle_of_run(tags: Mapping[str, str], registered: Sequence[str]) -> Rectangle:
    """Symbols and first and last day of a run by its tags; None for an absent dimension.

    A range of symbols holds those between its ends in the order of registration; ends that are not
    registered stand for themselves.
    """
    ends = [tags[tag] for tag in (RANGE_START_TAG, RANGE_END_TAG) if tag in tags]
    if not ends and PARTITION_TAG in tags:
        ends = [tags[PARTITION_TAG]]
    symbols, first, last = rectangle(ends)
    if symbols is not None:
        places = sorted(registered.index(s) for s in symbols if s in registered)
        symbols = tuple(registered[places[0] : places[-1] + 1]) if places else symbols
    return symbols, first, last


def _is_day(key: str) -> bool:
    try:
        datetime.strptime(key, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return False
    return True
