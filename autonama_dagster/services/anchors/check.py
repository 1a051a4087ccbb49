"""Comparison of the anchor log with the tables: what was anchored must still be there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from autonama_dagster.schemas.tables.revisions import REVISIONS
from autonama_dagster.services.anchors.leaves import (
    Leaves,
    candle_leaves,
    known_leaves,
    mark,
    root_of,
)
from resources.anchor_log import NOTHING, Content, Line
from resources.warehouse.warehouse import Warehouse


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was anchored.

    Attributes
    ----------
    line
        Number of the line in the log.
    what
        changed or missing: of the table's rows; line or chain: of the log itself.
    day
        The line's day.
    table, symbol
        Whose rows; None for the log itself, and where the rows cannot be told.
    """

    line: int
    what: str
    day: date
    table: str | None = None
    symbol: str | None = None


def check_chain(content: Content) -> list[Finding]:
    """Lines that were changed, and lines that do not continue the one before."""
    found = [Finding(line.number, "line", line.day) for line in content.lines if not line.is_whole]
    before = NOTHING
    for line in content.lines:
        if line.before != before:
            found.append(Finding(line.number, "chain", line.day))
        before = line.root
    return sorted(found, key=lambda finding: finding.line)


def check_candles(warehouse: Warehouse, lines: Sequence[Line]) -> Iterator[Finding]:
    """Candles that are neither stored as they were anchored nor kept as a revision."""
    for name in REVISIONS:
        about = [line for line in lines if name in line.tables]
        if about:
            yield from _check_table(warehouse, name, about)


def _check_table(warehouse: Warehouse, name: str, lines: Sequence[Line]) -> Iterator[Finding]:
    days = [line.day for line in lines]
    stored = candle_leaves(warehouse, name, min(days), max(days))
    suspects = [
        (line.day, symbol)
        for line in lines
        for symbol, marked in line.tables[name].marks.items()
        if not _is_marked(stored.get(line.day, {}), symbol, marked)
    ]
    known: dict[tuple[date, str], list[bytes]] = {}
    if suspects:
        symbols = sorted({symbol for _, symbol in suspects})
        known = known_leaves(warehouse, name, symbols, min(suspects)[0], max(suspects)[0])
    for line in lines:
        yield from _check_line(line, name, stored.get(line.day, {}), known)


def _check_line(
    line: Line, name: str, stored: Leaves, known: dict[tuple[date, str], list[bytes]]
) -> Iterator[Finding]:
    said = line.tables[name]
    found: dict[str, bytes] = {}
    for symbol, marked in said.marks.items():
        candidates = known.get((line.day, symbol), [])
        if _is_marked(stored, symbol, marked):
            found[symbol] = stored[symbol]
        elif match := [of for of in candidates if mark(of) == marked]:
            found[symbol] = match[0]
        else:
            what = "changed" if symbol in stored else "missing"
            yield Finding(line.number, what, line.day, name, symbol)
    if len(found) == len(said.marks) and root_of(found) != said.root:
        yield Finding(line.number, "changed", line.day, name)


def _is_marked(leaves: Leaves, symbol: str, marked: str) -> bool:
    return symbol in leaves and mark(leaves[symbol]) == marked
