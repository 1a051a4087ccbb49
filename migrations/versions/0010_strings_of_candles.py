"""The exchange's own strings of fetched candles"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

FETCHED = ("ohlcv_1d", "ohlcv_15m", "ohlcv_1h")
TABLES = (*FETCHED, *(f"{name}_revisions" for name in FETCHED))


def upgrade() -> None:
    for name in TABLES:
        op.add_column(name, sa.Column("raw", sa.LargeBinary(), nullable=True), schema="trading")


def downgrade() -> None:
    for name in reversed(TABLES):
        op.drop_column(name, "raw", schema="trading")
