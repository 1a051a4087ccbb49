"""Asset checks of the look-ahead proof: a few of the run's rows, computed again.

They are made from data cut at their day and from data extended past it; both must be what is
stored. `autonama verify --all` does it for every row.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime

import dagster as dg

from assets.checks.run_scope import scope_of_run
from assets.checks.tables import LISTED, check_result
from autonama_dagster.days import days_of
from autonama_dagster.schemas.registry import table
from autonama_dagster.services.inputs.parameters import OF_DAYS, OF_SYMBOLS
from autonama_dagster.services.verification.verify import (
    Verified,
    as_rows,
    together,
    verify_days,
    verify_symbols,
)
from autonama_dagster.settings import Settings
from resources.warehouse.ledger import stored_days
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse

NAME = "point_in_time"
SYMBOLS = 3  # of a day that are computed again
Verify = Callable[[Warehouse, Settings, date, Sequence[str], Sequence[str]], list[Verified]]
_DESCRIPTION = (
    "A sample of the rows that the run made equals the same rows recomputed from data truncated at "
    "their day, and from data extended past it. A check that is run by itself draws from all "
    "stored days."
)


def symbols_check() -> dg.AssetChecksDefinition:
    """The proof for the tables by date and symbol, in one step."""

    def verify(
        warehouse: Warehouse,
        settings: Settings,
        day: date,
        symbols: Sequence[str],
        names: Sequence[str],
    ) -> list[Verified]:
        parts = verify_symbols(warehouse, settings, symbols, day, day)
        return [part for part in parts if part.table in names]

    return _check("point_in_time_of_symbols", OF_SYMBOLS, "signals", verify)


def days_check() -> dg.AssetChecksDefinition:
    """The proof for the tables by date, in one step."""

    def verify(
        warehouse: Warehouse,
        settings: Settings,
        day: date,
        _symbols: Sequence[str],
        names: Sequence[str],
    ) -> list[Verified]:
        is_ranked = len(warehouse.read("universe", Scope(first=day, last=day), ("symbol",)))
        return verify_days(warehouse, settings, day, day, names) if is_ranked else []

    return _check("point_in_time_of_days", OF_DAYS, "analysis_summary", verify)


def _check(
    name: str, tables: Sequence[str], drawn_from: str, verify: Verify
) -> dg.AssetChecksDefinition:
    """The checks of some tables; the rows of a run without partitions are those of `drawn_from`."""

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
        run_id = context.run.run_id
        sample = drawn(warehouse, drawn_from, scope_of_run(context), run_id)
        found: defaultdict[str, list[Verified]] = defaultdict(list)
        for day, symbols in sample.items():
            for part in verify(warehouse, settings, day, symbols, names):
                found[part.table].append(part)
        by_table = {of: together(parts) for of, parts in found.items()}
        if by_table:
            rows = as_rows(
                list(by_table.values()),
                min(sample),
                max(sample),
                symbols=len({symbol for symbols in sample.values() for symbol in symbols}),
                now=datetime.now(UTC),
                run_id=run_id,
            )
            warehouse.keep("verifications", rows)
        for of in names:
            yield _result(of, by_table.get(of), sample)

    return check


def drawn(warehouse: Warehouse, name: str, scope: Scope, run_id: str) -> dict[date, list[str]]:
    """Days of the run, and some symbols of each where the table is by symbol; the run is the seed.

    A run without partitions has all days that the table has.
    """
    draw = random.Random(run_id)  # noqa: S311
    if scope.first is not None and scope.last is not None:
        days = days_of(scope.first, scope.last)
    else:
        days = stored_days(warehouse, name)
    found = {}
    for day in sampled_days(days, draw):
        symbols = scope.symbols or ()
        if not symbols and table(name).symbol_columns:
            of_day = Scope(first=day, last=day)
            symbols = tuple(warehouse.read(name, of_day, ("symbol",))["symbol"])
        found[day] = sorted(draw.sample(sorted(symbols), min(SYMBOLS, len(symbols))))
    return found


def sampled_days(days: Sequence[date], draw: random.Random) -> list[date]:
    """The first of the days and one of the others.

    The first has the most days after it in its run, which a formula could look at by mistake. More
    days would be felt: in a backfill each costs a tenth of its run.
    """
    others = days[1:]
    return [*days[:1], *([draw.choice(others)] if others else [])]


def _result(
    name: str, part: Verified | None, sample: Mapping[date, Sequence[str]]
) -> dg.AssetCheckResult:
    rows = [f"{day} {', '.join(symbols)}".rstrip() for day, symbols in sample.items()]
    if part is None:
        return check_result(passed=True, check_name=NAME, asset_key=name, rows=0)
    shown = part.mismatches.head(LISTED).drop(columns=["stored", "expected"])
    bad = [" ".join(str(value) for value in row) for row in shown.itertuples(index=False)]
    return check_result(
        passed=not bad,
        bad=bad,
        check_name=NAME,
        asset_key=name,
        rows=part.rows,
        sampled="\n".join(rows),
        mismatches=part.rows_of(),
    )
