"""The sensor that makes the rows again that changed candles have made stale."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Self

import dagster as dg

from autonama_dagster.days import stretches
from autonama_dagster.orchestration.jobs import ANALYTIC, SUMMARY
from autonama_dagster.orchestration.planner import Step, stale_steps, summary_steps
from autonama_dagster.orchestration.requests import (
    REVISIONS_TAG,
    Decision,
    read_attempts,
    read_in_flight,
    run_request,
    wanted,
)
from autonama_dagster.schemas.partitions import SYMBOL_DIMENSION
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
        handled, known = Handled.read(context.cursor), count(warehouse)
        found = None if known == handled.count else revised(warehouse, handled.since)
        if found is None:
            return dg.SkipReason("no daily candles have changed since the last check")
        registered = context.instance.get_dynamic_partitions(SYMBOL_DIMENSION)
        in_flight = read_in_flight(context.instance, registered)

        def decisions() -> Iterator[tuple[str, Decision]]:
            for first, steps in _phases(settings, warehouse, found, registered):
                # Attempts are counted anew for other days, and when more candles have changed.
                subject = f"{known} until {found.newest.isoformat()}, rows from {first}"
                attempts = read_attempts(context.instance, subject, REVISIONS_TAG)
                yield subject, wanted(steps, attempts, in_flight, datetime.now(UTC))

        return decide_tick(decisions(), Handled(known, found.newest))

    return tick


@dataclass(frozen=True)
class Handled:
    """The changes of candles whose rows are made again: how many, and the newest of them."""

    count: int = 0
    newest: datetime | None = None

    @classmethod
    def read(cls, cursor: str | None) -> Self:
        """What the cursor says."""
        if not cursor:
            return cls()
        said = json.loads(cursor)
        return cls(said["count"], datetime.fromisoformat(said["until"]) if said["until"] else None)

    @property
    def cursor(self) -> str:
        """What the sensor keeps of it."""
        until = None if self.newest is None else self.newest.isoformat()
        return json.dumps({"count": self.count, "until": until})

    @property
    def since(self) -> datetime | None:
        """From when on changes are looked at; None: from the first."""
        return None if self.newest is None else self.newest - OVERLAP


def decide_tick(
    decisions: Iterable[tuple[str, Decision]], after: Handled
) -> dg.SensorResult | dg.SkipReason:
    """What a tick asks for: the first part that is not settled, one part at a time.

    Parameters
    ----------
    decisions
        For each part what its attempts are counted by, and what may begin; asked for in turn.
    after
        Handled when every part is settled.
    """
    for subject, decision in decisions:
        if decision.steps:
            return dg.SensorResult(
                run_requests=[
                    run_request(step, subject, decision.attempt, REVISIONS_TAG)
                    for step in decision.steps
                ]
            )
        if not decision.is_settled:
            return dg.SkipReason("stale rows are being recomputed, or wait for their next attempt")
    return dg.SensorResult(
        skip_reason=dg.SkipReason("no stale rows with attempts left"), cursor=after.cursor
    )


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
