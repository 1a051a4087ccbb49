"""What the tables hold, as the planner wants to know it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date

import dagster as dg

from assets.partitions import register
from assets.stage import Stage
from assets.stages import STAGES
from autonama_dagster.days import DAY, days_of
from autonama_dagster.orchestration.completeness import AT_ONCE, UNDATED, PlannedStage, Rows
from autonama_dagster.orchestration.jobs import DAILY, JOBS
from autonama_dagster.orchestration.planner import CANDLES_ONLY, State
from autonama_dagster.schemas.registry import table
from autonama_dagster.services.inputs.parameters import versions
from autonama_dagster.services.inputs.upstream import WHERE_TRADED
from autonama_dagster.settings import Settings
from resources.warehouse import ledger
from resources.warehouse.candle_queries import fetched_ranges
from resources.warehouse.warehouse import Warehouse

SIGNALS = "signals"
UNIVERSE = "universe"


def planned_stages(settings: Settings) -> tuple[PlannedStage, ...]:
    """The stages of a scan that follow the ranking, in the order of their jobs."""
    order = list(JOBS)
    return tuple(
        PlannedStage(s.name, s.job, s.partitions, _needs(s), s.due_after, s.is_on(settings))
        for s in sorted(STAGES, key=lambda s: order.index(s.job))
        if s.name in CANDLES_ONLY or (s.is_analytic and s.name in DAILY and s.name != UNIVERSE)
    )


def read_state(
    day: date, settings: Settings, warehouse: Warehouse, instance: dg.DagsterInstance
) -> State:
    """The state of one day; its members are registered afterwards."""
    return read_states(day, day, settings, warehouse, instance)[day]


def read_states(
    first: date, last: date, settings: Settings, warehouse: Warehouse, instance: dg.DagsterInstance
) -> dict[date, State]:
    """The state of every day from `first` to `last`; their members are registered afterwards."""
    ranked, registered = read_ranked(first, last, settings, warehouse, instance)
    fetched = fetched_ranges(warehouse, "1d", registered)
    stages = planned_stages(settings)
    made: dict[str, Rows] = {}
    for days in sorted({s.due_after for s in stages if s.is_on}):
        due = [s for s in stages if s.due_after == days]
        names = {s.name for s in due}.union(*(s.needs for s in due))
        some = [s for s in stages if s.name in names]
        reach = first - days * DAY, last - days * DAY
        for name, rows in read_made(some, *reach, registered, settings, warehouse).items():
            made[name] = {**rows, **made.get(name, {})}
    return {day: State(day in ranked, registered, fetched, made) for day in days_of(first, last)}


def read_ranked(
    first: date, last: date, settings: Settings, warehouse: Warehouse, instance: dg.DagsterInstance
) -> tuple[frozenset[date], tuple[str, ...]]:
    """Ranked days, and the registered symbols, the members of these days among them."""
    members = ledger.members(warehouse, first, last, versions(UNIVERSE, settings))
    registered = tuple(register(instance, list(_in_order(members))))
    return frozenset(members) - ledger.badly_ranked_days(warehouse, first, last), registered


def read_made(
    stages: Sequence[PlannedStage],
    first: date,
    last: date,
    registered: Collection[str],
    settings: Settings,
    warehouse: Warehouse,
) -> dict[str, Rows]:
    """Rows of the present version that the stages have of the days from `first` to `last`.

    What signals are made from counts where the signal is there and knows the day's candle. It is
    written last: so a run that was killed before, or a candle that came later, is made good. Rows
    are compared with those they are made from where these, or all of their job, are asked for.
    """
    analytic = [s for s in planned_stages(settings) if table(s.name).is_analytic]
    every = {s.name: s for s in analytic if s.is_on}
    chosen = [s for s in stages if s.name in every]
    names = {s.name for s in chosen}
    whole = {s.job for s in chosen} - {s.job for s in every.values() if s.name not in names}
    signals = None
    if SIGNALS in names:
        signals = ledger.known_signals(warehouse, first, last, versions(SIGNALS, settings))
    before = _needed_by(SIGNALS, every) if signals else frozenset[str]()
    kept_out = ledger.kept_out(warehouse, before, first, last)
    made: dict[str, Rows] = {}
    for stage in chosen:
        name = stage.name
        rows = warehouse, name, first, last, versions(name, settings)
        after = _nearest(
            [n for n in every if n in stage.needs and (n in names or stage.job in whole)], every
        )
        if stage.partitions is None:
            made[name] = {UNDATED: AT_ONCE} if ledger.is_made(*rows, after) else {}
        elif not stage.is_by_symbol:
            made[name] = dict.fromkeys(ledger.made_days(*rows, after), AT_ONCE)
        elif signals and name in signals.made:
            made[name] = signals.made[name]
        elif signals and name in before:
            counts = [ledger.made_symbols(*rows), kept_out.get(name, {})]
            counts += [signals.without_candle] if name == WHERE_TRADED else []
            made[name] = {
                day: known & frozenset[str]().union(*(c.get(day, ()) for c in counts))
                for day, known in signals.known.items()
            }
        else:
            made[name] = ledger.made_symbols(*rows, after)
            if name == WHERE_TRADED:
                traded = ledger.traded(warehouse, first, last)
                made[name] = {
                    day: made[name].get(day, frozenset())
                    | (frozenset(registered) - traded.get(day, frozenset()))
                    for day in days_of(first, last)
                }
    return made


def _needs(stage: Stage) -> frozenset[str]:
    """What its rows are made from; what is made by day of candles alone follows the signals.

    These know the candles of their day, so they are made again when one has come late.
    """
    needs = frozenset(stage.deps)
    by_symbol = {s.name for s in STAGES if s.is_analytic and s.partitions == "date_symbol"}
    is_of_candles = stage.partitions == "date" and needs.isdisjoint(by_symbol)
    return needs | {SIGNALS} if is_of_candles else needs


def _needed_by(name: str, stages: Mapping[str, PlannedStage]) -> frozenset[str]:
    """Stages that the rows of one are made from, and those that these are made from."""
    direct = stages[name].needs & stages.keys()
    return direct.union(*(_needed_by(upstream, stages) for upstream in direct))


def _nearest(names: Sequence[str], stages: Mapping[str, PlannedStage]) -> list[str]:
    """Those that none of the others is made from: what matters of the rest, they know."""
    known = frozenset[str]().union(*(_needed_by(name, stages) for name in names))
    return [name for name in names if name not in known]


def _in_order(members: Mapping[date, Sequence[str]]) -> Iterator[str]:
    """Each member once: by the first day it was a member, then by its rank."""
    yield from dict.fromkeys(symbol for day in sorted(members) for symbol in members[day])
