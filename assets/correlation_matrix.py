"""Stage `correlation_matrix`."""

from datetime import timedelta

import dagster as dg
import pandas as pd

from assets.pictures import attach_picture
from assets.stage import run_scope, stage, with_provenance
from autonama_dagster.analytics.correlation import CORRELATION_DAYS, pairs
from autonama_dagster.errors import SchemaError
from autonama_dagster.charts.heatmap import correlation_heatmap
from autonama_dagster.schemas.analysis import CORRELATION_MATRIX
from autonama_dagster.settings import Settings
from resources.warehouse import Scope, Warehouse


@stage(
    "analysis",
    CORRELATION_MATRIX,
    "date",
    deps=("universe", "ohlcv_1d"),
    kinds=frozenset({"postgres", "numpy"}),
)
def correlation_matrix(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
) -> pd.DataFrame:
    """Correlations of daily log returns over 90 days between the members of each day."""
    scope = run_scope(context)
    universe = warehouse.read("universe", Scope(first=scope.first, last=scope.last))
    members = universe[universe["is_member"]]
    if members.empty:
        raise SchemaError(f"no universe is stored for {scope.first}: materialise `universe` first")
    candles = warehouse.candles(
        members["symbol"].unique().tolist(),
        members["date"].min().date() - timedelta(days=CORRELATION_DAYS),
        members["date"].max().date(),
    )
    frame = pd.concat(
        [
            pairs(sorted(symbols), candles, _day_number(day), lookback=settings.lookback)
            for day, symbols in members.groupby("date")["symbol"]
        ],
        ignore_index=True,
    )
    latest = frame[frame["date"] == frame["date"].max()]
    attach_picture(context, "heatmap", correlation_heatmap(latest), latest["date"].iloc[0])
    return with_provenance(frame, {"lookback": settings.lookback})


def _day_number(day: pd.Timestamp) -> int:
    return (day - pd.Timestamp(0)).days
