"""A receipt as a document: what a signal is made of and which runs made it, for JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd

from autonama_dagster.errors import DatabaseError
from autonama_dagster.services.lineage.receipts import Receipt
from autonama_dagster.services.scan.results import plain_records
from autonama_dagster.settings import Settings
from resources.instance.facts import Run, read_runs
from resources.postgres.roles.readers import find_databases, reading


def runs_of(receipt: Receipt, settings: Settings) -> dict[str, Run]:
    """The runs that wrote the rows and the candles, by id; those that Dagster still knows."""
    ids = {*receipt.run_ids.values(), *receipt.candles["run_id"]}
    try:
        with reading(find_databases(settings).dagster) as connection:
            return {r.run_id: r for r in read_runs(connection, sorted(ids), datetime.now(UTC))}
    except DatabaseError:
        return {}  # the receipt itself needs none of it


def document(receipt: Receipt, runs: Mapping[str, Run], settings: Settings) -> dict[str, Any]:
    """The receipt in plain values, as JSON can hold them."""
    return {
        "symbol": receipt.symbol,
        "date": receipt.day.isoformat(),
        "is_match": receipt.is_match,
        "fault": receipt.fault,
        "chain": [asdict(link) | {"is_match": link.is_match} for link in receipt.links],
        "changed_candle": _suspects(receipt),
        "rows": {name: _row(row) for name, row in receipt.rows.items()},
        "window": _window(receipt),
        "parameters": dict(receipt.parameters),
        "made_with": {"stored": asdict(receipt.stored), "present": asdict(receipt.present)},
        "runs": [
            {
                "table": name,
                "run_id": run_id,
                "url": run_url(settings, run_id),
                **_run(runs.get(run_id)),
            }
            for name, run_id in receipt.run_ids.items()
        ],
        "candles": [
            row | {"origin": row["origin"] and json.loads(row["origin"])}
            for row in plain_records(receipt.candles)
        ],
    }


def run_url(settings: Settings, run_id: str) -> str:
    """Address of a run in the Dagster UI."""
    return f"{settings.ui_url.rstrip('/')}/runs/{run_id}"


def _suspects(receipt: Receipt) -> dict[str, str] | None:
    if receipt.suspects is None:
        return None
    first, last = receipt.suspects
    return {"first": first.isoformat(), "last": last.isoformat()}


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    (plain,) = plain_records(pd.DataFrame([row]))
    for name, value in plain.items():
        if isinstance(value, str) and value.startswith("{"):
            plain[name] = json.loads(value)
    return plain


def _window(receipt: Receipt) -> dict[str, Any]:
    """The window's facts with ISO days."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(receipt.window), default=date.isoformat))
    return found


def _run(run: Run | None) -> dict[str, Any]:
    if run is None:
        return {"job": None, "status": None, "started": None, "seconds": None}
    return {
        "job": run.job,
        "status": run.status,
        "started": None if run.started is None else run.started.isoformat(),
        "seconds": None if run.seconds is None else round(run.seconds, 1),
    }
