"""Stage `regression_bands`."""

import dagster as dg
import pandas as pd

from assets.stage import run_scope, stage, with_provenance
from assets.windows import warn_of_unknown_windows
from autonama_dagster.analytics.scan.channel import fit_channels
from autonama_dagster.schemas.tables.analysis import REGRESSION_BANDS
from autonama_dagster.services.inputs.parameters import channel_params
from autonama_dagster.services.inputs.windows import read_windows
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
    params = channel_params(settings)
    run = read_windows(warehouse, run_scope(context), params.lookback)
    warn_of_unknown_windows(context, run)
    frame = fit_channels(run.candles, run.windows, params)
    return with_provenance(frame.assign(input_hash=run.hashes()), "regression_bands", settings)
