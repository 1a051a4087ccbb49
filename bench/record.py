"""What keeping a record of the candles costs: revisions, and the hashes that rows carry.

Candles are written with and without the revisions' statement, in turns: into an empty scope, the
same again, and with one in a hundred changed. The hashing is that of a backfill, in seconds of the
processor: the exchange's strings of every candle, the digest of every candle and the hash of every
window in each stage that makes them, and the hash of every pair. `value` is the share of both in
the time of a backfill, as if it ran on one core; that time is an option, because measuring it takes
minutes (see `bench.backfill`).
"""

import argparse
from itertools import combinations
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from unittest.mock import patch

import numpy as np
import pandas as pd

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.hashing import combine, window_hashes
from autonama_dagster.analytics.candles.klines import raw_kline, row_hash
from autonama_dagster.analytics.candles.windows import windows
from bench.report import report
from resources.postgres.migrate import migrate
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.warehouse import statements
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch, Warehouse

TARGET_PCT = 10
FIRST_DAY = pd.Timestamp("2022-01-09")
SYMBOLS = 100
LOOKBACK = 720
DAYS_OF_A_RUN = 24  # of a backfill of 100 symbols
BACKFILL_S = 288.0
STAMPS = {"run_id": "run", "computed_at": pd.Timestamp("2024-01-01", tz="UTC").as_unit("us")}


def candles(days: int, candles_a_day: int, salt: int = 0, every: int = 1) -> pd.DataFrame:
    """Hourly candles of all symbols; every n-th has another hash for another salt."""
    opens = pd.date_range(FIRST_DAY, periods=days * candles_a_day, freq="h", tz="UTC", unit="us")
    count = len(opens) * SYMBOLS
    numbers = np.arange(count)
    salted = np.where(numbers % every == 0, salt, 0)
    times = np.tile(opens, SYMBOLS)
    price = 100.0 + numbers % 7
    frame = pd.DataFrame(
        {
            "symbol": np.repeat([f"S{n:03}USDT" for n in range(SYMBOLS)], len(opens)),
            "date": pd.Series(times).dt.tz_localize(None).dt.floor("D").dt.as_unit("s"),
            "open_time": times,
            **dict.fromkeys(("open", "high", "low", "close"), price),
            **dict.fromkeys(("volume", "quote_volume"), 5.0),
            "trades": 3,
            **dict.fromkeys(("taker_buy_volume", "taker_buy_quote_volume"), 1.0),
            "row_hash": [f"{s:032x}{n:032x}" for s, n in zip(salted, numbers, strict=True)],
            "raw": None,
            "source": "binance",
            "exchange": "binance",
            "fetched_at": STAMPS["computed_at"],
        }
    )
    return frame.astype(dict.fromkeys(("symbol", "row_hash", "raw", "source", "exchange"), "str"))


def writes(warehouse: Warehouse, days: int, candles_a_day: int, repeat: int) -> dict[str, float]:
    """Median milliseconds of each kind of write, with and without revisions."""
    last = FIRST_DAY + pd.Timedelta(days=days - 1)
    scope = Scope(None, FIRST_DAY.date(), last.date())
    plain = Batch(candles(days, candles_a_day))
    taken: dict[str, list[float]] = {}
    for number in range(repeat):
        changed = Batch(candles(days, candles_a_day, salt=number + 1, every=100))
        for way in ("with", "without"):
            with warehouse.transaction() as cursor:
                cursor.execute("TRUNCATE trading.ohlcv_1h, trading.ohlcv_1h_revisions")
            kept = {} if way == "without" else statements.REVISIONS
            with patch.object(statements, "REVISIONS", kept):
                for kind, batch in (("first", plain), ("again", plain), ("changed", changed)):
                    begun = perf_counter()
                    warehouse.write("ohlcv_1h", batch, scope, STAMPS)
                    taken.setdefault(f"{kind}_{way}_ms", []).append(perf_counter() - begun)
    return {kind: round(median(values) * 1000, 1) for kind, values in taken.items()}


def hashing(days: int) -> dict[str, float]:
    """Processor seconds for a run's candles and windows, a day's pairs, 1,000 new candles."""
    count = days + LOOKBACK - 1
    first = np.datetime64("2022-01-01").astype("datetime64[D]").astype(np.int64)
    day = np.arange(first, first + count)
    price = np.full(count, 100.0)
    hashes = np.array([f"{n:064x}" for n in range(count)], dtype="S64")
    digests = in_windows = 0.0
    for number in range(SYMBOLS):
        begun = process_time()
        made = Candles(f"S{number}", day, price, price, price, price, price, price, hashes)
        digests += process_time() - begun
        found = windows(made, day[-days:], LOOKBACK)
        begun = process_time()
        window_hashes(made, found)
        in_windows += process_time() - begun
    begun = process_time()
    for _ in combinations(range(SYMBOLS), 2):
        combine("a" * 64, "b" * 64, "c" * 64)
    pairs = process_time() - begun
    line = ["1704067200000", *["42283.58000000"] * 4, "27174.29903000", "1704153599999", *["1"] * 5]
    candle = raw_kline(line)
    begun = process_time()
    for _ in range(1000):
        row_hash(candle)
    return {
        "digests": digests,
        "windows": in_windows,
        "pairs": pairs,
        "thousand": process_time() - begun,
    }


def main() -> None:
    """Measure and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=24, help="days written (default: 24)")
    parser.add_argument("--backfill-days", type=int, default=720, help="days of the backfill")
    parser.add_argument(
        "--backfill-seconds", type=float, default=BACKFILL_S, help="that the share is of"
    )
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        server.start()
        try:
            server.ensure_database("record")
            url = server.url("record")
            migrate(url)
            warehouse = Warehouse(lambda: url)
            found = writes(warehouse, given.days, 24, given.repeat)
            warehouse.close()
        finally:
            server.destroy()
    hashed = hashing(DAYS_OF_A_RUN)
    # In each run five stages read the candles of the windows, and four of them hash the windows.
    # Candles come for the ranking and to be stored; they are written once and counted as if all
    # were there already.
    runs = given.backfill_days / DAYS_OF_A_RUN
    written = SYMBOLS * (given.backfill_days + LOOKBACK - 1)
    revisions = max(0.0, found["again_with_ms"] - found["again_without_ms"]) / 1000
    rows = SYMBOLS * given.days * 24
    seconds = (
        revisions * written / rows
        + runs * (5 * hashed["digests"] + 4 * hashed["windows"])
        + given.backfill_days * hashed["pairs"]
        + 2 * written / 1000 * hashed["thousand"]
    )
    share = 100 * seconds / given.backfill_seconds
    report(
        "record",
        round(share, 2),
        "%",
        target=TARGET_PCT,
        met=share <= TARGET_PCT,
        rows=rows,
        **found,
        digests_of_a_run_ms=round(1000 * hashed["digests"], 1),
        window_hashes_of_a_run_ms=round(1000 * hashed["windows"], 1),
        pair_hashes_of_a_day_ms=round(1000 * hashed["pairs"], 1),
        seconds=round(seconds, 2),
        backfill_s=given.backfill_seconds,
        backfill_days=given.backfill_days,
        repeat=given.repeat,
    )


if __name__ == "__main__":
    main()
