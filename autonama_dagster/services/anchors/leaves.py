"""Leaves of anchors: a hash for each symbol of a day's rows, as they are stored or once were."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from autonama_dagster.analytics.candles.candles import FACTS, Candles
from autonama_dagster.analytics.candles.intervals import DAILY, INTERVALS, Interval
from autonama_dagster.analytics.candles.rows import dates
from autonama_dagster.days import chunks
from autonama_dagster.schemas.tables.revisions import REVISIONS
from autonama_dagster.services.anchors.merkle import leaf, root
from resources.anchor_log import Roots
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse

MARK = 8  # hex digits
DAYS_AT_ONCE = 200  # whose candles are in memory together

Leaves = Mapping[str, bytes]
"""By symbol the leaf of its rows of a day."""


Key = tuple[date, str]  # of a symbol's candles of a day


class Version(NamedTuple):
    """A candle, present or replaced: its step, from when to when it was known, and its digest."""

    step: int
    known_from: datetime
    known_to: datetime
    digest: bytes


def mark(of: bytes) -> str:
    """The part of a leaf that is written down for each symbol."""
    return of.hex()[:MARK]


def root_of(leaves: Leaves) -> str:
    """Merkle root (hex) over the leaves by the names of their symbols."""
    return root([leaves[symbol] for symbol in sorted(leaves)]).hex()


def roots(leaves: Leaves, rows: int, newest: datetime | None = None) -> Roots:
    """What a line says of these leaves."""
    marks = {symbol: mark(of) for symbol, of in leaves.items() if symbol}
    return Roots(rows, root_of(leaves), marks, newest)


def candle_leaves(
    warehouse: Warehouse, name: str, first: date, last: date
) -> dict[date, dict[str, bytes]]:
    """By day and symbol the leaf of the candles of a table as they are stored now."""
    interval = _interval(name)
    found: defaultdict[date, dict[str, bytes]] = defaultdict(dict)
    for part in chunks(first, last, DAYS_AT_ONCE):
        frame = warehouse.read(name, Scope(None, *part), _columns(interval))
        for series in Candles.by_symbol(frame, interval).values():
            for day, of_day in _by_day(series):
                found[day][series.symbol] = leaf(map(bytes, series.digest[of_day]))
    return dict(found)


def known_versions(
    warehouse: Warehouse, name: str, first: date, last: date
) -> dict[Key, list[Version]]:
    """All candles of a table that are or were known, by day and symbol."""
    interval, scope = _interval(name), Scope(None, first, last)
    columns = (*_columns(interval), "fetched_at")
    present = warehouse.read(name, scope, columns)
    replaced = warehouse.read(
        REVISIONS[name].name, scope, (*columns, "revision", "valid_from", "valid_to")
    )
    always = datetime.max.replace(tzinfo=UTC)
    parts = [present.assign(valid_from=present["fetched_at"], valid_to=always)]
    parts += [part for _, part in replaced.groupby("revision")]
    found: defaultdict[Key, list[Version]] = defaultdict(list)
    for part in parts:
        for key, version in _versions(part, interval):
            found[key].append(version)
    return dict(found)


def leaves_at(versions: Sequence[Version], moment: datetime) -> Iterator[bytes]:
    """Leaf of the candles that were known at a moment.

    A candle that was replaced by one whose source's clock was not later has a version that was
    known for no time; what would have been known with such a version follows.
    """
    known = {v.step: v for v in versions if v.known_from <= moment < v.known_to}
    yield _leaf_of(known)
    for version in versions:
        if version.known_from == version.known_to <= moment:
            yield _leaf_of({**known, version.step: version})


def _leaf_of(candles: Mapping[int, Version]) -> bytes:
    return leaf(candles[step].digest for step in sorted(candles))


def _versions(frame: pd.DataFrame, interval: Interval) -> Iterator[tuple[Key, Version]]:
    """Candles of which each is there once, with their day and symbol."""
    time = "date" if interval == DAILY else "open_time"
    ordered = {str(symbol): rows for symbol, rows in frame.sort_values(time).groupby("symbol")}
    for symbol, series in Candles.by_symbol(frame, interval).items():
        known_from, known_to = (ordered[symbol][c].tolist() for c in ("valid_from", "valid_to"))
        steps = series.day.tolist()
        for day, of_day in _by_day(series):
            for at in range(of_day.start, of_day.stop):
                digest = bytes(series.digest[at])
                yield (day, symbol), Version(steps[at], known_from[at], known_to[at], digest)


def _by_day(series: Candles) -> Iterator[tuple[date, slice]]:
    """Days on which candles close, each with the positions of its candles."""
    days = dates(series.interval, series.day).astype("datetime64[D]")
    edges = [0, *(np.flatnonzero(days[1:] != days[:-1]) + 1).tolist(), len(days)]
    for start, stop in pairwise(edges):
        if start < stop:
            yield days[start].item(), slice(start, stop)


def _columns(interval: Interval) -> tuple[str, ...]:
    key = ("symbol", "date") if interval == DAILY else ("symbol", "date", "open_time")
    return (*key, *FACTS)


def _interval(name: str) -> Interval:
    return INTERVALS[name.removeprefix("ohlcv_")]
