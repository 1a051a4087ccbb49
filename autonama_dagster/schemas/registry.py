"""All tables in pipeline order, their indexes, and the views of them."""

from autonama_dagster.errors import SchemaError
from autonama_dagster.schemas.base import Table
from autonama_dagster.schemas.tables.analysis import (
    CORRELATION_MATRIX,
    DATA_QUALITY,
    INDICATORS_TABLE,
    REGRESSION_BANDS,
)
from autonama_dagster.schemas.tables.candle_checks import CANDLE_CHECKS
from autonama_dagster.schemas.tables.decision import ALERTS, ASSET_ANALYTICS, SIGNALS_TABLE
from autonama_dagster.schemas.tables.intraday import INTRADAY
from autonama_dagster.schemas.tables.lineage import SIGNAL_LINEAGE
from autonama_dagster.schemas.tables.market import FETCH_LOG, OHLCV_1D, QUARANTINE, UNIVERSE, Candle
from autonama_dagster.schemas.tables.revisions import REVISIONS, Revision
from autonama_dagster.schemas.tables.summary import ANALYSIS_SUMMARY, SIGNAL_CHANCE
from autonama_dagster.schemas.tables.verification import VERIFICATIONS

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
        CANDLE_CHECKS,
        QUARANTINE,
    )
}

CANDLE_TABLES: tuple[Table, ...] = tuple(
    t for t in TABLES.values() if issubclass(t.model, Candle) and not issubclass(t.model, Revision)
)
"""Tables of candles as they are known now."""

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
            "Each signal with its window, sources and runs, and its hashes recomputed from "
            "the stored "
            "candles. Select few rows: each one reads its whole window."
        ),
        SIGNAL_LINEAGE,
    ),
    "ohlc_data": (
        "Candles with the column names of the scripts this project replaces.",
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
        "One row per symbol: its first and last candle, and its latest day in the universe.",
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


def index_name(table: str, columns: tuple[str, ...]) -> str:
    """Name of a secondary index."""
    return f"ix_{table}_{'_'.join(columns)}"


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
