"""Verifications, and the view signal_lineage: views are made anew after every migration"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

KINDS = ("look_ahead", "code", "parameters", "data", "platform", "row")


def upgrade() -> None:
    op.create_table(
        "verifications",
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("first_date", sa.Date(), nullable=False),
        sa.Column("last_date", sa.Date(), nullable=False),
        sa.Column("symbols", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("mismatches", sa.BigInteger(), nullable=False),
        *(sa.Column(f"{kind}_mismatches", sa.BigInteger(), nullable=False) for kind in KINDS),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("verified_at", "table_name"),
        schema="trading",
    )


def downgrade() -> None:
    op.drop_table("verifications", schema="trading")
