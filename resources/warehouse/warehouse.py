"""The warehouse: reads and writes of the project's tables in Postgres, in bulk through Arrow.

Names of tables and columns come from the schema registry, values are always bound parameters.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
import pyarrow as pa
from adbc_driver_manager import Error as AdbcError
from adbc_driver_postgresql import dbapi

from autonama_dagster.analytics.candles.candles import FACTS, Candles
from autonama_dagster.analytics.candles.klines import empty_rejected
from autonama_dagster.errors import SchemaError
from autonama_dagster.schemas.base import SCHEMA, Table
from autonama_dagster.schemas.registry import table
from autonama_dagster.schemas.tables.market import FETCH_LOG
from resources.postgres.connections import bulk
from resources.postgres.diagnosis import explained
from resources.postgres.watching import watched
from resources.warehouse.cut import cut
from resources.warehouse.frames import split, to_arrow, to_frame
from resources.warehouse.statements import (
    EVERYTHING,
    Scope,
    check_exchange,
    merge_rows,
    ordered,
    quarantine_rows,
    replace_rows,
    rows_of,
    select_list,
)

if TYPE_CHECKING:
    from resources.exchange.feed import Fetched

IMPATIENT = {"lock_timeout": "5s", "statement_timeout": "120s"}  # of who only looks


@dataclass(frozen=True)
class Batch:
    """What a stage hands over for one write: its rows, and what belongs to the same transaction.

    Attributes
    ----------
    frame
        Rows of the table, without the columns the write stamps.
    rejected
        Rows found bad before the write (symbol, date, reason, raw); they go to `quarantine`.
    fetches
        Rows for `fetch_log`, without run_id.
    failed
        Symbols whose fetch failed: what is stored of them stays as it is.
    asked
        What was fetched, where that is another range than the rows': its quarantine is replaced.
    exchange
        Where it was fetched from; None: nothing was.
    """

    frame: pd.DataFrame
    rejected: pd.DataFrame = field(default_factory=empty_rejected)
    fetches: pd.DataFrame | None = None
    failed: tuple[str, ...] = ()
    asked: Scope | None = None
    exchange: str | None = None

    @classmethod
    def of(cls, fetched: "Fetched", asked: Scope | None = None) -> Self:
        """What was fetched, whole."""
        return cls(
            fetched.frame, fetched.rejected, fetched.log, fetched.failed, asked, fetched.exchange
        )


@dataclass(frozen=True)
class Written:
    """What a write did."""

    rows: int
    symbols: int
    first: date | None
    last: date | None
    quarantined: int
    seconds: float


class Warehouse:
    """Access to the project's tables.

    Parameters
    ----------
    url
        Gives the database's libpq URL; called at the first use, so that building definitions
        starts no server.
    reads
        The caller only looks: it gives up where it would wait for a lock.
    """

    def __init__(self, url: Callable[[], str], *, reads: bool = False) -> None:
        self._find_url = url
        self._settings = IMPATIENT if reads else None
        self._url: str | None = None
        self._local = threading.local()
        self._until: date | None = None

    @property
    def url(self) -> str:
        """Libpq URL of the database."""
        if self._url is None:
            self._url = self._find_url()
        return self._url

    def until(self, day: date) -> Self:
        """The same tables to read from, cut at a day in every query; see `cut`."""
        found = copy(self)
        found._until = day  # noqa: SLF001  (of the same class)
        return found

    @contextmanager
    def transaction(self) -> Iterator[dbapi.Cursor]:
        """One transaction: committed at the end, rolled back on any error.

        Raises
        ------
        DatabaseError
            The database is out of reach, or was lost on the way.
        SchemaError
            The database refuses the values or does not know a column.
        """
        try:
            connection = self._connection()
            with watched(self.url, self._local.pid):
                with connection.cursor() as cursor:
                    yield cursor
                connection.commit()
        except AdbcError as error:
            self.close()
            raise explained(self.url, error) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close this thread's connection, rolling back what it had begun."""
        connection = self._local.__dict__.pop("connection", None)
        if connection is not None:
            with suppress(AdbcError):
                connection.close()

    def _connection(self) -> dbapi.Connection:
        """Connection of this thread; a new one costs 45 ms, so it is kept while it answers."""
        kept: dbapi.Connection | None = getattr(self._local, "connection", None)
        if kept is not None:
            try:
                with kept.cursor() as cursor:
                    cursor.execute("SELECT 1")
            except AdbcError:
                self.close()
            else:
                return kept
        self._local.connection = bulk(self.url, self._settings)
        with self._local.connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            self._local.pid = cursor.fetchone()[0]
        return self._local.connection

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """Rows of a SELECT; `$1`, `$2`, ... are bound."""
        if self._until is not None:
            sql, parameters = cut(sql, parameters, self._until)
        with self.transaction() as cursor:
            cursor.execute(sql, tuple(parameters) or None)
            return cursor.fetch_arrow_table()

    def read(
        self,
        name: str,
        scope: Scope = EVERYTHING,
        columns: Sequence[str] | None = None,
        *,
        as_of: datetime | None = None,
    ) -> pd.DataFrame:
        """Rows of a table in its key's order, in the dtypes of its model.

        With `as_of` the candles that were known at that moment of the exchange's clock.

        Raises
        ------
        SchemaError
            Unknown table or column.
        InputError
            `as_of` is given for a table whose replaced rows are not kept.
        """
        of = table(name)
        chosen = tuple(columns or of.columns)
        if unknown := set(chosen) - set(of.columns):
            raise SchemaError(f"table {name} has no column {', '.join(sorted(unknown))}")
        rows, values = rows_of(of, scope, as_of)
        order = ", ".join(ordered(of, k) for k in of.key) or "1"
        arrow = self.query(f"SELECT {select_list(of, chosen)} FROM {rows} ORDER BY {order}", values)
        return to_frame(of, arrow)

    def candles(
        self, symbols: Sequence[str], first: date, last: date, *, as_of: datetime | None = None
    ) -> dict[str, Candles]:
        """Daily candles of the symbols from `first` to `last`, both included; see `read`.

        A symbol without candles is absent from the result.
        """
        columns = ("symbol", "date", *FACTS)
        scope = Scope(tuple(symbols), first, last)
        return Candles.by_symbol(self.read("ohlcv_1d", scope, columns, as_of=as_of))

    def write(self, name: str, batch: Batch, scope: Scope, stamps: dict[str, Any]) -> Written:
        """Replace the scope's rows in one transaction, bad rows going to `quarantine`.

        Writers of one table take turns, so that two of the same partitions end with one complete
        result.

        Raises
        ------
        SchemaError
            Unknown table, missing or unknown column, wrong type, a row outside the scope; the
            tables are cut.
        InputError
            The table holds candles of another exchange.
        DatabaseError
            The database is out of reach; nothing is written.
        """
        self._refuse_cut(name)
        started = time.perf_counter()
        of = table(name)
        stamped = batch.frame.assign(**{c: stamps[c] for c in of.stamped})
        good, bad = split(of, stamped)
        _check_scope(of, good, scope)
        found = [f for f in (batch.rejected, bad) if len(f)]
        rejected = pd.concat(found, ignore_index=True) if found else bad
        arrow = to_arrow(of, good)
        with self.transaction() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext($1))", (f"{SCHEMA}.{name}",))
            check_exchange(cursor, of, arrow)
            replace_rows(cursor, of, arrow, scope)
            asked = batch.asked or scope
            quarantine_rows(cursor, of, rejected, asked, batch.failed, stamps, batch.exchange)
            if batch.fetches is not None:
                fetches, _ = split(FETCH_LOG, batch.fetches.assign(run_id=stamps["run_id"]))
                merge_rows(cursor, FETCH_LOG, to_arrow(FETCH_LOG, fetches))
        days = good["date"]
        return Written(
            rows=len(good),
            symbols=good["symbol"].nunique() if "symbol" in good else 0,
            first=days.min().date() if len(good) else None,
            last=days.max().date() if len(good) else None,
            quarantined=len(rejected),
            seconds=time.perf_counter() - started,
        )

    def keep(self, name: str, frame: pd.DataFrame) -> None:
        """Store rows of a bookkeeping table, in the place of those of the same keys.

        Raises
        ------
        SchemaError
            As `write`.
        DatabaseError
            The database is out of reach; nothing is written.
        """
        self._refuse_cut(name)
        of = table(name)
        good, _ = split(of, frame)
        with self.transaction() as cursor:
            # Two writers may bring the same keys in another order: without turns they could
            # deadlock.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext($1))", (f"{SCHEMA}.{name}",))
            merge_rows(cursor, of, to_arrow(of, good))

    def _refuse_cut(self, name: str) -> None:
        if self._until is not None:
            raise SchemaError(
                f"table {name}: tables cut at {self._until} are only read; write to the whole ones"
            )


def _check_scope(of: Table, frame: pd.DataFrame, scope: Scope) -> None:
    outside = pd.Series(data=False, index=frame.index)
    if scope.first is not None:
        outside |= frame["date"] < pd.Timestamp(scope.first)
    if scope.last is not None:
        outside |= frame["date"] > pd.Timestamp(scope.last)
    if scope.symbols is not None and "symbol" in frame:
        outside |= ~frame["symbol"].isin(scope.symbols)
    if outside.any():
        key = ", ".join(f"{k}={v}" for k, v in frame.loc[outside, list(of.key)].iloc[0].items())
        raise SchemaError(f"table {of.name}: row {key} lies outside the partitions being written")
