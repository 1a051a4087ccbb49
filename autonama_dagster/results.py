"""A scan's results: from the tables or from a what-if, and how they are exported."""

import csv
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from autonama_dagster.settings import Settings
from resources.warehouse import Scope, Warehouse

EXPORTED = (
    "symbol", "date", "signal", "status", "close", "fitted_price", "lower_band", "upper_band",
    "z_score", "potential_return_pct", "target_return_pct", "band_width_pct", "signal_strength",
    "risk_level", "volatility_level", "trend", "confirmations", "is_member", "universe_rank",
    "input_hash", "params_hash", "code_version",
)  # fmt: skip


@dataclass(frozen=True)
class ScanResult:
    """What one day's scan found.

    Attributes
    ----------
    day
        The scanned day.
    signals
        Rows of `signals`, the members first, strongest first.
    summary
        The day's row of `analysis_summary` as plain values, JSON columns decoded.
    parameters
        Parameters the scan was made with.
    source
        Where the candles came from; "synthetic" is made-up data.
    stored
        False for a what-if.
    seconds
        Duration of each step by its title.
    failed
        Symbols whose candles could not be fetched.
    quarantined
        Candles of the scanned windows that were kept out.
    charts
        Files of symbol charts.
    """

    day: date
    signals: pd.DataFrame
    summary: dict[str, Any]
    parameters: dict[str, Any]
    source: str
    stored: bool
    seconds: dict[str, float] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    quarantined: int = 0
    charts: tuple[Path, ...] = ()


def scan_parameters(settings: Settings) -> dict[str, Any]:
    """The parameters that decide a scan's numbers."""
    return {
        "universe_size": settings.universe_size,
        "lookback_days": settings.lookback,
        "degree": settings.degree,
        "kstd": settings.kstd,
        "price_scale": settings.price_scale,
    }


def stored_result(warehouse: Warehouse, settings: Settings, day: date) -> ScanResult:
    """The result of a day as the tables hold it."""
    signals = warehouse.read("signals", Scope(first=day, last=day))
    summary = warehouse.read("analysis_summary", Scope(first=day, last=day))
    fetched = warehouse.failed_fetches(day)
    return ScanResult(
        day=day,
        signals=by_strength(signals),
        summary=plain_summary(summary),
        parameters=scan_parameters(settings),
        source=warehouse.source_label(day) or "none",
        stored=True,
        failed=tuple(fetched),
        quarantined=warehouse.quarantined_candles(signals["symbol"].tolist(), day),
    )


def by_strength(signals: pd.DataFrame) -> pd.DataFrame:
    """Members first; BUY, SELL, then HOLD; each by strength, |z_score| and symbol."""
    keys = pd.DataFrame(
        {
            "other": ~signals["is_member"].fillna(value=False).astype(bool),
            "kind": signals["signal"].map({"BUY": 0, "SELL": 1, "HOLD": 2}),
            "strength": -signals["signal_strength"],
            "distance": -signals["z_score"].abs(),
            "symbol": signals["symbol"],
        },
        index=signals.index,
    )
    return signals.loc[keys.sort_values(list(keys.columns)).index].reset_index(drop=True)


def plain_summary(frame: pd.DataFrame) -> dict[str, Any]:
    """The one row of `analysis_summary` as plain values; empty when there is none."""
    if frame.empty:
        return {}
    row = plain_records(frame)[0]
    for name in ("correlation_analysis", "top_buy_signals", "top_sell_signals"):
        row[name] = json.loads(row[name])
    return row


def plain_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON can hold them: missing values are None, dates are ISO strings."""
    return [{k: _plain(v) for k, v in row.items()} for row in frame.to_dict("records")]


def export(result: ScanResult, folder: Path, now: datetime | None = None) -> tuple[Path, Path]:
    """Write `backtest_results_YYYYMMDD_HHMMSS.json` and `.csv`; both or none, nothing overwritten.

    Returns
    -------
    json, csv
        The two files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stamp = f"{now or datetime.now(UTC):%Y%m%d_%H%M%S}"
    stem, number = f"backtest_results_{stamp}", 1
    while (folder / f"{stem}.json").exists():
        number += 1
        stem = f"backtest_results_{stamp}_{number}"
    rows = plain_records(result.signals.reindex(columns=list(EXPORTED)))
    table = folder / f"{stem}.csv"
    _replace(table, _csv(rows))
    document = folder / f"{stem}.json"
    _replace(document, json.dumps(as_json(result), indent=2) + "\n")
    return document, table


def as_json(result: ScanResult) -> dict[str, Any]:
    """The result as one JSON document."""
    return {
        "date": result.day.isoformat(),
        "source": result.source,
        "is_synthetic": result.source == "synthetic",
        "stored": result.stored,
        "parameters": result.parameters,
        "summary": result.summary,
        "signals": plain_records(result.signals.reindex(columns=list(EXPORTED))),
        "failed_symbols": list(result.failed),
        "quarantined_candles": result.quarantined,
        "seconds": {k: round(v, 3) for k, v in result.seconds.items()},
        "charts": [str(p) for p in result.charts],
    }


def _csv(rows: Iterable[dict[str, Any]]) -> str:
    from io import StringIO

    text = StringIO()
    writer = csv.DictWriter(text, EXPORTED)
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "confirmations": ";".join(row["confirmations"] or ())})
    return text.getvalue()


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)  # noqa: PTH105


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return value
    if value is None or pd.isna(value):
        return None
    if isinstance(value, pd.Timestamp):
        return value.date().isoformat() if value.tz is None else value.isoformat()
    return value.item() if hasattr(value, "item") else value
