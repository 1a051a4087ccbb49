"""The command lines and the config.json of the scripts this project replaces."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
from places import ROOT

from autonama_dagster.errors import InputError
from autonama_dagster.settings import CORE_MOVERS

EXAMPLE = ROOT / "config.json.example"
THREE = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
FULL = "--config config.json --output results/ --top-100 --interval 1d --degree 4 --kstd 2.0 "
# What followed `python run_....py`, and what differs from the stored scan.
COMMANDS = {
    "--config config.json --top-100 --generate-charts": {"with_charts": True},
    "--config config.json --symbols BTCUSDT,ETHUSDT,SOLUSDT": {"chosen": THREE},
    "--config config.json --correlation-analysis": {},
    "--core-movers": {"chosen": CORE_MOVERS},
    "--top-100": {},
    "--symbols BTCUSDT,ETHUSDT,SOLUSDT": {"chosen": THREE},
    "--interval 1d --degree 4 --kstd 2.0 --days 720": {},
    "--config my_config.json": {},
    "--output /path/to/results": {},
    f"{FULL} --days 720": {},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with the example as config.json and my_config.json."""
    for name in ("config.json", "my_config.json"):
        shutil.copy(EXAMPLE, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def asked(folder, monkeypatch):
    """What `autonama scan` would do."""
    found = {}

    def scanned(base, settings, day, chosen, _console, *, with_charts, interval):
        found.update(
            stored=base == settings and interval is None,
            day=day,
            chosen=chosen,
            with_charts=with_charts,
            settings=settings,
            interval=interval,
            database=os.environ.get("DATABASE_URL"),
        )
        raise InputError("not scanned")

    monkeypatch.setattr("autonama_dagster.cli.compute.scan.run_scan", scanned)
    monkeypatch.setattr("autonama_dagster.cli.compute.scan.results_folder", lambda _: folder)
    return found


@pytest.mark.parametrize("line", COMMANDS)
def test_an_old_command_line_is_the_daily_scan_or_a_what_if_of_its_symbols(run, asked, line):
    ended = run("scan", *shlex.split(line))
    assert ended.error == "autonama: not scanned"
    expected = {"stored": True, "chosen": None, "with_charts": False, **COMMANDS[line]}
    assert {name: asked[name] for name in expected} == expected
    has_file = "config" in line
    url = "postgresql://postgres:postgres@localhost:5432/autonama"
    assert asked["database"] == (url if has_file else None)
    assert asked["settings"].binance_api_key is None


def test_the_file_stands_for_flags_and_flags_win(run, asked, folder):
    path = folder / "config.json"
    path.write_text('{"default_settings": {"interval": "4h", "output_directory": "there"}}')
    run("scan", "--config", path, "--core-movers")
    assert (asked["interval"], asked["stored"]) == ("4h", False)
    assert asked["settings"].results_path == folder / "there"
    run("scan", "--config", path, "--interval", "1d", "--output", "here")
    assert (asked["interval"], asked["stored"]) == (None, True)
    assert asked["settings"].results_path == folder / "here"
    refused = run("scan", "--config", path, "--top-100")
    assert "--interval needs pairs" in refused.error


def test_the_page_lists_these_lines():
    page = (ROOT / "docs" / "old-scripts.md").read_text(encoding="utf-8")
    for line in COMMANDS.keys() - {f"{FULL} --days 720"}:
        assert f"| `autonama scan {line}` |" in page


@pytest.mark.usefixtures("day")
def test_the_file_as_printed_runs_with_its_values(run, folder):
    ended = run(*shlex.split("scan --config config.json --top-100 --generate-charts --format json"))
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    parameters = {"universe_size": 100, "lookback_days": 720, "degree": 4, "kstd": 2.0}
    assert found["parameters"].items() >= parameters.items()
    assert len(found["signals"]) > 6  # this project's own universe
    assert list((folder / "results").glob("backtest_results_*.json"))
    charts = re.search(r"charts: (\d+) in (.*)", ended.err)
    assert int(charts[1]) == len(list(Path(charts[2]).glob("*.png"))) > 0


@pytest.mark.usefixtures("day", "folder")
def test_a_day_is_an_interval_that_is_stored(run):
    ended = run("scan", "--config", "config.json", "--interval", "1d", "--format", "json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["stored"] is True
