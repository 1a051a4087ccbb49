"""Processes that load once what all of them need.

On Linux each is forked from one process that has loaded it, elsewhere each loads it for itself: the
libraries of other systems do not survive a fork. That one, once it has loaded, and the forked ones
end with the process that started them, also when it was killed: nothing is left behind.
"""

import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Final

PRELOADED: Final = "autonama_dagster.orchestration.workers.preloaded"
_IS_FORKED: Final = sys.platform == "linux"
_SAFE_PATH: Final = "PYTHONSAFEPATH"


def cores() -> int:
    """How many processes can run at a time."""
    return os.cpu_count() or 1


def process_context() -> ForkServerContext | SpawnContext:
    """How processes are started, on Linux from the one that has loaded `PRELOADED`."""
    load_ahead()
    if _IS_FORKED:
        return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context("spawn")


def load_ahead() -> None:
    """Let the process load that others are forked from, unless it has, while this one goes on."""
    if not _IS_FORKED:
        return
    forkserver.set_forkserver_preload([PRELOADED])
    before = os.environ.get(_SAFE_PATH)
    # Python would look in the current directory first, where anybody's `assets` may lie.
    os.environ[_SAFE_PATH] = "1"
    try:
        with interrupts_held():
            forkserver.ensure_running()
    finally:
        if before is None:
            del os.environ[_SAFE_PATH]
        else:
            os.environ[_SAFE_PATH] = before


@contextmanager
def loading() -> Iterator[None]:
    """Import without looks for cycles, which take a fifth of the time; what is loaded stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Start processes that hold SIGINT back: an interrupted import ends in a traceback."""
    # The tracker goes first because its start lets the signal through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """End this process, whatever it does, when the one that asked for it has ended."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
