"""What kind of difference a row has: keys looked up among others, and the first that applies."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd


def among(rows: pd.DataFrame, others: pd.DataFrame, key: Sequence[str]) -> pd.Series:
    """Which rows have a key that others have too; aligned with `rows`."""
    keys = others[[*key]].drop_duplicates()
    side = rows[[*key]].merge(keys, how="left", on=[*key], indicator="side")["side"]
    return pd.Series((side == "both").to_numpy(), index=rows.index)


def first_of(conditions: Mapping[str, pd.Series]) -> pd.Series:
    """The kind of each row: the first whose condition holds, or "row".

    The conditions are aligned by place; one that is NULL holds.
    """
    masks = [mask.fillna(value=True).to_numpy(dtype=bool) for mask in conditions.values()]
    return pd.Series(np.select(masks, [*conditions], default="row"), dtype="str")
