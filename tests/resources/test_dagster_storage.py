"""The bulk storage must report what dagster-postgres reports: the same runs on both, compared."""

import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import NAMESPACE_OID, uuid5

import dagster as dg
import pytest
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.events.log import EventLogEntry
from dagster._core.instance.ref import InstanceRef
from dagster._core.test_utils import in_process_test_workspace
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._serdes import serialize_value
from dagster_graphql.test.utils import execute_dagster_graphql

from resources.postgres.server.embedded import EmbeddedPostgres
from resources.postgres.urls import dagster_url

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
AWKWARD = "tab\there, line\nthere, back\\slash, \\N, quote ' and \u20bf"

grid = dg.MultiPartitionsDefinition(
    {
        "date": dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-05"),
        "symbol": dg.DynamicPartitionsDefinition(name="symbol"),
    }
)


@dg.asset(
    check_specs=[
        dg.AssetCheckSpec("fresh", asset="candles"),
        dg.AssetCheckSpec("complete", asset="candles"),
    ],
    partitions_def=grid,
)
def candles():
    return dg.MaterializeResult(
        metadata={"rows": 7, "note": AWKWARD, "table": {"a\tb": [1, None]}},
        check_results=[
            dg.AssetCheckResult(check_name="fresh", passed=True),
            dg.AssetCheckResult(check_name="complete", passed=False, metadata={"missing": 2}),
        ],
    )


@dg.asset(deps=[candles], partitions_def=grid)
def bands(context: dg.AssetExecutionContext):
    context.log_event(dg.AssetObservation("candles", metadata={"seen": 3}))
    if context.run.tags.get("break"):
        raise dg.Failure("made to fail")
    return dg.MaterializeResult(metadata={"rows": 5}, tags={"kind": "channel"})


@dg.asset
def summary():
    return dg.MaterializeResult(metadata={"note": AWKWARD}, data_version=dg.DataVersion("v1"))


with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.BetaWarning)

    @dg.multi_observable_source_asset(specs=[dg.AssetSpec("feed", partitions_def=grid)])
    def feed():
        yield dg.ObserveResult(asset_key="feed", data_version=dg.DataVersion("f1"))


@dg.asset(partitions_def=grid)
def retired() -> None: ...


ASSETS = ("candles", "bands", "summary", "feed", "retired")
defs = dg.Definitions(
    assets=[candles, bands, summary, feed, retired],
    jobs=[
        dg.define_asset_job("chain", selection=["candles", "bands"]),
        dg.define_asset_job("summary_job", selection=["summary"]),
        dg.define_asset_job("feed_job", selection=["feed"]),
        dg.define_asset_job("retired_job", selection=["retired"]),
    ],
    executor=dg.in_process_executor,
)


