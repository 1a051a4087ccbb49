"""`dagster dev` that ends with the process that started it, also when that was killed.

python -m autonama_dagster.dagster_dev PARENT_PID OPTIONS OF DAGSTER DEV
"""

import os
import signal
import sys
import threading
import time

from dagster._cli import main

WATCH = 1.0  # seconds between two looks at the parent


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH)
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in a background job it is ignored
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    sys.argv = ["dagster", "dev", *sys.argv[2:]]
    main()  # type: ignore[no-untyped-call]
