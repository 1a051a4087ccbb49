"""What the project's tables hold, for `autonama status` and the metrics: read-only and quick.

Works on a connection of psycopg, which is there at once; the warehouse's bulk driver is not needed
for a handful of rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from psycopg import Connection, sql

from autonama_dagster.days import DAY
from autonama_dagster.schemas.base import SCHEMA
from autonama_dagster.schemas.registry import TABLES
from autonama_dagster.text.sources import SCAN_EXCHANGE
from resources.warehouse.check_facts import CheckFacts, read_checks

# Tables in which every member of a day has a row once the day is complete.
BY_MEMBER: Final = (
    "ohlcv_1d",
    *(t.name for t in TABLES.values() if t.is_analytic and t.partitions == "date_symbol"),
)
_BY_DAY: Final = tuple(t.name for t in TABLES.values() if t.partitions == "date")
_LOOK_BACK: Final = 30  # days in which the latest complete one is searched

Row = tuple[Any, ...]


@dataclass(frozen=True)
class TableState:
    """One table of schema `trading`.

    Attributes
    ----------
    name
        Its name.
    rows
        Rows, as Postgres estimates them.
    latest_day
        Latest day with a row; None: empty, or not searchable by day.
    complete_day
        Latest day on which no member of the universe lacks its row, of the last 30 with a
        universe; None: there is none, or the table is not one of a day's scan.
    bytes
        On disk, with indexes and TOAST.
    index_bytes
        Of that, indexes.
    """

    name: str
    rows: int
    latest_day: date | None
    complete_day: date | None
    bytes: int
    index_bytes: int


@dataclass(frozen=True)
class Lacking:
    """Rows that a table must have and does not.

    Attributes
    ----------
    table
        Its name.
    count
        How many there are.
    symbol, day
        The latest of them; the symbol is None in a table by date.
    first
        The first day with one.
    """

    table: str
    count: int
    symbol: str | None
    day: date
    first: date


@dataclass(frozen=True)
class TableFacts:
    """What the project's database holds.

    Attributes
    ----------
    tables
        In pipeline order; empty before the first migration.
    database_bytes
        Size of the whole database.
    first_summary, latest_summary
        First and latest day with a summary.
    computed_at
        When the newest summary was computed.
    without_universe, without_summary
        Days from the first summary to the expected day that lack one.
    day
        The day the following are about: the latest with a universe, not after the expected one.
    failed_fetches
        Symbols asked for on the day without any answer so far.
    unanswered
        Registered symbols whose candle of the day was not asked for, or never answered.
    quarantined, quarantined_today
        Candles kept out of `ohlcv_1d`: all, and those of the day.
    lacking
        Rows that are gone from a day with a summary, of the last 30 days.
    candle_checks
        Stored candles that were asked for again.
    faults
        What of the schema is not as it was made, one line each.
    unreadable
        Why the tables could not be read, which leaves what was not read empty; None: they could.
    """

    tables: tuple[TableState, ...] = ()
    database_bytes: int = 0
    first_summary: date | None = None
    latest_summary: date | None = None
    computed_at: datetime | None = None
    without_universe: tuple[date, ...] = ()
    without_summary: tuple[date, ...] = ()
    day: date | None = None
    failed_fetches: tuple[str, ...] = ()
    unanswered: tuple[str, ...] = ()
    quarantined: int = 0
    quarantined_today: int = 0
    lacking: tuple[Lacking, ...] = ()
    candle_checks: CheckFacts = field(default_factory=CheckFacts)
    faults: tuple[str, ...] = ()
    unreadable: str | None = None


def read_tables(
    connection: Connection[Row],
    registered: Sequence[str],
    expected: date,
) -> TableFacts:
    """Gather the facts but for what is `lacking`, which is said elsewhere.

    Parameters
    ----------
    connection
        To the project's database.
    registered
        Registered symbols.
    expected
        Latest day that should be complete.
    """
    size = _one(connection, "SELECT pg_database_size(current_database())")[0]
    sizes = _sizes(connection)
    if not sizes:
        return TableFacts(database_bytes=size)
    first, latest, computed_at = _one(
        connection,
        "SELECT min(date), max(date), max(computed_at) FROM trading.analysis_summary",
    )
    begun = _one(connection, "SELECT max(date) FROM trading.universe")[0]
    day = None if begun is None else min(begun, expected)
    answered, failed = _answers(connection, day)
    total, today = _one(
        connection,
        "SELECT count(*), count(*) FILTER (WHERE date = %s) FROM trading.quarantine "
        "WHERE table_name = 'ohlcv_1d' AND exchange = %s",
        (day, SCAN_EXCHANGE),
    )
    return TableFacts(
        tables=tuple(
            TableState(
                name,
                rows,
                latest_day=_latest(connection, name) if by_day else None,
                complete_day=_complete(connection, name, begun),
                bytes=used,
                index_bytes=indexes,
            )
            for name, rows, used, indexes, by_day in sizes
        ),
        database_bytes=size,
        first_summary=first,
        latest_summary=latest,
        computed_at=computed_at,
        without_universe=_without(connection, "universe", first, expected),
        without_summary=_without(connection, "analysis_summary", first, expected),
        day=day,
        failed_fetches=failed,
        unanswered=() if day is None else tuple(s for s in registered if s not in answered),
        quarantined=total,
        quarantined_today=today,
        candle_checks=read_checks(connection, expected + DAY),
    )


def _sizes(connection: Connection[Row]) -> list[Row]:
    """Name, rows, bytes, index bytes, and whether an index leads with `date`."""
    found = connection.execute(
        """
        SELECT c.relname, greatest(c.reltuples, s.n_live_tup, 0)::bigint,
               pg_total_relation_size(c.oid), pg_indexes_size(c.oid),
               EXISTS (
                   SELECT 1 FROM pg_index AS i
                   JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
                   WHERE i.indrelid = c.oid AND a.attname = 'date'
               )
        FROM pg_class AS c
        LEFT JOIN pg_stat_user_tables AS s ON s.relid = c.oid
        WHERE c.relnamespace = to_regnamespace(%s) AND c.relname = ANY(%s)
        """,
        (SCHEMA, list(TABLES)),
    ).fetchall()
    order = list(TABLES)
    return sorted(found, key=lambda row: order.index(row[0]))


def _latest(connection: Connection[Row], name: str) -> date | None:
    found: date | None = _one(
        connection, sql.SQL("SELECT max(date) FROM {}").format(sql.Identifier(SCHEMA, name))
    )[0]
    return found


def _complete(connection: Connection[Row], name: str, begun: date | None) -> date | None:
    if begun is None or name not in BY_MEMBER:
        return _latest(connection, name) if name in _BY_DAY else None
    query = sql.SQL(
        """
        SELECT max(date) FROM (
            SELECT u.date
            FROM trading.universe AS u
            LEFT JOIN {} AS t ON t.symbol = u.symbol AND t.date = u.date
            WHERE u.is_member AND u.date > %s::date - %s
            GROUP BY u.date
            HAVING bool_and(t.symbol IS NOT NULL)
        ) AS complete
        """
    ).format(sql.Identifier(SCHEMA, name))
    found: date | None = _one(connection, query, (begun, _LOOK_BACK))[0]
    return found


def _without(
    connection: Connection[Row], name: str, first: date | None, last: date
) -> tuple[date, ...]:
    """Days of first..last without a row in the table."""
    query = sql.SQL(
        """
        SELECT d::date
        FROM generate_series(%s::date, %s::date, interval '1 day') AS d
        WHERE NOT EXISTS (SELECT 1 FROM {} AS t WHERE t.date = d::date)
        ORDER BY d
        """
    ).format(sql.Identifier(SCHEMA, name))
    return tuple(row[0] for row in connection.execute(query, (first, last)))


def _answers(
    connection: Connection[Row], day: date | None
) -> tuple[frozenset[str], tuple[str, ...]]:
    """Symbols whose candle of the day was answered, and those that only failed, also in ranking."""
    found = connection.execute(
        """
        SELECT symbol, interval, bool_or(outcome <> 'failed')
        FROM trading.fetch_log
        WHERE exchange = %s AND interval IN ('1d', '1d-ranking')
          AND %s BETWEEN from_date AND to_date
        GROUP BY symbol, interval
        """,
        (SCAN_EXCHANGE, day),
    ).fetchall()
    answered = frozenset(
        s for s, interval, is_answered in found if is_answered and interval == "1d"
    )
    return answered, tuple(sorted({s for s, _, is_answered in found if not is_answered}))


def _one(connection: Connection[Row], query: Any, values: Sequence[Any] = ()) -> Row:
    row = connection.execute(query, values).fetchone()
    assert row is not None  # noqa: S101  (aggregates always give a row)
    return row
