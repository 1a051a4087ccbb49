"""`autonama anchor`: what is anchored, and that edits by SQL are found whatever runs afterwards."""

import json
import shutil
from datetime import date

import pytest
from scan_support import DAY, DAYS, at, opened_daemon

from autonama_dagster.orchestration.jobs import ANALYTIC
from resources.anchor_log import read_log

EDITED = date(2023, 12, 20)  # before the start date: of no day that has results


@pytest.fixture(scope="module")
def opened(postgres, tmp_path_factory):
    """A project with a day that was scanned without a log, and then summed up again."""
    with opened_daemon(tmp_path_factory.mktemp("anchors"), postgres, scanned=[DAY]) as daemon:
        daemon.step("summary_job", DAY, DAY)
        daemon.keep()
        yield daemon


@pytest.fixture
def daemon(opened, monkeypatch):
    """The project with its tables and its log as the scans left them."""
    opened.project.enter(monkeypatch)
    path = opened.project.settings.anchor_path
    kept = path.read_bytes()
    yield opened
    path.write_bytes(kept)
    opened.server.faults.replace()
    opened.restore()


@pytest.fixture
def path(daemon):
    return daemon.project.settings.anchor_path


def execute(daemon, sql):
    with daemon.project.warehouse.transaction() as cursor:
        cursor.execute(sql)


def findings(run, *arguments):
    ended = run("anchor", "check", "--format", "json", *arguments)
    document = json.loads(ended.out)
    assert ended.code == (0 if document["is_match"] else 1)
    return {(f["day"], f["table"], f["symbol"], f["finding"]) for f in document["findings"]}


def test_a_summary_anchors_the_candles_of_its_day_and_of_its_windows(path):
    lines = read_log(path).lines
    candles = {line.day: line.tables["ohlcv_1d"].rows for line in lines}
    assert {DAY, EDITED} <= candles.keys()
    assert set(candles.values()) == {3}
    assert len(lines) == len(candles)


def test_the_line_of_a_day_holds_its_results_too(path):
    (line,) = (line for line in read_log(path).lines if line.day == DAY)
    rows = {name: of.rows for name, of in line.tables.items()}
    assert rows == {
        **dict.fromkeys(("ohlcv_1d", "universe", "data_quality", "indicators"), 3),
        **dict.fromkeys(("regression_bands", "signals", "asset_analytics", "alerts"), 3),
        "analysis_summary": 1,
    }
    assert set(line.tables["signals"].marks) == {"BTCUSDT", "ETHUSDT", "SOLUSDT"}


def test_a_day_that_is_whole_is_not_anchored_again(daemon, path):
    before = path.read_bytes()
    daemon.scan(DAY)
    daemon.step("summary_job", DAY, DAY)
    assert path.read_bytes() == before


def test_what_is_as_it_was_passes(run, path):
    ended = run("anchor", "check")
    assert ended.code == 0
    content = read_log(path)
    assert ended.out.splitlines() == [
        f"{path}: {len(content.lines)} lines, root {content.root}",
        "everything is as it was anchored",
    ]


def test_the_list_shows_each_line(run, path):
    content = read_log(path)
    listed = json.loads(run("anchor", "list", "--format", "json").out)
    assert [line["root"] for line in listed] == [line.root for line in content.lines]
    shown = run("anchor", "list", "--date", DAY).out
    assert str(DAY) in shown
    assert str(DAYS[0]) not in shown


def test_edited_candles_are_found_though_everything_was_made_again(run, daemon):
    for day in (EDITED, DAY):
        execute(daemon, f"UPDATE trading.ohlcv_1d SET close = close * 1.001 "
                f"WHERE symbol = 'ETHUSDT' AND date = '{day}'")  # fmt: skip
    registered = daemon.instance.get_dynamic_partitions("symbol")
    daemon.step("symbols_job", DAY, DAY, *registered, assets=ANALYTIC)
    daemon.step("summary_job", DAY, DAY)
    edited = {(str(day), "ohlcv_1d", "ETHUSDT", "changed") for day in (EDITED, DAY)}
    assert findings(run) == edited
    assert findings(run, "--date", str(DAYS[1])) == set()


def test_a_revision_is_no_finding_and_is_anchored_too(run, daemon, path):
    before = len(read_log(path).lines)
    daemon.server.set_now(at(DAY, "00:20:00"))
    daemon.server.faults.add(f"revised-candle:date={DAY},symbol=ETHUSDT")
    daemon.step("symbols_job", DAY, DAY, "ETHUSDT", assets=("ohlcv_1d",))
    assert findings(run) == set()
    daemon.step("summary_job", DAY, DAY)
    assert [line.day for line in read_log(path).lines[before:]] == [DAY]
    assert findings(run) == set()
    execute(daemon, "UPDATE trading.ohlcv_1d_revisions SET close = close * 1.001")
    assert findings(run) == {(str(DAY), "ohlcv_1d", "ETHUSDT", "changed")}


def test_an_edit_that_the_exchange_has_put_right_meanwhile_is_found(run, daemon):
    execute(daemon, f"UPDATE trading.ohlcv_1d SET close = close * 1.001 "
            f"WHERE symbol = 'ETHUSDT' AND date = '{DAY}'")  # fmt: skip
    execute(daemon, f"DELETE FROM trading.ohlcv_1d WHERE symbol = 'SOLUSDT' AND date = '{DAY}'")
    daemon.server.set_now(at(DAY, "00:20:00"))
    registered = daemon.instance.get_dynamic_partitions("symbol")
    daemon.step("symbols_job", DAY, DAY, *registered, assets=("ohlcv_1d",))
    daemon.step("summary_job", DAY, DAY)
    assert findings(run) == {
        (str(DAY), "ohlcv_1d", "ETHUSDT", "changed"),
        (str(DAY), "ohlcv_1d", "SOLUSDT", "missing"),
    }


