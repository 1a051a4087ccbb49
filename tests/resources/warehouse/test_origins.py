"""Every stored candle leads to the call that gave it."""

import json
from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from scan_support import DAY, START, at, opened_daemon

from resources.exchange.build import build_exchange
from resources.exchange.feed import fetch_candles
from resources.warehouse.origins import origins

FIRST = date(2023, 11, 20)


@pytest.fixture(scope="module")
def opened(postgres, tmp_path_factory):
    with opened_daemon(tmp_path_factory.mktemp("origins"), postgres, scanned=[DAY]) as daemon:
        yield daemon


@pytest.fixture
def daemon(opened, monkeypatch):
    opened.project.enter(monkeypatch)
    return opened


def read(daemon, symbol):
    frame = origins(daemon.project.warehouse, symbol, FIRST, DAY)
    return {d.date(): json.loads(o) for d, o in zip(frame["date"], frame["origin"], strict=True)}


def test_every_candle_has_the_call_whose_range_holds_it(daemon):
    found = read(daemon, "BTCUSDT")
    stored = daemon.project.warehouse.read("ohlcv_1d").query("symbol == 'BTCUSDT'")
    assert list(found) == stored["date"].dt.date.tolist()
    for day, origin in found.items():
        assert set(origin) == {"source", "call", "first", "last"}
        assert origin["source"] == "replay-recorded"
        asked = parse_qs(urlsplit(origin["call"].removeprefix("GET ")).query)
        assert asked["symbol"] == ["BTCUSDT"]
        days = [
            datetime.fromtimestamp(int(asked[n][0]) / 1000, UTC).date()
            for n in ("startTime", "endTime")
        ]
        assert days[0] <= day <= days[1]
        assert origin["first"] <= str(day) <= origin["last"]


def test_a_replaced_candle_has_the_call_that_gave_it_last(daemon):
    before = read(daemon, "SOLUSDT")
    daemon.server.set_now(at(DAY, "00:20:00"))
    daemon.server.faults.add(f"revised-candle:date={DAY},symbol=SOLUSDT")
    daemon.step("symbols_job", START, DAY, "SOLUSDT", assets=("ohlcv_1d",))
    daemon.server.faults.replace()
    after = read(daemon, "SOLUSDT")
    assert after[DAY] != before[DAY]
    assert after[DAY]["first"] == str(START)
    assert {d: o for d, o in after.items() if d < DAY} == {
        d: o for d, o in before.items() if d < DAY
    }


def test_candles_without_a_logged_origin_have_none(daemon):
    with daemon.project.warehouse.transaction() as cursor:
        cursor.execute("UPDATE trading.fetch_log SET origins = NULL WHERE symbol = 'ETHUSDT'")
    frame = origins(daemon.project.warehouse, "ETHUSDT", FIRST, DAY)
    assert len(frame) == 40
    assert frame["origin"].isna().all()


def test_pages_of_one_answer_are_calls_of_their_own(daemon, monkeypatch):
    monkeypatch.setattr("resources.exchange.binance.spot.PAGE", 10)
    exchange = build_exchange(daemon.project.settings)
    with exchange:
        log = fetch_candles(exchange, ["BTCUSDT"], "1d", DAY - timedelta(days=24), DAY).log
    found = json.loads(log.loc[0, "origins"])
    assert len(found) == 3
    lasts = [date.fromisoformat(o["last"]) for o in found]
    firsts = [date.fromisoformat(o["first"]) for o in found]
    assert firsts == [DAY - timedelta(days=24), *(d + timedelta(days=1) for d in lasts[:-1])]
    assert lasts[-1] == DAY
