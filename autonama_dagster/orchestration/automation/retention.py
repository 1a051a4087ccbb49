"""The daily job that applies the retention settings."""

from datetime import time
from typing import Final

import dagster as dg

from autonama_dagster.orchestration.automation.status import daily_schedule
from autonama_dagster.settings import Settings
from resources.postgres.database import dagster_database_url
from resources.postgres.upkeep.retention import is_on, retain
from resources.warehouse.warehouse import Warehouse

JOB: Final = "retention_job"
SCHEDULE: Final = "retention_schedule"
AT: Final = time(3, 30)


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
    return daily_schedule(SCHEDULE, retention_job, AT, settings, has_work=is_on(settings))
