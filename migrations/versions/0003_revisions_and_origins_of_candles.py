"""Revisions and origins of candles"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ohlcv_15m_revisions",
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
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_to", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "open_time", "revision"),
        schema="trading",
    )
    op.create_index(
        "ix_ohlcv_15m_revisions_valid_to",
        "ohlcv_15m_revisions",
        ["valid_to"],
        unique=False,
        schema="trading",
    )
    op.create_table(
        "ohlcv_1d_revisions",
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
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_to", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "date", "revision"),
        schema="trading",
    )
    op.create_index(
        "ix_ohlcv_1d_revisions_valid_to",
        "ohlcv_1d_revisions",
        ["valid_to"],
        unique=False,
        schema="trading",
    )
    op.create_table(
        "ohlcv_1h_revisions",
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
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_to", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "open_time", "revision"),
        schema="trading",
    )
    op.create_index(
        "ix_ohlcv_1h_revisions_valid_to",
        "ohlcv_1h_revisions",
        ["valid_to"],
        unique=False,
        schema="trading",
    )
    op.add_column(
        "fetch_log",
        sa.Column("origins", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        schema="trading",
    )


def downgrade() -> None:
    op.drop_column("fetch_log", "origins", schema="trading")
    op.drop_index(
        "ix_ohlcv_15m_revisions_valid_to", table_name="ohlcv_15m_revisions", schema="trading"
    )
    op.drop_table("ohlcv_15m_revisions", schema="trading")
    op.drop_index(
        "ix_ohlcv_1d_revisions_valid_to", table_name="ohlcv_1d_revisions", schema="trading"
    )
    op.drop_table("ohlcv_1d_revisions", schema="trading")
    op.drop_index(
        "ix_ohlcv_1h_revisions_valid_to", table_name="ohlcv_1h_revisions", schema="trading"
    )
    op.drop_table("ohlcv_1h_revisions", schema="trading")
