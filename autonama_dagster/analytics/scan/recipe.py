"""What a recipe is: how the rows of one table follow from what a reader gives, and from parameters.

The stage, the what-if, the proof, the search for stale rows and the receipt follow one recipe with
readers of their own. A recipe sees neither Dagster nor SQL nor settings, and nothing of after D:
whoever makes a reader cuts it there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Protocol

import pandas as pd

from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.hashing import Json
from autonama_dagster.analytics.candles.run_windows import Answered, RunWindows
from autonama_dagster.analytics.scan.channel import ChannelParams
from autonama_dagster.analytics.scan.quality.quality import Evidence
from autonama_dagster.days import days_of

KEYS = ("date", "symbol", "symbol_a", "symbol_b")


@dataclass(frozen=True)
class DayScope:
    """What rows are about.

    Attributes
    ----------
    symbols
        In the order of the rows; None: of a table by date.
    first, last
        Days, both included.
    """

    symbols: tuple[str, ...] | None
    first: date
    last: date

    @property
    def days(self) -> list[date]:
        """Every day, in order."""
        return days_of(self.first, self.last)

    @property
    def everyone(self) -> "DayScope":
        """The same days, of all symbols."""
        return DayScope(None, self.first, self.last)


class Reader(Protocol):
    """What recipes are followed with."""

    def step(self, day: date) -> int:
        """The day as its candles count it; of another interval, its last step of the day."""

    def windows(self, scope: DayScope, lookback: int) -> RunWindows:
        """Windows of every symbol and day."""

    def candles(self, symbols: Sequence[str], first: date, last: date) -> Mapping[str, Candles]:
        """Candles of these days or more; a symbol without any is absent."""

    def answered(self, symbols: Sequence[str]) -> Answered | None:
        """Days the exchange has answered for, by symbol; None: all."""

    def evidence(self, symbols: Sequence[str], first: date, last: date) -> Mapping[str, Evidence]:
        """What is known beside the candles, by symbol, which may be absent."""

    def rows(
        self, table: str, scope: DayScope, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Rows of another table, in the order of its key."""

    def hashes(self, table: str, scope: DayScope) -> pd.DataFrame:
        """Key and input_hash of these rows."""

    def chances(self, members: pd.DataFrame, params: ChannelParams) -> pd.DataFrame:
        """symbol, date, p_buy and p_sell of these symbols and days, where there is a chance."""


Follow = Callable[[Reader, DayScope, Any], pd.DataFrame]
Chain = Callable[[Reader, DayScope], Sequence[pd.DataFrame]]
RESULT = ("symbol", "date", "result_hash")


@dataclass(frozen=True)
class Recipe:
    """How the rows of a table are made; `params` is what its system is computed with.

    Attributes
    ----------
    table
        Its name.
    parameters
        The parameters whose hash the rows carry.
    rows
        The rows of a scope, with key and input_hash, in the order of the scope.
    hashes
        Key and input_hash alone, in the same order. A hash is missing where it cannot be said,
        because not all inputs are stored.
    made_from
        Tables by date and symbol whose rows of the same symbols and days it takes.
    chain
        The rows whose result hashes are in those of a scope's rows, see `results.result_hashes`;
        None: those of `made_from`.
    """

    table: str
    parameters: Callable[[Any], Mapping[str, Json]]
    rows: Follow
    hashes: Follow
    made_from: tuple[str, ...] = ()
    chain: Chain | None = None

    def chained(self, reader: Reader, scope: DayScope) -> Sequence[pd.DataFrame]:
        """Stored rows that a scope's rows were made from, with their result hashes."""
        if self.chain is not None:
            return self.chain(reader, scope)
        return [reader.rows(of, scope, RESULT) for of in self.made_from]


@dataclass(frozen=True)
class Followed:
    """A recipe with its parameters."""

    recipe: Recipe
    params: Any

    @property
    def parameters(self) -> Mapping[str, Json]:
        """The parameters whose hash the rows carry."""
        return self.recipe.parameters(self.params)

    def rows(self, reader: Reader, scope: DayScope) -> pd.DataFrame:
        """The rows of the scope."""
        return self.recipe.rows(reader, scope, self.params)

    def hashes(self, reader: Reader, scope: DayScope) -> pd.DataFrame:
        """Their key and input_hash."""
        return self.recipe.hashes(reader, scope, self.params)


Recipes = Mapping[str, Followed]


def followed(recipes: Sequence[Recipe], params: Any) -> dict[str, Followed]:
    """The recipes of a system by table, with its parameters."""
    return {recipe.table: Followed(recipe, params) for recipe in recipes}


def keys_and_hashes(frame: pd.DataFrame) -> pd.DataFrame:
    """Key and input_hash of rows."""
    return frame[[*(c for c in frame.columns if c in KEYS), "input_hash"]]
