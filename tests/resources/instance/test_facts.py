"""Dagster's tables by SQL agree with what Dagster itself writes there."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg
import pytest
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    ScheduleInstigatorData,
    SensorInstigatorData,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.types import DaemonHeartbeat
from projects import project

from resources.instance.facts import LAST_RUNS, DagsterFacts, read_dagster
from resources.postgres.database import dagster_database_url
from resources.postgres.urls import libpq_url

NOW = datetime.now(UTC)
days = dg.DailyPartitionsDefinition("2024-01-01")


@dg.asset(partitions_def=days)
def well():
    return dg.MaterializeResult()


@dg.asset
def ill():
    raise ValueError


@dg.asset_check(asset=well)
def judged(context):
    return dg.AssetCheckResult(passed=context.run.tags.get("pass") == "yes")


DEFS = dg.Definitions(
    assets=[well, ill],
    asset_checks=[judged],
    jobs=[
        dg.define_asset_job("well_job", dg.AssetSelection.assets(well)),
        dg.define_asset_job("ill_job", dg.AssetSelection.assets(ill)),
    ],
    executor=dg.in_process_executor,
)


def execute(instance, job, **tags):
    return DEFS.resolve_job_def(job).execute_in_process(
        instance=instance, tags={k.replace("_", "/", 1): v for k, v in tags.items()},
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )  # fmt: skip


@pytest.fixture(scope="module")
def instance(postgres, tmp_path_factory):
    """An instance of this module; yields it with a connection to its database."""
    with project(tmp_path_factory.mktemp("dagster_facts"), postgres, "http://127.0.0.1:9") as made:
        url = libpq_url(dagster_database_url())
        with psycopg.connect(url, autocommit=True) as connection:
            made.instance.connection = connection
            execute(made.instance, "ill_job")
            execute(made.instance, "well_job", dagster_partition="2024-01-02")
            execute(
                made.instance,
                "well_job",
                dagster_asset_partition_range_start="2024-01-02",
                dagster_asset_partition_range_end="2024-01-05",
            )
            made.instance.add_dynamic_partitions("symbol", ["BTCUSDT", "ADAUSDT"])
            yield made.instance


@pytest.fixture(scope="module")
def facts(instance):
    return read_dagster(instance.connection, datetime.now(UTC))


def test_failed_runs_come_first_then_the_newest(facts):
    assert [(r.job, r.status) for r in facts.last_runs] == [
        ("ill_job", "FAILURE"), ("well_job", "SUCCESS"), ("well_job", "SUCCESS"),
    ]  # fmt: skip
    assert [r.partitions for r in facts.last_runs] == [
        "", "2024-01-02 .. 2024-01-05", "2024-01-02",
    ]  # fmt: skip


def test_times_of_runs_are_dagsters(instance, facts):
    for run in facts.last_runs:
        record = instance.get_run_record_by_id(run.run_id)
        assert run.started.timestamp() == pytest.approx(record.start_time)
        assert run.seconds == pytest.approx(record.end_time - record.start_time)
        assert run.ended.timestamp() == pytest.approx(record.end_time)


def test_the_last_run_of_each_job(facts):
    found = {r.job: r for r in facts.last_by_job}
    assert set(found) == {"ill_job", "well_job"}
    assert found["well_job"].run_id == facts.last_runs[1].run_id


def test_runs_are_counted_for_a_day(instance, facts):
    assert facts.recent == (("ill_job", "FAILURE", 1), ("well_job", "SUCCESS", 2))
    later = read_dagster(instance.connection, datetime.now(UTC) + timedelta(hours=25))
    assert later.recent == ()


def test_a_run_under_way_counts_whatever_its_age(instance):
    run = instance.create_run_for_job(DEFS.resolve_job_def("ill_job"), status=None)
    later = datetime.now(UTC) + timedelta(hours=25)
    found = read_dagster(instance.connection, later)
    assert found.recent == (("ill_job", "NOT_STARTED", 1),)
    shown = next(r for r in found.last_runs if r.run_id == run.run_id)
    assert (shown.started, shown.seconds, shown.ended) == (None, None, None)
    instance.delete_run(run.run_id)


def test_only_the_last_runs_are_read(instance):
    runs = [
        instance.create_run_for_job(DEFS.resolve_job_def("ill_job")).run_id
        for _ in range(LAST_RUNS)
    ]
    found = read_dagster(instance.connection, NOW)
    assert [r.run_id for r in found.last_runs] == runs[::-1]
    for run_id in runs:
        instance.delete_run(run_id)


def test_symbols_in_the_order_of_registration(facts):
    assert facts.registered == ("BTCUSDT", "ADAUSDT")


def test_a_check_counts_by_its_latest_evaluation(instance, facts):
    assert facts.failed_checks == ("well: judged",)
    DEFS.resolve_job_def("well_job").execute_in_process(
        instance=instance, tags={"dagster/partition": "2024-01-03", "pass": "yes"}
    )
    assert read_dagster(instance.connection, NOW).failed_checks == ()


def test_the_daemon_lives_while_its_heart_beats(instance):
    assert not read_dagster(instance.connection, NOW).is_daemon_alive
    for kind, age in (("SENSOR", 20), ("SCHEDULER", 50)):
        beat = DaemonHeartbeat((NOW - timedelta(seconds=age)).timestamp(), kind, "id", [])
        instance.add_daemon_heartbeat(beat)
    found = read_dagster(instance.connection, NOW)
    assert found.heartbeat == NOW - timedelta(seconds=20)
    assert found.is_daemon_alive
    assert not read_dagster(instance.connection, NOW + timedelta(minutes=3)).is_daemon_alive


def test_schedules_and_sensors_are_on_or_off(instance):
    target = LoadableTargetOrigin(module_name="somewhere")
    location = InProcessCodeLocationOrigin(target, location_name="autonama")
    for name, kind, status in (
        ("daily", InstigatorType.SCHEDULE, InstigatorStatus.DECLARED_IN_CODE),
        ("follow", InstigatorType.SENSOR, InstigatorStatus.STOPPED),
        ("alert", InstigatorType.SENSOR, InstigatorStatus.RUNNING),
    ):
        origin = RemoteInstigatorOrigin(
            repository_origin=RemoteRepositoryOrigin(location, "__repository__"),
            instigator_name=name,
        )
        is_schedule = kind is InstigatorType.SCHEDULE
        data = ScheduleInstigatorData("5 0 * * *") if is_schedule else SensorInstigatorData()
        instance.add_instigator_state(InstigatorState(origin, kind, status, data))
    found = read_dagster(instance.connection, NOW).automations
    assert [(a.name, a.kind, a.is_on) for a in found] == [
        ("daily", "schedule", True), ("alert", "sensor", True), ("follow", "sensor", False),
    ]  # fmt: skip


def test_before_dagster_has_made_its_tables_all_is_empty(database):
    with psycopg.connect(database) as connection:
        found = read_dagster(connection, NOW)
    assert found == DagsterFacts(database_bytes=found.database_bytes)
