"""`backfill_job`: a backfill as a run of its own, from the Dagster UI and the command line."""

import time
from typing import Any, Final

import dagster as dg

from autonama_dagster.errors import InputError
from autonama_dagster.orchestration.backfill.backfill import Backfill
from autonama_dagster.orchestration.backfill.request import config_fields, read_days, read_request
from autonama_dagster.orchestration.execution import one_process
from autonama_dagster.orchestration.jobs import Started, StepRun
from autonama_dagster.settings import Settings
from autonama_dagster.text.labels import counted

TENTHS: Final = 10
SILENCE: Final = 15.0  # seconds after which the log says how far a part is, even within a tenth


class RefusedError(InputError, dg.DagsterError):
    """A launch that makes no run: Dagster shows its own errors as they are, and wraps others."""


class LogProgress:
    """Progress as lines in the run's log."""

    def __init__(self, log: dg.DagsterLogManager) -> None:
        self._log = log
        self._title = ""
        self._tenth = 0
        self._told = time.monotonic()

    def step(self, title: str) -> None:
        """A part begins."""
        self._title, self._tenth = title, 0
        self._tell(title)

    def requests(self, done: int, total: int) -> None:
        """So much of the part is done: a line for every tenth, and after a silence."""
        tenth = done * TENTHS // max(total, 1)
        if done and (tenth != self._tenth or time.monotonic() - self._told > SILENCE):
            self._tenth = tenth
            self._tell(f"{self._title}: {done} of {total}")

    def started(self, begun: Started) -> None:
        """A run begins."""
        self._tell(f"{begun.step.title}: started (run {begun.run_id})")

    def ran(self, done: StepRun) -> None:
        """A run has ended well."""
        self._tell(
            f"{done.step.title}: {counted(done.rows, 'row')} in {done.seconds:.1f} s "
            f"(run {done.run_id})"
        )

    def _tell(self, text: str) -> None:
        self._told = time.monotonic()
        self._log.info(text)


@dg.op(
    config_schema=dict,
    required_resource_keys={"settings", "warehouse", "binance", "progress"},
    description=__doc__,
)
def fill(context: dg.OpExecutionContext) -> None:
    """Fill the rectangle of the configuration."""
    resources = context.resources
    request = read_request(context.op_config, resources.settings, resources.binance)
    filled = Backfill(
        request,
        resources.settings,
        instance=context.instance,
        warehouse=resources.warehouse,
        progress=resources.progress or LogProgress(context.log),
        run_id=context.run_id,
    ).run()
    context.add_output_metadata(
        {
            "days": f"{request.first} .. {request.last}",
            "runs": filled.runs,
            "partitions": filled.partitions,
            "rows": filled.rows,
            "seconds": round(filled.seconds, 1),
        }
    )


def build_backfill_job(settings: Settings) -> dg.JobDefinition:
    """The job, with the defaults of these settings.

    Its configuration is mapped, and so refused when it is launched: an impossible day makes no run.
    """

    def mapped(config: dict[str, Any]) -> dict[str, Any]:
        try:
            read_days(config, settings)
        except InputError as error:
            raise RefusedError(str(error)) from None
        return {"fill": {"config": config}}

    @dg.graph(
        name="backfill",
        description="Fill a range of days and symbols.",
        config=dg.ConfigMapping(mapped, config_schema=config_fields(settings)),
    )
    def backfill() -> None:
        fill()

    @dg.job(
        executor_def=one_process,
        description="Fill a range of days and symbols; the Launchpad is pre-filled with all days.",
    )
    def backfill_job() -> None:
        backfill()

    return backfill_job


def filled_by(instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    """What a run of `backfill_job` reports: days, runs, partitions, rows, seconds."""
    outputs = instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_OUTPUT)
    metadata = outputs[-1].get_dagster_event().step_output_data.metadata
    return {name: entry.value for name, entry in metadata.items()}
