"""`autonama status` and `autonama metrics` as commands."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import requests
from support import free_port

from resources.anchor_log import read_log
from resources.postgres.urls import dagster_sibling, libpq_url, with_database

MIB = 1024**2
PROGRAM = [sys.executable, "-c", "from autonama_dagster.cli.main import main; main()"]


@pytest.fixture
def morning(exchange, day):
    """The stored day, looked at when the hour of grace is over."""
    exchange.set_now("2024-03-11T08:00:00Z")
    yield day
    exchange.set_now("2024-03-11T00:05:00Z")


@pytest.mark.usefixtures("morning")
def test_a_day_that_is_complete(run):
    ended = run("status")
    assert ended.code == 0, ended.out
    assert "healthy" in ended.out
    assert "latest closed day 2024-03-10 (exchange, 2024-03-11 08:00" in ended.out
    for name in ("universe", "ohlcv_1d", "analysis_summary", "fetch_log"):
        assert re.search(rf"^{name} ", ended.out, re.MULTILINE), name
    assert "symbols_job" in ended.out
    assert "2024-03-10|" in ended.out
    assert "daemon: not running, never seen" in ended.out
    assert "00:05 UTC, if `autonama up` is running" in ended.out


@pytest.mark.usefixtures("day")
def test_the_same_as_json(run):
    ended = run("status", "--format", "json")
    found = json.loads(ended.out)
    assert (found["problems"], found["is_healthy"], ended.code) == ([], True, 0)
    assert found["clock"]["latest_closed"] == "2024-03-10"
    tables = {t["name"]: t for t in found["tables"]["tables"]}
    assert tables["signals"]["complete_day"] == "2024-03-10"
    assert tables["signals"]["index_bytes"] < tables["signals"]["bytes"]
    assert found["dagster"]["last_runs"][0]["status"] == "SUCCESS"
    assert found["anchor"]["root"] is None  # the log is in the home of the scan
    assert found["disk"]["free_bytes"] > 0


def test_the_last_line_of_the_anchor_log(run, day, monkeypatch):
    path = Path(day.environment["AUTONAMA_HOME"]) / "anchors.jsonl"
    assert "anchor: there is no line" in run("status").out
    monkeypatch.setenv("AUTONAMA_ANCHOR_FILE", str(path))
    last = read_log(path).lines[-1]
    shown = " ".join(run("status").out.split())
    made = f"{last.made_at:%Y-%m-%d %H:%M} UTC"
    assert f"the last about 2024-03-10, {made}, root {last.root}" in shown
    monkeypatch.setenv("AUTONAMA_ANCHOR_FILE", "none")
    assert "anchor:" not in run("status").out


def test_stored_candles_that_were_requested_again(run, day):
    none = run("status").out
    assert "requested again since 2024-02-10: no stored candle" in none
    rows = (
        "INSERT INTO trading.candle_checks SELECT '2024-03-10T03:00Z', 'S' || n, '2024-01-01', "
        "CASE n WHEN 1 THEN 'revised' WHEN 2 THEN 'failed' ELSE 'confirmed' END, NULL, 'r' "
        "FROM generate_series(1, 20) AS n"
    )
    with psycopg.connect(libpq_url(day.url), autocommit=True) as connection:
        connection.execute(rows)
        try:
            text, as_json = run("status").out, run("status", "--format", "json").out
        finally:
            connection.execute("DELETE FROM trading.candle_checks")
    assert (
        "requested again since 2024-02-10: 20 stored candles, 18 confirmed (94.7 % of those "
        "answered, 95 % interval 75.4 to 99.1 %), 1 revised, 0 missing, 1 failed"
    ) in " ".join(text.split())
    found = json.loads(as_json)
    checks = found["tables"]["candle_checks"]
    assert (checks["confirmed"], checks["revised"], checks["failed"]) == (18, 1, 1)
    assert checks["confirmed_share"] == pytest.approx(18 / 19)
    assert 0.75 < checks["confirmed_low"] < 18 / 19 < checks["confirmed_high"] < 1
    assert any("1 had been revised" in note for note in found["notes"])
    assert found["is_healthy"]


def test_what_it_takes_on_the_disk(run, day, home):
    folder = home / ".autonama"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_bytes(os.urandom(3 * MIB))
    found = re.search(
        r"^disk: project (.+), Dagster (.+), folder (.+) in (.+), free (.+)$",
        run("status").out, re.MULTILINE,
    )  # fmt: skip
    url = libpq_url(day.url)
    for database, told in (
        (url, found[1]),
        (with_database(url, dagster_sibling(url)), found[2]),
    ):
        with psycopg.connect(database) as connection:
            query = "SELECT pg_database_size(current_database())"
            (size,) = connection.execute(query).fetchone()
        assert size > MIB
        assert told == f"{size / MIB:.1f} MiB"
    assert (found[3], found[4]) == ("3.0 MiB", str(folder))
    number, unit = found[5].split()
    free = float(number.replace(",", "")) * {"MiB": MIB, "GiB": 1024 * MIB}[unit]
    assert free == pytest.approx(shutil.disk_usage(home).free, rel=0.1)


def test_a_failed_symbol_makes_the_exit_code_1(run, morning):
    with psycopg.connect(morning.url) as connection:
        connection.execute(
            "INSERT INTO trading.fetch_log (exchange, symbol, interval, from_date, to_date, "
            "asked_at, outcome, candles, message, run_id) VALUES ('binance', 'GONEUSDT', '1d', "
            "'2024-03-10', '2024-03-10', now(), 'failed', 0, 'why', 'r')"
        )
    try:
        ended = run("status")
    finally:
        with psycopg.connect(morning.url) as connection:
            connection.execute("DELETE FROM trading.fetch_log WHERE symbol = 'GONEUSDT'")
    assert ended.code == 1
    assert ended.out.startswith("problem  1 symbol could not be fetched for 2024-03-10: GONEUSDT;")


@pytest.mark.usefixtures("day")
def test_without_the_exchange_it_says_so(run, monkeypatch):
    monkeypatch.setenv("AUTONAMA_EXCHANGE_URL", "http://127.0.0.1:9")
    ended = run("status")
    assert ended.code == 1  # by the wall clock that day is long ago
    assert "note     cannot get the exchange's time: cannot reach 127.0.0.1:9" in ended.out
    assert "(wall clock, " in ended.out


@pytest.mark.usefixtures("day")
def test_the_next_morning_it_is_stale(run, exchange):
    exchange.set_now("2024-03-12T01:00:00Z")
    ended = run("status")
    exchange.set_now("2024-03-11T00:05:00Z")
    assert ended.code == 1
    assert ended.out.startswith(
        "problem  stale: the latest complete day is 2024-03-10, 1 day behind"
    )


def test_a_stopped_server_is_one_line_and_stays_stopped(run, home):
    ended = run("status")
    assert ended.code == 1
    assert "not running: run `autonama db start`" in ended.error
    as_json = run("status", "--format", "json")
    assert as_json.code == 1
    assert json.loads(as_json.out)["is_healthy"] is False
    assert list(home.iterdir()) == []


@pytest.mark.usefixtures("day")
def test_dagster_is_not_imported():
    code = (
        "import sys; sys.argv = ['autonama', 'status']\n"
        "from autonama_dagster.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.exit('imported' if {'dagster', 'binance'} & set(sys.modules) else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_metrics_are_served_on_this_machine_only(run):
    ended = run("metrics", "--host", "0.0.0.0")
    assert ended.code == 2
    assert "--allow-remote" in ended.error


@pytest.mark.usefixtures("day")
@pytest.mark.parametrize("form", ["text", "json"])
def test_metrics_are_served_until_interrupted(form, monkeypatch):
    monkeypatch.setenv("AUTONAMA_LOG_FORMAT", form)
    command = [*PROGRAM, "metrics", "--port", str(free_port())]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            line = server.stderr.readline()
            url = json.loads(line)["url"] if form == "json" else line.split()[1]
            answer = requests.get(url, timeout=30)
        finally:
            server.kill()
    assert answer.text.startswith("# HELP autonama_up ")
    assert "\nautonama_up 1.0\n" in answer.text
