"""The daily schedule on a real instance."""

from datetime import timedelta

import dagster as dg
import pytest
from scan_support import DAY, START, at, opened_daemon

from autonama_dagster.definitions import build_defs
from autonama_dagster.orchestration import requests
from autonama_dagster.orchestration.planner import Step
from autonama_dagster.orchestration.requests import run_request
from autonama_dagster.settings import Settings

RANK = [("universe_job", str(DAY), 1)]


@pytest.fixture(scope="module")
def opened(postgres, tmp_path_factory):
    with opened_daemon(tmp_path_factory.mktemp("schedule"), postgres) as daemon:
        yield daemon


@pytest.fixture
def daemon(opened, monkeypatch):
    opened.project.enter(monkeypatch)
    opened.clear()
    opened.server.set_now(at(DAY, "00:05:00"))
    return opened


def test_at_five_past_midnight_it_asks_for_the_universe_of_yesterday(daemon):
    assert daemon.scheduled() == RANK
    schedule = daemon.repository.get_schedule_def("daily_universe")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("5 0 * * *", "UTC")


def test_it_goes_by_the_clock_of_the_exchange(daemon):
    daemon.server.set_now(at(DAY, "00:04:59"))
    assert daemon.scheduled() == [("universe_job", str(DAY - timedelta(days=1)), 1)]


def test_it_asks_for_nothing_that_is_stored(daemon):
    daemon.step("universe_job", DAY, DAY)
    assert daemon.scheduled() == f"the universe of {DAY} is already stored"


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED])
def test_it_asks_for_nothing_that_is_under_way(daemon, status):
    daemon.queue(run_request(Step("universe_job", DAY, DAY), DAY, 1), status)
    assert daemon.scheduled() == f"a run for the universe of {DAY} is already requested"
    daemon.server.set_now(at(DAY))
    assert daemon.tick() == [], "nor does the sensor"


def test_after_a_failure_its_key_is_another(daemon, monkeypatch):
    daemon.fail(run_request(Step("universe_job", DAY, DAY), DAY, 1))
    assert daemon.scheduled() == f"a run for the universe of {DAY} is already requested"
    monkeypatch.setattr(requests, "PAUSES", (timedelta(0),) * len(requests.PAUSES))
    assert daemon.scheduled() == [("universe_job", str(DAY), 2)]


def test_it_asks_for_nothing_before_the_first_partition(daemon):
    daemon.server.set_now(at(START - timedelta(days=1)))
    assert "before the first partition" in daemon.scheduled()


@pytest.mark.parametrize(("automation", "status"), [(True, "RUNNING"), (False, "STOPPED")])
def test_it_is_on_by_default_with_automation_alone(automation, status):
    settings = Settings(start_date=START, automation=automation)
    repository = build_defs(settings).get_repository_def()
    assert repository.get_schedule_def("daily_universe").default_status.value == status
