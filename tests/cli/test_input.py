"""Wrong input: one line that says what to do, exit code 2, before anything is asked or stored."""

import json
import socket

import pytest
import stamina

NOWHERE = "postgresql://reader:planted-password@127.0.0.1:1/x"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("scan --degree 1", "--degree 1: use a whole number from 2 to 10"),
        ("scan --degree 11", "--degree 11: use a whole number from 2 to 10"),
        ("scan --degree four", "Invalid value for '--degree': 'four' is not a valid integer"),
        ("scan --kstd 0.5", "--kstd 0.5: use a number from 1 to 3"),
        ("scan --kstd 3.1", "--kstd 3.1: use a number from 1 to 3"),
        ("scan --kstd nan", "--kstd nan: use a number from 1 to 3"),
        ("scan --days 29", "--days 29: use a whole number from 30 to 1000"),
        ("scan --days 1001", "--days 1001: use a whole number from 30 to 1000"),
        ("scan --top 0", "--top 0: use a whole number from 2 to 1000"),
        ("scan --top 1001", "--top 1001: use a whole number from 2 to 1000"),
        ("scan --days 100 --degree 6", "degree 6 needs 147 or more; choose more days (--days"),
        ("scan --top 5 --symbols BTCUSDT", "cannot be combined: use one"),
        ("scan --top-100 --core-movers", "cannot be combined: use one"),
        ("scan --symbols ,", "--symbols is empty; write it like BTCUSDT,ETHUSDT"),
        ("scan --date yesterday", "--date yesterday: not a day; write it like 2023-12-29"),
        ("scan --date 2023-02-30", "--date 2023-02-30: not a day"),
        ("scan --date 0001-01-01", "use 2017-01-01 or later"),
        ("scan --format xml", "'xml' is not one of 'table', 'json'"),
        ("scan --nope", "No such option '--nope'"),
        ("nope", "No such command 'nope'. (see 'autonama --help')"),
        ("show nothing", "'nothing' is not a table; run `autonama show --help` for the list"),
        ("show signls", "'signls' is not a table; did you mean 'signals'?"),
        ("scna", "No such command 'scna'. Did you mean 'scan'? (see 'autonama --help')"),
        ("db statsu", "No such command 'statsu'. (Did you mean one of: 'start', 'status'?)"),
        ("scan --smybols X", "No such option '--smybols'. Did you mean '--symbols'?"),
        (
            "show signals --date 2024-03-10 --from 2024-03-09",
            "--date cannot be combined with --from and --to",
        ),
        ("show signals --from 2024-03-10 --to 2024-03-09", "is after --to 2024-03-09: swap them"),
        ("show signals --from 2024-13-10", "--from 2024-13-10: not a day"),
        ("anchor check --date yesterday", "--date yesterday: not a day"),
        ("anchor list --date 2023-02-30", "--date 2023-02-30: not a day"),
        ("show signals --to tomorrow", "--to tomorrow: not a day"),
        ("show signals --symbols ,", "--symbols is empty"),
        ("show summary --symbols BTCUSDT", "--symbols does not apply to summary"),
        (
            "show signal_chance --date 2024-03-10",
            "do not apply to signal_chance, which has no days",
        ),
        ("show signals --all", "--all does not apply to signals: only alerts leave out HOLD"),
        ("show alerts --all --signal BUY", "--all and --signal cannot be combined: use one"),
        ("show signals --format xml", "'xml' is not one of 'table', 'json', 'csv'"),
        ("show summary --signal BUY", "--signal and --min-return do not apply to summary"),
        ("show signals --min-return nan", "--min-return nan: use a number of percent"),
        ("show signals --date 10.3.2024", "--date 10.3.2024: not a day"),
        ("replay serve", "use either --data DIR or --synthetic SEED"),
        ("replay serve --synthetic 1 --data x", "use either --data DIR or --synthetic SEED"),
        ("replay serve --data /nowhere", "no daily candles in /nowhere"),
        ("replay serve --synthetic 1 --now soon", "cannot read the time 'soon'"),
        ("replay serve --synthetic 1 --fault nope", "unknown fault 'nope': use one of 429, 418"),
        ("replay serve --synthetic 1 --port 70000", "70000 is not in the range 0<=x<=65535"),
        ("up --port 0", "0 is not in the range 1<=x<=65535"),
        ("retire", "Missing argument 'SYMBOL'"),
        ("explain BTCUSDT 2023-13-01", "DATE 2023-13-01: not a day"),
        ("explain BTCUSDT --output x.png", "--output needs --format png"),
        ("verify --sample 3 --all", "--sample and --all cannot be combined"),
        ("verify --symbols ,", "--symbols is empty"),
        ("revisions --since yesterday", "--since yesterday: not a time"),
        ("show signals --as-of 2023-12-30", "--as-of does not apply to signals"),
        ("backfill --from 2025-02-02 --to 2025-02-30", "--to 2025-02-30: not a day"),
        ("backfill --from 2025-02-02 --symbols ,", "--symbols is empty"),
        ("backfill --from 2025-02-02 --assets ,", "--assets is empty"),
        ("backfill --from 2025-02-02 --to 2025-02-01", "from 2025-02-02 is after to 2025-02-01"),
        ("backfill --from 2025-02-01 --assets nope", "asset nope is unknown; known: universe"),
    ],
)
def test_a_wrong_argument_is_one_line_that_says_what_to_do(run, arguments, message):
    ended = run(*arguments.split())
    assert ended.code == 2
    assert message in ended.error
    assert ended.error.startswith("autonama: ")
    assert ended.out == ""


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AUTONAMA_DEGREE", "11", "AUTONAMA_DEGREE=11"),
        ("AUTONAMA_START_DATE", "soon", "AUTONAMA_START_DATE=soon"),
        ("AUTONAMA_LOOKBACK", "30", "lookback is 30 days: degree 4 needs 75 or more"),
        ("AUTONAMA_EXCHANGE_URL", "localhost", "AUTONAMA_EXCHANGE_URL"),
        ("DATABASE_URL", "mysql://u:planted-password@h/d", "DATABASE_URL"),
        ("AUTONAMA_SETTINGS_FILE", "/nowhere", "AUTONAMA_SETTINGS_FILE=/nowhere: no such file"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(run, monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    ended = run("scan")
    assert ended.code == 2
    assert message in ended.error
    assert "planted" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ("scan --date {}", "--date"),
        ("scan --core-movers --interval 1h --date {}", "--date"),
        ("backfill --from {}", "--from"),
        ("backfill --from 2025-02-01 --to {}", "--to"),
        ("show signals --date {}", "--date"),
        ("show ohlcv_1d --as-of {}", "--as-of"),
        ("explain BTCUSDT {}", "DATE"),
        ("verify --date {}", "--date"),
        ("revisions --since {}", "--since"),
    ],
)
@pytest.mark.parametrize("day", ["2016-12-31", "0001-01-01", "2199-01-01", "9999-12-31"])
def test_a_day_that_cannot_be_is_refused_before_anything_is_asked(run, arguments, what, day):
    ended = run(*arguments.format(day).split())
    assert ended.code == 2
    reason = "no candle is that old" if day < "2017" else "is in the future; today is 20"
    assert ended.error.startswith(f"autonama: {what} {day}: {reason}")


