"""How a run executes: all steps in one process, watched, under a clock that stands still."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Literal
from uuid import uuid4

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.events import DagsterEvent
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.base import Executor
from dagster._core.executor.in_process import InProcessExecutor

from autonama_dagster import errors
from autonama_dagster.errors import AutonamaError
from autonama_dagster.schemas.partitions import SYMBOL_DIMENSION
from resources.instance.locks import OWN_PROCESS_TAGS, database_of, held, hold_to_the_end

STARTED_BY_TAG = "autonama/started_by"
PARENT_TAG = "autonama/parent_run"  # not Dagster's own tag: that marks the second try of a run

_INTERRUPTS = {dg.DagsterExecutionInterruptedError.__name__, KeyboardInterrupt.__name__}
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@contextmanager
def _clock_held(instance: dg.DagsterInstance) -> Iterator[None]:
    """Let Dagster's "now" stand still.

    Every asset check lists all partitions of its asset, seconds each, and Dagster remembers the
    list only as long as "now" is the same: also from one run of this process to the next.
    """
    symbols = tuple(instance.get_dynamic_partitions(SYMBOL_DIMENSION))
    with partition_loading_context(_now(datetime.now(UTC).date(), symbols), instance):
        yield


@lru_cache(maxsize=1)
def _now(_today: date, _symbols: tuple[str, ...]) -> datetime:
    """The same instant until another day or another symbol has partitions."""
    return datetime.now(UTC)


class _OneProcess(InProcessExecutor):
    """Dagster's in-process executor, with the run's lock and a clock that stands still."""

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        hold_to_the_end(database_of(plan_context.instance), plan_context.run_id)
        with _clock_held(plan_context.instance):
            yield from super().execute(plan_context, execution_plan)


@dg.executor(name="one_process")
def one_process(_context: dg.InitExecutorContext) -> Executor:
    """Executes all steps of a run in its process: a process of its own costs seconds a step."""
    return _OneProcess(retries=RetryMode.ENABLED)


def execute(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    title: str,
    *,
    config: dict[str, Any],
    tags: dict[str, str],
    assets: Sequence[str] | None = None,
    run_id: str | None = None,
) -> str:
    """Execute a job as a run in this process, without Dagster's log lines; gives the run's id.

    Raises
    ------
    AutonamaError
        The run failed; the project's own errors keep their class, in one line with the `title`.
    KeyboardInterrupt
        Ctrl-C ended it.
    """
    run_id = run_id or str(uuid4())
    with _interruptible(), held(database_of(instance), run_id), _clock_held(instance):
        result = job.execute_in_process(
            run_id=run_id,
            instance=instance,
            run_config={**config, **_QUIET},
            tags={**tags, **OWN_PROCESS_TAGS},
            asset_selection=[dg.AssetKey(a) for a in assets] if assets else None,
            raise_on_error=False,
        )
    if not result.success:
        raise _failure(result, title)
    return run_id


def origin_tags(
    starter: Literal["scan", "backfill", "schedule", "sensor"], parent: str | None = None
) -> dict[str, str]:
    """Tags that say who started a run, and the id of the run that did, if it was one."""
    return {STARTED_BY_TAG: starter} | ({PARENT_TAG: parent} if parent else {})


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C between two steps be what it is everywhere else."""
    try:
        yield
    except dg.DagsterExecutionInterruptedError:
        raise KeyboardInterrupt from None


def innermost(error: Any) -> Any:
    """The error that began a chain of causes, as Dagster keeps it with an event, or None."""
    while error is not None and error.cause is not None:
        error = error.cause
    return error


def _failure(result: dg.ExecuteInProcessResult, title: str) -> BaseException:
    """What ended the run: one line that keeps the class of the project's own errors, or Ctrl-C."""
    for event in result.all_events:
        error = innermost(getattr(event.event_specific_data, "error", None))
        if error is not None:
            if error.cls_name in _INTERRUPTS:
                return KeyboardInterrupt()
            kind = getattr(errors, error.cls_name or "", AutonamaError)
            text = " ".join(error.message.split())
            text = text.removeprefix(f"{errors.__name__}.{error.cls_name}: ")
            return kind(f"{title}: {text} (run {result.run_id})")
    return AutonamaError(f"{title} failed (run {result.run_id}); for details run `autonama up`")
