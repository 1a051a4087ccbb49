"""Stage `universe`: which pairs are scanned on each day."""

from collections.abc import Sequence
from datetime import date, timedelta

import dagster as dg
import pandas as pd

from assets.partitions import register
from assets.stage import run_scope, stage, with_provenance
from autonama_dagster.analytics.candles.candles import Candles
from autonama_dagster.analytics.candles.windows import day_range
from autonama_dagster.analytics.scan.universe import WINDOW_DAYS, rank
from autonama_dagster.errors import ExchangeError, InputError
from autonama_dagster.schemas.tables.market import UNIVERSE
from autonama_dagster.settings import Settings
from autonama_dagster.text.labels import counted
from resources.exchange.base import NOTHING_LISTED, Exchange
from resources.exchange.feed import Fetched, fetch_daily, refuse_mixture
from resources.warehouse.candle_queries import RANKING, any_source, failed_fetches
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Batch, Warehouse

LISTED = 20
BY_NAME = ("excluded", "leveraged", "stable", "fiat")


def require_members(frame: pd.DataFrame, fetched: Fetched, first: date, last: date) -> None:
    """Make sure that every day has a member.

    Raises
    ------
    ExchangeError
        A day has none: with what the exchange said where it refused.
    """
    ranked = set(frame.loc[frame["is_member"], "date"].dt.date)
    days = pd.date_range(first, last).date
    missing = [day for day in days if day not in ranked]
    if not missing:
        return
    of_day = frame[frame["date"] == pd.Timestamp(missing[0])]
    n_copied = int((of_day["exclusion_reason"] == "copied").sum())
    n_excluded = int(
        ((of_day["exclusion_reason"] == "excluded") & (of_day["quote_volume"] > 0)).sum()
    )
    why = "the exchange has no candles for that day; choose a later day"
    if fetched.failed:
        many = counted(len(fetched.failed), "pair")
        why = f"{many} could not be fetched; first error: {fetched.refusal}"
    elif n_copied:
        why = (
            f"{counted(n_copied, 'pair has', 'pairs have')} identical candles, so the exchange "
            "answers for the wrong pair; check AUTONAMA_EXCHANGE_URL"
        )
    elif n_excluded:
        why = f"AUTONAMA_EXCLUDE names the {counted(n_excluded, 'pair')} that traded; take one out"
    raise ExchangeError(f"no pair can be ranked on {missing[0]}: {why}")


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
    scope = run_scope(context)
    assert scope.first is not None and scope.last is not None  # noqa: S101, PT018
    symbols = binance.symbols()
    names = [s.symbol for s in symbols]
    _require_known(settings, names, warehouse)
    first = scope.first - timedelta(days=WINDOW_DAYS)
    fetched = fetch_daily(binance, names, first, scope.last)
    refuse_mixture(any_source(warehouse), fetched.frame)
    frame = rank(
        symbols,
        Candles.by_symbol(fetched.frame),
        day_range(scope.first, scope.last),
        universe_size=settings.universe_size,
        is_complete=binance.knows_delisted,
        always=settings.symbols,
        never=settings.exclude,
    )
    require_members(frame, fetched, scope.first, scope.last)
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
        with_provenance(frame, "universe", settings),
        rejected=fetched.rejected,
        fetches=log[failed | log["symbol"].isin(before)],
        failed=fetched.failed,
        asked=Scope(tuple(names), first, scope.last),
        exchange=fetched.exchange,
    )
