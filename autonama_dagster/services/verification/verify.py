"""Verification: stored rows against rows computed again, and what a difference comes from."""

import platform
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from importlib import metadata
from typing import Any, Final

import pandas as pd

from autonama_dagster.analytics.scan.recipe import DayScope
from autonama_dagster.schemas.base import Table
from autonama_dagster.schemas.registry import table
from autonama_dagster.services.inputs.parameters import (
    OF_DAYS,
    OF_SYMBOLS,
    SYSTEMS,
    recipes,
    versions,
)
from autonama_dagster.services.inputs.readers import WarehouseReader
from autonama_dagster.services.inputs.required import (
    Required,
    may_exist,
    must_exist,
    read_required,
)
from autonama_dagster.services.inputs.results import other_results, row_differences
from autonama_dagster.services.inputs.versions import code_version
from autonama_dagster.services.verification.kinds import among, first_of
from autonama_dagster.services.verification.recompute import Frames, Recomputation, read_inputs
from autonama_dagster.services.verification.stored_results import with_other_results
from autonama_dagster.settings import Settings
from resources.warehouse.presence import Days
from resources.warehouse.warehouse import Warehouse

KINDS: Final = (
    "look_ahead", "missing", "extra", "code", "parameters", "data", "platform", "row",
)  # fmt: skip
"""Why a row is not what its inputs give, the first that applies: it knows something later than its
day; it must be there and is not; it is there and nothing asks for it; other code or other
parameters made it; its inputs have changed; its numbers are close, as another processor or library
rounds; or the row itself was changed."""


SHOWN: Final = 50  # differences that are kept with a verification
LISTED: Final = 20  # and those of a table that people are shown


@dataclass(frozen=True)
class Verified:
    """What was found in one table.

    Attributes
    ----------
    table
        Its name.
    rows
        Rows that were computed again.
    in_database
        Of these, rows whose inputs were read from a database cut at their day.
    mismatches
        Cells that differ: the table's key, column, stored, expected, and kind (of `KINDS`), one
        kind a row.
    """

    table: str
    rows: int
    in_database: int
    mismatches: pd.DataFrame

    def rows_of(self, kind: str | None = None) -> int:
        """Rows with a difference, of one kind or of any."""
        found = self.mismatches
        if kind is not None:
            found = found[found["kind"] == kind]
        return len(found[[*table(self.table).key]].drop_duplicates())


def verify_symbols(
    warehouse: Warehouse,
    settings: Settings,
    symbols: Sequence[str],
    first: date,
    last: date,
    in_database: Collection[date] | None = None,
    registered: Collection[str] = (),
) -> list[Verified]:
    """Compute the rows of `OF_SYMBOLS` again, from cut and from extended data.

    The days `in_database` are cut in the database, the others in memory; None: all of them. Of the
    registered symbols rows are missed even where no other row tells of them.
    """
    scope = DayScope(tuple(symbols), first, last)
    wanted = read_required(warehouse, settings, first, last, registered)
    return _verified(warehouse, settings, scope, OF_SYMBOLS, ("universe",), in_database, wanted)


def verify_days(
    warehouse: Warehouse,
    settings: Settings,
    first: date,
    last: date,
    names: Sequence[str] = OF_DAYS,
    in_database: Collection[date] | None = None,
) -> list[Verified]:
    """Compute the days' rows of some of `OF_DAYS` again; see `verify_symbols`.

    Signals are taken as they are stored: what the summary is made from, beside the pairs.
    """
    wanted = [name for name in OF_DAYS if name in names]
    scope = DayScope(None, first, last)
    taken = ("universe", "signals")
    due = read_required(warehouse, settings, first, last)
    return _verified(warehouse, settings, scope, wanted, taken, in_database, due)


def _verified(
    warehouse: Warehouse,
    settings: Settings,
    scope: DayScope,
    names: Sequence[str],
    taken: Sequence[str],
    in_database: Collection[date] | None,
    wanted: Required,
) -> list[Verified]:
    reader = WarehouseReader(warehouse)
    inputs = read_inputs(reader, settings.lookback, scope, taken)
    again = Recomputation(warehouse, recipes(settings), inputs, scope, names)
    chosen = frozenset(scope.days if in_database is None else in_database)
    cut, extended = again.cut(chosen), again.extended()
    found: list[Verified] = []
    for name in names:
        stored = reader.rows(name, scope)
        part = verified(name, stored, cut, extended, settings, wanted, chosen)
        others = other_results(reader, name, scope)
        earlier = [of.mismatches for of in found]
        made = versions(name, settings)
        every = with_other_results(name, part.mismatches, stored, others, earlier, made)
        found.append(replace(part, mismatches=every))
    return found


def together(parts: Sequence[Verified]) -> Verified:
    """What several verifications of one table found."""
    found = pd.concat([part.mismatches for part in parts], ignore_index=True)
    rows, in_database = (sum(getattr(p, n) for p in parts) for n in ("rows", "in_database"))
    return Verified(parts[0].table, rows, in_database, found)


def as_rows(
    found: Sequence[Verified],
    first: date,
    last: date,
    *,
    symbols: int,
    now: datetime,
    run_id: str | None = None,
) -> pd.DataFrame:
    """Rows of the table `verifications`."""
    rows = [
        {
            "verified_at": pd.Timestamp(now).as_unit("us"),
            "table_name": part.table,
            "first_date": pd.Timestamp(first).as_unit("s"),
            "last_date": pd.Timestamp(last).as_unit("s"),
            "symbols": 0 if part.table in OF_DAYS else symbols,
            "rows": part.rows,
            "mismatches": part.rows_of(),
            **{f"{kind}_mismatches": part.rows_of(kind) for kind in KINDS},
            "details": part.mismatches.head(SHOWN).astype(str).to_json(orient="records"),
            "code_version": code_version(SYSTEMS.get(part.table, "candles")),
            "platform": platform_name(),
            "run_id": run_id,
        }
        for part in found
    ]
    frame = pd.DataFrame(rows)
    texts = ("table_name", "details", "code_version", "platform", "run_id")
    return frame.astype(dict.fromkeys(texts, "str"))


