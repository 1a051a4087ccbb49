"""Rounds of a command that ends by itself: a scan or a backfill."""

import random
import subprocess
from dataclasses import dataclass
from time import monotonic

import psutil

from bench.crash_project import (
    IN_A_ROW,
    PATIENCE,
    Outcome,
    Project,
    after_kill,
    descendants,
    left_behind,
    until,
)
from bench.crash_state import Rows, baseless, differences, read_tables, unfinished

TOO_LONG = 300.0


@dataclass(frozen=True)
class Program:
    """A command, and what it can lose."""

    arguments: tuple[str, ...]
    victims: tuple[str, ...]


PROGRAMS = {
    "scan": Program(("scan", "--date", "2024-03-19"), ("cli", "cli", "postmaster")),
    "backfill": Program(
        ("backfill", "--from", "2024-03-12", "--days-per-run", "4"),
        ("cli", "loader", "worker", "worker", "postmaster"),
    ),
}


class Command:
    """Starts a program, kills it or what it depends on, and lets it finish at last."""

    def __init__(self, name: str, project: Project) -> None:
        self._name, self._program, self._project = name, PROGRAMS[name], project
        self._project.empty()
        begun = monotonic()
        if faults := finish(project, self._program):
            raise SystemExit(f"the undisturbed {name} failed: {faults[0]}")
        self._pace = monotonic() - begun
        self._expected: dict[str, Rows] = read_tables(project.url())

    def round(self, rng: random.Random, outcome: Outcome) -> None:
        """Kill the program a few times on an empty database, let it finish, and compare."""
        project = self._project
        project.empty()
        faults: list[str] = []
        victims: list[str] = []
        for _ in range(rng.choice(IN_A_ROW)):
            victim = rng.choice(self._program.victims)
            # Every moment is possible; those after the start of Python are the likelier ones.
            after = rng.triangular(0, self._pace, 0.7 * self._pace)
            begun = monotonic()
            if strike(project, self._program, victim, after):
                victims.append(f"{victim} after {after:.1f} s")
                outcome.killed(f"{self._name}: {victim}")
                faults += after_kill(project)
                if "Traceback" in (said := project.said()):
                    outcome.tracebacks.append(f"{victims[-1]}: {said}")
            else:  # it was faster than the undisturbed run: the machine has less to do now
                self._pace = monotonic() - begun
        faults += finish(project, self._program)
        faults += differences(self._expected, read_tables(project.url()))
        outcome.add(self._name, victims, faults)


def find_victim(name: str, project: Project, started: subprocess.Popen[bytes]) -> int | None:
    """Process id of the victim; None where there is none at the moment."""
    if name == "cli":
        return started.pid
    if name == "postmaster":
        return project.server.pid()
    try:
        found = descendants(started.pid, "multiprocessing.forkserver")
    except psutil.Error:
        return None
    # The first is the one that has loaded what the others, its children, find loaded.
    of_kind = found[:1] if name == "loader" else found[1:]
    return of_kind[-1] if of_kind else None


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
        *left_behind(project),
        *unfinished(project.dagster_url()),
        *baseless(project.url(), project.dagster_url()),
    ]
