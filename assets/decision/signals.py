"""Stage `signals`."""

from dataclasses import asdict

import dagster as dg
import pandas as pd

from assets.decision.signal_metadata import MAX_ANNOTATED, annotate_signals, facts_of_windows
from assets.stage import day_scope, make_rows, stage
from autonama_dagster.schemas.tables.decision import SIGNALS_TABLE
from autonama_dagster.services.inputs.parameters import channel_params
from autonama_dagster.services.inputs.readers import WarehouseReader
from autonama_dagster.settings import Settings
from resources.warehouse.warehouse import Warehouse


@stage(
    "decision",
    SIGNALS_TABLE,
    "date_symbol",
    job="symbols_job",
    deps=("universe", "ohlcv_1d", "regression_bands", "indicators", "data_quality"),
)
def signals(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
) -> pd.DataFrame:
    """BUY, SELL or HOLD for every registered symbol and day, with its confirmations."""
    reader = WarehouseReader(warehouse)
    frame = make_rows(context, reader, settings)
    if len(frame) <= MAX_ANNOTATED:
        scope, params = day_scope(context), channel_params(settings)
        names = ("regression_bands", "indicators", "data_quality", "universe")
        rows = {name: reader.rows(name, scope) for name in names}
        facts = facts_of_windows(reader.windows(scope, params.lookback), params)
        annotate_signals(context, frame, rows, facts, asdict(params), settings.pictures_url)
    return frame
