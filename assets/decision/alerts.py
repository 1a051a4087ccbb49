"""Stage `alerts`."""

import dagster as dg
import pandas as pd

from assets.stage import run_scope, stage, with_provenance
from assets.upstream import require_rows
from autonama_dagster.analytics.scan.summary import alerts as build
from autonama_dagster.schemas.tables.decision import ALERTS
from autonama_dagster.services.inputs.parameters import channel_params
from autonama_dagster.settings import Settings
from resources.warehouse.warehouse import Warehouse


@stage(
    "decision",
    ALERTS,
    "date_symbol",
    job="symbols_job",
    deps=("ohlcv_1d",),
    inputs=("signals", "indicators", "regression_bands"),
)
def alerts(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
    signals: pd.DataFrame,
    indicators: pd.DataFrame,
    regression_bands: pd.DataFrame,
) -> pd.DataFrame:
    """One row per registered symbol and day, HOLD included, for notifiers."""
    upstream = {"signals": signals, "indicators": indicators, "regression_bands": regression_bands}
    require_rows(warehouse, "alerts", run_scope(context), upstream)
    params = channel_params(settings)
    frame = build(signals, indicators, regression_bands, params)
    frame = frame.assign(input_hash=signals["input_hash"].to_numpy())
    return with_provenance(frame, "alerts", settings)
