"""Stage `asset_analytics`."""

import dagster as dg
import pandas as pd

from assets.stage import make_rows, stage
from autonama_dagster.schemas.tables.decision import ASSET_ANALYTICS
from autonama_dagster.services.inputs.readers import WarehouseReader
from autonama_dagster.settings import Settings
from resources.warehouse.warehouse import Warehouse


@stage(
    "decision",
    ASSET_ANALYTICS,
    "date_symbol",
    job="symbols_job",
    deps=("ohlcv_1d", "signals", "indicators", "regression_bands"),
)
def asset_analytics(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
) -> pd.DataFrame:
    """Analytics of each symbol and day: levels, trend; indicators, channel and signal as JSON."""
    return make_rows(context, WarehouseReader(warehouse), settings)
