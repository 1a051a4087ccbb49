"""Stages `ohlcv_1d` and `ohlcv_1d_history`: closed daily candles, one table for both.

Partitions begin at the start date; the candles that the first windows need from before it are the
history, partitioned by symbol.
"""

from datetime import timedelta

import dagster as dg

from assets.stage import day_scope, run_scope, stage
from autonama_dagster.days import DAY, parse_day
from autonama_dagster.schemas.tables.market import OHLCV_1D
from autonama_dagster.settings import Settings
from resources.exchange.base import CandleSource
from resources.exchange.feed import Fetched, fetch_daily, refuse_mixture
from resources.warehouse.candle_queries import any_source
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch, Warehouse

KINDS = frozenset({"binance", "postgres"})


class HistoryConfig(dg.Config):
    """How far back the history goes."""

    first_date: str | None = None
    """First day to store, YYYY-MM-DD; default: the start of the first partition's window."""


@stage("market", OHLCV_1D, "symbol", job="history_job", kinds=KINDS)
def ohlcv_1d_history(
    context: dg.AssetExecutionContext,
    config: HistoryConfig,
    binance: dg.ResourceParam[CandleSource],
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
) -> Batch:
    """Daily candles before the start date that the first windows need, one partition per symbol."""
    default = settings.start_date - timedelta(days=settings.lookback - 1)
    first = parse_day(config.first_date, "first_date") if config.first_date else default
    symbols = run_scope(context).symbols or ()
    last = settings.start_date - DAY
    asked = Scope(tuple(symbols), first, last)
    return _batch(warehouse, fetch_daily(binance, symbols, first, last), asked)


@stage("market", OHLCV_1D, "date_symbol", job="symbols_job", kinds=KINDS)
def ohlcv_1d(
    context: dg.AssetExecutionContext,
    binance: dg.ResourceParam[CandleSource],
    warehouse: dg.ResourceParam[Warehouse],
) -> Batch:
    """Closed daily candles of each registered symbol and day."""
    scope = day_scope(context)
    fetched = fetch_daily(binance, scope.symbols or (), scope.first, scope.last)
    return _batch(warehouse, fetched)


def _batch(warehouse: Warehouse, fetched: Fetched, asked: Scope | None = None) -> Batch:
    refuse_mixture(any_source(warehouse), fetched.frame)
    return Batch.of(fetched, asked)
