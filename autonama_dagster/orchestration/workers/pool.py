"""Processes that execute steps side by side."""

import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Final, Self

import psutil

from autonama_dagster.errors import AutonamaError
from autonama_dagster.orchestration.jobs import Started, StepRun
from autonama_dagster.orchestration.planner import Step
from autonama_dagster.system.stop_signals import listening
from resources.processes import (
    PRELOADED,
    end_with_parent,
    interrupts_held,
    process_context,
)
from resources.waiting import Wait, introduce, tell, told_to

Requests = Callable[[int, int], None]
Task = Sequence[Step]  # one after the other in one process

PATIENCE: Final = 5.0  # seconds in which an interrupted run can say that it was


class WorkerProcess:
    """One process and our end of its pipe; it waits for its first task."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        context = process_context()
        self.pipe, theirs = context.Pipe()
        # Kept, because it holds the pipe by which the process sees that we have not ended; given
        # our environment, because that of the process it is forked from may be older.
        self._started = context.Process(target=_work, args=(theirs, dict(os.environ), dict(tags)))
        try:
            with interrupts_held():
                self._started.start()
            # Multiprocessing takes it for ended when the one that it is forked from has.
            self.process = psutil.Process(self._started.pid)
        except (EOFError, OSError, psutil.Error):  # that one was lost, or this one at once
            raise _lost() from None
        theirs.close()
        self.is_busy = False

    def give(self, task: Task) -> None:
        """Hand over a task.

        Raises
        ------
        AutonamaError
            The process is gone.
        """
        try:
            self.pipe.send(task)
        except OSError:
            raise _lost() from None
        self.is_busy = True

    def ask_to_end(self) -> None:
        """Ask the process to stop, also in the middle of a task."""
        self.pipe.close()
        if self.is_busy:
            with suppress(psutil.NoSuchProcess):
                self.process.send_signal(signal.SIGINT)

    def end(self, patience: float) -> None:
        """Wait so many seconds until the process has stopped, and make it stop."""
        with suppress(psutil.NoSuchProcess):
            try:
                self.process.wait(max(0, patience))
            except psutil.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Workers:
    """A fixed number of processes that take tasks as they become free.

    Parameters
    ----------
    count
        Processes; each starts with its first task.
    tags
        Tags of every run.
    on_start
        Called for each step whose run begins, in this process.
    on_done
        Called for each step that ran, in this process.
    on_requests
        Called with answered and all requests of a step that asks the exchange.
    """

    def __init__(
        self,
        count: int,
        *,
        tags: Mapping[str, str],
        on_start: Callable[[Started], None],
        on_done: Callable[[StepRun], None],
        on_requests: Requests,
    ) -> None:
        self._count = count
        self._tags = tags
        self._on_start = on_start
        self._on_done = on_done
        self._on_requests = on_requests
        self._workers: list[WorkerProcess] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.ask_to_end()
        deadline = time.monotonic() + PATIENCE
        for worker in self._workers:
            worker.end(deadline - time.monotonic())

    def submit(self, task: Task) -> None:
        """Hand the task to a free process, waiting until there is one.

        Raises
        ------
        AutonamaError
            A step failed, here or in an earlier task, or a process was lost.
        """
        free = next((w for w in self._workers if not w.is_busy), None)
        if free is None and len(self._workers) < self._count:
            free = WorkerProcess(self._tags)
            self._workers.append(free)
        while free is None:
            self._listen()
            free = next((w for w in self._workers if not w.is_busy), None)
        free.give(task)

    def finish(self) -> None:
        """Wait until all tasks are done.

        Raises
        ------
        AutonamaError
            As `submit`.
        """
        while any(w.is_busy for w in self._workers):
            self._listen()

    def _listen(self) -> None:
        """Wait for the next messages and take them."""
        busy = {w.pipe: w for w in self._workers if w.is_busy}
        for pipe in wait(list(busy)):
            worker = busy[pipe]  # type: ignore[index]
            try:
                message = worker.pipe.recv()
            except (EOFError, OSError):  # the latter with a task that was never read
                raise _lost() from None
            self._take(worker, message)

    def _take(self, worker: WorkerProcess, message: Any) -> None:
        match message:
            case Started():
                self._on_start(message)
            case StepRun():
                self._on_done(message)
            case (int() as done, int() as total):
                self._on_requests(done, total)
            case Wait(whom):
                tell(whom)
            case None:
                worker.is_busy = False
            case BaseException():
                worker.is_busy = False
                raise message


def _lost() -> AutonamaError:
    return AutonamaError(
        "a worker process died (killed, or out of memory): run the same command again to "
        "continue, with fewer days per run if memory is low"
    )


def _work(pipe: Connection, environment: Mapping[str, str], tags: Mapping[str, str]) -> None:
    """Execute the tasks that come through the pipe, until it is closed."""
    # A shell starts background jobs with SIGINT ignored, which a child inherits.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_with_parent()
    os.environ.clear()
    os.environ.update(environment)
    introduce("worker")
    importlib.import_module(PRELOADED)
    from autonama_dagster.orchestration.workers.worker import Outlet, Runner, told  # noqa: PLC0415

    outlet = Outlet(pipe)
    try:
        task = pipe.recv()
        with (
            listening(),
            told_to(outlet.tell),
            closing(Runner(outlet, tags)) as runner,
        ):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            while True:
                runner.run(task)
                task = pipe.recv()
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass
    except Exception as error:  # noqa: BLE001 - while it opens or ends, e.g. the server is gone
        with suppress(OSError):
            outlet.send(told(error))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)  # Python would take two seconds to free what ends with the process
