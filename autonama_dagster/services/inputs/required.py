"""Which rows must exist of a day, said in one place: a pure function of what is stored.

`autonama verify`, the asset checks of the proof and `autonama status` compare with it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import cast

import pandas as pd
from psycopg import Connection

from autonama_dagster.days import DAY, days_of
from autonama_dagster.errors import AutonamaError
from autonama_dagster.schemas.base import Table
from autonama_dagster.settings import Settings
from resources.instance.facts import read_registered
from resources.postgres.roles.readers import Row, find_databases, reading
from resources.warehouse.presence import (
    BY_SYMBOL,
    Days,
    Presence,
    stored_rows,
    stored_rows_by,
)
from resources.warehouse.table_facts import Lacking
from resources.warehouse.warehouse import Warehouse

NEEDS_CANDLE = frozenset({"indicators"})  # have no row, and need none, where there is no candle
LATELY = 30  # days in which rows are missed by themselves
NOBODY = frozenset[str]()
PAIRS, SUMMARY = "correlation_matrix", "analysis_summary"


@dataclass(frozen=True)
class Required:
    """Rows that must exist.

    Attributes
    ----------
    first, last
        The days that this is about, both included.
    symbols
        By table by date and symbol, and of `universe` and `ohlcv_1d` as far as other rows tell of
        them: symbols by day. Rows that lie in the quarantine are not among them.
    known, strangers
        Symbols by day that may have rows, and that have some which nobody knows of: these are
        extra.
    pairs
        How many each day must have.
    summaries
        Days that must have one.
    """

    first: date
    last: date
    symbols: Mapping[str, Days]
    known: Days
    strangers: Days
    pairs: Mapping[date, int]
    summaries: frozenset[date]

    @property
    def days(self) -> list[date]:
        """Days on which any row exists or must, in order."""
        found = {day for of in (self.known, self.strangers) for day, names in of.items() if names}
        return sorted(found | {day for day, n in self.pairs.items() if n} | self.summaries)


def read_required(
    warehouse: Warehouse,
    settings: Settings,
    first: date,
    last: date,
    registered: Collection[str] = (),
) -> Required:
    """What must exist of the days, both included, as the tables are."""
    stored = stored_rows(warehouse, first, last)
    return required(stored, first, last, registered, kept_since(stored, settings))


def registered_symbols(settings: Settings) -> tuple[str, ...]:
    """Symbols that are scanned every day; none where Dagster's database cannot be read."""
    try:
        with reading(find_databases(settings).dagster) as connection:
            return read_registered(connection)
    except AutonamaError:
        return ()


def kept_since(stored: Presence, settings: Settings) -> dict[str, date]:
    """By table the first day of what retention has left, where it is on."""
    since = {"alerts": stored.alerts_since, SUMMARY: stored.span[0] if stored.span else None}
    return {name: since[name] or date.max for name in settings.retention_days}


def required(
    stored: Presence,
    first: date,
    last: date,
    registered: Collection[str] = (),
    since: Mapping[str, date] = MappingProxyType({}),
) -> Required:
    """What must exist of the days, both included.

    A day that was scanned, as its ranking or its summary tells, must have in every table by date
    and symbol a row of each member, of each symbol that has a row in any of them, and of each
    registered symbol that had one on the nearest day before that has any; of indicators where there
    is a candle. It must have each pair of members, and a summary. Every day between the first and
    the last summary must have one.

    Parameters
    ----------
    stored
        What is there, of these days.
    registered
        Symbols that are scanned every day.
    since
        By table the first day of what retention has left.
    """
    tables: dict[str, dict[date, frozenset[str]]] = {name: {} for name in BY_SYMBOL}
    known, strangers, pairs, summaries = {}, {}, {}, set()
    always, before = frozenset(registered), stored.earlier
    for day in days_of(first, last):
        members = stored.members.get(day, NOBODY)
        there = NOBODY.union(*(of.get(day, NOBODY) for of in stored.rows.values()))
        is_scanned = bool(members) or day in stored.summaries
        known[day] = there & (stored.asked | always)
        if is_scanned:
            known[day] |= members | (always & before)
        strangers[day] = there - known[day]
        for name, of in tables.items():
            if day < since.get(name, day):
                continue
            of[day] = known[day] - stored.kept_out.get(day, NOBODY)
            if name in NEEDS_CANDLE:
                of[day] &= stored.candles.get(day, NOBODY) | stored.without_candle.get(day, NOBODY)
        pairs[day] = _count(stored, day, members)
        is_between = stored.span is not None and stored.span[0] <= day <= stored.span[1]
        if (is_between or members) and day >= since.get(SUMMARY, day):
            summaries.add(day)
        before = there or before
    told = {
        name: {day: names & known[day] for day, names in days.items()}
        for name, days in (("universe", stored.unranked), ("ohlcv_1d", stored.without_candle))
    }
    return Required(first, last, {**told, **tables}, known, strangers, pairs, frozenset(summaries))


def must_exist(of: Table, rows: pd.DataFrame, wanted: Required) -> pd.Series:
    """Which rows, by their key, must exist in a table."""
    if of.name == "universe":
        return pd.Series(data=True, index=rows.index)
    if of.name in wanted.symbols:
        return _among(rows, wanted.symbols[of.name])
    days = wanted.summaries
    if of.name == PAIRS:
        days = frozenset(day for day, n in wanted.pairs.items() if n)
    return rows["date"].isin([pd.Timestamp(day) for day in days])


def may_exist(of: Table, rows: pd.DataFrame, wanted: Required) -> pd.Series:
    """Which rows, by their key, somebody may have asked for."""
    if of.name in wanted.symbols and of.name != "universe":
        return _among(rows, wanted.known)
    return must_exist(of, rows, wanted)


def _among(rows: pd.DataFrame, days: Days) -> pd.Series:
    found = pd.Series(data=False, index=rows.index)
    for day, symbols in rows.groupby("date")["symbol"]:
        of_day = days.get(cast("pd.Timestamp", day).date(), NOBODY)
        found[symbols.index] = symbols.isin(list(of_day))
    return found


def _count(stored: Presence, day: date, members: frozenset[str]) -> int:
    """Pairs of the members, but for those whose first one is in the quarantine."""
    count = len(members) * (len(members) - 1) // 2
    return 0 if day in stored.pairs_kept_out else count


def lacking(of: Required, stored: Presence, days: Collection[date]) -> list[Lacking]:
    """What of some days is not there, table by table."""
    found = []
    for name, by_day in of.symbols.items():
        rows = stored.rows.get(name, {})
        gone = {day: by_day.get(day, NOBODY) - rows.get(day, NOBODY) for day in sorted(days)}
        gone = {day: names for day, names in gone.items() if names}
        if gone:
            count, last = sum(map(len, gone.values())), max(gone)
            found.append(Lacking(name, count, min(gone[last]), last, min(gone)))
    pairs = {day: of.pairs.get(day, 0) - stored.pairs.get(day, 0) for day in days}
    short = {day: n for day, n in pairs.items() if n > 0}
    if short:
        found.append(Lacking(PAIRS, sum(short.values()), None, max(short), min(short)))
    return found


def lacking_lately(
    connection: Connection[Row], settings: Settings, registered: Collection[str], last: date
) -> tuple[Lacking, ...]:
    """What the days with a summary lack, of those up to `last`: a summary is made of everything."""
    first = last - (LATELY - 1) * DAY
    stored = stored_rows_by(connection, first, last)
    of = required(stored, first, last, registered, kept_since(stored, settings))
    return tuple(lacking(of, stored, stored.summaries))
