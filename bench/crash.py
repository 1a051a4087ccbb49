"""Kills scans and backfills at random moments and compares what they leave with an undisturbed run.

A round starts a program on an empty database, kills it or something it depends on a few times in a
row, starting the same command again each time, and at last lets it finish. After every kill nothing
may be reported as materialised without its rows, and no process may stay; at the end every table
must be equal to an undisturbed run's, and Dagster may know of no run that goes on. The candles come
from a synthetic market with a clock that stands still, so all runs ask for the same.

The victims: the program itself, one of its worker processes, the main process of the embedded
server.
"""

import argparse
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

import psutil
import psycopg

from bench.command import PROGRAM, environment
from bench.crash_state import Rows, baseless, differences, processes, read_tables, unfinished
from bench.report import report
from resources.database import DAGSTER_DATABASE, DATABASE
from resources.database_urls import libpq_url
from resources.embedded_postgres import EmbeddedPostgres

SEED = 7
NOW = "2024-03-20T00:05:00Z"
SETTINGS = {"start_date": "2024-03-12", "universe_size": 5, "lookback": 100, "degree": 2}
IN_A_ROW = (2, 3, 4)  # kills of a round
PATIENCE = 60.0  # seconds for what lives on after a kill to notice and end
TOO_LONG = 300.0
POLL = 0.01


@dataclass(frozen=True)
class Program:
    """A command, and what it can lose."""

    arguments: tuple[str, ...]
    victims: tuple[str, ...]


PROGRAMS = {
    "scan": Program(("scan", "--date", "2024-03-19"), ("cli", "cli", "postmaster")),
    "backfill": Program(
        ("backfill", "--from", "2024-03-12", "--days-per-run", "4"),
        ("cli", "worker", "worker", "postmaster"),
    ),
}


