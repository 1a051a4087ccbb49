"""Stage `signals`."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

import dagster as dg
import pandas as pd

from assets.annotations import annotate, rounded
from assets.partitions import key_of
from assets.stage import run_scope, stage, with_provenance
from assets.upstream import require_rows
from autonama_dagster.analytics.candles.run_windows import RunWindows
from autonama_dagster.analytics.candles.window_facts import WindowFacts, window_facts
from autonama_dagster.analytics.candles.windows import day_number
from autonama_dagster.analytics.scan.channel import ChannelParams
from autonama_dagster.analytics.scan.input_hashes import signal_hashes
from autonama_dagster.analytics.scan.signals import decide
from autonama_dagster.schemas.tables.decision import SIGNALS_TABLE
from autonama_dagster.services.inputs.parameters import channel_params
from autonama_dagster.services.inputs.windows import read_windows
from autonama_dagster.settings import Settings
from autonama_dagster.text.escaping import markdown_code
from resources.warehouse.statements import Scope
from resources.warehouse.warehouse import Warehouse

MAX_ANNOTATED = 200  # a call costs 14 ms at 100 partitions and 0.9 s at 72,000
PRICE_DIGITS = 6
PRICES = ("close", "fitted_price", "lower_band", "upper_band")
# As a partition shows them.
ANNOTATED = (
    "signal", "z_score", "signal_strength", "close", "lower_band", "upper_band", "confirmations",
    "status", "fitted_price", "potential_return_pct", "input_hash",
)  # fmt: skip


@stage(
    "decision",
    SIGNALS_TABLE,
    "date_symbol",
    job="symbols_job",
    deps=("universe", "ohlcv_1d"),
    inputs=("regression_bands", "indicators", "data_quality"),
)
def signals(
    context: dg.AssetExecutionContext,
    warehouse: dg.ResourceParam[Warehouse],
    settings: dg.ResourceParam[Settings],
    regression_bands: pd.DataFrame,
    indicators: pd.DataFrame,
    data_quality: pd.DataFrame,
) -> pd.DataFrame:
    """BUY, SELL or HOLD for every registered symbol and day, with its confirmations."""
    scope = run_scope(context)
    upstream = {
        "regression_bands": regression_bands,
        "indicators": indicators,
        "data_quality": data_quality,
    }
    require_rows(warehouse, "signals", scope, upstream)
    universe = warehouse.read("universe", Scope(first=scope.first, last=scope.last))
    params = channel_params(settings)
    frame = decide(regression_bands, indicators, universe, data_quality, kstd=params.kstd)
    hashes = signal_hashes(frame, regression_bands, universe, data_quality)
    frame = frame.assign(input_hash=hashes)
    made = with_provenance(frame, "signals", settings)
    if len(frame) <= MAX_ANNOTATED:
        beside = {**upstream, "universe": universe}
        windows = read_windows(warehouse, scope, params.lookback)
        facts = _facts(windows, params)
        _annotate(context, made, beside, facts, asdict(params), settings.pictures_url)
    return made


def _facts(run: RunWindows, params: ChannelParams) -> dict[tuple[str, int], WindowFacts]:
    """What each window holds, by symbol and day."""
    return {
        (candles.symbol, int(window.day[at])): window_facts(
            candles, window.part(slice(at, at + 1)), params.lookback
        )
        for candles, window in zip(run.candles, run.windows, strict=True)
        for at in range(len(window))
    }


def _annotate(
    context: dg.AssetExecutionContext,
    frame: pd.DataFrame,
    beside: Mapping[str, pd.DataFrame],
    windows: Mapping[tuple[str, int], WindowFacts],
    parameters: Mapping[str, Any],
    pictures_url: str,
) -> None:
    """Put each row's own values and its receipt on its partition's materialisation."""
    inputs = {
        name: rows.set_index(["symbol", "date"])[["input_hash", "run_id"]].to_dict("index")
        for name, rows in beside.items()
    }
    partitions = {}
    for row in frame.to_dict("records"):
        symbol, day = row["symbol"], row["date"]
        receipt = {
            "made_from": {n: of[symbol, day] for n, of in inputs.items() if (symbol, day) in of},
            "window": asdict(windows[symbol, day_number(day)]),
            "parameters": dict(parameters),
            "params_hash": row["params_hash"],
            "code_version": row["code_version"],
        }
        command = f"autonama explain {shlex.quote(symbol)} {day:%Y-%m-%d}"
        picture = f"{pictures_url.rstrip('/')}/explain/{quote(symbol, safe='')}/{day:%Y-%m-%d}.png"
        as_picture = markdown_code(f"{command} --format png")
        partitions[key_of(day.date(), symbol)] = {
            **{name: _shown(name, row[name]) for name in ANNOTATED},
            "picture": dg.MetadataValue.url(picture),
            "check_it": dg.MetadataValue.md(f"{markdown_code(command)}, as a picture {as_picture}"),
            "receipt": dg.MetadataValue.json(json.loads(json.dumps(receipt, default=str))),
        }
    annotate(context, partitions)


def _shown(name: str, value: Any) -> Any:
    if name == "confirmations":
        return ", ".join(value) or "none"
    if isinstance(value, float):
        return rounded(value, digits=PRICE_DIGITS if name in PRICES else None)
    return value
