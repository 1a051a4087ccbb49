"""Stage `signals`."""

from dataclasses import asdict

import dagster as dg
import pandas as pd

from assets.decision.signal_metadata import MAX_ANNOTATED, annotate_signals, facts_of_windows
from assets.stage import run_scope, stage, with_provenance
from assets.upstream import require_rows
from autonama_dagster.analytics.scan.input_hashes import signal_hashes
from autonama_dagster.analytics.scan.signals import decide
from autonama_dagster.schemas.tables.decision import SIGNALS_TABLE
from autonama_dagster.services.inputs.parameters import channel_params
from autonama_dagster.services.inputs.windows import read_windows
from autonama_dagster.settings import Settings
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse


@stage(
    "decision",
    SIGNALS_TABLE,
    "date_symbol",
    job="symbols_job",
    deps=("universe", "ohlcv_1d"),
    inputs=("regression_bands", "indicators", "data_quality"),
)
def signals(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
    regression_bands: pd.DataFrame,
    indicators: pd.DataFrame,
    data_quality: pd.DataFrame,
) -> pd.DataFrame:
    """BUY, SELL or HOLD for every registered symbol and day, with its confirmations."""
    scope = run_scope(context)
    upstream = {
        "regression_bands": regression_bands,
        "indicators": indicators,
        "data_quality": data_quality,
    }
    require_rows(warehouse, "signals", scope, upstream)
    universe = warehouse.read("universe", Scope(first=scope.first, last=scope.last))
    params = channel_params(settings)
    frame = decide(regression_bands, indicators, universe, data_quality, kstd=params.kstd)
    hashes = signal_hashes(frame, regression_bands, universe, data_quality)
    frame = frame.assign(input_hash=hashes)
    made = with_provenance(frame, "signals", settings)
    if len(frame) <= MAX_ANNOTATED:
        rows = {**upstream, "universe": universe}
        facts = facts_of_windows(read_windows(warehouse, scope, params.lookback), params)
        annotate_signals(context, made, rows, facts, asdict(params), settings.pictures_url)
    return made
