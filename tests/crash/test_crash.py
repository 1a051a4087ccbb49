"""Killed anywhere and run again, a program leaves what it would have left undisturbed."""

import json
from datetime import date

import psutil
import psycopg
import pytest
from fault_support import NOW, small_market
from program_support import (
    DAY,
    RANGE,
    TIMEOUT,
    crash,
    crash_bench,
    crash_project,
    crash_state,
    ended_well,
    opened,
    tables_of_scans,
)
from scan_support import DAYS, opened_project

from autonama_dagster.replay.server import ReplayServer

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    with ReplayServer(small_market(tmp_path_factory.mktemp("market")), now=NOW) as server:
        yield server


@pytest.fixture
def disturbed(tmp_path, exchange):
    with opened(tmp_path / "disturbed", exchange.url) as found:
        yield found


@pytest.fixture
def scanned(postgres, tmp_path_factory):
    """Databases that hold an undisturbed scan, made in this process."""
    folder = tmp_path_factory.mktemp("scanned")
    with opened_project(folder, postgres, scanned=[date.fromisoformat(DAY[1])]) as (found, _):
        url = found.url
        yield url, f"{url.partition('?')[0]}_dagster?{url.partition('?')[2]}"


def kill_when_said(found, text, victim, *arguments):
    """Start the program and kill the victim once the program has printed the text."""
    started = found.start(*arguments)

    def is_time():
        assert started.poll() is None, found.said()
        return text in found.said() and crash.find_victim(victim, found, started) is not None

    assert crash_project.until(is_time, TIMEOUT), found.said()
    psutil.Process(crash.find_victim(victim, found, started)).kill()
    started.wait(TIMEOUT)
    assert crash_project.after_kill(found) == []
    return started.returncode, found.said()


def test_a_scan_killed_between_its_steps_goes_on(disturbed, scanned):
    code, _ = kill_when_said(disturbed, "missing candles", "cli", "scan", *DAY)
    assert code == -9
    before = crash_state.read_tables(disturbed.url())
    assert before["ohlcv_1d"]
    assert not before["analysis_summary"]
    ended_well(disturbed, disturbed.start("scan", *DAY))
    assert crash_state.differences(
        crash_state.read_tables(scanned[0]), crash_state.read_tables(disturbed.url())
    ) == []  # fmt: skip


def test_a_backfill_killed_with_its_worker_and_its_server_goes_on(
    disturbed, postgres, tmp_path_factory
):
    code, _ = kill_when_said(disturbed, "rank the universe: ", "cli", "backfill", *RANGE)
    assert code == -9
    code, said = kill_when_said(disturbed, "fetch candles  [", "worker", "backfill", *RANGE)
    assert code == 1
    assert said.splitlines()[-1].startswith("autonama: backfill: a worker process died")
    assert "Traceback" not in said
    code, said = kill_when_said(disturbed, "fetch candles  [", "postmaster", "backfill", *RANGE)
    # The next run may have started the server again.
    assert code == 0 or said.splitlines()[-1].startswith("autonama: ")
    assert "Traceback" not in said
    ended_well(disturbed, disturbed.start("backfill", *RANGE))
    expected = tables_of_scans(tmp_path_factory.mktemp("undisturbed"), postgres, DAYS)
    assert len(expected["analysis_summary"]) == 3
    assert crash_state.differences(expected, crash_state.read_tables(disturbed.url())) == []


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM trading.signals WHERE symbol = 'ETHUSDT'", "signals"),
        ("DELETE FROM trading.indicators WHERE symbol = 'ETHUSDT'", "indicators"),
        ("DELETE FROM trading.analysis_summary", "analysis_summary"),
        ("DELETE FROM trading.fetch_log WHERE symbol = 'ETHUSDT'", "ohlcv_1d"),
        ("DELETE FROM trading.universe", "universe"),
    ],
)
def test_rows_that_are_gone_are_noticed(scanned, statement, found):
    url, dagster_url = scanned
    before = crash_state.read_tables(url)
    assert crash_state.baseless(url, dagster_url) == []
    with psycopg.connect(url) as connection:
        connection.execute(statement)
    (line,) = crash_state.differences(before, crash_state.read_tables(url))
    assert line.startswith(f"{'fetch_log' if found == 'ohlcv_1d' else found}: ")
    reported = crash_state.baseless(url, dagster_url)
    assert reported
    assert all(entry.startswith(found) for entry in reported)


def test_candles_of_other_intervals_are_not_judged(scanned):
    url, dagster_url = scanned
    event = (
        "INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, asset_key, "
        "partition) VALUES ('r', '{}', 'ASSET_MATERIALIZATION', now(), %s, '2023-12-29|BTCUSDT')"
    )
    with psycopg.connect(dagster_url) as connection:
        for asset in ("ohlcv_15m", "ohlcv_1h", "ohlcv_4h", "ohlcv_1w"):
            connection.execute(event, (f'["{asset}"]',))
    assert crash_state.baseless(url, dagster_url) == []


def test_a_changed_value_and_a_run_that_goes_on_are_noticed(scanned):
    url, dagster_url = scanned
    before = crash_state.read_tables(url)
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE trading.signals SET close = close * (1 + 1e-15)")
    (line,) = crash_state.differences(before, crash_state.read_tables(url))
    assert "3 rows are absent, 3 are not expected" in line
    assert crash_state.unfinished(dagster_url) == []
    with psycopg.connect(dagster_url) as connection:
        connection.execute("UPDATE runs SET status = 'STARTED' WHERE pipeline_name = 'summary_job'")
    (line,) = crash_state.unfinished(dagster_url)
    assert line.endswith("of summary_job stays STARTED")


def test_kills_at_random_moments_change_nothing():
    outcome = crash_bench.run(kills=1, names=["scan"], seed=1, minutes=5)
    assert outcome.faults == []
    assert outcome.survived == outcome.total >= 1
    assert crash_bench.is_met(outcome, kills=1)


def test_fewer_kills_than_asked_for_and_any_difference_are_not_met(monkeypatch, capsys):
    def told(faults, *kills):
        outcome = crash_project.Outcome()
        for name in kills:
            outcome.kills[name] += 1
        if kills:
            outcome.add("scan", kills, faults)
        monkeypatch.setattr(crash_bench, "run", lambda *_: outcome)
        code = crash_bench.main()
        return code, json.loads(capsys.readouterr().out)["met"]

    monkeypatch.setattr("sys.argv", ["crash", "--kills", "2"])
    assert told([], "scan: cli", "scan: postmaster") == (0, True)
    assert told([], "scan: cli") == (1, False)
    assert told([]) == (1, False)
    assert told(["signals: 1 rows are absent"], "scan: cli", "scan: cli") == (1, False)
