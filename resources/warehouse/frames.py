"""Frames on their way to and from Postgres: the check before a write, and Arrow conversion."""

import json
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa_schema
import pyarrow as pa
import pyarrow.compute as pc

from autonama_dagster.errors import SchemaError
from autonama_dagster.schemas.base import Table
from autonama_dagster.text.escaping import storable

# Also what is a backslash and letters in truth: then the JSON is merely printed anew.
_ODD_IN_JSON = r"\\u(?:0000|[dD][89a-fA-F])"

# A text of numbers cannot end with a comma: one that does is filled up to a whole byte.
_PACKED = str.maketrans(".,-+eE", "abcdef")
_FILLER = "b"
UNPACKED = "rtrim(translate(encode({}, 'hex'), 'abcdef', '.,-+eE'), ',')"


def split(table: Table, frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Validate a frame against its table's model.

    Returns
    -------
    good, rejected
        The rows that pass, in the table's column order, and for the others symbol, date, reason
        and the row as JSON.

    Raises
    ------
    SchemaError
        A column is missing, unknown or of a wrong type, or a key occurs twice: not the fault of
        single rows.
    """
    _check_columns(table, frame)
    frame = frame.loc[:, list(table.columns)].reset_index(drop=True)
    reasons = _row_faults(table, frame)
    bad = sorted(reasons)
    good = frame.drop(index=bad) if bad else frame
    if table.key and good.duplicated(list(table.key)).any():
        first = good.loc[good.duplicated(list(table.key)), list(table.key)].iloc[0]
        named = ", ".join(f"{k}={_plain(v)}" for k, v in first.items())
        raise SchemaError(f"table {table.name}: {named} occurs twice, but keys must be unique")
    return good, _rejected(frame.loc[bad], [reasons[i] for i in bad])


def pack(text: str) -> bytes:
    """Half a byte for each character of numbers that are joined by commas; see `UNPACKED`.

    Raises
    ------
    ValueError
        It has other characters.
    """
    digits = text.translate(_PACKED)
    return bytes.fromhex(digits + _FILLER * (len(digits) % 2))


def of_symbols(table: Table, frame: pd.DataFrame, symbols: Collection[str]) -> pd.DataFrame:
    """The rows that name one of the symbols; of pairs of symbols those with either."""
    named = frame[list(table.symbol_columns)].isin(symbols).any(axis=1)
    return frame[named].reset_index(drop=True)


def to_arrow(table: Table, frame: pd.DataFrame) -> pa.Table:
    """Arrow table of validated rows; NaN and missing values become NULL."""
    arrays = {
        name: _to_array(frame[name], table.sql_type(name), table.schema.columns[name].dtype.type)
        for name in table.columns
    }
    return pa.table(arrays)


def to_frame(table: Table, arrow: pa.Table) -> pd.DataFrame:
    """Frame of rows read from Postgres, in the dtypes of the table's model."""
    series = {name: _to_series(table, name, arrow.column(name)) for name in arrow.column_names}
    return pd.DataFrame(series)


def _check_columns(table: Table, frame: pd.DataFrame) -> None:
    missing = [c for c in table.columns if c not in frame.columns]
    unknown = [str(c) for c in frame.columns if c not in table.columns]
    if missing:
        raise SchemaError(f"table {table.name}: missing column {', '.join(missing)}")
    if unknown:
        raise SchemaError(
            f"table {table.name}: unknown column {', '.join(unknown)}; "
            f"its columns are {', '.join(table.columns)}"
        )


def _row_faults(table: Table, frame: pd.DataFrame) -> dict[int, str]:
    """Reasons by row position; a fault that is no single row's raises."""
    reasons: dict[int, str] = {}
    try:
        table.schema.validate(frame, lazy=True)
    except pa_schema.errors.SchemaErrors as errors:
        for case in errors.failure_cases.itertuples():
            if pd.isna(case.index):
                raise SchemaError(
                    f"table {table.name}, column {case.column}: {case.check} failed "
                    f"(got {case.failure_case})"
                ) from None
            text = f"{case.column}: {_plain(case.failure_case)} violates {case.check}"
            position = int(case.index)
            reasons[position] = "; ".join(filter(None, (reasons.get(position), text)))
    floats = frame.select_dtypes("float64")
    for row in np.flatnonzero(np.isinf(floats.to_numpy()).any(axis=1)).tolist():
        column = floats.columns[np.isinf(floats.iloc[row].to_numpy())][0]
        reasons.setdefault(row, f"{column}: infinite")
    return reasons


def _rejected(rows: pd.DataFrame, reasons: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "symbol": pd.Series(
                [r.get("symbol", r.get("symbol_a")) for r in rows.to_dict("records")], dtype="str"
            ),
            "date": pd.Series([r.get("date") for r in rows.to_dict("records")], dtype="M8[s]"),
            "reason": pd.Series(reasons, dtype="str"),
            "raw": pd.Series(
                [json.dumps(r, default=_plain, sort_keys=True) for r in _records(rows)], dtype="str"
            ),
        }
    )


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON can hold them: no NaN, no infinity."""
    clean = rows.astype(object).where(rows.notna(), None) if len(rows) else rows
    return [
        {str(k): str(v) if isinstance(v, float) and np.isinf(v) else v for k, v in record.items()}
        for record in clean.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.date().isoformat() if value.tz is None else value.isoformat()
    return value.item() if isinstance(value, np.generic) else str(value)


def _to_array(series: pd.Series, declared: str | None, dtype: Any) -> pa.Array:
    if declared == "text[]":
        return pa.array([[*map(storable, v)] for v in series], pa.list_(pa.string()))
    if declared == "date":
        return pa.array(series.to_numpy("datetime64[D]"))
    if declared == "timestamptz":
        return pa.array(series, pa.timestamp("us", tz="UTC"))
    if declared == "money":  # through the shortest decimal that names the float, as it was printed
        text = pc.cast(pa.array(series, pa.float64(), from_pandas=True), pa.string())
        wide = pc.round(pc.cast(text, pa.decimal256(76, 38)), 18)
        return pc.cast(wide, pa.decimal128(38, 18))
    if declared == "packed":
        return pa.array([None if pd.isna(text) else pack(text) for text in series], pa.binary())
    if declared == "jsonb" or isinstance(dtype, pd.StringDtype):
        return _storable(pa.array(series, pa.string(), from_pandas=True), declared)
    if isinstance(dtype, pd.BooleanDtype) or dtype == np.dtype(bool):
        return pa.array(series, pa.bool_(), from_pandas=True)
    if isinstance(dtype, pd.Int64Dtype) or dtype == np.dtype(np.int64):
        return pa.array(series, pa.int64(), from_pandas=True)
    return pa.array(series, pa.float64(), from_pandas=True)


def _storable(texts: pa.Array, declared: str | None) -> pa.Array:
    r"""Text that Postgres can hold: NUL, and in JSON half a surrogate pair too, as `\\u0000`.

    A frame's text column holds no surrogates, a list may: see `storable`.
    """
    if declared == "jsonb":
        is_odd = pc.match_substring_regex(texts, _ODD_IN_JSON)
        escape = _escaped_json
    else:
        is_odd = pc.match_substring(texts, "\0")
        escape = storable
    if not pc.any(is_odd).as_py():
        return texts
    found = [v if v is None else escape(v) for v in texts.to_pylist()]
    return pa.array(found, pa.string())


def _escaped_json(text: str) -> str:
    """JSON whose strings Postgres takes: it refuses what cannot be text, escaped or not."""

    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return storable(value)
        if isinstance(value, list):
            return [walk(item) for item in value]
        if isinstance(value, dict):
            return {storable(key): walk(item) for key, item in value.items()}
        return value

    return json.dumps(walk(json.loads(text)))


def _to_series(table: Table, name: str, column: pa.ChunkedArray) -> pd.Series:
    declared = table.sql_type(name)
    if declared == "date":
        column = column.cast(pa.timestamp("s"))
    if declared == "timestamptz":
        column = column.cast(pa.timestamp("us", tz="UTC"))
    if declared in {"date", "timestamptz"}:
        return pd.Series(column.to_pandas())
    if declared == "text[]":
        return pd.Series([[] if v is None else v for v in column.to_pylist()], dtype=object)
    dtype = table.schema.columns[name].dtype.type
    if isinstance(dtype, pd.BooleanDtype | pd.Int64Dtype):
        return pd.Series(column.to_pylist(), dtype=dtype)
    wanted = "str" if isinstance(dtype, pd.StringDtype) else dtype
    found: pd.Series = pd.Series(column.to_pandas(), dtype=wanted)
    return found
