"""Results in anchors: the result hashes of a day's rows, once its summary is there.

Pairs have no leaf: the hash of the summary holds theirs.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Final, NamedTuple

from autonama_dagster.days import stretches
from autonama_dagster.schemas.base import Table
from autonama_dagster.schemas.registry import TABLES
from autonama_dagster.services.anchors.check import Finding, parts_of_days
from autonama_dagster.services.anchors.leaves import MARK, mark, root_of, roots
from autonama_dagster.services.anchors.merkle import leaf
from resources.anchor_log import Line, Roots
from resources.warehouse.ledger import summed_days
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse

RESULTS: Final = tuple(
    of for of in TABLES.values() if of.is_analytic and of.name != "correlation_matrix"
)
_OF_ALL: Final = {"universe"}  # of all candidates: one leaf, their names are not written down
_MARKER, _SUMMARY = "signals", "analysis_summary"


class _Rows(NamedTuple):
    """A table's rows of a day: their number, the leaves, and when each of these was computed."""

    rows: int
    leaves: dict[str, bytes]
    made: dict[str, datetime]


def new_results(
    warehouse: Warehouse, last: date, latest: Mapping[tuple[date, str], Roots]
) -> dict[date, dict[str, Roots]]:
    """By day and table the results of days up to `last` that are not the ones anchored last.

    A day is looked at if its summary is another one, or its signals were made again since.
    """
    nothing = Roots(0, "", {})
    days = []
    for summed in summed_days(warehouse, last):
        signals = latest.get((summed.date, _MARKER), nothing)
        summary = latest.get((summed.date, _SUMMARY), nothing)
        root = root_of({"": leaf([bytes.fromhex(summed.result_hash)])})
        if (signals.rows, signals.newest, summary.root) != (summed.signals, summed.newest, root):
            days.append(summed.date)
    found: defaultdict[date, dict[str, Roots]] = defaultdict(dict)
    for first, end in stretches(days):
        for of in RESULTS:
            for day, rows in _read(warehouse, of, first, end).items():
                found[day][of.name] = roots(rows.leaves, rows.rows, max(rows.made.values()))
    return dict(found)


def check_results(
    warehouse: Warehouse, lines: Sequence[Line], kept_for_a_time: Collection[str]
) -> Iterator[Finding]:
    """Results that are not as the latest line of their day says.

    Rows that were computed after the line are `remade`. Days that tables no longer have are no
    finding in those whose rows are kept for a time only.
    """
    for of in RESULTS:
        latest = {line.day: line for line in lines if of.name in line.tables}
        for days in parts_of_days(latest):
            stored = _read(warehouse, of, days[0], days[-1])
            for day in days:
                if day in stored or of.name not in kept_for_a_time:
                    yield from _check(latest[day], of.name, stored.get(day, _Rows(0, {}, {})))


def _check(line: Line, name: str, stored: _Rows) -> Iterator[Finding]:
    said = line.tables[name]
    marks = said.marks or {"": said.root[:MARK]}  # the root of one leaf is the leaf
    bad = False
    for symbol, marked in marks.items():
        of = stored.leaves.get(symbol)
        if of is not None and mark(of) == marked:
            continue
        bad = True
        what = "missing" if of is None else "changed"
        if of is not None and stored.made[symbol] > line.made_at:
            what = "remade"
        yield Finding(line.number, what, line.day, name, symbol or None)
    leaves = {symbol: of for symbol, of in stored.leaves.items() if symbol in marks}
    if not bad and root_of(leaves) != said.root:
        yield Finding(line.number, "changed", line.day, name)


def _read(warehouse: Warehouse, of: Table, first: date, last: date) -> dict[date, _Rows]:
    is_by_symbol = "symbol" in of.key and of.name not in _OF_ALL
    columns = ("date", *(["symbol"] if is_by_symbol else []), "result_hash", "computed_at")
    frame = warehouse.read(of.name, Scope(None, first, last), columns)
    names = frame["symbol"] if is_by_symbol else [""] * len(frame)
    digests: defaultdict[date, defaultdict[str, list[bytes]]]
    digests = defaultdict(lambda: defaultdict(list))
    made: defaultdict[date, dict[str, datetime]] = defaultdict(dict)
    values = zip(frame["date"].dt.date, names, frame["result_hash"].fillna(""), strict=True)
    for (day, symbol, text), at in zip(values, frame["computed_at"].tolist(), strict=True):
        digests[day][symbol].append(bytes.fromhex(text))
        made[day][symbol] = max(at, made[day].get(symbol, at))
    return {
        day: _Rows(
            sum(map(len, by_symbol.values())),
            {symbol: leaf(of_symbol) for symbol, of_symbol in by_symbol.items()},
            made[day],
        )
        for day, by_symbol in digests.items()
    }
