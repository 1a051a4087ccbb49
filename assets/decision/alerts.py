"""Stage `alerts`."""

import dagster as dg
import pandas as pd

from assets.stage import make_rows, stage
from autonama_dagster.schemas.tables.decision import ALERTS
from autonama_dagster.services.inputs.readers import WarehouseReader
from autonama_dagster.settings import Settings
from resources.warehouse.warehouse import Warehouse


@stage(
    "decision",
    ALERTS,
    "date_symbol",
    job="symbols_job",
    deps=("ohlcv_1d", "signals", "indicators", "regression_bands"),
)
def alerts(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
) -> pd.DataFrame:
    """One row per registered symbol and day, HOLD included, for notifiers."""
    return make_rows(context, WarehouseReader(warehouse), settings)