@pytest.mark.usefixtures("day")
def test_days_the_exchange_has_not_closed_and_days_before_the_start_are_refused(run):
    later = run("scan", "--date", "2024-03-11")
    assert later.code == 2
    assert "this day has not closed yet; the latest closed day is 2024-03-10" in later.err
    early = run("scan", "--date", "2024-03-08")
    assert early.code == 2
    assert "set AUTONAMA_START_DATE=2024-03-08" in early.err


@pytest.mark.usefixtures("day")
def test_an_unknown_symbol_is_refused(run):
    ended = run("scan", "--symbols", "BTCUSDT,NOPE")
    assert ended.code == 2
    assert "autonama: NOPE: not a USDT spot pair" in ended.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory; choose a readable file"),
        ("{", "not valid JSON; fix the file"),
        ("[]", "expected an object with settings"),
        ('{"exchange": "kraken"}', "unknown key exchange; known: binance_api_key"),
        ('{"default_settings": {"speed": 1}}', "unknown key default_settings.speed"),
        ('{"default_settings": null}', "default_settings: expected an object"),
        ("[" * 100_000, "not valid JSON; fix the file"),
        ('{"database_host": ["h"]}', 'database_host ["h"]: expected a string'),
        (
            '{"database_host": "a b"}',
            'database_host "a b": expected a host name, an address or a socket folder',
        ),
        ('{"database_host": "h1,h2"}', 'database_host "h1,h2": expected a host name'),
        (
            '{"database_host": "h", "database_port": true}',
            "database_port true: expected a whole number",
        ),
        (
            '{"database_host": "h", "database_port": 65536}',
            "database_port 65536: expected a whole number",
        ),
        (
            '{"database_host": "h", "database_port": NaN}',
            "database_port NaN: expected a whole number",
        ),
        ('{"database_name": ["x"]}', 'database_name ["x"]: expected a string'),
        ('{"database_user": "\\ud800"}', "database_user"),
        ('{"database_password": ["planted"]}', "database_password: expected a string"),
        ('{"binance_api_key": {"planted": 1}}', "binance_api_key: expected a string"),
        ('{"\\ud800": 1}', "unknown key \\ud800; known: "),
        (
            '{"default_settings": {"degree": true}}',
            "default_settings.degree true: expected a number or a",
        ),
        ('{"default_settings": {"kstd": 1e999}}', "default_settings.kstd inf: use a number from"),
        ('{"default_settings": {"interval": 1}}', "default_settings.interval 1: expected a string"),
        (
            '{"default_settings": {"interval": "2d"}}',
            "default_settings.interval 2d: use one of 1d",
        ),
        (
            '{"default_settings": {"output_directory": []}}',
            "output_directory []: expected a string",
        ),
        ('{"default_settings": {"output_directory": "a\\u0000"}}', "a string without NUL"),
        ('{"default_settings": {"degree": 99}}', "default_settings.degree 99: use a whole number"),
        ('{"default_settings": {"kstd": "x"}}', "default_settings.kstd x: use a number from 1"),
        ('{"database_url": "mysql://u:planted@h/d"}', "DATABASE_URL"),
    ],
)
def test_a_wrong_config_file_is_one_line(run, tmp_path, content, message):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    ended = run("scan", "--config", path)
    assert ended.code == 2
    assert message in ended.error
    assert "planted" not in ended.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"default_settings": {"degree": 3}}'.encode("utf-16"), "the encoding is UTF-16; save"),
        ('{"database_user": "Jörg"}'.encode("latin-1"), "the encoding is not UTF-8; save the file"),
        (b"\0{}", "it contains NUL characters; save the file as UTF-8 text"),
    ],
)
@pytest.mark.parametrize("place", ["config", "env"])
def test_a_file_in_another_encoding_is_told_so(run, tmp_path, content, message, place):
    path = tmp_path / ".env"
    path.write_bytes(content)
    arguments = ["scan", "--config", path] if place == "config" else ["--home", tmp_path, "scan"]
    ended = run(*arguments)
    assert ended.code == 2
    assert f"{path}: {message}" in ended.error


