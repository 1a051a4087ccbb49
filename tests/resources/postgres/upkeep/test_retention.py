"""Retention deletes what the settings say, and no partition's status changes by it."""

import json
import sys
import threading
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from unittest.mock import patch

import dagster as dg
import psycopg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._core.test_utils import in_process_test_workspace
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster_graphql.test.utils import execute_dagster_graphql

from autonama_dagster.settings import Settings
from resources.postgres.upkeep import retention
from resources.postgres.upkeep.retention import is_on, retain
from resources.postgres.urls import dagster_url, libpq_url
from resources.waiting import told_to

grid = dg.MultiPartitionsDefinition(
    {
        "date": dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-05"),
        "symbol": dg.DynamicPartitionsDefinition(name="symbol"),
    }
)


@dg.asset(partitions_def=grid, check_specs=[dg.AssetCheckSpec("fresh", asset="candles")])
def candles():
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


@dg.asset(deps=[candles], partitions_def=grid)
def bands(context: dg.AssetExecutionContext) -> None:
    context.log_event(dg.AssetObservation("candles"))
    if context.run.tags.get("break"):
        raise dg.Failure("made to fail")


@dg.asset
def summary() -> None: ...


ASSETS = ("candles", "bands", "summary")
defs = dg.Definitions(
    assets=[candles, bands, summary],
    jobs=[
        dg.define_asset_job("chain", selection=["candles", "bands"]),
        dg.define_asset_job("summary_job", selection=["summary"]),
    ],
    executor=dg.in_process_executor,
)
QUERY = """query($asset: AssetKeyInput!) {
  assetNodeOrError(assetKey: $asset) { ... on AssetNode {
    partitionStats { numMaterialized numFailed numMaterializing numPartitions }
    assetPartitionStatuses { ... on MultiPartitionStatuses { ranges {
      primaryDimStartKey primaryDimEndKey
      secondaryDim { ... on DefaultPartitionStatuses {
        materializedPartitions failedPartitions materializingPartitions } } } } }
    latestMaterializationByPartition { partition runId timestamp }
    staleStatus
    assetChecksOrError { ... on AssetChecks { checks { name
      executionForLatestMaterialization { status runId } } } } } }
  runsOrError { ... on Runs { results { runId status } } }
}"""
FAR = datetime.now(UTC) + timedelta(days=100)


def between(first, last):
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def play(instance):
    """Partitions done once and twice, failed after success, and in flight."""

    def execute(job, *, success=True, **how):
        result = defs.resolve_job_def(job).execute_in_process(
            instance=instance, raise_on_error=False, **how
        )
        assert result.success == success

    instance.add_dynamic_partitions("symbol", ["BTCUSDT", "ETHUSDT"])
    execute("chain", tags=between("2024-01-01|BTCUSDT", "2024-01-02|ETHUSDT"))
    execute("chain", partition_key="2024-01-01|BTCUSDT")
    broken = between("2024-01-02|BTCUSDT", "2024-01-03|BTCUSDT") | {"break": "yes"}
    execute("chain", success=False, tags=broken)
    execute("summary_job")
    execute("summary_job")
    instance.create_run_for_job(
        defs.resolve_job_def("chain"),
        status=dg.DagsterRunStatus.STARTED,
        tags=between("2024-01-04|BTCUSDT", "2024-01-04|ETHUSDT"),
    )


def told(instance):
    """What the pages of the assets show."""
    origin = LoadableTargetOrigin(
        executable_path=sys.executable, python_file=__file__, attribute="defs"
    )
    with in_process_test_workspace(instance, origin) as context:
        return {
            asset: json.dumps(
                execute_dagster_graphql(context, QUERY, {"asset": {"path": [asset]}}).data,
                sort_keys=True,
            )
            for asset in ASSETS
        }


@pytest.fixture
def played(postgres, tmp_path, request):
    name = f"retained_{abs(hash(request.node.name)) % 10**8}"
    postgres.ensure_database(name)
    url = dagster_url(postgres.url(name))
    noop = "dagster._core.storage.noop_compute_log_manager"
    configuration = {
        "storage": {"custom": {"module": "resources.dagster_storage", "class": "AutonamaStorage"}},
        "compute_logs": {"module": noop, "class": "NoOpComputeLogManager"},
        "telemetry": {"enabled": False},
    }
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("DAGSTER_EVENT_BATCH_SIZE", "1000")
        with patch("resources.postgres.database.dagster_database_url", return_value=url):
            ref = InstanceRef.from_dir(str(tmp_path), overrides=configuration)
            instance = dg.DagsterInstance.from_ref(ref)
        play(instance)
        with closing(psycopg.connect(libpq_url(url), autocommit=True)) as connection:
            yield instance, url, connection
    instance.dispose()


def settings(**days):
    return Settings(start_date=date(2024, 1, 1), **days)


def count(connection, table, where="true"):
    return connection.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchone()[0]


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 7)


def forget_cached_status(connection):
    connection.execute("UPDATE asset_keys SET cached_status_data = NULL")


