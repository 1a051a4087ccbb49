"""Stage `correlation_matrix`."""

import dagster as dg
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from assets.pictures import attach_picture
from assets.stage import day_scope, make_rows, stage
from autonama_dagster.analytics.scan.tables import drawn_pairs
from autonama_dagster.schemas.tables.analysis import CORRELATION_MATRIX
from autonama_dagster.services.inputs.parameters import scan_params
from autonama_dagster.services.inputs.readers import WarehouseReader
from autonama_dagster.services.inputs.upstream import require_days
from autonama_dagster.settings import Settings
from resources.warehouse.candle_queries import source_label
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
    reader = WarehouseReader(warehouse)
    scope = day_scope(context)
    universe = reader.rows("universe", scope, ("date", "symbol", "is_member"))
    members = universe[universe["is_member"]]
    require_days("correlation_matrix", scope, "universe", set(members["date"].dt.date))
    frame = make_rows(context, reader, settings)
    latest = pd.Timestamp(scope.last)
    of_latest = members.loc[members["date"] == latest, "symbol"].tolist()
    drawn = drawn_pairs(reader, of_latest, scope.last, scan_params(settings))
    _attach(context, warehouse, frame[frame["date"] == latest], latest, drawn)
    return frame


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
