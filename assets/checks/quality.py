"""Asset checks of data quality: what the ledger found lately, one check a rule.

They read the latest week of rows and those of the run, so that they are cheap in every run and a
run that fills the past says what is wrong with it.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import dagster as dg

from assets.checks.run_scope import scope_of_run
from assets.checks.tables import LISTED, check_result
from autonama_dagster.analytics.scan.quality.quality import churn_pct, coverage_pct
from autonama_dagster.analytics.scan.quality.rules import RULES
from autonama_dagster.days import DAY
from autonama_dagster.settings import Settings
from resources.warehouse.candle_faults import recent_coverage, recent_findings, recent_members
from resources.warehouse.ledger import latest_day
from resources.warehouse.warehouse import Warehouse

RECENT_DAYS = 7


def ledger_checks() -> dg.AssetChecksDefinition:
    """A check for each rule on the candles; all in one step, because a step costs time."""

    @dg.multi_asset_check(
        name="quality_of_candles",
        specs=[
            dg.AssetCheckSpec(
                name=rule,
                asset="ohlcv_1d",
                additional_deps=["data_quality"],
                description=f"{text} Fails on findings worse than INFO in the latest "
                f"{RECENT_DAYS} days or the days of the run.",
            )
            for rule, text in RULES.items()
        ],
    )
    def check(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.AssetCheckResult]:
        latest, run = latest_day(warehouse, "data_quality"), scope_of_run(context)
        by_rule = dict(iter(recent_findings(warehouse, RECENT_DAYS, run).groupby("rule")))
        for rule in RULES:
            found = by_rule.get(rule)
            grave = [] if found is None else found[found["severity"] != "INFO"].itertuples()
            bad = [f"{row.date}|{row.symbol}" for row in grave]
            yield check_result(
                passed=not bad,
                bad=bad[:LISTED],
                check_name=rule,
                asset_key="ohlcv_1d",
                latest_day=str(latest),
                days=RECENT_DAYS,
                days_of_run=None if run.first is None else f"{run.first} .. {run.last}",
                findings=0 if found is None else len(found),
                bad_partitions=len(bad),
            )

    return check


def churn_check() -> dg.AssetChecksDefinition:
    """The universe keeps most of its members from day to day."""

    @dg.asset_check(
        asset="universe",
        name="universe_churn",
        description="At most AUTONAMA_QUALITY_CHURN_PCT of the members leave from one day to the "
        "next, lately and on the days of the run.",
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        settings: dg.ResourceParam[Settings],
    ) -> dg.AssetCheckResult:
        run = scope_of_run(context)
        if run.first is not None:  # a change needs the day before
            run = replace(run, first=run.first - DAY)
        members = recent_members(warehouse, RECENT_DAYS, run)
        churn = {
            day: churn_pct(members[before], members[day])
            for before, day in pairwise(members)
            if day - before == DAY
        }
        limit = settings.quality_churn_pct
        bad = [f"{day}: {pct:.1f} %" for day, pct in churn.items() if pct > limit]
        return check_result(
            passed=not bad,
            bad=bad[:LISTED],
            days=len(members),
            bad_days=len(bad),
            highest_pct=max(churn.values(), default=0.0),
        )

    return check


def coverage_check() -> dg.AssetChecksDefinition:
    """Nearly all members have a candle and a whole window."""

    @dg.asset_check(
        asset="signals",
        name="coverage",
        description="At least AUTONAMA_QUALITY_COVERAGE_PCT of the members have a candle and a "
        "complete window on each of the latest days and the days of the run.",
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        settings: dg.ResourceParam[Settings],
    ) -> dg.AssetCheckResult:
        rows = recent_coverage(warehouse, RECENT_DAYS, scope_of_run(context))
        covered = coverage_pct(rows["members"], rows["judged"]).tolist()
        bad = [
            f"{day}: {pct:.1f} %, missing {absent}"
            for day, pct, absent in zip(rows["date"], covered, rows["absent"], strict=True)
            if pct < settings.quality_coverage_pct
        ]
        return check_result(
            passed=not bad,
            bad=bad[:LISTED],
            days=len(rows),
            bad_days=len(bad),
            lowest_pct=min(covered, default=100.0),
        )

    return check
