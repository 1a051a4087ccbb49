"""The sensor that makes stale rows again: exactly those, in order, once."""

from datetime import date, timedelta

import dagster as dg
import pytest
from scan_support import DAY, DAYS, START, at, opened_daemon

from autonama_dagster.definitions import build_defs
from autonama_dagster.orchestration import requests
from autonama_dagster.orchestration.jobs import ANALYTIC, SUMMARY
from autonama_dagster.orchestration.planner import stale_steps
from autonama_dagster.services.lineage.staleness import Comparison
from autonama_dagster.settings import Settings


@pytest.fixture
def daemon(postgres, tmp_path_factory):
    """Three scanned days; the candle of ETHUSDT on the second was then corrected."""
    folder = tmp_path_factory.mktemp("revision_sensor")
    with opened_daemon(folder, postgres, scanned=DAYS) as opened:
        revise(opened, "ETHUSDT", DAYS[1])
        yield opened


def revise(daemon, symbol, day, clock="00:20:00"):
    daemon.server.set_now(at(DAY, clock))
    daemon.server.faults.add(f"revised-candle:date={day},symbol={symbol}")
    daemon.step("symbols_job", day, day, symbol, assets=("ohlcv_1d",))


def tick(daemon):
    return daemon.tick("revision_sensor")


def ranges(asked):
    return [
        (
            r.job_name,
            r.tags["dagster/asset_partition_range_start"],
            r.tags["dagster/asset_partition_range_end"],
            int(r.tags["autonama/attempt"]),
        )
        for r in asked
    ]


def stale(daemon):
    found = Comparison(
        daemon.project.warehouse, daemon.project.settings, ("ETHUSDT",), DAYS[0], DAYS[2]
    ).all_tables()
    return set(found.rows) - {"universe"}


def runs_of_signals(daemon):
    """Run that made each signal, by symbol and day."""
    frame = daemon.project.warehouse.read("signals")
    keys = [frame["symbol"], frame["date"].dt.strftime("%Y-%m-%d")]
    return frame.set_index(keys)["run_id"]


def test_stale_rows_are_made_again_and_nothing_else(daemon, monkeypatch):
    before = runs_of_signals(daemon)
    (rows,) = asked = tick(daemon)
    first, last = f"{DAYS[1]}|ETHUSDT", f"{DAYS[2]}|ETHUSDT"
    assert ranges(asked) == [("symbols_job", first, last, 1)]
    assert rows.asset_selection == [dg.AssetKey(a) for a in ANALYTIC]
    run = daemon.queue(rows)
    assert tick(daemon) == [], "its run has not ended"
    daemon.instance.delete_run(run.run_id)
    assert daemon.execute(rows).success
    (days,) = asked = tick(daemon)
    assert ranges(asked) == [("summary_job", str(DAYS[1]), str(DAYS[2]), 1)]
    assert days.asset_selection == [dg.AssetKey(a) for a in SUMMARY]
    assert daemon.execute(days).success
    assert tick(daemon) == []
    assert stale(daemon) == set()
    assert daemon.cursor
    assert tick(daemon) == []
    assert daemon.skipped == "no daily candles have changed since the last check"
    after = runs_of_signals(daemon)
    assert set(after[after != before].index) == {("ETHUSDT", str(d)) for d in DAYS[1:]}

    # A second change of another candle, on the last day alone, is a round of its own.
    revise(daemon, "BTCUSDT", DAYS[2], "00:40:00")
    asked = tick(daemon)
    key = f"{DAYS[2]}|BTCUSDT"
    assert ranges(asked) == [("symbols_job", key, key, 1)]
    # One that fails is asked for again after its pause.
    daemon.fail(asked[0])
    assert tick(daemon) == []
    monkeypatch.setattr(requests, "PAUSES", (timedelta(0),) * len(requests.PAUSES))
    assert ranges(tick(daemon)) == [("symbols_job", key, key, 2)]


def test_it_is_off_with_automation_too():
    repository = build_defs(Settings(start_date=START, automation=True)).get_repository_def()
    sensor = repository.get_sensor_def("revision_sensor")
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED


def test_steps_hold_exactly_what_is_stale():
    day = date(2024, 1, 1)
    at_day = [day + timedelta(days=n) for n in range(6)]
    a, b = frozenset({"A"}), frozenset({"A", "B", "D"})
    wanted = {at_day[0]: a, at_day[1]: a, at_day[2]: b, at_day[3]: frozenset(), at_day[5]: a}
    steps = stale_steps(wanted, ["C", "A", "B", "E", "D"], ("signals",))
    assert [(s.first, s.last, s.symbols) for s in steps] == [
        (at_day[0], at_day[1], ("A",)),
        (at_day[2], at_day[2], ("A", "B")),
        (at_day[2], at_day[2], ("D",)),
        (at_day[5], at_day[5], ("A",)),
    ]


def test_a_step_fits_the_memory():
    day = date(2024, 1, 1)
    names = [f"S{n:03}" for n in range(100)]
    days = [day + timedelta(days=n) for n in range(50)]
    steps = stale_steps(dict.fromkeys(days, frozenset(names)), names, ("signals",))
    assert [(s.last - s.first).days + 1 for s in steps] == [24, 24, 2]
