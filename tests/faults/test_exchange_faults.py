"""What goes wrong between us and the exchange: refusals, outages, answers that are none."""

import socket
from collections import Counter
from contextlib import ExitStack

import pandas as pd
import pytest
from fault_support import SYMBOLS
from projects import project
from servers import synthetic_market

from autonama_dagster.errors import ExchangeBannedError, ExchangeError
from autonama_dagster.replay.server import ReplayServer
from resources.exchange.binance.spot import BinanceExchange
from resources.warehouse.candle_queries import RANKING, failed_fetches

pytestmark = pytest.mark.long

ONE = "symbol=ETHUSDT,path=klines"


def passes(stage, *faults):
    """Faults that pass within the scan leave no trace."""
    for fault in faults:
        stage.server.faults.add(fault)
    stage.scan()
    assert any(request.faults for request in stage.server.requests)
    stage.check_complete()


def stays(stage, fault, says, kind=ExchangeError):
    """A fault that stays ends the scan with nothing stored; the next scan is complete."""
    stage.server.faults.add(fault)
    stage.fails(says, kind)
    assert stage.holds_nothing()
    stage.server.faults.replace()


def costs_one_symbol(stage, fault):
    """A symbol without a usable answer is out and named; the next scan has it."""
    stage.server.faults.add(fault)
    stage.scan()
    assert stage.status() == {"BTCUSDT": "OK", "SOLUSDT": "OK"}
    assert failed_fetches(stage.warehouse, pd.Timestamp("2023-12-29").date(), RANKING) == [
        "ETHUSDT"
    ]
    stage.server.faults.replace()
    stage.scan()
    stage.check_complete("fetch_log")


def test_429_with_retry_after(stage):
    passes(stage, "429:count=2,retry_after=1,path=klines")


def test_418(stage):
    stays(stage, "418:retry_after=60,path=klines", "banned this address", ExchangeBannedError)
    refused = [r for r in stage.server.requests if r.status == 418]
    assert len(refused) <= len(stage.expected["universe"]), "every call lengthens the ban"
    stage.scan()
    stage.check_complete()


def test_http_5xx(stage):
    statuses = (500, 502, 503)
    for status in statuses:
        stays(stage, f"{status}:path=klines", f"HTTP {status}.*try again later .gave up")
    stage.server.clear_requests()
    passes(
        stage,
        *(
            f"{status}:count=2,path=klines,symbol={symbol}"
            for status, symbol in zip(statuses, SYMBOLS, strict=True)
        ),
    )
    refused = Counter((r.status, r.params["symbol"]) for r in stage.server.requests if r.faults)
    assert refused == dict.fromkeys(zip(statuses, SYMBOLS, strict=True), 2)


def test_connect_timeout(stage):
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        port = full.getsockname()[1]
        for _ in range(2):  # the queue of connections is full: further ones get no answer
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(("127.0.0.1", port))
        exchange = BinanceExchange(f"http://127.0.0.1:{port}", timeout=0.2)
        stage.fails("cannot reach .* .ConnectTimeout.: check the connection", exchange=exchange)
    assert stage.holds_nothing()
    stage.scan()
    stage.check_complete()


def test_read_timeout(stage):
    stage.server.faults.add("timeout:seconds=60,path=klines")
    late = BinanceExchange(stage.server.url, timeout=0.2)
    stage.fails("cannot reach .* .ReadTimeout.: check the connection", exchange=late)
    assert stage.holds_nothing()
    stage.server.faults.replace()
    stage.server.faults.add("timeout:seconds=60,path=klines,count=2")
    stage.scan(BinanceExchange(stage.server.url, timeout=1))
    stage.check_complete()


def test_connection_reset_mid_body(stage):
    stays(stage, "reset:path=klines", "all 3 responses were unusable.*was cut off")
    passes(stage, "reset:count=2,path=klines")


def test_truncated_json(stage):
    passes(stage, "truncated:count=2,path=klines")


def test_garbage_json(stage):
    stays(stage, "garbage:path=klines", "all 3 responses were unusable")
    costs_one_symbol(stage, f"garbage:{ONE}")


def test_html_error_page(stage):
    stays(stage, "html:path=klines", "all 3 responses were unusable")
    passes(stage, "html:count=2,path=klines")


