"""Runs the planner's steps one after the other in this process: the scan of one day."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import dagster as dg

from autonama_dagster.days import CHART_DAYS
from autonama_dagster.orchestration.execution import origin_tags
from autonama_dagster.orchestration.jobs import StepRun, announce, run_step
from autonama_dagster.orchestration.pipeline import build_pipeline
from autonama_dagster.orchestration.planner import State, Step, next_steps
from autonama_dagster.orchestration.state import planned_stages, read_state
from autonama_dagster.settings import Settings
from resources.exchange.memo import MemoExchange
from resources.instance.locks import end_lost_runs
from resources.warehouse.warehouse import Warehouse


class Scanner:
    """Brings the scan of a day to its end.

    Parameters
    ----------
    settings
        The configured parameters; a scan with others is a what-if and does not come here.
    instance
        Where runs, events and registered symbols are kept.
    exchange
        Source of candles; its memory lets the steps of one scan share answers.
    warehouse
        The project's tables.
    on_step
        Called with the title of each step as it starts.
    progress
        Hears in `charts` how many of how many charts are drawn.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        instance: dg.DagsterInstance,
        exchange: MemoExchange,
        warehouse: Warehouse,
        on_step: Callable[[str], None] = lambda _: None,
        progress: Any = None,
    ) -> None:
        self._settings = settings
        self._instance = instance
        self._exchange = exchange
        self._warehouse = warehouse
        self._on_step = on_step
        self._defs = build_pipeline(
            settings, binance=self._exchange, warehouse=warehouse, progress=progress
        )

    def scan(self, day: date, *, with_charts: bool = False) -> list[StepRun]:
        """Run what the day still needs; nothing when it is complete.

        Raises
        ------
        AutonamaError
            A step failed; what earlier steps stored stays.
        """
        end_lost_runs(self._instance)
        runs: list[StepRun] = []
        chart_days = CHART_DAYS if with_charts else 0
        state = self._state(day)
        if not state.has_universe:
            runs += self._run_all(self._plan(day, state, chart_days))
            # Ranked with what could be fetched; a candidate that failed is asked for next time.
            state = replace(self._state(day), has_universe=True)
        steps = self._plan(day, state, chart_days)
        announce(self._exchange, steps)
        return runs + self._run_all(steps)

    def _state(self, day: date) -> State:
        return read_state(day, self._settings, self._warehouse, self._instance)

    def _plan(self, day: date, state: State, chart_days: int) -> list[Step]:
        return next_steps(
            day,
            state,
            planned_stages(self._settings),
            start_date=self._settings.start_date,
            lookback=self._settings.lookback,
            chart_days=chart_days,
        )

    def _run_all(self, steps: Sequence[Step]) -> list[StepRun]:
        return [self._run(step) for step in steps]

    def _run(self, step: Step) -> StepRun:
        self._on_step(step.title)
        return run_step(self._defs, self._instance, step, origin_tags("scan"))
