"""Keeps a list of programs running until a signal asks to stop, and then stops them all."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Final, Self

import psutil

from autonama_dagster.errors import AutonamaError
from autonama_dagster.text.labels import counted
from resources.waiting import wait_until

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Seconds for programs to end when they are asked, then at SIGTERM; what is left is killed. All ends
# within 30 seconds: supervisors of services wait no longer.
PATIENCE: Final = 18.0
LAST_PATIENCE: Final = 4.0
WATCH: Final = 0.5
RESTARTS: Final = 5  # within RESTART_WINDOW seconds
RESTART_WINDOW: Final = 600.0

Families = dict[int, list[psutil.Process]]


@dataclass(frozen=True)
class Child:
    """A program that is kept running.

    Attributes
    ----------
    name
        What messages call it.
    start
        Its command line, or what starts it as the leader of a session of its own: signals reach it
        and all it starts through us alone.
    is_needed
        Whether everything stops when it ends too often; else it stays off and the others go on.
    stop_signal
        Asks it to end.
    patience
        Seconds in which it and all it started end by themselves then; `PATIENCE` at most.
    restarts
        How often it is started again within `RESTART_WINDOW` seconds.
    is_ready
        Whether it does its work; asked after every start until it does.
    on_ready
        Called when it does.
    family
        What it and all it starts are called; None: its name.
    """

    name: str
    start: Sequence[str] | Callable[[], subprocess.Popen[bytes]]
    is_needed: bool = False
    stop_signal: signal.Signals = signal.SIGTERM
    patience: float = PATIENCE
    restarts: int = RESTARTS
    is_ready: Callable[[], bool] = lambda: True
    on_ready: Callable[[], Any] = lambda: None
    family: str | None = None


class StopSignals:
    """Hears inside the block the signals that ask to stop.

    Attributes
    ----------
    have_come
        Whether one has come.
    interrupt
        Whether the first raises KeyboardInterrupt, e.g. in the middle of a long start.
    """

    def __init__(self) -> None:
        self.have_come = False
        self.interrupt = False

    def __enter__(self) -> Self:
        # A shell starts background jobs with SIGINT ignored. Programs that we start inherit that,
        # but not a handler.
        self._before = {number: signal.signal(number, self._hear) for number in STOP_SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        is_first, self.have_come = not self.have_come, True
        if is_first and self.interrupt:
            raise KeyboardInterrupt


def supervise(
    children: Sequence[Child],
    signals: StopSignals,
    *,
    keep: Callable[[], None],
    say: Callable[..., None],
    every: float = WATCH,
) -> None:
    """Keep the programs running until a signal asks to stop, then stop them.

    Parameters
    ----------
    children
        The programs, in the order of their start.
    signals
        Heard already.
    keep
        Called every so many seconds; keeps up what the programs need.
    say
        Told what happens: a line, and `level` and values by name.
    every
        Seconds between two looks.

    Raises
    ------
    AutonamaError
        A program that is needed ended again and again, or `keep` says so.
    """
    programs = [_Program(child, say) for child in children]
    try:
        while not signals.have_come:
            for program in programs:
                program.start_if_ended()
            signals.interrupt = True
            time.sleep(every)
            keep()
            for program in programs:
                program.greet()
            signals.interrupt = False
    except KeyboardInterrupt:
        if not signals.have_come:
            raise
    finally:
        signals.interrupt = False
        _stop(programs)
    say("stopped")


class _Program:
    """A child as it runs."""

    def __init__(self, child: Child, say: Callable[..., None]) -> None:
        self.child = child
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._ends: list[float] = []
        self._is_ready = False
        self._is_off = False
        self._patience = 0.0
        self._is_terminated = False

    @property
    def pid(self) -> int | None:
        """Of the leader of its processes, whether it lives or not; None: it has not begun."""
        return None if self._process is None else self._process.pid

    def start_if_ended(self) -> None:
        """Start it, also again, unless it has ended too often."""
        if self._is_off or (self._process is not None and self._process.poll() is None):
            return
        if self._process is not None:
            code = self._process.returncode
            _stop([self])  # what it leaves behind
            self._process = None  # its number may become another's
            self._count_end(f"with code {code}", code)
        if not self._is_off:
            self._start()

    def _start(self) -> None:
        start = self.child.start
        self._is_ready = False
        try:
            if callable(start):
                self._process = start()
            else:
                self._process = subprocess.Popen(start, start_new_session=True)
        except OSError as error:
            self._count_end(f"at its start ({error.strerror})", error.errno)

    def _count_end(self, how: str, code: int | None) -> None:
        now = time.monotonic()
        self._ends = [t for t in self._ends if now - t < RESTART_WINDOW] + [now]
        name, count = self.child.name, len(self._ends)
        if count <= self.child.restarts:
            self._say(f"{name} stopped {how}; restarting it", level="warning", code=code)
            return
        hint = "see its output above, fix the cause and start"
        if self.child.is_needed:
            raise AutonamaError(f"{name} stopped {count} times, last {how}: {hint} it again")
        self._is_off = True
        text = f"{name} stopped {count} times, last {how}, and stays off: {hint} all again"
        self._say(text, level="error", code=code)

    def greet(self) -> None:
        """Say that it is ready when it has become so."""
        if self._process is not None and not self._is_ready and self.child.is_ready():
            self._is_ready = True
            self.child.on_ready()

    def ask_to_end(self) -> None:
        """Send its signal."""
        self._patience, self._is_terminated = 0.0, False
        if self._process is not None and self._process.poll() is None:
            # Where it was killed, nobody has told the others to end.
            self._process.send_signal(self.child.stop_signal)
            self._patience = min(self.child.patience, PATIENCE)

    def has_ended(self, family: Sequence[psutil.Process], waited: float) -> bool:
        """Whether nothing is left of it; what outstays its patience is made to end."""
        if self._process is not None:
            self._process.poll()
        is_late = waited >= self._patience and not self._is_terminated
        is_last = waited >= self._patience + LAST_PATIENCE
        for process in family:
            with suppress(psutil.NoSuchProcess):
                if is_last:
                    process.kill()
                elif is_late:
                    process.terminate()
        self._is_terminated = self._is_terminated or is_late
        return not family


def _stop(programs: Sequence[_Program]) -> None:
    """Ask all of them to end, wait, and end what is left."""
    began = time.monotonic()
    for program in programs:
        program.ask_to_end()
    leaders = {program.pid for program in programs if program.pid is not None}

    def have_ended() -> bool:
        families, waited = _families(leaders), time.monotonic() - began
        left = [p for p in programs if not p.has_ended(families.get(p.pid or 0, []), waited)]
        return not left

    def whom() -> str:
        families = _families(leaders)
        left = [p.child for p in programs if families.get(p.pid or 0)]
        count = counted(sum(map(len, families.values())), "process", "processes")
        return f"{' and '.join(c.family or c.name for c in left)}, which end ({count})"

    wait_until(have_ended, whom, patience=PATIENCE + 2 * LAST_PATIENCE, every=WATCH)


def _families(leaders: Collection[int]) -> Families:
    """The leaders and all they started that lives, but for the embedded server, which outlives us.

    Each is one process group, so they are found when the leader itself was killed.
    """
    found: Families = {}
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            leader = os.getpgid(process.pid)
            if leader not in leaders or process.name().startswith("postgres"):
                continue
            if process.status() != psutil.STATUS_ZOMBIE:  # which nobody reaps, in some containers
                found.setdefault(leader, []).append(process)
    return found
