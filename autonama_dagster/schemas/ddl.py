"""What is made from the registry: SQL types, DDL, comments.

Apart from it because of SQLAlchemy, whose import takes a quarter of a second that readers of the
tables do not need.
"""

from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from autonama_dagster.schemas.base import SCHEMA, Table
from autonama_dagster.schemas.registry import INDEXES, TABLES, VIEWS, index_name

_DECLARED: dict[str, sa.types.TypeEngine[Any]] = {
    "text[]": postgresql.ARRAY(sa.Text()),
    "jsonb": postgresql.JSONB(),
    "money": sa.Numeric(38, 18),
    "date": sa.Date(),
    "timestamptz": sa.DateTime(timezone=True),
    "packed": sa.LargeBinary(),
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
            sa.Index(index_name(t.name, names), *(built.c[n] for n in names))
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
