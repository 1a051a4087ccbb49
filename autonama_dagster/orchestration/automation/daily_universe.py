"""The daily schedule: at 00:05 UTC the ranking of the day that has just closed."""

from datetime import UTC, datetime

import dagster as dg

from autonama_dagster.orchestration.planner import Step
from autonama_dagster.orchestration.requests import (
    due_day,
    read_attempts,
    read_in_flight,
    run_request,
    wanted,
)
from autonama_dagster.orchestration.state import read_state
from autonama_dagster.settings import Settings
from resources.days import DUE
from resources.exchange.base import Exchange
from resources.warehouse.warehouse import Warehouse


def daily_universe(settings: Settings) -> dg.ScheduleDefinition:
    """The schedule; it runs by itself where `automation` is set."""

    @dg.schedule(
        name="daily_universe",
        cron_schedule=f"{DUE.minute} {DUE.hour} * * *",
        execution_timezone="UTC",
        job_name="universe_job",
        default_status=(
            dg.DefaultScheduleStatus.RUNNING
            if settings.automation
            else dg.DefaultScheduleStatus.STOPPED
        ),
        description=(
            f"Ranks yesterday's universe at {DUE:%H:%M} UTC, by the exchange's clock. The sensor "
            "`scan_sensor` starts the rest of the day's scan."
        ),
    )
    def tick(
        context: dg.ScheduleEvaluationContext,
        exchange: dg.ResourceParam[Exchange],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> dg.RunRequest | dg.SkipReason:
        day = due_day(exchange.server_time())
        if day < settings.start_date:
            return dg.SkipReason(f"{day} is before the first partition, {settings.start_date}")
        state = read_state(day, settings, warehouse, context.instance)
        if state.has_universe:
            return dg.SkipReason(f"the universe of {day} is already stored")
        decision = wanted(
            [Step("universe_job", day, day)],
            read_attempts(context.instance, day),
            read_in_flight(context.instance, state.registered),
            datetime.now(UTC),
        )
        if not decision.steps:
            return dg.SkipReason(f"a run for the universe of {day} is already requested")
        return run_request(decision.steps[0], day, decision.attempt, starter="schedule")

    return tick
