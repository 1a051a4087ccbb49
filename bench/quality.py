"""The quality ledger: false alarms on recorded clean days, and the time it takes to judge.

A false alarm is a WARNING or ERROR on a day of a pair that has no listed fault: those of the list
of core symbols beside the recorded candles. Time is processor time, for 100 symbols with windows of
720 days: of 24 days, as many symbol-days as a run of a backfill has, and of one day, as a scan.
"""

import argparse
import os
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
import pandas as pd

from autonama_dagster.analytics.candles.candles import CANDLE_FLOATS, DAY_MS, Candles
from autonama_dagster.analytics.candles.windows import LOOKBACK_DAYS, windows
from autonama_dagster.analytics.scan.quality.quality import judge
from autonama_dagster.analytics.scan.quality.rules import QualityLimits
from bench.report import report

TARGET_PER_1000 = 1.0
TARGET_SECONDS = 0.1
FIRST, LAST = "2021-01-01", "2023-12-29"
SYMBOLS, RUN_DAYS = 100, 24


def recorded(path: Path) -> Candles:
    """Candles of a file; a quote volume that it lacks is estimated by the mean of the prices."""
    raw = pd.read_csv(path)
    mean = raw[["open", "high", "low", "close"]].mean(axis=1)
    raw["quote_volume"] = raw["quote_volume"].fillna(raw["volume"] * mean)
    hashes = np.array([f"{time:064x}" for time in raw["open_time"]], dtype="S64")
    day = raw["open_time"].to_numpy() // DAY_MS
    floats = [raw[name].to_numpy(np.float64) for name in CANDLE_FLOATS]
    return Candles(path.name.removesuffix(".csv.gz"), day, *floats, hashes)


def judged(
    candles: list[Candles], days: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> pd.DataFrame:
    """Rows of the ledger of every symbol and day."""
    asked = [windows(c, days, LOOKBACK_DAYS) for c in candles]
    known = [np.ones(len(days), dtype=bool)] * len(candles)
    return judge(candles, asked, known, {}, QualityLimits(), LOOKBACK_DAYS)


def seconds(candles: list[Candles], days: int, repeat: int) -> float:
    """Median processor time of judging the last days, from the candles that their windows need."""
    last = int(np.datetime64(LAST, "D").astype(np.int64))
    asked = np.arange(last - days + 1, last + 1)
    first = asked[0] - LOOKBACK_DAYS + 1
    needed = [c.part((c.day >= first) & (c.day <= last)) for c in candles]
    taken = []
    for _ in range(repeat):
        begun = process_time()
        judged(needed, asked)
        taken.append(process_time() - begun)
    return median(taken)


def main() -> None:
    """Measure and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7, help="measurements of each (default: 7)")
    repeat = parser.parse_args().repeat
    default = Path(__file__).resolve().parents[2] / "shared" / "market"
    folder = Path(os.environ.get("AUTONAMA_MARKET_DATA", default))
    listed = folder / f"CORE_SYMBOLS_{FIRST}_{LAST}_no_gap.txt"
    if not listed.is_file():
        raise SystemExit(f"no recorded candles at {folder}: set AUTONAMA_MARKET_DATA")
    names = listed.read_text(encoding="utf-8").split()
    candles = [recorded(folder / "klines" / "1d" / f"{name}.csv.gz") for name in names]
    days = np.arange(np.datetime64(FIRST), np.datetime64(LAST) + 1).astype(np.int64)
    frame = judged(candles, days)
    alarms = frame[frame["severity"].isin(["WARNING", "ERROR"])]
    value = 1000 * len(alarms) / len(frame)
    of_run = seconds(candles[:SYMBOLS], RUN_DAYS, repeat)
    report(
        "quality_false_alarms",
        round(value, 3),
        "per 1000 symbol-days",
        target=TARGET_PER_1000,
        met=value <= TARGET_PER_1000 and of_run <= TARGET_SECONDS,
        symbol_days=len(frame),
        alarms=len(alarms),
        by_rule=alarms["findings"].explode().value_counts().to_dict(),
        cpu_ms_of_2400_symbol_days=round(of_run * 1000, 1),
        cpu_ms_of_100_symbol_days=round(seconds(candles[:SYMBOLS], 1, repeat) * 1000, 1),
        repeat=repeat,
    )


if __name__ == "__main__":
    main()
