"""Asset checks of the look-ahead proof: a few rows of each table, computed again.

Rows of the table's latest day and of an earlier one are made from data cut at their day and from
data extended past it; both must be what is stored. `autonama verify --all` does it for every row.
"""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from assets.checks import LISTED, check_result
from assets.recompute import OF_DAYS, OF_SYMBOLS
from assets.verify import Verified, as_rows, together, verify_day, verify_symbols
from autonama_dagster.settings import Settings
from resources.statements import Scope
from resources.warehouse import Warehouse

NAME = "point_in_time"
SYMBOLS = 3  # of a day that are computed again
_DESCRIPTION = (
    "A sample of rows, computed again from data cut at their day and from data extended past it, "
    "is what is stored."
)


def symbols_check() -> dg.AssetChecksDefinition:
    """The proof for the tables by date and symbol, in one step."""

    @dg.multi_asset_check(
        name="point_in_time_of_symbols",
        specs=[_spec(name) for name in OF_SYMBOLS],
        can_subset=True,
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        settings: dg.ResourceParam[Settings],
    ) -> Iterator[dg.AssetCheckResult]:
        found: list[list[Verified]] = []
        days = sampled_days(warehouse, "signals", settings.start_date)
        for day in days:
            scope = Scope(first=day, last=day)
            stored = warehouse.read("alerts", scope, ("symbol",))["symbol"].tolist()
            chosen = tuple(sampled(stored, SYMBOLS, str(day)))
            if chosen:
                found.append(verify_symbols(warehouse, settings, chosen, day, day))
        yield from _results(context, warehouse, found, days)

    return check


def days_check() -> dg.AssetChecksDefinition:
    """The proof for the tables by date, in one step."""

    @dg.multi_asset_check(
        name="point_in_time_of_days",
        specs=[_spec(name) for name in OF_DAYS],
        can_subset=True,
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        settings: dg.ResourceParam[Settings],
    ) -> Iterator[dg.AssetCheckResult]:
        days = sampled_days(warehouse, "analysis_summary", settings.start_date)[:1]
        found = [verify_day(warehouse, settings, day) for day in days]
        yield from _results(context, warehouse, found, days)

    return check


def _spec(name: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(name=NAME, asset=name, description=_DESCRIPTION)


def sampled_days(warehouse: Warehouse, name: str, start: date) -> list[date]:
    """The table's latest day and one before it, the same for the same latest day."""
    latest = warehouse.latest_day(name)
    if latest is None:
        return []
    earlier = random.Random(str(latest)).randrange(max((latest - start).days, 1))  # noqa: S311
    return list(dict.fromkeys([latest, max(start, latest - timedelta(days=earlier + 1))]))


def sampled(names: Sequence[str], count: int, seed: str) -> list[str]:
    """So many of the names, the same for the same seed, in their order."""
    chosen = set(random.Random(seed).sample(sorted(names), min(count, len(names))))  # noqa: S311
    return [name for name in names if name in chosen]


def _results(
    context: dg.AssetCheckExecutionContext,
    warehouse: Warehouse,
    found: Sequence[Sequence[Verified]],
    days: Sequence[date],
) -> Iterator[dg.AssetCheckResult]:
    tables = [key.asset_key.path[-1] for key in context.selected_asset_check_keys]
    parts = [together(of) for of in zip(*found, strict=True) if of[0].table in tables]
    if parts:
        rows = as_rows(
            parts, min(days), max(days), symbols=SYMBOLS, now=datetime.now(UTC),
            run_id=context.run.run_id,
        )  # fmt: skip
        warehouse.keep("verifications", rows)
    by_table = {part.table: part for part in parts}
    for name in tables:
        part = by_table.get(name)
        if part is None:
            yield check_result(passed=True, check_name=NAME, asset_key=name, rows=0)
            continue
        shown = part.mismatches.head(LISTED).drop(columns=["stored", "expected"])
        bad = [" ".join(str(value) for value in row) for row in shown.itertuples(index=False)]
        yield check_result(
            passed=not bad,
            bad=bad,
            check_name=NAME,
            asset_key=name,
            rows=part.rows,
            days=", ".join(map(str, days)),
            mismatches=part.rows_of(),
        )
