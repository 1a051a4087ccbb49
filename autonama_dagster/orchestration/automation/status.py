"""Whether a schedule or sensor runs by itself, before anybody turns it on or off in the UI."""

from datetime import time
from typing import TypeVar

import dagster as dg

from autonama_dagster.orchestration.execution import origin_tags
from autonama_dagster.settings import Settings

Status = TypeVar("Status", dg.DefaultScheduleStatus, dg.DefaultSensorStatus)


def status_of(settings: Settings, kind: type[Status], *, has_work: bool = True) -> Status:
    """On where runs start by themselves and there is something to do."""
    return kind.RUNNING if settings.automation and has_work else kind.STOPPED


def daily_schedule(
    name: str, job: dg.JobDefinition, at: time, settings: Settings, *, has_work: bool
) -> dg.ScheduleDefinition:
    """Run a job without partitions every day at a time (UTC); see `status_of`."""
    return dg.ScheduleDefinition(
        name=name,
        job=job,
        tags=origin_tags("schedule"),
        cron_schedule=f"{at.minute} {at.hour} * * *",
        execution_timezone="UTC",
        default_status=status_of(settings, dg.DefaultScheduleStatus, has_work=has_work),
    )
