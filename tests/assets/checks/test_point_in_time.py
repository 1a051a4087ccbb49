"""The look-ahead proof in every run: it judges the run's own days, and says which rows it drew."""

import json
import random
from datetime import timedelta

import dagster as dg
import psycopg
import pytest
from scan_support import DAY, DAYS, START, opened_daemon

from assets.checks.point_in_time import NAME, SYMBOLS, drawn, sampled_days
from autonama_dagster.analytics.scan import tables
from autonama_dagster.days import days_of
from autonama_dagster.orchestration.jobs import ANALYTIC
from autonama_dagster.schemas.partitions import RANGE_END_TAG, RANGE_START_TAG, rectangle_of_run
from resources.warehouse.statements import Scope

MONTH = days_of(START - timedelta(days=29), START)
NAMES = tuple(f"S{n:03}" for n in range(100))


@pytest.fixture(scope="module")
def opened(postgres, tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged")
    with opened_daemon(folder, postgres, scanned=DAYS, SOLUSDT=57) as daemon:
        daemon.keep()
        yield daemon


@pytest.fixture
def stored(opened, monkeypatch):
    opened.project.enter(monkeypatch)
    yield opened
    opened.restore()


def judged(daemon, name):
    """The latest verdict of a table's check, and its metadata as text."""
    key = dg.AssetCheckKey(dg.AssetKey(name), NAME)
    latest = daemon.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])
    found = latest[key].event.dagster_event.asset_check_evaluation_data
    return found.passed, {name: str(entry.value) for name, entry in found.metadata.items()}


def test_days_before_the_latest_that_are_wrong_turn_their_own_run_red(stored, monkeypatch):
    make = tables.compute

    def ahead(candles, windows):
        frame = make(candles, windows)
        return frame.assign(rsi_14=frame.groupby("symbol")["rsi_14"].shift(-1).fillna(50))

    monkeypatch.setattr(tables, "compute", ahead)
    stored.step("symbols_job", START, DAYS[1], *stored.registered, assets=ANALYTIC)
    passed, said = judged(stored, "indicators")
    assert not passed
    assert "rsi_14" in said["bad"]
    symbols = ", ".join(sorted(stored.registered))
    assert said["sampled"] == "\n".join(f"{day} {symbols}" for day in DAYS[:2])
    assert judged(stored, "regression_bands")[0]


def test_a_summary_of_a_day_before_that_is_wrong_turns_its_own_run_red(stored, monkeypatch):
    make = tables.pairs

    def ahead(names, candles, step, **options):
        is_later = any(c.day[-1] > step for c in candles.values() if len(c))
        return make(names, candles, step, **options).assign(is_high=is_later)

    monkeypatch.setattr(tables, "pairs", ahead)
    stored.step("summary_job", START, START)
    passed, said = judged(stored, "correlation_matrix")
    assert not passed
    assert "look_ahead" in said["bad"]
    assert said["sampled"] == str(START)


def test_a_check_run_by_itself_draws_from_all_stored_days(stored):
    with psycopg.connect(stored.project.url) as connection:
        statement = "UPDATE trading.regression_bands SET r_squared = 0 WHERE date = %s"
        assert connection.execute(statement, (START,)).rowcount
        connection.execute("DELETE FROM trading.verifications")
    key = dg.AssetCheckKey(dg.AssetKey("regression_bands"), NAME)
    everything = stored.defs.resolve_implicit_global_asset_job_def()
    job = everything.get_subset(asset_selection=set(), asset_check_selection={key})
    assert job.execute_in_process(instance=stored.instance).success
    passed, said = judged(stored, "regression_bands")
    assert not passed
    days = [line.split()[0] for line in said["sampled"].splitlines()]
    assert len(days) == 2
    assert days[0] == str(START)
    (kept,) = stored.project.warehouse.read("verifications").to_dict("records")
    assert (kept["table_name"], kept["symbols"], kept["rows"]) == ("regression_bands", 3, 6)
    assert [str(kept[name].date()) for name in ("first_date", "last_date")] == days
    assert kept["row_mismatches"] == kept["mismatches"] > 0
    assert {d["column"] for d in json.loads(kept["details"])} == {"r_squared"}
    assert kept["run_id"] == stored.instance.get_runs(limit=1)[0].run_id


def test_a_run_names_its_partitions():
    tags = {RANGE_START_TAG: "2023-12-27|CCC", RANGE_END_TAG: "2023-12-29|AAA"}
    assert rectangle_of_run(tags, ["DDD", "CCC", "BBB", "AAA"]) == (
        ("CCC", "BBB", "AAA"),
        START,
        DAY,
    )
    assert rectangle_of_run({}, ["DDD"]) == (None, None, None)


def test_every_run_draws_others_of_its_rows_and_the_same_when_asked_again():
    scope = Scope(NAMES, MONTH[0], MONTH[-1])
    first, again, second = (drawn(None, "signals", scope, run) for run in ("a", "a", "b"))
    assert first == again != second
    for sample in (first, second):
        assert min(sample) == MONTH[0]
        assert len(sample) == 2
        assert all(len(symbols) == SYMBOLS for symbols in sample.values())
        assert len({tuple(symbols) for symbols in sample.values()}) == 2
    assert not any(drawn(None, "analysis_summary", Scope(first=DAY, last=DAY), "a").values())


@pytest.mark.parametrize("count", [0, 1, 2, 3, 30])
def test_the_first_day_and_one_of_the_others_are_drawn(count):
    days = MONTH[:count]
    drawn_others = set()
    for seed in range(200):
        found = sampled_days(days, random.Random(seed))
        assert len(found) == min(count, 2)
        assert found[:1] == days[:1]
        drawn_others |= set(found[1:])
    assert drawn_others == set(days[1:])
