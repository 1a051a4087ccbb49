"""Progress on standard error: a live line on a terminal, a few lines a step elsewhere, or JSON."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import stamina.instrumentation as retries
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed
from rich.text import Text

from autonama_dagster.configuration.service import LogFormat
from autonama_dagster.text.escaping import visible
from resources.instance.json_logs import json_line
from resources.waiting import told_to

PARTS = 4
RETRIES_SHOWN = 3


class StepProgress:
    """Shows which step runs, how far its requests are, and how long each step took.

    Parameters
    ----------
    console
        Where to.
    form
        "json" writes one object a line and no live line: time, level, message, step, and what
        else is known, `seconds` when a step is done.
    """

    many = 50  # parts of a step that is worth lines of its own where no live line can be shown

    def __init__(self, console: Console, form: LogFormat = "text") -> None:
        self._console = console
        self._is_json = form == "json"
        self._is_live = console.is_terminal and not self._is_json
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            Elapsed(),
            console=console,
            transient=True,
            disable=not self._is_live,
        )
        self._lock = threading.Lock()
        self._title: str | None = None
        self._task = self._bars.add_task("", total=None, visible=False)
        self._started = time.perf_counter()
        self._parts_shown = self._retries = 0
        self.seconds: dict[str, float] = {}

    def step(self, title: str) -> None:
        """Begin a step; the one before is finished."""
        self.finish()
        self._title, self._started = title, time.perf_counter()
        self._parts_shown = self._retries = 0
        self._bars.reset(self._task, description=visible(title), total=None, visible=True)

    def requests(self, done: int, total: int) -> None:
        """So many requests, or other parts, of the running step are done."""
        self._count(done, total, "requests", many=self.many)

    def charts(self, done: int, total: int) -> None:
        """So many charts of the running step are drawn."""
        self._count(done, total, "charts", many=PARTS)

    def _count(self, done: int, total: int, what: str, *, many: int) -> None:
        self._bars.update(self._task, completed=done, total=total)
        parts = done * PARTS // max(total, 1)
        if self._is_live or total < many or done == total:
            return
        if parts > self._parts_shown:
            self._parts_shown = parts
            shown = "" if what == "requests" else f" {what}"
            self._print(f"  {self._title}: {done} of {total}{shown}", what, done=done, total=total)

    def waits(self, text: str | None) -> None:
        """Say for whom the step waits, once and as long as it does; None: no longer."""
        title = self._title or ""
        if text is None:
            self._bars.update(self._task, description=title)
            return
        self._bars.update(self._task, description=f"{title}: waiting for {text}")
        self._print(f"  waiting for {text}", "waiting", level="warning", whom=text)

    def retry(self, details: retries.RetryDetails) -> None:
        """Say that a request is repeated; called in the thread that waits."""
        with self._lock:
            self._retries += 1
            number = self._retries
        if number <= RETRIES_SHOWN:
            self._print(
                f"  retrying in {details.wait_for:.1f} s: {details.caused_by}",
                "retrying",
                level="warning",
                wait_seconds=round(details.wait_for, 1),
                cause=str(details.caused_by),
            )
        if number == RETRIES_SHOWN:
            hidden = "further retries of this step are not shown"
            self._print(f"  {hidden}", hidden, level="warning")

    def finish(self) -> None:
        """End the running step and print its duration."""
        if self._title is None:
            return
        took = time.perf_counter() - self._started
        self.seconds[self._title] = self.seconds.get(self._title, 0.0) + took
        self._print(f"  {self._title}  [{took:.1f} s]", "step done", seconds=round(took, 3))
        self._title = None
        self._bars.update(self._task, visible=False)

    @contextmanager
    def running(self) -> Iterator["StepProgress"]:
        """Show progress inside the block, waits, and repeated requests, which stdout gets else."""
        retries.set_on_retry_hooks((self.retry,))
        try:
            with self._bars, told_to(self.waits):
                yield self
                self.finish()
        finally:
            retries.set_on_retry_hooks(None)

    def _print(self, text: str, message: str, *, level: str = "info", **fields: Any) -> None:
        """Print the text, or the message and its fields as JSON."""
        line = json_line(level, message, step=self._title, **fields) if self._is_json else None
        shown = Text(visible(text) if line is None else line)
        self._console.print(shown, soft_wrap=True)
