"""Dagster's bookkeeping of range runs, ours against the stock storage.

The assets do nothing: the time is that of runs, events and their storage. Each storage has a
database of its own on one embedded server, and they take turns. The stock storage is measured as
Dagster ships it, and with Dagster's batches switched on. As shipped it takes 40 ms per partition
and asset, 13 minutes for 30 days, so by default it gets fewer days than ours; a ratio is always
between equal rectangles.
"""

import argparse
import os
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from unittest.mock import patch

import dagster as dg
from dagster import DagsterInstance
from dagster._core.instance.ref import InstanceRef

from autonama_dagster.schemas.partitions import RANGE_END_TAG, RANGE_START_TAG
from bench.report import report
from resources.dagster_storage import BATCH_SIZE, BATCH_SIZE_VARIABLE
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.postgres.urls import dagster_url

TARGET = 10
GRID_ASSETS = 6
DATE_ASSETS = 2
FIRST_DAY = date(2024, 1, 1)
KINDS = {  # storage class, and Dagster's batch size while it is measured
    "ours": ("AutonamaStorage", BATCH_SIZE),
    "stock": ("StockStorage", 0),
    "stock_batched": ("StockStorage", BATCH_SIZE),
}
QUIET = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}

daily = dg.DailyPartitionsDefinition(FIRST_DAY.isoformat())
grid = dg.MultiPartitionsDefinition(
    {"date": daily, "symbol": dg.DynamicPartitionsDefinition(name="symbol")}
)


def chain(name: str, count: int, partitions: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """Assets that do nothing, each downstream of the one before."""

    def nothing() -> None: ...

    names = [f"{name}_{number}" for number in range(count)]
    return [
        dg.asset(name=key, partitions_def=partitions, deps=[before] if before else [])(nothing)
        for before, key in zip([None, *names], names, strict=False)
    ]


def jobs() -> tuple[dg.JobDefinition, dg.JobDefinition]:
    """The job of the date x symbol assets and the job of the date assets."""
    by_grid, by_date = chain("grid", GRID_ASSETS, grid), chain("date", DATE_ASSETS, daily)
    definitions = dg.Definitions(
        assets=[*by_grid, *by_date],
        jobs=[
            dg.define_asset_job("grid_job", selection=by_grid),
            dg.define_asset_job("date_job", selection=by_date),
        ],
        executor=dg.in_process_executor,
    )
    return definitions.resolve_job_def("grid_job"), definitions.resolve_job_def("date_job")


def make_instance(kind: str, server: EmbeddedPostgres, home: Path) -> DagsterInstance:
    """A Dagster instance on a new database, as its `dagster.yaml` would make it."""
    server.ensure_database(kind)
    url = dagster_url(server.url(kind))
    overrides = {
        "storage": {"custom": {"module": "resources.dagster_storage", "class": KINDS[kind][0]}},
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": "NoOpComputeLogManager",
        },
        "telemetry": {"enabled": False},
    }
    folder = home / kind
    folder.mkdir()
    with patch.dict(os.environ, {"AUTONAMA_DAGSTER_DATABASE_URL": url}):
        return DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), overrides=overrides))


def seconds(kind: str, instance: DagsterInstance, symbols: list[str], days: int) -> float:
    """Seconds of the two runs that fill a rectangle of all assets."""
    last_day = (FIRST_DAY + timedelta(days=days - 1)).isoformat()
    edges = {
        "grid_job": (f"{FIRST_DAY}|{symbols[0]}", f"{last_day}|{symbols[-1]}"),
        "date_job": (FIRST_DAY.isoformat(), last_day),
    }
    os.environ[BATCH_SIZE_VARIABLE] = str(KINDS[kind][1])
    begun = perf_counter()
    for job in jobs():
        first, last = edges[job.name]
        job.execute_in_process(
            instance=instance,
            run_config=QUIET,
            tags={RANGE_START_TAG: first, RANGE_END_TAG: last},
        )
    return perf_counter() - begun


def measure(
    instances: dict[str, DagsterInstance], symbols: list[str], days: int, repeat: int
) -> dict[str, float]:
    """Median seconds of each instance for the same rectangle, after a small one to warm up."""
    for kind, instance in instances.items():
        instance.add_dynamic_partitions("symbol", symbols)
        seconds(kind, instance, symbols[:1], 1)
    taken: dict[str, list[float]] = {kind: [] for kind in instances}
    for _ in range(repeat):
        for kind, instance in instances.items():
            taken[kind].append(seconds(kind, instance, symbols, days))
    return {kind: median(all_seconds) for kind, all_seconds in taken.items()}


def main() -> None:
    """Measure all in turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=100, help="symbols (default: 100)")
    parser.add_argument("--days", type=int, default=30, help="days for our storage (default: 30)")
    parser.add_argument(
        "--stock-days", type=int, default=1, help="days for the comparison (default: 1)"
    )
    parser.add_argument("--repeat", type=int, default=3, help="measurements of each (default: 3)")
    given = parser.parse_args()
    symbols = [f"S{number:03}USDT" for number in range(given.symbols)]

    def partitions(days: int) -> int:
        return days * (given.symbols * GRID_ASSETS + DATE_ASSETS)

    with TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        try:
            server.start()
            instances = {kind: make_instance(kind, server, Path(folder)) for kind in KINDS}
            compared = measure(instances, symbols, given.stock_days, given.repeat)
            if given.days == given.stock_days:
                alone = compared["ours"]
            else:
                ours = {"ours": instances["ours"]}
                alone = measure(ours, symbols, given.days, given.repeat)["ours"]
        finally:
            server.destroy()
    value = compared["stock"] / compared["ours"]
    report(
        "bookkeeping",
        round(value, 1),
        "x stock event log storage",
        target=TARGET,
        met=value >= TARGET,
        compared_days=given.stock_days,
        compared_seconds={kind: round(taken, 2) for kind, taken in compared.items()},
        ratio_to_batched_stock=round(compared["stock_batched"] / compared["ours"], 1),
        symbols=given.symbols,
        assets=GRID_ASSETS + DATE_ASSETS,
        days=given.days,
        seconds=round(alone, 2),
        partitions=partitions(given.days),
        ms_per_partition=round(alone / partitions(given.days) * 1e3, 3),
        repeat=given.repeat,
    )


if __name__ == "__main__":
    main()
