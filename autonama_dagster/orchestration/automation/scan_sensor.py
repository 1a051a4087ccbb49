"""The sensor that brings every day's scan to its end, missed days too."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import dagster as dg

from autonama_dagster.days import DAY, chunks, due_day
from autonama_dagster.errors import ExchangeError
from autonama_dagster.orchestration.automation.status import status_of
from autonama_dagster.orchestration.planner import State, Step, next_steps
from autonama_dagster.orchestration.requests import (
    Attempts,
    Decision,
    Work,
    phase,
    read_attempts,
    read_in_flight,
    run_request,
    wanted,
    work_of_step,
)
from autonama_dagster.orchestration.state import planned_stages, read_states
from autonama_dagster.settings import Settings
from resources.exchange.base import ExchangeClock
from resources.warehouse.ledger import latest_day
from resources.warehouse.warehouse import Warehouse

DAYS_AT_ONCE = 3
READ_AT_ONCE = 30  # days whose state is read with one look at the tables
SECONDS = 30
# The schedule asks first; what it missed the sensor asks for.
AFTER_SCHEDULE = timedelta(minutes=2)
RANK = phase(Step("universe_job", date.min, date.min))


def scan_sensor(settings: Settings, jobs: Sequence[Any]) -> dg.SensorDefinition:
    """The sensor; it runs by itself where `automation` is set."""

    @dg.sensor(
        name="scan_sensor",
        jobs=jobs,
        minimum_interval_seconds=SECONDS,
        default_status=status_of(settings, dg.DefaultSensorStatus),
        description=(
            "Starts the runs that recent days still need: new members' candles, the symbols' rows, "
            f"the summary. Catches up on missed days, oldest first, {DAYS_AT_ONCE} at a time. The "
            "cursor is the first unfinished day."
        ),
    )
    def tick(
        context: dg.SensorEvaluationContext,
        binance: dg.ResourceParam[ExchangeClock],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            now = binance.server_time()
        except ExchangeError as error:
            return dg.SkipReason(f"cannot get the exchange's time: {error}")
        last = due_day(now - AFTER_SCHEDULE)
        scanned = None if context.cursor else latest_day(warehouse, "analysis_summary")
        first = first_day(context.cursor, scanned, last, settings.start_date)
        return decide_tick(
            list(_decisions(context.instance, settings, warehouse, first, last)), last
        )

    return tick


def decide_tick(decisions: Sequence[tuple[date, Decision]], last: date) -> dg.SensorResult:
    """What a tick asks for, and where the next begins: at the first day that is not settled.

    Parameters
    ----------
    decisions
        What to do for the open days, in their order.
    last
        The latest day that is due.
    """
    requests = [
        run_request(step, day, decision.attempt)
        for day, decision in decisions
        for step in decision.steps
    ]
    unsettled = [day for day, decision in decisions if not decision.is_settled]
    cursor = (unsettled[0] if unsettled else last + DAY).isoformat()
    notes = [f"giving up on {day} after its last attempt" for day, d in decisions if d.is_settled]
    reason = "; ".join([*notes, f"nothing to run now; first unfinished day: {cursor}"])
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else dg.SkipReason(reason),
        cursor=cursor,
    )


def first_day(cursor: str | None, scanned: date | None, last: date, start_date: date) -> date:
    """The first day that may be open: the cursor, or else the last one scanned.

    Where nothing was ever scanned it is the latest day: a new project fills no past by itself.
    """
    first = date.fromisoformat(cursor) if cursor else min(scanned or last, last)
    return max(first, start_date)


def _decisions(
    instance: dg.DagsterInstance,
    settings: Settings,
    warehouse: Warehouse,
    first: date,
    last: date,
) -> Iterator[tuple[date, Decision]]:
    """What to do for the oldest open days."""
    if first > last:
        return
    in_flight: list[Work] | None = None
    open_days = 0
    for day, state in _states(first, last, settings, warehouse, instance):
        if in_flight is None:
            in_flight = read_in_flight(instance, state.registered)
        steps = open_steps(day, state, settings, {})
        if not steps:
            continue
        attempts = read_attempts(instance, day)
        steps = open_steps(day, state, settings, attempts)
        decision = wanted(steps, attempts, in_flight, datetime.now(UTC))
        in_flight += [work_of_step(step) for step in decision.steps]
        yield day, decision
        open_days += not decision.is_settled
        if open_days == DAYS_AT_ONCE:
            return


def _states(
    first: date,
    last: date,
    settings: Settings,
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
) -> Iterator[tuple[date, State]]:
    """The state of each day, read in parts: the first open days end a tick."""
    for part in chunks(first, last, READ_AT_ONCE):
        yield from read_states(*part, settings, warehouse, instance).items()


def open_steps(
    day: date, state: State, settings: Settings, attempts: dict[str, Attempts]
) -> list[Step]:
    """The planner's steps of a day, as runs that are asked for one phase at a time.

    A ranking that lacks a candidate holds the day up no longer than its attempt; a summary that is
    newer than the signals is not made again because a symbol is still open.
    """
    plan = partial(
        next_steps,
        day,
        stages=planned_stages(settings),
        start_date=settings.start_date,
        lookback=settings.lookback,
        again=False,
    )
    steps = plan(state)
    ranked = attempts.get(RANK, Attempts())
    if not state.has_universe and ranked.has_succeeded:
        steps += plan(replace(state, has_universe=True))
    return steps
