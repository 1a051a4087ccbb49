"""`autonama scan`: stored once, what-ifs that leave no trace, exports, secrets."""

import csv
import json
import os
import re
import signal
import threading
import time
from contextlib import closing
from datetime import date

import dagster as dg
import numpy as np
import pandas as pd
import psycopg
import pytest

from autonama_dagster.services.scan.results import EXPORTED, plain_records
from autonama_dagster.services.scan.what_if import what_if
from resources.exchange.build import build_exchange
from resources.exchange.memo import MemoExchange
from resources.postgres.database import dagster_database_url
from resources.postgres.urls import libpq_url
from resources.warehouse.statements import Scope

NAME = re.compile(r"backtest_results_\d{8}_\d{6}\.(json|csv)")
DAY = date(2024, 3, 10)
PLANTED_KEY, PLANTED_SECRET = "planted-key-4711", "planted-secret-0815"
PLANTED_PASSWORD = "planted-password-99"


def everything(url):
    """All rows of every table of a database, as text."""
    with psycopg.connect(libpq_url(url)) as connection:
        names = connection.execute(
            "SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) "
            "FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
            "AND table_schema IN ('public', 'trading') ORDER BY 1"
        ).fetchall()
        return {
            name: connection.execute(f"SELECT t::text FROM {name} AS t ORDER BY 1").fetchall()
            for (name,) in names
        }


def databases(opened):
    return everything(opened.url), everything(dagster_database_url())


def exported(home):
    return sorted((home / "results").glob("backtest_results_*"))


def test_a_second_scan_of_the_day_shows_what_is_stored_and_exports_it(run, day, home):
    before = databases(day)
    ended = run("scan", "--format", "json")
    assert ended.code == 0, ended.err
    assert databases(day) == before
    document = json.loads(ended.out)
    assert (document["date"], document["stored"]) == ("2024-03-10", True)
    assert (document["source"], document["is_synthetic"]) == ("synthetic", True)
    assert document["summary"]["total_assets_analyzed"] == 6
    table, file = exported(home)
    assert NAME.fullmatch(table.name)
    assert NAME.fullmatch(file.name)
    assert table.stem == file.stem
    assert json.loads(file.read_text()) == document
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [r["symbol"] for r in rows] == [r["symbol"] for r in document["signals"]]
    assert [float(r["z_score"]) for r in rows] == [r["z_score"] for r in document["signals"]]
    assert {(r["source"], r["is_stored"]) for r in rows} == {("synthetic", "True")}


@pytest.mark.usefixtures("day")
def test_counts_stand_beside_what_chance_would_bring(run):
    summary = json.loads(run("scan", "--format", "json").out)["summary"]
    ended = run("scan", "--correlation-analysis")
    for side in ("buy", "sell"):
        count, by_chance = summary[f"{side}_signals"], summary[f"expected_{side}_signals"]
        said = f"{count} {side.upper()} ({by_chance:.1f} expected by chance)"
        assert said in " ".join(ended.out.split())
    assert summary["chance_analysis"]["n_members"] == 6
    high, linked = (summary[f"expected_{n}"] for n in ("high_correlations", "linked_pairs"))
    assert f"independent: {high:.1f} high correlations, {linked:.1f} linked pairs" in ended.out
    shown = run("show", "summary").out
    assert f"\nexpected buy signals: {summary['expected_buy_signals']:.1f}\n" in shown


def test_a_summary_that_knows_no_chance_says_nothing_of_it(run, day):
    """One that an earlier version stored: the migration leaves its new columns NULL."""
    named = "expected_buy_signals", "expected_sell_signals", "chance_analysis"
    named += "expected_high_correlations", "expected_linked_pairs"
    with psycopg.connect(libpq_url(day.url), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT * FROM trading.analysis_summary")
        nothing = ", ".join(f"{name} = NULL" for name in named)
        connection.execute(f"UPDATE trading.analysis_summary SET {nothing}")
        shown = run("show", "summary", "--format", "json")
        ended = run("scan", "--correlation-analysis")
        connection.execute("DELETE FROM trading.analysis_summary")
        connection.execute("INSERT INTO trading.analysis_summary SELECT * FROM kept")
        connection.execute("DROP TABLE kept")
    assert {name: json.loads(shown.out)[name] for name in named} == dict.fromkeys(named)
    assert ended.code == 0, ended.err
    assert "analysed" in ended.out
    assert "chance" not in ended.out


def test_the_exported_numbers_are_the_stored_ones(run, day):
    document = json.loads(run("scan", "--format", "json").out)
    signals = day.warehouse.read("signals").set_index("symbol", drop=False)
    for row in document["signals"]:
        expected = plain_records(signals.loc[[row["symbol"]], list(EXPORTED)])[0]
        assert row == expected


@pytest.mark.usefixtures("day")
def test_nothing_is_overwritten(run, home):
    for _ in range(2):
        assert run("scan").code == 0
    assert len(exported(home)) == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["--symbols", "BTCUSDT,ETHUSDT"],
        ["--core-movers"],
        ["--top", "3"],
        ["--degree", "3"],
        ["--kstd", "1.5"],
        ["--days", "400"],
    ],
)
def test_a_what_if_is_shown_and_exported_and_leaves_no_trace(run, day, home, arguments):
    before = databases(day)
    ended = run("scan", *arguments)
    assert ended.code == 0, ended.err
    assert databases(day) == before
    assert "what-if, not stored" in ended.out
    assert "SYNTHETIC MARKET" in ended.out
    table, file = exported(home)
    assert json.loads(file.read_text())["stored"] is False
    assert {r["is_stored"] for r in csv.DictReader(table.read_text().splitlines())} == {"False"}


