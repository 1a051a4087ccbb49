"""The daily job that applies the retention settings."""

from typing import Final

import dagster as dg

from autonama_dagster.orchestration.automation.status import status_of
from autonama_dagster.orchestration.execution import origin_tags
from autonama_dagster.settings import Settings
from resources.postgres.database import dagster_database_url
from resources.postgres.upkeep.retention import is_on, retain
from resources.warehouse.warehouse import Warehouse

JOB: Final = "retention_job"
SCHEDULE: Final = "retention_schedule"


@dg.op(description="Delete alerts, summaries and Dagster events older than the retention settings.")
def apply_retention(
    context: dg.OpExecutionContext,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> None:
    """Delete old alerts, summaries and Dagster events; candles stay."""
    for removed in retain(settings, warehouse.url, dagster_database_url):
        context.log.info(
            "%s: deleted %d rows before %s", removed.table, removed.rows, removed.before
        )


@dg.job(
    name=JOB,
    description="Delete alerts, summaries and Dagster events older than the retention settings.",
)
def retention_job() -> None:
    """One step."""
    apply_retention()


def retention_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """Daily, after the scan; on by itself where runs start by themselves and a retention is set."""
    return dg.ScheduleDefinition(
        name=SCHEDULE,
        job=retention_job,
        tags=origin_tags("schedule"),
        cron_schedule="30 3 * * *",
        execution_timezone="UTC",
        default_status=status_of(settings, dg.DefaultScheduleStatus, has_work=is_on(settings)),
    )
