"""Ctrl-C and SIGTERM: which of them came, also while something holds them back."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

STOP: Final = frozenset({signal.SIGINT, signal.SIGTERM})

_came: list[int] = []
_pipe: list[int] = []  # of the listening process, to read from; Python writes at once


@contextmanager
def listening() -> Iterator[None]:
    """Obey SIGTERM as Ctrl-C is obeyed, and remember which of them came; in the main thread."""
    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    term = signal.signal(signal.SIGTERM, signal.default_int_handler)
    _came.clear()
    _pipe.append(reading)
    try:
        yield
    finally:
        _pipe.remove(reading)
        signal.signal(signal.SIGTERM, term)
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)


def heard() -> int | None:
    """The first signal to stop that this process was sent while it listened, or None.

    It is known at once, also while a library in C does not let Python handle it.
    """
    for pipe in _pipe:
        with suppress(OSError):  # nothing came, or the block has just been left
            _came.extend(n for n in os.read(pipe, 1024) if n in STOP)
    return _came[0] if _came else None


def obey() -> None:
    """Raise KeyboardInterrupt if Dagster holds a signal back; elsewhere Python has raised it."""
    if threading.current_thread() is not threading.main_thread():
        return
    interrupts = sys.modules.get("dagster._utils.interrupts")  # not loaded: nothing is held back
    if interrupts is not None and interrupts.pop_captured_interrupt():
        raise KeyboardInterrupt
