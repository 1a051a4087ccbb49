"""Asset checks of the look-ahead proof: a few rows of each table, computed again.

Rows of the table's latest day and of an earlier one are made from data cut at their day and from
data extended past it; both must be what is stored. `autonama verify --all` does it for every row.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from assets.checks.tables import LISTED, check_result
from autonama_dagster.services.inputs.parameters import OF_DAYS, OF_SYMBOLS
from autonama_dagster.services.verification.verify import (
    Verified,
    as_rows,
    together,
    verify_days,
    verify_symbols,
)
from autonama_dagster.settings import Settings
from resources.warehouse.ledger import latest_day
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse

NAME = "point_in_time"
SYMBOLS = 3  # of a day that are computed again
Verify = Callable[[Warehouse, Settings, date, Sequence[str]], list[Verified]]
_DESCRIPTION = (
    "A sample of stored rows equals the same rows recomputed from data truncated at their day, and "
    "from data extended past it."
)


def symbols_check() -> dg.AssetChecksDefinition:
    """The proof for the tables by date and symbol, in one step."""

    def verify(
        warehouse: Warehouse, settings: Settings, day: date, names: Sequence[str]
    ) -> list[Verified]:
        scope = Scope(first=day, last=day)
        stored = warehouse.read("signals", scope, ("symbol",))["symbol"].tolist()
        chosen = sampled(stored, SYMBOLS, str(day))
        parts = verify_symbols(warehouse, settings, chosen, day, day) if chosen else []
        return [part for part in parts if part.table in names]

    return _check("point_in_time_of_symbols", OF_SYMBOLS, "signals", verify)


def days_check() -> dg.AssetChecksDefinition:
    """The proof for the tables by date, in one step."""

    def verify(
        warehouse: Warehouse, settings: Settings, day: date, names: Sequence[str]
    ) -> list[Verified]:
        is_ranked = len(warehouse.read("universe", Scope(first=day, last=day), ("symbol",)))
        return verify_days(warehouse, settings, day, day, names) if is_ranked else []

    return _check("point_in_time_of_days", OF_DAYS, "analysis_summary", verify)


def _check(
    name: str, tables: Sequence[str], dated_by: str, verify: Verify
) -> dg.AssetChecksDefinition:
    """The checks of some tables, on two of the days that the table `dated_by` has."""

    @dg.multi_asset_check(
        name=name,
        specs=[dg.AssetCheckSpec(name=NAME, asset=of, description=_DESCRIPTION) for of in tables],
        can_subset=True,
    )
    def check(
        context: dg.AssetCheckExecutionContext,
        warehouse: dg.ResourceParam[Warehouse],
        settings: dg.ResourceParam[Settings],
    ) -> Iterator[dg.AssetCheckResult]:
        names = [key.asset_key.path[-1] for key in context.selected_asset_check_keys]
        chosen = sampled_days(warehouse, dated_by, settings.start_date)
        found = [verify(warehouse, settings, day, names) for day in chosen]
        parts = [together(of) for of in zip(*filter(None, found), strict=True)]
        if parts:
            rows = as_rows(
                parts, min(chosen), max(chosen), symbols=SYMBOLS, now=datetime.now(UTC),
                run_id=context.run.run_id,
            )  # fmt: skip
            warehouse.keep("verifications", rows)
        by_table = {part.table: part for part in parts}
        for table in names:
            yield _result(table, by_table.get(table), chosen)

    return check


def sampled_days(warehouse: Warehouse, name: str, start: date) -> list[date]:
    """The table's latest day and one before it, the same for the same latest day."""
    latest = latest_day(warehouse, name)
    if latest is None:
        return []
    earlier = random.Random(str(latest)).randrange(max((latest - start).days, 1))  # noqa: S311
    return list(dict.fromkeys([latest, max(start, latest - timedelta(days=earlier + 1))]))


def sampled(names: Sequence[str], count: int, seed: str) -> list[str]:
    """So many of the names, the same for the same seed, in their order."""
    chosen = set(random.Random(seed).sample(sorted(names), min(count, len(names))))  # noqa: S311
    return [name for name in names if name in chosen]


def _result(table: str, part: Verified | None, days: Sequence[date]) -> dg.AssetCheckResult:
    if part is None:
        return check_result(passed=True, check_name=NAME, asset_key=table, rows=0)
    shown = part.mismatches.head(LISTED).drop(columns=["stored", "expected"])
    bad = [" ".join(str(value) for value in row) for row in shown.itertuples(index=False)]
    return check_result(
        passed=not bad,
        bad=bad,
        check_name=NAME,
        asset_key=table,
        rows=part.rows,
        days=", ".join(map(str, days)),
        mismatches=part.rows_of(),
    )
