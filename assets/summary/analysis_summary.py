"""Stage `analysis_summary`."""

import json
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

import dagster as dg
import pandas as pd

from assets.annotations import annotate, rounded
from assets.pictures import inline_png
from assets.stage import day_scope, make_rows, stage
from autonama_dagster.analytics.scan.recipe import DayScope
from autonama_dagster.analytics.scan.summary import members
from autonama_dagster.days import CHART_DAYS
from autonama_dagster.schemas.tables.summary import ANALYSIS_SUMMARY
from autonama_dagster.services.inputs.readers import WarehouseReader
from autonama_dagster.services.inputs.upstream import keys_of, refuse_missing, require_days
from autonama_dagster.services.scan.symbol_charts import (
    SCAN_PICTURE,
    charted,
    draw_symbol_charts,
    links,
    write_picture,
)
from autonama_dagster.settings import Settings
from resources.warehouse.candle_queries import fetched_ranges, source_label
from resources.warehouse.warehouse import Warehouse

EXPECTED: Final = ("expected_buy_signals", "expected_sell_signals")


class SummaryConfig(dg.Config):
    """What to produce in addition to the row."""

    symbol_charts: bool = False
    """Also draw charts of all BUY and SELL symbols and of the core movers, as PNG files."""


@stage(
    "summary",
    ANALYSIS_SUMMARY,
    "date",
    job="summary_job",
    deps=("universe", "signals", "correlation_matrix", "regression_bands", "ohlcv_1d"),
)
def analysis_summary(
    context: dg.AssetExecutionContext,
    config: SummaryConfig,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
    progress: dg.ResourceParam[Any],
) -> pd.DataFrame:
    """One row per day: counts over the members, the strongest signals, the correlations."""
    reader = WarehouseReader(warehouse)
    scope = day_scope(context)
    ranked = members(reader.rows("signals", scope))
    _require_members(reader, scope, ranked)
    frame = make_rows(context, reader, settings)
    rows = {row["date"].date(): row for row in frame.to_dict("records")}
    shown = {day.isoformat(): _figures(row) for day, row in rows.items()}
    shown[scope.last.isoformat()] |= _pictures(
        warehouse, settings, ranked[ranked["date"] == pd.Timestamp(scope.last)],
        rows[scope.last], config, progress,
    )  # fmt: skip
    annotate(context, shown)
    return frame


def _require_members(reader: WarehouseReader, scope: DayScope, ranked: pd.DataFrame) -> None:
    """Refuse days without pairs, and days with a member whose signal does not know that it is one.

    A day with one member has no pair.
    """
    universe = reader.rows("universe", scope, ("symbol", "date", "is_member"))
    chosen = universe[universe["is_member"]]
    alone = keys_of(chosen[~chosen["date"].duplicated(keep=False)])
    pairs = reader.rows("correlation_matrix", scope)
    paired = {*pairs["date"].dt.date.unique(), *(day for _, day in alone)}
    require_days("analysis_summary", scope, "correlation_matrix", paired)
    sides = (pairs[["date", name]].drop_duplicates() for name in ("symbol_a", "symbol_b"))
    wanted = set[tuple[str, date]]().union(
        *(keys_of(side.set_axis(["date", "symbol"], axis=1)) for side in sides)
    )
    missing = (wanted | alone) - keys_of(ranked)
    refuse_missing(reader.warehouse, "analysis_summary", {"signals": missing})


def _figures(row: Mapping[Any, Any]) -> dict[str, Any]:
    """What the UI plots over the days; a figure that is not known is left out."""
    pairs = json.loads(row["correlation_analysis"])
    figures = {
        "buy_signals": int(row["buy_signals"]),
        "expected_buy_signals": rounded(row["expected_buy_signals"]),
        "sell_signals": int(row["sell_signals"]),
        "expected_sell_signals": rounded(row["expected_sell_signals"]),
        "hold_signals": int(row["hold_signals"]),
        "total_assets_analyzed": int(row["total_assets_analyzed"]),
        "mean_pearson": pairs["mean_pearson"] and rounded(pairs["mean_pearson"], places=3),
        "n_high": pairs["n_high"],
        "expected_high_correlations": rounded(row["expected_high_correlations"]),
        "n_linked": pairs["n_linked"],
        "expected_linked_pairs": rounded(row["expected_linked_pairs"]),
    }
    return {name: value for name, value in figures.items() if value is not None}


def _pictures(
    warehouse: Warehouse,
    settings: Settings,
    of_day: pd.DataFrame,
    row: Mapping[Any, Any],
    config: SummaryConfig,
    progress: Any,
) -> dict[str, dg.MetadataValue]:
    """The picture of the latest day, and links to the charts of its symbols."""
    from autonama_dagster.reports.charts.scan import scan_summary  # noqa: PLC0415

    day = row["date"].date()
    source = source_label(warehouse, day)
    expected = {name: None if pd.isna(row[name]) else row[name] for name in EXPECTED}
    picture = scan_summary(
        of_day, date=day, kstd=settings.kstd, expected=expected, source_label=source
    )
    shown: dict[str, dg.MetadataValue] = {"scan": inline_png(picture)}
    if config.symbol_charts:
        chosen = of_day[of_day["symbol"].isin(charted(of_day))]
        reach = day - timedelta(days=settings.lookback + CHART_DAYS)
        candles = warehouse.candles(chosen["symbol"].tolist(), reach, day)
        folder = settings.results_path / "charts"
        answered = fetched_ranges(warehouse, "1d", chosen["symbol"].tolist())
        on_chart = progress.charts if progress else lambda *_: None
        files = draw_symbol_charts(
            folder, day, chosen, candles, settings, source, answered, on_chart
        )
        write_picture(folder / day.isoformat() / SCAN_PICTURE, picture)
        shown["symbol_charts"] = dg.MetadataValue.md(links(files))
    return shown
