"""Stage `analysis_summary`."""

from datetime import timedelta

import dagster as dg
import pandas as pd

from assets.input_hashes import summary_hash
from assets.pictures import attach_picture
from assets.stage import day_number, run_scope, stage, with_provenance
from assets.symbol_charts import CHART_DAYS, charted, draw_symbol_charts, links
from autonama_dagster.analytics.correlation import summary as summarise_pairs
from autonama_dagster.analytics.summary import analysis_summary as build
from autonama_dagster.charts.scan import scan_summary
from autonama_dagster.schemas.summary import ANALYSIS_SUMMARY
from autonama_dagster.settings import Settings
from resources.statements import Scope
from resources.warehouse import Warehouse


class SummaryConfig(dg.Config):
    """What to make beside the row."""

    symbol_charts: bool = False
    """Draw a chart of every BUY and SELL symbol and of the core movers, as files."""


@stage("summary", ANALYSIS_SUMMARY, "date", deps=("signals",), inputs=("correlation_matrix",))
def analysis_summary(
    context: dg.AssetExecutionContext,
    config: SummaryConfig,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
    correlation_matrix: pd.DataFrame,
) -> pd.DataFrame:
    """The day in one row: counts over the members, the strongest signals, the correlations."""
    scope = run_scope(context)
    signals = warehouse.read("signals", Scope(first=scope.first, last=scope.last))
    members = signals[signals["is_member"].fillna(value=False)]
    by_day = dict(iter(members.groupby("date")))
    rows = []
    for day, pairs in correlation_matrix.groupby("date"):
        of_day = by_day.get(day, members.iloc[:0])
        row = build(of_day, summarise_pairs(pairs), day_number(pd.Timestamp(str(day))))
        rows.append(row.assign(input_hash=summary_hash(of_day, pairs)))
    frame = pd.concat(rows, ignore_index=True)
    latest = frame["date"].iloc[-1]
    _attach(context, warehouse, settings, latest, by_day.get(latest, members.iloc[:0]), config)
    return with_provenance(frame, "analysis_summary", settings)


def _attach(
    context: dg.AssetExecutionContext,
    warehouse: Warehouse,
    settings: Settings,
    latest: pd.Timestamp,
    of_day: pd.DataFrame,
    config: SummaryConfig,
) -> None:
    """The picture of the latest day, and links to the charts of its symbols."""
    day = latest.date()
    source = warehouse.source_label(day)
    picture = scan_summary(of_day, date=day, kstd=settings.kstd, source_label=source)
    attach_picture(context, "scan", picture, latest)
    if config.symbol_charts:
        chosen = of_day[of_day["symbol"].isin(charted(of_day))]
        reach = day - timedelta(days=settings.lookback + CHART_DAYS)
        candles = warehouse.candles(chosen["symbol"].tolist(), reach, day)
        folder = settings.results_path / "charts"
        answered = warehouse.fetched_ranges("1d", chosen["symbol"].tolist())
        files = draw_symbol_charts(folder, day, chosen, candles, settings, source, answered)
        context.add_asset_metadata(
            {"symbol_charts": dg.MetadataValue.md(links(files))}, partition_key=day.isoformat()
        )
