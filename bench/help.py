"""How long `autonama --help` takes, process start to exit."""

import argparse
import subprocess
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from bench.command import PROGRAM, environment
from bench.report import report

TARGET_S = 0.1


def seconds(home: Path) -> float:
    """Seconds of one call."""
    begun = perf_counter()
    subprocess.run(
        [PROGRAM, "--help"], env=environment(home), stdout=subprocess.DEVNULL, check=True
    )
    return perf_counter() - begun


def main() -> None:
    """Measure and print the median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=11, help="calls (default: 11)")
    repeat = parser.parse_args().repeat
    with TemporaryDirectory() as folder:
        seconds(Path(folder))  # the first call compiles and fills the file cache
        taken = [seconds(Path(folder)) for _ in range(repeat)]
    value = median(taken)
    report(
        "help",
        round(value, 3),
        "s",
        target=TARGET_S,
        met=value <= TARGET_S,
        slowest=round(max(taken), 3),
        repeat=repeat,
    )


if __name__ == "__main__":
    main()
