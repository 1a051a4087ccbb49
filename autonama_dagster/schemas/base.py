"""What a table is: a pandera model plus its key, its partitions and its SQL types.

This module holds the vocabulary; the tables themselves are in the modules beside it, in pipeline
order. From one model come the table's DDL, the check before every write, the column descriptions
in the Dagster UI and the data dictionary.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.typing.pandas import Series

from autonama_dagster.analytics.candles.results import Kind

SCHEMA = "trading"

# Column types of frames. Dates are naive UTC midnights; instants are aware UTC timestamps.
Text = Series[str]
Float = Series[float]
Integer = Series[np.int64]
NullableInteger = Series[pd.Int64Dtype]
Flag = Series[bool]
NullableFlag = Series[pd.BooleanDtype]
TextList = Series[object]
Day = Series[pd.Timestamp]
Instant = Series[pd.DatetimeTZDtype]

SqlType = Literal["text[]", "jsonb", "money", "date", "timestamptz", "packed"]
Partitions = Literal["date", "symbol", "date_symbol"]


def column(
    description: str, *, nullable: bool = False, sql: SqlType | None = None, **checks: Any
) -> Any:
    """Declare a column: its description, whether it may be NULL, and its checks.

    `sql` is given where the frame's dtype does not decide the type in Postgres; packed text is of
    numbers, and kept in half a byte for each character. Remaining keywords (`ge`, `le`, `isin`,
    `str_matches`, ...) are pandera's checks.
    """
    return pa.Field(nullable=nullable, description=description, metadata={"sql": sql}, **checks)


def day(description: str, *, nullable: bool = False) -> Any:
    """Declare a column of UTC days."""
    return column(description, nullable=nullable, sql="date")


def instant(description: str) -> Any:
    """Declare a column of UTC timestamps."""
    return column(description, sql="timestamptz", dtype_kwargs={"unit": "us", "tz": "UTC"})


def symbol_column() -> Any:
    """Declare the symbol column every table shares."""
    return column("Trading pair on the exchange, e.g. BTCUSDT.", str_matches=r"^\S{2,32}$")


class TableModel(pa.DataFrameModel):
    """Base of all table models: no column missing, none too many, types exact."""

    class Config:
        """Pandera's options."""

        strict = True


class Provenance(TableModel):
    """Columns that say where a computed row came from."""

    input_hash: Text = column(
        "SHA-256 of everything the row was computed from: the window's candles, with all that is "
        "stored of them, and other inputs.",
        str_matches=r"^[0-9a-f]{64}$",
    )
    params_hash: Text = column(
        "SHA-256 of the parameters the row was computed with.", str_matches=r"^[0-9a-f]{64}$"
    )
    code_version: Text = column("Version of the analytics that computed the row.")
    result_hash: Text = column(
        "SHA-256 of the row's values, its hashes and version, and the result hashes of the rows of "
        "other tables that it was made from. NULL in rows of versions without it.",
        nullable=True,
        str_matches=r"^[0-9a-f]{64}$",
    )
    run_id: Text = column("Dagster run that wrote the row.")
    computed_at: Instant = instant("When the row was computed.")


@dataclass(frozen=True)
class Table:
    """One table of schema `trading`.

    Attributes
    ----------
    name
        Name of the table and of the asset that fills it.
    model
        Pandera model of its rows.
    key
        Primary key.
    partitions
        Which dimensions select a partition's rows; None for the bookkeeping tables.
    keep_absent
        True where a write replaces rows key by key and leaves rows it does not bring (candles: an
        exchange that forgets a candle must not delete ours); False where a write replaces the
        whole partition.
    stamped
        Columns the IO manager fills at the write: run id and times.
    """

    name: str
    model: type[TableModel]
    key: tuple[str, ...]
    partitions: Partitions | None = None
    keep_absent: bool = False
    stamped: tuple[str, ...] = field(default=())

    @cached_property
    def schema(self) -> pa.DataFrameSchema:
        """The model's pandera schema, unique in its key, columns in the model's order."""
        schema = self.model.to_schema()
        schema.name = self.name
        return schema

    @property
    def columns(self) -> tuple[str, ...]:
        """Column names in the order of the DDL: provenance stands last."""
        names = tuple(self.schema.columns)
        last = tuple(Provenance.to_schema().columns) if self.is_analytic else ()
        return tuple(n for n in names if n not in last) + last

    @property
    def is_analytic(self) -> bool:
        """Whether its rows are computed, and say from what."""
        return issubclass(self.model, Provenance)

    @property
    def symbol_columns(self) -> tuple[str, ...]:
        """Columns that name a pair of the exchange; empty: rows are not about pairs."""
        return tuple(n for n in ("symbol", "symbol_a", "symbol_b") if n in self.columns)

    @property
    def description(self) -> str:
        """First paragraph of the model's docstring."""
        return " ".join((self.model.__doc__ or "").split("\n\n")[0].split())

    @property
    def result_kinds(self) -> dict[str, Kind]:
        """Columns that `result_hash` covers, and what they hold: all but what the write stamps."""
        names = (n for n in self.columns if n not in {*self.stamped, "result_hash"})
        return {name: self._kind(name) for name in names}

    def _kind(self, name: str) -> Kind:
        declared = self.sql_type(name)
        if declared is not None and declared != "packed":
            return declared
        dtype = self.schema.columns[name].dtype.type
        if isinstance(dtype, pd.StringDtype):
            return "text"
        if isinstance(dtype, pd.BooleanDtype) or dtype == np.dtype(bool):
            return "bool"
        return "int" if isinstance(dtype, pd.Int64Dtype) or dtype == np.dtype(np.int64) else "float"

    def sql_type(self, name: str) -> SqlType | None:
        """The SQL type declared for a column, or None where the dtype decides."""
        declared: SqlType | None = (self.schema.columns[name].metadata or {}).get("sql")
        return declared
