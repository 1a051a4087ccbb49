"""Runs whose process was killed, found by Dagster's run monitoring with the launchers in use."""

import importlib.util
import logging
import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._daemon.monitoring import execute_run_monitoring_iteration
from places import ROOT
from support import HOLD

from resources.instance.locks import PATIENCE, database_of, held

NEEDS_CELERY = pytest.mark.skipif(
    not importlib.util.find_spec("dagster_celery"), reason="dagster-celery is not installed"
)


@pytest.fixture(params=[".", "deploy", pytest.param("deploy/celery", marks=NEEDS_CELERY)], ids=str)
def instance(request, database, monkeypatch):
    """An instance as one of the project's `dagster.yaml` files describes it."""
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("CELERY_BROKER_URL", "memory://")
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "cache+memory://")
    reference = InstanceRef.from_dir(str(ROOT / request.param))
    with dg.DagsterInstance.from_ref(reference) as opened:
        yield opened


@pytest.fixture
def begun(instance):
    """Id of a run that has started, as Celery tells of it: with the tag of a task."""

    @dg.job
    def nothing():
        pass

    tags = {"dagster-celery/task_id": "unknown to the backend"}
    run = instance.create_run_for_job(nothing, tags=tags)
    instance.report_dagster_event(
        dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, "nothing"), run.run_id
    )
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.STARTED
    return run.run_id


def watch(instance):
    """One iteration of the daemon's run monitoring; gives the run's status."""
    context = SimpleNamespace(instance=instance, create_request_context=lambda: None)
    errors = list(execute_run_monitoring_iteration(context, logging.getLogger(__name__)))
    assert errors == [None]
    return instance.get_runs()[0].status


@pytest.fixture
def worker(instance, begun):
    """A process that executes the run."""
    command = [sys.executable, "-c", HOLD, database_of(instance), begun]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"held\n"
        yield child
        child.kill()


def test_a_run_whose_process_was_killed_has_failed(instance, begun, worker, monkeypatch):
    monkeypatch.setitem(PATIENCE, dg.DagsterRunStatus.STARTED, timedelta(0))
    assert watch(instance) == dg.DagsterRunStatus.STARTED
    worker.kill()
    worker.wait()
    with held(database_of(instance), begun):  # waits until the server has noticed
        pass
    assert watch(instance) == dg.DagsterRunStatus.FAILURE
    (failure,) = instance.all_logs(begun, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert "the run's process died" in failure.message


def test_a_run_that_has_hardly_begun_may_have_no_lock_yet(instance, begun):
    assert watch(instance) == dg.DagsterRunStatus.STARTED
    assert not instance.all_logs(begun, of_type=dg.DagsterEventType.RUN_FAILURE)
