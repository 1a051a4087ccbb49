"""How a backfill grows: the time per partition at 25, 50, 100 and 200 symbols over 180 days.

A new project's start (its database, Dagster, the worker processes) costs the same for any number of
symbols. It is part of the times; measured as the backfill of two symbols on one day and taken off,
it gives the times that are reported beside.

The small ones take half a minute, in which other work of the machine shows most: they are measured
between the large ones, and the median counts.
"""

import os
from statistics import median

from bench.backfill import Measured, backfill
from bench.report import report

ORDER = (25, 50, 100, 25, 50, 200, 25, 50)
DAYS = 180
TARGET = 1.2  # the longest time per partition over the shortest


def main() -> None:
    """Measure and print a line of JSON."""
    start = min(backfill(2, 1).seconds for _ in range(2))  # the first finds cold caches
    found: dict[int, list[Measured]] = {}
    for symbols in ORDER:
        found.setdefault(symbols, []).append(backfill(symbols, DAYS))
    seconds = {symbols: median(m.seconds for m in some) for symbols, some in found.items()}
    partitions = {symbols: some[0].partitions for symbols, some in found.items()}
    per_partition = [seconds[n] * 1000 / partitions[n] for n in found]
    without_start = [(seconds[n] - start) * 1000 / partitions[n] for n in found]
    value = max(per_partition) / min(per_partition)
    report(
        "backfill_growth",
        round(value, 3),
        "x",
        target=TARGET,
        met=value <= TARGET,
        symbols=list(found),
        days=DAYS,
        ms_per_partition=[round(ms, 4) for ms in per_partition],
        ms_per_partition_without_start=[round(ms, 4) for ms in without_start],
        without_start=round(max(without_start) / min(without_start), 3),
        start_seconds=round(start, 1),
        seconds=[[round(m.seconds, 1) for m in some] for some in found.values()],
        partitions=list(partitions.values()),
        cores=os.cpu_count(),
    )


if __name__ == "__main__":
    main()
