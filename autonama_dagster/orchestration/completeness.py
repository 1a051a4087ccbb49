"""Which rows of which stages lack: what has none of the present version, and what follows from it.

Pure functions of what the tables hold; nothing here knows how that is found out.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Literal

from autonama_dagster.days import DAY

UNDATED = date.min  # the day of rows that belong to none
AT_ONCE = frozenset({""})  # in place of symbols: rows that are made for all of them together

Rows = Mapping[date, frozenset[str]]  # by day: symbols, or `AT_ONCE`


@dataclass(frozen=True)
class PlannedStage:
    """What the planner knows of a stage.

    Attributes
    ----------
    name
        Of the stage and its table.
    job
        The job it is part of; the stages of one job share its partitions.
    partitions
        How its rows are made: by date and symbol, by date, or all at once.
    needs
        Stages whose rows of the same day its own are made from.
    due_after
        Days after a day until its rows can be made.
    is_on
        Whether it is made at all.
    """

    name: str
    job: str
    partitions: Literal["date", "symbol", "date_symbol"] | None
    needs: frozenset[str] = frozenset()
    due_after: int = 0
    is_on: bool = True

    @property
    def is_by_symbol(self) -> bool:
        """Whether its rows of a day are made symbol by symbol."""
        return self.partitions == "date_symbol"

    def due_on(self, day: date) -> date:
        """The day whose rows become due on this one."""
        return UNDATED if self.partitions is None else day - self.due_after * DAY


def lacking(
    stages: Sequence[PlannedStage],
    made: Mapping[str, Rows],
    symbols: Collection[str],
    days: Callable[[PlannedStage], Iterable[date]],
    *,
    again: bool = True,
) -> dict[str, dict[date, frozenset[str]]]:
    """By stage and day what has no current row, or follows from what has none.

    Rows that follow from rows made anew are made anew: they may be of other inputs. A stage that is
    due later wants rows only where those it is made from are there.
    """
    found: dict[str, dict[date, frozenset[str]]] = {}
    for stage in (s for s in stages if s.is_on):
        needed = [s for s in stages if s.name in stage.needs and s.name in found]
        of_stage = {}
        for day in days(stage):
            wanted = frozenset(symbols) if stage.is_by_symbol else AT_ONCE
            if stage.due_after:
                wanted = _there(stage, needed, day, made, found, wanted)
            lack = wanted - made.get(stage.name, {}).get(day, frozenset())
            for up in needed:
                rows = _made_anew(stage, up, day, found)
                if rows and (stage.is_by_symbol or again):
                    lack |= wanted & rows if stage.is_by_symbol and up.is_by_symbol else wanted
            if lack:
                of_stage[day] = lack
        found[stage.name] = of_stage
    return found


def runs_of(
    stages: Sequence[PlannedStage], lack: Mapping[str, Rows]
) -> Iterator[tuple[str, Rows, list[str]]]:
    """Job, rows and stages of each run: neighbours of one job that lack the same."""
    some = [s for s in stages if lack.get(s.name)]
    for (job, rows), group in groupby(some, key=lambda s: (s.job, lack[s.name])):
        yield job, rows, [s.name for s in group]


def _there(
    stage: PlannedStage,
    needed: Sequence[PlannedStage],
    day: date,
    made: Mapping[str, Rows],
    found: Mapping[str, Rows],
    wanted: frozenset[str],
) -> frozenset[str]:
    """Those of the wanted rows whose upstream rows are made, or about to be."""
    for up in needed:
        if up.partitions is None:
            continue
        rows = made.get(up.name, {}).get(day, frozenset()) | found[up.name].get(day, frozenset())
        if not rows:
            return frozenset()
        if stage.is_by_symbol and up.is_by_symbol:
            wanted &= rows
    return wanted


def _made_anew(
    stage: PlannedStage, up: PlannedStage, day: date, found: Mapping[str, Rows]
) -> frozenset[str]:
    """Upstream rows of the day that are about to be made; of any day where days do not count."""
    rows = found[up.name]
    if stage.partitions is None:
        return frozenset[str]().union(*rows.values())
    return rows.get(UNDATED if up.partitions is None else day, frozenset())
