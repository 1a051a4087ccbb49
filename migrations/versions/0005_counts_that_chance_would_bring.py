"""Counts that chance would bring"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

EXPECTED = (
    "expected_buy_signals",
    "expected_sell_signals",
    "expected_high_correlations",
    "expected_linked_pairs",
)


def upgrade() -> None:
    for name in EXPECTED:
        op.add_column(
            "analysis_summary", sa.Column(name, sa.Double(), nullable=True), schema="trading"
        )
    op.add_column(
        "analysis_summary",
        sa.Column("chance_analysis", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        schema="trading",
    )
    op.create_table(
        "signal_chance",
        sa.Column("window_hash", sa.Text(), nullable=False),
        sa.Column("params_hash", sa.Text(), nullable=False),
        sa.Column("p_buy", sa.Double(), nullable=False),
        sa.Column("p_sell", sa.Double(), nullable=False),
        sa.Column("n_surrogates", sa.BigInteger(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("window_hash", "params_hash"),
        schema="trading",
    )


def downgrade() -> None:
    op.drop_table("signal_chance", schema="trading")
    for name in ("chance_analysis", *reversed(EXPECTED)):
        op.drop_column("analysis_summary", name, schema="trading")
