"""How a run executes: all steps in one process, watched, under a clock that stands still."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
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
from resources.run_locks import alive, held

# Of runs that execute in the process that asked for them: Dagster's daemon cannot start them again.
OWN_PROCESS_TAGS = {"autonama/started_by": "autonama", "dagster/max_retries": "0"}
_OWN_PROCESS = {"autonama/started_by": "autonama"}
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
_GRACE = timedelta(seconds=120)  # a run that the daemon started may not have its lock yet


@contextmanager
def executing(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Surround the execution of a run.

    The run holds its lock, see `resources.run_locks`. And Dagster's "now" stands still: every asset
    check lists all partitions of its asset, seconds each, and Dagster remembers the list only as
    long as "now" is the same.
    """
    with held(run_id), partition_loading_context(datetime.now(UTC), instance):
        yield


class _OneProcess(InProcessExecutor):
    """Dagster's in-process executor, inside `executing`."""

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[DagsterEvent]:
        with executing(plan_context.instance, plan_context.run_id):
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
) -> str:
    """Execute a job as a run in this process, without Dagster's log lines; gives the run's id.

    Raises
    ------
    AutonamaError
        The run failed; the project's own errors keep their class, in one line with the `title`.
    """
    run_id = str(uuid4())
    with executing(instance, run_id):
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


def end_lost_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs as failed whose process was killed, and free what they held in pools.

    Dagster's daemon does so too where it runs; the command line works without one.
    """
    statuses = [
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
    ]
    records = instance.get_run_records(dg.RunsFilter(statuses=statuses))
    if not records:
        return []
    living = alive([r.dagster_run.run_id for r in records])
    lost = []
    for record in records:
        run = record.dagster_run
        is_own = _OWN_PROCESS.items() <= run.tags.items()
        is_new = datetime.now(UTC) - record.create_timestamp.astimezone(UTC) < _GRACE
        if run.run_id in living or (is_new and not is_own):
            continue
        # It may have ended by itself between the two looks.
        latest = instance.get_run_by_id(run.run_id)
        if latest is None or latest.status not in statuses:
            continue
        instance.report_run_failed(run, "the run's process was lost")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        lost.append(run.run_id)
    return lost


def _failure(result: dg.ExecuteInProcessResult, title: str) -> AutonamaError:
    """The error that ended the run, as one line; the project's own errors keep their class."""
    for event in result.all_events:
        error = getattr(event.event_specific_data, "error", None)
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None:
            kind = getattr(errors, error.cls_name or "", AutonamaError)
            text = " ".join(error.message.split())
            text = text.removeprefix(f"{errors.__name__}.{error.cls_name}: ")
            return kind(f"{title}: {text} (run {result.run_id})")
    return AutonamaError(f"{title} failed (run {result.run_id}); see it in `autonama up`")
