"""The exchange of candles, of requests and of rejected rows, and faults in the log of requests"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

FETCHED = ("ohlcv_1d", "ohlcv_15m", "ohlcv_1h")
CANDLES = (*FETCHED, "ohlcv_4h", "ohlcv_1w", *(f"{name}_revisions" for name in FETCHED))
KEY = ("symbol", "interval", "from_date", "to_date", "run_id")


def upgrade() -> None:
    # Until now there was one exchange. A constant default rewrites no row, whatever their number.
    for name in (*CANDLES, "fetch_log"):
        op.add_column(
            name,
            sa.Column("exchange", sa.Text(), nullable=False, server_default="binance"),
            schema="trading",
        )
        op.alter_column(name, "exchange", server_default=None, schema="trading")
    op.add_column("quarantine", sa.Column("exchange", sa.Text(), nullable=True), schema="trading")
    quarantine = sa.table(
        "quarantine", sa.column("exchange"), sa.column("table_name"), schema="trading"
    )
    fetched = quarantine.c.table_name.in_(("universe", *FETCHED))
    op.execute(quarantine.update().where(fetched).values(exchange="binance"))
    _replace_key(("exchange", *KEY))
    op.add_column("fetch_log", sa.Column("fault", sa.Text(), nullable=True), schema="trading")
    op.add_column("fetch_log", sa.Column("fault_date", sa.Date(), nullable=True), schema="trading")
    op.execute(
        """
        UPDATE trading.fetch_log
        SET fault = 'conflicting', fault_date = substring(
                message FROM 'two different [^ ]+ candles of ([0-9]{4}-[0-9]{2}-[0-9]{2}) '
            )::date
        WHERE outcome = 'failed'
          AND message ~ 'two different [^ ]+ candles of [0-9]{4}-[0-9]{2}-[0-9]{2} '
        """
    )


def downgrade() -> None:
    op.drop_column("fetch_log", "fault_date", schema="trading")
    op.drop_column("fetch_log", "fault", schema="trading")
    _replace_key(KEY)
    for name in ("quarantine", "fetch_log", *reversed(CANDLES)):
        op.drop_column(name, "exchange", schema="trading")


def _replace_key(columns: tuple[str, ...]) -> None:
    op.drop_constraint("fetch_log_pkey", "fetch_log", schema="trading")
    op.create_primary_key("fetch_log_pkey", "fetch_log", [*columns], schema="trading")
