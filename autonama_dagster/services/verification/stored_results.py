"""What stored result hashes say of the rows that carry them, beside what recomputing them said."""

from collections.abc import Sequence

import pandas as pd

from autonama_dagster.analytics.candles.hashing import Versions
from autonama_dagster.schemas.registry import table
from autonama_dagster.services.verification.kinds import among, first_of

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
    is_other = among(found, others, key)
    kinds = found["kind"].mask(is_other & (found["kind"] == "platform"), "row")
    new = others[~among(others, found, key)]
    uprooted = pd.Series(data=False, index=new.index)
    for of in earlier:
        gone = of[of["kind"].isin(_WHOLE)]
        uprooted |= among(new, gone, [c for c in ("symbol", "date") if c in gone and c in key])
    by = new[key].merge(stored[[*key, "code_version", "params_hash"]], on=key, how="left")
    kind = first_of({
        "code": by["code_version"].ne(made.code_version),
        "parameters": by["params_hash"].ne(made.params_hash),
        "data": uprooted,
    })  # fmt: skip
    told = new.assign(column="result_hash", kind=kind.set_axis(new.index))
    told = told.astype({"stored": "str", "expected": "str"})
    frames = [of for of in (found.assign(kind=kinds), told) if len(of)]
    return pd.concat(frames, ignore_index=True)[[*found.columns]]
