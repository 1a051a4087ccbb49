"""Verification of many rows: in parts that fit the memory, on all cores."""

import multiprocessing
import random
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from functools import partial

from autonama_dagster.errors import AutonamaError, InputError
from autonama_dagster.services.inputs.parameters import ANALYTIC
from autonama_dagster.services.inputs.required import NOBODY, Required
from autonama_dagster.services.verification.fetched import FETCHED, verify_fetched
from autonama_dagster.services.verification.longer import MADE, verify_longer
from autonama_dagster.services.verification.verify import (
    Verified,
    together,
    verify_days,
    verify_symbols,
)
from autonama_dagster.settings import Settings
from resources.processes import cores, end_with_parent, process_context
from resources.warehouse.warehouse import Warehouse

SYMBOLS_AT_ONCE = 100
FEWEST_ROWS, MOST_ROWS = 600, 6000  # symbols x days; each symbol reads a window for all its days
DAYS_AT_ONCE = 10  # of the tables by date: 49,500 pairs of 100 members
DAYS_OF_A_SAMPLE = 20  # symbol-days of a sample for each day whose tables by date are verified
WHOLLY = 7  # days that are all cut in the database; of more, one in `ONE_IN` of each part
ONE_IN = 20
FEW = 3  # parts that are not worth the start of processes


@dataclass(frozen=True)
class Part:
    """Rows that are verified at once: of symbols and days, or the tables by date of some days.

    Attributes
    ----------
    first, last
        The days, both included.
    symbols
        Empty: the tables by date.
    in_database
        Days that are cut in the database, the others in memory; None: all of them.
    """

    first: date
    last: date
    symbols: tuple[str, ...] = ()
    in_database: frozenset[date] | None = None


def parts_of(wanted: Required, symbols: Sequence[str] = ()) -> list[Part]:
    """Every row of the days that is stored or must be, of the symbols or of all.

    Raises
    ------
    InputError
        There is none.
    """
    by_day = _symbols(wanted, symbols)
    days = [*by_day]
    names = sorted(frozenset[str]().union(*by_day.values()))
    group = max(1, min(len(names), SYMBOLS_AT_ONCE))
    least, most = max(1, FEWEST_ROWS // group), max(1, MOST_ROWS // group)
    width = min(max(-(-len(days) // (2 * cores())), least), most)
    draw = random.Random(str(days[-1]))  # noqa: S311

    def part(some: Sequence[date], of: Sequence[str] = ()) -> Part:
        drawn = draw.sample(some, -(-len(some) // ONE_IN)) if len(days) > WHOLLY else some
        return Part(some[0], some[-1], tuple(of), frozenset(drawn))

    parts = [
        part(some, names[at : at + SYMBOLS_AT_ONCE])
        for some in (days[at : at + width] for at in range(0, len(days), width))
        for at in range(0, len(names), SYMBOLS_AT_ONCE)
    ]
    if not symbols:
        by_date = (days[at : at + DAYS_AT_ONCE] for at in range(0, len(days), DAYS_AT_ONCE))
        parts += [part(some) for some in by_date]
    return parts


def sample_of(wanted: Required, symbols: Sequence[str], count: int) -> list[Part]:
    """So many symbol-days, drawn with the last day as the seed, and the tables of some days."""
    days = _symbols(wanted, symbols)
    stored = [(day, symbol) for day, names in days.items() for symbol in sorted(names)]
    draw = random.Random(str(max(days)))  # noqa: S311
    chosen = draw.sample(stored, min(count, len(stored)))
    by_day: dict[date, list[str]] = {}
    for day, symbol in sorted(chosen):
        by_day.setdefault(day, []).append(symbol)
    parts = [Part(day, day, tuple(names)) for day, names in by_day.items()]
    few = draw.sample(sorted(by_day), -(-len(by_day) // DAYS_OF_A_SAMPLE))
    return parts + ([] if symbols else [Part(day, day) for day in sorted(few)])


def verify(
    parts: Sequence[Part],
    settings: Settings,
    warehouse: Warehouse,
    on_progress: Callable[[int, int], None] = lambda *_: None,
    registered: Collection[str] = (),
) -> list[Verified]:
    """What is found in the parts, by table in pipeline order."""
    found: dict[str, list[Verified]] = {}
    for done, of_part in enumerate(_each(parts, settings, warehouse, registered), start=1):
        for part in of_part:
            found.setdefault(part.table, []).append(part)
        on_progress(done, len(parts))
    return [together(found[name]) for name in (*FETCHED, *MADE, *ANALYTIC) if name in found]


def _each(
    parts: Sequence[Part],
    settings: Settings,
    warehouse: Warehouse,
    registered: Collection[str] = (),
) -> Iterator[list[Verified]]:
    if len(parts) <= FEW:
        for part in parts:
            yield _verify(part, settings, warehouse, registered)
        return
    there = partial(_verify_there, settings=settings, url=warehouse.url, registered=registered)
    try:
        with ProcessPoolExecutor(
            min(cores(), len(parts)), mp_context=process_context(), initializer=end_with_parent
        ) as pool:
            yield from _results([pool.submit(there, part) for part in parts])
    except (BrokenProcessPool, EOFError, ConnectionError):
        raise AutonamaError(
            "a process died (killed, or out of memory): verify again, with --date day by day "
            "if memory is low"
        ) from None


def _results(futures: Sequence[Future[list[Verified]]]) -> Iterator[list[Verified]]:
    """The results in order; where that ends early, the processes do too."""
    try:
        for future in futures:
            yield future.result()
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        raise


def _verify_there(
    part: Part, settings: Settings, url: str, registered: Collection[str]
) -> list[Verified]:
    with closing(Warehouse(lambda: url)) as warehouse:
        return _verify(part, settings, warehouse, registered)


def _verify(
    part: Part, settings: Settings, warehouse: Warehouse, registered: Collection[str]
) -> list[Verified]:
    chosen = part.in_database
    if part.symbols:
        of = (part.symbols, part.first, part.last, chosen)
        begin = None if part.first == settings.start_date else part.first
        return [
            *verify_fetched(warehouse, part.symbols, begin, part.last),
            *verify_longer(warehouse, *of),
            *verify_symbols(warehouse, settings, *of, registered),
        ]
    return verify_days(warehouse, settings, part.first, part.last, in_database=chosen)


def _symbols(wanted: Required, symbols: Sequence[str]) -> dict[date, frozenset[str]]:
    """Days in order, and who of these symbols, or of all, has rows on each or must have some."""
    found = {
        day: wanted.known.get(day, NOBODY) | wanted.strangers.get(day, NOBODY)
        for day in wanted.days
    }
    if symbols:
        found = {day: names & frozenset(symbols) for day, names in found.items()}
        found = {day: names for day, names in found.items() if names}
    if not found:
        who = f" of {', '.join(symbols)}" if symbols else ""
        first, last = wanted.first, wanted.last
        days = f"{first}" if first == last else f"{first} .. {last}"
        raise InputError(f"no rows{who} are stored on {days}: run `autonama scan` first")
    return found
