"""Counts that chance would bring: milliseconds of processor time, computed and from the cache.

What is computed is measured on windows whose hashes are known, as in a backfill; what is cached on
an embedded Postgres of its own.
"""

import argparse
import tempfile
from contextlib import closing
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np

from autonama_dagster.analytics.candles.hashing import Versions, market_hashes
from autonama_dagster.analytics.candles.windows import windows
from autonama_dagster.analytics.scan.chance import N_SURROGATES, pair_chances, signal_chances
from autonama_dagster.analytics.scan.channel import ChannelParams
from bench.channel_kernel import FIRST_DAY, market
from bench.report import report
from resources.postgres.migrate import migrate
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.warehouse.chance_cache import keep_chances, known_chances
from resources.warehouse.warehouse import Warehouse

DAYS = 24  # of 100 symbols: as much as a run of a backfill computes at once
TARGET_MS = 0.3
MADE = Versions("c" * 64, "bench")


def main() -> None:
    """Measure, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=DAYS, help=f"days (default: {DAYS})")
    parser.add_argument("--repeat", type=int, default=5, help="measurements of each (default: 5)")
    given = parser.parse_args()
    params = ChannelParams()
    candles = market(params.lookback)
    by_symbol = {c.symbol: c for c in candles}
    days = FIRST_DAY + params.lookback - 1 + np.arange(given.days)
    spans = [windows(c, days, params.lookback) for c in candles]
    hashes = [h for c, w in zip(candles, spans, strict=True) for h in market_hashes(c, w)]
    count = len(hashes)
    compute, pairs, write, read = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        server.start()
        server.ensure_database("bench")
        migrate(server.url("bench"))
        try:
            with closing(Warehouse(lambda: server.url("bench"))) as warehouse:
                for _ in range(given.repeat):
                    begun = process_time()
                    found = signal_chances(candles, spans, hashes, params)
                    compute.append(process_time() - begun)
                    begun = process_time()
                    pair_chances(list(by_symbol), by_symbol, int(days[0]), lookback=params.lookback)
                    pairs.append(process_time() - begun)
                    with warehouse.transaction() as cursor:
                        cursor.execute("DELETE FROM trading.signal_chance")
                    kept = found.rename(columns={"seed": "window_hash"})
                    begun = perf_counter()
                    keep_chances(warehouse, kept, MADE, N_SURROGATES)
                    write.append(perf_counter() - begun)
                    begun = perf_counter()
                    known_chances(warehouse, hashes, MADE)
                    read.append(perf_counter() - begun)
        finally:
            server.destroy()
    value = median(compute) / count * 1e3
    report(
        "chance",
        round(value, 4),
        "ms per symbol-day",
        target=TARGET_MS,
        met=value <= TARGET_MS,
        pairs_ms_per_day=round(median(pairs) * 1e3, 2),
        write_ms_per_symbol_day=round(median(write) / count * 1e3, 4),
        read_ms_per_symbol_day=round(median(read) / count * 1e3, 4),
        windows=count,
        members=len(candles),
        surrogates=N_SURROGATES,
        lookback=params.lookback,
        repeat=given.repeat,
    )


if __name__ == "__main__":
    main()
