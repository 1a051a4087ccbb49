"""What replaced candles were and what they became, from the tables of revisions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from typing import Any

import pandas as pd

from autonama_dagster.schemas.base import Table
from autonama_dagster.schemas.registry import table
from autonama_dagster.schemas.tables.revisions import REVISIONS
from resources.warehouse.frames import to_frame
from resources.warehouse.statements import ABOUT_CANDLES, qualified, select_list
from resources.warehouse.warehouse import Warehouse

_ABOUT = {"symbol", "date", "row_hash", *ABOUT_CANDLES}


@dataclass(frozen=True)
class Change:
    """One candle that was replaced by another.

    Attributes
    ----------
    table
        Table of the candle.
    symbol, date
        Whose candle, of which UTC day.
    open_time
        When it opens; None for daily candles.
    changed_at
        When the new candle was fetched, by the exchange's clock.
    sources
        Where the old one and the new one came from.
    columns
        Old and new value of each number that changed; empty where only the exchange's text did,
        e.g. a trailing zero.
    """

    table: str
    symbol: str
    date: date
    open_time: datetime | None
    changed_at: datetime
    sources: tuple[str, str]
    columns: Mapping[str, tuple[float, float]]


def changes(
    warehouse: Warehouse, since: datetime, symbols: Sequence[str] | None = None
) -> list[Change]:
    """Candles that were replaced at `since` or later, by table, symbol and time.

    Parameters
    ----------
    warehouse
        The project's tables.
    since
        A moment of the exchange's clock.
    symbols
        Only these; None: all.
    """
    return [
        change
        for name in REVISIONS
        for change in _changes_of(warehouse, table(name), since, symbols)
    ]


def _changes_of(
    warehouse: Warehouse, of: Table, since: datetime, symbols: Sequence[str] | None
) -> Iterator[Change]:
    versions = _versions(warehouse, of, since, symbols)
    numbers = [c for c in of.columns if c not in _ABOUT]
    key = list(of.key)
    for old, new in pairwise(versions):
        if any(old[k] != new[k] for k in key):
            continue
        yield Change(
            table=of.name,
            symbol=old["symbol"],
            date=old["date"].date(),
            open_time=old["open_time"].to_pydatetime() if "open_time" in old else None,
            changed_at=old["valid_to"].to_pydatetime(),
            sources=(old["source"], new["source"]),
            columns={c: (old[c], new[c]) for c in numbers if _differ(old[c], new[c])},
        )


def _versions(
    warehouse: Warehouse, of: Table, since: datetime, symbols: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Versions of the candles replaced since, each candle's in their order, the present one last.

    Versions follow one another without a gap: of those replaced since, none is left out.
    """
    kept = REVISIONS[of.name]
    keys = ", ".join(of.key)
    values: list[Any] = [since]
    where = "r.valid_to >= $1"
    if symbols is not None:
        values.append(list(symbols))
        where += " AND r.symbol = ANY($2)"
    old = warehouse.query(
        f"SELECT {select_list(kept, kept.columns)} FROM {qualified(kept)} AS r WHERE {where}",
        values,
    )
    present = warehouse.query(
        f"SELECT {select_list(of, of.columns)} FROM {qualified(of)} WHERE ({keys}) IN "
        f"(SELECT {keys} FROM {qualified(kept)} AS r WHERE {where})",
        values,
    )
    frame = pd.concat([to_frame(kept, old), to_frame(of, present)], ignore_index=True)
    ordered = frame.sort_values([*of.key, "revision"], na_position="last")
    return [{str(k): v for k, v in row.items()} for row in ordered.to_dict("records")]


def _differ(old: Any, new: Any) -> bool:
    return bool(old != new) and not (pd.isna(old) and pd.isna(new))


@dataclass(frozen=True)
class Revised:
    """Daily candles that were replaced: whose, of which days, and when the last one was."""

    symbols: tuple[str, ...]
    first: date
    last: date
    newest: datetime


def count(warehouse: Warehouse) -> int:
    """How many daily candles were replaced so far; it only grows."""
    found = warehouse.query(f"SELECT count(*) AS n FROM {qualified(REVISIONS['ohlcv_1d'])}")
    return int(found.column("n")[0].as_py())


def revised(warehouse: Warehouse, since: datetime | None) -> Revised | None:
    """Daily candles that were replaced at `since` or later (None: ever); None where none was."""
    found = warehouse.query(
        "SELECT symbol, min(date) AS first, max(date) AS last, max(valid_to) AS newest "
        f"FROM {qualified(REVISIONS['ohlcv_1d'])} "
        "WHERE $1::timestamptz IS NULL OR valid_to >= $1 GROUP BY symbol ORDER BY symbol",
        (since,),
    ).to_pydict()
    if not found["symbol"]:
        return None
    first, last, newest = min(found["first"]), max(found["last"]), max(found["newest"])
    return Revised(tuple(found["symbol"]), first, last, newest)
