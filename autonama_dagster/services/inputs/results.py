"""Result hashes of the analytic tables: made with their rows, and made again of stored ones."""

from collections.abc import Sequence

import pandas as pd

from autonama_dagster.analytics.candles.comparison import differences
from autonama_dagster.analytics.candles.results import result_hashes
from autonama_dagster.analytics.scan.recipe import DayScope, Reader
from autonama_dagster.analytics.scan.tables import RECIPES
from autonama_dagster.schemas.base import Table
from autonama_dagster.schemas.registry import table
from autonama_dagster.services.inputs.parameters import SYSTEMS
from autonama_dagster.services.inputs.versions import code_version

_RECIPES = {recipe.table: recipe for recipe in RECIPES}


def with_results(
    frame: pd.DataFrame, name: str, chain: Sequence[pd.DataFrame] = ()
) -> pd.DataFrame:
    """Rows of an analytic table, their provenance among them, with result_hash.

    `chain` are the rows that they were made from, see `results.result_hashes`.
    """
    found = result_hashes(name, frame, table(name).result_kinds, chain)
    return frame.assign(result_hash=pd.Series(found, dtype="str", index=frame.index))


def chain_of(reader: Reader, name: str, scope: DayScope) -> Sequence[pd.DataFrame]:
    """The stored rows that rows of an analytic table were made from."""
    return _RECIPES[name].chained(reader, scope)


def results_again(reader: Reader, name: str, scope: DayScope) -> pd.Series:
    """Result hashes of a scope's stored rows, of their values and chain as they are stored."""
    stored = reader.rows(name, scope)
    return with_results(stored, name, chain_of(reader, name, scope))["result_hash"]


def row_differences(of: Table, stored: pd.DataFrame, expected: pd.DataFrame) -> pd.DataFrame:
    """Cells in which rows of a table differ, see `comparison.differences`.

    Compared are the columns of `expected` that the write does not stamp.
    """
    compared = [c for c in of.columns if c in expected.columns and c not in of.stamped]
    return differences(
        stored,
        expected[compared],
        of.key,
        money=[c for c in compared if of.sql_type(c) == "money"],
        json_columns=[c for c in compared if of.sql_type(c) == "jsonb"],
    )


def other_results(reader: Reader, name: str, scope: DayScope) -> pd.DataFrame:
    """Stored rows of an analytic table that are not the ones that were made.

    Their values, their provenance or the rows that they were made from are not what their result
    hash was made of; or they have none, which the present version gives to every row. Rows of
    versions that gave none are left out: it cannot be said.

    Parameters
    ----------
    reader
        Of stored rows.
    name
        The table.
    scope
        Whose rows; of a table by date without symbols.

    Returns
    -------
    pandas.DataFrame
        The table's key, stored (NaN where there is none) and expected (str), in the key's order.
    """
    stored = reader.rows(name, scope)
    again = results_again(reader, name, scope)
    is_said = stored["result_hash"].notna() | stored["code_version"].eq(code_version(SYSTEMS[name]))
    found = stored[[*table(name).key]].assign(stored=stored["result_hash"], expected=again)
    differs = is_said & stored["result_hash"].ne(again)
    return found[differs].reset_index(drop=True)
