"""Asset checks: about the table as it stands, unpartitioned and non-blocking.

These judge the latest closed day and totals, whatever the run they happen to run in made, so that a
backfill cannot hide today's state. The rows of the run need none of them: the IO manager has held
them against the model before it wrote them, and has read them back. What a run's rows say is judged
by `assets.checks.quality` and `assets.checks.point_in_time`.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from autonama_dagster.days import last_closed_day
from autonama_dagster.errors import SchemaError
from autonama_dagster.schemas.base import Table
from autonama_dagster.settings import Settings
from resources.exchange.base import ExchangeClock
from resources.warehouse.candle_queries import candle_gaps, last_candles
from resources.warehouse.frames import split
from resources.warehouse.ledger import estimated_rows, latest_day
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse

LISTED = 50
RECENT = timedelta(days=30)
PARTITION_BUDGET = 150_000


def schema_check(asset: str, of: Table) -> dg.AssetChecksDefinition:
    """The rows of the table's latest day satisfy its model."""

    @dg.asset_check(
        asset=asset,
        name="schema",
        description=f"Rows of the latest day in {of.name} match the table's schema.",
    )
    def check(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
        latest = latest_day(warehouse, of.name)
        if latest is None:
            return check_result(passed=True, rows=0)
        frame = warehouse.read(of.name, Scope(first=latest, last=latest))
        try:
            reasons = split(of, frame)[1]["reason"].tolist()
        except SchemaError as error:  # the table itself is not what the model says
            reasons = [str(error)]
        return check_result(
            passed=not reasons,
            latest_day=str(latest),
            rows=len(frame),
            table_rows_estimate=estimated_rows(warehouse, of.name),
            bad_rows=len(reasons),
            bad=reasons[:LISTED],
        )

    return check


def freshness_check() -> dg.AssetChecksDefinition:
    """Every registered symbol that traded lately has a candle for the latest closed day."""

    @dg.asset_check(
        asset="ohlcv_1d",
        name="fresh",
        description=(
            "Every registered symbol that traded in the last 30 days has a candle for the latest "
            "closed day."
        ),
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        binance: dg.ResourceParam[ExchangeClock],
    ) -> dg.AssetCheckResult:
        day = last_closed_day(binance.server_time())
        registered = context.instance.get_dynamic_partitions("symbol")
        last = last_candles(warehouse, registered)
        stale = sorted(s for s, seen in last.items() if day - RECENT < seen < day)
        return check_result(
            passed=not stale,
            day=str(day),
            registered=len(registered),
            delisted=sum(seen <= day - RECENT for seen in last.values()),
            stale=len(stale),
            bad=stale[:LISTED],
        )

    return check


def continuity_check() -> dg.AssetChecksDefinition:
    """No day is missing between two candles of a symbol that was asked for and never answered."""

    @dg.asset_check(
        asset="ohlcv_1d",
        name="continuous",
        description=(
            "No registered symbol has a gap between its candles, unless the exchange has it too."
        ),
    )
    def check(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        registered = context.instance.get_dynamic_partitions("symbol")
        gaps = candle_gaps(warehouse, registered)
        unanswered = gaps[~gaps["is_answered"]]
        return check_result(
            passed=unanswered.empty,
            gaps=len(gaps),
            gaps_the_exchange_has_too=int(gaps["is_answered"].sum()),
            missing_days=int(unanswered["days"].sum()),
            bad=[f"{g.symbol} {g.first} .. {g.last}" for g in unanswered.head(LISTED).itertuples()],
        )

    return check


def budget_check() -> dg.AssetChecksDefinition:
    """Partitions of one asset stay within what the UI can show quickly."""

    @dg.asset_check(
        asset="ohlcv_1d",
        name="partition_budget",
        description=(
            f"Days since the start date x registered symbols stay below {PARTITION_BUDGET:,}: "
            "beyond it the UI's partition pages get slow."
        ),
    )
    def check(
        context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> dg.AssetCheckResult:
        days = (datetime.now(UTC).date() - settings.start_date).days
        registered = len(context.instance.get_dynamic_partitions("symbol"))
        return dg.AssetCheckResult(
            passed=days * registered < PARTITION_BUDGET,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "days": days,
                "registered": registered,
                "partitions": days * registered,
                "budget": PARTITION_BUDGET,
            },
        )

    return check


def check_result(
    *,
    passed: bool,
    bad: list[str] | None = None,
    check_name: str | None = None,
    asset_key: str | None = None,
    **metadata: Any,
) -> dg.AssetCheckResult:
    """A result that warns; the names are needed where one step answers several checks."""
    shown: dict[str, Any] = {k: v for k, v in metadata.items() if v is not None}
    if bad:
        shown["bad"] = "\n".join(bad)
    return dg.AssetCheckResult(
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        check_name=check_name,
        asset_key=asset_key,
        metadata=shown,
    )
