"""`autonama db retain`: what it says, and that it does only what is set."""

import pytest

from autonama_dagster.definitions import build_defs
from autonama_dagster.settings import load_settings
from resources.warehouse.statements import Scope


def alerts(day):
    return len(day.warehouse.read("alerts", Scope()))


@pytest.mark.usefixtures("day")
def test_without_a_setting_everything_stays(run):
    ended = run("db", "retain")
    assert (ended.code, ended.out) == (0, "no retention is set: nothing to delete\n")


def test_a_dry_run_says_what_would_go(run, day, monkeypatch):
    monkeypatch.setenv("AUTONAMA_RETENTION_ALERTS_DAYS", "30")
    monkeypatch.setenv("AUTONAMA_RETENTION_EVENTS_DAYS", "1")
    before = alerts(day)
    assert before
    ended = run("db", "retain", "--dry-run")
    assert ended.code == 0, ended.err
    said = ended.out.splitlines()
    assert said[0].startswith(f"alerts: would delete {before} rows before ")
    assert all("would delete" in line for line in said)
    assert "event_logs: would delete 0 rows" in said[1]
    assert alerts(day) == before


@pytest.mark.parametrize("days", ["6", "0", "-1", "many"])
def test_a_limit_that_would_fight_the_daily_scan_is_refused(run, monkeypatch, days):
    monkeypatch.setenv("AUTONAMA_RETENTION_SUMMARIES_DAYS", days)
    ended = run("db", "retain")
    assert ended.code == 2
    assert ended.error.startswith("autonama: AUTONAMA_RETENTION_SUMMARIES_DAYS")


def test_the_command_and_the_job_delete_and_a_scan_makes_the_day_anew(run, day, monkeypatch):
    monkeypatch.setenv("AUTONAMA_RETENTION_ALERTS_DAYS", "30")
    before = alerts(day)
    stored = len(day.warehouse.read("ohlcv_1d"))
    ended = run("db", "retain")
    assert f"alerts: deleted {before} rows before" in ended.out
    assert (alerts(day), len(day.warehouse.read("ohlcv_1d"))) == (0, stored)
    assert run("scan", "--date", "2024-03-10").code == 0
    assert alerts(day) == before
    job = build_defs(load_settings(), warehouse=day.warehouse).resolve_job_def("retention_job")
    assert job.execute_in_process(instance=day.instance).success
    assert alerts(day) == 0
    assert run("scan", "--date", "2024-03-10").code == 0
    assert alerts(day) == before
