"""Stage `analysis_summary`."""

from dataclasses import asdict

import dagster as dg
import pandas as pd

from assets.pictures import attach_picture
from assets.stage import channel_params, run_scope, stage, with_provenance
from autonama_dagster.analytics.correlation import summary as summarise_pairs
from autonama_dagster.analytics.hashing import combine
from autonama_dagster.analytics.summary import analysis_summary as build
from autonama_dagster.charts.scan import scan_summary
from autonama_dagster.schemas.summary import ANALYSIS_SUMMARY
from autonama_dagster.settings import Settings
from resources.warehouse import Scope, Warehouse


@stage("summary", ANALYSIS_SUMMARY, "date", deps=("signals",), inputs=("correlation_matrix",))
def analysis_summary(
    context: dg.AssetExecutionContext,
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
        row = build(of_day, summarise_pairs(pairs), day)
        hashes = (*of_day["input_hash"], *pairs["input_hash"])
        rows.append(row.assign(input_hash=combine(*hashes)))
    frame = pd.concat(rows, ignore_index=True)
    latest = frame.iloc[[-1]]
    day = latest["date"].iloc[0]
    source = warehouse.source_label(day.date())
    picture = scan_summary(by_day.get(day, members.iloc[:0]), date=day, source_label=source)
    attach_picture(context, "scan", picture, latest["date"].iloc[0])
    return with_provenance(frame, asdict(channel_params(settings)))
