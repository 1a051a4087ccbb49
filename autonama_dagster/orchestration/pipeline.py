"""The pipeline put together: stages, checks, the jobs of a scan, and the resources they need.

What a process needs to execute a step. What starts runs by itself, such as sensors, schedules and
the backfill, is added in `autonama_dagster.definitions`.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import dagster as dg

from assets.checks import point_in_time
from assets.checks.anchored import anchored_check
from assets.checks.quality import churn_check, coverage_check, ledger_checks
from assets.checks.tables import budget_check, continuity_check, freshness_check, schema_check
from assets.partitions import build_partitions
from assets.stages import STAGES
from autonama_dagster.days import DAY
from autonama_dagster.orchestration.execution import one_process
from autonama_dagster.orchestration.jobs import build_jobs
from autonama_dagster.settings import Settings
from resources.exchange.base import CandleSource
from resources.exchange.build import EXCHANGES
from resources.instance.logs import run_loggers
from resources.io_manager import WarehouseIOManager
from resources.postgres.migrate import ready_url
from resources.warehouse.warehouse import Warehouse


def build_pipeline(settings: Settings, **resources: Any) -> dg.Definitions:
    """Definitions of the pipeline.

    Parameters
    ----------
    settings
        The configured parameters.
    resources
        Replacements by resource key, e.g. `warehouse=...`; an exchange's key is its name.
    """
    partitions = build_partitions(settings.start_date)
    before_start = (settings.start_date - DAY).isoformat()
    warehouse = resources.pop("warehouse", None) or Warehouse(lambda: ready_url(settings))
    assets = [
        s.build(partitions, last_day=before_start if s.partitions == "symbol" else None)
        for s in STAGES
    ]
    checks = [schema_check(s.name, s.table) for s in STAGES if s.name == s.table.name]
    return dg.Definitions(
        assets=assets,
        asset_checks=[
            *checks,
            *(freshness_check(), continuity_check(), budget_check()),
            *(ledger_checks(), churn_check(), coverage_check()),
            *(point_in_time.symbols_check(), point_in_time.days_check(), anchored_check()),
        ],
        jobs=build_jobs(),
        resources={
            "settings": settings,
            "warehouse": warehouse,
            "io_manager": WarehouseIOManager(warehouse),
            **{name: _for_a_run(build, settings) for name, build in EXCHANGES.items()},
            "progress": dg.ResourceDefinition.none_resource(),
            **resources,
        },
        executor=one_process,
        loggers=run_loggers(settings),
    )


def _for_a_run(
    build: Callable[[Settings], CandleSource], settings: Settings
) -> dg.ResourceDefinition:
    """An exchange that is open for the time of a run."""

    def opened(_context: Any) -> Iterator[CandleSource]:
        with closing(build(settings)) as exchange:
            yield exchange

    return dg.ResourceDefinition(opened)
