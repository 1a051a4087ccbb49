"""Tables of the analysis stage: indicators, channels and correlations."""

from math import isfinite
from typing import Any

from autonama_dagster.analytics.scan.indicators.indicators import INDICATORS, Indicator
from autonama_dagster.schemas.base import (
    Day,
    Flag,
    Float,
    Integer,
    Provenance,
    Table,
    TableModel,
    Text,
    TextList,
    column,
    day,
    symbol_column,
)

STATUSES = ("OK", "INSUFFICIENT_DATA", "NO_DATA")
QUALITY = ("OK", "INFO", "WARNING", "ERROR")


class _IndicatorKey(Provenance):
    symbol: Text = symbol_column()
    date: Day = day("UTC day.")


def _bounds(indicator: Indicator) -> dict[str, Any]:
    bounds = {"ge": indicator.minimum, "le": indicator.maximum}
    return {check: value for check, value in bounds.items() if isfinite(value)}


def _indicators_model() -> type[TableModel]:
    """The model of `indicators`: a nullable column per entry of the analytics' registry."""
    fields = {i.name: column(i.description, nullable=True, **_bounds(i)) for i in INDICATORS}
    doc = "Technical indicators of each symbol and day, each computed from its window alone."
    namespace = {
        "__module__": __name__,
        "__doc__": doc,
        "__annotations__": dict.fromkeys(fields, Float),
        **fields,
    }
    return type("Indicators", (_IndicatorKey,), namespace)


class RegressionBands(Provenance):
    """Each day's own polynomial regression channel; later fits never change it."""

    symbol: Text = symbol_column()
    date: Day = day("UTC day of the channel; the fit uses nothing later.")
    status: Text = column(
        "OK; INSUFFICIENT_DATA: too few candles in the window; NO_DATA: no candle on the day.",
        isin=list(STATUSES),
    )
    close: Float = column("Close of the day in USDT.", nullable=True, gt=0)
    fitted_price: Float = column("Centre of the channel on the day.", nullable=True)
    upper_band: Float = column("Upper edge of the channel on the day.", nullable=True)
    lower_band: Float = column("Lower edge of the channel on the day.", nullable=True)
    resid_std: Float = column(
        "Residual standard deviation, ddof = degree + 1 (log units; USDT on the linear scale).",
        nullable=True,
        ge=0,
    )
    z_score: Float = column(
        "Distance of the close from the centre, in units of resid_std.", nullable=True
    )
    slope_pct_per_day: Float = column(
        "Slope of the centre on the day, in percent per day.", nullable=True
    )
    n_obs: Integer = column("Candles in the window.", ge=0)
    r_squared: Float = column(
        "Share of the variance of the (log) closes that the fit explains.", nullable=True, le=1
    )
    window_start: Day = day("Day of the window's first candle.", nullable=True)


class DataQuality(Provenance):
    """Data quality of each symbol's day and of the window that ends on it."""

    symbol: Text = symbol_column()
    date: Day = day("UTC day.")
    severity: Text = column(
        "Worst finding of the day itself: OK, INFO, WARNING or ERROR; NULL if its window has not "
        "been fetched completely.",
        nullable=True,
        isin=list(QUALITY),
    )
    window_severity: Text = column(
        "Worst finding in the window that ends on the day; ERROR quarantines its signal.",
        nullable=True,
        isin=list(QUALITY),
    )
    findings: TextList = column("Rules with a finding on the day.", sql="text[]")
    details: Text = column(
        "Severity and evidence by rule; NULL if there are no findings.",
        nullable=True,
        sql="jsonb",
    )


class CorrelationMatrix(Provenance):
    """Correlations of daily log returns over 90 days between the members of each day, a < b."""

    date: Day = day("UTC day.")
    symbol_a: Text = symbol_column()
    symbol_b: Text = symbol_column()
    pearson: Float = column(
        "Pearson correlation of the returns; NULL with fewer than 60 common days.", nullable=True
    )
    spearman: Float = column("Spearman rank correlation of the returns.", nullable=True)
    residual_pearson: Float = column(
        "Pearson correlation of the residuals after regressing each on the members' mean return.",
        nullable=True,
    )
    n_obs: Integer = column("Daily returns in common.", ge=0)
    is_high: Flag = column("|pearson| >= 0.7.")
    is_linked: Flag = column("|residual_pearson| >= 0.5: correlated beyond the common market move.")


INDICATORS_TABLE = Table(
    "indicators",
    _indicators_model(),
    ("symbol", "date"),
    "date_symbol",
    stamped=("run_id", "computed_at"),
)
REGRESSION_BANDS = Table(
    "regression_bands",
    RegressionBands,
    ("symbol", "date"),
    "date_symbol",
    stamped=("run_id", "computed_at"),
)
DATA_QUALITY = Table(
    "data_quality",
    DataQuality,
    ("symbol", "date"),
    "date_symbol",
    stamped=("run_id", "computed_at"),
)
CORRELATION_MATRIX = Table(
    "correlation_matrix",
    CorrelationMatrix,
    ("date", "symbol_a", "symbol_b"),
    "date",
    stamped=("run_id", "computed_at"),
)
