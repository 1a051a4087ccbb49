"""The jobs of a scan and of other intervals, and what runs a planner's step with them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dagster as dg

from assets.stages import STAGES
from autonama_dagster.days import DAY, midnight
from autonama_dagster.orchestration.execution import execute, one_process
from autonama_dagster.orchestration.planner import Step
from autonama_dagster.schemas.base import Partitions
from autonama_dagster.schemas.partitions import RANGE_END_TAG, RANGE_START_TAG, key_of
from resources.exchange.memo import MemoExchange
from resources.io_manager import ROWS_METADATA

if TYPE_CHECKING:
    from datetime import date

# Job, the partitioning its assets share, and its assets in pipeline order.
JOBS: dict[str, tuple[Partitions | None, tuple[str, ...]]] = {
    job: (
        next(s.partitions for s in STAGES if s.job == job),
        tuple(s.name for s in STAGES if s.job == job),
    )
    for job in dict.fromkeys(s.job for s in STAGES)
}
# The assets of a scan: daily candles, what is made of them by symbol, and the summaries.
DAILY = tuple(a for job, (_, assets) in JOBS.items() if job != "intraday_job" for a in assets)
SUMMARY = JOBS["summary_job"][1]
CANDLES = tuple(s.name for s in STAGES if s.name in DAILY and not s.is_analytic)
ANALYTIC = tuple(a for a in JOBS["symbols_job"][1] if a not in CANDLES)
_DESCRIPTIONS = {
    "universe_job": "Rank the universe of a day.",
    "history_job": "Candles before the start date, for new symbols.",
    "symbols_job": "All stages from candles to alerts, for registered symbols.",
    "summary_job": "Correlations and the summary of a day.",
    "intraday_job": "Candles of other intervals, for AUTONAMA_INTRADAY_SYMBOLS.",
}


def build_jobs() -> list[Any]:
    """The jobs, unresolved; steps run in one process because each own process costs seconds."""
    return [
        dg.define_asset_job(
            name,
            selection=dg.AssetSelection.assets(*assets),
            executor_def=one_process,
            description=_DESCRIPTIONS.get(name),
        )
        for name, (_, assets) in JOBS.items()
    ]


def range_tags(step: Step) -> dict[str, str]:
    """Tags that make one run of the step's rectangle of partitions."""
    kind, _ = JOBS[step.job]
    if kind is None:
        return {}
    first, last = {
        "date": lambda: (step.first.isoformat(), step.last.isoformat()),
        "symbol": lambda: (step.symbols[0], step.symbols[-1]),
        "date_symbol": lambda: (
            key_of(step.first, step.symbols[0]),
            key_of(step.last, step.symbols[-1]),
        ),
    }[kind]()
    return {RANGE_START_TAG: first, RANGE_END_TAG: last}


def partitions_of(step: Step) -> int:
    """Partitions that the step's run materialises, of all its assets together."""
    kind, assets = JOBS[step.job]
    days = 1 if kind == "symbol" else (step.last - step.first).days + 1
    return len(step.assets or assets) * days * max(1, len(step.symbols))


def run_config(step: Step) -> dict[str, Any]:
    """Run configuration of the step's assets."""
    ops = {asset: {"config": dict(values)} for asset, values in step.config.items()}
    return {"ops": ops} if ops else {}


@dataclass(frozen=True)
class Started:
    """A step whose run begins."""

    step: Step
    run_id: str


@dataclass(frozen=True)
class StepRun:
    """A step that ran, the run's id, and the rows it wrote."""

    step: Step
    run_id: str
    seconds: float
    rows: int = 0


def run_step(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    step: Step,
    tags: Mapping[str, str],
    *,
    on_start: Callable[[str], None] = lambda _: None,
) -> StepRun:
    """Execute the step as a run in this process, with these tags beside those of its range.

    `on_start` is called with the run's id.

    Raises
    ------
    AutonamaError
        The run failed.
    """
    started = time.perf_counter()
    run_id = str(uuid4())
    on_start(run_id)
    execute(
        defs.resolve_job_def(step.job),
        instance,
        step.title,
        config=run_config(step),
        tags={**range_tags(step), **tags},
        assets=step.assets,
        run_id=run_id,
    )
    seconds = time.perf_counter() - started
    return StepRun(step, run_id, seconds, _rows_written(instance, run_id))


def _rows_written(instance: dg.DagsterInstance, run_id: str) -> int:
    """Rows that the IO manager says it stored, of all the run's assets together."""
    outputs = instance.all_logs(run_id, of_type=dg.DagsterEventType.HANDLED_OUTPUT)
    said: list[Any] = [entry.get_dagster_event().event_specific_data for entry in outputs]
    return sum(handled.metadata[ROWS_METADATA].value for handled in said)


def announce(exchange: MemoExchange, steps: Sequence[Step]) -> None:
    """Tell the exchange which candles the steps will ask for, so that neighbours share one call."""
    spans: dict[str, tuple[date, date]] = {}
    for step in steps:
        if not {*CANDLES} & {*(step.assets or JOBS[step.job][1])}:
            continue
        for symbol in step.symbols:
            first, last = spans.get(symbol, (step.first, step.last))
            spans[symbol] = min(first, step.first), max(last, step.last)
    for symbol, (first, last) in spans.items():
        exchange.expect(symbol, "1d", midnight(first), midnight(last + DAY))
