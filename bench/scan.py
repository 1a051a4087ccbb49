"""The daily scan: a cold one on an empty project, then the next day's on the same database.

The candles come from a replay exchange in a process of its own, which has parsed them before the
clock starts. Every repetition begins with an empty project folder, whose embedded server the cold
scan has to make and start itself. Seconds are from process start to exit; the memory is the
largest resident set of the scan's own process, without the servers.
"""

import argparse
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any
from urllib.request import urlopen

from bench.command import PROGRAM, environment
from bench.report import report
from resources.postgres.server.embedded import EmbeddedPostgres

COLD_TARGET_S = 120
PEAK_TARGET_GB = 1.5
NEXT_DAY_TARGET_S = 25
COLD_DAY = date(2023, 12, 28)
NEXT_DAY = date(2023, 12, 29)
START_DATE = COLD_DAY - timedelta(days=365)
NOW = "2023-12-30T00:05:00Z"
SEED = 7
KILOBYTES_PER_GB = 1e6  # Linux counts ru_maxrss in kilobytes


@dataclass(frozen=True)
class Scan:
    """One scan's process, and the document it exported."""

    seconds: float
    peak_gb: float
    result: dict[str, Any]


def recorded_candles() -> Path | None:
    """Folder of recorded candles; None where there is none beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "market"
    folder = Path(os.environ.get("AUTONAMA_MARKET_DATA", beside)) / "klines"
    return folder if folder.is_dir() else None


@contextmanager
def replay_exchange(candles: Path | None, home: Path) -> Iterator[str]:
    """URL of a running replay exchange that has read all its candles."""
    market = ["--data", candles] if candles else ["--synthetic", str(SEED)]
    process = subprocess.Popen(
        [PROGRAM, "replay", "serve", *market, "--now", NOW, "--port", "0"],
        env=environment(home),
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            words = process.stdout.readline().split() if process.stdout else []
            if "on" not in words:
                raise SystemExit("the replay exchange did not start")
            url = words[words.index("on") + 1]
            read_all(url)
            yield url
        finally:
            process.terminate()


def read_all(url: str) -> None:
    """Ask for every symbol's candles once: files are parsed when they are first asked for."""
    with urlopen(f"{url}/api/v3/exchangeInfo") as answer:
        symbols = [entry["symbol"] for entry in json.load(answer)["symbols"]]
    for symbol in symbols:
        with urlopen(f"{url}/api/v3/klines?symbol={symbol}&interval=1d&limit=1000") as answer:
            answer.read()


def scan(day: date, home: Path, settings: dict[str, str]) -> Scan:
    """Run `autonama scan` for a day; its progress goes to standard error."""
    begun = perf_counter()
    process = subprocess.Popen(
        [PROGRAM, "scan", "--date", day.isoformat()],
        env=environment(home, **settings),
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)  # the usage of this one child
    seconds = perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the scan of {day} ended with exit code {process.returncode}")
    document = max((home / "results").glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    result = json.loads(document.read_text(encoding="utf-8"))
    return Scan(seconds, usage.ru_maxrss / KILOBYTES_PER_GB, result)


def scan_two_days(settings: dict[str, str]) -> tuple[Scan, Scan]:
    """Scan both days in a new project, and remove it with its server."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        try:
            return scan(COLD_DAY, home, settings), scan(NEXT_DAY, home, settings)
        finally:
            EmbeddedPostgres(home).destroy()


def measured(scans: Sequence[Scan], lookback: int) -> dict[str, Any]:
    """What was scanned, and what it took."""
    result = scans[0].result
    return {
        "seconds": [round(s.seconds, 2) for s in scans],
        "peak_memory_gb": round(median(s.peak_gb for s in scans), 3),
        "day": result["date"],
        "symbols": len(result["signals"]),
        "lookback": lookback,
        "start_date": START_DATE.isoformat(),
        "candles": result["source"],
        "repeat": len(scans),
    }


def main() -> None:
    """Measure and print a line for the cold scan and one for the next day's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=100, help="members (default: 100)")
    parser.add_argument("--lookback", type=int, default=720, help="days (default: 720)")
    parser.add_argument("--repeat", type=int, default=2, help="pairs of scans (default: 2)")
    parser.add_argument("--synthetic", action="store_true", help="made-up candles in any case")
    given = parser.parse_args()
    candles = None if given.synthetic else recorded_candles()
    with TemporaryDirectory() as folder, replay_exchange(candles, Path(folder)) as url:
        settings = {
            "exchange_url": url,
            "start_date": START_DATE.isoformat(),
            "universe_size": given.symbols,
            "lookback": given.lookback,
        }
        cold, following = zip(*(scan_two_days(settings) for _ in range(given.repeat)), strict=True)
    value = median(s.seconds for s in cold)
    peak = median(s.peak_gb for s in cold)
    report(
        "cold_scan",
        round(value, 2),
        "s",
        target=COLD_TARGET_S,
        met=value <= COLD_TARGET_S and peak <= PEAK_TARGET_GB,
        peak_memory_target_gb=PEAK_TARGET_GB,
        **measured(cold, given.lookback),
    )
    value = median(s.seconds for s in following)
    report(
        "next_day_scan",
        round(value, 2),
        "s",
        target=NEXT_DAY_TARGET_S,
        met=value <= NEXT_DAY_TARGET_S,
        **measured(following, given.lookback),
    )


if __name__ == "__main__":
    main()
