"""Tables of the decision stage: signals, and the two per-symbol summary tables."""

from autonama_dagster.schemas.base import (
    Day,
    Float,
    Instant,
    Integer,
    NullableFlag,
    NullableInteger,
    Provenance,
    Table,
    Text,
    TextList,
    column,
    day,
    instant,
    symbol_column,
)
from autonama_dagster.schemas.tables.analysis import QUALITY, STATUSES

SIGNALS = ("BUY", "SELL", "HOLD")
LEVELS = ("LOW", "MEDIUM", "HIGH")
TRENDS = ("BULLISH", "BEARISH", "NEUTRAL")
JUDGED = (*STATUSES, "QUARANTINED")


class Signals(Provenance):
    """BUY, SELL or HOLD for every registered symbol and day, with its confirmations."""

    symbol: Text = symbol_column()
    date: Day = day("UTC day of the signal, which is known once the day has closed.")
    signal: Text = column(
        "BUY: close below the channel; SELL: above; HOLD: inside, or not evaluated.",
        isin=list(SIGNALS),
    )
    status: Text = column(
        "OK, INSUFFICIENT_DATA, NO_DATA, or QUARANTINED: the window contains bad data.",
        isin=list(JUDGED),
    )
    quality: Text = column(
        "Worst finding of `data_quality` in the window that ends on the day.",
        nullable=True,
        isin=list(QUALITY),
    )
    close: Float = column("Close of the day in USDT.", nullable=True, gt=0)
    fitted_price: Float = column("Centre of the channel on the day.", nullable=True)
    upper_band: Float = column("Upper edge of the channel on the day.", nullable=True)
    lower_band: Float = column("Lower edge of the channel on the day.", nullable=True)
    z_score: Float = column(
        "Distance of the close from the centre, in units of resid_std.", nullable=True
    )
    potential_return_pct: Float = column(
        "BUY (U-L)/L x 100, SELL (U-L)/U x 100, HOLD 0: the channel's width, not a forecast.",
        nullable=True,
    )
    band_width_pct: Float = column("(U-L)/L x 100.", nullable=True)
    target_return_pct: Float = column(
        "From the close to the far edge: BUY (U-close)/close, SELL (close-L)/close, x 100.",
        nullable=True,
    )
    risk_level: Text = column(
        "From potential_return_pct for BUY and SELL: LOW < 10, MEDIUM 10 to 20, HIGH > 20.",
        nullable=True,
        isin=list(LEVELS),
    )
    volatility_level: Text = column(
        "From volatility_30d_pct: LOW < 60, MEDIUM 60 to 120, HIGH > 120.",
        nullable=True,
        isin=list(LEVELS),
    )
    trend: Text = column(
        "BULLISH: ema_21 > ema_50 and close > ema_50; BEARISH: both below; else NEUTRAL.",
        nullable=True,
        isin=list(TRENDS),
    )
    confirmations: TextList = column(
        "Indicator conditions that hold on the day, for or against the signal.", sql="text[]"
    )
    signal_strength: Float = column(
        "0..100, HOLD 0: depth outside the channel plus agreeing confirmations; not a probability.",
        ge=0,
        le=100,
    )
    is_member: NullableFlag = column(
        "Member of the day's universe; NULL if no universe is stored for the day.",
        nullable=True,
    )
    universe_rank: NullableInteger = column("Rank in the day's universe.", nullable=True, ge=1)


class AssetAnalytics(Provenance):
    """Analytics of each symbol and day: levels, trend; indicators, channel and signal as JSON."""

    symbol: Text = symbol_column()
    date: Day = day("UTC day.")
    analysis_date: Instant = instant("Close of the day: 00:00 UTC on the next day.")
    status: Text = column(
        "OK, INSUFFICIENT_DATA, NO_DATA, or QUARANTINED: the window contains bad data.",
        isin=list(JUDGED),
    )
    current_price: Float = column("Close of the day in USDT.", nullable=True, sql="money", gt=0)
    price_change_24h: Float = column("Change of the close in percent.", nullable=True)
    volatility: Float = column("30-day volatility, annualised, in percent.", nullable=True)
    trend: Text = column("BULLISH, BEARISH or NEUTRAL.", nullable=True, isin=list(TRENDS))
    support_level: Float = column(
        "Nearest confirmed pivot level below the close.", nullable=True, sql="money"
    )
    resistance_level: Float = column(
        "Nearest confirmed pivot level above the close.", nullable=True, sql="money"
    )
    volume_ratio: Float = column("Volume / mean volume of the previous 20 candles.", nullable=True)
    technical_indicators: Text = column("Indicators of the day.", nullable=True, sql="jsonb")
    polynomial_regression: Text = column("Channel of the day.", nullable=True, sql="jsonb")
    signal_analysis: Text = column("Signal of the day.", nullable=True, sql="jsonb")
    data_points: Integer = column("Candles in the window.", ge=0)
    analysis_period_days: Integer = column("Calendar days of the window.", ge=1)
    created_at: Instant = instant("When the row was written.")


class Alerts(Provenance):
    """One row per registered symbol and day, HOLD included, for notifiers."""

    symbol: Text = symbol_column()
    date: Day = day("UTC day.")
    interval: Text = column("Candle interval.", isin=["1d"])
    signal: Text = column("BUY, SELL or HOLD.", isin=list(SIGNALS))
    status: Text = column(
        "OK, INSUFFICIENT_DATA, NO_DATA, or QUARANTINED: the window contains bad data.",
        isin=list(JUDGED),
    )
    current_price: Float = column("Close of the day in USDT.", nullable=True, sql="money", gt=0)
    upper_band: Float = column("Upper edge of the channel.", nullable=True, sql="money")
    lower_band: Float = column("Lower edge of the channel.", nullable=True, sql="money")
    potential_return: Float = column("potential_return_pct of the signal.", nullable=True)
    signal_strength: Float = column("0..100, HOLD 0.", ge=0, le=100)
    risk_level: Text = column("LOW, MEDIUM or HIGH.", nullable=True, isin=list(LEVELS))
    confirmations: TextList = column(
        "Indicator conditions that hold on the day, for or against the signal.", sql="text[]"
    )
    technical_indicators: Text = column("Indicators of the day.", nullable=True, sql="jsonb")
    polynomial_regression: Text = column("Channel of the day.", nullable=True, sql="jsonb")
    analysis_date: Instant = instant("Close of the day: 00:00 UTC on the next day.")
    created_at: Instant = instant("When the row was written; recomputing replaces it.")
    updated_at: Instant = instant("Same as created_at; kept for readers of the old table.")


_STAMPS = ("run_id", "computed_at", "created_at")

SIGNALS_TABLE = Table(
    "signals", Signals, ("symbol", "date"), "date_symbol", stamped=("run_id", "computed_at")
)
ASSET_ANALYTICS = Table(
    "asset_analytics", AssetAnalytics, ("symbol", "date"), "date_symbol", stamped=_STAMPS
)
ALERTS = Table(
    "alerts", Alerts, ("symbol", "date"), "date_symbol", stamped=(*_STAMPS, "updated_at")
)