def verified(
    name: str,
    stored: pd.DataFrame,
    cut: Frames,
    full: Frames,
    settings: Settings,
    wanted: Required,
    in_database: Collection[date] = (),
) -> Verified:
    """Compare a table's stored rows with those computed again, and with those that must exist."""
    of = table(name)
    now, later = (_expected(of, made[name], stored, wanted) for made in (cut, full))
    against_stored = row_differences(of, stored, now)
    against_later = row_differences(of, now, later)
    parts = [against_stored, against_later]
    if name == "universe":
        parts.append(_absent(wanted.symbols[name]))
    found = pd.concat(parts, ignore_index=True)
    kinds = _kinds(of, found, stored, now, against_later, settings, wanted)
    proved = int(now["date"].isin([pd.Timestamp(day) for day in in_database]).sum())
    return Verified(name, len(now), proved, found.assign(kind=kinds).drop(columns="is_close"))


def _expected(
    of: Table, made: pd.DataFrame, stored: pd.DataFrame, wanted: Required
) -> pd.DataFrame:
    """Of the rows that were made those that may exist, and are stored or must be."""
    made = made[may_exist(of, made, wanted)].reset_index(drop=True)
    must = must_exist(of, made, wanted)
    if must.all():
        return made
    return made[among(made, stored, of.key) | must]


def _absent(days: Days) -> pd.DataFrame:
    """Rows of a ranking that others tell of, as `differences` names what is not there."""
    keys = [(pd.Timestamp(day), symbol) for day, names in days.items() for symbol in sorted(names)]
    frame = pd.DataFrame(keys, columns=["date", "symbol"])
    frame = frame.astype({"date": "datetime64[s]", "symbol": "str"})
    return frame.assign(column="row", stored="absent", expected="there", is_close=False)


def _kinds(
    of: Table,
    found: pd.DataFrame,
    stored: pd.DataFrame,
    now: pd.DataFrame,
    ahead: pd.DataFrame,
    settings: Settings,
    wanted: Required,
) -> pd.Series:
    """The kind of each difference: that of its row."""
    key = [*of.key]
    if found.empty:
        return pd.Series(dtype="str")
    made = versions(of.name, settings)
    columns = [*key, "input_hash", "params_hash", "code_version"]
    rows = found[key].merge(stored[columns], on=key, how="left")
    is_stored = rows["code_version"].notna()
    expected = found[key].merge(now[[*key, "input_hash"]], on=key, how="left")["input_hash"]
    is_other = rows["input_hash"].ne(expected)
    is_ahead = is_other & _made_from_later(rows, now, key)
    if of.name == "universe":  # a rank follows from the candles of all candidates of its day
        is_other |= found["date"].isin(_days_of_other_data(stored, now, key))
    is_ahead |= among(found, ahead, key)
    is_close = found.groupby(key)["is_close"].transform("all")
    is_whole = found["column"] == "row"
    # A symbol's row that must exist and does not follow any more.
    has_lost_candle = must_exist(of, found, wanted) & (of.partitions == "date_symbol")
    return first_of({
        "look_ahead": is_ahead,
        "missing": is_whole & (found["stored"] == "absent"),
        "extra": is_whole & ~has_lost_candle,
        "code": rows["code_version"].ne(made.code_version) & is_stored,
        "parameters": rows["params_hash"].ne(made.params_hash) & is_stored,
        "data": is_other & is_stored,
        "platform": is_close,
    })  # fmt: skip


def _made_from_later(rows: pd.DataFrame, now: pd.DataFrame, key: list[str]) -> pd.Series:
    """Rows that carry the hash of what a later day's row is made from."""
    same = [*(c for c in key if c != "date"), "input_hash"]
    latest = now.dropna(subset="input_hash").groupby(same, as_index=False)["date"].max()
    later: pd.Series = rows.merge(latest, on=same, how="left", suffixes=("", "_of"))["date_of"]
    return later > rows["date"]


def _days_of_other_data(stored: pd.DataFrame, now: pd.DataFrame, key: list[str]) -> pd.Series:
    """Days of which a row has another input than it had."""
    columns = [*key, "input_hash"]
    both = stored[columns].merge(now[columns], on=key, suffixes=("", "_now"))
    return both.loc[both["input_hash"].ne(both["input_hash_now"]), "date"]


def platform_name() -> str:
    """The machine that computes, as far as it can change the last digit of a number."""
    libraries = ", ".join(f"{n} {metadata.version(n)}" for n in ("numpy", "pandas", "TA-Lib"))
    python = f"Python {platform.python_version()}"
    return f"{platform.machine()} {platform.system()}, {python}, {libraries}"


def document(found: Sequence[Verified], first: date, last: date) -> dict[str, Any]:
    """What was found in plain values, as JSON can hold them."""
    return {
        "first": first.isoformat(),
        "last": last.isoformat(),
        "is_match": not any(part.rows_of() for part in found),
        "tables": [
            {
                "table": part.table,
                "rows": part.rows,
                "rows_cut_in_database": part.in_database,
                "mismatches": part.rows_of(),
                **{kind: part.rows_of(kind) for kind in KINDS},
                "differences": part.mismatches.head(LISTED).astype(str).to_dict("records"),
            }
            for part in found
        ],
    }
