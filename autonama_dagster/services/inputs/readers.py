"""Readers that recipes are followed with: the warehouse's rows, or rows that are made in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from types import MappingProxyType
from typing import cast

import pandas as pd

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.run_windows import Answered, RunWindows, windows_of
from autonama_dagster.analytics.candles.windows import day_number
from autonama_dagster.analytics.scan.channel import ChannelParams
from autonama_dagster.analytics.scan.quality.quality import Evidence
from autonama_dagster.analytics.scan.recipe import DayScope, Reader, Recipes, keys_and_hashes
from autonama_dagster.schemas.registry import table as table_of
from autonama_dagster.services.inputs.chances import cached_chances, computed_chances
from autonama_dagster.services.inputs.evidence import read_evidence
from resources.warehouse.candle_queries import fetched_ranges
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse


class WarehouseReader:
    """What the tables hold. What it has read it keeps, so one serves one run.

    Parameters
    ----------
    warehouse
        The project's tables.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self._windows: dict[tuple[DayScope, int], RunWindows] = {}
        self._rows: dict[tuple[str, DayScope], pd.DataFrame] = {}
        self._candles: dict[tuple[tuple[str, ...], date, date], Mapping[str, Candles]] = {}
        self._answered: dict[tuple[str, ...], Answered] = {}

    @property
    def read_windows(self) -> tuple[RunWindows, ...]:
        """The windows that were read."""
        return tuple(self._windows.values())

    def step(self, day: date) -> int:
        """Days since 1970-01-01 (UTC)."""
        return day_number(day)

    def windows(self, scope: DayScope, lookback: int) -> RunWindows:
        """Windows of every symbol and day, from the stored candles.

        A window is used only where the exchange has answered for every one of its days: a row made
        from half a window would be another row once the rest is fetched.
        """
        if (scope, lookback) not in self._windows:
            symbols = scope.symbols or ()
            found = self.candles(symbols, scope.first - timedelta(days=lookback - 1), scope.last)
            self._windows[scope, lookback] = windows_of(
                found, symbols, scope.first, scope.last, lookback, self.answered(symbols)
            )
        return self._windows[scope, lookback]

    def candles(self, symbols: Sequence[str], first: date, last: date) -> Mapping[str, Candles]:
        """Stored candles of these days."""
        key = (tuple(symbols), first, last)
        if key not in self._candles:
            self._candles[key] = self.warehouse.candles(symbols, first, last)
        return self._candles[key]

    def answered(self, symbols: Sequence[str]) -> Answered:
        """Days the exchange has answered for, by symbol."""
        key = tuple(symbols)
        if key not in self._answered:
            self._answered[key] = fetched_ranges(self.warehouse, "1d", symbols)
        return self._answered[key]

    def evidence(self, symbols: Sequence[str], first: date, last: date) -> Mapping[str, Evidence]:
        """What is known beside the stored candles."""
        return read_evidence(self.warehouse, symbols, first, last)

    def rows(
        self, table: str, scope: DayScope, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Stored rows."""
        kept = self._kept(table, scope)
        if kept is None and columns is not None:
            return self.warehouse.read(table, stored_scope(scope), columns)
        if kept is None:
            kept = self._rows[table, scope] = self.warehouse.read(table, stored_scope(scope))
        return kept if columns is None else kept[[*columns]]

    def hashes(self, table: str, scope: DayScope) -> pd.DataFrame:
        """Key and input_hash of stored rows."""
        return self.rows(table, scope, (*table_of(table).key, "input_hash"))

    def chances(self, members: pd.DataFrame, params: ChannelParams) -> pd.DataFrame:
        """Chances of the stored windows, from the cache where they are known."""
        return cached_chances(self.warehouse, self, members, params)

    def _kept(self, table: str, scope: DayScope) -> pd.DataFrame | None:
        """Rows that were read before, of these symbols or of everyone."""
        for known in (scope, scope.everyone):
            if (table, known) in self._rows:
                return within(self._rows[table, known], scope)
        return None


class RecipeRows:
    """The part of a reader that has rows and hashes made by recipes, each once.

    Parameters
    ----------
    recipes
        By table.
    """

    def __init__(self, recipes: Recipes) -> None:
        self._recipes = recipes
        self._made_rows: dict[tuple[str, DayScope], pd.DataFrame] = {}
        self._made_hashes: dict[tuple[str, DayScope], pd.DataFrame] = {}

    def make_rows(self, table: str, scope: DayScope) -> pd.DataFrame:
        """Rows by the table's recipe, made anew."""
        return self._recipes[table].rows(cast("Reader", self), scope)

    def made_rows(self, table: str, scope: DayScope) -> pd.DataFrame:
        """Rows by the table's recipe."""
        if (table, scope) not in self._made_rows:
            self._made_rows[table, scope] = self.make_rows(table, scope)
        return self._made_rows[table, scope]

    def made_hashes(self, table: str, scope: DayScope) -> pd.DataFrame:
        """Key and input_hash by the table's recipe; of its rows, where these are made already."""
        if (table, scope) in self._made_rows:
            return keys_and_hashes(self._made_rows[table, scope])
        if (table, scope) not in self._made_hashes:
            recipe = self._recipes[table]
            self._made_hashes[table, scope] = recipe.hashes(cast("Reader", self), scope)
        return self._made_hashes[table, scope]


class MadeReader(RecipeRows):
    """Rows made in memory by the recipes, from candles and rows that are given.

    Parameters
    ----------
    recipes
        By table.
    candles
        By symbol; nothing of after the last day that is asked for may be among them, unless the
        caller wants to see whether it makes a difference.
    symbols
        Whose rows there are, where a table by date asks for everyone's.
    answered
        Days the exchange has answered for; None: all.
    evidence
        What is known beside the candles.
    rows
        Rows by table that are not made here.
    """

    def __init__(
        self,
        recipes: Recipes,
        candles: Mapping[str, Candles],
        *,
        symbols: Sequence[str] = (),
        answered: Answered | None = None,
        evidence: Mapping[str, Evidence] = MappingProxyType({}),
        rows: Mapping[str, pd.DataFrame] = MappingProxyType({}),
    ) -> None:
        super().__init__(recipes)
        self._candles = candles
        self._symbols = tuple(symbols)
        self._answered = answered
        self._evidence = evidence
        self._given = rows
        self._windows: dict[tuple[DayScope, int], RunWindows] = {}

    def step(self, day: date) -> int:
        """Days since 1970-01-01 (UTC)."""
        return day_number(day)

    def windows(self, scope: DayScope, lookback: int) -> RunWindows:
        """Windows of every symbol and day, from the given candles."""
        if (scope, lookback) not in self._windows:
            self._windows[scope, lookback] = self.make_windows(scope, lookback)
        return self._windows[scope, lookback]

    def make_windows(self, scope: DayScope, lookback: int) -> RunWindows:
        """The same, made anew."""
        symbols = scope.symbols or ()
        return windows_of(self._candles, symbols, scope.first, scope.last, lookback, self._answered)

    def candles(self, symbols: Sequence[str], _first: date, _last: date) -> Mapping[str, Candles]:
        """The given candles of these symbols."""
        return {s: self._candles[s] for s in symbols if s in self._candles}

    def answered(self, _symbols: Sequence[str]) -> Answered | None:
        """Days the exchange has answered for."""
        return self._answered

    def evidence(
        self, _symbols: Sequence[str], _first: date, _last: date
    ) -> Mapping[str, Evidence]:
        """What is known beside the given candles."""
        return self._evidence

    def rows(
        self, table: str, scope: DayScope, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Given rows, or rows made by the table's recipe."""
        if table in self._given:
            found = within(self._given[table], scope)
        else:
            found = self.made_rows(table, self._scope(table, scope))
        return found if columns is None else found[[*columns]]

    def hashes(self, table: str, scope: DayScope) -> pd.DataFrame:
        """Key and input_hash of given rows, or as the table's recipe gives them."""
        if table in self._given:
            return keys_and_hashes(within(self._given[table], scope))
        return self.made_hashes(table, self._scope(table, scope))

    def chances(self, members: pd.DataFrame, params: ChannelParams) -> pd.DataFrame:
        """Chances of the windows of the given candles."""
        return computed_chances(self, members, params)

    def _scope(self, table: str, scope: DayScope) -> DayScope:
        """The scope with its symbols, which a table by date does not name."""
        if scope.symbols is None and table_of(table).partitions == "date_symbol":
            return replace(scope, symbols=self._symbols)
        return scope


class PresentReader(RecipeRows, WarehouseReader):
    """What the tables hold, with the hashes that a run would give their rows now.

    Rankings are taken as they are stored, because a run asks the exchange for their candles.
    """

    def __init__(self, warehouse: Warehouse, recipes: Recipes) -> None:
        RecipeRows.__init__(self, recipes)
        WarehouseReader.__init__(self, warehouse)

    def hashes(self, table: str, scope: DayScope) -> pd.DataFrame:
        """Key and input_hash as a run would make them."""
        if table == "universe":
            return super().hashes(table, scope)
        return self.made_hashes(table, scope)


def within(frame: pd.DataFrame, scope: DayScope) -> pd.DataFrame:
    """Rows of the scope."""
    wanted = frame["date"].between(pd.Timestamp(scope.first), pd.Timestamp(scope.last))
    if scope.symbols is not None and "symbol" in frame:
        wanted &= frame["symbol"].isin(scope.symbols)
    return frame if wanted.all() else frame[wanted].reset_index(drop=True)


def stored_scope(scope: DayScope) -> Scope:
    """The scope as the warehouse knows it."""
    return Scope(scope.symbols, scope.first, scope.last)
