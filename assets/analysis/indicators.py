"""Stage `indicators`."""

import dagster as dg
import pandas as pd

from assets.stage import make_rows, stage
from autonama_dagster.schemas.tables.analysis import INDICATORS_TABLE
from autonama_dagster.services.inputs.readers import WarehouseReader
from autonama_dagster.settings import Settings
from resources.warehouse.warehouse import Warehouse


@stage(
    "analysis",
    INDICATORS_TABLE,
    "date_symbol",
    job="symbols_job",
    deps=("ohlcv_1d", "ohlcv_1d_history"),
    kinds=frozenset({"postgres", "talib"}),
)
def indicators(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
) -> pd.DataFrame:
    """Technical indicators of each symbol and day, computed from its window alone."""
    return make_rows(context, WarehouseReader(warehouse), settings)
