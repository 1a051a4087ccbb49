"""Kills scans, backfills and the running service at random moments, and compares what they leave.

A round starts a program on an empty database, kills it or something it depends on a few times in a
row, starting the same command again where it has ended, and at last lets it finish. After every
kill nothing may be reported as materialised without its rows, and no process may stay; at the end
every table must be equal to an undisturbed run's, and Dagster may know of no run that goes on. The
candles come from a synthetic market with a clock that stands still, so all runs ask for the same.
Each program has a project of its own, and they run side by side, since `autonama up` mostly waits.

The victims: the program itself, one of its worker processes, the one that these are forked from,
the main process of the embedded server; of `autonama up` also Dagster's daemon, its code server,
and the process of a run.
"""

import argparse
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

from bench.command import PROGRAM, environment
from bench.crash_command import PROGRAMS, Command
from bench.crash_project import Outcome, Project
from bench.crash_service import Service
from bench.report import report

SEED = 7
NOW = "2024-03-20T00:08:00Z"
SETTINGS = {"start_date": "2024-03-12", "universe_size": 5, "lookback": 100, "degree": 2}
SERVICE = "up"
NAMES = [*PROGRAMS, SERVICE]


@contextmanager
def market(home: Path) -> Iterator[str]:
    """URL of a replay exchange in a process of its own, outside of every project."""
    home.mkdir()
    process = subprocess.Popen(
        [PROGRAM, "replay", "serve", "--synthetic", str(SEED), "--now", NOW, "--port", "0"],
        env=environment(home),
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            words = process.stdout.readline().split() if process.stdout else []
            if "on" not in words:
                raise SystemExit("the replay exchange did not start")
            yield words[words.index("on") + 1]
        finally:
            process.kill()


def run(kills: int, names: Sequence[str], seed: int, minutes: float) -> Outcome:
    """Kill so often, in every program side by side, or until the time is over."""
    deadline = monotonic() + 60 * minutes
    outcome = Outcome()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        url = stack.enter_context(market(folder / "exchange"))
        projects = {name: Project(folder / name, url, **SETTINGS) for name in names}
        for project in projects.values():
            stack.callback(project.close)
        threads = stack.enter_context(ThreadPoolExecutor(len(names)))

        def rounds(name: str) -> None:
            rng = random.Random(f"{seed} {name}")
            project = projects[name]
            program = Service(project) if name == SERVICE else Command(name, project)
            while outcome.total < kills and monotonic() < deadline:
                program.round(rng, outcome)

        for ended in [threads.submit(rounds, name) for name in names]:
            ended.result()
    return outcome


def is_met(outcome: Outcome, kills: int) -> bool:
    """Whether so many kills were survived, all of them; the time may have ended it before."""
    return outcome.total >= kills and outcome.survived == outcome.total and not outcome.faults


def main() -> int:
    """Kill, compare and print the line of the result; 1 unless all that was asked for survived.

    A difference is a defect, not a measurement that misses its target.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--minutes", type=float, default=120, help="at most (default: 120)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: 1)")
    parser.add_argument("--programs", nargs="+", choices=NAMES, default=NAMES)
    given = parser.parse_args()
    begun = monotonic()
    outcome = run(given.kills, given.programs, given.seed, given.minutes)
    met = is_met(outcome, given.kills)
    report(
        "crash",
        outcome.survived,
        "kills survived",
        target=outcome.total,
        met=met,
        kills=dict(sorted(outcome.kills.items())),
        rounds=outcome.rounds,
        seconds=round(monotonic() - begun),
        asked_for=given.kills,
        seed=given.seed,
        differences=outcome.faults,
        tracebacks=outcome.tracebacks,
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
