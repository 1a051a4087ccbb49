"""All tables in pipeline order, and what is made from them: DDL, views, the data dictionary."""

from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from autonama_dagster.errors import SchemaError
from autonama_dagster.schemas.analysis import (
    CORRELATION_MATRIX,
    DATA_QUALITY,
    INDICATORS_TABLE,
    REGRESSION_BANDS,
)
from autonama_dagster.schemas.base import SCHEMA, Table
from autonama_dagster.schemas.decision import ALERTS, ASSET_ANALYTICS, SIGNALS_TABLE
from autonama_dagster.schemas.intraday import INTRADAY
from autonama_dagster.schemas.lineage import SIGNAL_LINEAGE
from autonama_dagster.schemas.market import FETCH_LOG, OHLCV_1D, QUARANTINE, UNIVERSE
from autonama_dagster.schemas.revisions import REVISIONS
from autonama_dagster.schemas.summary import ANALYSIS_SUMMARY, SIGNAL_CHANCE
from autonama_dagster.schemas.verification import VERIFICATIONS

TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        UNIVERSE,
        OHLCV_1D,
        *INTRADAY,
        DATA_QUALITY,
        *REVISIONS.values(),
        INDICATORS_TABLE,
        REGRESSION_BANDS,
        SIGNALS_TABLE,
        CORRELATION_MATRIX,
        ASSET_ANALYTICS,
        ALERTS,
        ANALYSIS_SUMMARY,
        SIGNAL_CHANCE,
        VERIFICATIONS,
        FETCH_LOG,
        QUARANTINE,
    )
}

# Secondary indexes: columns that are searched without the primary key's first column.
INDEXES: dict[str, tuple[tuple[str, ...], ...]] = {
    "ohlcv_1d": (("date",),),
    **{t.name: (("date",),) for t in INTRADAY},
    "data_quality": (("date",),),
    **{t.name: (("valid_to",),) for t in REVISIONS.values()},
    "indicators": (("date",),),
    "regression_bands": (("date",),),
    "signals": (("date",),),
    "asset_analytics": (("date",),),
    "alerts": (("date",),),
    "quarantine": (("table_name", "symbol", "date"),),
}

VIEWS: dict[str, tuple[str, str]] = {
    "signal_lineage": (
        (
            "Each signal with its window, sources and runs, and its hashes computed anew from the "
            "stored candles; ask for a few rows, because each reads its whole window."
        ),
        SIGNAL_LINEAGE,
    ),
    "ohlc_data": (
        "Candles under the column names of the scripts this project replaces.",
        """
SELECT symbol,
       '1d'::text AS "interval",
       date::timestamp AT TIME ZONE 'UTC' AS "timestamp",
       open, high, low, close, volume
FROM trading.ohlcv_1d
"""
        + "".join(
            f"""UNION ALL
SELECT symbol, '{t.name.removeprefix("ohlcv_")}', open_time, open, high, low, close, volume
FROM trading.{t.name}
"""  # noqa: S608
            for t in INTRADAY
        ),
    ),
    "asset_metadata": (
        "One row per symbol with candles: its span, and its latest day in the universe.",
        """
SELECT c.symbol,
       u.base_asset,
       'USDT'::text AS quote_asset,
       c.first_candle,
       c.last_candle,
       c.candles,
       u.date AS universe_date,
       u.rank AS universe_rank,
       coalesce(u.is_member, false) AS is_member
FROM (
    SELECT symbol, min(date) AS first_candle, max(date) AS last_candle, count(*) AS candles
    FROM trading.ohlcv_1d
    GROUP BY symbol
) AS c
LEFT JOIN LATERAL (
    SELECT base_asset, date, rank, is_member
    FROM trading.universe AS d
    WHERE d.symbol = c.symbol
    ORDER BY d.date DESC
    LIMIT 1
) AS u ON true
""",
    ),
}

_DECLARED: dict[str, sa.types.TypeEngine[Any]] = {
    "text[]": postgresql.ARRAY(sa.Text()),
    "jsonb": postgresql.JSONB(),
    "money": sa.Numeric(38, 18),
    "date": sa.Date(),
    "timestamptz": sa.DateTime(timezone=True),
}


def table(name: str) -> Table:
    """Look up a table.

    Raises
    ------
    SchemaError
        The name is not in the registry; the message lists the names that are.
    """
    try:
        return TABLES[name]
    except KeyError:
        known = ", ".join(TABLES)
        raise SchemaError(f"table {name!r} is unknown; known tables: {known}") from None


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
