"""Verifications count rows that are missing and rows that are extra"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

KINDS = ("missing", "extra")


def upgrade() -> None:
    for kind in KINDS:
        column = sa.Column(
            f"{kind}_mismatches", sa.BigInteger(), nullable=False, server_default="0"
        )
        op.add_column("verifications", column, schema="trading")
        op.alter_column(
            "verifications", f"{kind}_mismatches", server_default=None, schema="trading"
        )


def downgrade() -> None:
    for kind in KINDS:
        op.drop_column("verifications", f"{kind}_mismatches", schema="trading")
