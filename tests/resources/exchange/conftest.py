"""A scripted exchange on the loopback device: a small honest market, and answers on demand."""

import json
import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest

from resources.exchange.binance.spot import BinanceExchange
from resources.exchange.calls.retry import RetryPolicy

DAY_MS = 86_400_000


@dataclass
class Reply:
    """One scripted answer; `body` is JSON unless it is bytes."""

    status: int = 200
    body: object = b""
    headers: dict = field(default_factory=dict)
    breaks_off: bool = False
    hangs: bool = False
    drips: float = 0.0  # seconds between two of the spaces that follow without end


class ScriptedExchange:
    """Serves daily candles of `rows`; replies queued for an endpoint or symbol come first."""

    def __init__(self) -> None:
        self.now = datetime(2024, 1, 1, 0, 5, tzinfo=UTC)
        self.rows = defaultdict(list)
        self.headers = {}
        self.statuses = {}
        self.calls = []
        self.sent = []
        self._queued = defaultdict(list)
        self._always = {}
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._honest = {
            "time": self._time,
            "24hr": self._ticker,
            "exchangeInfo": self._exchange_info,
            "klines": self._klines,
        }
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                url = urlsplit(self.path)
                scripted.sent.append(self.headers)
                scripted.send(self, url.path.rpartition("/")[2], dict(parse_qsl(url.query)))

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def queue(self, key, *replies):
        """Answer the next requests of an endpoint or symbol with these."""
        self._queued[key] += replies

    def always(self, key, reply):
        """Answer every request of an endpoint or symbol with this one."""
        self._always[key] = reply

    def count(self, endpoint):
        return sum(call[0] == endpoint for call in self.calls)

    def add_days(self, symbol, last, days, price="1.50000000"):
        """`days` daily candles up to the day `last`."""
        end = datetime.fromisoformat(last).replace(tzinfo=UTC)
        first_ms = int((end - timedelta(days=days - 1)).timestamp()) * 1000
        self.rows[symbol] += [daily(first_ms + n * DAY_MS, price) for n in range(days)]

    def send(self, handler, endpoint, query):
        # The ticker that tells the market's time is asked on the way to every symbol's answer.
        symbol = None if endpoint == "24hr" else query.get("symbol")
        with self._lock:
            self.calls.append((endpoint, query))
            queued = self._queued[symbol] or self._queued[endpoint]
            reply = queued.pop(0) if queued else self._always.get(symbol)
        reply = reply or self._always.get(endpoint) or self._honest[endpoint](query)
        if reply.hangs:
            self._released.wait()
            handler.close_connection = True
            return
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        handler.send_response(reply.status)
        for name, value in {**self.headers, **reply.headers}.items():
            handler.send_header(name, value)
        is_cut = reply.breaks_off or bool(reply.drips)
        handler.send_header("Content-Length", str(len(body) + 1_000_000 * is_cut))
        handler.end_headers()
        with suppress(OSError):  # hung up on
            handler.wfile.write(body)
            while reply.drips and not self._released.wait(reply.drips):
                handler.wfile.write(b" ")
        handler.close_connection = is_cut

    def _time(self, _):
        return Reply(body={"serverTime": round(self.now.timestamp() * 1000)})

    def _ticker(self, _):
        return Reply(body={"closeTime": round(self.now.timestamp() * 1000)})

    def _exchange_info(self, _):
        names = sorted(self.rows, reverse=True)
        pairs = [
            {"symbol": name, "baseAsset": name[:-4], "quoteAsset": name[-4:]}
            | {"status": self.statuses.get(name, "BREAK")}
            for name in names
        ]
        return Reply(body={"symbols": pairs})

    def _klines(self, query):
        start, end = int(query["startTime"]), int(query.get("endTime", 1 << 62))
        rows = [row for row in self.rows[query["symbol"]] if start <= row[0] <= end]
        return Reply(body=rows[: int(query["limit"])])

    def close(self):
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def daily(open_ms, price="1.50000000"):
    """One honest daily candle as REST sends it."""
    amounts = ("10.00000000", open_ms + DAY_MS - 1, "15.00000000", 7, "4.00000000", "6.00000000")
    return [open_ms, price, price, price, price, *amounts, "0"]


@pytest.fixture
def server():
    scripted = ScriptedExchange()
    yield scripted
    scripted.close()


@pytest.fixture
def reply():
    return Reply


@pytest.fixture
def fast():
    """Three attempts without a wait."""
    return RetryPolicy(attempts=3, wait_initial=0, wait_max=0, wait_jitter=0)


@pytest.fixture
def connect(server, fast):
    """Makes exchanges that speak to the scripted one, and closes them."""
    opened = []

    def make(**options):
        exchange = BinanceExchange(options.pop("url", server.url), **{"retry": fast, **options})
        opened.append(exchange)
        return exchange

    yield make
    for exchange in opened:
        exchange.close()


class FakeClock:
    """Local time that passes only by sleeping."""

    def __init__(self, now=1_700_000_000.0):
        self.now = now
        self.slept = []

    def __call__(self):
        return self.now

    def sleep(self, _stop, seconds):
        assert len(self.slept) < 100, "the throttle waits for ever"
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def fake_clock():
    return FakeClock
