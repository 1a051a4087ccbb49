"""The protocol as the real python-binance client sees it."""

import json
from types import SimpleNamespace

import pytest
import requests

from autonama_dagster.replay.market.recorded import RecordedMarket
from autonama_dagster.replay.market.synthetic import SyntheticMarket
from autonama_dagster.replay.server import ReplayServer

DAY_MS = 86_400_000
FIRST_DAY_MS = 1_577_836_800_000
NOW_MS = FIRST_DAY_MS + 39 * DAY_MS + DAY_MS // 2
SYMBOL_RANGE = r"^[\w\-._&&[^a-z]]{1,50}$"


def get(server, path, **params):
    response = requests.get(f"{server.url}/api/v3/{path}", params=params, timeout=10)
    return SimpleNamespace(status=response.status_code, json=response.json())


def day(index):
    return FIRST_DAY_MS + index * DAY_MS


def test_ping_and_time(client):
    assert client.ping() == {}
    assert client.get_server_time() == {"serverTime": NOW_MS}


def test_symbols_are_those_listed_by_now_with_their_status(exchange, client):
    info = client.get_exchange_info()
    assert info["serverTime"] == NOW_MS
    assert info["rateLimits"][0]["limit"] == 6000
    statuses = {symbol["symbol"]: symbol["status"] for symbol in info["symbols"]}
    assert statuses == {"AAAUSDT": "TRADING", "BBBUSDT": "TRADING", "CCCUSDT": "BREAK"}
    first = info["symbols"][0]
    assert (first["baseAsset"], first["quoteAsset"]) == ("AAA", "USDT")
    assert first["isSpotTradingAllowed"] is True
    assert first["permissions"] == ["SPOT"]
    assert info["symbols"][2]["isSpotTradingAllowed"] is False
    exchange.set_now("2020-01-10T12:00:00Z")
    symbols = client.get_exchange_info()["symbols"]
    assert [(s["symbol"], s["status"]) for s in symbols] == [
        ("AAAUSDT", "TRADING"),
        ("CCCUSDT", "TRADING"),
    ]


def test_a_symbol_trades_until_a_day_after_its_last_candle(exchange, client):
    exchange.set_now("2020-01-11T23:59:59.999Z")
    assert client.get_symbol_info("CCCUSDT")["status"] == "TRADING"
    exchange.set_now("2020-01-12T00:00:00Z")
    assert client.get_symbol_info("CCCUSDT")["status"] == "BREAK"


def test_some_symbols_can_be_asked_for(exchange):
    one = get(exchange, "exchangeInfo", symbol="AAAUSDT").json["symbols"]
    two = get(exchange, "exchangeInfo", symbols='["AAAUSDT","CCCUSDT"]').json["symbols"]
    assert [s["symbol"] for s in one] == ["AAAUSDT"]
    assert [s["symbol"] for s in two] == ["AAAUSDT", "CCCUSDT"]
    assert get(exchange, "exchangeInfo", symbols="AAAUSDT").json["code"] == -1100


def test_a_candle_is_an_array_of_twelve_with_decimals_as_strings(client):
    assert client.get_klines(symbol="AAAUSDT", interval="1d", limit=2)[0] == [
        day(38),
        "138.00000000",
        "142.00000000",
        "136.00000000",
        "139.00000000",
        "10.25000000",
        day(39) - 1,
        "1000.50000000",
        7,
        "5.50000000",
        "550.25000000",
        "0",
    ]


def test_the_forming_candle_is_served_as_far_as_it_is_known(exchange, client):
    exchange.set_now("2020-02-09T08:00:00Z")
    forming = client.get_klines(symbol="AAAUSDT", interval="1d", limit=1)[0]
    assert forming[0] == day(39)
    assert forming[6] > client.get_server_time()["serverTime"]
    assert [float(text) for text in forming[1:6]] == [139, 139, 137, 137, pytest.approx(10.25 / 3)]
    exchange.set_now("2020-02-10")
    closed = client.get_klines(symbol="AAAUSDT", interval="1d", limit=1)[0]
    assert [float(text) for text in closed[1:6]] == [139, 143, 137, 140, 10.25]


def test_later_candles_are_never_served(exchange, client):
    exchange.set_now("2020-01-05T00:00:00Z")
    rows = client.get_klines(symbol="AAAUSDT", interval="1d", startTime=0, endTime=day(99))
    assert [row[0] for row in rows] == [day(i) for i in range(5)]


