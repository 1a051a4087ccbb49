"""The sensor that makes the rows again that changed candles have made stale."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg

from assets.partitions import SYMBOL_DIMENSION
from autonama_dagster.orchestration.jobs import ANALYTIC, SUMMARY
from autonama_dagster.orchestration.planner import Step, stale_steps, stretches, summary_steps
from autonama_dagster.orchestration.requests import (
    REVISIONS_TAG,
    read_attempts,
    read_in_flight,
    run_request,
    wanted,
)
from autonama_dagster.services.lineage.staleness import Comparison
from autonama_dagster.settings import Settings
from resources.warehouse.revisions import Revised, count, revised
from resources.warehouse.warehouse import Warehouse

SECONDS = 60
# Clocks of two sources differ: a change may be stored that says it is so much older than the last.
OVERLAP = timedelta(days=3)


def revision_sensor(settings: Settings, jobs: Sequence[Any]) -> dg.SensorDefinition:
    """The sensor; it is off until somebody turns it on."""

    @dg.sensor(
        name="revision_sensor",
        jobs=jobs,
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=(
            "Recomputes exactly the rows that changed daily candles made stale: first the symbols' "
            "rows, then the correlations and summaries of their days. Rankings are kept. The "
            "cursor marks the changes already handled."
        ),
    )
    def tick(
        context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.SensorResult | dg.SkipReason:
        done = json.loads(context.cursor or '{"count": 0, "until": null}')
        known = count(warehouse)
        if known == done["count"]:
            return dg.SkipReason("no daily candles have changed since the last check")
        since = datetime.fromisoformat(done["until"]) - OVERLAP if done["until"] else None
        found = revised(warehouse, since)
        if found is None:
            return dg.SkipReason("no daily candles have changed since the last check")
        registered = context.instance.get_dynamic_partitions(SYMBOL_DIMENSION)
        in_flight = read_in_flight(context.instance, registered)
        for first, steps in _phases(settings, warehouse, found, registered):
            # Attempts are counted anew for other days, and when more candles have changed.
            subject = f"{known} until {found.newest.isoformat()}, rows from {first}"
            attempts = read_attempts(context.instance, subject, REVISIONS_TAG)
            decision = wanted(steps, attempts, in_flight, datetime.now(UTC))
            if decision.steps:
                return dg.SensorResult(
                    run_requests=[
                        run_request(step, subject, decision.attempt, REVISIONS_TAG)
                        for step in decision.steps
                    ]
                )
            if not decision.is_settled:
                return dg.SkipReason(
                    "stale rows are being recomputed, or wait for their next attempt"
                )
        return dg.SensorResult(
            skip_reason=dg.SkipReason("no stale rows with attempts left"),
            cursor=json.dumps({"count": known, "until": found.newest.isoformat()}),
        )

    return tick


def _phases(
    settings: Settings, warehouse: Warehouse, found: Revised, registered: Sequence[str]
) -> Iterator[tuple[date, list[Step]]]:
    """Steps for the symbols' rows, then for the days', in parts; each with its first day.

    A part is looked up when the ones before are done, because it costs seconds.
    """
    symbols = [s for s in found.symbols if s in set(registered)]
    comparison = Comparison(warehouse, settings, symbols, found.first, found.last)
    of_symbols = comparison.tables_of_symbols().symbols_by_day()
    if steps := stale_steps(of_symbols, registered, ANALYTIC):
        yield found.first, steps
    for begin, stale in comparison.tables_of_days():
        if steps := [
            step
            for first, last in stretches(stale.days)
            for step in summary_steps((first, last), settings.max_members, SUMMARY)
        ]:
            yield begin, steps
