"""Stages `ohlcv_15m`, `ohlcv_1h`, `ohlcv_4h` and `ohlcv_1w`: closed candles of other intervals.

Only the symbols of the setting `AUTONAMA_INTRADAY_SYMBOLS` have them; for others nothing is asked
and nothing is made. Partition D holds the candles that close on UTC day D, so a week lies in the
partition of its Sunday.
"""

from datetime import date

import dagster as dg

from assets.stage import day_scope, stage
from autonama_dagster.analytics.candles.intervals import MADE_FROM
from autonama_dagster.schemas.tables.intraday import OHLCV_1H, OHLCV_1W, OHLCV_4H, OHLCV_15M
from autonama_dagster.services.inputs.longer_candles import candles_made
from autonama_dagster.settings import Settings
from resources.exchange.base import CandleSource
from resources.exchange.feed import fetch_candles, refuse_mixture
from resources.warehouse.candle_queries import any_source
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch, Warehouse

KINDS = frozenset({"binance", "postgres"})


@stage("market", OHLCV_15M, "date_symbol", job="intraday_job", kinds=KINDS)
def ohlcv_15m(
    context: dg.AssetExecutionContext,
    binance: dg.ResourceParam[CandleSource],
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
) -> Batch:
    """Closed 15-minute candles of AUTONAMA_INTRADAY_SYMBOLS, by the day they open on."""
    return _fetched("15m", context, binance, warehouse, settings)


@stage("market", OHLCV_1H, "date_symbol", job="intraday_job", kinds=KINDS)
def ohlcv_1h(
    context: dg.AssetExecutionContext,
    binance: dg.ResourceParam[CandleSource],
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
) -> Batch:
    """Closed hourly candles of AUTONAMA_INTRADAY_SYMBOLS, by the day they open on."""
    return _fetched("1h", context, binance, warehouse, settings)


@stage("market", OHLCV_4H, "date_symbol", job="intraday_job", deps=("ohlcv_1h",))
def ohlcv_4h(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
) -> Batch:
    """Four-hour candles of AUTONAMA_INTRADAY_SYMBOLS, aggregated from hourly candles."""
    return _made("4h", context, warehouse, settings)


@stage("market", OHLCV_1W, "date_symbol", job="intraday_job", deps=("ohlcv_1d", "ohlcv_1d_history"))
def ohlcv_1w(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
) -> Batch:
    """Weekly candles of AUTONAMA_INTRADAY_SYMBOLS, in the partition of the week's last day."""
    return _made("1w", context, warehouse, settings)


def _chosen(context: dg.AssetExecutionContext, settings: Settings) -> tuple[Scope, date, date]:
    """The run's days, and those of its symbols that have candles of other intervals."""
    scope = day_scope(context)
    wanted = set(settings.intraday_symbols)
    symbols = tuple(s for s in scope.symbols or () if s in wanted)
    if not symbols:
        context.log.warning(
            "nothing to do: none of this run's symbols is in AUTONAMA_INTRADAY_SYMBOLS"
        )
    return Scope(symbols, scope.first, scope.last), scope.first, scope.last


def _fetched(
    interval: str,
    context: dg.AssetExecutionContext,
    exchange: CandleSource,
    warehouse: Warehouse,
    settings: Settings,
) -> Batch:
    scope, first, last = _chosen(context, settings)
    fetched = fetch_candles(exchange, scope.symbols or (), interval, first, last)
    refuse_mixture(any_source(warehouse), fetched.frame)
    # A symbol that is not asked for keeps what it has, its quarantine too.
    return Batch.of(fetched, asked=scope)


def _made(
    interval: str, context: dg.AssetExecutionContext, warehouse: Warehouse, settings: Settings
) -> Batch:
    scope, first, last = _chosen(context, settings)
    frame = candles_made(interval, scope.symbols or (), first, last, warehouse)
    if scope.symbols and frame.empty:
        context.log.warning(
            "no %s candles: either none closes on these days, or ohlcv_%s has not been fetched for "
            "all of their time; then materialise it first",
            interval,
            MADE_FROM[interval],
        )
    return Batch(frame, asked=scope)
