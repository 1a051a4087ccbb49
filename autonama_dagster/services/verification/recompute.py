"""Rows computed again from stored inputs: from what was there on their day, and from more.

The tables' recipes, followed twice by the reader of the stages: with tables cut at D, and with all
candles, later ones and made-up ones after the last among them. A row that knows nothing of the
future is the same in both.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from autonama_dagster.analytics.candles.candles import FACTS, Candles
from autonama_dagster.analytics.candles.run_windows import Answered
from autonama_dagster.analytics.candles.windows import day_number
from autonama_dagster.analytics.scan.channel import ChannelParams
from autonama_dagster.analytics.scan.correlation import RETURN_DAYS
from autonama_dagster.analytics.scan.quality.quality import Evidence
from autonama_dagster.analytics.scan.recipe import DayScope, Recipes
from autonama_dagster.days import DAY
from autonama_dagster.services.inputs.chances import computed_chances
from autonama_dagster.services.inputs.readers import RecipeRows, WarehouseReader, within
from resources.warehouse.warehouse import Warehouse

LATER_DAYS = 60  # real ones after the last day, as far as there are any
MADE_UP_DAYS = 40  # after the last candle: more than any look ahead of a few weeks
_MOVES = np.array([2.9, 0.4, 1.7, 0.6])  # daily, of the made-up candles; none is a break

Frames = dict[str, pd.DataFrame]


class ProofReader(RecipeRows, WarehouseReader):
    """The reader of the stages, but only candles and some tables are taken as they are stored.

    Parameters
    ----------
    warehouse
        The project's tables, cut at a day or whole.
    recipes
        By table.
    taken
        Tables whose stored rows are taken; rows of the others are made by their recipes.
    """

    def __init__(self, warehouse: Warehouse, recipes: Recipes, taken: Collection[str]) -> None:
        RecipeRows.__init__(self, recipes)
        WarehouseReader.__init__(self, warehouse)
        self._taken = frozenset(taken)

    def rows(
        self, table: str, scope: DayScope, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Stored rows of the tables that are taken, made rows of the others."""
        if table in self._taken:
            return super().rows(table, scope, columns)
        found = self.made_rows(table, scope)
        return found if columns is None else found[[*columns]]

    def hashes(self, table: str, scope: DayScope) -> pd.DataFrame:
        """Key and input_hash of these rows."""
        if table in self._taken:
            return super().hashes(table, scope)
        return self.made_hashes(table, scope)

    def chances(self, members: pd.DataFrame, params: ChannelParams) -> pd.DataFrame:
        """Chances of the windows, without the cache: what is stored there proves nothing."""
        return computed_chances(self, members, params)


@dataclass(frozen=True)
class Inputs:
    """What rows of some symbols and days are made from, read at once.

    Attributes
    ----------
    candles
        By symbol: from the first lookback on, and of `LATER_DAYS` after the last day.
    answered
        Days the exchange has answered for.
    evidence
        For the quality ledger.
    rows
        Stored rows of the days, of the tables that are taken as stored.
    """

    candles: Mapping[str, Candles]
    answered: Answered
    evidence: Mapping[str, Evidence]
    rows: Mapping[str, pd.DataFrame]


