"""What a worker process does: it executes steps, with the pipeline loaded once."""

import gc
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from autonama_dagster.errors import AutonamaError
from autonama_dagster.orchestration.jobs import Started, StepRun, announce, run_step
from autonama_dagster.orchestration.pipeline import build_pipeline
from autonama_dagster.orchestration.planner import Step
from autonama_dagster.settings import load_settings
from resources.exchange.build import build_exchange
from resources.exchange.memo import MemoExchange
from resources.instance.home import open_instance
from resources.waiting import Wait


class Outlet:
    """The worker's end of the pipe: its threads send side by side, each message as a whole."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def send(self, message: Any) -> None:
        """Send a message.

        Raises
        ------
        OSError
            Nobody reads any more.
        """
        with self._lock:
            self._pipe.send(message)

    def tell(self, whom: str | None) -> None:
        """Say for whom this process waits, to whoever still listens."""
        with suppress(OSError):
            self.send(Wait(whom))


class Runner:
    """The pipeline, loaded in a worker process, with a memory of the exchange's answers."""

    def __init__(self, pipe: Outlet, tags: Mapping[str, str]) -> None:
        self._pipe = pipe
        self._tags = tags
        settings = load_settings()
        source = build_exchange(settings)
        self._exchange = MemoExchange(source, on_progress=lambda *done: pipe.send(done))
        self._instance = open_instance()
        self._defs = build_pipeline(settings, binance=self._exchange)

    def run(self, task: Sequence[Step]) -> None:
        """Execute the task's steps; an error ends the task and is handed over."""
        try:
            announce(self._exchange, task)
            for step in task:
                self._pipe.send(self._run(step))
        except Exception as error:  # noqa: BLE001 - the other process says it
            self._pipe.send(told(error))
        else:
            self._pipe.send(None)
        gc.collect()  # a run leaves thousands of events that refer to one another

    def _run(self, step: Step) -> StepRun:
        def begun(run_id: str) -> None:
            self._pipe.send(Started(step, run_id))

        return run_step(self._defs, self._instance, step, self._tags, on_start=begun)

    def close(self) -> None:
        """Let go of the exchange and of Dagster's storage."""
        self._exchange.close()
        self._instance.dispose()


def told(error: Exception) -> AutonamaError:
    """The error as the other process is told it."""
    if isinstance(error, AutonamaError):
        return error
    return AutonamaError(f"unexpected {type(error).__name__}: {error}")
