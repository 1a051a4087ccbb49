"""Whether a schedule or sensor runs by itself, before anybody turns it on or off in the UI."""

from typing import TypeVar

import dagster as dg

from autonama_dagster.settings import Settings

Status = TypeVar("Status", dg.DefaultScheduleStatus, dg.DefaultSensorStatus)


def status_of(settings: Settings, kind: type[Status], *, has_work: bool = True) -> Status:
    """On where runs start by themselves and there is something to do."""
    return kind.RUNNING if settings.automation and has_work else kind.STOPPED
