"""`autonama scan --interval` on recorded candles."""

import csv
import json

import pytest

from autonama_dagster.replay.market.recorded import RecordedMarket
from autonama_dagster.replay.server import ReplayServer


@pytest.fixture
def recorded(market_data, database, monkeypatch):
    with ReplayServer(RecordedMarket(market_data / "klines"), now="2021-06-17T00:05Z") as server:
        monkeypatch.setenv("DATABASE_URL", database)
        monkeypatch.setenv("AUTONAMA_EXCHANGE_URL", server.url)
        yield server


@pytest.mark.usefixtures("recorded")
def test_the_result_says_which_interval_and_which_candle(run, home):
    ended = run("scan", "--interval", "1h", "--symbols", "btcusdt,ETHUSDT", "--format", "json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert (found["date"], found["interval"], found["stored"]) == ("2021-06-16", "1h", False)
    assert found["candle_opens"] == "2021-06-16T23:00:00+00:00"
    assert found["parameters"]["lookback_steps"] == 720
    assert [s["status"] for s in found["signals"]] == ["OK", "OK"]
    (table,) = (home / "results").glob("*.csv")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["interval"] for row in rows] == ["1h", "1h"]


@pytest.mark.usefixtures("recorded")
def test_the_setting_names_the_pairs_and_the_title_the_candle(run, monkeypatch):
    monkeypatch.setenv("AUTONAMA_INTRADAY_SYMBOLS", "btcusdt")
    ended = run("scan", "--interval", "4h", "--date", "2021-06-10", "--correlation-analysis")
    assert ended.code == 0, ended.err
    assert "Signals of 2021-06-10, 4h candle of 2021-06-10 20:00 UTC (what-if" in ended.out
    assert "BTCUSDT" in ended.out
    assert "ETHUSDT" not in ended.out
    assert "Correlations of 90 4h log returns" in ended.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "--interval needs pairs: add --symbols or --core-movers, or set AUTONAMA_"),
        ("--top 5", "--interval needs pairs"),
        ("--core-movers --generate-charts", "--generate-charts draws daily candles"),
        ("--core-movers --interval 2h", "'2h' is not one of '1d', '15m', '1h', '4h', '1w'"),
        ("--core-movers --date 2021-06-17", "has not closed"),
    ],
)
def test_what_an_interval_cannot_do_is_said_at_once(run, recorded, monkeypatch, arguments, message):
    if "--top" in arguments:
        monkeypatch.setenv("AUTONAMA_INTRADAY_SYMBOLS", "BTCUSDT")
    ended = run("scan", "--interval", "1h", *arguments.split())
    assert ended.code == 2
    assert message in ended.err.splitlines()[-1]
    assert not [r for r in recorded.requests if r.path.endswith("/klines")]


def test_settings_show_the_chosen_pairs(run, monkeypatch):
    assert "AUTONAMA_INTRADAY_SYMBOLS=\n" in run("settings").out
    monkeypatch.setenv("AUTONAMA_INTRADAY_SYMBOLS", " ethusdt,BTCUSDT,, ETHUSDT")
    assert "AUTONAMA_INTRADAY_SYMBOLS=ETHUSDT,BTCUSDT\n" in run("settings").out
