"""What a partition of `signals` shows in Dagster: its values, its receipt, its picture."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import quote

import dagster as dg
import pandas as pd

from assets.annotations import annotate, rounded
from autonama_dagster.analytics.candles.run_windows import RunWindows
from autonama_dagster.analytics.candles.window_facts import WindowFacts, window_facts
from autonama_dagster.analytics.candles.windows import day_number
from autonama_dagster.analytics.scan.channel import ChannelParams
from autonama_dagster.schemas.partitions import key_of
from autonama_dagster.text.escaping import markdown_code

MAX_ANNOTATED: Final = 200  # a call costs 14 ms at 100 partitions and 0.9 s at 72,000
_PRICE_DIGITS: Final = 6
_PRICES: Final = ("close", "fitted_price", "lower_band", "upper_band")
ANNOTATED: Final = (
    "signal", "z_score", "signal_strength", "close", "lower_band", "upper_band", "confirmations",
    "status", "fitted_price", "potential_return_pct", "input_hash",
)  # fmt: skip


def facts_of_windows(run: RunWindows, params: ChannelParams) -> dict[tuple[str, int], WindowFacts]:
    """What each window holds, by symbol and day."""
    return {
        (candles.symbol, int(window.day[at])): window_facts(
            candles, window.part(slice(at, at + 1)), params.lookback
        )
        for candles, window in zip(run.candles, run.windows, strict=True)
        for at in range(len(window))
    }


def annotate_signals(
    context: dg.AssetExecutionContext,
    frame: pd.DataFrame,
    upstream: Mapping[str, pd.DataFrame],
    windows: Mapping[tuple[str, int], WindowFacts],
    parameters: Mapping[str, Any],
    pictures_url: str,
) -> None:
    """Put each row's own values and its receipt on its partition's materialisation."""
    inputs = {
        name: rows.set_index(["symbol", "date"])[["input_hash", "run_id"]].to_dict("index")
        for name, rows in upstream.items()
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
        return rounded(value, digits=_PRICE_DIGITS if name in _PRICES else None)
    return value
