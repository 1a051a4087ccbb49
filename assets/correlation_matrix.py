"""Stage `correlation_matrix`."""

from datetime import timedelta

import dagster as dg
import pandas as pd

from assets.pictures import attach_picture
from assets.stage import run_scope, stage, with_provenance
from autonama_dagster.analytics.correlation import RETURN_DAYS, pairs, window_days
from autonama_dagster.analytics.run_windows import answered_candles
from autonama_dagster.analytics.windows import day_number
from autonama_dagster.errors import SchemaError
from autonama_dagster.schemas.analysis import CORRELATION_MATRIX
from autonama_dagster.settings import Settings
from resources.statements import Scope
from resources.warehouse import Warehouse


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
        members["date"].min().date() - timedelta(days=RETURN_DAYS),
        members["date"].max().date(),
    )
    answered = warehouse.fetched_ranges("1d", list(candles))
    reach = window_days(settings.lookback)
    frames = []
    for day, symbols in members.groupby("date")["symbol"]:
        number = day_number(pd.Timestamp(str(day)))
        known = answered_candles(candles, answered, number, reach)
        frames.append(pairs(list(symbols), known, number, lookback=settings.lookback))
    frame = pd.concat(frames, ignore_index=True)
    _attach(context, warehouse, frame)
    return with_provenance(frame, "correlation_matrix", settings)


def _attach(context: dg.AssetExecutionContext, warehouse: Warehouse, frame: pd.DataFrame) -> None:
    """The picture of the latest day."""
    from autonama_dagster.charts.heatmap import correlation_heatmap  # noqa: PLC0415

    latest = frame["date"].max()
    label = warehouse.source_label(latest.date())
    of_day = frame[frame["date"] == latest]
    picture = correlation_heatmap(of_day, date=latest.date(), source_label=label)
    attach_picture(context, "heatmap", picture, latest)