def between(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def run_id(name: str) -> str:
    """The same id on both storages, so that whatever names a run can be compared."""
    return str(uuid5(NAMESPACE_OID, name))


def play(instance: DagsterInstance) -> None:
    """Everything that can become of a run, a partition, a check and an asset."""

    def execute(job: str, name: str, *, success: bool = True, **how: Any) -> None:
        result = defs.resolve_job_def(job).execute_in_process(
            instance=instance, run_id=run_id(name), raise_on_error=False, **how
        )
        assert result.success == success

    def create(name: str, status: DagsterRunStatus, tags: dict[str, str]) -> None:
        job = defs.resolve_job_def("chain")
        instance.create_run_for_job(job, run_id=run_id(name), status=status, tags=tags)

    instance.add_dynamic_partitions("symbol", SYMBOLS)
    execute("chain", "range", tags=between("2024-01-01|BTCUSDT", "2024-01-02|SOLUSDT"))
    execute("chain", "single", partition_key="2024-01-03|SOLUSDT")
    execute("chain", "again", tags=between("2024-01-02|BTCUSDT", "2024-01-02|ETHUSDT"))
    to_break = {"break": "yes"} | between("2024-01-02|BTCUSDT", "2024-01-03|BTCUSDT")
    execute("chain", "broken", success=False, tags=to_break)
    execute("summary_job", "unpartitioned")
    execute("feed_job", "observed", tags=between("2024-01-01|BTCUSDT", "2024-01-01|ETHUSDT"))
    execute("retired_job", "wiped", tags=between("2024-01-01|BTCUSDT", "2024-01-01|ETHUSDT"))
    instance.wipe_assets([dg.AssetKey("retired")])
    execute("retired_job", "after the wipe", partition_key="2024-01-04|SOLUSDT")
    planned = between("2024-01-04|BTCUSDT", "2024-01-04|BTCUSDT")
    create("planned", DagsterRunStatus.NOT_STARTED, planned)
    running = between("2024-01-04|ETHUSDT", "2024-01-04|SOLUSDT")
    create("running", DagsterRunStatus.STARTED, running)


QUERY = """query($asset: AssetKeyInput!) {
  assetNodeOrError(assetKey: $asset) { ... on AssetNode {
    partitionStats { numMaterialized numFailed numMaterializing numPartitions }
    assetPartitionStatuses { ... on MultiPartitionStatuses { ranges {
      primaryDimStartKey primaryDimEndKey
      secondaryDim { ... on DefaultPartitionStatuses {
        materializedPartitions failedPartitions materializingPartitions } } } } }
    latestMaterializationByPartition {
      partition runId stepKey tags { key value } metadataEntries { __typename label
        ... on TextMetadataEntry { text } ... on IntMetadataEntry { intValue }
        ... on JsonMetadataEntry { jsonString } } }
    assetMaterializations { partition runId }
    assetObservations { partition runId }
    assetChecksOrError { ... on AssetChecks { checks { name
      executionForLatestMaterialization { status runId } } } } } }
  runsOrError { ... on Runs { results {
    runId status assets { key { path } } assetChecks { name }
    stats { ... on RunStatsSnapshot { stepsSucceeded stepsFailed materializations } } } } }
  assetsOrError { ... on AssetConnection { nodes { key { path } } } }
}"""


def canonical(value: Any) -> Any:
    """Lists in one order: Dagster's order of the partitions of a range is random."""
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted(map(canonical, value), key=lambda item: json.dumps(item, sort_keys=True))
    return value


def told_by_graphql(instance: DagsterInstance) -> dict[str, Any]:
    origin = LoadableTargetOrigin(
        executable_path=sys.executable, python_file=__file__, attribute="defs"
    )
    with in_process_test_workspace(instance, origin) as context:
        return {
            asset: canonical(
                execute_dagster_graphql(context, QUERY, {"asset": {"path": [asset]}}).data
            )
            for asset in ASSETS
        }


def told_by_storage(instance: DagsterInstance) -> dict[str, Any]:
    """What the storage answers, without ids and times; the events themselves are compared whole."""
    log = instance.event_log_storage
    told: dict[str, Any] = {}
    for asset in ASSETS:
        key = dg.AssetKey(asset)
        record = log.get_asset_records([key])[0].asset_entry
        ids = log.get_latest_storage_id_by_partition(key, DagsterEventType.ASSET_MATERIALIZATION)
        latest = dg.AssetRecordsFilter(asset_key=key, storage_ids=list(ids.values()))
        attempts = log.get_latest_asset_partition_materialization_attempts_without_materializations
        last = record.last_materialization
        planned = log.get_latest_planned_materialization_info(key)
        checks = [dg.AssetCheckKey(key, name) for name in ("fresh", "complete")]
        told[asset] = {
            "materialized": log.get_materialized_partitions(key),
            "latest": {
                r.partition_key: r.run_id for r in log.fetch_materializations(latest, 99)[0]
            },
            "tags": canonical(log.get_event_tags_for_asset(key)),
            "versions": log.get_latest_tags_by_partition(
                key, DagsterEventType.ASSET_MATERIALIZATION, [DATA_VERSION_TAG]
            ),
            "attempts": {partition: run for partition, (run, _) in attempts(key).items()},
            "record": (record.last_run_id, last and last.run_id, planned and planned.run_id),
            "checks": [
                (name, run.run_id, run.status)
                for name, summary in log.get_asset_check_summary_records(checks).items()
                if (run := summary.last_check_execution_record)
            ],
        }
    for run in instance.get_runs():
        entries = instance.all_logs(run.run_id)
        told[run.run_id] = {
            "status": run.status,
            "types": Counter(e.dagster_event_type for e in entries),
            "events": Counter(without_time(e) for e in entries if is_about_an_asset(e)),
        }
    return told


def is_about_an_asset(entry: EventLogEntry) -> bool:
    event = entry.get_dagster_event() if entry.is_dagster_event else None
    return event is not None and (event.asset_key is not None or "CHECK" in event.event_type_value)


def without_time(entry: EventLogEntry) -> str:
    stored = json.loads(serialize_value(entry._replace(timestamp=0.0)))
    data = stored["dagster_event"]["event_specific_data"]
    if target := data.get("target_materialization_data"):
        target.update(storage_id=0, timestamp=0)
    return json.dumps(stored, sort_keys=True)


def make_instance(storage: str, url: str, folder: Path) -> DagsterInstance:
    """An instance as Dagster makes it from a `dagster.yaml` that names the storage class."""
    noop = "dagster._core.storage.noop_compute_log_manager"
    configuration = {
        "storage": {"custom": {"module": "resources.dagster_storage", "class": storage}},
        "compute_logs": {"module": noop, "class": "NoOpComputeLogManager"},
        "telemetry": {"enabled": False},
    }
    with patch("resources.postgres.database.dagster_database_url", return_value=url):
        ref = InstanceRef.from_dir(str(folder), overrides=configuration)
        return DagsterInstance.from_ref(ref)


@pytest.fixture(scope="module")
def played(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[DagsterInstance]]:
    """The same play on the stock storage and on ours."""
    instances = []
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DAGSTER_EVENT_BATCH_SIZE", "0")  # as Dagster ships it
        for storage in ("StockStorage", "AutonamaStorage"):
            name = storage.lower()
            postgres.ensure_database(name)
            url = dagster_url(postgres.url(name))
            instances.append(make_instance(storage, url, tmp_path_factory.mktemp(name)))
            play(instances[-1])
            environment.delenv("DAGSTER_EVENT_BATCH_SIZE")  # from here on, ours sets it
        yield instances
    for instance in instances:
        instance.dispose()


def test_graphql_tells_the_same(played):
    stock, bulk = (told_by_graphql(instance) for instance in played)
    assert bulk == stock


def test_storage_tells_the_same(played):
    stock, bulk = (told_by_storage(instance) for instance in played)
    assert bulk == stock


def test_every_state_of_a_partition_is_told(played):
    told = told_by_graphql(played[1])["bands"]["assetNodeOrError"]
    states: dict[str, set[str]] = {}
    for block in told["assetPartitionStatuses"]["ranges"]:
        days = range(int(block["primaryDimStartKey"][-2:]), int(block["primaryDimEndKey"][-2:]) + 1)
        for state, symbols in block["secondaryDim"].items():
            states.setdefault(state, set()).update(f"{d} {s[0]}" for d in days for s in symbols)
    assert states == {
        "materializedPartitions": {"1 B", "1 E", "1 S", "2 E", "2 S", "3 S"},
        "failedPartitions": {"2 B", "3 B"},
        "materializingPartitions": {"4 B", "4 E", "4 S"},
    }
