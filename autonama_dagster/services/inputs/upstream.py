"""What a stage is made from must be stored: else its run ends with what to materialise first.

Candles are another matter: the exchange may have none, and rows without them say NO_DATA.
"""

from collections.abc import Collection, Mapping
from datetime import date

import pandas as pd

from autonama_dagster.analytics.scan.channel import NO_DATA
from autonama_dagster.analytics.scan.recipe import DayScope
from autonama_dagster.errors import MissingRowsError
from autonama_dagster.services.inputs.parameters import follows_from
from resources.warehouse.ledger import kept_out
from resources.warehouse.warehouse import Warehouse

Keys = set[tuple[str, date]]
WHERE_TRADED = "indicators"  # has no row, and needs none, where there is no candle


def require_rows(
    warehouse: Warehouse, asset: str, scope: DayScope, upstream: Mapping[str, pd.DataFrame]
) -> None:
    """Refuse to make an asset of days and symbols whose upstream rows are not all stored.

    Rows that did not fit their table, and lie in the quarantine, are not waited for.

    Parameters
    ----------
    asset
        What is to be made.
    scope
        The run's symbols and days.
    upstream
        Rows of the same partitions by asset; the first of them says in `status` where there is no
        candle.

    Raises
    ------
    MissingRowsError
        A row is missing.
    """
    days = scope.days
    symbols = scope.symbols or ()
    leader = next(iter(upstream.values()))
    needed = len(days) * len(symbols)
    without = int((leader["status"] == NO_DATA).sum())
    if all(
        len(rows) >= needed - (without if name == WHERE_TRADED else 0)
        for name, rows in upstream.items()
    ):
        return
    wanted = {(symbol, day) for symbol in symbols for day in days}
    untraded = keys_of(leader[leader["status"] == NO_DATA])
    missing = {
        name: found
        for name, rows in upstream.items()
        if (found := wanted - keys_of(rows) - (untraded if name == WHERE_TRADED else set()))
    }
    refuse_missing(warehouse, asset, missing)


def refuse_missing(warehouse: Warehouse, asset: str, missing: Mapping[str, Keys]) -> None:
    """Raise for rows that are missing, by asset, unless they lie in the quarantine."""
    everything = set[tuple[str, date]]().union(*missing.values())
    if not everything:
        return
    days = [day for _, day in everything]
    out = kept_out(warehouse, follows_from(*missing), min(days), max(days))
    everything -= {(s, day) for of in out.values() for day, names in of.items() for s in names}
    names = [name for name, keys in missing.items() if keys & everything]
    if not names:
        return
    symbol, day = min(everything, key=lambda key: (key[1], key[0]))
    more = f" and {len(everything) - 1:,} more symbol-days" if len(everything) > 1 else ""
    raise MissingRowsError(
        f"{asset}: no row of {' and '.join(names)} for {symbol} on {day}{more}; "
        f"materialise {', '.join(names)} first"
    )


def require_days(asset: str, scope: DayScope, upstream: str, stored: Collection[date]) -> None:
    """Refuse to make an asset of days that an upstream asset by day has no rows of.

    Raises
    ------
    MissingRowsError
        A day is missing.
    """
    missing = [day for day in scope.days if day not in stored]
    if missing:
        more = f" and {len(missing) - 1:,} more days" if len(missing) > 1 else ""
        raise MissingRowsError(
            f"{asset}: no row of {upstream} on {missing[0]}{more}; materialise {upstream} first"
        )


def keys_of(rows: pd.DataFrame) -> Keys:
    """Symbol and day of each row."""
    return set(zip(rows["symbol"].tolist(), rows["date"].dt.date.tolist(), strict=True))
