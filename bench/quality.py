"""The quality ledger: false alarms on recorded clean days, planted faults, and the time it takes.

A false alarm is a WARNING or ERROR on a day of a pair that has no listed fault: those of the list
of core symbols beside the recorded candles. Each kind of fault of `bench.planting` is planted in so
many of these symbol-days, one at a time, of those with all columns; it is found if the ledger has a
finding on its day, or on the day that shows it, that it has not without the fault. Time is
processor time, for 100 symbols with windows of 720 days: of 24 days, as many symbol-days as a run
of a backfill has, and of one day, as a scan.
"""

import argparse
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from time import process_time
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from autonama_dagster.analytics.candles.candles import DAY_MS, NUMBERS, Candles
from autonama_dagster.analytics.candles.windows import LOOKBACK_DAYS, windows
from autonama_dagster.analytics.scan.quality.quality import Evidence, judge
from autonama_dagster.analytics.scan.quality.rules import QualityLimits
from bench.planting import FAULTS
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
    is_whole = raw["count"].notna()
    return Candles(
        symbol=path.name.removesuffix(".csv.gz"),
        day=raw["open_time"].to_numpy() // DAY_MS,
        **{name: raw[name].to_numpy(np.float64) for name in NUMBERS},
        row_hash=np.array([f"{time:064x}" for time in raw["open_time"]], dtype="S64"),
        trades=raw["count"].fillna(0).to_numpy(np.int64),
        source=np.where(is_whole, b"binance", b"replay-recorded"),
    )


def judged(
    candles: list[Candles],
    days: np.ndarray[tuple[int], np.dtype[np.int64]],
    evidence: Mapping[str, Evidence] = MappingProxyType({}),
) -> pd.DataFrame:
    """Rows of the ledger of every symbol and day."""
    asked = [windows(c, days, LOOKBACK_DAYS) for c in candles]
    known = [np.ones(len(days), dtype=bool)] * len(candles)
    return judge(candles, asked, known, evidence, QualityLimits(), LOOKBACK_DAYS)


def bad(frame: pd.DataFrame) -> set[tuple[pd.Timestamp, str]]:
    """Days and rules of the findings worse than INFO."""
    return {
        (date, rule)
        for date, details in zip(frame["date"], frame["details"], strict=True)
        for rule, found in json.loads(details if isinstance(details, str) else "{}").items()
        if found["severity"] in ("WARNING", "ERROR")
    }


def planted(candles: list[Candles], count: int, seed: int) -> dict[str, dict[str, Any]]:
    """By kind of fault: how often it was planted and found, and by which rules."""
    rng = random.Random(seed)
    first, last = (int(np.datetime64(d, "D").astype(np.int64)) for d in (FIRST, LAST))
    result: dict[str, dict[str, Any]] = {}
    for fault in FAULTS:
        rules: Counter[str] = Counter()
        found = 0
        for _ in range(count):
            series = rng.choice(candles)
            at = rng.choice(
                np.flatnonzero(
                    (series.day >= first) & (series.day < last - 60) & (series.trades > 0)
                ).tolist()
            )
            spoiled = fault.plant(series, at)
            asked = int(series.day[at]) + np.arange(fault.shows + 1)
            evidence = {series.symbol: spoiled.evidence}
            new = bad(judged([spoiled.candles], asked, evidence)) - bad(judged([series], asked))
            rules.update({rule for _, rule in new})
            found += bool(new)
        result[fault.name] = {"found": found, "planted": count, "rules": dict(rules)}
    return result


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
    parser.add_argument(
        "--plant", type=int, default=30, help="how often each fault is planted (default: 30)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of where they are planted")
    options = parser.parse_args()
    repeat = options.repeat
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
    faults = planted(candles, options.plant, options.seed)
    for name, of in faults.items():
        print(f"{of['found']:3} of {of['planted']} {name}: {of['rules']}", file=sys.stderr)
    rates = {name: of["found"] / of["planted"] for name, of in faults.items()}
    of_run = seconds(candles[:SYMBOLS], RUN_DAYS, repeat)
    report(
        "quality_false_alarms",
        round(value, 3),
        "per 1000 symbol-days",
        target=TARGET_PER_1000,
        met=value <= TARGET_PER_1000 and of_run <= TARGET_SECONDS and all(rates.values()),
        symbol_days=len(frame),
        alarms=len(alarms),
        by_rule=alarms["findings"].explode().value_counts().to_dict(),
        kinds_planted=len(rates),
        kinds_found=sum(rate > 0 for rate in rates.values()),
        planted_of_each=options.plant,
        not_always_found={name: round(rate, 2) for name, rate in rates.items() if rate < 1},
        cpu_ms_of_2400_symbol_days=round(of_run * 1000, 1),
        cpu_ms_of_100_symbol_days=round(seconds(candles[:SYMBOLS], 1, repeat) * 1000, 1),
        repeat=repeat,
    )


if __name__ == "__main__":
    main()
