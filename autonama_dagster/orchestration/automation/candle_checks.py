"""The daily job that asks again for a few stored candles: by its schedule, and after a scan."""

from collections.abc import Callable
from datetime import time
from typing import Final

import dagster as dg

from autonama_dagster.errors import ExchangeError
from autonama_dagster.orchestration.automation.status import daily_schedule
from autonama_dagster.orchestration.execution import execute, one_process, origin_tags
from autonama_dagster.schemas.tables.candle_checks import CONFIRMED
from autonama_dagster.services.monitoring.candle_checks import check_candles
from autonama_dagster.settings import Settings
from autonama_dagster.text.sources import SCAN_EXCHANGE
from resources.exchange.base import CandleSource
from resources.instance.logs import run_loggers
from resources.warehouse.candle_checks import is_due
from resources.warehouse.warehouse import Warehouse

JOB: Final = "candle_checks_job"
SCHEDULE: Final = "candle_checks_schedule"
AT: Final = time(3)
TITLE: Final = "ask again for stored candles"
_LOGGED = ["symbol", "date", "outcome", "message"]
_DESCRIPTION = (
    "Request AUTONAMA_REVISION_CHECKS stored daily candles again; a candle that has changed "
    "becomes a revision."
)


@dg.op(description=_DESCRIPTION, pool=SCAN_EXCHANGE)
def ask_again(
    context: dg.OpExecutionContext,
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
    binance: dg.ResourceParam[CandleSource],
) -> None:
    """Ask for what is left of the day's candles; an exchange that is down is no failure of it."""
    try:
        rows = check_candles(binance, warehouse, settings.revision_checks, context.run_id)
    except ExchangeError as error:
        context.log.warning("nothing was asked: %s", error)
        return
    counts = {str(name): int(count) for name, count in rows["outcome"].value_counts().items()}
    context.add_output_metadata({"asked": len(rows), **counts})
    others = rows[rows["outcome"] != CONFIRMED].fillna("")
    for symbol, day, outcome, message in others[_LOGGED].itertuples(index=False):
        context.log.warning("%s %s: %s %s", symbol, day.date(), outcome, message)


@dg.job(name=JOB, description=_DESCRIPTION)
def candle_checks_job() -> None:
    """One step."""
    ask_again()


def candle_checks_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """Daily, after the scan; on by itself where runs start by themselves and there is a budget."""
    has_work = settings.revision_checks > 0
    return daily_schedule(SCHEDULE, candle_checks_job, AT, settings, has_work=has_work)


def ask_after_scan(
    settings: Settings,
    *,
    instance: dg.DagsterInstance,
    exchange: CandleSource,
    warehouse: Warehouse,
    on_step: Callable[[str], None],
) -> None:
    """Run the job in this process, if any of the day's candles are left to ask for.

    Parameters
    ----------
    exchange
        Without a memory of its own.
    on_step
        Called with the job's title if it runs.

    Raises
    ------
    AutonamaError
        The run failed.
    """
    daily = settings.revision_checks
    try:
        if not daily or not is_due(warehouse, exchange.server_time(), daily):
            return
    except ExchangeError:  # it was there for the scan: tomorrow's asks for others
        return
    on_step(TITLE)
    resources = {"settings": settings, "warehouse": warehouse, SCAN_EXCHANGE: exchange}
    defs = dg.Definitions(
        jobs=[candle_checks_job],
        resources=resources,
        executor=one_process,
        loggers=run_loggers(settings),
    )
    execute(defs.resolve_job_def(JOB), instance, TITLE, config={}, tags=origin_tags("scan"))
