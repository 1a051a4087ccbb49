"""Tables of candles of other intervals than a day: one model, one table for each interval."""

from autonama_dagster.schemas.base import (
    Day,
    Instant,
    Table,
    TableModel,
    Text,
    day,
    instant,
    symbol_column,
)
from autonama_dagster.schemas.tables.market import Candle, Strings


class SymbolTime(TableModel):
    """Key of the candles, and the partition it lies in."""

    symbol: Text = symbol_column()
    date: Day = day("UTC day on which the candle closes: its partition.")
    open_time: Instant = instant("When the candle opens.")


# The class named last gives the first columns.
class IntervalCandle(Candle, SymbolTime):
    """Closed candles of an interval, one row per symbol and open time."""


class Ohlcv15m(Strings, IntervalCandle):
    """Closed 15-minute candles as the exchange sent them, for AUTONAMA_INTRADAY_SYMBOLS."""


class Ohlcv1h(Strings, IntervalCandle):
    """Closed hourly candles as the exchange sent them, for AUTONAMA_INTRADAY_SYMBOLS."""


class Ohlcv4h(IntervalCandle):
    """Four-hour candles aggregated from the stored hourly ones, for days fetched completely."""


class Ohlcv1w(IntervalCandle):
    """Weekly candles, Monday to Sunday, aggregated from the stored daily ones of closed weeks."""


def _table(interval: str, model: type[IntervalCandle]) -> Table:
    return Table(
        f"ohlcv_{interval}",
        model,
        ("symbol", "open_time"),
        "date_symbol",
        keep_absent=True,
        stamped=("run_id",),
    )


OHLCV_15M = _table("15m", Ohlcv15m)
OHLCV_1H = _table("1h", Ohlcv1h)
OHLCV_4H = _table("4h", Ohlcv4h)
OHLCV_1W = _table("1w", Ohlcv1w)
INTRADAY = (OHLCV_15M, OHLCV_1H, OHLCV_4H, OHLCV_1W)
