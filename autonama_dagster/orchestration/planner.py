"""The planner: from what the tables hold to the next steps of a day's scan.

A pure function. It never reads Dagster's partition status, because a partition's status means
"processed" and the truth is in the tables.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby
from typing import Any

from autonama_dagster.days import DAY, chunks, stretches, uncovered
from autonama_dagster.orchestration.completeness import (
    AT_ONCE,
    UNDATED,
    PlannedStage,
    Rows,
    lacking,
    runs_of,
)
from autonama_dagster.text.labels import counted

CANDLES_ONLY = ("ohlcv_1d",)
CHARTS = "analysis_summary"  # the stage that draws charts of symbols
RANKED_AT_ONCE = 180  # days of one run of `universe`: its candles of all candidates are in memory
ROWS_AT_ONCE = 2400  # symbols x days of one run of the analytic stages
SYMBOLS_AT_ONCE = 100  # of one such run: each symbol reads a window, whatever the number of days
PAIRS_AT_ONCE = 500_000  # pairs x days of one run of the summaries


@dataclass(frozen=True)
class Step:
    """One run: a job over a rectangle of days and symbols.

    Attributes
    ----------
    job
        Name of the job.
    first, last
        First and last day, both included; for `history_job` the days the candles are from.
    symbols
        Registered symbols in the order of registration, without a gap; empty for jobs by date.
    assets
        Assets of the job to run; None: all.
    config
        Configuration by asset.
    """

    job: str
    first: date
    last: date
    symbols: tuple[str, ...] = ()
    assets: tuple[str, ...] | None = None
    config: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What the step does, for progress and logs."""
        what = {
            "universe_job": "rank the universe",
            "history_job": "candles before the start date",
            "symbols_job": "candles to alerts",
            "summary_job": "correlations and summary",
            "intraday_job": "candles of other intervals",
        }.get(self.job, self.job)
        if self.assets == CANDLES_ONLY:
            what = "missing candles"
        elif self.assets:
            what = f"{self.assets[0]} to {self.assets[-1]}".removesuffix(f" to {self.assets[0]}")
        who = f", {counted(len(self.symbols), 'symbol')}" if self.symbols else ""
        days = f"{self.first}" if self.first == self.last else f"{self.first} .. {self.last}"
        return f"{what}: {days}{who}"


@dataclass(frozen=True)
class State:
    """What the tables hold about a day.

    Attributes
    ----------
    has_universe
        Whether the day's universe is stored.
    registered
        Registered symbols in the order of registration, the day's members among them.
    fetched
        Ranges of days the exchange has answered, by symbol: candles, or that there are none.
    made
        By stage: its rows of the present version, of the day that is due on this one.
    """

    has_universe: bool
    registered: tuple[str, ...] = ()
    fetched: Mapping[str, Sequence[tuple[date, date]]] = field(default_factory=dict)
    made: Mapping[str, Rows] = field(default_factory=dict)


def next_steps(
    day: date,
    state: State,
    stages: Sequence[PlannedStage],
    *,
    start_date: date,
    lookback: int,
    chart_days: int = 0,
    again: bool = True,
) -> list[Step]:
    """Steps that bring the day's scan to its end, in order.

    Until the universe is known there is one step: to rank it; ask again afterwards. An empty list
    says that the day is complete.

    Parameters
    ----------
    day
        The day to scan, closed, not before `start_date`.
    state
        What the tables hold.
    stages
        Those of a scan in the order of their jobs, each after those it needs.
    start_date
        First daily partition; candles before it are history.
    lookback
        Calendar days of a window.
    chart_days
        Days that charts of symbols show, each with its own window; 0: no charts.
    again
        Whether what is made of all symbols together is made again where only one is open.
    """
    if not state.has_universe:
        return [Step("universe_job", day, day)]
    window = day - timedelta(days=lookback - 1)
    reach = window - timedelta(days=max(chart_days - 1, 0))
    steps = list(_history(state, reach, start_date, day))
    steps += _missing_candles(state, max(reach, start_date), day - DAY)
    made = _made(day, window, state, stages, with_charts=bool(chart_days))
    lack = lacking(
        stages,
        made,
        state.registered,
        lambda s: [d] if (d := s.due_on(day)) >= start_date or d == UNDATED else [],
        again=again,
    )
    whole = {job: [s.name for s in of] for job, of in groupby(stages, key=lambda s: s.job)}
    for job, rows, names in runs_of(stages, lack):
        ((of, symbols),) = rows.items()
        of = day if of == UNDATED else of
        if symbols == AT_ONCE:
            parts: list[tuple[str, ...]] = [()]
        elif of == day:
            parts = [_span(state.registered, symbols)]
        else:  # symbols in between may have no rows that these are made from
            parts = list(neighbours(state.registered, symbols))
        config = {CHARTS: {"symbol_charts": bool(chart_days)}} if CHARTS in names else {}
        assets = None if names == whole[job] else tuple(names)
        steps += [Step(job, of, of, part, assets=assets, config=config) for part in parts]
    return steps


