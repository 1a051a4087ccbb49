"""Every benchmark runs, with tiny sizes, and prints the line it promises."""

import importlib
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from datetime import date
from operator import ge, le

import pytest
from places import ROOT

pytestmark = pytest.mark.long

TINY = {
    "channel_kernel": ["--repeat", "1"],
    "chance": ["--repeat", "1", "--days", "1"],
    "write_indicators": ["--symbols", "2", "--days", "3", "--repeat", "1"],
    "bookkeeping": ["--symbols", "1", "--days", "1", "--repeat", "1"],
    "hourly": ["--symbols", "1", "--days", "30", "--repeat", "1"],
    "record": ["--days", "2", "--repeat", "1"],
    "help": ["--repeat", "1"],
}


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def only_line(text):
    (line,) = text.splitlines()
    return json.loads(line)


@pytest.fixture
def scan(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("bench.scan")


@pytest.fixture
def program(scan, tmp_path, monkeypatch):
    """Put a script in the place of `autonama`."""

    def put(*lines):
        file = tmp_path / "autonama"
        body = file.with_suffix(".py")
        body.write_text("\n".join(lines), encoding="utf-8")
        # Not as its interpreter's script: a path with a space cannot stand behind "#!".
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{body}" "$@"\n', encoding="utf-8")
        file.chmod(0o755)
        monkeypatch.setattr(scan, "PROGRAM", file)

    return put


@pytest.mark.parametrize("module", TINY)
def test_a_benchmark_prints_one_line_with_the_promised_keys(module):
    done = run(f"bench.{module}", *TINY[module])
    assert done.returncode == 0, done.stderr
    line = only_line(done.stdout)
    assert line["name"] == module
    assert line["value"] > 0
    assert line["target"] > 0
    assert isinstance(line["unit"], str)
    is_better = (le if module in {"help", "chance", "record"} else ge)(
        line["value"], line["target"]
    )
    assert line["met"] is is_better
    assert line["repeat"] == 1


def test_every_module_that_measures_is_listed():
    listed = run("bench", "--list").stdout.split("\n")
    assert [line.split(" ")[0] for line in listed if line] == [
        "scan",
        "kernel",
        "chance",
        "write",
        "bookkeeping",
        "backfill",
        "growth",
        "hourly",
        "quality",
        "trust",
        "record",
        "help",
        "spoiled",
        "canaries",
        "crash",
    ]
    helpers = {"__init__", "__main__", "command", "planting", "report", "spoiling"}
    helpers |= {f"crash_{part}" for part in ("command", "project", "service", "state")}
    helpers |= {"canary_lab", "canary_leaks", "canary_plants"}
    modules = {file.stem for file in (ROOT / "bench").glob("*.py")} - helpers
    # Too long for a test; the ledger on real data is tested by tests/analytics.
    long = {"canaries", "spoiled", "scan", "backfill", "growth", "quality", "trust", "crash"}
    assert modules == {*TINY, *long, "compare"}  # the last needs another checkout


def test_a_sample_of_spoiled_answers_leaves_nothing_wrong():
    done = run("bench.spoiled", "--answers", "40")
    line = only_line(done.stdout)
    counts = {name: line[name] for name in ("answers", "wrong_rows", "crashes", "hangs", "value")}
    assert counts == {"answers": 40, "wrong_rows": 0, "crashes": 0, "hangs": 0, "value": 0}, done
    assert line["met"]
    assert done.returncode == 0


def test_help_has_examples_and_an_unknown_name_is_refused():
    assert "python -m bench scan kernel" in run("bench", "--help").stdout
    refused = run("bench", "nonsense")
    assert refused.returncode == 2
    assert "nonsense" in refused.stderr
    assert refused.stdout == ""


def test_a_crash_is_told_by_the_exit_code_and_the_others_still_run(tmp_path):
    done = run("bench", "write", "help", AUTONAMA_POSTGRES_BIN=str(tmp_path))
    assert done.returncode == 1
    assert only_line(done.stdout)["name"] == "help"
    assert "write: failed" in done.stderr


def test_a_scan_is_timed_weighed_and_its_document_read(scan, program, tmp_path):
    program(
        "import json, os, pathlib, sys",
        "held = b'x' * 200_000_000",
        "home = pathlib.Path(os.environ['AUTONAMA_HOME'])",
        "(home / 'results').mkdir()",
        "said = [*sys.argv[1:], os.environ['AUTONAMA_LOOKBACK']]",
        "(home / 'results' / 'a.json').write_text(json.dumps(said))",
    )
    found = scan.scan(date(2023, 12, 28), tmp_path, {"lookback": 720})
    assert found.result == ["scan", "--date", "2023-12-28", "720"]
    assert found.seconds > 0
    assert found.peak_gb > 0.2


def test_verifying_counts_the_rows_of_all_tables_and_of_those_by_symbol(
    program, tmp_path, monkeypatch, capsys
):
    trust = importlib.import_module("bench.trust")
    tables = [{"table": "signals", "rows": 6}, {"table": "correlation_matrix", "rows": 9}]
    program(
        "import json, pathlib, sys, time",
        "said = sys.argv[1:]",
        f"log = pathlib.Path({str(tmp_path)!r}) / 'said'",
        "log.open('a').write(' '.join(said) + chr(10))",
        "time.sleep(1.0 if said == ['verify', '--all', '--format', 'json'] else 0)",
        "rows = [{'symbol': 'AUSDT'}, {'symbol': 'BUSDT'}]",
        f"print(json.dumps({{'tables': {tables!r}}} if said[0] == 'verify' else rows))",
    )
    monkeypatch.setattr(trust, "PROGRAM", tmp_path / "autonama")
    made = importlib.import_module("bench.backfill").Measured(2, 3, 4.0, 0.5, 60)
    monkeypatch.setattr(trust, "filled", lambda *_: nullcontext((made, dict(os.environ))))
    monkeypatch.setattr(sys, "argv", ["trust", "--symbols", "2", "--days", "3", "--repeat", "2"])
    trust.main()
    told = only_line(capsys.readouterr().out)
    assert (told["rows"], told["of_symbols_rows"]) == (15, 6)
    assert told["value"] >= 1.0 > told["of_symbols_s"]
    assert told["met"] is True
    said = (tmp_path / "said").read_text().splitlines()
    assert "verify --all --symbols AUSDT,BUSDT" in said
    assert said.count("explain AUSDT --format png") == 2


def test_a_scan_that_fails_ends_the_benchmark(scan, program, tmp_path):
    program("raise SystemExit(3)")
    with pytest.raises(SystemExit, match="2023-12-28 ended with exit code 3"):
        scan.scan(date(2023, 12, 28), tmp_path, {})


def test_settings_of_the_user_do_not_reach_the_scan(scan, monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere/db")
    monkeypatch.setenv("AUTONAMA_DEGREE", "7")
    given = scan.environment(tmp_path, lookback=90)
    ours = {name: value for name, value in given.items() if name.startswith("AUTONAMA_")}
    assert ours == {"AUTONAMA_LOOKBACK": "90", "AUTONAMA_HOME": str(tmp_path)}
    assert "DATABASE_URL" not in given


def test_the_replay_exchange_has_read_every_symbol_and_ends(scan, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(scan, "read_all", asked.append)
    with scan.replay_exchange(None, tmp_path) as url:
        with scan.urlopen(f"{url}/api/v3/time") as answer:
            assert json.load(answer) == {"serverTime": 1703894700000}
        assert asked == [url]
    with pytest.raises(OSError, match="refused"):
        scan.urlopen(f"{url}/api/v3/time")
