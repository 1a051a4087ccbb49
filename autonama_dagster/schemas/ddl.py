"""What is made from the registry: SQL types, DDL, comments, the data dictionary.

Apart from it because of SQLAlchemy, whose import takes a quarter of a second that readers of the
tables do not need.
"""

from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from autonama_dagster.schemas.base import SCHEMA, Table
from autonama_dagster.schemas.registry import INDEXES, TABLES, VIEWS

_DECLARED: dict[str, sa.types.TypeEngine[Any]] = {
    "text[]": postgresql.ARRAY(sa.Text()),
    "jsonb": postgresql.JSONB(),
    "money": sa.Numeric(38, 18),
    "date": sa.Date(),
    "timestamptz": sa.DateTime(timezone=True),
}


def sql_type(of: Table, name: str) -> sa.types.TypeEngine[Any]:
    """SQLAlchemy type of a column: the declared one, else by the frame's dtype."""
    if declared := of.sql_type(name):
        return _DECLARED[declared]
    dtype = of.schema.columns[name].dtype.type
    if isinstance(dtype, pd.StringDtype):
        return sa.Text()
    if isinstance(dtype, pd.BooleanDtype) or dtype == np.dtype(bool):
        return sa.Boolean()
    if isinstance(dtype, pd.Int64Dtype) or dtype == np.dtype(np.int64):
        return sa.BigInteger()
    return sa.Double()


def metadata() -> sa.MetaData:
    """SQLAlchemy metadata of all tables; Alembic compares migrations with it."""
    meta = sa.MetaData(schema=SCHEMA)
    for t in TABLES.values():
        columns = [
            sa.Column(
                name,
                sql_type(t, name),
                primary_key=name in t.key,
                nullable=bool(t.schema.columns[name].nullable),
            )
            for name in t.columns
        ]
        built = sa.Table(t.name, meta, *columns)
        for names in INDEXES.get(t.name, ()):
            sa.Index(f"ix_{t.name}_{'_'.join(names)}", *(built.c[n] for n in names))
    return meta


def comments() -> list[str]:
    """COMMENT statements for every table, column and view."""
    found: list[tuple[str, str]] = []
    for t in TABLES.values():
        found.append((f"TABLE {SCHEMA}.{t.name}", t.description))
        found += [
            (f'COLUMN {SCHEMA}.{t.name}."{name}"', str(t.schema.columns[name].description))
            for name in t.columns
        ]
    found += [(f"VIEW {SCHEMA}.{name}", text) for name, (text, _) in VIEWS.items()]
    quoted = [(what, text.replace("'", "''")) for what, text in found]
    return [f"COMMENT ON {what} IS '{text}'" for what, text in quoted]


def data_dictionary() -> str:
    """Markdown of `docs/data-dictionary.md`: every table and view, every column."""
    lines = [
        "# Data dictionary",
        "",
        f"Tables and views of schema `{SCHEMA}`, generated from the pandera models by `make docs`.",
    ]
    for t in TABLES.values():
        key = f"Key: {', '.join(f'`{k}`' for k in t.key)}." if t.key else "No key."
        by = {"date_symbol": "date x symbol", None: "none"}.get(t.partitions, t.partitions)
        lines += ["", f"## `{t.name}`", "", f"{t.description} {key} Partitions: {by}.", ""]
        lines += ["| column | type | NULL | meaning |", "|---|---|---|---|"]
        for name in t.columns:
            col = t.schema.columns[name]
            kind = sql_type(t, name).compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
            null = "yes" if col.nullable else "no"
            text = str(col.description).replace("|", "\\|")
            lines.append(f"| `{name}` | {kind.lower()} | {null} | {text} |")
    for name, (text, _) in VIEWS.items():
        lines += ["", f"## `{name}` (view)", "", text]
    return "\n".join(lines) + "\n"
