"""A process that executes steps for this one.

It ends with the one that started it, also when that was killed: nothing is left behind. What it
needs is imported there alone, so that it can be started before this process imports the same.
"""

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Final

from autonama_dagster.errors import AutonamaError
from autonama_dagster.planner import Step

Task = Sequence[Step]  # one after the other in one process

PATIENCE: Final = 20.0  # seconds in which an interrupted run can say that it was

_ahead: list["WorkerProcess"] = []


class WorkerProcess:
    """One process and our end of its pipe; it loads at once and waits for its first task."""

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
        """Hand over a task.

        Raises
        ------
        AutonamaError
            The process is gone.
        """
        try:
            self.pipe.send(task)
        except OSError:
            raise lost() from None
        self.is_busy = True

    def ask_to_end(self) -> None:
        """Ask the process to stop, also in the middle of a task."""
        self.pipe.close()
        if self.is_busy and self.process.pid and self.process.is_alive():
            os.kill(self.process.pid, signal.SIGINT)

    def end(self) -> None:
        """Wait until the process has stopped, and make it stop."""
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@contextmanager
def started_ahead() -> Iterator[None]:
    """Let a process load while this one does; it is the first that `take_process` gives.

    It touches nothing before its first task, so it is killed where nobody took it.
    """
    _ahead.append(WorkerProcess())
    try:
        yield
    finally:
        while _ahead:
            unused = _ahead.pop().process
            unused.kill()
            unused.join()


def take_process() -> WorkerProcess:
    """The process that was started ahead, or a new one."""
    return _ahead.pop() if _ahead else WorkerProcess()


def lost() -> AutonamaError:
    """What is said when a process has ended by itself."""
    return AutonamaError(
        "a worker process was lost (killed, or out of memory): run the same command again to go "
        "on, with fewer days per run if memory is short"
    )


def _work(pipe: Connection) -> None:
    """Execute the tasks that come through the pipe, until it is closed."""
    # A shell starts background jobs with SIGINT ignored, which a child inherits.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    gc.disable()  # what is imported stays: looking for cycles takes a fifth of the time
    from autonama_dagster.worker import Runner, told  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    try:
        task = pipe.recv()
        with closing(Runner(pipe)) as runner:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            while True:
                runner.run(task)
                task = pipe.recv()
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass
    except Exception as error:  # noqa: BLE001 - while it opens or ends, e.g. the server is gone
        with suppress(OSError):
            pipe.send(told(error))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)  # Python would take two seconds to free what ends with the process


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
