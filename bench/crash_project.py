"""A project that programs are started and killed in, and what a kill must not leave behind."""

import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from time import monotonic, sleep

import psutil
import psycopg

from bench.command import PROGRAM, environment
from bench.crash_state import baseless, processes
from resources.postgres.database import DAGSTER_DATABASE, DATABASE
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.postgres.urls import libpq_url

IN_A_ROW = (2, 3, 4)  # kills of a round
PATIENCE = 60.0  # seconds for what lives on after a kill to notice and end
POLL = 0.01


@dataclass
class Outcome:
    """What was found so far."""

    kills: Counter[str] = field(default_factory=Counter)
    survived: int = 0
    rounds: int = 0
    faults: list[str] = field(default_factory=list)
    tracebacks: list[str] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def killed(self, victim: str) -> None:
        """Count a kill, before its round is over."""
        with self._lock:
            self.kills[victim] += 1

    @property
    def total(self) -> int:
        """Kills of any victim."""
        return self.kills.total()

    def add(self, name: str, victims: Sequence[str], faults: Sequence[str]) -> None:
        """Count a round and tell it."""
        with self._lock:
            self.rounds += 1
            self.survived += 0 if faults else len(victims)
            self.faults += [f"{name}, {', '.join(victims)}: {f}" for f in faults]
            say(
                f"round {self.rounds}: {name}, {', '.join(victims) or 'no kill'}: "
                f"{'; '.join(faults) or 'the same'} ({self.survived} of {self.total} survived)"
            )


class Project:
    """A project folder with its embedded server, empty again on demand."""

    def __init__(self, folder: Path, exchange_url: str, **settings: object) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.server = EmbeddedPostgres(folder)
        self.errors: list[Path] = []  # standard error of every program that was started
        self._environment = environment(folder, exchange_url=exchange_url, **settings)

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

    def close(self) -> None:
        """Kill what was started here, and remove the server with its data."""
        for process in processes(self.folder):
            with suppress(psutil.Error):
                process.kill()
        self.server.destroy()

    def said(self) -> str:
        """Standard error of the program that was started last."""
        return self.errors[-1].read_text(encoding="utf-8", errors="replace")

    def empty(self) -> None:
        """Remove both databases, so that the next program finds a new server."""
        self.server.start()
        url = libpq_url(self.server.admin_url("postgres"))
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
        with psycopg.connect(libpq_url(self.server.admin_url("postgres"))) as connection:
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


def after_kill(project: Project) -> list[str]:
    """What must not be found after a kill, before anything was started again."""
    found = left_behind(project)
    project.server.start()
    return found + baseless_now(project)


def baseless_now(project: Project) -> list[str]:
    """What is baseless before the end; nothing where a program had not made its tables."""
    try:
        has_tables = project.has_databases()
        return baseless(project.url(), project.dagster_url()) if has_tables else []
    except psycopg.errors.UndefinedTable:
        return []


def left_behind(project: Project) -> list[str]:
    """Processes that do not end by themselves soon after the program."""
    if until(lambda: not processes(project.folder), PATIENCE):
        return []
    return [f"stays: {' '.join(p.cmdline())[:120]}" for p in processes(project.folder)]


def descendants(pid: int, word: str) -> list[int]:
    """Process ids of descendants with the word in their command line, the latest last.

    Raises
    ------
    psutil.Error
        The process has ended.
    """
    family = psutil.Process(pid).children(recursive=True)
    found = [p for p in family if word in " ".join(p.cmdline())]
    return [p.pid for p in sorted(found, key=psutil.Process.create_time)]


def say(text: str) -> None:
    """Print progress."""
    print(text, file=sys.stderr, flush=True)


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
