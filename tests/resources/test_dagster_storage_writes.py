"""How the bulk storage writes: a batch at once or not at all, beside others, on few connections."""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster import DagsterInstance
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationPlanned,
)
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.events import (
    AssetMaterializationPlannedData,
    AssetObservationData,
    DagsterEvent,
    StepMaterializationData,
)
from dagster._core.events.log import EventLogEntry
from dagster._core.instance.ref import InstanceRef
from dagster._serdes import deserialize_value, serialize_value
from dagster_postgres import PostgresEventLogStorage
from sqlalchemy import event, text

from resources.dagster_storage import AutonamaStorage, StockStorage
from resources.postgres.server.embedded import EmbeddedPostgres
from resources.postgres.urls import dagster_url

AWKWARD = "tab\there, line\nthere, back\\slash, \\N, quote ' and \u20bf"


grid = dg.MultiPartitionsDefinition(
    {
        "date": dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-09"),
        "symbol": dg.StaticPartitionsDefinition(["BTCUSDT", "ETHUSDT"]),
    }
)


@dg.asset(partitions_def=grid)
def candles() -> None: ...


job = dg.Definitions(
    assets=[candles], jobs=[dg.define_asset_job("job")], executor=dg.in_process_executor
).resolve_job_def("job")


def until(last: str) -> dict[str, str]:
    return {
        "dagster/asset_partition_range_start": "2024-01-01|BTCUSDT",
        "dagster/asset_partition_range_end": f"{last}|ETHUSDT",
    }


@pytest.fixture(autouse=True)
def batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset, as on the user's machine; whatever a storage sets is undone."""
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "")
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE")


@pytest.fixture(scope="module")
def new_database(postgres: EmbeddedPostgres) -> Callable[[str], str]:
    def make(name: str) -> str:
        postgres.ensure_database(name)
        return dagster_url(postgres.url(name))

    return make


@pytest.fixture
def configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], InstanceRef]:
    """What Dagster hands to its subprocesses when `dagster.yaml` names a storage class."""

    def configure(storage: str, url: str) -> InstanceRef:
        monkeypatch.setattr("resources.postgres.database.dagster_database_url", lambda: url)
        (tmp_path / "dagster.yaml").write_text(
            f"""
            storage:
              custom: {{module: resources.dagster_storage, class: {storage}, config: {{}}}}
            compute_logs:
              module: dagster._core.storage.noop_compute_log_manager
              class: NoOpComputeLogManager
            telemetry: {{enabled: false}}
            """
        )
        passed_on = serialize_value(InstanceRef.from_dir(str(tmp_path)))
        assert "postgresql" not in passed_on
        return deserialize_value(passed_on, InstanceRef)

    return configure


def entry_of(kind: str, asset: str, partition: str | None, run: str, at: float) -> EventLogEntry:
    """One partition event, as Dagster hands it to the storage."""
    key = dg.AssetKey([asset, "nested"])
    materialization = dg.AssetMaterialization(
        key, partition=partition, metadata={"note": AWKWARD}, tags={DATA_VERSION_TAG: AWKWARD}
    )
    data = {
        "ASSET_MATERIALIZATION_PLANNED": AssetMaterializationPlannedData(key, partition, None),
        "ASSET_MATERIALIZATION": StepMaterializationData(materialization),
        "ASSET_OBSERVATION": AssetObservationData(dg.AssetObservation(key, partition=partition)),
        "ASSET_CHECK_EVALUATION_PLANNED": AssetCheckEvaluationPlanned(
            asset_key=key, check_name="fresh"
        ),
    }[kind]
    event = DagsterEvent(kind, "job", event_specific_data=data, step_key=asset, message=AWKWARD)
    return EventLogEntry(None, 10, "", run, at, asset, "job", event)


TABLES = {
    "event_logs": "SELECT * FROM event_logs ORDER BY id",
    "asset_event_tags": "SELECT * FROM asset_event_tags ORDER BY id",
    "asset_keys": """SELECT asset_key, last_materialization, last_run_id, asset_details,
        wipe_timestamp, last_materialization_timestamp, tags FROM asset_keys ORDER BY asset_key""",
    "asset_check_executions": """SELECT asset_key, check_name, partition, run_id, execution_status,
        evaluation_event, evaluation_event_timestamp, evaluation_event_storage_id
        FROM asset_check_executions ORDER BY id""",
}


def rows(log: PostgresEventLogStorage) -> dict[str, list[Any]]:
    with log.index_connection() as connection:
        return {table: connection.execute(text(sql)).all() for table, sql in TABLES.items()}


def test_a_batch_leaves_the_rows_of_its_events(new_database):
    kinds = (
        "MATERIALIZATION",
        "MATERIALIZATION_PLANNED",
        "OBSERVATION",
        "CHECK_EVALUATION_PLANNED",
    )
    batch = [
        entry_of(f"ASSET_{kind}", asset, partition, f"run {index}", 1.7e9 + index)
        for index, (asset, partition, kind) in enumerate(
            [
                *((asset, "2024-01-01|Ƀ\t1", kind) for asset in "ba" for kind in kinds[:3]),
                *((asset, None, kind) for kind in reversed(kinds) for asset in "abc"),
            ]
        )
    ]
    one_by_one = StockStorage(new_database("one_by_one")).event_log_storage
    for entry in batch:
        one_by_one.store_event(entry)
    at_once = AutonamaStorage(new_database("at_once")).event_log_storage
    at_once.store_event_batch(batch)
    expected = rows(one_by_one)
    assert all(expected.values())
    assert rows(at_once) == expected


