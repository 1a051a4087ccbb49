"""Table of the summary stage: one row per day over its members."""

from autonama_dagster.schemas.base import (
    Day,
    Float,
    Instant,
    Integer,
    Provenance,
    Table,
    Text,
    column,
    day,
    instant,
)


class AnalysisSummary(Provenance):
    """The day in one row: counts over the members, the strongest signals, the correlations."""

    date: Day = day("UTC day.")
    analysis_date: Instant = instant("When the day had closed: the next day 00:00 UTC.")
    total_assets_analyzed: Integer = column("Members with status OK.", ge=0)
    buy_signals: Integer = column("Members with BUY.", ge=0)
    sell_signals: Integer = column("Members with SELL.", ge=0)
    hold_signals: Integer = column("Members with status OK and HOLD.", ge=0)
    insufficient_data: Integer = column("Members with too few candles.", ge=0)
    quarantined: Integer = column("Members whose window holds a fault.", ge=0)
    no_data: Integer = column("Members without a candle on the day.", ge=0)
    avg_potential_return: Float = column(
        "Mean potential_return_pct over BUY and SELL; NULL without any.", nullable=True
    )
    high_risk_assets: Integer = column("BUY and SELL signals with risk HIGH.", ge=0)
    correlation_analysis: Text = column("Correlations of the day in short.", sql="jsonb")
    top_buy_signals: Text = column("The 10 strongest BUY signals.", sql="jsonb")
    top_sell_signals: Text = column("The 10 strongest SELL signals.", sql="jsonb")
    created_at: Instant = instant("When the row was written.")


ANALYSIS_SUMMARY = Table(
    "analysis_summary",
    AnalysisSummary,
    ("date",),
    "date",
    stamped=("run_id", "computed_at", "created_at"),
)
