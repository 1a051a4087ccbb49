"""What stored result hashes say of the rows that carry them, beside what recomputing them said."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from autonama_dagster.analytics.candles.hashing import Versions
from autonama_dagster.schemas.registry import table

_WHOLE = ("missing", "extra")


def with_other_results(
    name: str,
    found: pd.DataFrame,
    stored: pd.DataFrame,
    others: pd.DataFrame,
    earlier: Sequence[pd.DataFrame],
    made: Versions,
) -> pd.DataFrame:
    """What was found in a table, and its rows whose result hash is not that of what is stored.

    Such a row was changed after it was made, and no rounding of another platform: its kind is
    "row". If other code or other parameters made it, its kind is that; if it follows from rows that
    are missing or extra in an earlier table, it is "data", because the hash holds theirs. Rows that
    are told of already keep the other kinds.

    Parameters
    ----------
    name
        The table.
    found
        The cells that differ from the rows that were made again, see `verify.Verified.mismatches`.
    stored
        The stored rows.
    others
        The table's key, stored and expected result hash, see `inputs.results.other_results`.
    earlier
        The same as `found` of the tables before it.
    made
        The present versions.
    """
    if others.empty:
        return found
    key = [*table(name).key]
    is_other = _among(found, others, key)
    kinds = found["kind"].mask(is_other & (found["kind"] == "platform"), "row")
    new = others[~_among(others, found, key)]
    uprooted = pd.Series(data=False, index=new.index)
    for of in earlier:
        gone = of[of["kind"].isin(_WHOLE)]
        uprooted |= _among(new, gone, [c for c in ("symbol", "date") if c in gone and c in key])
    by = new[key].merge(stored[[*key, "code_version", "params_hash"]], on=key, how="left")
    conditions = [
        by["code_version"].ne(made.code_version),
        by["params_hash"].ne(made.params_hash),
        uprooted,
    ]
    masks = [mask.to_numpy(dtype=bool) for mask in conditions]
    kind = np.select(masks, ["code", "parameters", "data"], default="row")
    told = new.assign(column="result_hash", kind=pd.Series(kind, index=new.index, dtype="str"))
    told = told.astype({"stored": "str", "expected": "str"})
    frames = [of for of in (found.assign(kind=kinds), told) if len(of)]
    return pd.concat(frames, ignore_index=True)[[*found.columns]]


def _among(rows: pd.DataFrame, others: pd.DataFrame, key: list[str]) -> pd.Series:
    """Which rows have a key that is among those of others."""
    keys = others[key].drop_duplicates()
    side = rows[key].merge(keys, how="left", on=key, indicator="side")["side"]
    return pd.Series((side == "both").to_numpy(), index=rows.index)
