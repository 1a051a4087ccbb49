"""How a backfill grows: the time per partition at 25, 50, 100 and 200 symbols over 180 days.

A new project's start (its database, Dagster, the worker processes) costs the same for any number of
symbols. It is part of the times; measured as the backfill of two symbols on one day and taken off,
it gives the times that are reported beside.
"""

import os

from bench.backfill import backfill
from bench.report import report

SYMBOLS = (25, 50, 100, 200)
DAYS = 180
TARGET = 1.2  # the longest time per partition over the shortest


def main() -> None:
    """Measure and print a line of JSON."""
    start = min(backfill(2, 1).seconds for _ in range(2))  # the first finds cold caches
    found = [backfill(symbols, DAYS) for symbols in SYMBOLS]
    per_partition = [m.seconds * 1000 / m.partitions for m in found]
    without_start = [(m.seconds - start) * 1000 / m.partitions for m in found]
    value = max(per_partition) / min(per_partition)
    report(
        "backfill_growth",
        round(value, 3),
        "x",
        target=TARGET,
        met=value <= TARGET,
        symbols=list(SYMBOLS),
        days=DAYS,
        ms_per_partition=[round(ms, 4) for ms in per_partition],
        ms_per_partition_without_start=[round(ms, 4) for ms in without_start],
        without_start=round(max(without_start) / min(without_start), 3),
        start_seconds=round(start, 1),
        seconds=[round(m.seconds, 1) for m in found],
        partitions=[m.partitions for m in found],
        cores=os.cpu_count(),
    )


if __name__ == "__main__":
    main()
