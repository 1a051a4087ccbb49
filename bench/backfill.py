"""A backfill of every daily asset from an empty project, candles included, by the command line.

The candles come from a replay exchange that knows exactly the symbols asked for. Seconds are from
process start to exit. The memory is that of the program and its worker processes together, sampled
twice a second, pages they share counted in each; the servers are not in it.
"""

import argparse
import gzip
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import psutil

from autonama_dagster.analytics.scan.universe import load_exclusions
from bench.command import PROGRAM, environment
from bench.report import report
from bench.scan import recorded_candles, replay_exchange
from resources.postgres.server.embedded import EmbeddedPostgres

LAST_DAY = date(2023, 12, 29)
TARGET_S = 15 * 60
PEAK_TARGET_GB = 2.0
SAMPLE_S = 0.5


@dataclass(frozen=True)
class Measured:
    """One backfill."""

    symbols: int
    days: int
    seconds: float
    peak_gb: float
    partitions: int


@contextmanager
def market(count: int) -> Iterator[Path]:
    """Folder of `count` recorded symbols, the ones with the most candles up to the last day."""
    recorded = recorded_candles()
    if recorded is None:
        raise SystemExit("no recorded candles: set AUTONAMA_MARKET_DATA")
    lists = load_exclusions()
    left_out = {f"{base}USDT" for base in (*lists.stable, *lists.fiat)}
    files = [f for f in recorded.glob("1d/*USDT.csv.gz") if f.name.split(".")[0] not in left_out]
    files.sort(key=lambda f: (-_candles(f), f.name))
    with TemporaryDirectory() as folder:
        target = Path(folder) / "1d"
        target.mkdir()
        for file in files[:count]:
            (target / file.name).symlink_to(file)
        yield Path(folder)


def _candles(file: Path) -> int:
    """Candles up to the last day, for symbols that trade on it; 0 for others."""
    end = int(datetime.combine(LAST_DAY, datetime.min.time(), UTC).timestamp() * 1000)
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        next(lines)
        opened = [int(line.split(",", 1)[0]) for line in lines]
    until = [t for t in opened if t <= end]
    return len(until) if until and end - until[-1] < 86_400_000 else 0


@contextmanager
def filled(symbols: int, days: int) -> Iterator[tuple[Measured, dict[str, str]]]:
    """Fill `days` days of `symbols` symbols in a new project; its environment, as long as it is."""
    first = LAST_DAY - timedelta(days=days - 1)
    with (
        market(symbols) as candles,
        TemporaryDirectory() as folder,
        replay_exchange(candles, Path(folder)) as url,
    ):
        home = Path(folder)
        settings = environment(
            home, exchange_url=url, start_date=first.isoformat(), universe_size=symbols
        )
        begun = perf_counter()
        command = [PROGRAM, "backfill", "--from", first.isoformat(), "--to", LAST_DAY.isoformat()]
        process = subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, text=True)
        try:
            peak = _watched(process.pid)
            told = process.communicate()[0]
            seconds = perf_counter() - begun
            if process.returncode:
                raise SystemExit(f"the backfill ended with exit code {process.returncode}")
            partitions = int(told.split(":")[1].split()[0].replace(",", ""))
            yield Measured(symbols, days, seconds, peak, partitions), settings
        finally:
            EmbeddedPostgres(home).destroy()


def backfill(symbols: int, days: int) -> Measured:
    """Fill `days` days of `symbols` symbols in a new project."""
    with filled(symbols, days) as (found, _):
        return found


def _watched(pid: int) -> float:
    """Wait for the process and give the most memory that it and its workers had at once, in GB."""
    peak = 0
    parent = psutil.Process(pid)
    with suppress(psutil.NoSuchProcess):
        while parent.status() != psutil.STATUS_ZOMBIE:
            family = [parent, *parent.children(recursive=True)]
            now = 0
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    if not process.name().startswith(("postgres", "initdb")):
                        now += process.memory_info().rss
            peak = max(peak, now)
            time.sleep(SAMPLE_S)
    return peak / 1e9


def main() -> None:
    """Measure and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=100, help="symbols (default: 100)")
    parser.add_argument("--days", type=int, default=720, help="days (default: 720)")
    given = parser.parse_args()
    found = backfill(given.symbols, given.days)
    report(
        "backfill",
        round(found.seconds, 1),
        "s",
        target=TARGET_S,
        met=found.seconds <= TARGET_S and found.peak_gb <= PEAK_TARGET_GB,
        peak_memory_gb=round(found.peak_gb, 3),
        peak_memory_target_gb=PEAK_TARGET_GB,
        symbols=found.symbols,
        days=found.days,
        partitions=found.partitions,
        ms_per_partition=round(found.seconds * 1000 / found.partitions, 4),
        cores=os.cpu_count(),
    )


if __name__ == "__main__":
    main()