@pytest.mark.usefixtures("day")
def test_a_what_if_on_an_empty_database_leaves_it_empty(run, postgres, monkeypatch):
    postgres.ensure_database("cli_empty")
    monkeypatch.setenv("DATABASE_URL", postgres.url("cli_empty"))
    ended = run("scan", "--top", "3", "--date", "2024-03-01", "--format", "json")
    assert ended.code == 0, ended.err
    assert len(json.loads(ended.out)["signals"]) == 3
    rows = everything(postgres.url("cli_empty"))
    assert sum(map(len, rows.values())) == 1  # the number of the last migration
    with psycopg.connect(libpq_url(postgres.url("postgres"))) as connection:
        names = {n for (n,) in connection.execute("SELECT datname FROM pg_database")}
    assert "cli_empty_dagster" not in names


@pytest.mark.parametrize("has_candles", [True, False], ids=["from the tables", "fetched"])
def test_a_what_if_with_the_configured_parameters_gives_the_stored_rows(
    stored, monkeypatch, has_candles
):
    warehouse = stored.warehouse
    if not has_candles:
        monkeypatch.setattr("autonama_dagster.services.scan.what_if.fetched_ranges", lambda *_: {})
    signals = warehouse.read("signals", Scope(first=DAY, last=DAY))
    with closing(MemoExchange(build_exchange(stored.settings))) as exchange:
        result = what_if(
            stored.settings,
            DAY,
            signals["symbol"].tolist(),
            exchange=exchange,
            warehouse=warehouse,
        )
    found = result.signals.set_index("symbol").sort_index()
    expected = signals.set_index("symbol").sort_index()
    shared = [c for c in expected.columns if c not in {"run_id", "computed_at", "result_hash"}]
    assert {"input_hash", "params_hash", "z_score", "confirmations"} <= set(shared)
    pd.testing.assert_frame_equal(
        found[shared], expected[shared], check_exact=True, check_dtype=False
    )
    assert result.source == "synthetic"


@pytest.mark.usefixtures("day")
def test_degree_and_kstd_and_days_change_the_numbers(run):
    def bands(*arguments):
        return json.loads(run("scan", "--format", "json", *arguments).out)["signals"][0]

    configured = bands("--symbols", "BTCUSDT")
    for arguments in (["--degree", "3"], ["--days", "400"], ["--kstd", "1"]):
        other = bands("--symbols", "BTCUSDT", *arguments)
        assert other["upper_band"] != configured["upper_band"], arguments
        assert other["params_hash"] != configured["params_hash"]


@pytest.mark.usefixtures("day")
def test_json_is_all_that_stdout_holds_and_progress_is_compact(run):
    ended = run("scan", "--top", "5", "--date", "2024-03-09", "--format", "json")
    json.loads(ended.out)
    steps = [line for line in ended.err.splitlines() if line.startswith("  ")]
    assert any(re.search(r"rank the universe  \[\d+\.\d s\]", line) for line in steps)
    assert sum("requests" in line for line in steps) <= 4
    assert all(len(re.findall("requests", line)) <= 1 for line in steps)


