"""Stage `data_quality`: the ledger of what is wrong with the candles."""

from datetime import timedelta

import dagster as dg
import pandas as pd

from assets.evidence import read_evidence
from assets.stage import quality_limits, run_scope, stage, with_provenance
from assets.windows import read_windows
from autonama_dagster.analytics.quality import judge
from autonama_dagster.schemas.analysis import DATA_QUALITY
from autonama_dagster.settings import Settings
from resources.warehouse import Warehouse


@stage(
    "analysis",
    DATA_QUALITY,
    "date_symbol",
    deps=("ohlcv_1d", "ohlcv_1d_history", "ohlcv_1h"),
    kinds=frozenset({"postgres", "numpy"}),
)
def data_quality(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
) -> pd.DataFrame:
    """What is wrong with each symbol's day, and how far its window can be trusted."""
    scope = run_scope(context)
    assert scope.first is not None and scope.last is not None  # noqa: S101, PT018
    run = read_windows(warehouse, scope, settings.lookback)
    first = scope.first - timedelta(days=settings.lookback - 1)
    beside = read_evidence(warehouse, scope.symbols or (), first, scope.last)
    limits = quality_limits(settings)
    frame = judge(run.candles, run.windows, run.known, beside, limits, settings.lookback)
    return with_provenance(frame, "data_quality", settings)