def fill_steps(
    days: Sequence[date],
    made: Mapping[str, Rows],
    stages: Sequence[PlannedStage],
    *,
    registered: Sequence[str],
    chosen: Collection[str],
    latest: date,
    members: int,
) -> list[Step]:
    """Make what the chosen symbols' rows of the days lack, in runs that fit the memory.

    Parameters
    ----------
    days
        Neighbouring days, in their order.
    made
        By stage: its rows of the present version.
    stages
        Those that are asked for, in the order of their jobs, each after those it needs.
    registered
        Registered symbols in the order of registration.
    chosen
        The symbols that are asked for.
    latest
        The latest day that has closed: rows that are due later are left out.
    members
        Members of a day, at most.
    """
    lack = lacking(
        stages,
        made,
        chosen,
        lambda s: [UNDATED] if s.partitions is None else [
            d for d in days if d + s.due_after * DAY <= latest
        ],
    )  # fmt: skip
    steps: list[Step] = []
    for job, rows, names in runs_of(stages, lack):
        if AT_ONCE in rows.values():
            dated = days[-1:] if UNDATED in rows else list(rows)
            steps += summary_steps(dated, members, tuple(names), job)
        else:
            steps += [
                Step(job, begin, end, symbols, assets=tuple(names))
                for begin, end, symbols in rectangles(rows, registered, chosen)
            ]
    return steps


def ranking_steps(days: Sequence[date]) -> list[Step]:
    """Rank the given days: one step for neighbours, `RANKED_AT_ONCE` at most."""
    return [
        Step("universe_job", *part)
        for first, last in stretches(days)
        for part in chunks(first, last, RANKED_AT_ONCE)
    ]


def candle_steps(
    first: date,
    last: date,
    registered: tuple[str, ...],
    fetched: Mapping[str, Sequence[tuple[date, date]]],
    *,
    start_date: date,
    lookback: int,
) -> list[Step]:
    """Fetch what the windows of `first` to `last` lack, for neighbours in their order."""
    state = State(has_universe=True, registered=registered, fetched=fetched)
    reach = first - timedelta(days=lookback - 1)
    steps = list(_history(state, reach, start_date, last))
    return steps + list(_missing_candles(state, max(reach, start_date), last))


