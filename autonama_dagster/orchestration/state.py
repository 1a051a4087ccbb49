"""What the tables hold, as the planner wants to know it."""

from collections.abc import Iterator
from datetime import date

import dagster as dg

from assets.partitions import register
from autonama_dagster.days import days_of
from autonama_dagster.orchestration.planner import State
from autonama_dagster.services.inputs.parameters import versions
from autonama_dagster.settings import Settings
from resources.warehouse import ledger
from resources.warehouse.candle_queries import fetched_ranges
from resources.warehouse.warehouse import Warehouse


def read_state(
    day: date, settings: Settings, warehouse: Warehouse, instance: dg.DagsterInstance
) -> State:
    """The state of one day; its members are registered afterwards."""
    return read_states(day, day, settings, warehouse, instance)[day]


def read_states(
    first: date, last: date, settings: Settings, warehouse: Warehouse, instance: dg.DagsterInstance
) -> dict[date, State]:
    """The state of every day from `first` to `last`; their members are registered afterwards."""
    members = ledger.members(warehouse, first, last, versions("universe", settings))
    registered = tuple(register(instance, list(_in_order(members))))
    badly_ranked = ledger.badly_ranked_days(warehouse, first, last)
    fetched = fetched_ranges(warehouse, "1d", registered)
    made = versions("signals", settings)
    decided = ledger.decided(warehouse, first, last, made)
    summarised = ledger.summarised_days(warehouse, first, last, made)
    return {
        day: State(
            has_universe=day in members and day not in badly_ranked,
            registered=registered,
            fetched=fetched,
            decided=decided.get(day, frozenset()),
            is_summarised=day in summarised,
        )
        for day in days_of(first, last)
    }


def _in_order(members: dict[date, list[str]]) -> Iterator[str]:
    """Each member once: by the first day it was a member, then by its rank."""
    yield from dict.fromkeys(symbol for day in sorted(members) for symbol in members[day])
