"""Stage `data_quality`: the ledger of what is wrong with the candles."""

import dagster as dg
import pandas as pd

from assets.stage import make_rows, stage
from autonama_dagster.schemas.tables.analysis import DATA_QUALITY
from autonama_dagster.services.inputs.readers import WarehouseReader
from autonama_dagster.settings import Settings
from resources.warehouse.warehouse import Warehouse


@stage(
    "analysis",
    DATA_QUALITY,
    "date_symbol",
    job="symbols_job",
    deps=("ohlcv_1d", "ohlcv_1d_history", "ohlcv_1h"),
    kinds=frozenset({"postgres", "numpy"}),
)
def data_quality(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
) -> pd.DataFrame:
    """Data quality of each symbol's day and of the window that ends on it."""
    return make_rows(context, WarehouseReader(warehouse), settings)