@pytest.mark.usefixtures("small_batches")
def test_pages_of_assets_show_the_same_afterwards(played, database):
    instance, url, connection = played
    before = told(instance)
    assert '"numFailed": 2' in before["bands"]
    assert '"numMaterializing": 2' in before["bands"]
    events, tags = count(connection, "event_logs"), count(connection, "asset_event_tags")
    chosen = settings(retention_events_days=30)
    planned = retain(chosen, database, lambda: url, dry_run=True, now=FAR)
    assert count(connection, "event_logs") == events
    assert retain(chosen, database, lambda: url, now=FAR) == planned
    assert {r.table: r.before for r in planned} == {
        "event_logs": (FAR - timedelta(days=30)).date(),
        "asset_check_executions": (FAR - timedelta(days=30)).date(),
    }
    went = {r.table: r.rows for r in planned}
    assert count(connection, "event_logs") == events - went["event_logs"]
    assert went["event_logs"] > events / 2
    assert went["asset_check_executions"] > 0
    assert 0 < count(connection, "asset_event_tags") < tags
    assert not count(connection, "asset_event_tags", "event_id NOT IN (SELECT id FROM event_logs)")
    assert told(instance) == before
    forget_cached_status(connection)
    assert told(instance) == before
    # A second time there is nothing left to do, and what comes next is told as ever.
    assert sum(r.rows for r in retain(chosen, database, lambda: url, now=FAR)) == 0
    defs.resolve_job_def("chain").execute_in_process(
        instance=instance, partition_key="2024-01-03|BTCUSDT"
    )
    assert '"numFailed": 1' in told(instance)["bands"]


def test_events_of_a_run_in_flight_and_young_ones_stay(played, database):
    instance, url, connection = played
    (running,) = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    instance.report_engine_event("it works", running)
    of_run = f"run_id = '{running.run_id}'"
    before = count(connection, "event_logs", of_run)
    assert before > 1
    retain(settings(retention_events_days=30), database, lambda: url, now=FAR)
    assert count(connection, "event_logs", of_run) == before
    events = count(connection, "event_logs")
    assert events
    retain(settings(retention_events_days=1), database, lambda: url)
    assert count(connection, "event_logs") == events


def fill(url, days):
    """A row of today and of each of the days before it in the tables that retention knows."""
    with psycopg.connect(libpq_url(url)) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.columns WHERE table_schema = 'trading' "
            "AND column_name = 'date' AND table_name IN (SELECT tablename FROM pg_tables)"
        ).fetchall()
        for (table,) in tables:
            required = connection.execute(
                "SELECT column_name, data_type FROM information_schema.columns "
                "WHERE table_schema = 'trading' AND table_name = %s AND is_nullable = 'NO'",
                (table,),
            ).fetchall()
            values = {
                "text": "'AAUSDT'", "date": "current_date - %s", "bigint": "1", "boolean": "true",
                "double precision": "1", "numeric": "1", "jsonb": "'{}'", "ARRAY": "'{}'",
                "timestamp with time zone": "clock_timestamp()",
            }  # fmt: skip
            names = ", ".join(f'"{name}"' for name, _ in required)
            row = ", ".join(values[kind] for _, kind in required)
            for day in range(days):
                holes = [day] * row.count("%s")
                connection.execute(f"INSERT INTO trading.{table} ({names}) VALUES ({row})", holes)
        return [table for (table,) in tables]


def test_alerts_and_summaries_go_by_day_and_nothing_else(database):
    tables = fill(database, 40)
    assert {"ohlcv_1d", "alerts", "analysis_summary", "signals"} <= set(tables)
    chosen = settings(retention_alerts_days=30, retention_summaries_days=7)

    def no_dagster():
        raise AssertionError("asked for without need")

    planned = retain(chosen, database, no_dagster, dry_run=True)
    assert {r.table: r.rows for r in planned} == {"alerts": 9, "analysis_summary": 32}
    assert retain(chosen, database, no_dagster) == planned
    with psycopg.connect(libpq_url(database)) as connection:
        kept = {t: count(connection, f"trading.{t}") for t in tables}
        oldest = connection.execute("SELECT current_date - min(date) FROM trading.alerts")
        assert oldest.fetchone() == (30,)
    assert kept == dict.fromkeys(tables, 40) | {"alerts": 31, "analysis_summary": 8}


def test_nothing_is_deleted_by_default(database):
    tables = fill(database, 40)
    assert not is_on(settings())
    assert retain(settings(), database, lambda: "", now=FAR) == []
    with psycopg.connect(libpq_url(database)) as connection:
        assert {count(connection, f"trading.{t}") for t in tables} == {40}


def test_who_holds_a_lock_is_named(database):
    heard, has_heard = [], threading.Event()

    def listen(text):
        heard.append(text)
        has_heard.set()

    def work():
        retain(settings(retention_alerts_days=30), database, lambda: "")

    with told_to(listen), psycopg.connect(database, application_name="holder") as holder:
        holder.execute("LOCK TABLE trading.alerts IN ACCESS EXCLUSIVE MODE")
        waiter = threading.Thread(target=work)
        waiter.start()
        assert has_heard.wait(60)
        holder.rollback()
        waiter.join(60)
    assert heard[0].startswith("table trading.alerts, held by holder (server process ")
    assert heard[1:] == [None]
