"""How a backfill grows: the time per partition at 25, 50, 100 and 200 symbols over 180 days."""

import os

from bench.backfill import backfill
from bench.report import report

SYMBOLS = (25, 50, 100, 200)
DAYS = 180
TARGET = 1.2  # the longest time per partition over the shortest


def main() -> None:
    """Measure and print a line of JSON."""
    found = [backfill(symbols, DAYS) for symbols in SYMBOLS]
    per_partition = [round(m.ms_per_partition, 4) for m in found]
    value = max(per_partition) / min(per_partition)
    report(
        "backfill_growth",
        round(value, 3),
        "x",
        target=TARGET,
        met=value <= TARGET,
        symbols=list(SYMBOLS),
        days=DAYS,
        ms_per_partition=per_partition,
        seconds=[round(m.seconds, 1) for m in found],
        partitions=[m.partitions for m in found],
        cores=os.cpu_count(),
    )


if __name__ == "__main__":
    main()
