"""Runs benchmarks, each in a process of its own, and passes on the line of JSON each prints.

Progress and the load of the machine go to standard error. A missed target is a result; only a
benchmark that fails to measure makes the exit code 1, and `canaries`, `crash` or `spoiled` where
something did not hold.
"""

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

EPILOG = """examples:
  python -m bench                              the short ones, about twenty minutes
  python -m bench scan kernel                  only these
  python -m bench bookkeeping --full           the whole rectangle, 10 to 25 minutes
  python -m bench.scan --repeat 1 --synthetic  one of them with its own options
  python -m bench.crash --kills 10             kills at random moments, tables compared
  python -m bench 2> progress.txt > results.jsonl
"""


@dataclass(frozen=True)
class Benchmark:
    """A module that measures, and what makes it measure the full size where the default does not.

    The default sizes of every module are those of the targets, but for the stock event log storage
    in `bookkeeping`, which needs a quarter of an hour for 30 days. One that is not run by default
    takes longer than all the others together.
    """

    module: str
    measures: str
    full: tuple[str, ...] = ()
    by_default: bool = True


BENCHMARKS = {
    "scan": Benchmark("scan", "cold scan and the next day's: seconds, peak memory"),
    "kernel": Benchmark("channel_kernel", "all channels against a numpy.polyfit loop"),
    "chance": Benchmark("chance", "counts expected by chance: ms per symbol-day and per day"),
    "write": Benchmark("write_indicators", "writing indicators against raw COPY"),
    "bookkeeping": Benchmark(
        "bookkeeping",
        "range runs, our event log storage against the stock one",
        full=("--stock-days", "30", "--repeat", "1"),
    ),
    "backfill": Benchmark(
        "backfill", "a backfill by the command line: seconds, peak memory", ("--days", "720")
    ),
    "growth": Benchmark("growth", "time per partition at 25 to 200 symbols"),
    "hourly": Benchmark("hourly", "a year of hourly candles loaded, and a window read"),
    "quality": Benchmark("quality", "false alarms of the quality ledger, planted faults, time"),
    "trust": Benchmark("trust", "all rows verified, and one signal explained: seconds"),
    "record": Benchmark("record", "revisions and hashes, as a share of a backfill"),
    "help": Benchmark("help", "autonama --help"),
    "spoiled": Benchmark(
        "spoiled", "1,000 spoiled answers: wrong rows, crashes, hangs", by_default=False
    ),
    "canaries": Benchmark(
        "canaries", "planted leaks, forgeries and gaps: what notices each", by_default=False
    ),
    "crash": Benchmark(
        "crash", "100 kills at random moments, tables compared (only when named)", by_default=False
    ),
}


def run(name: str, *, full: bool) -> bool:
    """Run one benchmark; False when it failed to measure."""
    benchmark = BENCHMARKS[name]
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    say(f"{name}: {benchmark.measures} (load average {load})")
    begun = perf_counter()
    completed = subprocess.run(
        [sys.executable, "-m", f"bench.{benchmark.module}", *(benchmark.full if full else ())],
        cwd=Path(__file__).resolve().parents[1],
        check=False,
    )
    outcome = f"failed, exit code {completed.returncode}" if completed.returncode else "done"
    say(f"{name}: {outcome} in {perf_counter() - begun:.0f} s")
    return completed.returncode == 0


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Run the benchmarks that were named, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure; one line of JSON each on standard output.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="benchmarks (default: all but canaries, crash and spoiled)",
    )
    parser.add_argument("--list", action="store_true", help="list the benchmarks and exit")
    parser.add_argument("--full", action="store_true", help="nothing smaller than in the targets")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in BENCHMARKS]:
        parser.error(f"unknown benchmark {', '.join(unknown)}; known: {', '.join(BENCHMARKS)}")
    if given.list:
        for name, benchmark in BENCHMARKS.items():
            print(f"{name:12} {benchmark.measures}")
        return 0
    by_default = [name for name, benchmark in BENCHMARKS.items() if benchmark.by_default]
    measured = [run(name, full=given.full) for name in given.names or by_default]
    return 0 if all(measured) else 1


if __name__ == "__main__":
    sys.exit(main())
