"""Tables of the market stage: universe, candles, and what was asked of the exchange."""

from autonama_dagster.schemas.base import (
    Day,
    Flag,
    Float,
    Instant,
    Integer,
    NullableInteger,
    Provenance,
    Table,
    TableModel,
    Text,
    column,
    day,
    instant,
    symbol_column,
)
from autonama_dagster.text.sources import SOURCES

CONFLICTING = "conflicting"
EXCLUSIONS = ("excluded", "no_candle", "zero_volume", "copied", "leveraged", "stable", "fiat")


class Universe(Provenance):
    """Candidates of each day with their rank by 30-day median quote volume; members are scanned."""

    date: Day = day("UTC day the ranking is for.")
    symbol: Text = symbol_column()
    base_asset: Text = column("Base asset of the pair, e.g. BTC.")
    quote_volume: Float = column("Quote volume of the day in USDT.", nullable=True, ge=0)
    quote_volume_median_30d: Float = column(
        "Median daily quote volume of the 30 calendar days up to the day; a missing day "
        "counts as 0.",
        ge=0,
    )
    volatility_30d_pct: Float = column(
        "Standard deviation of 30 days of daily log returns x sqrt(365) x 100.",
        nullable=True,
        ge=0,
    )
    n_candles_30d: Integer = column("Candles in the 30 calendar days up to the day.", ge=1, le=30)
    rank: NullableInteger = column(
        "Rank by median quote volume among eligible pairs, 1 is the largest; NULL if not eligible.",
        nullable=True,
        ge=1,
    )
    is_eligible: Flag = column("True unless an exclusion applies.")
    exclusion_reason: Text = column(
        "Why the pair is not eligible.", nullable=True, isin=list(EXCLUSIONS)
    )
    is_member: Flag = column(
        "True for the top `universe_size` ranks, and for pairs that are always scanned."
    )
    is_complete: Flag = column(
        "False where the source does not list pairs delisted since (survivorship bias possible)."
    )


class Candle(TableModel):
    """What a candle is, whatever its interval and its key."""

    open: Float = column("Opening price in USDT.", gt=0)
    high: Float = column("Highest price in USDT.", gt=0)
    low: Float = column("Lowest price in USDT.", gt=0)
    close: Float = column("Closing price in USDT.", gt=0)
    volume: Float = column("Volume in the base asset.", ge=0)
    quote_volume: Float = column("Volume in USDT.", nullable=True, ge=0)
    trades: Integer = column("Number of trades (0 if the source does not report it).", ge=0)
    taker_buy_volume: Float = column("Taker buy volume in the base asset.", nullable=True, ge=0)
    taker_buy_quote_volume: Float = column("Taker buy volume in USDT.", nullable=True, ge=0)
    row_hash: Text = column(
        "SHA-256 of the candle as the exchange sent it, with times in milliseconds; of one made "
        "from others, of their digests.",
        str_matches=r"^[0-9a-f]{64}$",
    )
    source: Text = column("Where the candle came from.", isin=list(SOURCES))
    exchange: Text = column(
        "Exchange on whose market the candle was traded, whatever its source. A table holds the "
        "candles of one exchange."
    )
    fetched_at: Instant = instant("The exchange's server time when the candle was fetched.")
    run_id: Text = column("Dagster run that stored the candle.")


class Strings(TableModel):
    """What fetched candles have beside candles that are made from others."""

    raw: Text = column(
        "The exchange's own strings: open, high, low, close, volume, quote volume, trades, and the "
        "taker buy volumes, joined by commas. As SQL keeps it, each character is half a byte; as "
        "text: rtrim(translate(encode(raw, 'hex'), 'abcdef', '.,-+eE'), ','). NULL: fetched by a "
        "version that did not keep them.",
        nullable=True,
        sql="packed",
        str_matches=r"^[0-9.,+eE-]+$",
    )


class SymbolDay(TableModel):
    """Key of the daily candles."""

    symbol: Text = symbol_column()
    date: Day = day("UTC day of the candle.")


# The class named last gives the first columns.
class Ohlcv1d(Strings, Candle, SymbolDay):
    """Closed daily candles as the exchange sent them, one row per symbol and UTC day."""


class FetchLog(TableModel):
    """Requests to exchanges and their outcome: one row per exchange, symbol, range and run."""

    exchange: Text = column("Exchange that was asked.")
    symbol: Text = symbol_column()
    interval: Text = column("Candle interval, e.g. 1d.")
    from_date: Day = day("First day requested.")
    to_date: Day = day("Last day requested.")
    asked_at: Instant = instant("The exchange's server time when the request was made.")
    outcome: Text = column(
        "ok: candles received; empty: the exchange has none in the range; failed: see `message`.",
        isin=["ok", "empty", "failed"],
    )
    candles: Integer = column("Candles received, including invalid ones.", ge=0)
    message: Text = column("Why it failed.", nullable=True)
    fault: Text = column(
        "conflicting: the answer contained two different candles for one time; NULL: any other "
        "outcome.",
        nullable=True,
        isin=[CONFLICTING],
    )
    fault_date: Day = day("UTC day on which the candles of the fault open.", nullable=True)
    origins: Text = column(
        "API calls and files the candles came from, as a JSON array: source, first and last day, "
        "and the call, or the file and its SHA-256.",
        nullable=True,
        sql="jsonb",
    )
    run_id: Text = column("Dagster run that made the request.")


class Quarantine(TableModel):
    """Rows rejected by a table's checks, each with the reason."""

    table_name: Text = column("Table that rejected the row.")
    exchange: Text = column(
        "Exchange that the row was fetched from; NULL if it was computed.", nullable=True
    )
    symbol: Text = column("Symbol of the row.", nullable=True)
    date: Day = day("Day of the row.", nullable=True)
    reason: Text = column("What is wrong with the row.")
    raw: Text = column("The row as received, as JSON.", sql="jsonb")
    run_id: Text = column("Dagster run that received the row.")
    quarantined_at: Instant = instant("When the row was rejected.")


UNIVERSE = Table(
    "universe", Universe, ("date", "symbol"), "date", stamped=("run_id", "computed_at")
)
OHLCV_1D = Table(
    "ohlcv_1d", Ohlcv1d, ("symbol", "date"), "date_symbol", keep_absent=True, stamped=("run_id",)
)
FETCH_LOG = Table(
    "fetch_log",
    FetchLog,
    ("exchange", "symbol", "interval", "from_date", "to_date", "run_id"),
)
QUARANTINE = Table("quarantine", Quarantine, ())