def test_a_killed_connection_neither_loses_nor_doubles_events(
    new_database, configured, postgres, monkeypatch, capfd
):
    instance = DagsterInstance.from_ref(configured("AutonamaStorage", new_database("killed")))
    log = instance.event_log_storage
    store, killed = log._store_asset_event, []

    def store_until_killed(connection, entry, event_id):
        event_type = entry.get_dagster_event().event_type_value
        if event_type not in killed:
            killed.append(event_type)
            kill(postgres, connection.scalar(text("SELECT pg_backend_pid()")))
        store(connection, entry, event_id)

    monkeypatch.setattr(log, "_store_asset_event", store_until_killed)
    result = job.execute_in_process(instance=instance, tags=until("2024-01-03"))

    assert result.success
    assert killed == ["ASSET_MATERIALIZATION_PLANNED", "ASSET_MATERIALIZATION"]
    assert capfd.readouterr().err.count("Exception while storing event batch") == 2
    written = Counter(
        (stored.event_type_value, stored.partition)
        for entry in instance.all_logs(result.run_id)
        if (stored := entry.dagster_event) and stored.partition
    )
    assert len(written) == 2 * 6
    assert set(written.values()) == {1}
    assert len(rows(log)["asset_event_tags"]) == 3 * 6


def kill(postgres: EmbeddedPostgres, pid: int) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])


def test_concurrent_batches_do_not_deadlock(new_database):
    url = new_database("concurrent")
    logs = [AutonamaStorage(url).event_log_storage for _ in range(2)]
    assets = [f"asset{number}" for number in range(25)]

    def write(run: int) -> None:
        backwards = -1 if run % 2 else 1
        for _ in range(4):
            logs[run % 2].store_event_batch(
                [
                    entry_of("ASSET_MATERIALIZATION", asset, "2024-01-01", str(run), 1.7e9)
                    for asset in assets[::backwards]
                ]
            )

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(write, range(4))) == [None] * 4
    stored = rows(logs[0])
    assert len(stored["event_logs"]) == 4 * 4 * 25
    assert len(stored["asset_keys"]) == 25


def test_a_restarted_server_goes_unnoticed(new_database, postgres, caplog):
    log = AutonamaStorage(new_database("restarted")).event_log_storage
    entry = entry_of("ASSET_OBSERVATION", "asset", None, "run", 1.7e9)
    for prepare in (lambda: None, lambda: log.optimize_for_webserver(5000, -1, 2)):
        prepare()
        with log.index_connection() as connection:
            pid = connection.scalar(text("SELECT pg_backend_pid()"))
        kill(postgres, pid)
        log.store_event(entry)
    assert not caplog.records
    assert len(rows(log)["event_logs"]) == 2
    with log.index_connection() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "5s"


def test_a_range_takes_no_more_calls_than_one_day_and_no_connections(
    new_database, configured, monkeypatch
):
    instance = DagsterInstance.from_ref(configured("AutonamaStorage", new_database("counted")))
    calls: Counter[str] = Counter()
    store = PostgresEventLogStorage.store_event

    def counted(log, entry):
        calls["events stored singly"] += 1
        store(log, entry)

    monkeypatch.setattr(PostgresEventLogStorage, "store_event", counted)
    engine = instance.event_log_storage._engine
    assert instance.run_storage._engine is engine
    assert instance.schedule_storage._engine is engine
    event.listen(engine, "connect", lambda *_: calls.update(["connections"]))
    counts = []
    for last in ("2024-01-01", "2024-01-08"):
        assert job.execute_in_process(instance=instance, tags=until(last)).success
        counts.append(dict(calls))
        calls.clear()
    assert counts[0]["connections"] <= 2
    assert counts[1] == {"events stored singly": counts[0]["events stored singly"]}


def test_what_exists_is_asked_for_once(new_database):
    log = AutonamaStorage(new_database("asked")).event_log_storage
    with log.index_connection() as connection:
        connection.execute(text("ALTER TABLE asset_keys DROP COLUMN cached_status_data"))
        assert not log.has_table("later")
        assert not log.can_read_asset_status_cache()
        connection.execute(text("CREATE TABLE later ()"))
        connection.execute(text("ALTER TABLE asset_keys ADD COLUMN cached_status_data TEXT"))
    statements: list[str] = []
    event.listen(log._engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    assert log.has_table("later")
    assert log.can_read_asset_status_cache()
    asked = len(statements)
    assert asked > 0
    assert log.has_table("later")
    assert log.can_read_asset_status_cache()
    assert len(statements) == asked


@pytest.mark.parametrize("storage", ["AutonamaStorage", "StockStorage"])
def test_dagster_yaml_names_the_class_and_no_url(new_database, configured, storage):
    url = new_database("configured")
    made = configured(storage, url).storage

    assert type(made).__name__ == storage
    assert made.inst_data.class_name == storage
    assert made.postgres_url == url
    assert os.environ.get("DAGSTER_EVENT_BATCH_SIZE") == {"AutonamaStorage": "1000"}.get(storage)


def test_a_chosen_batch_size_stays(new_database, monkeypatch):
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "50")
    AutonamaStorage(new_database("configured"))
    assert os.environ["DAGSTER_EVENT_BATCH_SIZE"] == "50"
