"""Stage `indicators`."""

import dagster as dg
import pandas as pd

from assets.stage import run_scope, stage, with_provenance
from assets.windows import warn_of_unknown_windows
from autonama_dagster.analytics.scan.indicators.indicators import compute
from autonama_dagster.schemas.tables.analysis import INDICATORS_TABLE
from autonama_dagster.services.inputs.windows import read_windows
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
    run = read_windows(warehouse, run_scope(context), settings.lookback)
    warn_of_unknown_windows(context, run)
    frame = compute(run.candles, run.windows)
    frame = frame.assign(input_hash=run.hashes()[run.has_candle()])
    return with_provenance(frame, "indicators", settings)
