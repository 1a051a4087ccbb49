"""Tables of the summary stage: one row per day over its members, and what chance would bring."""

from autonama_dagster.schemas.base import (
    Day,
    Float,
    Instant,
    Integer,
    Provenance,
    Table,
    TableModel,
    Text,
    column,
    day,
    instant,
)


class AnalysisSummary(Provenance):
    """One row per day: counts over the members, the strongest signals, the correlations."""

    date: Day = day("UTC day.")
    analysis_date: Instant = instant("Close of the day: 00:00 UTC on the next day.")
    total_assets_analyzed: Integer = column("Members with status OK.", ge=0)
    buy_signals: Integer = column("Members with BUY.", ge=0)
    sell_signals: Integer = column("Members with SELL.", ge=0)
    hold_signals: Integer = column("Members with status OK and HOLD.", ge=0)
    insufficient_data: Integer = column("Members with too few candles.", ge=0)
    quarantined: Integer = column("Members whose window contains bad data.", ge=0)
    no_data: Integer = column("Members without a candle on the day.", ge=0)
    avg_potential_return: Float = column(
        "Mean potential_return_pct over BUY and SELL; NULL if there are none.", nullable=True
    )
    high_risk_assets: Integer = column("BUY and SELL signals with risk HIGH.", ge=0)
    expected_buy_signals: Float = column(
        "BUY signals expected by chance among members with status OK: the sum of their p_buy in "
        "`signal_chance`; NULL if there are none, and in rows of older versions.",
        nullable=True,
        ge=0,
    )
    expected_sell_signals: Float = column(
        "The same for SELL signals; the two are equal on the log price scale.", nullable=True, ge=0
    )
    expected_high_correlations: Float = column(
        "Pairs with |pearson| >= 0.7 expected if members were independent; NULL if no pair has a "
        "correlation. Near zero: high correlations come from the common market, not from chance.",
        nullable=True,
        ge=0,
    )
    expected_linked_pairs: Float = column(
        "The same for pairs with |residual_pearson| >= 0.5.", nullable=True, ge=0
    )
    chance_analysis: Text = column(
        "How the expected counts were computed: members, surrogates, block lengths, and the "
        "standard error of each count (simulation error only; null where all drawings agree).",
        nullable=True,
        sql="jsonb",
    )
    correlation_analysis: Text = column("Summary of the day's correlations.", sql="jsonb")
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


class SignalChance(TableModel):
    """How often a window signals by chance; a cache that may be emptied at any time.

    Each surrogate is the window's own daily returns in shuffled blocks, with a channel of its
    own. The window's hash is the `input_hash` of its rows of `regression_bands`.
    """

    window_hash: Text = column(
        "SHA-256 over the candles of the window; the `input_hash` of its row of "
        "`regression_bands`, and the seed of the surrogates.",
        str_matches=r"^[0-9a-f]{64}$",
    )
    params_hash: Text = column(
        "SHA-256 of the channel's parameters and of the surrogates' settings.",
        str_matches=r"^[0-9a-f]{64}$",
    )
    p_buy: Float = column("Share of surrogates that end with a BUY.", ge=0, le=1)
    p_sell: Float = column("Share of surrogates that end with a SELL.", ge=0, le=1)
    n_surrogates: Integer = column("Surrogates, mirror images included.", ge=1)
    code_version: Text = column(
        "Version of the analytics that computed the row; other versions recompute it."
    )
    computed_at: Instant = instant("When the row was computed.")


SIGNAL_CHANCE = Table("signal_chance", SignalChance, ("window_hash", "params_hash"))
