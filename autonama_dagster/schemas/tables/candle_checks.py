"""Table of stored candles that were asked for again, and of what came out."""

from typing import Final

from autonama_dagster.schemas.base import (
    Day,
    Instant,
    Table,
    TableModel,
    Text,
    column,
    day,
    instant,
    symbol_column,
)

CONFIRMED: Final = "confirmed"
REVISED: Final = "revised"
MISSING: Final = "missing"
FAILED: Final = "failed"
OUTCOMES: Final = (CONFIRMED, REVISED, MISSING, FAILED)


class CandleChecks(TableModel):
    """Stored daily candles that were requested again, to see whether the exchange still has them.

    A few are drawn every day: docs/revisions.md.
    """

    asked_at: Instant = instant("The exchange's server time when the candle was requested again.")
    symbol: Text = symbol_column()
    date: Day = day("UTC day of the candle.")
    outcome: Text = column(
        "confirmed: the exchange sent what is stored; revised: it sent another candle, which is "
        "stored now, with the old one in `ohlcv_1d_revisions`; missing: it has no such candle any "
        "more; failed: see `message`.",
        isin=list(OUTCOMES),
    )
    message: Text = column("Why it failed.", nullable=True)
    run_id: Text = column("Dagster run that made the request.")


CANDLE_CHECKS = Table("candle_checks", CandleChecks, ("asked_at", "symbol", "date"))
