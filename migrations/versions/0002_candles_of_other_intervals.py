"""Candles of other intervals"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ohlcv_15m",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("open_time", sa.DateTime(timezone=True), nullable=False),
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
        sa.PrimaryKeyConstraint("symbol", "open_time"),
        schema="trading",
    )
    op.create_index("ix_ohlcv_15m_date", "ohlcv_15m", ["date"], unique=False, schema="trading")
    op.create_table(
        "ohlcv_1h",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("open_time", sa.DateTime(timezone=True), nullable=False),
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
        sa.PrimaryKeyConstraint("symbol", "open_time"),
        schema="trading",
    )
    op.create_index("ix_ohlcv_1h_date", "ohlcv_1h", ["date"], unique=False, schema="trading")
    op.create_table(
        "ohlcv_1w",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("open_time", sa.DateTime(timezone=True), nullable=False),
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
        sa.PrimaryKeyConstraint("symbol", "open_time"),
        schema="trading",
    )
    op.create_index("ix_ohlcv_1w_date", "ohlcv_1w", ["date"], unique=False, schema="trading")
    op.create_table(
        "ohlcv_4h",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("open_time", sa.DateTime(timezone=True), nullable=False),
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
        sa.PrimaryKeyConstraint("symbol", "open_time"),
        schema="trading",
    )
    op.create_index("ix_ohlcv_4h_date", "ohlcv_4h", ["date"], unique=False, schema="trading")


def downgrade() -> None:
    op.drop_index("ix_ohlcv_4h_date", table_name="ohlcv_4h", schema="trading")
    op.drop_table("ohlcv_4h", schema="trading")
    op.drop_index("ix_ohlcv_1w_date", table_name="ohlcv_1w", schema="trading")
    op.drop_table("ohlcv_1w", schema="trading")
    op.drop_index("ix_ohlcv_1h_date", table_name="ohlcv_1h", schema="trading")
    op.drop_table("ohlcv_1h", schema="trading")
    op.drop_index("ix_ohlcv_15m_date", table_name="ohlcv_15m", schema="trading")
    op.drop_table("ohlcv_15m", schema="trading")
