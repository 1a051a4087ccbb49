"""A scan's results: from the tables or from a what-if, and how they are exported."""

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from autonama_dagster.errors import InputError
from autonama_dagster.settings import Settings
from autonama_dagster.text.escaping import csv_text
from resources.warehouse.candle_queries import (
    RANKING,
    failed_fetches,
    quarantined_candles,
    source_label,
)
from resources.warehouse.ledger import first_refusal
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse

EXPORTED = (
    "symbol", "date", "signal", "status", "quality", "close", "fitted_price", "lower_band",
    "upper_band", "z_score", "potential_return_pct", "target_return_pct", "band_width_pct",
    "signal_strength", "risk_level", "volatility_level", "trend", "confirmations", "is_member",
    "universe_rank", "input_hash", "params_hash", "code_version",
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
    refusal
        What the exchange said of one of them.
    quarantined
        Candles of the scanned symbols up to the day that were kept out.
    charts
        Files of symbol charts.
    interval
        Of the candles.
    candle_opens
        When the scanned candle opens, where it is no daily one: the last that closed by the day's
        end.
    """

    day: date
    signals: pd.DataFrame
    summary: dict[str, Any]
    parameters: dict[str, Any]
    source: str
    stored: bool
    seconds: dict[str, float] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    refusal: str = ""
    quarantined: int = 0
    charts: tuple[Path, ...] = ()
    interval: str = "1d"
    candle_opens: datetime | None = None


def scan_parameters(settings: Settings, interval: str = "1d") -> dict[str, Any]:
    """The parameters that decide a scan's numbers; the window counts steps of the interval."""
    window = "lookback_days" if interval == "1d" else "lookback_steps"
    lists = {"symbols": list(settings.symbols), "exclude": list(settings.exclude)}
    return {
        "universe_size": settings.universe_size,
        **{name: pairs for name, pairs in lists.items() if pairs},
        window: settings.lookback,
        "degree": settings.degree,
        "kstd": settings.kstd,
        "price_scale": settings.price_scale,
    }


def stored_result(warehouse: Warehouse, settings: Settings, day: date) -> ScanResult:
    """The result of a day as the tables hold it."""
    signals = warehouse.read("signals", Scope(first=day, last=day))
    summary = warehouse.read("analysis_summary", Scope(first=day, last=day))
    failed = {*failed_fetches(warehouse, day), *failed_fetches(warehouse, day, RANKING)}
    return ScanResult(
        day=day,
        signals=by_strength(signals),
        summary=plain_summary(summary),
        parameters=scan_parameters(settings),
        source=source_label(warehouse, day) or "none",
        stored=True,
        failed=tuple(sorted(failed)),
        refusal=first_refusal(warehouse, day) if failed else "",
        quarantined=quarantined_candles(warehouse, signals["symbol"].tolist(), day),
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
    for name in ("chance_analysis", "correlation_analysis", "top_buy_signals", "top_sell_signals"):
        row[name] = None if row[name] is None else json.loads(row[name])
    return row


def plain_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON can hold them: missing values are None, dates are ISO strings."""
    return [{str(k): _plain(v) for k, v in row.items()} for row in frame.to_dict("records")]


def results_folder(folder: Path) -> Path:
    """Make the folder results go to, before the work that they cost.

    Raises
    ------
    InputError
        The folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot create the results folder {folder}: {error.strerror}; choose another --output"
        ) from None
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write to the results folder {folder}; choose another --output")
    return folder


def export(result: ScanResult, folder: Path, now: datetime | None = None) -> tuple[Path, Path]:
    """Write `backtest_results_YYYYMMDD_HHMMSS.json` and `.csv`, overwriting nothing.

    The time is that of the export, or the next second that no other export has.

    Returns
    -------
    json, csv
        The two files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = _reserve(folder, now or datetime.now(UTC))
    document = table.with_suffix(".json")
    _replace(table, _csv(result))
    _replace(document, json.dumps(as_json(result), indent=2, allow_nan=False) + "\n")
    return document, table


def _reserve(folder: Path, time: datetime) -> Path:
    """Create an empty CSV under a name that no other export has, also not at the same moment."""
    while True:
        table = folder / f"backtest_results_{time:%Y%m%d_%H%M%S}.csv"
        time += timedelta(seconds=1)
        if table.with_suffix(".json").exists():
            continue
        try:
            table.touch(exist_ok=False)
        except FileExistsError:
            continue
        return table


def as_json(result: ScanResult) -> dict[str, Any]:
    """The result as one JSON document."""
    return {
        "date": result.day.isoformat(),
        "interval": result.interval,
        "candle_opens": result.candle_opens.isoformat() if result.candle_opens else None,
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


def _csv(result: ScanResult) -> str:
    """Rows of the signals; the last columns say on each where it is from."""
    origin = (result.interval, result.source, result.stored)
    rows = [
        (*(csv_value(row[name]) for name in EXPORTED), *origin)
        for row in plain_records(result.signals.reindex(columns=list(EXPORTED)))
    ]
    return csv_text((*EXPORTED, "interval", "source", "is_stored"), rows, "\r\n")


def csv_value(value: Any) -> Any:
    """A plain value in one cell: a list is joined by `;`."""
    return ";".join(map(str, value)) if isinstance(value, list) else value


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