def test_bounds_are_open_times_and_both_belong(client):
    rows = client.get_klines(symbol="AAAUSDT", interval="1d", startTime=day(3), endTime=day(5))
    assert [row[0] for row in rows] == [day(3), day(4), day(5)]
    rows = client.get_klines(
        symbol="AAAUSDT", interval="1d", startTime=day(3) + 1, endTime=day(5) - 1
    )
    assert [row[0] for row in rows] == [day(4)]


def test_pages_go_forward_from_the_start_and_end_with_the_newest_without_one(client):
    first = client.get_klines(symbol="AAAUSDT", interval="1d", startTime=day(3), limit=2)
    newest = client.get_klines(symbol="AAAUSDT", interval="1d", limit=2)
    assert [row[0] for row in first] == [day(3), day(4)]
    assert [row[0] for row in newest] == [day(38), day(39)]


def test_longer_candles_are_added_up(client):
    week = client.get_klines(symbol="AAAUSDT", interval="1w", limit=1, endTime=day(11))[0]
    assert week[0] == day(5)  # Monday 2020-01-06
    assert week[6] == day(12) - 1
    assert [float(text) for text in week[1:6]] == [105, 115, 103, 112, 7 * 10.25]


def test_the_source_of_the_rows_is_in_a_header(client, exchange):
    client.get_klines(symbol="AAAUSDT", interval="1d")
    assert client.response.headers["X-Autonama-Source"] == "replay-recorded"
    client.get_klines(symbol="BBBUSDT", interval="1d")
    assert client.response.headers["X-Autonama-Source"] == "replay-estimated"
    client.get_klines(symbol="BBBUSDT", interval="1h")
    assert client.response.json() == []
    assert client.response.headers["X-Autonama-Source"] == "replay-recorded"
    for path in ("api/v3/time", "api/v3/nowhere", "replay/requests", "nowhere"):
        response = requests.get(f"{exchange.url}/{path}", timeout=10)
        assert response.headers["X-Autonama-Market"] == "recorded"


def test_prices_are_those_of_the_clock(exchange, client):
    exchange.set_now("2020-02-09T08:00:00Z")
    assert client.get_symbol_ticker(symbol="AAAUSDT") == {
        "symbol": "AAAUSDT",
        "price": "137.00000000",
    }
    prices = {price["symbol"]: price["price"] for price in client.get_all_tickers()}
    assert prices["CCCUSDT"] == "110.00000000"


def test_the_last_24_hours_span_two_candles(exchange, client):
    exchange.set_now("2020-02-09T08:00:00Z")
    ticker = client.get_ticker(symbol="AAAUSDT")
    # Yesterday fell to its low at 08:00 and then rose; today has just reached its low.
    assert ticker["openPrice"] == "136.00000000"
    assert ticker["highPrice"] == "142.00000000"
    assert ticker["lowPrice"] == "136.00000000"
    assert ticker["lastPrice"] == "137.00000000"
    assert ticker["volume"] == "10.25000000"
    assert ticker["priceChangePercent"] == "0.735"
    assert ticker["closeTime"] - ticker["openTime"] == DAY_MS


def test_a_delisted_symbol_has_had_no_trade_for_24_hours(client):
    tickers = {ticker["symbol"]: ticker for ticker in client.get_ticker()}
    assert set(tickers) == {"AAAUSDT", "BBBUSDT", "CCCUSDT"}
    assert tickers["CCCUSDT"]["volume"] == "0.00000000"
    assert tickers["CCCUSDT"]["lastPrice"] == "110.00000000"


