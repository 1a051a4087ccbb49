"""Everything put together: the pipeline, and what starts its runs.

The CLI, the tests and the code location use the same function; each may replace the settings or a
resource.
"""

from typing import Any

import dagster as dg

from autonama_dagster.orchestration.automation.candle_checks import (
    candle_checks_job,
    candle_checks_schedule,
)
from autonama_dagster.orchestration.automation.daily_universe import daily_universe
from autonama_dagster.orchestration.automation.failed_run_alert import failed_run_alert
from autonama_dagster.orchestration.automation.retention import retention_job, retention_schedule
from autonama_dagster.orchestration.automation.revision_sensor import revision_sensor
from autonama_dagster.orchestration.automation.scan_sensor import scan_sensor
from autonama_dagster.orchestration.backfill.job import build_backfill_job
from autonama_dagster.orchestration.pipeline import build_pipeline
from autonama_dagster.settings import Settings, load_settings
from resources.instance.logs import log_runs_as_json


def build_defs(settings: Settings | None = None, **resources: Any) -> dg.Definitions:
    """Definitions of the whole project.

    Parameters
    ----------
    settings
        Default: read from the environment.
    resources
        Replacements by resource key, e.g. `warehouse=...`; an exchange's key is its name.
    """
    settings = settings or load_settings()
    pipeline = build_pipeline(settings, **resources)
    scan_jobs = [*(pipeline.jobs or ())]
    started = dg.Definitions(
        jobs=[build_backfill_job(settings), candle_checks_job, retention_job],
        schedules=[
            daily_universe(settings),
            candle_checks_schedule(settings),
            retention_schedule(settings),
        ],
        sensors=[
            scan_sensor(settings, scan_jobs),
            revision_sensor(settings, scan_jobs),
            failed_run_alert(settings),
        ],
    )
    return dg.Definitions.merge(pipeline, started)


@dg.definitions
def defs() -> dg.Definitions:
    """The code location `autonama`."""
    settings = load_settings()
    if settings.log_format == "json":
        log_runs_as_json()
    return build_defs(settings)
