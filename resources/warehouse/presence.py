"""Which rows the tables hold of some days: what `required` compares with what must be there.

One statement for both drivers: the warehouse's, and psycopg's, which is there at once.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import psycopg

from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.schemas.registry import TABLES
from autonama_dagster.text.sources import SCAN_EXCHANGE
from resources.warehouse.warehouse import Warehouse

Days = Mapping[date, frozenset[str]]  # symbols by day

BY_SYMBOL: Final = tuple(
    t.name for t in TABLES.values() if t.is_analytic and t.partitions == "date_symbol"
)
"""Tables that have a row for every symbol of a day."""
_BETWEEN: Final = "date BETWEEN $1::date AND $2::date"


@dataclass(frozen=True)
class Presence:
    """What is stored of some days.

    Attributes
    ----------
    rows
        Symbols by table of `BY_SYMBOL` and day.
    members, candles
        Symbols of each day that are members by its ranking, and that have a daily candle.
    unranked, without_candle
        Symbols whose signal knows a rank that `universe` has no row of, or a candle that is not
        stored.
    kept_out, pairs_kept_out
        Symbols with a row of these tables, or a first one of a pair, that did not fit its table and
        lies in the quarantine.
    pairs
        Rows of `correlation_matrix` of each day.
    summaries
        Days with a row of `analysis_summary`.
    span
        First and last day that has one, of all days; None: there is none.
    alerts_since
        First day with alerts, of all days; None: there is none.
    earlier
        Symbols that have a row on the nearest day before these that has any.
    asked
        Symbols whose daily candles were asked for, ever.
    """

    rows: Mapping[str, Days]
    members: Days
    candles: Days
    unranked: Days
    without_candle: Days
    kept_out: Days
    pairs_kept_out: Days
    pairs: Mapping[date, int]
    summaries: frozenset[date]
    span: tuple[date, date] | None
    alerts_since: date | None
    earlier: frozenset[str]
    asked: frozenset[str]


def stored_rows(warehouse: Warehouse, first: date, last: date) -> Presence:
    """What is stored of the days, both included."""
    found = warehouse.query(_statement(), (first, last)).to_pydict()
    return _presence(zip(*found.values(), strict=True))


def stored_rows_by(connection: psycopg.Connection[Any], first: date, last: date) -> Presence:
    """The same on a connection of psycopg."""
    with psycopg.RawCursor(connection) as cursor:
        return _presence(cursor.execute(_statement().encode(), (first, last)).fetchall())


def _statement() -> str:
    """Rows of kind, day, number, and symbols."""
    names = ", ".join(f"'{name}'" for name in BY_SYMBOL)
    tables = {
        **{name: (f"{SCHEMA}.{name}", _BETWEEN) for name in BY_SYMBOL},
        "members": (f"{SCHEMA}.universe", f"{_BETWEEN} AND is_member"),
        "candles": (f"{SCHEMA}.ohlcv_1d", _BETWEEN),
        "unranked": (
            f"{SCHEMA}.signals AS s",
            f"{_BETWEEN} AND (is_member OR universe_rank IS NOT NULL) AND {_lack('universe')}",
        ),
        "without_candle": (
            f"{SCHEMA}.signals AS s",
            f"{_BETWEEN} AND status <> 'NO_DATA' AND {_lack('ohlcv_1d')}",
        ),
        "kept_out": (
            f"{SCHEMA}.quarantine",
            f"{_BETWEEN} AND table_name IN ({names})",
        ),
        "pairs_kept_out": (
            f"{SCHEMA}.quarantine",
            f"{_BETWEEN} AND table_name = 'correlation_matrix'",
        ),
        "pairs": (f"{SCHEMA}.correlation_matrix", _BETWEEN),
        "summaries": (f"{SCHEMA}.analysis_summary", _BETWEEN),
    }
    counted = {"pairs", "summaries"}
    parts = [
        f"SELECT '{kind}' AS kind, date, count(*) AS n, "
        f"{'NULL::text[]' if kind in counted else 'array_agg(symbol)'} AS symbols "
        f"FROM {of} WHERE {where} GROUP BY date"
        for kind, (of, where) in tables.items()
    ]
    parts += [
        f"SELECT '{kind}', {end}(date), 0, NULL FROM {SCHEMA}.{name}"
        for kind, end, name in (
            ("span", "min", "analysis_summary"),
            ("span", "max", "analysis_summary"),
            ("alerts_since", "min", "alerts"),
        )
    ]
    parts.append(
        "SELECT 'asked', $1::date, count(*), array_agg(DISTINCT symbol) "
        f"FROM {SCHEMA}.fetch_log WHERE exchange = '{SCAN_EXCHANGE}' AND interval = '1d'"
    )
    before = " UNION ALL ".join(
        f"SELECT max(date) AS date FROM {SCHEMA}.{name} WHERE date < $1::date" for name in BY_SYMBOL
    )
    parts += [
        f"SELECT 'earlier', date, count(*), array_agg(symbol) FROM {SCHEMA}.{name} "
        f"WHERE date = (SELECT max(date) FROM ({before}) AS b) GROUP BY date"
        for name in BY_SYMBOL
    ]
    return " UNION ALL ".join(parts)


def _lack(name: str) -> str:
    """The condition that a signal's symbol and day have no row in a table."""
    of = f"{SCHEMA}.{name} AS o"
    return f"NOT EXISTS (SELECT FROM {of} WHERE o.date = s.date AND o.symbol = s.symbol)"


def _presence(found: Iterable[tuple[str, date | None, int, Collection[str] | None]]) -> Presence:
    symbols: defaultdict[str, dict[date, frozenset[str]]] = defaultdict(dict)
    counts: defaultdict[str, dict[date, int]] = defaultdict(dict)
    for kind, day, n, names in found:
        if day is not None:
            counts[kind][day] = n
            symbols[kind][day] = symbols[kind].get(day, frozenset()) | frozenset(names or ())
    span = sorted(counts["span"])
    return Presence(
        rows={name: symbols[name] for name in BY_SYMBOL},
        members=symbols["members"],
        candles=symbols["candles"],
        unranked=symbols["unranked"],
        without_candle=symbols["without_candle"],
        kept_out=symbols["kept_out"],
        pairs_kept_out=symbols["pairs_kept_out"],
        pairs=counts["pairs"],
        summaries=frozenset(counts["summaries"]),
        span=(span[0], span[-1]) if span else None,
        alerts_since=min(counts["alerts_since"], default=None),
        earlier=frozenset().union(*symbols["earlier"].values()),
        asked=frozenset().union(*symbols["asked"].values()),
    )
