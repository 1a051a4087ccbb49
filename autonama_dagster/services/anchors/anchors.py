"""Anchors: what the tables hold of each day, written to the anchor log as soon as it is there."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path

from autonama_dagster.days import stretches
from autonama_dagster.schemas.tables.revisions import REVISIONS
from autonama_dagster.services.anchors.leaves import candle_leaves, roots
from autonama_dagster.services.anchors.results import new_results
from resources.anchor_log import Draft, Roots, opened
from resources.warehouse.candle_queries import counted_days
from resources.warehouse.ledger import latest_day
from resources.warehouse.warehouse import Warehouse


def anchor(warehouse: Warehouse, path: Path, now: datetime) -> list[str]:
    """Append a line for every day, up to the latest complete one, that has what no line covers.

    Candles are new on a day if there are others, or more, than its latest line says; results are,
    if its summary is another one or its signals were made again. Whoever comes second while others
    append finds the lines that they have appended.

    Parameters
    ----------
    warehouse
        The project's tables.
    path
        The anchor log.
    now
        The time that the lines bear.

    Returns
    -------
    list of str
        Roots of the lines, in the order of their days.

    Raises
    ------
    AnchorError
        The log cannot be written or read.
    """
    last = latest_day(warehouse, "analysis_summary")
    if last is None:
        return []
    with opened(path) as log:
        latest = log.content.latest()
        found: defaultdict[date, dict[str, Roots]] = defaultdict(dict)
        for name in REVISIONS:
            for day, of in _new_candles(warehouse, name, last, latest).items():
                found[day][name] = of
        for day, results in new_results(warehouse, last, latest).items():
            found[day] |= results
        return log.append([Draft(day, found[day]) for day in sorted(found)], now)


def _new_candles(
    warehouse: Warehouse, name: str, last: date, latest: Mapping[tuple[date, str], Roots]
) -> dict[date, Roots]:
    """By day the candles of a table, where they are not the ones that were anchored last."""
    stored = counted_days(warehouse, name, last)
    new = []
    for day, (rows, newest) in stored.items():
        of = latest.get((day, name))
        if of is None or (of.rows, of.newest) != (rows, newest):
            new.append(day)
    found = {}
    for first, end in stretches(new):
        for day, leaves in candle_leaves(warehouse, name, first, end).items():
            rows, newest = stored[day]
            found[day] = roots(leaves, rows, newest)
    return found
