"""Processes that execute steps side by side; each loads the code location once."""

from collections.abc import Callable
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Self

from autonama_dagster.jobs import StepRun
from autonama_dagster.processes import Task, WorkerProcess, lost, take_process

Requests = Callable[[int, int], None]


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
        for worker in self._workers:
            worker.end()

    def start(self) -> None:
        """Let all processes load what they need, for tasks that are still to come."""
        while len(self._workers) < self._count:
            self._workers.append(take_process())

    def submit(self, task: Task) -> None:
        """Hand the task to a free process, waiting until there is one.

        Raises
        ------
        AutonamaError
            A step failed, here or in an earlier task, or a process was lost.
        """
        free = next((w for w in self._workers if not w.is_busy), None)
        if free is None and len(self._workers) < self._count:
            free = take_process()
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
                raise lost() from None
            self._take(worker, message)

    def _take(self, worker: WorkerProcess, message: Any) -> None:
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