@pytest.mark.usefixtures("day")
def test_charts_and_correlations_on_request(run, home, tmp_path):
    folder = tmp_path / "out"
    ended = run(
        *["scan", "--symbols", "BTCUSDT,ETHUSDT", "--generate-charts"],
        *["--correlation-analysis", "--output", folder],
    )
    assert ended.code == 0, ended.err
    assert "mean pearson" in ended.out
    charts = sorted(folder.rglob("*.png"))
    assert [c.name for c in charts] == ["BTCUSDT.png", "ETHUSDT.png"]
    assert all(c.read_bytes().startswith(b"\x89PNG") for c in charts)
    assert f"charts: 2 in {charts[0].parent}" in ended.err
    document = json.loads(next(folder.glob("*.json")).read_text())
    assert document["charts"] == [str(c) for c in charts]
    assert not exported(home)


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (("--date", "2024-03-09"), signal.SIGINT),
        (("--date", "2024-03-09"), signal.SIGTERM),
        (("--symbols", "BTCUSDT,ETHUSDT", "--date", "2024-03-08"), signal.SIGINT),
    ],
    ids=["stored", "stored, SIGTERM", "what-if"],
)
def test_the_first_signal_ends_a_scan_whose_exchange_drips(run, day, exchange, arguments, number):
    """A minute before the answer's deadline."""
    pressed = []

    def press():
        while not any(r.path.endswith("/klines") for r in exchange.requests):
            time.sleep(0.05)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), number)

    exchange.clear_requests()
    exchange.faults.add("drip:path=klines")
    finger = threading.Thread(target=press, daemon=True)
    finger.start()
    try:
        ended = run("scan", *arguments)
    finally:
        exchange.faults.replace()
    assert (ended.code, ended.err.splitlines()[-1]) == (128 + number, "autonama: stopped")
    assert time.monotonic() - pressed[0] < 30
    for failed in day.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])):
        day.instance.delete_run(failed.run_id)


def test_ctrl_c_in_the_middle_of_a_step_ends_with_one_line(run, day, monkeypatch):
    def press(*_, **__):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("resources.warehouse.ledger.made_days", lambda *_: frozenset())
    with monkeypatch.context() as patch:
        patch.setattr("resources.warehouse.warehouse.Warehouse.write", press)
        ended = run("scan")
    assert ended.code == 130
    assert ended.err.splitlines()[-1] == "autonama: stopped"
    assert "Traceback" not in ended.err
    assert run("scan").code == 0
    (failed,) = day.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
    day.instance.delete_run(failed.run_id)  # the project is other tests' too


@pytest.mark.usefixtures("day")
def test_an_exchange_that_bans_ends_a_stored_scan_with_one_line(
    run, exchange, postgres, monkeypatch
):
    postgres.ensure_database("cli_banned")
    monkeypatch.setenv("DATABASE_URL", postgres.url("cli_banned"))
    exchange.faults.add("418:path=klines")
    ended = run("scan")
    exchange.faults.replace()
    assert ended.code == 1
    assert "banned this address" in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err


def debugged(run, *arguments):
    """What `--debug` prints when the command fails."""
    ended = run(*arguments)
    assert ended.code == 1
    assert "Traceback" in ended.err
    assert "cannot be reached" in ended.err
    return ended


def test_secrets_of_a_config_file_reach_nothing(run, day, home, tmp_path):
    """The file's keys and database are used, and appear in no output, table, file or event."""
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps({"binance_api_key": PLANTED_KEY, "binance_api_secret": PLANTED_SECRET})
    )
    outputs = [run("scan", "--config", path), run("scan", "--config", path, "--core-movers")]
    assert [o.code for o in outputs] == [0, 0]
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps({"database_host": "127.0.0.1", "database_port": 1,
                                  "database_password": PLANTED_PASSWORD}))  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL")
        outputs.append(run("scan", "--config", broken))
        assert outputs[-1].code == 1
        assert "postgres:***@127.0.0.1:1/autonama cannot be reached" in outputs[-1].err
        outputs.append(debugged(run, "scan", "--config", str(broken), "--debug"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", f"postgresql://u:{PLANTED_PASSWORD}@127.0.0.1:1/x")
        patch.setenv("BINANCE_API_KEY", PLANTED_KEY)
        outputs.append(debugged(run, "show", "signals", "--debug"))
    said = "".join(o.out + o.err for o in outputs)
    kept = str(databases(day)) + "".join(
        p.read_text() for p in home.rglob("*") if p.suffix in {".json", ".csv", ".log"}
    )
    for secret in (PLANTED_KEY, PLANTED_SECRET, PLANTED_PASSWORD):
        assert secret not in said
        assert secret not in kept


@pytest.mark.usefixtures("day")
def test_numbers_that_are_missing_are_null(run):
    ended = run("scan", "--symbols", "BTCUSDT", "--date", "2018-03-01", "--format", "json")
    assert ended.code == 0, ended.err
    assert "NaN" not in ended.out
    row = json.loads(ended.out)["signals"][0]
    assert row["status"] in {"INSUFFICIENT_DATA", "NO_DATA"}
    assert row["upper_band"] is None
    assert np.isfinite(row["signal_strength"])
