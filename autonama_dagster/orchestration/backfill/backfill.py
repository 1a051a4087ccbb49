"""Fills any rectangle of days and symbols, in runs that fit the memory, on all cores.

The rows are made by runs of the ordinary jobs, a rectangle each, in worker processes. What is
stored and current is not made again, so a backfill that was stopped goes on where it was.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Protocol

import dagster as dg

from assets.partitions import register
from autonama_dagster.days import chunks, days_of
from autonama_dagster.orchestration import planner
from autonama_dagster.orchestration.backfill.request import Request
from autonama_dagster.orchestration.completeness import PlannedStage, Rows
from autonama_dagster.orchestration.execution import origin_tags
from autonama_dagster.orchestration.jobs import CANDLES, JOBS, Started, StepRun, partitions_of
from autonama_dagster.orchestration.planner import Step
from autonama_dagster.orchestration.state import planned_stages, read_made, read_ranked
from autonama_dagster.orchestration.workers.pool import Workers
from autonama_dagster.schemas.partitions import SYMBOL_DIMENSION
from autonama_dagster.settings import Settings
from resources.instance.locks import end_lost_runs
from resources.processes import cores
from resources.warehouse.candle_queries import fetched_ranges
from resources.warehouse.warehouse import Warehouse


class Progress(Protocol):
    """Where a backfill tells how far it is."""

    def step(self, title: str) -> None:
        """A part begins."""

    def requests(self, done: int, total: int) -> None:
        """So much of the part is done."""

    def started(self, begun: Started) -> None:
        """A run begins."""

    def ran(self, done: StepRun) -> None:
        """A run has ended well."""


@dataclass(frozen=True)
class Filled:
    """What a backfill did: runs, partitions they materialised, rows they wrote, seconds."""

    runs: int = 0
    partitions: int = 0
    rows: int = 0
    seconds: float = 0.0


class Backfill:
    """Fills a rectangle.

    Parameters
    ----------
    request
        What to fill.
    settings
        The configured parameters.
    instance
        Where runs, events and registered symbols are kept.
    warehouse
        The project's tables.
    progress
        Told how far it is.
    run_id
        The run that fills it, which its runs name.
    """

    def __init__(
        self,
        request: Request,
        settings: Settings,
        *,
        instance: dg.DagsterInstance,
        warehouse: Warehouse,
        progress: Progress,
        run_id: str | None = None,
    ) -> None:
        self._request = request
        self._settings = settings
        self._instance = instance
        self._warehouse = warehouse
        self._progress = progress
        self._tags = origin_tags("backfill", run_id)
        self._filled = Filled()

    def run(self) -> Filled:
        """Fill it; nothing is made where everything is there.

        Raises
        ------
        AutonamaError
            A run failed, or a worker process was lost; what was stored stays.
        """
        started = time.perf_counter()
        end_lost_runs(self._instance)
        with self._workers(cores()) as workers:
            # One process asks the exchange, whose steps share answers; it ends before the others
            # need the memory.
            with self._workers(1) as fetching:
                self._progress.step("rank the universe")
                rankings = self._rankings()
                self._execute(fetching, rankings)
                register(self._instance, self._request.symbols)
                self._progress.step("fetch candles")
                candles = self._candles()
                self._execute(fetching, candles)
            self._progress.step("indicators to summaries")
            stages = self._request.stages(planned_stages(self._settings))
            of_days = [s for s in stages if s.partitions is not None]
            parts = self._chunks() if of_days else []
            for done, (first, last) in enumerate(parts):
                self._progress.requests(done, len(parts))
                # Planned as late as this, so that another backfill's work is not done again.
                if steps := self._rows(of_days, first, last):
                    workers.submit(steps)
            workers.finish()
            undated = [s for s in stages if s.partitions is None]
            self._execute(workers, self._rows(undated, self._request.first, self._request.last))
            self._progress.requests(len(parts), len(parts))
        return replace(self._filled, seconds=time.perf_counter() - started)

    def _workers(self, count: int) -> Workers:
        return Workers(
            count,
            tags=self._tags,
            on_start=self._progress.started,
            on_done=self._count,
            on_requests=self._progress.requests,
        )

    def _count(self, done: StepRun) -> None:
        self._filled = replace(
            self._filled,
            runs=self._filled.runs + 1,
            partitions=self._filled.partitions + partitions_of(done.step),
            rows=self._filled.rows + done.rows,
        )
        self._progress.ran(done)

    def _execute(self, workers: Workers, steps: Sequence[Step]) -> None:
        if steps:
            workers.submit(steps)
            workers.finish()

    def _ranked(self, first: date, last: date) -> tuple[frozenset[date], tuple[str, ...]]:
        return read_ranked(first, last, self._settings, self._warehouse, self._instance)

    def _rankings(self) -> list[Step]:
        if not self._request.chosen(("universe",)):
            return []
        first, last = self._request.first, self._request.last
        ranked, _ = self._ranked(first, last)
        again = self._request.again
        return planner.ranking_steps([d for d in days_of(first, last) if again or d not in ranked])

    def _candles(self) -> list[Step]:
        """Fetch what is missing; of chosen symbols neighbours in the order of registration."""
        assets = self._request.chosen(CANDLES)
        if not assets:
            return []
        _, registered = self._ranked(self._request.last, self._request.last)
        again = self._request.again
        fetched = {} if again else fetched_ranges(self._warehouse, "1d", registered)
        steps: list[Step] = []
        for group in planner.neighbours(registered, self._chosen(registered)):
            steps += planner.candle_steps(
                self._request.first,
                self._request.last,
                group,
                fetched,
                start_date=self._settings.start_date,
                # Without the history only the days themselves are asked for.
                lookback=self._settings.lookback if "ohlcv_1d_history" in assets else 1,
            )
        wanted = {job for job, (_, of) in JOBS.items() if not set(assets).isdisjoint(of)}
        return [step for step in steps if step.job in wanted]

    def _chosen(self, registered: Sequence[str]) -> frozenset[str]:
        return frozenset(self._request.symbols or registered)

    def _chunks(self) -> list[tuple[date, date]]:
        first, last = self._request.first, self._request.last
        symbols = self._chosen(self._instance.get_dynamic_partitions(SYMBOL_DIMENSION))
        days = self._request.days_per_run or planner.days_per_run(
            len(symbols), (last - first).days + 1, cores()
        )
        return chunks(first, last, days)

    def _rows(self, stages: Sequence[PlannedStage], first: date, last: date) -> list[Step]:
        """What the stages lack of the days."""
        if not stages:
            return []
        _, registered = self._ranked(first, last)
        made: Mapping[str, Rows] = {}
        if not self._request.again:
            span = first, last, registered, self._settings, self._warehouse
            made = read_made(stages, *span)
        return planner.fill_steps(
            days_of(first, last),
            made,
            stages,
            registered=registered,
            chosen=self._chosen(registered),
            latest=self._request.latest or self._request.last,
            members=self._settings.max_members,
        )
