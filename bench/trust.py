"""Stored rows proved, and one of them explained: `autonama verify` and `autonama explain`.

On a backfill of every daily asset, by the command line, process start included. `value` is the time
of `verify --all`: all rows of all analytic tables, each made from data cut at its day and from data
extended past it. The tables by date are among them: of 100 members 4,950 pairs a day, fifty times
as many rows as any other table has; `of_symbols_s` is without these.
"""

import argparse
import json
import os
import subprocess
from statistics import median
from time import perf_counter

from autonama_dagster.services.inputs.parameters import OF_DAYS
from bench.backfill import LAST_DAY, filled
from bench.command import PROGRAM
from bench.report import report

VERIFY_TARGET_S = 60
EXPLAIN_TARGET_S = 2


def timed(environment: dict[str, str], *arguments: str) -> tuple[float, str]:
    """Seconds of the program, and what it printed."""
    begun = perf_counter()
    completed = subprocess.run(
        [PROGRAM, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    seconds = perf_counter() - begun
    if completed.returncode:
        raise SystemExit(f"autonama {' '.join(arguments)}: exit code {completed.returncode}")
    return seconds, completed.stdout


def main() -> None:
    """Measure and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=100, help="symbols (default: 100)")
    parser.add_argument("--days", type=int, default=720, help="days (default: 720)")
    parser.add_argument("--repeat", type=int, default=5, help="runs of explain (default: 5)")
    given = parser.parse_args()
    with filled(given.symbols, given.days) as (made, environment):
        everything, text = timed(environment, "verify", "--all", "--format", "json")
        rows = {table["table"]: table["rows"] for table in json.loads(text)["tables"]}
        query = ("show", "signals", "--date", LAST_DAY.isoformat(), "--format", "json")
        names = [row["symbol"] for row in json.loads(timed(environment, *query)[1])]
        of_symbols, _ = timed(environment, "verify", "--all", "--symbols", ",".join(names))
        one_day, _ = timed(environment, "verify")
        explained = {
            form: median(
                timed(environment, "explain", names[0], "--format", form)[0]
                for _ in range(given.repeat)
            )
            for form in ("text", "json", "png")
        }
    report(
        "trust",
        round(everything, 1),
        "s",
        target=VERIFY_TARGET_S,
        met=everything <= VERIFY_TARGET_S and max(explained.values()) <= EXPLAIN_TARGET_S,
        rows=sum(rows.values()),
        rows_per_s=round(sum(rows.values()) / everything),
        of_symbols_s=round(of_symbols, 1),
        of_symbols_rows=sum(n for table, n in rows.items() if table not in OF_DAYS),
        one_day_s=round(one_day, 2),
        **{f"explain_{form}_s": round(seconds, 2) for form, seconds in explained.items()},
        explain_target_s=EXPLAIN_TARGET_S,
        backfill_s=round(made.seconds, 1),
        backfill_peak_gb=round(made.peak_gb, 3),
        symbols=given.symbols,
        days=given.days,
        repeat=given.repeat,
        cores=os.cpu_count(),
    )


if __name__ == "__main__":
    main()
