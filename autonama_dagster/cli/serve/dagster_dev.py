"""`dagster dev`, its UI guarded, that ends with its parent, also when that was killed.

It ends with its code server too: Dagster starts no other in its place, and without one nothing is
scanned any more. Whoever supervises it starts it again.

python -m autonama_dagster.cli.serve.dagster_dev PARENT_PID OPTIONS OF DAGSTER DEV
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psutil
from dagster._cli import dev, main

WATCH = 1.0  # seconds between two looks at the parent and at the code server
GRACE = 5.0  # seconds that there may be none: a reload puts another in its place
CODE_SERVER = ["dagster", "api", "grpc"]

_start: Any = dev.open_ipc_subprocess  # type: ignore[attr-defined]


def _end_with(parent: int) -> None:
    """End as soon as the parent has, or the code server for longer than `GRACE`."""
    seen: float | None = None
    server: psutil.Process | None = None
    while os.getppid() == parent:
        # All processes are only searched where the one that is known has ended.
        server = server if server is not None and _lives(server) else _code_server()
        if server is not None:
            seen = time.monotonic()
        elif seen is not None and time.monotonic() - seen > GRACE:
            sys.stderr.write("the code server has ended, and Dagster with it\n")
            break
        time.sleep(WATCH)
    os.kill(os.getpid(), signal.SIGINT)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _code_server() -> psutil.Process | None:
    """The process below this one that serves the code."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if process.cmdline()[2:5] == CODE_SERVER:
                return process
    return None


def _start_guarded(parts: Sequence[str], **options: Any) -> Any:
    """Start what `dagster dev` starts, our webserver in place of Dagster's."""
    swapped = [
        "autonama_dagster.cli.serve.dagster_webserver" if p == "dagster_webserver" else p
        for p in parts
    ]
    return _start(swapped, **options)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in a background job it is ignored
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    sys.argv = ["dagster", "dev", *sys.argv[2:]]
    dev.open_ipc_subprocess = _start_guarded  # type: ignore[attr-defined]
    main()  # type: ignore[no-untyped-call]
