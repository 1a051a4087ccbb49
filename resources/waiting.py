"""How the project waits for others: it says for whom, sleeps between looks, and obeys signals.

`wait_until` is for what can be asked for: a slot of a pool, a file lock, a server that starts. What
only Postgres can wait for, the locks of a statement, is in `resources.postgres.watching`.
"""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from autonama_dagster.system import stop_signals as signals

EVERY: Final = 1.0  # seconds between two looks of a long wait
FIRST: Final = 0.02  # and between the first two: most waits are short
QUIET: Final = 1.0  # seconds of waiting that nobody needs to be told of

LONGEST_NAME: Final = 63  # that Postgres keeps of a connection's

Listener = Callable[[str | None], None]  # for whom we wait; None: no longer

_names: list[str] = []
_log = logging.getLogger(__name__)


def _to_log(text: str | None) -> None:
    if text is not None:
        _log.warning("waiting for %s", text)


_listeners: list[Listener] = [_to_log]


@dataclass(frozen=True)
class Wait:
    """What a worker process tells the one that it works for."""

    whom: str | None


@contextlib.contextmanager
def told_to(listener: Listener) -> Iterator[None]:
    """Tell the listener, in place of the log, for whom this process waits inside the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def tell(text: str | None) -> None:
    """Say for whom this process, or one that works for it, waits; None: no longer."""
    _listeners[-1](text)


def introduce(command: str) -> None:
    """Give this process's connections a name by which others know for whom they wait."""
    name = f"autonama {command}, process {os.getpid()} on {socket.gethostname()}"
    _names[:] = [name.replace("'", "")[:LONGEST_NAME]]


def own_name() -> str:
    """The name of this process's connections."""
    if not _names:
        introduce("run")  # which Dagster has started
    return _names[0]


def wait_until(
    look: Callable[[], bool],
    whom: Callable[[], str],
    *,
    patience: float | None = None,
    every: float = EVERY,
) -> bool:
    """Look again and again until it is so; False when the patience is at its end.

    Parameters
    ----------
    look
        Whether the wait is over. It also does what ends a wait for somebody who is dead.
    whom
        For whom we wait, to be shown: asked for once, when the wait is more than a moment.
    patience
        Seconds; None: for ever.
    every
        Seconds between two looks of a long wait.

    Raises
    ------
    KeyboardInterrupt
        Ctrl-C or SIGTERM, also where Dagster holds signals back.
    """
    began = time.monotonic()
    pause = min(FIRST, every)
    is_told = False
    try:
        while not look():
            waited = time.monotonic() - began
            if patience is not None and waited >= patience:
                return False
            if not is_told and waited >= QUIET:
                is_told = True
                tell(whom())
            time.sleep(pause)
            pause = min(2 * pause, every)
            signals.obey()
    finally:
        if is_told:
            tell(None)
    return True
