"""Verification of many rows: in parts that fit the memory, on all cores."""

import multiprocessing
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from functools import partial

from autonama_dagster.errors import AutonamaError, InputError
from autonama_dagster.services.inputs.parameters import ANALYTIC
from autonama_dagster.services.verification.verify import (
    Verified,
    together,
    verify_days,
    verify_symbols,
)
from autonama_dagster.settings import Settings
from resources.processes import cores, end_with_parent, process_context
from resources.warehouse import ledger
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


def parts_of(
    warehouse: Warehouse, first: date, last: date, symbols: Sequence[str] = ()
) -> list[Part]:
    """Every stored row of the days, of the symbols or of all.

    Raises
    ------
    InputError
        Nothing is stored of them.
    """
    stored = _stored(warehouse, first, last, symbols)
    days = sorted({day for day, _ in stored})
    names = list(dict.fromkeys(sorted(symbol for _, symbol in stored)))
    group = min(len(names), SYMBOLS_AT_ONCE)
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


def sample_of(
    warehouse: Warehouse, first: date, last: date, symbols: Sequence[str], count: int
) -> list[Part]:
    """So many symbol-days, drawn with the last day as the seed, and the tables of some days."""
    stored = sorted(_stored(warehouse, first, last, symbols))
    draw = random.Random(str(last))  # noqa: S311
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
) -> list[Verified]:
    """What is found in the parts, by table in pipeline order."""
    found: dict[str, list[Verified]] = {}
    for done, of_part in enumerate(_each(parts, settings, warehouse), start=1):
        for part in of_part:
            found.setdefault(part.table, []).append(part)
        on_progress(done, len(parts))
    return [together(found[name]) for name in ANALYTIC if name in found]


def _each(
    parts: Sequence[Part], settings: Settings, warehouse: Warehouse
) -> Iterator[list[Verified]]:
    if len(parts) <= FEW:
        for part in parts:
            yield _verify(part, settings, warehouse)
        return
    there = partial(_verify_there, settings=settings, url=warehouse.url)
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


def _verify_there(part: Part, settings: Settings, url: str) -> list[Verified]:
    with closing(Warehouse(lambda: url)) as warehouse:
        return _verify(part, settings, warehouse)


def _verify(part: Part, settings: Settings, warehouse: Warehouse) -> list[Verified]:
    chosen = part.in_database
    if part.symbols:
        return verify_symbols(warehouse, settings, part.symbols, part.first, part.last, chosen)
    return verify_days(warehouse, settings, part.first, part.last, in_database=chosen)


def _stored(
    warehouse: Warehouse, first: date, last: date, symbols: Sequence[str]
) -> list[tuple[date, str]]:
    """Days and symbols that have a signal."""
    found = ledger.signal_days(warehouse, first, last, symbols)
    if not found:
        who = f" of {', '.join(symbols)}" if symbols else ""
        days = f"{first}" if first == last else f"{first} .. {last}"
        raise InputError(f"no signals{who} are stored on {days}: run `autonama scan` first")
    return found
