"""Runs the planner's steps one after the other in this process: the scan of one day."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context

from assets.stage import channel_params
from assets.symbol_charts import CHART_DAYS
from assets.universe import universe_params
from autonama_dagster import errors
from autonama_dagster.analytics.hashing import code_version, params_hash
from autonama_dagster.definitions import build_defs
from autonama_dagster.errors import AutonamaError
from autonama_dagster.jobs import JOBS, range_tags, run_config
from autonama_dagster.partitions import register
from autonama_dagster.planner import State, Step, next_steps
from autonama_dagster.settings import Settings
from resources.candle_feed import midnight
from resources.exchange.memo import MemoExchange
from resources.warehouse import RANKING, Warehouse

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
DAY = timedelta(days=1)


@dataclass(frozen=True)
class StepReport:
    """A step that ran."""

    step: Step
    run_id: str
    seconds: float


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
    """

    def __init__(
        self,
        settings: Settings,
        *,
        instance: dg.DagsterInstance,
        exchange: MemoExchange,
        warehouse: Warehouse,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._instance = instance
        self._exchange = exchange
        self._warehouse = warehouse
        self._on_step = on_step
        self._defs = build_defs(settings, exchange=self._exchange, warehouse=warehouse)

    def scan(self, day: date, *, with_charts: bool = False) -> list[StepReport]:
        """Run what the day still needs; nothing when it is complete.

        Raises
        ------
        AutonamaError
            A step failed; what earlier steps stored stays.
        """
        reports: list[StepReport] = []
        chart_days = CHART_DAYS if with_charts else 0
        state = self._state(day)
        if not state.has_universe:
            reports += self._run_all(self._plan(day, state, chart_days))
            # Ranked with what could be fetched; a candidate that failed is asked for next time.
            state = replace(self._state(day), has_universe=True)
        steps = self._plan(day, state, chart_days)
        self._announce(steps, day)
        return reports + self._run_all(steps)

    def _plan(self, day: date, state: State, chart_days: int) -> list[Step]:
        return next_steps(
            day,
            state,
            start_date=self._settings.start_date,
            lookback=self._settings.lookback,
            chart_days=chart_days,
        )

    def _state(self, day: date) -> State:
        ranking = (params_hash(universe_params(self._settings)), code_version())
        members = self._warehouse.members(day, *ranking)
        registered = register(self._instance, members)
        versions = (params_hash(channel_parameters(self._settings)), code_version())
        return State(
            has_universe=bool(members) and not self._warehouse.failed_fetches(day, RANKING),
            registered=tuple(registered),
            fetched=self._warehouse.fetched_ranges("1d", registered),
            decided=self._warehouse.decided(day, *versions),
            is_summarised=self._warehouse.is_summarised(day, *versions),
        )

    def _announce(self, steps: Sequence[Step], day: date) -> None:
        """Tell the exchange what the steps will ask for, so that neighbours share one call."""
        first: dict[str, date] = {}
        for step in steps:
            for symbol in step.symbols:
                first[symbol] = min(first.get(symbol, day), step.first)
        for symbol, begin in first.items():
            self._exchange.expect(symbol, "1d", midnight(begin), midnight(day + DAY))

    def _run_all(self, steps: Sequence[Step]) -> list[StepReport]:
        return [self._run(step) for step in steps]

    def _run(self, step: Step) -> StepReport:
        self._on_step(step.title)
        started = time.perf_counter()
        job = self._defs.resolve_job_def(step.job)
        assets = step.assets or JOBS[step.job][1]
        config: dict[str, Any] = {**run_config(step), **_QUIET}
        selection = [dg.AssetKey(a) for a in assets] if step.assets else None
        # Every check lists all partitions of its asset, seconds each; Dagster remembers the list
        # as long as "now" stands still.
        with partition_loading_context(datetime.now(UTC), self._instance):
            result = job.execute_in_process(
                instance=self._instance,
                run_config=config,
                tags=range_tags(step),
                asset_selection=selection,
                raise_on_error=False,
            )
        if not result.success:
            raise _failure(result, step)
        return StepReport(step, result.run_id, time.perf_counter() - started)


def channel_parameters(settings: Settings) -> dict[str, Any]:
    """The parameters whose hash `signals` and `analysis_summary` carry."""
    return asdict(channel_params(settings))


def _failure(result: dg.ExecuteInProcessResult, step: Step) -> AutonamaError:
    """The error that ended the run, as one line; the project's own errors keep their class."""
    for event in result.all_events:
        error = getattr(event.event_specific_data, "error", None)
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None:
            kind = getattr(errors, error.cls_name or "", AutonamaError)
            text = " ".join(error.message.split())
            text = text.removeprefix(f"{errors.__name__}.{error.cls_name}: ")
            return kind(f"{step.title}: {text} (run {result.run_id})")
    return AutonamaError(f"{step.title} failed (run {result.run_id}); see it in `autonama up`")
