"""Rounds of `autonama up`: it scans yesterday by itself while its parts are killed."""

import random
import signal
from contextlib import suppress
from time import monotonic, sleep

import psutil
import psycopg

from bench.crash_project import (
    IN_A_ROW,
    PATIENCE,
    Outcome,
    Project,
    after_kill,
    baseless_now,
    descendants,
    free_port,
    left_behind,
    until,
)
from bench.crash_state import (
    Rows,
    baseless,
    differences,
    read_tables,
    unfinished,
    unfinished_runs,
)
from resources.postgres.urls import libpq_url

# A part, and a word of its command line: dagster dev, the daemon, the code server, a run's process.
PARTS = {
    "dagster dev": "autonama_dagster.cli.serve.dagster_dev",
    "daemon": "dagster._daemon",
    "code server": "dagster api grpc",
    "run worker": "spawn_main",
}
VICTIMS = ("up", "run worker", "run worker", *PARTS, "postmaster")
SETTLED = 45.0  # seconds without a run that say that the sensor asks for nothing more
TOO_LONG = 1200.0
ENDING = 10.0


class Service:
    """Starts `autonama up`, kills parts of it, and waits until its day is complete."""

    def __init__(self, project: Project) -> None:
        self._project = project
        project.empty()
        self._start()
        if faults := self._finish():
            raise SystemExit(f"the undisturbed `up` failed: {faults[0]}")
        self._expected: dict[str, Rows] = read_tables(project.url())

    def round(self, rng: random.Random, outcome: Outcome) -> None:
        """Kill parts a few times on an empty database, let it finish, and compare."""
        project = self._project
        project.empty()
        self._start()
        faults: list[str] = []
        victims: list[str] = []
        for _ in range(rng.choice(IN_A_ROW)):
            victim = rng.choice(VICTIMS)
            after = rng.uniform(1, 60)
            if not self._strike(victim, after):
                continue  # e.g. no run goes on
            victims.append(f"{victim} after {after:.1f} s")
            outcome.killed(f"up: {victim}")
            if victim == "up" or (victim == "postmaster" and self._ends_too()):
                self._up.wait()
                faults += after_kill(project)
                self._start()
            else:
                with suppress(psycopg.OperationalError):  # the server is down
                    faults += baseless_now(project)
        # Where it did not come to its end, its server may be down and its tables say nothing.
        faults += self._finish() or differences(self._expected, read_tables(project.url()))
        outcome.add("up", victims, faults)

    def _start(self) -> None:
        ports = ("--port", str(free_port()), "--metrics-port", str(free_port()))
        self._up = self._project.start("up", *ports)

    def _ends_too(self) -> bool:
        """Whether `up` ends with its server, as it does in its first seconds, in one line."""
        return until(lambda: self._up.poll() is not None, ENDING)

    def _strike(self, victim: str, after: float) -> bool:
        """Kill the victim as soon as there is one; False if `up` ends or nothing comes."""
        if until(lambda: self._up.poll() is not None, after):
            return False
        return until(lambda: self._kill(victim), PATIENCE)

    def _kill(self, victim: str) -> bool:
        """Kill the victim; False where there is none at the moment."""
        try:
            pid = self._find(victim)
            if pid is None:
                return False
            psutil.Process(pid).kill()
        except psutil.Error:
            return False
        return True

    def _find(self, victim: str) -> int | None:
        if victim == "up":
            return self._up.pid
        if victim == "postmaster":
            return self._project.server.pid()
        found = descendants(self._up.pid, PARTS[victim])
        return found[-1] if found else None

    def _finish(self) -> list[str]:
        """Wait until its day is complete, stop it, and check that nothing is left behind."""
        deadline = monotonic() + TOO_LONG
        quiet_since = monotonic()
        while monotonic() - quiet_since < SETTLED:
            if self._up.poll() is not None:
                return [f"it ended with code {self._up.returncode}: {self._project.said()[-600:]}"]
            if monotonic() > deadline:
                self._up.kill()
                return [f"not complete in {TOO_LONG:.0f} s: {self._project.said()[-600:]}"]
            sleep(1)
            if not self._is_complete():
                quiet_since = monotonic()
        self._up.send_signal(signal.SIGTERM)
        if not until(lambda: self._up.poll() is not None, 2 * PATIENCE):
            self._up.kill()
            return ["SIGTERM does not end it"]
        return [
            *([] if self._up.returncode == 0 else [f"exit code {self._up.returncode}"]),
            *left_behind(self._project),
            *unfinished(self._project.dagster_url()),
            *baseless(self._project.url(), self._project.dagster_url()),
        ]

    def _is_complete(self) -> bool:
        try:
            with psycopg.connect(libpq_url(self._project.url())) as connection:
                query = "SELECT count(*) FROM trading.analysis_summary"
                row = connection.execute(query).fetchone()
            return row == (1,) and not unfinished_runs(self._project.dagster_url())
        except psycopg.Error:
            return False
