"""Answers that are not what was asked for: whole scans through a door that spoils them."""

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

import dagster as dg
import psycopg
import pytest
from fault_support import DAY, SYMBOLS

from autonama_dagster.cli.compute.scan import require_data
from autonama_dagster.errors import ExchangeError
from autonama_dagster.services.scan.results import stored_result
from resources.exchange.binance.spot import BinanceExchange
from resources.instance.facts import read_dagster
from resources.postgres.database import dagster_database_url
from resources.postgres.urls import libpq_url
from resources.warehouse.candle_queries import RANKING, failed_fetches

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
ETH = "ETHUSDT"
TEXTS = ("1\0", "\ud800")  # a close that Postgres cannot hold as text


class Door:
    """Stands before the exchange and may change what it answers."""

    def __init__(self, url):
        self.change = lambda path, body: body  # noqa: ARG005
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                with urlopen(url + self.path) as answer:
                    status, body = 200, json.load(answer)
                body = door.change(self.path, body)
                if isinstance(body, int):
                    status, body = body, {"code": -1003, "msg": "Too much weight, says the door."}
                data = json.dumps(body).encode()
                self.send_response(status)
                # Else the replay exchange's own headers say where the candles are from.
                for name in ("X-Autonama-Market", "X-Autonama-Source"):
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def candles(self, symbol, spoil):
        """Spoil the candles of one symbol."""
        self.change = lambda path, body: (
            spoil(body) if symbol in path and "klines" in path else body
        )

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def door(server):
    opened = Door(server.url)
    yield opened
    opened.close()


@pytest.fixture
def exchange(door):
    return BinanceExchange(door.url)


def lasting(rows, length):
    return [[*row[:6], row[0] + length - 1, *row[7:]] for row in rows]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda rows: lasting(rows, HOUR_MS),
        lambda rows: [[row[0] + DAY_MS, *row[1:6], row[6] + DAY_MS, *row[7:]] for row in rows],
        lambda rows: rows * 40,
    ],
)
def test_an_answer_to_another_question(stage, door, exchange, spoil):
    door.candles(ETH, spoil)
    stage.scan(exchange)
    assert stage.status() == {"BTCUSDT": "OK", "SOLUSDT": "OK"}
    assert failed_fetches(stage.warehouse, DAY, RANKING) == [ETH]
    assert ETH not in set(stage.warehouse.read("ohlcv_1d")["symbol"])


def test_a_candle_cut_short(stage, door, exchange):
    door.candles(ETH, lambda rows: [*rows[:-9], *lasting(rows[-9:-8], 1_694_838), *rows[-8:]])
    stage.scan(exchange)
    bad = stage.warehouse.read("quarantine").query("table_name == 'ohlcv_1d'")
    assert bad["symbol"].tolist() == [ETH]
    assert bad["reason"].str.contains("is not 1d after the open time").all()
    assert stage.status() == dict.fromkeys(SYMBOLS, "OK")


def test_one_pairs_candles_for_another(stage, door, server):
    def answer(path, body):
        if "klines" not in path or "BTCUSDT" in path:
            return body
        for symbol in SYMBOLS:
            path = path.replace(symbol, "BTCUSDT")
        with urlopen(server.url + path) as honest:
            return json.load(honest)

    door.change = answer
    says = "3 pairs have identical candles"
    stage.fails(says, ExchangeError, exchange=BinanceExchange(door.url))
    assert stage.holds_nothing()


def test_text_that_no_table_takes(stage, door, exchange):
    def spoiled(rows):
        odd = [[*row[:4], text, *row[5:]] for row, text in zip(rows[-9:-7], TEXTS, strict=True)]
        return [*rows[:-9], *odd, *rows[-7:]]

    door.candles(ETH, spoiled)
    stage.scan(exchange)
    bad = stage.warehouse.read("quarantine").query("table_name == 'ohlcv_1d'")
    assert bad["symbol"].tolist() == [ETH] * len(TEXTS)
    assert stage.status() == dict.fromkeys(SYMBOLS, "OK")


def test_odd_entries_of_the_list_of_pairs(stage, door, exchange, monkeypatch):
    stage.project.enter(monkeypatch)
    odd = [
        {"symbol": "NEWUSDT", "baseAsset": "NEW", "quoteAsset": "USDT"},
        {"symbol": "../../XUSDT", "baseAsset": "X", "quoteAsset": "USDT", "status": "TRADING"},
        None,
    ]

    def answer(path, body):
        return {"symbols": [*odd, *body["symbols"]]} if "exchangeInfo" in path else body

    door.change = answer
    stage.scan(exchange)
    assert len(exchange.left_out) == len(odd)
    stage.check_complete("fetch_log")
    (event,) = stage.project.instance.fetch_materializations(
        dg.AssetKey("universe"), limit=1
    ).records
    assert event.asset_materialization.metadata["left_out_pairs"].value == len(odd)
    with psycopg.connect(libpq_url(dagster_database_url())) as connection:
        facts = read_dagster(connection, datetime.now(UTC))
    assert (facts.n_left_out, facts.left_out) == (len(odd), "; ".join(exchange.left_out))


def test_a_list_without_pairs(stage, door, exchange):
    door.change = lambda path, body: {"symbols": []} if "exchangeInfo" in path else body
    stage.fails("the exchange lists no USDT pair", ExchangeError, exchange=exchange)
    assert stage.holds_nothing()


def test_every_symbol_refused(stage, door, exchange):
    door.change = lambda path, body: 400 if "klines" in path else body
    says = r"can be ranked on 2023-12-29: 3 pairs could not be fetched; first error: .*the door"
    stage.fails(says, ExchangeError, exchange=exchange)
    # A day that was ranked before its candles were refused.
    door.change = lambda _, body: body
    stage.scan()
    with stage.warehouse.transaction() as cursor:
        for name in ("ohlcv_1d", "signals", "fetch_log"):
            cursor.execute(f"DELETE FROM trading.{name}")
    door.change = lambda path, body: 400 if "klines" in path else body
    stage.scan(BinanceExchange(door.url))
    result = stored_result(stage.warehouse, stage.project.settings, DAY)
    with pytest.raises(ExchangeError, match=r"no candles could be fetched: .*the door"):
        require_data(result)


def test_server_time_in_seconds(stage, door):
    def answer(path, body):
        return {"serverTime": body["serverTime"] // 1000} if "/time" in path else body

    door.change = answer
    says = "1970-01-20 .* cannot be the current time: expected milliseconds since 1970"
    stage.fails(says, ExchangeError, exchange=BinanceExchange(door.url))
    assert stage.holds_nothing()
