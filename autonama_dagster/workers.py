"""Processes that execute steps side by side; each loads the code location once.

A process ends with the one that started it, also when that was killed: nothing is left behind.
"""

import gc
import importlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self

from autonama_dagster.errors import AutonamaError
from autonama_dagster.jobs import StepRun, announce, run_step
from autonama_dagster.planner import Step
from autonama_dagster.settings import load_settings
from resources.exchange.build import build_exchange
from resources.exchange.memo import MemoExchange
from resources.instance import open_instance

CODE_LOCATION = "autonama_dagster.definitions"  # as in workspace.yaml
PATIENCE = 20.0  # seconds in which an interrupted run can say that it was

Requests = Callable[[int, int], None]
Task = Sequence[Step]  # one after the other in one process


class _Worker:
    """One process and our end of its pipe."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,))
        # Held back while it loads: an interrupted import ends in a traceback. The tracker goes
        # first because its start lets the signal through again.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self.is_busy = False

    def give(self, task: Task) -> None:
        try:
            self.pipe.send(task)
        except OSError:
            raise _lost() from None
        self.is_busy = True

    def end(self) -> None:
        """Ask the process to stop, and make it stop."""
        self.pipe.close()
        if self.is_busy and self.process.pid and self.process.is_alive():
            os.kill(self.process.pid, signal.SIGINT)
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class Workers:
    """A fixed number of processes that take tasks as they become free.

    Parameters
    ----------
    count
        Processes; each starts with its first task, or with `start`.
    on_done
        Called for each step that ran, in this process.
    on_requests
        Called with answered and all requests of a step that asks the exchange.
    """

    def __init__(
        self, count: int, *, on_done: Callable[[StepRun], None], on_requests: Requests
    ) -> None:
        self._count = count
        self._on_done = on_done
        self._on_requests = on_requests
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.end()

    def start(self) -> None:
        """Let all processes load what they need, for tasks that are still to come."""
        while len(self._workers) < self._count:
            self._workers.append(_Worker())

    def submit(self, task: Task) -> None:
        """Hand the task to a free process, waiting until there is one.

        Raises
        ------
        AutonamaError
            A step failed, here or in an earlier task, or a process was lost.
        """
        free = next((w for w in self._workers if not w.is_busy), None)
        if free is None and len(self._workers) < self._count:
            free = _Worker()
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

    def _take(self, worker: _Worker, message: Any) -> None:
        match message:
            case StepRun():
                self._on_done(message)
            case (int() as done, int() as total):
                self._on_requests(done, total)
            case None:
                worker.is_busy = False
            case BaseException():
                worker.is_busy = False
                raise message


def _lost() -> AutonamaError:
    return AutonamaError(
        "a worker process was lost (killed, or out of memory): run the same command again to go "
        "on, with fewer days per run if memory is short"
    )


def _work(pipe: Connection) -> None:
    """Execute the tasks that come through the pipe, until it is closed."""
    # A shell starts background jobs with SIGINT ignored, which a child inherits.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with closing(_Runner(pipe)) as runner:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            while True:
                runner.run(pipe.recv())
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except Exception as error:  # noqa: BLE001 - while it loads or ends, e.g. the server is gone
        with suppress(OSError):
            pipe.send(_told(error))


def _told(error: Exception) -> AutonamaError:
    """The error as the other process is told it."""
    if isinstance(error, AutonamaError):
        return error
    return AutonamaError(f"unexpected {type(error).__name__}: {error}")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class _Runner:
    """The code location, loaded in a worker process, with a memory of the exchange's answers."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        settings = load_settings()
        source = build_exchange(settings)
        self._exchange = MemoExchange(source, on_progress=lambda *done: pipe.send(done))
        self._instance = open_instance()
        # By name, as every process of Dagster loads it: the definitions hold the job that runs us.
        location = importlib.import_module(CODE_LOCATION)
        self._defs = location.build_defs(settings, exchange=self._exchange)

    def run(self, task: Task) -> None:
        """Execute the task's steps; an error ends the task and is handed over."""
        try:
            announce(self._exchange, task)
            for step in task:
                self._pipe.send(run_step(self._defs, self._instance, step))
        except Exception as error:  # noqa: BLE001 - the other process says it
            self._pipe.send(_told(error))
        else:
            self._pipe.send(None)
        gc.collect()  # a run leaves thousands of events that refer to one another

    def close(self) -> None:
        self._exchange.close()
        self._instance.dispose()
