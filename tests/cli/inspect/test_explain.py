"""`autonama explain` as a command."""

import gc
import json
import re
import subprocess
import sys

import psycopg
import pytest


@pytest.mark.usefixtures("day")
def test_the_receipt_of_the_latest_day(run):
    ended = run("explain", "btcusdt")
    assert ended.code == 0, ended.err
    assert "SYNTHETIC MARKET" in ended.out
    assert "BTCUSDT 2024-03-10: " in ended.out
    assert "all hashes and values that can be recomputed match" in ended.out
    assert ended.out.count("http://127.0.0.1:3000/runs/") == 2  # of the universe and the symbols
    assert "symbols_job SUCCESS" in ended.out
    for name in ("indicators", "regression_bands", "universe", "signals", "alerts"):
        assert re.search(rf"\b{name}\b", ended.out), name


def test_the_receipt_tells_the_indicators_and_a_file_with_its_checksum(run, day):
    origin = {
        "source": "archive", "file": "BTCUSDT-1d-2024-02.zip", "sha256": "ab12",
        "first": "2020-01-01", "last": "2024-03-10",
    }  # fmt: skip
    with psycopg.connect(day.url, autocommit=True) as connection:
        kept = connection.execute(
            "SELECT run_id, from_date, origins::text FROM trading.fetch_log "
            "WHERE symbol = 'BTCUSDT' AND interval = '1d'"
        ).fetchall()
        ours = "WHERE symbol = 'BTCUSDT' AND interval = '1d'"
        connection.execute(
            f"UPDATE trading.fetch_log SET origins = %s::jsonb {ours}", (json.dumps([origin]),)
        )
        try:
            told = " ".join(run("explain", "BTCUSDT").out.split())
            found = json.loads(run("explain", "BTCUSDT", "--format", "json").out)
        finally:
            for run_id, first, origins in kept:
                connection.execute(
                    f"UPDATE trading.fetch_log SET origins = %s::jsonb {ours} "
                    "AND run_id = %s AND from_date = %s",
                    (origins, run_id, first),
                )
        (rsi,) = connection.execute(
            "SELECT rsi_14 FROM trading.indicators WHERE symbol = 'BTCUSDT' AND date = '2024-03-10'"
        ).fetchone()
    assert f"rsi 14 = {rsi:.5g}," in told
    assert "BTCUSDT-1d-2024-02.zip" in told
    assert "sha256 ab12" in told
    assert all(candle["origin"] == origin for candle in found["candles"])


def test_the_same_as_json_names_every_candle(run, day, monkeypatch):
    monkeypatch.setenv("AUTONAMA_UI_URL", "https://dagster.example/")
    found = json.loads(run("explain", "BTCUSDT", "2024-03-10", "--format", "json").out)
    assert (found["symbol"], found["date"], found["is_match"]) == ("BTCUSDT", "2024-03-10", True)
    assert [link["is_match"] for link in found["chain"]] == [True] * 7
    assert len(found["candles"]) == found["window"]["candles"]
    assert {c["source"] for c in found["candles"]} == {"synthetic"}
    assert all(len(c["row_hash"]) == 64 and c["fetched_at"] for c in found["candles"])
    assert found["rows"]["asset_analytics"]["polynomial_regression"]["degree"] == 4
    runs = {r["table"]: r for r in found["runs"]}
    url = runs["signals"]["url"]
    assert url == f"https://dagster.example/runs/{runs['signals']['run_id']}"
    assert day.instance.get_run_by_id(runs["signals"]["run_id"]).is_success
    assert runs["universe"]["job"] == "universe_job"


def test_a_changed_candle_is_named_and_the_exit_code_is_1(run, day):
    change = (
        "UPDATE trading.ohlcv_1d SET close = close {} 0.01 "
        "WHERE symbol = 'BTCUSDT' AND date = '2024-03-10'"
    )
    with psycopg.connect(day.url, autocommit=True) as connection:
        (close,) = connection.execute(
            "SELECT close FROM trading.ohlcv_1d WHERE symbol = 'BTCUSDT' AND date = '2024-03-10'"
        ).fetchone()
        connection.execute(change.format("+"))
        try:
            changed, other = run("explain", "BTCUSDT"), run("explain", "ETHUSDT")
        finally:
            connection.execute(
                "UPDATE trading.ohlcv_1d SET close = %s "
                "WHERE symbol = 'BTCUSDT' AND date = '2024-03-10'",
                (close,),
            )
    assert (changed.code, other.code) == (1, 0)
    assert "MISMATCH" in changed.out
    assert "2024-03-10" in changed.out.splitlines()[-1]
    assert run("explain", "BTCUSDT").code == 0


