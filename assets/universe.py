"""Stage `universe`: which pairs are scanned on each day."""

from dataclasses import asdict
from datetime import timedelta

import dagster as dg
import numpy as np

from assets.stage import run_scope, stage, with_provenance
from autonama_dagster.analytics.candles import Candles
from autonama_dagster.analytics.universe import WINDOW_DAYS, load_exclusions, rank
from autonama_dagster.partitions import register
from autonama_dagster.schemas.market import UNIVERSE
from autonama_dagster.settings import Settings
from resources.candle_feed import fetch_daily, refuse_mixture
from resources.exchange.base import Exchange
from resources.warehouse import Batch, Warehouse


@stage("market", UNIVERSE, "date", kinds=frozenset({"binance", "postgres", "pandas"}))
def universe(
    context: dg.AssetExecutionContext,
    exchange: dg.ResourceParam[Exchange],
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
) -> Batch:
    """Candidates of each day, ranked by their 30-day median quote volume.

    One klines call per candidate: 31 candles for a day, one call for a range of days.
    """
    scope = run_scope(context)
    assert scope.first is not None and scope.last is not None  # noqa: S101, PT018
    symbols = exchange.symbols()
    fetched = fetch_daily(
        exchange,
        [s.symbol for s in symbols],
        scope.first - timedelta(days=WINDOW_DAYS),
        scope.last,
    )
    refuse_mixture(warehouse.any_source(), fetched.frame)
    frame = rank(
        symbols,
        Candles.by_symbol(fetched.frame),
        np.arange(np.datetime64(scope.first), np.datetime64(scope.last) + 1).astype(np.int64),
        universe_size=settings.universe_size,
        is_complete=exchange.knows_delisted,
    )
    members = frame[frame["is_member"]].sort_values(["date", "rank"])["symbol"]
    register(context.instance, members.unique().tolist())
    lists = {name: sorted(values) for name, values in asdict(load_exclusions()).items()}
    params = {"universe_size": settings.universe_size, **lists}
    # Candles seen for the ranking are not stored: only failed requests belong to the log.
    failures = fetched.log[fetched.log["outcome"] == "failed"]
    return Batch(
        with_provenance(frame, params),
        rejected=fetched.rejected,
        fetches=failures,
        failed=fetched.failed,
    )
