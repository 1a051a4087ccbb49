"""Stage `regression_bands`."""

import dagster as dg
import pandas as pd

from assets.stage import make_rows, stage
from autonama_dagster.schemas.tables.analysis import REGRESSION_BANDS
from autonama_dagster.services.inputs.readers import WarehouseReader
from autonama_dagster.settings import Settings
from resources.warehouse.warehouse import Warehouse


@stage(
    "analysis",
    REGRESSION_BANDS,
    "date_symbol",
    job="symbols_job",
    deps=("ohlcv_1d", "ohlcv_1d_history"),
    kinds=frozenset({"postgres", "numpy"}),
)
def regression_bands(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
) -> pd.DataFrame:
    """The polynomial regression channel of each symbol and day, fitted to its window alone."""
    return make_rows(context, WarehouseReader(warehouse), settings)
