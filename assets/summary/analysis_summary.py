"""Stage `analysis_summary`."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import dagster as dg
import pandas as pd

from assets.annotations import annotate, rounded
from assets.pictures import inline_png
from assets.stage import run_scope, stage, with_provenance
from assets.upstream import Keys, keys_of, refuse_missing, require_days
from autonama_dagster.analytics.candles.windows import day_number
from autonama_dagster.analytics.scan.correlation import summary as summarise_pairs
from autonama_dagster.analytics.scan.input_hashes import summary_hash
from autonama_dagster.analytics.scan.summary import analysis_summary as build
from autonama_dagster.analytics.scan.summary import members
from autonama_dagster.days import CHART_DAYS
from autonama_dagster.schemas.tables.summary import ANALYSIS_SUMMARY
from autonama_dagster.services.inputs.chances import expected_counts
from autonama_dagster.services.scan.symbol_charts import (
    SCAN_PICTURE,
    charted,
    draw_symbol_charts,
    links,
    write_picture,
)
from autonama_dagster.settings import Settings
from resources.warehouse.candle_queries import fetched_ranges, source_label
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse


class SummaryConfig(dg.Config):
    """What to produce in addition to the row."""

    symbol_charts: bool = False
    """Also draw charts of all BUY and SELL symbols and of the core movers, as PNG files."""


@stage(
    "summary",
    ANALYSIS_SUMMARY,
    "date",
    job="summary_job",
    deps=("universe", "signals", "regression_bands", "ohlcv_1d"),
    inputs=("correlation_matrix",),
)
def analysis_summary(
    context: dg.AssetExecutionContext,
    config: SummaryConfig,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
    progress: dg.ResourceParam[Any],
    correlation_matrix: pd.DataFrame,
) -> pd.DataFrame:
    """One row per day: counts over the members, the strongest signals, the correlations."""
    scope = run_scope(context)
    assert scope.first is not None and scope.last is not None  # noqa: S101, PT018
    alone = _lone_members(warehouse, scope)
    paired = {*correlation_matrix["date"].dt.date, *(day for _, day in alone)}
    require_days("analysis_summary", scope, "correlation_matrix", paired)
    signals = warehouse.read("signals", Scope(first=scope.first, last=scope.last))
    ranked = members(signals)
    by_day = dict(iter(ranked.groupby("date")))
    pairs_by_day = dict(iter(correlation_matrix.groupby("date")))
    _require_members(warehouse, pairs_by_day, alone, ranked)
    days = pd.date_range(scope.first, scope.last)
    chances = expected_counts(warehouse, settings, ranked, days)
    rows = []
    for day in days:
        of_day = by_day.get(day, ranked.iloc[:0])
        pairs = pairs_by_day.get(day, correlation_matrix.iloc[:0])
        row = build(of_day, summarise_pairs(pairs), day_number(day), chances[day])
        rows.append(row.assign(input_hash=summary_hash(of_day, pairs)))
    frame = pd.concat(rows, ignore_index=True)
    latest = days[-1]
    of_latest = by_day.get(latest, ranked.iloc[:0])
    shown = {row["date"].date().isoformat(): _figures(row) for row in frame.to_dict("records")}
    shown[latest.date().isoformat()] |= _pictures(
        warehouse, settings, latest, of_latest, chances[latest], config, progress
    )
    annotate(context, shown)
    return with_provenance(frame, "analysis_summary", settings)


def _lone_members(warehouse: Warehouse, scope: Scope) -> Keys:
    """Members of days that have no other member, and so no pair."""
    names = ("symbol", "date", "is_member")
    universe = warehouse.read("universe", Scope(first=scope.first, last=scope.last), names)
    chosen = universe[universe["is_member"]]
    return keys_of(chosen[~chosen["date"].duplicated(keep=False)])


def _require_members(
    warehouse: Warehouse,
    pairs_by_day: Mapping[Any, pd.DataFrame],
    alone: Keys,
    ranked: pd.DataFrame,
) -> None:
    """Refuse days with a member of which the signals do not know that it is one."""
    wanted = {
        (symbol, day.date())
        for day, pairs in pairs_by_day.items()
        for symbol in (*pairs["symbol_a"].unique(), *pairs["symbol_b"].unique())
    }
    missing = (wanted | alone) - keys_of(ranked)
    refuse_missing(warehouse, "analysis_summary", {"signals": missing})


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
    latest: pd.Timestamp,
    of_day: pd.DataFrame,
    expected: Mapping[str, Any],
    config: SummaryConfig,
    progress: Any,
) -> dict[str, dg.MetadataValue]:
    """The picture of the latest day, and links to the charts of its symbols."""
    from autonama_dagster.reports.charts.scan import scan_summary  # noqa: PLC0415

    day = latest.date()
    source = source_label(warehouse, day)
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