def test_empty_list(stage):
    stays(stage, "empty-list:path=klines", "an empty list for a pair that trades")
    costs_one_symbol(stage, f"empty-list:{ONE}")


def test_answer_that_drips(stage):
    stage.server.faults.add(f"drip:{ONE}")
    stage.scan(BinanceExchange(stage.server.url, deadline=1.0))
    assert stage.status() == {"BTCUSDT": "OK", "SOLUSDT": "OK"}
    log = stage.warehouse.read("fetch_log").query("symbol == 'ETHUSDT'")
    assert log["message"].str.contains("took longer than 1 s: check the connection").all()
    drips = [r for r in stage.server.requests if r.params.get("symbol") == "ETHUSDT" and r.faults]
    assert len(drips) == 1, "it was asked for again"
    stage.server.faults.replace()
    stage.scan()
    stage.check_complete("fetch_log")


def test_answer_without_measure(stage):
    stays(stage, "bomb:path=klines", "all 3 responses were unusable.*larger than 2,097,152")
    costs_one_symbol(stage, f"bomb:{ONE}")


def test_redirect(stage):
    stays(stage, "redirect:path=klines", "HTTP 302, a redirect, which is not followed: set AUTO")


def test_absurd_headers(stage):
    passes(stage, "absurd-headers:every=1")


def test_proxy_that_fails(stage, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "http://me:hush@127.0.0.1:9")
    stage.scan()  # this machine is asked without it
    stage.check_complete()
    stage.clear()
    exchange = BinanceExchange("http://exchange.invalid")
    named = "cannot reach exchange.invalid through the proxy ALL_PROXY=http://127.0.0.1:9"
    stage.fails(f"{named} .ProxyError.: check the proxy, the connection and", exchange=exchange)
    assert stage.holds_nothing()


def test_symbol_unknown(stage):
    stage.project.instance.add_dynamic_partitions("symbol", ["NOSUCHUSDT"])
    stage.scan()
    assert stage.status().pop("NOSUCHUSDT") == "NO_DATA"
    log = stage.warehouse.read("fetch_log").set_index("symbol")
    assert log.loc["NOSUCHUSDT", "message"].str.contains("Invalid symbol").all()
    found = stage.project.tables()
    for name in ("signals", "regression_bands", "ohlcv_1d", "analysis_summary"):
        frame = found[name]
        if "symbol" in frame:
            frame = frame[frame["symbol"] != "NOSUCHUSDT"].reset_index(drop=True)
        pd.testing.assert_frame_equal(frame, stage.expected[name], check_exact=True, obj=name)


def test_20_of_100_symbols_failing(postgres, tmp_path_factory):
    market = synthetic_market(5)
    folder = tmp_path_factory.mktemp("twenty")
    settings = {"start_date": "2024-02-29", "universe_size": "100", "lookback": "40", "degree": "2"}
    day = pd.Timestamp("2024-02-29").date()
    with (
        ReplayServer(market, now="2024-03-01T00:05:00Z") as server,
        project(folder, postgres, server.url, **settings) as opened,
    ):
        opened.scanner().scan(day)
        expected = opened.tables()
        members = sorted(expected["universe"].query("is_member")["symbol"])
        with opened.warehouse.transaction() as cursor:
            cursor.execute(f"TRUNCATE {', '.join(f'trading.{name}' for name in expected)}")
        for symbol in members[::5][:20]:
            server.faults.add(f"garbage:symbol={symbol},path=klines")
        opened.scanner().scan(day)
        assert failed_fetches(opened.warehouse, day, RANKING) == members[::5][:20]
        signals = opened.warehouse.read("signals").set_index("symbol")["status"]
        assert (signals[members[::5][:20]] == "NO_DATA").all()
        assert (signals.drop(members[::5][:20]) != "NO_DATA").all()
        server.faults.replace()
        opened.scanner().scan(day)
        found = opened.tables()
        for name in expected.keys() - {"fetch_log"}:
            frame = found[name]
            if "symbol" in frame and name != "universe":  # those ranked in their place stay
                frame = frame[frame["symbol"].isin(members)].reset_index(drop=True)
            pd.testing.assert_frame_equal(frame, expected[name], check_exact=True, obj=name)
        assert opened.scanner().scan(day) == []
