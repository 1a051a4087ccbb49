"""Loading a year of hourly candles into `ohlcv_1h` through the warehouse, and reading a window.

Each write is one symbol's year: checked against the model, converted, written and committed in a
transaction of its own, as a stage's rows are. A read is the window of 720 hours of one symbol,
spread over all symbols, on an open connection, after the server has analysed the table.
"""

import argparse
import hashlib
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import pandas as pd
import psycopg

from autonama_dagster.analytics.candles.candles import FACTS, Candles
from autonama_dagster.analytics.candles.intervals import INTERVALS
from autonama_dagster.schemas.base import SCHEMA
from bench.report import report
from resources.postgres.migrate import migrate
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch, Warehouse

TARGET_ROWS_PER_S = 100_000
TARGET_READ_MS = 50
TABLE = "ohlcv_1h"
WINDOW_HOURS = 720
FIRST = date(2023, 1, 1)
NOW = pd.Timestamp("2024-01-01 00:05", tz="UTC").as_unit("us")
COLUMNS = ("symbol", "date", "open_time", *FACTS)


def symbol_name(number: int) -> str:
    """A name of the length of real ones."""
    return f"S{number:03}USDT"


def candle_frame(number: int, days: int) -> pd.DataFrame:
    """Hourly candles of one symbol, a random walk, as a stage hands them over."""
    rng = np.random.default_rng(number)
    count = 24 * days
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, count)))
    opened = np.roll(close, 1)
    times = pd.date_range(FIRST.isoformat(), periods=count, freq="h", tz="UTC", unit="us")
    volume = rng.lognormal(5, 1, count)
    return pd.DataFrame(
        {
            "symbol": pd.Series([symbol_name(number)] * count, dtype="str"),
            "date": times.tz_localize(None).normalize().as_unit("s"),
            "open_time": times,
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) * 0.999,
            "close": close,
            "volume": volume,
            "quote_volume": volume * close,
            "trades": rng.integers(1, 10_000, count),
            "taker_buy_volume": volume / 2,
            "taker_buy_quote_volume": volume * close / 2,
            "row_hash": pd.Series(
                [hashlib.sha256(b"%d,%d" % (number, n)).hexdigest() for n in range(count)],
                dtype="str",
            ),
            "raw": pd.Series(
                [
                    f"{a:.8f},{a:.8f},{a:.8f},{b:.8f},{v:.8f},{v * b:.8f},7,{v:.8f},{v:.8f}"
                    for a, b, v in zip(opened, close, volume, strict=True)
                ],
                dtype="str",
            ),
            "source": pd.Series(["synthetic"] * count, dtype="str"),
            "exchange": pd.Series(["binance"] * count, dtype="str"),
            "fetched_at": pd.Series([NOW] * count),
        }
    )


def load(warehouse: Warehouse, symbols: int, days: int) -> list[float]:
    """Seconds of each symbol's write."""
    taken = []
    last = FIRST + timedelta(days=days - 1)
    for number in range(symbols):
        batch = Batch(candle_frame(number, days))
        scope = Scope((symbol_name(number),), FIRST, last)
        begun = perf_counter()
        warehouse.write(TABLE, batch, scope, {"run_id": "run", "computed_at": NOW})
        taken.append(perf_counter() - begun)
    return taken


def read(warehouse: Warehouse, symbols: int, days: int, repeat: int) -> list[float]:
    """Seconds of each window's read, the first of them left out: it connects."""
    last = FIRST + timedelta(days=days - 1)
    first = last - timedelta(days=WINDOW_HOURS // 24 - 1)
    taken = []
    for number in np.linspace(0, symbols - 1, repeat + 1).astype(int).tolist():
        name = symbol_name(number)
        begun = perf_counter()
        frame = warehouse.read(TABLE, Scope((name,), first, last), COLUMNS)
        found = Candles.by_symbol(frame, INTERVALS["1h"])[name]
        taken.append(perf_counter() - begun)
        if len(found) != min(WINDOW_HOURS, 24 * days):
            raise SystemExit(f"{name}: {len(found)} candles read, {WINDOW_HOURS} wanted")
    return taken[1:]


def main() -> None:
    """Load, read, and print both figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=500, help="symbols (default: 500)")
    parser.add_argument("--days", type=int, default=365, help="days (default: 365)")
    parser.add_argument("--repeat", type=int, default=21, help="windows read (default: 21)")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        try:
            server.start()
            server.ensure_database("bench")
            url = server.url("bench")
            migrate(url)
            warehouse = Warehouse(lambda: url)
            writes = load(warehouse, given.symbols, given.days)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(f"ANALYZE {SCHEMA}.{TABLE}")
            reads = read(warehouse, given.symbols, given.days, given.repeat)
            warehouse.close()
        finally:
            server.destroy()
    rows = given.symbols * given.days * 24
    rate, read_ms = rows / sum(writes), median(reads) * 1000
    report(
        "hourly",
        round(rate),
        "rows/s loaded",
        target=TARGET_ROWS_PER_S,
        met=rate >= TARGET_ROWS_PER_S and read_ms <= TARGET_READ_MS,
        read_ms=round(read_ms, 1),
        read_target_ms=TARGET_READ_MS,
        slowest_read_ms=round(max(reads) * 1000, 1),
        load_seconds=round(sum(writes), 1),
        write_ms={"median": round(median(writes) * 1000, 1), "max": round(max(writes) * 1000, 1)},
        rows=rows,
        symbols=given.symbols,
        days=given.days,
        window_hours=WINDOW_HOURS,
        repeat=given.repeat,
    )


if __name__ == "__main__":
    main()
