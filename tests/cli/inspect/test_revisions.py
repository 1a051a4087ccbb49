"""`autonama revisions` and `autonama show --as-of`: what changed, what it makes stale, what was."""

import csv
import io
import json
import shlex
from datetime import date

import pandas as pd
import pytest
from scan_support import DAY, at, opened_daemon

from autonama_dagster.cli.compute.backfill import backfill
from autonama_dagster.cli.inspect.revisions import _stale_text
from autonama_dagster.cli.main import autonama
from autonama_dagster.schemas.tables.revisions import REVISIONS
from autonama_dagster.services.lineage.changes import commands
from autonama_dagster.services.lineage.staleness import Stale

CHANGED = date(2023, 12, 29)


@pytest.fixture(scope="module")
def opened(postgres, tmp_path_factory):
    """A scanned day whose candle of ETHUSDT was given again at 00:20 with another close."""
    with opened_daemon(tmp_path_factory.mktemp("revisions"), postgres, scanned=[DAY]) as daemon:
        daemon.server.set_now(at(DAY, "00:20:00"))
        daemon.server.faults.add(f"revised-candle:date={CHANGED},symbol=ETHUSDT")
        daemon.step("symbols_job", CHANGED, CHANGED, "ETHUSDT", assets=("ohlcv_1d",))
        yield daemon


@pytest.fixture
def daemon(opened, monkeypatch):
    opened.project.enter(monkeypatch)
    return opened


@pytest.fixture
def closes(daemon):
    """Close before and after."""
    warehouse = daemon.project.warehouse
    old = warehouse.read("ohlcv_1d_revisions").iloc[0]["close"]
    found = warehouse.read("ohlcv_1d").set_index(["symbol", "date"])["close"]
    return old, found["ETHUSDT", str(CHANGED)]


def test_the_text_names_the_change_the_stale_rows_and_ends_with_the_command(run, closes):
    ended = run("revisions", "--since", "2023-12-30")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0] == "1 candle changed since 2023-12-30:"
    assert lines[1] == (
        "  ETHUSDT 1d 2023-12-29, at 2023-12-30 00:20:00 UTC, replay-recorded -> replay-recorded: "
        f"close {closes[0]:.12g} -> {closes[1]:.12g}"
    )
    assert "  signals: 1 row, 1 day from 2023-12-29 to 2023-12-29, 1 symbol" in lines
    assert "  correlation_matrix: 3 rows, 1 day from 2023-12-29 to 2023-12-29, 3 symbols" in lines
    assert lines[-2:] == [
        "  autonama backfill --from 2023-12-29 --to 2023-12-29 --assets universe --again",
        (
            "  autonama backfill --from 2023-12-29 --to 2023-12-29 --symbols ETHUSDT --assets "
            "data_quality,indicators,regression_bands,signals,asset_analytics,alerts,"
            "correlation_matrix,analysis_summary --again"
        ),
    ]
    parent = autonama.make_context("autonama", [])
    for line in lines[-2:]:
        backfill.make_context("backfill", shlex.split(line)[2:], parent=parent)


def test_json_holds_changes_stale_rows_and_commands(run, closes):
    ended = run("revisions", "--since", "2023-12-30", "--format", "json")
    assert ended.code == 0, ended.error
    found = json.loads(ended.out)
    (change,) = found["changes"]
    assert change == {
        "table": "ohlcv_1d",
        "symbol": "ETHUSDT",
        "date": "2023-12-29",
        "open_time": None,
        "changed_at": "2023-12-30T00:20:00+00:00",
        "source": {"old": "replay-recorded", "new": "replay-recorded"},
        "columns": {"close": {"old": closes[0], "new": closes[1]}},
    }
    assert found["stale"]["alerts"] == {"rows": 1, "days": ["2023-12-29"], "symbols": ["ETHUSDT"]}
    assert found["stale"]["analysis_summary"]["symbols"] == []
    assert len(found["commands"]) == 2


def test_csv_has_a_line_for_each_column(run, closes):
    ended = run("revisions", "--since", "2023-12-30T00:20:00Z", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(ended.out))
    assert (row["symbol"], row["column"]) == ("ETHUSDT", "close")
    assert (float(row["old"]), float(row["new"])) == closes


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    "arguments",
    [
        ("--since", "2023-12-30T00:20:01Z"),
        ("--since", "2023-12-31"),
        ("--since", "2023-12-30", "--symbols", "BTCUSDT"),
    ],
)
def test_what_is_older_or_of_others_is_left_out(run, arguments):
    lines = run("revisions", *arguments).out.splitlines()
    assert lines == [f"no candles changed since {arguments[1]}", "no rows are stale"]


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("revisions", "--since", "soon"), "--since soon: not a time"),
        (("revisions", "--since", "2023-12-30", "--symbols", ","), "--symbols is empty"),
        (("show", "signals", "--as-of", "2023-12-30"), "--as-of does not apply to signals"),
        (("show", "ohlcv_1d", "--as-of", "then"), "--as-of then: not a time"),
    ],
)
def test_what_cannot_be_is_one_line(run, arguments, says):
    ended = run(*arguments)
    assert ended.code == 2
    assert says in ended.error


def test_candles_are_shown_as_they_were_known(run, closes):
    def shown(*moment):
        arguments = ("show", "ohlcv_1d", "--date", CHANGED, "--format", "json", *moment)
        return {row["symbol"]: row["close"] for row in json.loads(run(*arguments).out)}

    assert shown()["ETHUSDT"] == closes[1]
    assert shown("--as-of", "2023-12-30T00:19:59Z")["ETHUSDT"] == closes[0]
    assert shown("--as-of", "2023-12-30T00:20:00Z")["ETHUSDT"] == closes[1]
    assert len(shown("--as-of", "2023-12-30T00:19:59Z")) == 3
    before = run("show", "ohlcv_1d", "--as-of", "2023-12-30T00:00:00Z")
    assert "no candle of 2023-12-29 was known at 2023-12-30T00:00:00Z" in before.out
    assert "ohlcv_1d of 2023-12-29" in run("show", "ohlcv_1d").out


def test_every_table_of_fetched_candles_can_be_shown():
    assert set(REVISIONS) == {"ohlcv_1d", "ohlcv_15m", "ohlcv_1h"}


def test_longer_candles_are_made_by_their_job_and_by_no_backfill():
    keys = pd.DataFrame({"symbol": ["BTCUSDT"], "date": pd.to_datetime(["2023-12-31"])})
    stale = Stale({"ohlcv_1w": keys})
    assert commands(stale) == []
    assert list(_stale_text(stale))[-2:] == [
        "to recompute them:",
        "  in the UI, intraday_job: ohlcv_1w",
    ]
