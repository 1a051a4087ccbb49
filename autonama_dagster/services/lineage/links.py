"""The links of a receipt: each stored row against what its inputs give, and its own result hash."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from autonama_dagster.analytics.candles.hashing import params_hash
from autonama_dagster.analytics.scan.recipe import DayScope, Recipes
from autonama_dagster.schemas.registry import table
from autonama_dagster.services.inputs.parameters import SYSTEMS
from autonama_dagster.services.inputs.readers import MadeReader
from autonama_dagster.services.inputs.results import results_again, row_differences
from autonama_dagster.services.inputs.versions import code_version


@dataclass(frozen=True)
class Cell:
    """A value that is not what the row's inputs give.

    Attributes
    ----------
    column
        Of the table; "row" where they give no row.
    stored, expected
        Both as text.
    is_close
        Whether they are numbers that another processor or library may round so.
    """

    column: str
    stored: str
    expected: str
    is_close: bool


@dataclass(frozen=True)
class Link:
    """One row of the hash chain.

    Attributes
    ----------
    table
        Where the row is.
    stored
        Its `input_hash`.
    recomputed
        What its inputs give now; None: they are not all stored, so it cannot be said. Empty where
        they give no such row any more.
    differences
        Values that are not what its inputs give; None: other code or other settings made it, so it
        cannot be said.
    stored_result
        Its `result_hash`; None: it has none.
    recomputed_result
        That of the row as it is stored; None: of a version that stored none.
    """

    table: str
    stored: str
    recomputed: str | None
    differences: tuple[Cell, ...] | None
    stored_result: str | None
    recomputed_result: str | None

    @property
    def is_input_match(self) -> bool | None:
        """Whether its inputs are those that it was made from; None: it cannot be said."""
        return None if self.recomputed is None else self.stored == self.recomputed

    @property
    def has_given_values(self) -> bool:
        """Whether no value is known to be another than its inputs give."""
        return all(cell.is_close for cell in self.differences or ())

    @property
    def is_result_match(self) -> bool:
        """Whether the row has the result hash that it was stored with, if it had one."""
        return self.stored_result == self.recomputed_result

    @property
    def is_match(self) -> bool | None:
        """Whether nothing differs; None: nothing does, and its inputs cannot be compared."""
        return self.is_input_match if self.has_given_values and self.is_result_match else False


def links_of(
    stored: Mapping[str, pd.DataFrame],
    hashes: Mapping[str, str | None],
    made: Mapping[str, pd.DataFrame],
    recipes: Recipes,
    scope: DayScope,
    names: Sequence[str],
) -> tuple[Link, ...]:
    """The links of one symbol's day.

    Parameters
    ----------
    stored
        Rows of the day by table, all of it that there may be.
    hashes, made
        Input hashes and rows that the inputs give now, by table.
    recipes
        What the rows were made with.
    scope
        The symbol and the day.
    names
        Tables in the order of the links; those without a row have none.
    """
    reader = MadeReader(recipes, {}, rows=stored)
    found = []
    for name in names:
        row = reader.rows(name, scope)
        if row.empty:
            continue
        first = row.iloc[0]
        has_none = pd.isna(first["result_hash"])
        is_present = first["code_version"] == code_version(SYSTEMS[name])
        found.append(
            Link(
                name,
                str(first["input_hash"]),
                hashes[name],
                _cells(name, row, made[name], recipes) if is_present else None,
                None if has_none else str(first["result_hash"]),
                None if has_none and not is_present else _result_again(reader, name, scope),
            )
        )
    return tuple(found)


def _result_again(reader: MadeReader, name: str, scope: DayScope) -> str:
    return str(results_again(reader, name, scope).iloc[0])


def _cells(
    name: str, stored: pd.DataFrame, made: pd.DataFrame, recipes: Recipes
) -> tuple[Cell, ...] | None:
    if stored["params_hash"].iloc[0] != params_hash(recipes[name].parameters):
        return None
    found = row_differences(table(name), stored, made)
    cells = found[["column", "stored", "expected", "is_close"]].itertuples(index=False, name=None)
    return tuple(Cell(*values) for values in cells if values[0] != "input_hash")
