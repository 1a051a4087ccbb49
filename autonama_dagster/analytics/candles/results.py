"""Result hashes: what a stored row says, what made it, and the rows that it follows from, in one.

An input hash says what a row was made from; a result hash says that the row is still the one that
was made. It holds the result hashes of the rows of other tables that it was made from, and so on
down to tables that are made from candles alone. `schemas.result_sql` computes the same in SQL.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autonama_dagster.text.escaping import storable, stored_bytes

Kind = Literal["float", "money", "int", "bool", "date", "timestamptz", "text", "text[]", "jsonb"]
FIXED: Final = ("float", "money", "int", "bool", "date", "timestamptz")
"""Kinds whose values take the same number of bytes each; they stand before the others."""

_MONEY_STEP: Final = Decimal("1e-18")
_EXACT_MONEY: Final = 0.1  # from here on no float64 has more than 18 decimals in its shortest form
_NOT_THERE: Final = (-1).to_bytes(4, "big", signed=True)


def result_hashes(
    table: str, frame: pd.DataFrame, kinds: Mapping[str, Kind], chain: Sequence[pd.DataFrame] = ()
) -> list[str]:
    """SHA-256 (hex) of each row: its values, and the result hashes of what it was made from.

    Over the table's name with a line feed behind it, the values of the kinds in `FIXED`, those of
    the others, both in the order of `kinds`, and the chain as a text. Numbers are big-endian.

    ===========  ==========================================================================
    float        8 bytes of IEEE 754; NULL is NaN, and all NaNs are one value
    money        the same, of the nearest float64 to the value with 18 decimals
    int          1 and 8 bytes; NULL is 9 zeros
    bool         1 byte: 0, 1, or 2 for NULL
    date         as int, days since 1970-01-01
    timestamptz  as int, microseconds since 1970
    text         its length in UTF-8 in 4 bytes, and its bytes; NULL has the length -1
    text[]       the number of items in 4 bytes, and each as a text; NULL has none
    jsonb        as a text, the way Postgres prints it
    ===========  ==========================================================================

    Parameters
    ----------
    table
        Its name.
    frame
        n rows, in the types of the table's model: made, or read from the table.
    kinds
        Columns that are covered, in the order of the table.
    chain
        Rows that these were made from: a frame for each table, with result_hash and the columns
        that they have in common with `frame` (date, or symbol and date). All that match a row count
        for it, in their order; one without a result hash counts as an empty text.

    Returns
    -------
    list of str
        Length n.
    """
    n = len(frame)
    head = f"{table}\n".encode()
    fixed = [_packed(frame[name], kind) for name, kind in kinds.items() if kind in FIXED]
    data = np.concatenate([np.empty((n, 0), np.uint8), *fixed], axis=1)
    texts = [_texts(frame[name], kind) for name, kind in kinds.items() if kind not in FIXED]
    texts.append(_chained(frame, chain))
    packed, width = data.tobytes(), data.shape[1]
    return [
        hashlib.sha256(b"".join((head, packed[at * width : (at + 1) * width], *rest))).hexdigest()
        for at, rest in enumerate(zip(*texts, strict=True))
    ]


def _packed(column: pd.Series, kind: Kind) -> NDArray[np.uint8]:
    """Values of a kind in `FIXED`, shape (n, bytes of a value)."""
    if kind in {"float", "money"}:
        numbers = column.to_numpy(np.float64, na_value=np.nan)
        numbers = np.where(np.isnan(numbers), np.nan, numbers)
        return _bytes(_as_stored(numbers) if kind == "money" else numbers, ">f8")
    is_null = column.isna().to_numpy()
    if kind == "bool":
        return _bytes(np.where(is_null, 2, column.to_numpy(object)).astype(np.uint8), "u1")
    if kind == "int":
        integers = column.to_numpy(np.int64, na_value=0)
    else:
        unit = "datetime64[D]" if kind == "date" else "datetime64[us]"
        naive = column if kind == "date" else column.dt.tz_localize(None)
        integers = np.where(is_null, 0, naive.to_numpy().astype(unit).astype(np.int64))
    return np.concatenate([_bytes((~is_null).astype(np.uint8), "u1"), _bytes(integers, ">i8")], 1)


def _bytes(values: NDArray[Any], dtype: str) -> NDArray[np.uint8]:
    packed = np.ascontiguousarray(values, dtype=dtype)
    return packed.view(np.uint8).reshape(len(packed), packed.itemsize)


def _as_stored(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numbers as NUMERIC(38, 18) gives them back: rounded to 18 decimals of their shortest form."""
    found = numbers.copy()
    for at in np.flatnonzero(np.abs(numbers) < _EXACT_MONEY).tolist():
        found[at] = float(Decimal(repr(float(numbers[at]))).quantize(_MONEY_STEP)) + 0.0
    return found


def _texts(column: pd.Series, kind: Kind) -> list[bytes]:
    """Values of the other kinds, each with its length."""
    if kind == "text[]":
        return [_listed(items) for items in column.tolist()]
    # Many rows share a text: the parameters' hash, a symbol.
    codes, texts = pd.factorize(column)
    shown = json_text if kind == "jsonb" else str
    packed = [*(_sized(stored_bytes(shown(text))) for text in texts.tolist()), _NOT_THERE]
    return [packed[code] for code in codes.tolist()]


def _sized(text: bytes) -> bytes:
    return len(text).to_bytes(4, "big") + text


def _listed(items: Any) -> bytes:
    texts = [] if items is None or isinstance(items, float) else [*items]
    return len(texts).to_bytes(4, "big") + b"".join(_sized(stored_bytes(t)) for t in texts)


def json_text(text: str) -> str:
    """JSON as Postgres prints `jsonb`: keys by length, numbers as decimals, no idle spaces."""
    return _printed(json.loads(text, parse_float=Decimal, parse_int=Decimal))


def _printed(value: Any) -> str:
    if isinstance(value, dict):
        by_key = {stored_bytes(key): item for key, item in value.items()}
        keys = sorted(by_key, key=lambda key: (len(key), key))
        return "{" + ", ".join(f"{_quoted(k.decode())}: {_printed(by_key[k])}" for k in keys) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_printed, value)) + "]"
    if isinstance(value, str):
        return _quoted(storable(value))
    if isinstance(value, Decimal):
        return format(value or abs(value), "f")
    return {None: "null", True: "true", False: "false"}[value]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _chained(frame: pd.DataFrame, chain: Sequence[pd.DataFrame]) -> list[bytes]:
    """Result hashes of what each row was made from, in lines, as a text with its length."""
    if not chain:
        return [_sized(b"")] * len(frame)
    columns = [_of_rows(frame, rows) for rows in chain]
    return [_sized("\n".join(lines).encode()) for lines in zip(*columns, strict=True)]


def _of_rows(frame: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    key = [name for name in ("symbol", "date") if name in frame and name in rows]
    lines = rows[key].assign(line=rows["result_hash"].fillna(""))
    if lines.duplicated(key).any():
        lines = lines.groupby(key, sort=False)["line"].agg("\n".join).reset_index()
    return frame[key].merge(lines, on=key, how="left")["line"].fillna("").tolist()
