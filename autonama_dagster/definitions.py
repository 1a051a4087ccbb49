"""Everything put together: `build_defs()` is the only place that knows all parts.

The CLI, the tests and the code location use the same function; each may replace the settings or a
resource.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from assets.analysis.correlation_matrix import correlation_matrix
from assets.analysis.data_quality import data_quality
from assets.analysis.indicators import indicators
from assets.analysis.regression_bands import regression_bands
from assets.checks import point_in_time
from assets.checks.quality import churn_check, coverage_check, ledger_checks
from assets.checks.tables import budget_check, continuity_check, freshness_check, schema_check
from assets.decision.alerts import alerts
from assets.decision.asset_analytics import asset_analytics
from assets.decision.signals import signals
from assets.market.ohlcv import ohlcv_1d, ohlcv_1d_history
from assets.market.ohlcv_intraday import ohlcv_1h, ohlcv_1w, ohlcv_4h, ohlcv_15m
from assets.market.universe import universe
from assets.partitions import build_partitions
from assets.stage import Stage
from assets.summary.analysis_summary import analysis_summary
from autonama_dagster.orchestration.automation.daily_universe import daily_universe
from autonama_dagster.orchestration.automation.failed_run_alert import failed_run_alert
from autonama_dagster.orchestration.automation.retention import retention_job, retention_schedule
from autonama_dagster.orchestration.automation.revision_sensor import revision_sensor
from autonama_dagster.orchestration.automation.scan_sensor import scan_sensor
from autonama_dagster.orchestration.backfill.job import build_backfill_job
from autonama_dagster.orchestration.execution import one_process
from autonama_dagster.orchestration.jobs import build_jobs
from autonama_dagster.settings import Settings, load_settings
from resources.exchange.base import Exchange
from resources.exchange.build import build_exchange
from resources.instance.logs import log_runs_as_json, run_loggers
from resources.io_manager import WarehouseIOManager
from resources.postgres.database import ready_url
from resources.warehouse.warehouse import Warehouse

STAGES: tuple[Stage, ...] = (
    universe,
    ohlcv_1d_history,
    ohlcv_1d,
    ohlcv_15m,
    ohlcv_1h,
    ohlcv_4h,
    ohlcv_1w,
    data_quality,
    indicators,
    regression_bands,
    signals,
    correlation_matrix,
    asset_analytics,
    alerts,
    analysis_summary,
)


def build_defs(settings: Settings | None = None, **resources: Any) -> dg.Definitions:
    """Definitions of the whole project.

    Parameters
    ----------
    settings
        Default: read from the environment.
    resources
        Replacements by resource key, e.g. `exchange=...`, `warehouse=...`.
    """
    settings = settings or load_settings()
    partitions = build_partitions(settings.start_date)
    before_start = (settings.start_date - timedelta(days=1)).isoformat()
    warehouse = resources.pop("warehouse", None) or Warehouse(lambda: ready_url(settings))
    assets = [
        s.build(partitions, last_day=before_start if s.partitions == "symbol" else None)
        for s in STAGES
    ]
    checks = [schema_check(s.name, s.table) for s in STAGES if s is not ohlcv_1d_history]
    scan_jobs = build_jobs()
    return dg.Definitions(
        assets=assets,
        asset_checks=[
            *checks,
            *(freshness_check(), continuity_check(), budget_check()),
            *(ledger_checks(), churn_check(), coverage_check()),
            *(point_in_time.symbols_check(), point_in_time.days_check()),
        ],
        jobs=[*scan_jobs, build_backfill_job(settings), retention_job],
        schedules=[daily_universe(settings), retention_schedule(settings)],
        sensors=[
            scan_sensor(settings, scan_jobs),
            revision_sensor(settings, scan_jobs),
            failed_run_alert(settings),
        ],
        resources={
            "settings": settings,
            "warehouse": warehouse,
            "io_manager": WarehouseIOManager(warehouse),
            "exchange": dg.ResourceDefinition(_opened(settings)),
            "progress": dg.ResourceDefinition.none_resource(),
            **resources,
        },
        executor=one_process,
        loggers=run_loggers(settings),
    )


def _opened(settings: Settings) -> Callable[[Any], Iterator[Exchange]]:
    """The configured exchange for the time of a run."""

    def exchange(_context: Any) -> Iterator[Exchange]:
        opened = build_exchange(settings)
        try:
            yield opened
        finally:
            opened.close()

    return exchange


@dg.definitions
def defs() -> dg.Definitions:
    """The code location `autonama`."""
    settings = load_settings()
    if settings.log_format == "json":
        log_runs_as_json()
    return build_defs(settings)