@pytest.mark.parametrize("name", ["signals", "universe", "analysis_summary"])
def test_a_result_with_another_hash_is_found(run, daemon, name):
    symbol = {"signals": "ETHUSDT"}.get(name)
    chosen = f"date = '{DAY}'" + (f" AND symbol = '{symbol}'" if symbol else "")
    execute(daemon, f"UPDATE trading.{name} SET result_hash = repeat('e', 64) WHERE {chosen}")
    assert findings(run) == {(str(DAY), name, symbol, "changed")}
    execute(daemon, f"DELETE FROM trading.{name} WHERE {chosen}")
    assert findings(run) == {(str(DAY), name, symbol, "missing")}


def test_results_that_were_computed_again_are_no_finding_and_get_a_line(run, daemon, path):
    before = len(read_log(path).lines)
    execute(daemon, "UPDATE trading.signals SET result_hash = repeat('e', 64), computed_at = now() "
            f"WHERE symbol = 'ETHUSDT' AND date = '{DAY}'")  # fmt: skip
    ended = run("anchor", "check")
    assert ended.code == 0
    assert "signals ETHUSDT: computed again since: run `autonama anchor add`" in ended.out
    assert run("anchor", "add").code == 0
    assert [line.day for line in read_log(path).lines[before:]] == [DAY]
    assert findings(run) == set()


def test_alerts_that_the_retention_has_deleted_are_no_finding(run, daemon, monkeypatch):
    execute(daemon, f"DELETE FROM trading.alerts WHERE date = '{DAY}'")
    assert {f[1:] for f in findings(run)} == {
        ("alerts", symbol, "missing") for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    }
    monkeypatch.setenv("AUTONAMA_RETENTION_ALERTS_DAYS", "30")
    assert findings(run) == set()


def test_a_candle_that_is_gone_and_one_that_was_moved_are_found(run, daemon):
    execute(daemon, f"DELETE FROM trading.ohlcv_1d WHERE symbol = 'BTCUSDT' AND date = '{DAY}'")
    execute(daemon, f"UPDATE trading.ohlcv_1d SET date = '2023-10-31' "
            f"WHERE symbol = 'SOLUSDT' AND date = '{EDITED}'")  # fmt: skip
    assert findings(run) == {
        (str(DAY), "ohlcv_1d", "BTCUSDT", "missing"),
        (str(EDITED), "ohlcv_1d", "SOLUSDT", "missing"),
    }


def test_candles_that_came_later_are_no_finding(run, daemon):
    execute(daemon, "CREATE TABLE kept.later AS TABLE trading.ohlcv_1d")
    execute(daemon, "UPDATE kept.later SET symbol = symbol || 'X'")
    execute(daemon, "INSERT INTO trading.ohlcv_1d TABLE kept.later")
    assert findings(run) == set()


def test_a_changed_line_and_a_removed_one_are_found(run, path):
    texts, days = path.read_text().splitlines(), [line.day for line in read_log(path).lines]
    texts[2] = texts[2].replace('"rows":3', '"rows":2')
    path.write_text("\n".join([*texts[:5], *texts[6:]]) + "\n")
    ended = run("anchor", "check", "--date", DAY)
    assert ended.code == 1
    assert f"  line 3, {days[2]}: the line was changed" in ended.out.splitlines()
    assert f"  line 6, {days[6]}: does not continue the line before" in ended.out


def test_a_published_root_must_be_in_the_log(run, path):
    root = read_log(path).lines[3].root
    assert run("anchor", "check", "--root", root).code == 0
    ended = run("anchor", "check", "--root", "e" * 64)
    assert ended.code == 1
    assert "is in no line of" in ended.error


def test_a_line_written_halfway_is_shown_and_is_no_finding(run, path):
    path.write_bytes(path.read_bytes() + b'{"format":1,"day":')
    number = len(read_log(path).lines) + 1
    ended = run("anchor", "check")
    assert ended.code == 0
    assert f"  line {number}: was written halfway, and counts for nothing" in ended.out


def test_a_log_that_cannot_be_written_leaves_the_results(run, daemon, path):
    path.unlink()
    path.mkdir()
    try:
        execute(daemon, f"DELETE FROM trading.analysis_summary WHERE date = '{DAY}'")
        ended = run("scan", "--date", DAY)
        assert ended.code == 0
        warning = f"warning: cannot write the anchor log {path}: Is a directory; results are kept"
        assert warning in ended.err
        found = daemon.project.warehouse.read("analysis_summary")
        assert str(DAY) in found["date"].astype(str).tolist()
        ended = run("anchor", "add")
        assert ended.code == 1
        assert ended.error.startswith(f"autonama: cannot write the anchor log {path}: ")
    finally:
        shutil.rmtree(path)
    assert run("anchor", "add").code == 0
    assert findings(run) == set()


def test_without_a_log_the_check_says_how_one_is_made(run, path):
    path.unlink()
    ended = run("anchor", "check")
    assert ended.code == 1
    assert f"there is no anchor log {path}: a scan" in ended.error


@pytest.mark.usefixtures("daemon")
def test_no_file_is_made_where_none_is_wanted(run, monkeypatch):
    monkeypatch.setenv("AUTONAMA_ANCHOR_FILE", "none")
    assert run("anchor", "add").code == 2
    assert run("anchor", "list").code == 2
