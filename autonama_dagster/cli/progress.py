"""Progress on standard error: live on a terminal, one line a step elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed


class StepProgress:
    """Shows which step runs, how far its requests are, and how long each step took."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            Elapsed(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._title: str | None = None
        self._task = self._bars.add_task("", total=None, visible=False)
        self._started = time.perf_counter()
        self._shown = 0
        self.seconds: dict[str, float] = {}

    def step(self, title: str) -> None:
        """Begin a step; the one before is finished."""
        self.finish()
        self._title, self._started, self._shown = title, time.perf_counter(), 0
        self._bars.reset(self._task, description=title, total=None, visible=True)

    def requests(self, done: int, total: int) -> None:
        """Requests of the running step that are answered."""
        self._bars.update(self._task, completed=done, total=total)
        tenths = done * 10 // max(total, 1)
        if not self._console.is_terminal and total >= 50 and tenths > self._shown:  # noqa: PLR2004
            self._shown = tenths
            self._console.print(f"  {self._title}: {done} of {total} requests", highlight=False)

    def finish(self) -> None:
        """End the running step and print its duration."""
        if self._title is None:
            return
        took = time.perf_counter() - self._started
        self.seconds[self._title] = self.seconds.get(self._title, 0.0) + took
        self._console.print(f"  {self._title}  [{took:.1f} s]", highlight=False, markup=False)
        self._title = None
        self._bars.update(self._task, visible=False)

    @contextmanager
    def running(self) -> Iterator["StepProgress"]:
        """Show progress inside the block."""
        with self._bars:
            yield self
            self.finish()
