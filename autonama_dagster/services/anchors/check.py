"""Comparison of the anchor log with the tables: what was anchored must still be there."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from autonama_dagster.schemas.tables.revisions import REVISIONS
from autonama_dagster.services.anchors.leaves import (
    DAYS_AT_ONCE,
    Key,
    Version,
    known_versions,
    leaves_at,
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
        changed or missing: of the table's rows; remade: computed again after the line, which is
        none of its business; line or chain: of the log itself.
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
    """Candles that were others, or not there, when the tables say that they were known."""
    for name in REVISIONS:
        about = sorted((line for line in lines if name in line.tables), key=lambda line: line.day)
        for days in parts_of_days({line.day for line in about}):
            versions = known_versions(warehouse, name, days[0], days[-1])
            for line in about:
                if line.day in days:
                    yield from _check_line(line, name, versions)


def parts_of_days(days: Collection[date]) -> Iterator[list[date]]:
    """The days in order, in groups whose rows fit the memory."""
    ordered = sorted(days)
    for start in range(0, len(ordered), DAYS_AT_ONCE):
        yield ordered[start : start + DAYS_AT_ONCE]


def _check_line(
    line: Line, name: str, versions: Mapping[Key, Sequence[Version]]
) -> Iterator[Finding]:
    said = line.tables[name]
    moment = said.newest or line.made_at
    found: dict[str, bytes] = {}
    for symbol, marked in said.marks.items():
        known = versions.get((line.day, symbol), ())
        if match := [of for of in leaves_at(known, moment) if mark(of) == marked]:
            found[symbol] = match[0]
        else:
            there = any(version.known_from <= moment for version in known)
            yield Finding(line.number, "changed" if there else "missing", line.day, name, symbol)
    if len(found) == len(said.marks) and root_of(found) != said.root:
        yield Finding(line.number, "changed", line.day, name)