@dataclass
class Outcome:
    """What was found so far."""

    kills: Counter[str] = field(default_factory=Counter)
    survived: int = 0
    rounds: int = 0
    faults: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Kills of any victim."""
        return self.kills.total()


class Project:
    """A project folder with its embedded server, empty again on demand."""

    def __init__(self, folder: Path, exchange_url: str, **settings: object) -> None:
        self.folder = folder
        self.server = EmbeddedPostgres(folder)
        self.errors: list[Path] = []  # standard error of every program that was started
        self._environment = environment(
            folder, exchange_url=exchange_url, **{**SETTINGS, **settings}
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the program `autonama`; its standard error goes to the next file of `errors`."""
        self.errors.append(self.folder / f"stderr-{len(self.errors)}.txt")
        with self.errors[-1].open("wb") as errors:
            return subprocess.Popen(
                [PROGRAM, *arguments],
                env=self._environment,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def said(self) -> str:
        """Standard error of the program that was started last."""
        return self.errors[-1].read_text(encoding="utf-8", errors="replace")

    def empty(self) -> None:
        """Remove both databases, so that the next program finds a new server."""
        self.server.start()
        url = libpq_url(self.server.url("postgres"))
        with psycopg.connect(url, autocommit=True) as connection:
            for name in (DATABASE, DAGSTER_DATABASE):
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def url(self) -> str:
        """URL of the project's tables."""
        return self.server.url(DATABASE)

    def dagster_url(self) -> str:
        """URL of Dagster's tables."""
        return self.server.url(DAGSTER_DATABASE)

    def has_databases(self) -> bool:
        """Whether a program came as far as making both."""
        with psycopg.connect(libpq_url(self.server.url("postgres"))) as connection:
            query = "SELECT count(*) FROM pg_database WHERE datname = ANY(%s)"
            row = connection.execute(query, ([DATABASE, DAGSTER_DATABASE],)).fetchone()
        return row == (2,)


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; False when it does not come true in time."""
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            return False
        sleep(POLL)
    return True


def find_victim(name: str, project: Project, started: subprocess.Popen[bytes]) -> int | None:
    """Process id of the victim; None where there is none at the moment."""
    if name == "cli":
        return started.pid
    if name == "postmaster":
        return project.server.pid()
    try:
        children = psutil.Process(started.pid).children()
        workers = [c.pid for c in children if "spawn_main" in " ".join(c.cmdline())]
    except psutil.Error:
        return None
    return workers[-1] if workers else None


def strike(project: Project, program: Program, victim: str, after: float) -> bool:
    """Start the program and kill the victim; False if the program ended before."""
    started = project.start(*program.arguments)
    try:
        if until(lambda: started.poll() is not None, after):
            return False
        pid: int | None = None
        while pid is None:
            if started.poll() is not None:
                return False
            pid = find_victim(victim, project, started)
        psutil.Process(pid).kill()
        return True
    finally:
        if not until(lambda: started.poll() is not None, PATIENCE):
            started.kill()
            started.wait()


def after_kill(project: Project) -> list[str]:
    """What must not be found after a kill, before anything was started again."""
    found = []
    if not until(lambda: not processes(project.folder), PATIENCE):
        left = [" ".join(p.cmdline())[:120] for p in processes(project.folder)]
        found.append(f"processes stay: {left}")
    project.server.start()
    if project.has_databases():
        found += until_ready(lambda: baseless(project.url(), project.dagster_url()))
    return found


def until_ready(check: Callable[[], list[str]]) -> list[str]:
    """The check's findings; none where the program had not made its tables."""
    try:
        return check()
    except psycopg.errors.UndefinedTable:
        return []


def finish(project: Project, program: Program) -> list[str]:
    """Run the program undisturbed and check that nothing is left behind."""
    started = project.start(*program.arguments)
    try:
        code = started.wait(TOO_LONG)
    except subprocess.TimeoutExpired:
        started.kill()
        return [f"it does not end in {TOO_LONG:.0f} s"]
    if code:
        return [f"exit code {code}: {project.said()[-600:]}"]
    return [
        *([] if not processes(project.folder) else ["processes stay"]),
        *unfinished(project.dagster_url()),
        *baseless(project.url(), project.dagster_url()),
    ]


def undisturbed(project: Project, program: Program) -> tuple[dict[str, Rows], float]:
    """Tables of an undisturbed run on an empty database, and its seconds."""
    project.empty()
    begun = monotonic()
    if faults := finish(project, program):
        raise SystemExit(f"the undisturbed {program.arguments[0]} failed: {faults[0]}")
    return read_tables(project.url()), monotonic() - begun


def one_round(
    project: Project,
    program: Program,
    expected: dict[str, Rows],
    pace: dict[str, float],
    rng: random.Random,
    outcome: Outcome,
) -> None:
    """Kill the program a few times on an empty database, let it finish, and compare."""
    project.empty()
    faults: list[str] = []
    victims: list[str] = []
    name = program.arguments[0]
    for _ in range(rng.choice(IN_A_ROW)):
        victim = rng.choice(program.victims)
        # Every moment is possible; those after the start of Python are the likelier ones.
        after = rng.triangular(0, pace[name], 0.7 * pace[name])
        begun = monotonic()
        if strike(project, program, victim, after):
            victims.append(f"{victim} after {after:.1f} s")
            outcome.kills[f"{name}: {victim}"] += 1
            faults += after_kill(project)
            if "Traceback" in (said := project.said()):
                outcome.tracebacks.append(f"{victims[-1]}: {said}")
        else:  # it was faster than the undisturbed run: the machine has less to do now
            pace[name] = monotonic() - begun
    faults += finish(project, program)
    faults += differences(expected, read_tables(project.url()))
    outcome.rounds += 1
    outcome.survived += 0 if faults else len(victims)
    outcome.faults += [f"{name}, {', '.join(victims)}: {f}" for f in faults]
    say(
        f"round {outcome.rounds}: {name}, {', '.join(victims) or 'no kill'}: "
        f"{'; '.join(faults) or 'the same'} ({outcome.survived} of {outcome.total} survived)"
    )


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


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
    """Kill so often, in turn in every program, or until the time is over."""
    deadline = monotonic() + 60 * minutes
    rng = random.Random(seed)
    outcome = Outcome()
    with TemporaryDirectory() as folder, market(Path(folder) / "exchange") as url:
        home = Path(folder) / "project"
        home.mkdir()
        project = Project(home, url)
        try:
            expected = {name: undisturbed(project, PROGRAMS[name]) for name in names}
            pace = {name: seconds for name, (_, seconds) in expected.items()}
            say(f"seconds of undisturbed runs: {pace}")
            while outcome.total < kills and monotonic() < deadline:
                name = names[outcome.rounds % len(names)]
                one_round(project, PROGRAMS[name], expected[name][0], pace, rng, outcome)
        finally:
            project.server.destroy()
    return outcome


def main() -> None:
    """Kill, compare and print the line of the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--minutes", type=float, default=120, help="at most (default: 120)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: 1)")
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    given = parser.parse_args()
    begun = monotonic()
    outcome = run(given.kills, given.programs, given.seed, given.minutes)
    report(
        "crash",
        outcome.survived,
        "kills survived",
        target=outcome.total,
        met=not outcome.faults,
        kills=dict(sorted(outcome.kills.items())),
        rounds=outcome.rounds,
        seconds=round(monotonic() - begun),
        asked_for=given.kills,
        seed=given.seed,
        differences=outcome.faults,
        tracebacks=outcome.tracebacks,
    )


if __name__ == "__main__":
    main()