class InputReader(ProofReader):
    """The same from inputs that were read at once, with candles cut or extended in memory."""

    def __init__(
        self,
        warehouse: Warehouse,
        recipes: Recipes,
        inputs: Inputs,
        candles: Mapping[str, Candles],
    ) -> None:
        super().__init__(warehouse, recipes, inputs.rows)
        self._inputs = inputs
        self._all = candles

    def candles(self, symbols: Sequence[str], _first: date, _last: date) -> Mapping[str, Candles]:
        """The given candles of these symbols."""
        return {s: self._all[s] for s in symbols if s in self._all}

    def answered(self, _symbols: Sequence[str]) -> Answered:
        """Days the exchange has answered for."""
        return self._inputs.answered

    def evidence(
        self, _symbols: Sequence[str], _first: date, _last: date
    ) -> Mapping[str, Evidence]:
        """What is known beside the candles."""
        return self._inputs.evidence

    def rows(
        self, table: str, scope: DayScope, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Given rows, or rows made by the table's recipe."""
        if table not in self._inputs.rows:
            return super().rows(table, scope, columns)
        found = within(self._inputs.rows[table], scope)
        return found if columns is None else found[[*columns]]


def read_inputs(
    reader: WarehouseReader, lookback: int, scope: DayScope, taken: Collection[str]
) -> Inputs:
    """Inputs of the rows of symbols and days; without symbols: of all candidates of these days."""
    begin = scope.first - max(lookback - 1, RETURN_DAYS + 1) * DAY
    rows = {name: reader.rows(name, scope.everyone) for name in taken}
    symbols = scope.symbols
    if symbols is None:
        symbols = tuple(sorted(rows["universe"]["symbol"].unique()))
    return Inputs(
        reader.candles(symbols, begin, scope.last + LATER_DAYS * DAY),
        reader.answered(symbols),
        reader.evidence(symbols, begin, scope.last),
        rows,
    )


def with_future(candles: Candles, day: date) -> Candles:
    """The candles with made-up ones after the last and the day: prices nobody could overlook."""
    if not len(candles):
        return candles
    moves = np.cumprod(np.resize(_MOVES, MADE_UP_DAYS))
    close = candles.close[-1] * moves
    opened = np.concatenate([candles.close[-1:], close[:-1]])
    later = {
        "open": opened,
        "high": np.maximum(opened, close) * 1.5,
        "low": np.minimum(opened, close) / 1.5,
        "close": close,
        "volume": np.full(MADE_UP_DAYS, candles.volume.max() * 7 + 1),
        "quote_volume": np.full(MADE_UP_DAYS, np.nanmax(candles.quote_volume, initial=0) * 7 + 1),
        "taker_buy_volume": np.full(MADE_UP_DAYS, np.nan),
        "taker_buy_quote_volume": np.full(MADE_UP_DAYS, np.nan),
        "trades": np.full(MADE_UP_DAYS, candles.trades.max() * 7 + 1),
        "row_hash": np.full(MADE_UP_DAYS, b"f" * 64),
        "source": np.full(MADE_UP_DAYS, candles.source[-1]),
    }
    facts: dict[str, Any] = {n: np.concatenate([getattr(candles, n), later[n]]) for n in FACTS}
    last = max(int(candles.day[-1]), day_number(day))
    days = np.concatenate([candles.day, last + 1 + np.arange(MADE_UP_DAYS)])
    return Candles(candles.symbol, days, **facts)


@dataclass(frozen=True)
class Recomputation:
    """Rows of some tables, symbols and days, made from what was there on their day, and from more.

    Attributes
    ----------
    warehouse
        The project's tables.
    recipes
        By table.
    inputs
        What the rows are made from.
    scope
        Their symbols and days.
    names
        Their tables.
    """

    warehouse: Warehouse
    recipes: Recipes
    inputs: Inputs
    scope: DayScope
    names: Collection[str]

    def cut(self, in_database: Collection[date]) -> Frames:
        """Rows made day by day, from what was there on the day and nothing else.

        For the days `in_database` everything is read anew from tables that end on the day, so that
        what reads and joins is proved too; for the others the inputs are cut in memory.
        """
        made = [self._at_once(*of) for of in self._days(in_database)]
        return {name: pd.concat([of[name] for of in made], ignore_index=True) for name in made[0]}

    def extended(self) -> Frames:
        """Rows made at once, from all candles and a future that is made up."""
        found = {s: with_future(c, self.scope.last) for s, c in self.inputs.candles.items()}
        reader = InputReader(self.warehouse, self.recipes, self.inputs, found)
        return self._at_once(reader, self.scope)

    def _days(self, in_database: Collection[date]) -> Iterator[tuple[ProofReader, DayScope]]:
        for day in self.scope.days:
            scope = DayScope(self.scope.symbols, day, day)
            if day in in_database:
                warehouse = self.warehouse.until(day)
                yield ProofReader(warehouse, self.recipes, self.inputs.rows), scope
                continue
            number = day_number(day)
            found = {s: c.until(number) for s, c in self.inputs.candles.items()}
            yield InputReader(self.warehouse, self.recipes, self.inputs, found), scope

    def _at_once(self, reader: ProofReader, scope: DayScope) -> Frames:
        """The tables' rows; of the ranking, which the others are given as stored, those made."""
        return {
            name: reader.make_rows(name, scope)
            if name in self.inputs.rows
            else reader.rows(name, scope)
            for name in self.names
        }
