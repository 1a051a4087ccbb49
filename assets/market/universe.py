"""Stage `universe`: which pairs are scanned on each day."""

from collections.abc import Sequence
from datetime import timedelta

import dagster as dg
import pandas as pd

from assets.partitions import register
from assets.stage import day_scope, stage
from autonama_dagster.analytics.scan.universe import WINDOW_DAYS
from autonama_dagster.errors import ExchangeError, InputError
from autonama_dagster.schemas.tables.market import UNIVERSE
from autonama_dagster.services.inputs.parameters import with_provenance
from autonama_dagster.services.inputs.ranking import ranked_days
from autonama_dagster.services.inputs.results import with_results
from autonama_dagster.settings import Settings
from resources.exchange.base import NOTHING_LISTED, Exchange
from resources.exchange.feed import fetch_daily, refuse_mixture
from resources.warehouse.candle_queries import RANKING, any_source, failed_fetches
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch, Warehouse

LISTED = 20
BY_NAME = ("excluded", "leveraged", "stable", "fiat")


def _require_known(settings: Settings, names: Sequence[str], warehouse: Warehouse) -> None:
    """Refuse an empty list of pairs, and a chosen pair not in it, unless it once was ranked."""
    if not names:
        raise ExchangeError(NOTHING_LISTED)
    chosen = {"AUTONAMA_SYMBOLS": settings.symbols, "AUTONAMA_EXCLUDE": settings.exclude}
    unknown = {s: name for name, pairs in chosen.items() for s in pairs if s not in set(names)}
    if not unknown:
        return
    once = set(warehouse.read("universe", Scope(tuple(unknown)), ("symbol",))["symbol"])
    for symbol in unknown.keys() - once:
        raise InputError(
            f"{unknown[symbol]} contains {symbol}, which is not a USDT spot pair on the exchange; "
            "remove it or fix the name (like BTCUSDT)"
        )


@stage(
    "market",
    UNIVERSE,
    "date",
    job="universe_job",
    kinds=frozenset({"binance", "postgres", "pandas"}),
)
def universe(
    context: dg.AssetExecutionContext,
    binance: dg.ResourceParam[Exchange],
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
) -> Batch:
    """Candidates of each day, ranked by their 30-day median quote volume.

    One klines call per candidate: 31 candles for a day, one call for a range of days.
    """
    scope = day_scope(context)
    symbols = binance.symbols()
    names = [s.symbol for s in symbols]
    _require_known(settings, names, warehouse)
    first = scope.first - timedelta(days=WINDOW_DAYS)
    fetched = fetch_daily(binance, names, first, scope.last)
    refuse_mixture(any_source(warehouse), fetched.frame)
    frame = ranked_days(
        settings, symbols, fetched, scope.first, scope.last, is_complete=binance.knows_delisted
    )
    members = frame[frame["is_member"]].sort_values(["date", "rank"])["symbol"]
    register(context.instance, members.unique().tolist())
    if binance.left_out:
        context.add_output_metadata(
            {
                "left_out_pairs": len(binance.left_out),
                "left_out": "; ".join(binance.left_out[:LISTED]),
            }
        )
    # Candles seen for the ranking are not stored, so the log has only failures, and their end.
    before = {
        s for day in (scope.first, scope.last) for s in failed_fetches(warehouse, day, RANKING)
    }
    log = fetched.log.assign(interval=pd.Series([RANKING] * len(fetched.log), dtype="str"))
    # A late candle of a pair that its name excludes changes no rank.
    excluded = frame.loc[frame["exclusion_reason"].isin(BY_NAME), "symbol"]
    failed = (log["outcome"] == "failed") & ~log["symbol"].isin(excluded)
    return Batch(
        with_results(with_provenance(frame, "universe", settings), "universe"),
        rejected=fetched.rejected,
        fetches=log[failed | log["symbol"].isin(before)],
        failed=fetched.failed,
        asked=Scope(tuple(names), first, scope.last),
        exchange=fetched.exchange,
    )
