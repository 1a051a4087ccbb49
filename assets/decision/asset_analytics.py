"""Stage `asset_analytics`."""

import dagster as dg
import pandas as pd

from assets.stage import run_scope, stage, with_provenance
from assets.upstream import require_rows
from autonama_dagster.analytics.scan.indicators.levels import compute
from autonama_dagster.analytics.scan.summary import asset_analytics as build
from autonama_dagster.schemas.tables.decision import ASSET_ANALYTICS
from autonama_dagster.services.inputs.parameters import channel_params
from autonama_dagster.services.inputs.windows import read_windows
from autonama_dagster.settings import Settings
from resources.warehouse.warehouse import Warehouse


@stage(
    "decision",
    ASSET_ANALYTICS,
    "date_symbol",
    job="symbols_job",
    deps=("ohlcv_1d",),
    inputs=("signals", "indicators", "regression_bands"),
)
def asset_analytics(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
    signals: pd.DataFrame,
    indicators: pd.DataFrame,
    regression_bands: pd.DataFrame,
) -> pd.DataFrame:
    """Analytics of each symbol and day: levels, trend; indicators, channel and signal as JSON."""
    scope = run_scope(context)
    upstream = {"signals": signals, "indicators": indicators, "regression_bands": regression_bands}
    require_rows(warehouse, "asset_analytics", scope, upstream)
    params = channel_params(settings)
    run = read_windows(warehouse, scope, params.lookback)
    levels = compute(run.candles, run.windows, indicators["natr_14"].to_numpy())
    frame = build(signals, indicators, regression_bands, levels, params)
    frame = frame.assign(input_hash=signals["input_hash"].to_numpy())
    return with_provenance(frame, "asset_analytics", settings)
