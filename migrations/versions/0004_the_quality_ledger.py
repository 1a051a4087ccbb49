"""The quality ledger"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "data_quality",
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=True),
        sa.Column("window_severity", sa.Text(), nullable=True),
        sa.Column("findings", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("input_hash", sa.Text(), nullable=False),
        sa.Column("params_hash", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("symbol", "date"),
        schema="trading",
    )
    op.create_index("ix_data_quality_date", "data_quality", ["date"], schema="trading")
    op.add_column("signals", sa.Column("quality", sa.Text(), nullable=True), schema="trading")
    # Rows of before are made anew by the next scan: the version of the code is another.
    op.add_column(
        "analysis_summary",
        sa.Column("quarantined", sa.BigInteger(), nullable=False, server_default="0"),
        schema="trading",
    )
    op.alter_column("analysis_summary", "quarantined", server_default=None, schema="trading")


def downgrade() -> None:
    op.drop_column("analysis_summary", "quarantined", schema="trading")
    op.drop_column("signals", "quality", schema="trading")
    op.drop_index("ix_data_quality_date", table_name="data_quality", schema="trading")
    op.drop_table("data_quality", schema="trading")