def days_per_run(symbols: int, days: int, processes: int) -> int:
    """Days of a chunk that fits the memory, so that every process gets as many chunks."""
    fits = max(1, ROWS_AT_ONCE // _group_size(symbols))
    rounds = -(-days // (fits * processes))
    return -(-days // (rounds * processes))


def summary_steps(
    days: Sequence[date], members: int, assets: tuple[str, ...], job: str = "summary_job"
) -> list[Step]:
    """Correlations and summaries from the first to the last of the days, in runs that fit."""
    pairs = max(1, members * (members - 1) // 2)
    parts = chunks(min(days), max(days), max(1, PAIRS_AT_ONCE // pairs)) if days else []
    return [Step(job, *part, assets=assets) for part in parts]


def rectangles(
    undone: Mapping[date, Collection[str]], registered: Sequence[str], chosen: Collection[str]
) -> list[tuple[date, date, tuple[str, ...]]]:
    """Rectangles of days and symbols that hold everything undone and nothing that is not chosen.

    A run's symbols are neighbours in the order of registration, so symbols between two undone ones
    are done again if they are chosen. Each has `SYMBOLS_AT_ONCE` at most.
    """
    days = sorted(day for day, symbols in undone.items() if symbols)
    if not days:
        return []
    wanted = set[str]().union(*undone.values())
    return [
        (days[0], days[-1], part)
        for group in neighbours(registered, chosen)
        if not wanted.isdisjoint(group)
        for part in _even_parts(_span(group, wanted))
    ]


def stale_steps(
    stale: Mapping[date, Collection[str]], registered: Sequence[str], assets: tuple[str, ...]
) -> list[Step]:
    """Make exactly these symbols' rows of these days again, oldest first, in runs that fit."""
    days = sorted(day for day, symbols in stale.items() if symbols)
    steps = []
    for _, group in groupby(
        enumerate(days), key=lambda pair: (pair[1] - pair[0] * DAY, frozenset(stale[pair[1]]))
    ):
        alike = {day: stale[day] for _, day in group}
        for first, last, symbols in rectangles(alike, registered, set().union(*alike.values())):
            fits = max(1, ROWS_AT_ONCE // len(symbols))
            steps += [
                Step("symbols_job", *part, symbols, assets=assets)
                for part in chunks(first, last, fits)
            ]
    return sorted(steps, key=lambda step: step.first)


def neighbours(registered: Sequence[str], chosen: Collection[str]) -> Iterator[tuple[str, ...]]:
    """Chosen symbols, grouped as they follow one another in the order of registration."""
    for is_chosen, group in groupby(registered, key=lambda symbol: symbol in chosen):
        if is_chosen:
            yield tuple(group)


def _made(
    day: date, window: date, state: State, stages: Sequence[PlannedStage], *, with_charts: bool
) -> dict[str, Rows]:
    """What counts as made: nothing of a symbol whose window the exchange has not answered for."""
    answered = {
        first: frozenset(
            s for s in state.registered if not uncovered(state.fetched.get(s, ()), first, day)
        )
        for first in (day, window)
    }
    made: dict[str, Rows] = dict(state.made)
    for stage in stages:
        if stage.is_by_symbol and not stage.due_after:
            rows = made.get(stage.name, {})
            made[stage.name] = {**rows, day: rows.get(day, frozenset()) & answered[window]}
    if with_charts:
        made[CHARTS] = {}
    return made | {name: {day: answered[day]} for name in CANDLES_ONLY}


def _history(state: State, reach: date, start_date: date, day: date) -> Iterator[Step]:
    """History up to the day before the start date, in runs of neighbours with the same need."""
    last = min(start_date - DAY, day)
    for need, symbols in _groups(state, reach, last):
        config = {"ohlcv_1d_history": {"first_date": need[0].isoformat()}}
        yield Step("history_job", need[0], last, symbols, config=config)


def _missing_candles(state: State, first: date, last: date) -> Iterator[Step]:
    for need, symbols in _groups(state, first, last):
        yield Step("symbols_job", *need, symbols, assets=CANDLES_ONLY)


def _groups(
    state: State, first: date, last: date
) -> Iterator[tuple[tuple[date, date], tuple[str, ...]]]:
    """Neighbours in the order of registration that lack the same range."""
    if first > last:
        return
    needs = [(uncovered(state.fetched.get(s, ()), first, last), s) for s in state.registered]
    for need, group in groupby(needs, key=lambda pair: pair[0]):
        if need is not None:
            yield need, tuple(symbol for _, symbol in group)


def _even_parts(symbols: tuple[str, ...]) -> list[tuple[str, ...]]:
    size = _group_size(len(symbols))
    return [symbols[start : start + size] for start in range(0, len(symbols), size)]


def _group_size(symbols: int) -> int:
    """Symbols of a run, so that the runs are of one size."""
    runs = -(-symbols // SYMBOLS_AT_ONCE) or 1
    return -(-symbols // runs) or 1


def _span(registered: Sequence[str], wanted: Collection[str]) -> tuple[str, ...]:
    """From the first to the last wanted symbol: a run cannot leave one in between out."""
    places = [place for place, symbol in enumerate(registered) if symbol in wanted]
    return tuple(registered[places[0] : places[-1] + 1])
