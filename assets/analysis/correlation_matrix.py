"""Stage `correlation_matrix`."""

from datetime import timedelta

import dagster as dg
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.pictures import attach_picture
from assets.stage import run_scope, stage, with_provenance
from assets.upstream import require_days
from autonama_dagster.analytics.candles.run_windows import answered_candles
from autonama_dagster.analytics.candles.windows import day_number
from autonama_dagster.analytics.scan.chance import pair_chances
from autonama_dagster.analytics.scan.correlation import RETURN_DAYS, pairs, window_days
from autonama_dagster.schemas.tables.analysis import CORRELATION_MATRIX
from autonama_dagster.settings import Settings
from resources.warehouse.candle_queries import fetched_ranges, source_label
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse


@stage(
    "analysis",
    CORRELATION_MATRIX,
    "date",
    job="summary_job",
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
    require_days("correlation_matrix", scope, "universe", set(members["date"].dt.date))
    candles = warehouse.candles(
        members["symbol"].unique().tolist(),
        members["date"].min().date() - timedelta(days=RETURN_DAYS),
        members["date"].max().date(),
    )
    answered = fetched_ranges(warehouse, "1d", list(candles))
    reach = window_days(settings.lookback)
    frames = []
    for date, symbols in members.groupby("date")["symbol"]:
        latest, of_latest = pd.Timestamp(str(date)), list(symbols)
        number = day_number(latest)
        known = answered_candles(candles, answered, number, reach)
        frames.append(pairs(of_latest, known, number, lookback=settings.lookback))
    frame = pd.concat(frames, ignore_index=True)
    # Days come in their order: what is left from the loop is the latest.
    drawn = pair_chances(of_latest, known, number, lookback=settings.lookback)
    _attach(context, warehouse, frame[frame["date"] == latest], latest, drawn)
    return with_provenance(frame, "correlation_matrix", settings)


def _attach(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    of_latest: pd.DataFrame,
    latest: pd.Timestamp,
    drawn: NDArray[np.int64] | None,
) -> None:
    """The picture of the latest day, its count of high pairs beside that of drawn returns."""
    from autonama_dagster.reports.charts.heatmap import correlation_heatmap  # noqa: PLC0415

    picture = correlation_heatmap(
        of_latest,
        date=latest.date(),
        expected_high=None if drawn is None else float(drawn[:, 0].mean()),
        source_label=source_label(warehouse, latest.date()),
    )
    attach_picture(context, "heatmap", picture, latest)
