"""Stored rows against rows computed again: which columns differ, and by how much.

On one platform everything is reproduced bit for bit, alone or in a range. Another processor or
mathematical library may round exp, log and what follows from them otherwise: `CLOSE` says how far
that may go. What is stored as NUMERIC(38,18) is rounded to 18 decimals by the table.
"""

import json
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

CLOSE: Final = 1e-9
"""Relative difference up to which numbers may be another platform's."""
LEAST: Final = 1e-5
"""Size that a smaller number counts as: what is near zero is a difference of larger numbers."""
MONEY_STEP: Final = 1e-18
"""Resolution of NUMERIC(38,18) in USDT."""

COLUMNS: Final = ["column", "stored", "expected", "is_close"]


def differences(
    stored: pd.DataFrame,
    expected: pd.DataFrame,
    key: Sequence[str],
    *,
    money: Sequence[str] = (),
    json_columns: Sequence[str] = (),
) -> pd.DataFrame:
    """Cells in which two frames differ.

    Parameters
    ----------
    stored, expected
        Rows with the columns of `key`, unique in both. Compared are the columns of `expected`.
    key
        Columns that tell rows apart.
    money
        Columns that are rounded to `MONEY_STEP`.
    json_columns
        Columns of JSON text: compared by what they say, not by how they are written.

    Returns
    -------
    pandas.DataFrame
        One row per cell: the key, column, stored, expected (as text) and is_close: whether both are
        numbers that differ by `CLOSE` of the larger at most. A row that only one frame has stands
        once, with the column "row".
    """
    names = [c for c in expected.columns if c not in key]
    joined = stored[[*key, *names]].merge(
        expected, on=[*key], how="outer", suffixes=("_stored", "_now"), indicator="side"
    )
    parts = []
    for side, text in (("left_only", ("there", "absent")), ("right_only", ("absent", "there"))):
        alone = joined.loc[joined["side"] == side, [*key]]
        parts.append(alone.assign(column="row", stored=text[0], expected=text[1], is_close=False))
    both = joined[joined["side"] == "both"]
    for name in names:
        a, b = both[f"{name}_stored"], both[f"{name}_now"]
        if name in json_columns:
            other = _unlike(a, b)
            a, b = _parsed(a[other]), _parsed(b[other])
        differs, is_close = _compared(a, b, MONEY_STEP if name in money else 0.0)
        if not differs.any():
            continue
        found = joined.loc[a.index[differs], [*key]]
        parts.append(
            found.assign(
                column=name,
                stored=a[differs].map(str),
                expected=b[differs].map(str),
                is_close=is_close[differs],
            )
        )
    return pd.concat(parts, ignore_index=True)[[*key, *COLUMNS]]


def _unlike(a: pd.Series, b: pd.Series) -> NDArray[np.bool_]:
    """Where two texts are not the same, letter by letter."""
    return ~((a == b) | (a.isna() & b.isna())).fillna(value=False).to_numpy(dtype=bool)


def _compared(a: pd.Series, b: pd.Series, step: float) -> tuple[NDArray[np.bool_], Any]:
    """Which cells differ, and which of them are numbers close to each other."""
    if pd.api.types.is_float_dtype(a.dtype) and pd.api.types.is_float_dtype(b.dtype):
        x, y = a.to_numpy(np.float64, na_value=np.nan), b.to_numpy(np.float64, na_value=np.nan)
        gap = np.abs(x - y)
        differs = ~((x == y) | (np.isnan(x) & np.isnan(y)) | (gap <= step))
        return differs, gap <= CLOSE * np.maximum(np.maximum(np.abs(x), np.abs(y)), LEAST)
    if object not in (a.dtype, b.dtype):
        return _unlike(a, b), np.zeros(len(a), dtype=bool)
    pairs = [_same(x, y) for x, y in zip(a, b, strict=True)]
    differs = np.array([not same for same, _ in pairs], dtype=bool)
    return differs, np.array([near for _, near in pairs], dtype=bool)


def _same(x: Any, y: Any) -> tuple[bool, bool]:
    """Whether two values are the same, and whether they are but for close numbers."""
    if type(x) is type(y) and isinstance(x, dict | list) and x == y:
        return True, True
    if isinstance(x, dict) and isinstance(y, dict):
        found = [_same(x.get(k), y.get(k)) for k in {*x, *y}]
        has_same = x.keys() == y.keys()
        return has_same and all(s for s, _ in found), has_same and all(n for _, n in found)
    if isinstance(x, list | tuple | np.ndarray) and isinstance(y, list | tuple | np.ndarray):
        found = [_same(i, j) for i, j in zip(x, y, strict=False)]
        is_long = len(x) == len(y)
        return is_long and all(s for s, _ in found), is_long and all(n for _, n in found)
    if isinstance(x, float | int) and isinstance(y, float | int):
        same = x == y or (math.isnan(x) and math.isnan(y))
        return same, same or abs(x - y) <= CLOSE * max(abs(x), abs(y), LEAST)
    same = bool((pd.isna(x) and pd.isna(y)) or x == y)
    return same, same


def _parsed(texts: pd.Series) -> pd.Series:
    values = [json.loads(text) if isinstance(text, str) else None for text in texts.tolist()]
    return pd.Series(values, index=texts.index, dtype=object)
