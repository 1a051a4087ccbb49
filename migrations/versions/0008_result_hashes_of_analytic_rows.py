"""Result hashes of analytic rows"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLES = (
    "universe",
    "data_quality",
    "indicators",
    "regression_bands",
    "signals",
    "correlation_matrix",
    "asset_analytics",
    "alerts",
    "analysis_summary",
)


def upgrade() -> None:
    for table in TABLES:
        column = sa.Column("result_hash", sa.Text(), nullable=True)
        op.add_column(table, column, schema="trading")


def downgrade() -> None:
    for table in TABLES:
        op.drop_column(table, "result_hash", schema="trading")
