"""Writing `indicators` through the IO manager against a raw COPY of the same bytes.

All take turns, into tables of the same columns, primary key and index on one embedded server. The
IO manager gets the frame and the partition keys of an asset's run: it finds the scope, validates,
converts to Arrow, connects, deletes, copies and commits. The raw COPY sends bytes of the binary
format that are ready, on an open connection; so does the ingest, from an Arrow table that is ready,
by the driver the IO manager uses. The tables are empty before every measurement; writing over the
same rows, as a second run does, is measured apart.
"""

import argparse
import hashlib
import logging
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
from adbc_driver_postgresql import dbapi

from autonama_dagster.analytics.scan.indicators.indicators import INDICATORS
from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.schemas.partitions import key_of
from autonama_dagster.schemas.tables.analysis import INDICATORS_TABLE
from bench.report import report
from resources.io_manager import WarehouseIOManager
from resources.postgres.migrate import migrate
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.warehouse.frames import to_arrow
from resources.warehouse.warehouse import Warehouse

TARGET_PCT = 25
RAW = "indicators_raw"
CHUNK = 1 << 20
FIRST_DAY = "2022-01-09"
LARGEST = 1_000.0  # stands in for a bound an indicator does not have
NOW = pd.Timestamp("2024-01-01", tz="UTC").as_unit("us")


@dataclass
class Context:
    """What the IO manager asks of Dagster's output context in a run of a range."""

    asset_partition_keys: list[str]
    run_id: str = "run"
    asset_key: dg.AssetKey = field(default_factory=lambda: dg.AssetKey(INDICATORS_TABLE.name))
    has_asset_partitions: bool = True
    definition_metadata: None = None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("bench"))

    def add_output_metadata(self, metadata: dict[str, Any]) -> None:
        """Take what the IO manager says of the write."""


def indicator_frame(symbols: int, days: int) -> pd.DataFrame:
    """Rows as the asset returns them: random values within each indicator's bounds, none NULL."""
    rng = np.random.default_rng(20231229)
    count = symbols * days
    names = [f"S{number:03}USDT" for number in range(symbols)]
    dates = pd.date_range(FIRST_DAY, periods=days, unit="s")
    values = {
        i.name: rng.uniform(max(i.minimum, -LARGEST), min(i.maximum, LARGEST), count)
        for i in INDICATORS
    }
    return pd.DataFrame(
        {
            "symbol": pd.Series(np.repeat(names, days), dtype="str"),
            "date": np.tile(dates.to_numpy(), symbols),
            **values,
            "input_hash": [hashlib.sha256(b"%d" % n).hexdigest() for n in range(count)],
            "params_hash": "b" * 64,
            "code_version": "0.1.0",
            "result_hash": "c" * 64,
        }
    )


def io_manager_seconds(url: str, frame: pd.DataFrame) -> float:
    """Seconds of the IO manager for all rows."""
    manager = WarehouseIOManager(Warehouse(lambda: url))
    days = frame["date"].dt.date
    keys = [key_of(day, symbol) for day, symbol in zip(days, frame["symbol"], strict=True)]
    begun = perf_counter()
    manager.handle_output(Context(keys), frame)  # type: ignore[arg-type]
    return perf_counter() - begun


def ingest_seconds(url: str, rows: pa.Table) -> float:
    """Seconds of one transaction in which the driver does nothing but COPY."""
    with dbapi.connect(url) as connection, connection.cursor() as cursor:
        begun = perf_counter()
        cursor.adbc_ingest(RAW, rows, mode="append", db_schema_name=SCHEMA)
        connection.commit()
        return perf_counter() - begun


def copy_seconds(url: str, chunks: list[bytes]) -> float:
    """Seconds of one transaction that does nothing but COPY bytes."""
    with psycopg.connect(url) as connection:
        begun = perf_counter()
        with connection.cursor().copy(f"COPY {SCHEMA}.{RAW} FROM STDIN (FORMAT BINARY)") as copy:
            for chunk in chunks:
                copy.write(chunk)
        connection.commit()
        return perf_counter() - begun


def copied_bytes(url: str, rows: pa.Table) -> list[bytes]:
    """The rows in the binary format of COPY."""
    ingest_seconds(url, rows)
    query = f"COPY {SCHEMA}.{RAW} TO STDOUT (FORMAT BINARY)"
    with psycopg.connect(url) as connection, connection.cursor().copy(query) as copy:
        content = b"".join(bytes(part) for part in copy)
    return [content[at : at + CHUNK] for at in range(0, len(content), CHUNK)]


def empty(url: str) -> None:
    """Empty both tables, outside of what is measured."""
    with psycopg.connect(url) as connection:
        connection.execute(f"TRUNCATE {SCHEMA}.{INDICATORS_TABLE.name}, {SCHEMA}.{RAW}")


def measure(url: str, frame: pd.DataFrame, rows: pa.Table, repeat: int) -> dict[str, float]:
    """Median seconds of each way, after a first round that warms up."""
    chunks = copied_bytes(url, rows)
    ways = {
        "copy": lambda: copy_seconds(url, chunks),
        "ingest": lambda: ingest_seconds(url, rows),
        "io_manager": lambda: io_manager_seconds(url, frame),
    }
    taken: dict[str, list[float]] = {name: [] for name in (*ways, "io_manager_again")}
    for _ in range(repeat + 1):
        for name, seconds in ways.items():
            empty(url)
            taken[name].append(seconds())
        taken["io_manager_again"].append(io_manager_seconds(url, frame))
    return {name: median(seconds[1:]) for name, seconds in taken.items()}


def main() -> None:
    """Measure all in turns and print the ratio of their rows per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=100, help="symbols (default: 100)")
    parser.add_argument("--days", type=int, default=720, help="days (default: 720)")
    parser.add_argument("--repeat", type=int, default=7, help="measurements of each (default: 7)")
    given = parser.parse_args()
    frame = indicator_frame(given.symbols, given.days)
    rows = to_arrow(INDICATORS_TABLE, frame.assign(run_id="run", computed_at=NOW))
    with TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        try:
            server.start()
            server.ensure_database("bench")
            url = server.url("bench")
            migrate(url)
            with psycopg.connect(url) as connection:
                connection.execute(
                    f"CREATE TABLE {SCHEMA}.{RAW} "
                    f"(LIKE {SCHEMA}.{INDICATORS_TABLE.name} INCLUDING ALL)"
                )
            seconds = measure(url, frame, rows, given.repeat)
        finally:
            server.destroy()
    value = seconds["copy"] / seconds["io_manager"] * 100
    report(
        "write_indicators",
        round(value, 1),
        "% of raw COPY's rows/s",
        target=TARGET_PCT,
        met=value >= TARGET_PCT,
        again_pct=round(seconds["copy"] / seconds["io_manager_again"] * 100, 1),
        pct_of_ingest=round(seconds["ingest"] / seconds["io_manager"] * 100, 1),
        rows_per_second={name: round(rows.num_rows / taken) for name, taken in seconds.items()},
        seconds={name: round(taken, 3) for name, taken in seconds.items()},
        rows=rows.num_rows,
        megabytes=round(rows.nbytes / 1e6, 1),
        symbols=given.symbols,
        days=given.days,
        repeat=given.repeat,
    )


if __name__ == "__main__":
    main()
