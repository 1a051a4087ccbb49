"""The four jobs of a scan, and the arguments that run a planner's step with them."""

from typing import Any

import dagster as dg

from autonama_dagster.partitions import key_of
from autonama_dagster.planner import Step

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"

# Job, the partitioning its assets share, and its assets in pipeline order.
JOBS: dict[str, tuple[str, tuple[str, ...]]] = {
    "universe_job": ("date", ("universe",)),
    "history_job": ("symbol", ("ohlcv_1d_history",)),
    "symbols_job": (
        "date_symbol",
        ("ohlcv_1d", "indicators", "regression_bands", "signals", "asset_analytics", "alerts"),
    ),
    "summary_job": ("date", ("correlation_matrix", "analysis_summary")),
}
_DESCRIPTIONS = {
    "universe_job": "Rank the candidates of a day.",
    "history_job": "Candles before the start date, for symbols that are new.",
    "symbols_job": "Candles to alerts of the registered symbols.",
    "summary_job": "Correlations and the summary of a day.",
}


def build_jobs() -> list[Any]:
    """The jobs, unresolved; steps run in one process because each own process costs seconds."""
    return [
        dg.define_asset_job(
            name,
            selection=dg.AssetSelection.assets(*assets),
            executor_def=dg.in_process_executor,
            description=_DESCRIPTIONS[name],
        )
        for name, (_, assets) in JOBS.items()
    ]


def range_tags(step: Step) -> dict[str, str]:
    """Tags that make one run of the step's rectangle of partitions."""
    kind, _ = JOBS[step.job]
    first, last = {
        "date": lambda: (step.first.isoformat(), step.last.isoformat()),
        "symbol": lambda: (step.symbols[0], step.symbols[-1]),
        "date_symbol": lambda: (
            key_of(step.first, step.symbols[0]),
            key_of(step.last, step.symbols[-1]),
        ),
    }[kind]()
    return {RANGE_START_TAG: first, RANGE_END_TAG: last}


def run_config(step: Step) -> dict[str, Any]:
    """Run configuration of the step's assets."""
    ops = {asset: {"config": dict(values)} for asset, values in step.config.items()}
    return {"ops": ops} if ops else {}
