"""The job that asks again for stored candles: by its schedule, and after a scan."""

import io
from datetime import timedelta

import dagster as dg
import pytest
from scan_support import DAY, DAYS, QUIET, START, at, opened_daemon

from autonama_dagster.cli.compute.scan import run_scan
from autonama_dagster.cli.shared.screen import Screen
from autonama_dagster.orchestration.automation import candle_checks
from autonama_dagster.orchestration.automation.candle_checks import (
    JOB,
    ask_after_scan,
    candle_checks_schedule,
)
from autonama_dagster.settings import Settings, load_settings
from resources.exchange.binance.spot import BinanceExchange

LATER = DAY + timedelta(days=2)


@pytest.fixture(scope="module")
def opened(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checks_job")
    with opened_daemon(folder, postgres, scanned=DAYS) as daemon:
        daemon.keep()
        yield daemon


@pytest.fixture
def daemon(opened, monkeypatch, impatient):  # noqa: ARG001
    opened.project.enter(monkeypatch)
    opened.server.set_now(at(LATER))
    yield opened
    opened.server.faults.replace()
    opened.restore()


def kept(daemon):
    return daemon.project.warehouse.read("candle_checks")


def runs(daemon):
    return daemon.instance.get_runs(dg.RunsFilter(job_name=JOB))


def ask(daemon):
    """After a scan; the titles of its steps."""
    titles = []
    ask_after_scan(
        daemon.project.settings,
        instance=daemon.instance,
        exchange=daemon.exchanges[-1],
        warehouse=daemon.project.warehouse,
        on_step=titles.append,
    )
    return titles


def test_the_job_asks_and_says_what_came_out(daemon):
    job = daemon.defs.resolve_job_def(JOB)
    ended = job.execute_in_process(instance=daemon.instance, run_config=QUIET)
    assert ended.success
    rows = kept(daemon)
    assert len(rows) == 3
    assert set(rows["run_id"]) == {ended.run_id}
    (output,) = (e for e in ended.all_events if e.event_type_value == "STEP_OUTPUT")
    metadata = output.step_output_data.metadata
    assert {name: entry.value for name, entry in metadata.items()} == {"asked": 3, "confirmed": 3}


def test_a_scan_asks_once_a_day_and_makes_no_run_where_nothing_is_left(daemon):
    before = len(runs(daemon))
    assert ask(daemon) == ["ask again for stored candles"]
    assert len(kept(daemon)) == 3
    assert ask(daemon) == []
    assert len(runs(daemon)) == before + 1
    assert runs(daemon)[0].tags["autonama/started_by"] == "scan"


def test_an_exchange_that_is_down_fails_neither_the_job_nor_the_scan(daemon):
    daemon.server.faults.add("503:path=time")
    assert ask(daemon) == []
    job = daemon.defs.resolve_job_def(JOB)
    assert job.execute_in_process(instance=daemon.instance, run_config=QUIET).success
    assert kept(daemon).empty


def test_the_command_that_made_a_days_rows_asks_the_exchange_and_not_its_memory(
    daemon, monkeypatch
):
    asked = []

    def noted(*args, exchange, **options):
        asked.append(type(exchange))
        ask_after_scan(*args, exchange=exchange, **options)

    monkeypatch.setattr(candle_checks, "ask_after_scan", noted)
    settings, console = load_settings(), Screen(file=io.StringIO())
    run_scan(settings, settings, DAY, None, console, with_charts=False)
    assert asked == [], "the day was complete"
    with daemon.project.warehouse.transaction() as cursor:
        cursor.execute(f"DELETE FROM trading.analysis_summary WHERE date = '{DAY}'")
    result = run_scan(settings, settings, DAY, None, console, with_charts=False)
    assert asked == [BinanceExchange]
    assert len(kept(daemon)) == 3
    assert "ask again for stored candles" in result.seconds


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"automation": True}, "RUNNING"),
        ({"automation": True, "revision_checks": 0}, "STOPPED"),
        ({}, "STOPPED"),
    ],
)
def test_the_schedule_is_on_by_itself_where_there_is_a_budget(settings, status):
    schedule = candle_checks_schedule(Settings(start_date=START, **settings))
    assert schedule.default_status.name == status
    assert schedule.job_name == JOB


def test_no_budget_asks_for_nothing(daemon):
    without = daemon.project.settings.model_copy(update={"revision_checks": 0})
    ask_after_scan(
        without,
        instance=daemon.instance,
        exchange=None,
        warehouse=daemon.project.warehouse,
        on_step=pytest.fail,
    )
    assert kept(daemon).empty
