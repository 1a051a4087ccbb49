"""`dagster dev`, its UI guarded, that ends with its parent, also when that was killed.

python -m autonama_dagster.cli.serve.dagster_dev PARENT_PID OPTIONS OF DAGSTER DEV
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from dagster._cli import dev, main

WATCH = 1.0  # seconds between two looks at the parent

_start: Any = dev.open_ipc_subprocess  # type: ignore[attr-defined]


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH)
    os.kill(os.getpid(), signal.SIGINT)


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
