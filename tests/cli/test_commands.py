"""The other commands: help, db, retire, settings, up; and how the program behaves as a process."""

import os
import re
import subprocess
import sys
import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
import pandas as pd
import pytest
from places import ROOT

from autonama_dagster.cli.compute.scan import scan
from autonama_dagster.cli.main import autonama
from autonama_dagster.services.scan.results import EXPORTED, ScanResult
from autonama_dagster.settings import Settings, env_name
from resources.http.session import HttpSession, Limits
from resources.postgres.urls import libpq_url, sqlalchemy_url

COUNTS = (
    *("total_assets_analyzed", "buy_signals", "sell_signals", "hold_signals"),
    *("insufficient_data", "no_data", "quarantined"),
)
EXPECTED = ("expected_buy_signals", "expected_sell_signals")
PROGRAM = [sys.executable, "-c", "from autonama_dagster.cli.main import main; main()"]


def leaves(command, path):
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            child = command.get_command(click.Context(command), name)
            yield from leaves(child, [*path, name])
    yield path


@pytest.mark.parametrize("path", list(leaves(autonama, [])), ids=" ".join)
def test_every_help_shows_an_example(run, path):
    for flag in ("--help", "-h"):
        ended = run(*path, flag)
        assert ended.code == 0
        assert "Example" in ended.out
        assert " ".join(["autonama", *path]) in ended.out.split("Example", 1)[1]


@pytest.mark.parametrize("path", [[], ["db"], ["replay"]], ids=" ".join)
def test_a_group_alone_shows_its_help(run, path):
    assert run(*path).out.startswith("Usage: autonama")


def groups(command, path):
    if isinstance(command, click.Group):
        yield path
        for name in command.list_commands(click.Context(command)):
            child = command.get_command(click.Context(command), name)
            yield from groups(child, [*path, name])


@pytest.mark.parametrize(
    "path", list(groups(autonama, [])), ids=lambda p: " ".join(p) or "autonama"
)
def test_no_help_cuts_what_a_command_does(run, path):
    listed = run(*path, "--help").out.split("Commands:\n", 1)[1].split("\n\n", 1)[0]
    texts = re.sub(r"\n {4,}", " ", listed).splitlines()  # long ones are broken into lines
    assert len(texts) > 0
    assert [text for text in texts if "..." in text.replace(", ...", "")] == []


