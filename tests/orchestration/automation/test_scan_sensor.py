"""The sensor on a real instance: what it asks for, tick by tick."""

from datetime import date, timedelta

import dagster as dg
import pandas as pd
import pytest
from scan_support import DAY, START, at, opened_daemon, said

from autonama_dagster.definitions import build_defs
from autonama_dagster.orchestration import requests
from autonama_dagster.orchestration.backfill.request import run_config as backfill_config
from autonama_dagster.orchestration.planner import CANDLES_ONLY
from autonama_dagster.settings import Settings

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
pytestmark = [pytest.mark.long, pytest.mark.usefixtures("impatient")]
DAYS = [START, START + timedelta(days=1), DAY]


@pytest.fixture(scope="module")
def opened(postgres, tmp_path_factory):
    with opened_daemon(tmp_path_factory.mktemp("sensor"), postgres, SOLUSDT=59) as daemon:
        yield daemon


@pytest.fixture
def daemon(opened, monkeypatch):
    opened.project.enter(monkeypatch)
    return opened.clear()


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr(requests, "PAUSES", (timedelta(0),) * len(requests.PAUSES))


def test_a_new_project_is_brought_to_the_end_of_its_latest_day_phase_by_phase(daemon):
    assert daemon.settle() == [
        ["universe_job"], ["history_job"], ["symbols_job"], ["symbols_job"], ["summary_job"],
    ]  # fmt: skip
    tables = daemon.project.tables()
    for name in ("universe", "signals", "analysis_summary"):
        assert set(tables[name]["date"]) == {pd.Timestamp(DAY)}, name
    assert daemon.cursor == str(DAY + timedelta(days=1))
    assert daemon.cursor in daemon.skipped
    assert daemon.project.scanner().scan(DAY) == [], "the command line finds nothing to do"


def test_the_schedule_has_two_minutes_to_ask_first(daemon):
    daemon.cursor = str(DAY)
    daemon.server.set_now(at(DAY, "00:06:30"))
    assert daemon.asked() == []
    daemon.server.set_now(at(DAY, "00:07:00"))
    assert daemon.asked() == [("universe_job", str(DAY), 1)]


def test_missed_days_are_caught_up_oldest_first_and_three_at_a_time(daemon):
    daemon.cursor = str(START)
    daemon.server.set_now(at(START + timedelta(days=21)))
    wanted = [("universe_job", str(START + timedelta(days=n)), 1) for n in range(3)]
    assert daemon.asked() == wanted
    assert daemon.cursor == str(START)


def test_days_in_one_tick_do_not_ask_for_the_same_rows(daemon):
    daemon.cursor = str(START)
    daemon.step("universe_job", START, DAY)
    for _ in range(2):  # history, then candles to alerts: later days need what the first fetches
        (request,) = daemon.tick()
        assert said(request)[1] == str(START)
        assert daemon.execute(request).success
    assert daemon.asked()[1] == ("symbols_job", str(DAYS[1]), 1)


def test_a_project_scanned_long_ago_goes_on_where_it_was(daemon):
    daemon.scan(START)
    assert [day for _, day, _ in daemon.asked()] == [str(DAYS[1]), str(DAY)]


def test_nothing_before_the_start_date_is_asked_for(daemon):
    daemon.server.set_now(at(START - timedelta(days=3)))
    assert daemon.asked() == []


@pytest.mark.parametrize(
    "status",
    [
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ],
)
def test_nothing_is_asked_for_while_its_run_has_not_ended(daemon, status):
    (request,) = daemon.tick()
    run = daemon.queue(request, status)
    assert daemon.tick() == []
    daemon.instance.delete_run(run.run_id)
    assert daemon.asked() == [said(request)]


@pytest.mark.parametrize("end", [str(DAY), None])
def test_nothing_is_asked_for_while_a_backfill_makes_it(daemon, end):
    config = backfill_config({"from": str(START), "to": end})
    job = daemon.defs.resolve_job_def("backfill_job")
    daemon.instance.create_run_for_job(job, run_config=config, status=dg.DagsterRunStatus.STARTED)
    assert daemon.tick() == []


def test_a_backfill_of_other_days_holds_nothing_up(daemon):
    config = backfill_config({"from": str(START), "to": str(START)})
    job = daemon.defs.resolve_job_def("backfill_job")
    daemon.instance.create_run_for_job(job, run_config=config, status=dg.DagsterRunStatus.STARTED)
    assert daemon.asked() == [("universe_job", str(DAY), 1)]


def test_nothing_is_asked_for_while_the_dialog_of_dagster_makes_it(daemon):
    daemon.step("universe_job", DAY, DAY)
    order = daemon.instance.get_dynamic_partitions("symbol")
    run = daemon.instance.create_run_for_job(
        daemon.defs.resolve_implicit_global_asset_job_def(),
        asset_selection=frozenset({dg.AssetKey("ohlcv_1d_history")}),
        tags={
            "dagster/asset_partition_range_start": order[0],
            "dagster/asset_partition_range_end": order[-1],
            "dagster/backfill": "abcdefgh",
        },
        status=dg.DagsterRunStatus.STARTED,
    )
    assert daemon.tick() == []
    daemon.instance.delete_run(run.run_id)
    assert daemon.asked() == [("history_job", str(DAY), 1)]


