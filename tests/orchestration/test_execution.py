"""Runs whose process is gone: found by their lock, ended, and the pool freed."""

from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from projects import project

from assets.partitions import register
from autonama_dagster.errors import AutonamaError, ExchangeError, InputError
from autonama_dagster.orchestration.execution import execute, one_process
from resources.instance.locks import (
    OWN_PROCESS_TAGS,
    PATIENCE,
    alive,
    database_of,
    end_lost_runs,
    held,
)

POOL = "exchange"


def is_alive(instance, run_id):
    return run_id in alive(database_of(instance), [run_id])


@dg.op
def does(context):
    context.log.info("alive: %s", is_alive(context.instance, context.run_id))


@dg.op
def breaks():
    raise RuntimeError("the step failed") from ExchangeError("the exchange\nis down")


@dg.op
def bursts():
    raise ValueError("no error of ours")


@dg.job(executor_def=one_process)
def fine_job():
    does()


@dg.job
def broken_job():
    breaks()


@dg.job
def burst_job():
    bursts()


@pytest.fixture(scope="module")
def opened(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("execution")
    with project(folder, postgres, "http://127.0.0.1:9") as found:
        yield found


@pytest.fixture
def instance(opened, monkeypatch):
    opened.enter(monkeypatch)
    yield opened.instance
    for run in opened.instance.get_runs():
        opened.instance.delete_run(run.run_id)


def begun(instance, status=dg.DagsterRunStatus.STARTED, **tags):
    """A run that began and has not ended; own: by a process of ours."""
    return instance.create_run_for_job(fine_job, tags=tags or OWN_PROCESS_TAGS, status=status)


def status(instance, run):
    return instance.get_run_by_id(run.run_id).status


def test_exactly_the_lost_runs_are_ended(instance):
    under_way = (
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
    )
    living = begun(instance)
    lost = [begun(instance, status) for status in under_way]
    canceling = begun(instance, dg.DagsterRunStatus.CANCELING)
    ended = begun(instance, dg.DagsterRunStatus.SUCCESS)
    with held(database_of(instance), living.run_id):
        assert set(end_lost_runs(instance)) == {run.run_id for run in [*lost, canceling]}
    assert {status(instance, run) for run in lost} == {dg.DagsterRunStatus.FAILURE}
    assert status(instance, canceling) is dg.DagsterRunStatus.CANCELED
    assert status(instance, living) is dg.DagsterRunStatus.STARTED
    assert status(instance, ended) is dg.DagsterRunStatus.SUCCESS


def test_a_run_of_the_daemon_has_time_to_take_its_lock(instance, monkeypatch):
    run = begun(instance, other="yes")
    assert end_lost_runs(instance) == []
    monkeypatch.setitem(PATIENCE, dg.DagsterRunStatus.STARTED, timedelta(0))
    assert end_lost_runs(instance) == [run.run_id]


def test_nothing_under_way_is_nothing_lost(instance):
    assert end_lost_runs(instance) == []


def test_the_pool_is_freed(instance):
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default(POOL)
    lost, waiting = begun(instance), begun(instance)
    assert storage.claim_concurrency_slot(POOL, lost.run_id, "ohlcv_1d").is_claimed
    with held(database_of(instance), waiting.run_id):
        assert end_lost_runs(instance) == [lost.run_id]
        assert storage.claim_concurrency_slot(POOL, waiting.run_id, "ohlcv_1d").is_claimed
    storage.free_concurrency_slots_for_run(waiting.run_id)


def test_a_run_holds_its_lock_while_it_executes(instance):
    run_id = execute(fine_job, instance, "fine", config={}, tags={})
    said = [e.user_message for e in instance.all_logs(run_id)]
    assert "alive: True" in said
    assert not is_alive(instance, run_id)
    tags = instance.get_run_by_id(run_id).tags
    assert OWN_PROCESS_TAGS.items() <= tags.items(), "the daemon does not start it again"


def test_a_run_by_another_process_holds_its_lock_by_its_executor(instance):
    job = dg.reconstructable(_fine_job)
    with dg.execute_job(job, instance) as result:
        assert result.success
    assert "alive: True" in [e.user_message for e in instance.all_logs(result.run_id)]


def _fine_job():
    return fine_job


@dg.op
def looks(context):
    with partition_loading_context() as found:
        context.log.info("now is %s", found.effective_dt.isoformat())


@dg.job
def clock_job():
    looks()


def test_dagsters_now_is_the_same_until_another_symbol_is_registered(instance):
    def told():
        run_id = execute(clock_job, instance, "clock", config={}, tags={})
        (said,) = (
            e.user_message for e in instance.all_logs(run_id) if e.user_message.startswith("now is")
        )
        return said

    first = told()
    assert told() == first
    register(instance, ["NEWUSDT"])
    assert told() != first


@pytest.mark.parametrize(
    ("job", "kind", "says"),
    [
        (broken_job, ExchangeError, r"^the title: the exchange is down \(run [0-9a-f-]{36}\)$"),
        (burst_job, AutonamaError, r"^the title: ValueError: no error of ours \(run "),
    ],
)
def test_an_error_is_one_line_and_keeps_its_class(instance, job, kind, says):
    with pytest.raises(AutonamaError, match=says) as raised:
        execute(job, instance, "the title", config={}, tags={})
    assert type(raised.value) is kind
    assert kind is not InputError
