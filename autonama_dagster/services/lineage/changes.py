"""Changed candles and the rows that are stale by them, as a document, and what mends these."""

import shlex
from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from autonama_dagster.analytics.candles.intervals import MADE_FROM
from autonama_dagster.services.lineage.staleness import Stale
from resources.warehouse.revisions import Change

# Candles of chosen symbols, which no backfill makes.
LONGER: Final = tuple(f"ohlcv_{interval}" for interval in MADE_FROM)


def document(found: Sequence[Change], stale: Stale) -> dict[str, Any]:
    """Changes and stale rows in plain values, as JSON can hold them."""
    return {
        "changes": [
            {
                "table": c.table,
                "symbol": c.symbol,
                "date": c.date.isoformat(),
                "open_time": c.open_time.isoformat() if c.open_time else None,
                "changed_at": c.changed_at.isoformat(),
                "source": dict(zip(("old", "new"), c.sources, strict=True)),
                "columns": {
                    name: {"old": plain(old), "new": plain(new)}
                    for name, (old, new) in c.columns.items()
                },
            }
            for c in found
        ],
        "stale": {
            name: {
                "rows": len(keys),
                "days": sorted({day.isoformat() for day in keys["date"].dt.date}),
                "symbols": stale.symbols(name),
            }
            for name, keys in stale.rows.items()
        },
        "outdated_rows": stale.n_outdated,
        "unanswered_rankings": stale.n_unanswered,
        "commands": commands(stale),
    }


def commands(stale: Stale) -> list[str]:
    """Command lines that make the stale rows again, in their order."""
    lines = []
    if "universe" in stale.rows:
        days = stale.rows["universe"]["date"].dt.date
        lines.append(_backfill(min(days), max(days), "--assets universe"))
    names = [name for name in stale.rows if name != "universe" and name not in LONGER]
    if names:
        days = [day for name in names for day in stale.rows[name]["date"].dt.date]
        symbols = sorted({s for n in names if n != "correlation_matrix" for s in stale.symbols(n)})
        whose = f"--symbols {shlex.quote(','.join(symbols))} " if symbols else ""
        lines.append(_backfill(min(days), max(days), f"{whose}--assets {','.join(names)}"))
    return lines


def _backfill(first: date, last: date, rest: str) -> str:
    return f"autonama backfill --from {first} --to {last} {rest} --again"


def plain(value: Any) -> Any:
    """A number as JSON can hold it: NaN is None."""
    return None if value is None or value != value else value  # noqa: PLR0124