def test_a_forged_decision_is_shown_beside_what_comes_out(run, day, tmp_path):
    one = "WHERE symbol = 'BTCUSDT' AND date = '2024-03-10'"
    with psycopg.connect(day.url, autocommit=True) as connection:
        connection.execute(f"CREATE TEMP TABLE kept AS SELECT * FROM trading.signals {one}")
        connection.execute(f"UPDATE trading.signals SET signal = 'BUY', z_score = -9 {one}")
        try:
            forged = run("explain", "BTCUSDT")
            document = json.loads(run("explain", "BTCUSDT", "--format", "json").out)
            drawn = run(
                "explain", "BTCUSDT", "--format", "png", "--output", str(tmp_path / "a.png")
            )
        finally:
            connection.execute(f"DELETE FROM trading.signals {one}")
            connection.execute("INSERT INTO trading.signals TABLE kept")
    assert (forged.code, drawn.code) == (1, 1)
    assert "DIFFERS: values, result hash" in forged.out
    assert re.search(r"z-score|z_score", forged.out)
    assert "-9.0" in forged.out
    last = " ".join(forged.out.split("MISMATCH")[1].split())
    assert last == ": a row was changed after it was computed: signals"
    assert document["fault"] == last.removeprefix(": ")
    (link,) = (link for link in document["chain"] if not link["is_match"])
    assert {c["column"]: c["stored"] for c in link["differences"]}["z_score"] == "-9.0"
    assert link["stored_result"] != link["recomputed_result"]
    assert run("explain", "BTCUSDT").code == 0


@pytest.mark.usefixtures("day")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["X"], "no signal of X is stored; see `autonama show signals`"),
        (["BTC"], "no signal of BTC is stored; did you mean BTCUSDT?"),
        (["BTCUSDT", "2024-03-01"], "no signal of BTCUSDT on 2024-03-01 is stored; the latest is"),
        (["BTCUSDT", "soon"], "soon"),
    ],
)
def test_what_is_not_there_is_one_line(run, arguments, says):
    ended = run("explain", *arguments)
    assert ended.code == 2
    assert says in ended.error


@pytest.mark.usefixtures("day")
def test_a_picture_goes_to_the_results_or_to_a_file(run, home, tmp_path):
    ended = run("explain", "BTCUSDT", "--format", "png")
    assert ended.code == 0, ended.err
    path = home / "results" / "explain" / "2024-03-10" / "BTCUSDT.png"
    assert ended.out.strip() == str(path)
    other = tmp_path / "other.png"
    assert run("explain", "BTCUSDT", "--format", "png", "--output", other).code == 0
    assert other.read_bytes() == path.read_bytes()
    assert path.read_bytes().startswith(b"\x89PNG")
    refused = run("explain", "BTCUSDT", "--format", "png", "--output", tmp_path / "no" / "a.png")
    assert refused.code == 2
    assert "cannot write" in refused.error
    assert "--output needs --format png" in run("explain", "BTCUSDT", "--output", other).error


def test_it_imports_nothing_that_it_does_not_need():
    needed = (
        "autonama_dagster.services.lineage.receipt_picture, resources.postgres.roles.readers, "
        "resources.postgres.migrate"
    )
    found = subprocess.run(
        [sys.executable, "-c", f"import sys, {needed}; print(*sys.modules)"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert {"pandas", "matplotlib.figure", "autonama_dagster.services.lineage.receipts"} <= set(
        found
    )
    slow = {"dagster", "sqlalchemy", "alembic", "requests", "scipy", "matplotlib.pyplot"}
    assert slow.isdisjoint(found)


@pytest.mark.usefixtures("day")
def test_garbage_is_collected_again_afterwards(run):
    run("explain", "BTCUSDT")
    assert gc.isenabled()
    assert run("explain", "BTCUSDT", "soon").code == 2
    assert gc.isenabled()
