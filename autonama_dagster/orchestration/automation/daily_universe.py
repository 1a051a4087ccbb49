"""The daily schedule: at 00:05 UTC the ranking of the day that has just closed."""

from datetime import UTC, date, datetime

import dagster as dg

from autonama_dagster.days import DUE, due_day
from autonama_dagster.orchestration.automation.status import status_of
from autonama_dagster.orchestration.planner import State, ranking_steps
from autonama_dagster.orchestration.requests import (
    Decision,
    read_attempts,
    read_in_flight,
    run_request,
    wanted,
)
from autonama_dagster.orchestration.state import read_state
from autonama_dagster.settings import Settings
from resources.exchange.base import ExchangeClock
from resources.warehouse.warehouse import Warehouse


def daily_universe(settings: Settings) -> dg.ScheduleDefinition:
    """The schedule; it runs by itself where `automation` is set."""

    @dg.schedule(
        name="daily_universe",
        cron_schedule=f"{DUE.minute} {DUE.hour} * * *",
        execution_timezone="UTC",
        job_name="universe_job",
        default_status=status_of(settings, dg.DefaultScheduleStatus),
        description=(
            f"Ranks yesterday's universe at {DUE:%H:%M} UTC, by the exchange's clock. The sensor "
            "`scan_sensor` starts the rest of the day's scan."
        ),
    )
    def tick(
        context: dg.ScheduleEvaluationContext,
        binance: dg.ResourceParam[ExchangeClock],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> dg.RunRequest | dg.SkipReason:
        day = due_day(binance.server_time())
        if day < settings.start_date:
            return dg.SkipReason(f"{day} is before the first partition, {settings.start_date}")
        state = read_state(day, settings, warehouse, context.instance)
        decision = wanted(
            ranking_steps([] if state.has_universe else [day]),
            read_attempts(context.instance, day),
            read_in_flight(context.instance, state.registered),
            datetime.now(UTC),
        )
        return decide_tick(day, state, decision)

    return tick


def decide_tick(day: date, state: State, decision: Decision) -> dg.RunRequest | dg.SkipReason:
    """The run that ranks the day, or why there is none.

    Parameters
    ----------
    day
        The day that is due.
    state
        What the tables hold about it.
    decision
        What may begin of its ranking.
    """
    if state.has_universe:
        return dg.SkipReason(f"the universe of {day} is already stored")
    if not decision.steps:
        return dg.SkipReason(f"a run for the universe of {day} is already requested")
    return run_request(decision.steps[0], day, decision.attempt, starter="schedule")
