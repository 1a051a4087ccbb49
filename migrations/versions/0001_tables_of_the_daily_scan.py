"""Tables of the daily scan"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("interval", sa.Text(), nullable=False),
        sa.Column("signal", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("current_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("upper_band", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("lower_band", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("potential_return", sa.Double(), nullable=True),
        sa.Column("signal_strength", sa.Double(), nullable=False),
        sa.Column("risk_level", sa.Text(), nullable=True),
        sa.Column("confirmations", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("technical_indicators", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("polynomial_regression", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("analysis_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("input_hash", sa.Text(), nullable=False),
        sa.Column("params_hash", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "date"),
        schema="trading",
    )
    op.create_index("ix_alerts_date", "alerts", ["date"], unique=False, schema="trading")
    op.create_table(
        "analysis_summary",
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("analysis_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("total_assets_analyzed", sa.BigInteger(), nullable=False),
        sa.Column("buy_signals", sa.BigInteger(), nullable=False),
        sa.Column("sell_signals", sa.BigInteger(), nullable=False),
        sa.Column("hold_signals", sa.BigInteger(), nullable=False),
        sa.Column("insufficient_data", sa.BigInteger(), nullable=False),
        sa.Column("no_data", sa.BigInteger(), nullable=False),
        sa.Column("avg_potential_return", sa.Double(), nullable=True),
        sa.Column("high_risk_assets", sa.BigInteger(), nullable=False),
        sa.Column("correlation_analysis", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("top_buy_signals", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("top_sell_signals", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("input_hash", sa.Text(), nullable=False),
        sa.Column("params_hash", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("date"),
        schema="trading",
    )
    op.create_table(
        "asset_analytics",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("analysis_date", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("current_price", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("price_change_24h", sa.Double(), nullable=True),
        sa.Column("volatility", sa.Double(), nullable=True),
        sa.Column("trend", sa.Text(), nullable=True),
        sa.Column("support_level", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("resistance_level", sa.Numeric(precision=38, scale=18), nullable=True),
        sa.Column("volume_ratio", sa.Double(), nullable=True),
        sa.Column("technical_indicators", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("polynomial_regression", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("signal_analysis", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("data_points", sa.BigInteger(), nullable=False),
        sa.Column("analysis_period_days", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("input_hash", sa.Text(), nullable=False),
        sa.Column("params_hash", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "date"),
        schema="trading",
    )
    op.create_index(
        "ix_asset_analytics_date", "asset_analytics", ["date"], unique=False, schema="trading"
    )
    op.create_table(
        "correlation_matrix",
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("symbol_a", sa.Text(), nullable=False),
        sa.Column("symbol_b", sa.Text(), nullable=False),
        sa.Column("pearson", sa.Double(), nullable=True),
        sa.Column("spearman", sa.Double(), nullable=True),
        sa.Column("residual_pearson", sa.Double(), nullable=True),
        sa.Column("n_obs", sa.BigInteger(), nullable=False),
        sa.Column("is_high", sa.Boolean(), nullable=False),
        sa.Column("is_linked", sa.Boolean(), nullable=False),
        sa.Column("input_hash", sa.Text(), nullable=False),
        sa.Column("params_hash", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("date", "symbol_a", "symbol_b"),
        schema="trading",
    )
    op.create_table(
        "fetch_log",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("interval", sa.Text(), nullable=False),
        sa.Column("from_date", sa.Date(), nullable=False),
        sa.Column("to_date", sa.Date(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("candles", sa.BigInteger(), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "interval", "from_date", "to_date", "run_id"),
        schema="trading",
    )
    op.create_table(
        "indicators",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("rsi_14", sa.Double(), nullable=True),
        sa.Column("macd", sa.Double(), nullable=True),
        sa.Column("macd_signal", sa.Double(), nullable=True),
        sa.Column("macd_hist", sa.Double(), nullable=True),
        sa.Column("bb_upper", sa.Double(), nullable=True),
        sa.Column("bb_middle", sa.Double(), nullable=True),
        sa.Column("bb_lower", sa.Double(), nullable=True),
        sa.Column("bb_percent_b", sa.Double(), nullable=True),
        sa.Column("bb_bandwidth", sa.Double(), nullable=True),
        sa.Column("atr_14", sa.Double(), nullable=True),
        sa.Column("natr_14", sa.Double(), nullable=True),
        sa.Column("stoch_k", sa.Double(), nullable=True),
        sa.Column("stoch_d", sa.Double(), nullable=True),
        sa.Column("williams_r_14", sa.Double(), nullable=True),
        sa.Column("ema_9", sa.Double(), nullable=True),
        sa.Column("ema_21", sa.Double(), nullable=True),
        sa.Column("ema_50", sa.Double(), nullable=True),
        sa.Column("sma_20", sa.Double(), nullable=True),
        sa.Column("sma_50", sa.Double(), nullable=True),
        sa.Column("sma_200", sa.Double(), nullable=True),
        sa.Column("adx_14", sa.Double(), nullable=True),
        sa.Column("plus_di_14", sa.Double(), nullable=True),
        sa.Column("minus_di_14", sa.Double(), nullable=True),
        sa.Column("mfi_14", sa.Double(), nullable=True),
        sa.Column("cci_20", sa.Double(), nullable=True),
        sa.Column("roc_10", sa.Double(), nullable=True),
        sa.Column("obv_20", sa.Double(), nullable=True),
        sa.Column("aroon_up_25", sa.Double(), nullable=True),
        sa.Column("aroon_down_25", sa.Double(), nullable=True),
        sa.Column("ultosc", sa.Double(), nullable=True),
        sa.Column("trix_15", sa.Double(), nullable=True),
        sa.Column("ppo", sa.Double(), nullable=True),
        sa.Column("cmo_14", sa.Double(), nullable=True),
        sa.Column("volume_ratio_20", sa.Double(), nullable=True),
        sa.Column("return_1d_pct", sa.Double(), nullable=True),
        sa.Column("volatility_30d_pct", sa.Double(), nullable=True),
        sa.Column("input_hash", sa.Text(), nullable=False),
        sa.Column("params_hash", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "date"),
        schema="trading",
    )
    op.create_index("ix_indicators_date", "indicators", ["date"], unique=False, schema="trading")
    op.create_table(
        "ohlcv_1d",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("open", sa.Double(), nullable=False),
        sa.Column("high", sa.Double(), nullable=False),
        sa.Column("low", sa.Double(), nullable=False),
        sa.Column("close", sa.Double(), nullable=False),
        sa.Column("volume", sa.Double(), nullable=False),
        sa.Column("quote_volume", sa.Double(), nullable=True),
        sa.Column("trades", sa.BigInteger(), nullable=False),
        sa.Column("taker_buy_volume", sa.Double(), nullable=True),
        sa.Column("taker_buy_quote_volume", sa.Double(), nullable=True),
        sa.Column("row_hash", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "date"),
        schema="trading",
    )
    op.create_index("ix_ohlcv_1d_date", "ohlcv_1d", ["date"], unique=False, schema="trading")
    op.create_table(
        "quarantine",
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=True),
        sa.Column("date", sa.Date(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("raw", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("quarantined_at", sa.DateTime(timezone=True), nullable=False),
        schema="trading",
    )
    op.create_index(
        "ix_quarantine_table_name_symbol_date",
        "quarantine",
        ["table_name", "symbol", "date"],
        unique=False,
        schema="trading",
    )
    op.create_table(
        "regression_bands",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("close", sa.Double(), nullable=True),
        sa.Column("fitted_price", sa.Double(), nullable=True),
        sa.Column("upper_band", sa.Double(), nullable=True),
        sa.Column("lower_band", sa.Double(), nullable=True),
        sa.Column("resid_std", sa.Double(), nullable=True),
        sa.Column("z_score", sa.Double(), nullable=True),
        sa.Column("slope_pct_per_day", sa.Double(), nullable=True),
        sa.Column("n_obs", sa.BigInteger(), nullable=False),
        sa.Column("r_squared", sa.Double(), nullable=True),
        sa.Column("window_start", sa.Date(), nullable=True),
        sa.Column("input_hash", sa.Text(), nullable=False),
        sa.Column("params_hash", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "date"),
        schema="trading",
    )
    op.create_index(
        "ix_regression_bands_date", "regression_bands", ["date"], unique=False, schema="trading"
    )
    op.create_table(
        "signals",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("signal", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("close", sa.Double(), nullable=True),
        sa.Column("fitted_price", sa.Double(), nullable=True),
        sa.Column("upper_band", sa.Double(), nullable=True),
        sa.Column("lower_band", sa.Double(), nullable=True),
        sa.Column("z_score", sa.Double(), nullable=True),
        sa.Column("potential_return_pct", sa.Double(), nullable=True),
        sa.Column("band_width_pct", sa.Double(), nullable=True),
        sa.Column("target_return_pct", sa.Double(), nullable=True),
        sa.Column("risk_level", sa.Text(), nullable=True),
        sa.Column("volatility_level", sa.Text(), nullable=True),
        sa.Column("trend", sa.Text(), nullable=True),
        sa.Column("confirmations", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("signal_strength", sa.Double(), nullable=False),
        sa.Column("is_member", sa.Boolean(), nullable=True),
        sa.Column("universe_rank", sa.BigInteger(), nullable=True),
        sa.Column("input_hash", sa.Text(), nullable=False),
        sa.Column("params_hash", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "date"),
        schema="trading",
    )
    op.create_index("ix_signals_date", "signals", ["date"], unique=False, schema="trading")
    op.create_table(
        "universe",
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("base_asset", sa.Text(), nullable=False),
        sa.Column("quote_volume", sa.Double(), nullable=True),
        sa.Column("quote_volume_median_30d", sa.Double(), nullable=False),
        sa.Column("volatility_30d_pct", sa.Double(), nullable=True),
        sa.Column("n_candles_30d", sa.BigInteger(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=True),
        sa.Column("is_eligible", sa.Boolean(), nullable=False),
        sa.Column("exclusion_reason", sa.Text(), nullable=True),
        sa.Column("is_member", sa.Boolean(), nullable=False),
        sa.Column("is_complete", sa.Boolean(), nullable=False),
        sa.Column("input_hash", sa.Text(), nullable=False),
        sa.Column("params_hash", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("date", "symbol"),
        schema="trading",
    )


def downgrade() -> None:
    op.drop_table("universe", schema="trading")
    op.drop_index("ix_signals_date", table_name="signals", schema="trading")
    op.drop_table("signals", schema="trading")
    op.drop_index("ix_regression_bands_date", table_name="regression_bands", schema="trading")
    op.drop_table("regression_bands", schema="trading")
    op.drop_index("ix_quarantine_table_name_symbol_date", table_name="quarantine", schema="trading")
    op.drop_table("quarantine", schema="trading")
    op.drop_index("ix_ohlcv_1d_date", table_name="ohlcv_1d", schema="trading")
    op.drop_table("ohlcv_1d", schema="trading")
    op.drop_index("ix_indicators_date", table_name="indicators", schema="trading")
    op.drop_table("indicators", schema="trading")
    op.drop_table("fetch_log", schema="trading")
    op.drop_table("correlation_matrix", schema="trading")
    op.drop_index("ix_asset_analytics_date", table_name="asset_analytics", schema="trading")
    op.drop_table("asset_analytics", schema="trading")
    op.drop_table("analysis_summary", schema="trading")
    op.drop_index("ix_alerts_date", table_name="alerts", schema="trading")
    op.drop_table("alerts", schema="trading")