def test_a_failed_run_is_asked_for_again_after_a_pause_five_times_in_all(daemon, monkeypatch):
    keys = set()
    for attempt in range(1, requests.MAX_ATTEMPTS + 1):
        with monkeypatch.context() as patch:
            patch.setattr(requests, "PAUSES", (timedelta(0),) * len(requests.PAUSES))
            (request,) = daemon.tick()
        assert said(request) == ("universe_job", str(DAY), attempt)
        keys.add(request.run_key)
        daemon.fail(request)
        assert daemon.tick() == [], "its pause has not passed, or it had all its attempts"
    assert len(keys) == requests.MAX_ATTEMPTS
    assert daemon.cursor == str(DAY + timedelta(days=1))
    assert f"giving up on {DAY} after its last attempt" in daemon.skipped


@pytest.mark.usefixtures("no_pauses")
def test_a_day_that_had_its_attempts_does_not_hold_up_later_days(daemon):
    daemon.cursor = str(START)
    daemon.server.set_now(at(START + timedelta(days=21)))
    for attempt in range(1, requests.MAX_ATTEMPTS + 1):
        asked = daemon.tick()
        assert said(asked[0]) == ("universe_job", str(START), attempt)
        daemon.fail(asked[0])
    later = [("universe_job", str(START + timedelta(days=n)), 1) for n in (1, 2, 3)]
    assert daemon.asked() == later
    assert daemon.cursor == str(DAYS[1])


def test_a_phase_has_failed_when_one_of_its_runs_has(daemon):
    daemon.step("universe_job", DAY, DAY)
    # The first and the last symbol lack history, the one between has it: two runs of one phase.
    order = daemon.instance.get_dynamic_partitions("symbol")
    daemon.step("history_job", date(2023, 11, 20), START - timedelta(days=1), order[1])
    first, second = daemon.tick()
    assert first.job_name == second.job_name == "history_job"
    daemon.fail(first)
    assert daemon.execute(second).success
    assert daemon.tick() == [], "the step before failed and its pause has not passed"


@pytest.mark.usefixtures("no_pauses")
def test_dagsters_own_second_start_of_a_lost_run_counts_in_its_place(daemon):
    daemon.step("universe_job", DAY, DAY)
    (request,) = daemon.tick()
    daemon.fail(request)
    assert daemon.execute(request).success
    found = requests.read_attempts(daemon.instance, DAY)
    assert found[request.tags[requests.STEP_TAG]].has_succeeded


def test_a_range_without_candles_is_not_asked_for_again(daemon):
    daemon.step("universe_job", DAY, DAY)
    later = DAY + timedelta(days=1)  # on which SOLUSDT does not trade: the exchange says so once
    daemon.server.set_now(at(later, "23:00:00"))  # no candle so late is no late candle
    daemon.settle()
    signals = daemon.project.warehouse.read("signals").set_index("symbol")["status"]
    assert signals["SOLUSDT"] == "NO_DATA"
    assert (daemon.cursor, daemon.tick()) == (str(later + timedelta(days=1)), [])


def test_a_failed_symbol_does_not_hold_up_the_summary(daemon, monkeypatch):
    daemon.step("universe_job", DAY, DAY)
    daemon.server.faults.add("garbage:symbol=ETHUSDT,path=klines")
    assert daemon.settle()[-1] == ["summary_job"]
    warehouse = daemon.project.warehouse
    (before,) = warehouse.read("analysis_summary")["computed_at"]
    assert daemon.cursor == str(DAY), "the symbol has attempts left"
    daemon.server.faults.replace()
    monkeypatch.setattr(requests, "PAUSES", (timedelta(0),) * len(requests.PAUSES))
    daemon.settle()
    signals = warehouse.read("signals").set_index("symbol")["status"]
    assert signals["ETHUSDT"] == "OK"
    assert daemon.cursor == str(DAY + timedelta(days=1))
    (after,) = warehouse.read("analysis_summary")["computed_at"]
    assert after > before, "the summary knows the symbol now"


@pytest.mark.usefixtures("no_pauses")
def test_a_symbol_that_keeps_failing_has_its_attempts_and_the_day_is_left(daemon, monkeypatch):
    monkeypatch.setattr(requests, "MAX_ATTEMPTS", 2)
    daemon.step("universe_job", DAY, DAY)
    daemon.server.faults.add("garbage:symbol=ETHUSDT,path=klines")
    jobs = daemon.settle()
    assert jobs.count(["history_job"]) == 2
    assert ["summary_job"] in jobs
    assert daemon.cursor == str(DAY + timedelta(days=1))
    assert "giving up on" in daemon.skipped


def test_a_candidate_that_fails_in_the_ranking_does_not_hold_up_the_day(daemon):
    daemon.server.faults.add("garbage:symbol=ETHUSDT,path=klines")
    assert daemon.settle()[-1] == ["summary_job"]
    assert daemon.cursor == str(DAY), "the ranking has attempts left"


def test_an_exchange_that_is_down_is_a_reason_to_skip(daemon):
    daemon.cursor = str(DAY)
    daemon.server.faults.add("503")
    assert daemon.tick() == []
    assert "cannot get the exchange's time" in daemon.skipped


def test_only_candles_are_asked_for_where_only_they_are_missing(daemon):
    daemon.step("universe_job", DAY, DAY)
    (history,) = daemon.tick()
    daemon.execute(history)
    (candles,) = daemon.tick()
    assert candles.asset_selection == [dg.AssetKey(a) for a in CANDLES_ONLY]
    assert candles.tags["dagster/asset_partition_range_end"].startswith(str(DAYS[1]))


@pytest.mark.parametrize(("automation", "status"), [(True, "RUNNING"), (False, "STOPPED")])
def test_it_is_on_by_default_with_automation_alone(automation, status):
    settings = Settings(start_date=START, automation=automation)
    repository = build_defs(settings).get_repository_def()
    assert repository.get_sensor_def("scan_sensor").default_status.value == status
