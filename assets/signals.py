"""Stage `signals`."""

import dagster as dg
import pandas as pd

from assets.input_hashes import signal_hashes
from assets.parameters import channel_params
from assets.stage import run_scope, stage, with_provenance
from autonama_dagster.analytics.signals import decide
from autonama_dagster.partitions import key_of
from autonama_dagster.schemas.decision import SIGNALS_TABLE
from autonama_dagster.settings import Settings
from resources.statements import Scope
from resources.warehouse import Warehouse

MAX_ANNOTATED = 200  # a call costs 14 ms at 100 partitions and 0.9 s at 72,000
ANNOTATED = (
    "signal", "status", "close", "fitted_price", "upper_band", "lower_band",
    "potential_return_pct", "signal_strength", "input_hash",
)  # fmt: skip


@stage(
    "decision",
    SIGNALS_TABLE,
    "date_symbol",
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
    """BUY, SELL or HOLD for every registered symbol and day, with what confirms it."""
    scope = run_scope(context)
    universe = warehouse.read("universe", Scope(first=scope.first, last=scope.last))
    params = channel_params(settings)
    frame = decide(regression_bands, indicators, universe, data_quality, kstd=params.kstd)
    hashes = signal_hashes(frame, regression_bands, universe, data_quality)
    frame = frame.assign(input_hash=hashes)
    if len(frame) <= MAX_ANNOTATED:
        _annotate(context, frame)
    return with_provenance(frame, "signals", settings)


def _annotate(context: dg.AssetExecutionContext, frame: pd.DataFrame) -> None:
    """Put each row's own values on its partition's materialisation."""
    for row in frame.to_dict("records"):
        shown = {name: row[name] for name in ANNOTATED if pd.notna(row[name])}
        key = key_of(row["date"].date(), row["symbol"])
        context.add_asset_metadata(shown, partition_key=key)