def test_a_results_folder_that_cannot_be_made_is_refused_before_the_scan(run, tmp_path):
    (tmp_path / "file").write_text("")
    ended = run("scan", "--output", tmp_path / "file" / "below")
    assert ended.code == 2
    assert "cannot create the results folder" in ended.error


def test_a_port_in_use_is_refused(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        served = run("replay", "serve", "--synthetic", "1", "--port", port)
        opened = run("up", "--port", port)
    assert (served.code, opened.code) == (2, 2)
    assert f"cannot listen on 127.0.0.1 port {port}" in served.error
    assert f"--port {port}: cannot listen on 127.0.0.1" in opened.error


@pytest.mark.parametrize(
    "arguments", [["show", "signals"], ["retire", "BTCUSDT"], ["db", "status"], ["db", "start"]]
)
def test_a_database_out_of_reach_is_one_line_and_exit_code_1(run, monkeypatch, arguments):
    monkeypatch.setenv("DATABASE_URL", NOWHERE)
    ended = run(*arguments)
    assert ended.code == 1
    last = ended.err.splitlines()
    assert len(last) == 1
    assert "database postgresql://reader:***@127.0.0.1:1/x cannot be reached" in last[0]
    assert "planted" not in ended.out + ended.err


@pytest.mark.usefixtures("day")
@pytest.mark.parametrize("arguments", [["scan"], ["backfill", "--from", "2024-03-09"]])
def test_dagsters_database_out_of_reach_ends_with_one_line(run, monkeypatch, arguments):
    monkeypatch.setenv("AUTONAMA_DAGSTER_DATABASE_URL", NOWHERE)
    ended = run(*arguments)
    assert ended.code == 1
    last = ended.err.splitlines()[-1]
    assert "database postgresql://reader:***@127.0.0.1:1/x cannot be reached" in last
    assert "planted" not in ended.out + ended.err
    assert "Traceback" not in ended.err


@pytest.mark.usefixtures("day")
def test_an_exchange_out_of_reach_is_exit_code_1_after_a_word_on_each_attempt(run, monkeypatch):
    monkeypatch.setenv("AUTONAMA_EXCHANGE_URL", "http://127.0.0.1:1")
    with stamina.set_testing(True, attempts=5):
        ended = run("scan", "--format", "json")
    assert ended.code == 1
    assert ended.out == ""
    *before, last = ended.err.splitlines()
    assert last.startswith("autonama: server time: cannot reach 127.0.0.1:1 (")
    assert all(line.startswith("  ") for line in before)
    assert sum("retrying in" in line for line in before) == 3
    assert "Traceback" not in ended.err


def test_debug_shows_the_same_error_with_its_traceback_and_no_command_of_the_terminal(run):
    ended = run("scan", "--date", "so\x1b[2Jon", "--debug")
    assert ended.code == 2
    assert ended.err.startswith("Traceback")
    assert "so\\x1b[2Jon: not a day" in ended.err.splitlines()[-1]
    assert "\x1b" not in ended.err


def test_an_unexpected_error_is_one_line_that_names_debug(run, monkeypatch):
    def broken(**_):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("autonama_dagster.cli.compute.scan.load_settings", broken)
    ended = run("scan")
    assert ended.code == 1
    assert "unexpected RuntimeError: two lines; run again with --debug" in ended.error


def test_ctrl_c_is_one_line_and_exit_code_130(run, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("autonama_dagster.cli.compute.scan.run_scan", interrupted)
    ended = run("scan")
    assert (ended.code, ended.err.strip()) == (130, "autonama: stopped")


@pytest.mark.usefixtures("day")
def test_old_settings_are_flags_and_make_a_what_if(run, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"default_settings": {"polynomial_degree": 3, "top_n": 2}}))
    ended = run("scan", "--config", path, "--kstd", "1.5", "--format", "json")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert found["stored"] is False
    assert (found["parameters"]["degree"], found["parameters"]["kstd"]) == (3, 1.5)
    assert len(found["signals"]) == 2