@pytest.mark.parametrize(
    ("path", "params", "code", "message"),
    [
        ("klines", {"symbol": "ZZZUSDT", "interval": "1d"}, -1121, "Invalid symbol."),
        (
            "klines",
            {"interval": "1d"},
            -1102,
            "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
        ),
        (
            "klines",
            {"symbol": "AAAUSDT"},
            -1102,
            "Mandatory parameter 'interval' was not sent, was empty/null, or malformed.",
        ),
        ("klines", {"symbol": "AAAUSDT", "interval": "2d"}, -1120, "Invalid interval."),
        (
            "klines",
            {"symbol": "AAAUSDT", "interval": "1m"},
            -1120,
            "Invalid interval. This replay serves 1h, 4h, 1d, 1w.",
        ),
        (
            "klines",
            {"symbol": "btcusdt", "interval": "1d"},
            -1100,
            f"Illegal characters found in parameter 'symbol'; legal range is '{SYMBOL_RANGE}'.",
        ),
        (
            "klines",
            {"symbol": "AAAUSDT", "interval": "1d", "startTime": "-5"},
            -1100,
            "Illegal characters found in parameter 'startTime'; legal range is '^[0-9]{1,20}$'.",
        ),
        (
            "klines",
            {"symbol": "AAAUSDT", "interval": "1d", "limit": "0"},
            -1130,
            "Data sent for parameter 'limit' is not valid.",
        ),
        (
            "klines",
            {"symbol": "AAAUSDT", "interval": "1d", "start": "5"},
            -1104,
            "Not all sent parameters were read; read '2' parameter(s) but was sent '3'.",
        ),
        ("ticker/price", {"symbol": "ZZZUSDT"}, -1121, "Invalid symbol."),
    ],
)
def test_bad_requests_get_binances_error_bodies(exchange, path, params, code, message):
    answer = get(exchange, path, **params)
    assert answer.status == 400
    assert answer.json == {"code": code, "msg": message}


def test_a_symbol_not_yet_listed_is_unknown(exchange):
    exchange.set_now("2020-01-20T23:00:00Z")
    assert get(exchange, "klines", symbol="BBBUSDT", interval="1d").json["code"] == -1121


def test_the_synthetic_market_says_what_it_is_and_fills_pages(connect):
    with ReplayServer(SyntheticMarket(7), now="2023-12-30T00:05:00Z") as server:
        client = connect(server)
        assert len(client.get_klines(symbol="BTCUSDT", interval="1d")) == 500
        assert len(client.get_klines(symbol="BTCUSDT", interval="1d", limit=1500)) == 1000
        rows = client.get_klines(symbol="BTCUSDT", interval="1d", limit=2)
        assert client.response.headers["X-Autonama-Source"] == "synthetic"
        assert client.response.headers["X-Autonama-Market"] == "synthetic"
        symbols = {s["symbol"]: s["status"] for s in client.get_exchange_info()["symbols"]}
    assert [len(row) for row in rows] == [12, 12]
    assert {symbols[name] for name in ("BTCUSDT", "ETHUSDT", "SOLUSDT")} == {"TRADING"}
    assert symbols["PERPUSDT"] == "BREAK"
    assert "JUPUSDT" not in symbols


def test_recorded_candles_of_the_real_market(market_data, connect):
    market = RecordedMarket(market_data / "klines")
    with ReplayServer(market, now="2022-11-10T00:05:00Z") as server:
        client = connect(server)
        rows = client.get_historical_klines("BTCUSDT", "1d", "2017-01-01", "2022-11-10")
        assert client.get_exchange_info()["serverTime"] == 1_668_038_700_000
        bad = client.get_klines(
            symbol="AUDUSDT", interval="1d", startTime=1_605_225_600_000, limit=1
        )[0]
        pages = [r for r in server.requests if r.params.get("limit") == "1000"]
    closes = {row[0]: row[4] for row in rows}
    assert closes[1_583_971_200_000] == "4800.00000000"
    assert closes[1_667_952_000_000] == "15922.81000000"
    assert list(closes) == sorted(closes)
    assert len(rows) == len(closes) > 1900
    assert len(pages) >= 2
    assert rows[-1][6] > 1_668_038_700_000  # the forming candle comes along
    assert (bad[2], bad[4]) == ("0.72033000", "0.72216000")


def test_recorded_errors_have_the_bodies_that_binance_sent(market_data, exchange):
    recorded = json.loads((market_data / "payloads" / "binance_errors.json").read_text())
    bodies = [entry["body"] for entry in recorded if entry["http_status"] in (400, 429, 451)]
    exchange.faults.add("451:path=ping")
    exchange.faults.add("429:path=time")
    served = [
        get(exchange, "ping").json,
        get(exchange, "time").json,
        get(exchange, "klines", symbol="zzz", interval="1d").json,
        get(exchange, "klines", symbol="ZZZ", interval="1d").json,
    ]
    assert all(body in bodies for body in served)