def test_help_imports_neither_dagster_nor_pandas():
    code = (
        "import sys; sys.argv = ['autonama', '--help']\n"
        "from autonama_dagster.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'dagster', 'pandas', 'numpy', 'rich', 'sqlalchemy', 'pydantic'}\n"
        "found = heavy & set(sys.modules)\n"
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "Usage: autonama" in ended.stdout


def test_the_limits_in_the_help_are_the_settings():
    texts = {p.name: p.help for p in scan.params if isinstance(p, click.Option)}
    for flag, name in (("degree", "degree"), ("kstd", "kstd"), ("days", "lookback")):
        low, high = (
            getattr(m, k)
            for k in ("ge", "le")
            for m in Settings.model_fields[name].metadata
            if hasattr(m, k)
        )
        assert f"{low} to {high}" in texts[flag]


def test_the_url_is_one_for_sqlalchemy(run, database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database)
    assert run("db", "url").out.strip() == sqlalchemy_url(database)


def test_the_state_of_the_database(run, database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database)
    for command in ("status", "start"):
        ended = run("db", command)
        assert ended.code == 0
        version = next(x for x in ended.out.splitlines() if x.startswith("migrations: "))
        found, newest = version.removeprefix("migrations: ").split(" of ")
        assert found == newest


def test_a_server_of_somebody_else_is_not_stopped(run, database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", database)
    ended = run("db", "stop")
    assert ended.code == 2
    assert "cannot stop the server of DATABASE_URL" in ended.error


def test_the_embedded_server_that_is_not_running_is_left_alone(run):
    assert "not running" in run("db", "status").out
    assert run("db", "stop").out.strip() == "was not running"


def test_psql_reads_the_tables_and_passes_its_arguments_on(database):
    ended = subprocess.run(
        [*PROGRAM, "db", "psql", "--", "-At", "-c", "SELECT count(*) FROM signals"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DATABASE_URL": database},
    )
    assert (ended.returncode, ended.stdout) == (0, "0\n"), ended.stderr


def test_psqls_password_is_in_its_environment_and_not_in_its_arguments(run, monkeypatch):
    seen = {}
    monkeypatch.setattr(
        "autonama_dagster.cli.database.db.ready_url", lambda *_, **__: libpq_url(PASSWORD_URL)
    )
    monkeypatch.setattr("os.execve", lambda _, argv, env: seen.update(argv=argv, env=env))
    run("db", "psql", "--", "-l")
    assert seen["argv"][1:] == [
        "user=me connect_timeout=10 dbname=name host=host port=5432 sslmode=require",
        "-l",
    ]
    assert seen["env"]["PGPASSWORD"] == "planted@word"


PASSWORD_URL = "postgresql://me:planted%40word@host:5432/name?sslmode=require"


def test_a_retired_symbol_is_no_partition_any_more(run, day):
    instance = day.instance
    instance.add_dynamic_partitions("symbol", ["OLDUSDT"])
    ended = run("retire", "oldusdt")
    assert ended.out.strip() == "OLDUSDT is retired: its rows stay, but new days are not computed"
    assert "OLDUSDT" not in instance.get_dynamic_partitions("symbol")
    again = run("retire", "OLDUSDT")
    assert again.code == 2
    assert "OLDUSDT is not registered; registered: " in again.error


def test_a_pair_that_the_settings_name_is_not_retired(run, day, monkeypatch):
    monkeypatch.setenv("AUTONAMA_SYMBOLS", "OLDUSDT")
    day.instance.add_dynamic_partitions("symbol", ["OLDUSDT"])
    try:
        ended = run("retire", "oldusdt")
        assert ended.code == 2
        assert "OLDUSDT is in AUTONAMA_SYMBOLS" in ended.error
        assert "OLDUSDT" in day.instance.get_dynamic_partitions("symbol")
    finally:
        day.instance.delete_dynamic_partition("symbol", "OLDUSDT")


def test_settings_show_every_setting_and_no_secret(run, monkeypatch):
    monkeypatch.setenv("BINANCE_API_SECRET", "planted-1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:planted-2@h/d")
    monkeypatch.setenv("AUTONAMA_EXCHANGE_URL", "https://me:planted-3@proxy:99/x")
    monkeypatch.setenv("AUTONAMA_KSTD", "2.5")
    out = run("settings").out
    for name in Settings.model_fields:
        assert f"{env_name(name)}=" in out
    assert "AUTONAMA_KSTD=2.5\n" in out
    assert "BINANCE_API_SECRET=(set)\n" in out
    assert "AUTONAMA_EXCHANGE_URL=https://***@proxy:99/x\n" in out
    assert "planted" not in out


def test_settings_mark_what_differs_and_say_where_it_was_set(run, home, monkeypatch):
    (home / ".env").write_text("AUTONAMA_DEGREE=4\nAUTONAMA_RETENTION_ALERTS_DAYS=30\n")
    monkeypatch.setenv("AUTONAMA_KSTD", "2.5")
    out = run("settings").out
    assert "* AUTONAMA_KSTD=2.5\n    from environment, default 2.0. Half-width" in out
    assert "  AUTONAMA_LOOKBACK=720\n    default. Length of the window" in out
    assert "  AUTONAMA_DEGREE=4\n" in out
    words = " ".join(out.split())
    assert f"AUTONAMA_DEGREE=4 from {home / '.env'}. Degree" in words
    assert "* AUTONAMA_RETENTION_ALERTS_DAYS=30 from" in words
    assert f"{home / '.env'}, default none. Days of `alerts`" in words
    assert all(len(x) <= 80 or str(home) in x for x in out.splitlines())


def test_home_names_the_folder_of_settings(run, tmp_path):
    (tmp_path / ".env").write_text("AUTONAMA_DEGREE=7\n")
    assert "AUTONAMA_DEGREE=7\n" in run("--home", tmp_path, "settings").out


def test_a_reader_that_leaves_early_ends_the_program_quietly(stored):
    program = subprocess.Popen(
        [*PROGRAM, "show", "correlation", "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "DATABASE_URL": stored.url},
    )
    program.stdout.close()
    errors = program.stderr.read()
    program.stderr.close()
    assert program.wait() != 0
    assert errors == b""


def test_the_demo_scans_a_labelled_market_in_a_folder_of_its_own(run, home, monkeypatch):
    asked = {}

    def scanned(base, settings, _day, chosen, _console, **_):
        asked.update(settings=settings, stored=chosen is None and base == settings)
        with HttpSession(timeout=10, limits=Limits(size=1 << 20, seconds=60)) as session:
            asked["market"] = session.get(settings.exchange_url).headers
        chart = settings.results_path / "charts" / "2024-03-10" / "BTCUSDT.png"
        summary = {**dict.fromkeys(COUNTS, 0), **dict.fromkeys(EXPECTED, 0.0)}
        return ScanResult(
            *(date(2024, 3, 10), pd.DataFrame(columns=[*EXPORTED]), summary, {}, "synthetic", True),
            seconds={"one": 1.5, "two": 2.0},
            charts=(chart, chart.with_name("scan.png")),
        )

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # the demo needs no network
    monkeypatch.setenv("AUTONAMA_DEGREE", "9")
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody@elsewhere/else")
    monkeypatch.setattr("autonama_dagster.cli.compute.demo.run_scan", scanned)
    ended = run("demo", "--seed", "3")
    assert ended.code == 0, ended.err
    settings = asked["settings"]
    folder = home / ".autonama" / "demo-3"
    assert (settings.degree, settings.database_url, settings.universe_size) == (4, None, 100)
    assert settings.start_date == datetime.now(UTC).date() - timedelta(days=365)
    assert asked["market"]["X-Autonama-Market"] == "synthetic"
    assert asked["stored"]
    assert "SYNTHETIC MARKET" in ended.out
    assert "SYNTHETIC MARKET" in ended.err
    assert "total    3.5 s" in ended.out
    assert f"--home {folder} show alerts --signal BUY" in ended.out
    charts = folder / "results" / "charts" / "2024-03-10"
    assert f"picture  {charts / 'scan.png'}\n" in ended.out
    assert f"charts   1 symbol in {charts}\n" in ended.out
    assert f"server keeps running; stop it with: autonama --home {folder} db stop" in ended.out
    assert len(list((folder / "results").glob("backtest_results_*"))) == 2


ENDS = """
import atexit, os, sys
from autonama_dagster.cli.main import program
class Kept:
    def __del__(self):
        os.write(2, b"freed")
kept = Kept()
atexit.register(print, "handled")
sys.argv = ["autonama", *sys.argv[1:]]
program()
"""


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["nothing"], 2)])
def test_the_program_ends_without_freeing_what_ends_with_it(arguments, code):
    ended = subprocess.run(
        [sys.executable, "-c", ENDS, *arguments], capture_output=True, text=True, check=False
    )
    assert ended.returncode == code
    assert ended.stdout.splitlines()[-1] == "handled"
    assert "freed" not in ended.stderr


def test_output_that_cannot_be_written_is_an_error():
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", "from autonama_dagster.cli.main import program; program()"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert ended.returncode == 1
    assert "No space left on device" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_installed_command_is_the_program():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    scripts = tomllib.loads(text)["project"]["scripts"]
    assert scripts == {"autonama": "autonama_dagster.cli.main:program"}
